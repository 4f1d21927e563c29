//! `cargo xtask bench warehouse`: answers, statements beside other engines, publishing, growth.
//!
//! A generator fills two warehouses from one seed, the second with a tenth of the runs. What is timed
//! is the program itself for answers (cold: a new process; warm: over HTTP, as dashboards ask), and
//! one process each, on the same files, threads and cores, for statements that others can be asked, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bound::{self, Bound};
use super::distribution::figures;
use crate::cargo::{Build, PRODUCT, Target, TargetKind, build_executables, workspace_root};
use crate::http;
use crate::machine;
use crate::peers::{self, user_cache};
use crate::steps::Steps;
use crate::table;

mod commits;
mod service;
mod timing;

use service::Service;
use timing::{
    Timed, Wrote, cells, geometric_mean, last_line, median_of, on_cores, parquet_files, quantile,
    same, times_of,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Runs of the larger warehouse, of which the smaller has a tenth; 10000 are nine months of
    /// nightly runs
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    runs: u64,
    /// Requests of each performance run; 16667 make 100 million in 10000 runs
    #[arg(long, default_value_t = 2_000)]
    requests: u64,
    /// Seed of the generator
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder in which the warehouses stay, and are used again where they are there already
    #[arg(long)]
    place: Option<PathBuf>,
    /// How often each statement is timed, after the first time
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Threads of each engine, and cores on which it runs
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Runs that are published one by one, each in commits of its own
    #[arg(long, default_value_t = 1_000)]
    commits: u64,
    /// Few rows, a build without optimisation and no bounds: shows that all parts work and that the
    /// engines agree
    #[arg(long, conflicts_with_all = ["runs", "requests", "repeats", "commits", "place"])]
    pub(crate) short: bool,
}

impl Args {
    /// As asked, with what the short form has instead.
    fn effective(&self) -> Self {
        let Self {
            seed,
            short,
            threads,
            ..
        } = *self;
        let place = self.place.clone();
        match short {
            true => Self {
                runs: 180,
                requests: 4_000,
                repeats: 1,
                commits: 0,
                threads,
                seed,
                short,
                place,
            },
            false => Self { place, ..*self },
        }
    }
}

const FILL: Target = example("plimsoll-ingest", "fill_warehouse");
const REWRITE: Target = example("plimsoll-ingest", "rewrite_requests");
const TIME: Target = example("plimsoll-warehouse", "time_queries");
const REFRESH: Target = example("plimsoll-warehouse", "refresh_warehouse");

const fn example(package: &'static str, name: &'static str) -> Target {
    Target {
        package,
        name,
        kind: TargetKind::Example,
    }
}

/// The answers that have names.
const ANSWERS: [(&str, &str); 15] = [
    ("peak_rps", "SELECT * FROM peak_rps"),
    ("capacity", "SELECT * FROM capacity"),
    ("answers", "SELECT * FROM answers"),
    ("performance_summary", "SELECT * FROM performance_summary"),
    ("score_trends", "SELECT * FROM score_trends"),
    ("functional_summary", "SELECT * FROM functional_summary"),
    ("gpu_hours", "SELECT * FROM gpu_hours WHERE hour >= 'SINCE'"),
    ("operations", "SELECT * FROM operations WHERE at >= 'SINCE'"),
    ("questions", "SELECT * FROM questions"),
    ("saturation_curve", "SELECT * FROM saturation_curve('RUN')"),
    ("latency_matrix", "SELECT * FROM latency_matrix('RUN')"),
    ("compare_runs", "SELECT * FROM compare_runs('RUN', 'OTHER')"),
    ("sizing", "SELECT * FROM sizing('model-1', 200)"),
    ("regressions", "SELECT * FROM regressions('SINCE')"),
    (
        "sketches of a month",
        "SELECT r.model, sketch_quantile(sketch_merge(s.ttft_sketch), 0.99) \
      FROM stages AS s JOIN runs AS r ON r.run_key = s.run_key WHERE r.started_at >= 'SINCE' \
      GROUP BY r.model ORDER BY r.model",
    ),
];

/// How often an answer is asked for over HTTP.
const ASKED: usize = 40;

/// How often in a process of its own.
const STARTED: usize = 3;

struct Programs {
    product: PathBuf,
    fill: PathBuf,
    rewrite: PathBuf,
    time: PathBuf,
    refresh: PathBuf,
    python: PathBuf,
}

/// Runs all parts and prints them; fails where a bound is missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let args = &args.effective();
    let build = match args.short {
        true => Build::Dev,
        false => Build::Release,
    };
    let built = build_executables(build, &[PRODUCT, FILL, REWRITE, TIME, REFRESH])?;
    let [product, fill, rewrite, time, refresh] = <[PathBuf; 5]>::try_from(built)
        .map_err(|built| anyhow::anyhow!("cargo built {} programs", built.len()))?;
    let programs = Programs {
        product,
        fill,
        rewrite,
        time,
        refresh,
        python: engines()?,
    };
    let passing = tempfile::tempdir().context("no temporary folder")?;
    let place = args.place.as_deref().unwrap_or(passing.path());
    let large = place.join("large");
    // A tenth of few runs has not one of each kind.
    let small = match args.short {
        true => large.clone(),
        false => place.join("small"),
    };
    println!("{}\n", machine::description());
    programs.fill(&large, args.runs, args)?;
    if !args.short {
        programs.fill(&small, args.runs.div_ceil(10), args)?;
    }
    let mut bounds = programs.answers(&large, &small, args)?;
    bounds.push(programs.ad_hoc(&large, args)?);
    bounds.extend(programs.publishing(&large, passing.path(), args)?);
    bounds.extend(programs.commits(&passing.path().join("commits"), args)?);
    if args.short {
        println!("the engines agree; times of a build without optimisation say nothing");
        return Ok(());
    }
    match bound::print_all(&bounds) {
        0 => Ok(()),
        missed => bail!("{missed} bounds are missed"),
    }
}

/// Installs the engines that are measured beside ours; gives their Python.
fn engines() -> Result<PathBuf> {
    let list = workspace_root().join("xtask/src/bench/warehouse/requirements.txt");
    let folder = user_cache()?.join("plimsoll/bench");
    let mut steps = Steps::default();
    peers::python(&mut steps, "engines to measure beside", &list, &folder)
}

impl Programs {
    fn fill(&self, warehouse: &Path, runs: u64, args: &Args) -> Result<()> {
        if warehouse.exists() {
            println!("{} is there already", warehouse.display());
            return Ok(());
        }
        let began = Instant::now();
        let numbers = [runs, args.requests, args.seed].map(|number| number.to_string());
        let done = Command::new(&self.fill)
            .arg(warehouse)
            .args(numbers)
            .output()?;
        if !done.status.success() {
            bail!("fill_warehouse: {}", String::from_utf8_lossy(&done.stderr));
        }
        let took = began.elapsed().as_secs_f64();
        println!(
            "{runs} runs of {} requests written in {took:.0} s",
            args.requests
        );
        self.optimize(warehouse)
    }

    /// Maintains a warehouse, as the service does every ten minutes: its logs are summed up. What was
    /// published within the hour stays in the files in which it is.
    fn optimize(&self, warehouse: &Path) -> Result<()> {
        let done = Command::new(&self.product)
            .args(["warehouse", "optimize", "-q"])
            // All of the history is asked about.
            .args(["--retention", "requests=10y", "--warehouse"])
            .arg(warehouse)
            .output()?;
        if !done.status.success() {
            bail!("optimize: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }

    fn value(&self, warehouse: &Path, sql: &str) -> Result<String> {
        let done = self.sql(warehouse, sql)?;
        let last = done.lines().last().unwrap_or_default();
        Ok(last.to_owned())
    }

    fn sql(&self, warehouse: &Path, sql: &str) -> Result<String> {
        let done = Command::new(&self.product)
            .args(["sql", sql, "--format", "csv", "-q", "--warehouse"])
            .arg(warehouse)
            .output()?;
        if !done.status.success() {
            bail!("{sql}: {}", String::from_utf8_lossy(&done.stderr));
        }
        String::from_utf8(done.stdout).context("the answer is no UTF-8")
    }

    /// The statements of the named answers on a warehouse.
    fn named(&self, warehouse: &Path) -> Result<Vec<(&'static str, String)>> {
        let runs = "SELECT run_id FROM runs WHERE profile = 'step' AND model = 'model-1' \
                    ORDER BY started_at DESC LIMIT 1 OFFSET ";
        let run = self.value(warehouse, &format!("{runs}0"))?;
        let other = self.value(warehouse, &format!("{runs}1"))?;
        let last_month = "SELECT CAST(max(started_at) - INTERVAL '30 days' AS DATE) FROM runs";
        let since = self.value(warehouse, last_month)?;
        let filled = ANSWERS.iter().map(|(name, sql)| {
            let sql = sql.replace("RUN", &run).replace("OTHER", &other);
            (*name, sql.replace("SINCE", &since))
        });
        Ok(filled.collect())
    }

    /// Cold in a new process, warm over HTTP, and again without kept answers, on both warehouses.
    fn answers(&self, large: &Path, small: &Path, args: &Args) -> Result<Vec<Bound>> {
        let named = self.named(large)?;
        let mut warm = self.warm(large, &named)?;
        let queries = |named: &[(&str, String)]| -> Vec<Value> {
            named
                .iter()
                .map(|(name, sql)| json!({"name": name, "sql": sql}))
                .collect()
        };
        let again = self.timed(large, &queries(&named), args)?;
        let smaller = self.timed(small, &queries(&self.named(small)?), args)?;
        let mut rows = Vec::new();
        let (mut coldest, mut warmest, mut growth): (f64, f64, Vec<f64>) = (0.0, 0.0, Vec::new());
        for (name, sql) in &named {
            let mut cold = Vec::new();
            for _ in 0..STARTED {
                let began = Instant::now();
                self.sql(large, sql)?;
                cold.push(began.elapsed().as_secs_f64() * 1e3);
            }
            let cold = quantile(&cold, 0.5);
            let warm = warm.remove(*name).context("every answer was asked for")?;
            let warm = quantile(&warm, 0.95);
            let (now, tenth) = (median_of(&again, name)?, median_of(&smaller, name)?);
            (coldest, warmest) = (coldest.max(cold), warmest.max(warm));
            growth.push(now / tenth);
            rows.push([
                (*name).to_owned(),
                figures(cold),
                figures(warm),
                figures(now),
                figures(tenth),
                format!("{:.2}", now / tenth),
            ]);
        }
        let heads = [
            "answer, ms",
            "cold (new process)",
            "warm (HTTP, p95)",
            "answered anew",
            "a tenth of the runs",
            "growth",
        ];
        println!("\n{}", table::render(heads, &rows));
        Ok(vec![
            Bound::at_most("slowest answer, cold", Some(coldest), 300.0, " ms"),
            Bound::at_most("slowest answer, warm, p95", Some(warmest), 50.0, " ms"),
            Bound::at_most(
                "ten times the runs, geometric mean of the answers",
                Some(geometric_mean(&growth)),
                1.5,
                " times",
            ),
        ])
    }

    /// Each answer many times from one server, in ms.
    fn warm(
        &self,
        warehouse: &Path,
        named: &[(&str, String)],
    ) -> Result<BTreeMap<String, Vec<f64>>> {
        let service = Service::start(&self.product, warehouse, "off")?;
        let mut times = BTreeMap::new();
        for (name, sql) in named {
            let body = json!({"sql": sql}).to_string();
            let mut of_name = Vec::new();
            for _ in 0..=ASKED {
                let began = Instant::now();
                let (status, answer) = http::post(service.address(), "/api/v1/sql", &body)?;
                of_name.push(began.elapsed().as_secs_f64() * 1e3);
                if status != 200 {
                    bail!("{name}: {status} {answer}");
                }
            }
            times.insert((*name).to_owned(), of_name.split_off(1));
        }
        Ok(times)
    }

    fn timed(&self, warehouse: &Path, queries: &[Value], args: &Args) -> Result<Vec<Timed>> {
        let mut command = on_cores(&self.time, args.threads);
        command
            .arg(warehouse)
            .args([args.threads.to_string(), args.repeats.to_string()]);
        times_of(command, queries)
    }

    /// A dozen statements over requests, beside other engines.
    fn ad_hoc(&self, warehouse: &Path, args: &Args) -> Result<Bound> {
        // A fifth of all runs are of this profile: one in the middle.
        let middle = args.runs / 10;
        let run = format!(
            "SELECT run_key FROM runs WHERE profile = 'step' ORDER BY started_at, run_id \
             LIMIT 1 OFFSET {middle}"
        );
        let run = self.value(warehouse, &run)?;
        let recent = "SELECT min(run_key) FROM runs WHERE started_at > \
                      (SELECT max(started_at) - INTERVAL '5 days' FROM runs)";
        let recent = self.value(warehouse, recent)?;
        let text = include_str!("warehouse/ad_hoc.json");
        let text = text.replace("{run}", &run).replace("{recent}", &recent);
        let mut queries: Vec<Value> = serde_json::from_str(&text)?;
        for query in &mut queries {
            query["sql"] = query["ours"].clone();
            query["run"] = serde_json::from_str(&run)?;
            query["recent"] = serde_json::from_str(&recent)?;
        }
        let ours = self.timed(warehouse, &queries, args)?;
        let mut engines = vec![("Plimsoll", ours)];
        for (name, engine) in [("DuckDB", "duckdb"), ("Polars", "polars"), ("chDB", "chdb")] {
            let mut command = self.peer(&["ask", engine], args.threads);
            command
                .arg(warehouse)
                .args([args.threads.to_string(), args.repeats.to_string()]);
            engines.push((name, times_of(command, &queries)?));
        }
        let mut rows = Vec::new();
        let mut wrong = Vec::new();
        for (place, query) in queries.iter().enumerate() {
            let name = query["name"].as_str().unwrap_or_default();
            let tolerance = query["tolerance"].as_f64().unwrap_or(1e-9);
            let mut row = vec![name.to_owned()];
            for (engine, timed) in &engines {
                let one = &timed[place];
                row.push(figures(one.median_ms()));
                let expected = cells(&engines[0].1[place].answer, true);
                if *engine != "Plimsoll" && !same(&expected, &cells(&one.answer, false), tolerance)
                {
                    wrong.push(format!("{name}: {engine} has another answer"));
                }
            }
            rows.push(<[String; 5]>::try_from(row).map_err(|_| anyhow::anyhow!("four engines"))?);
        }
        let means = engines.iter().map(|(_, timed)| {
            geometric_mean(&timed.iter().map(Timed::median_ms).collect::<Vec<_>>())
        });
        let means: Vec<f64> = means.collect();
        let mut last = vec!["geometric mean".to_owned()];
        last.extend(means.iter().map(|mean| figures(*mean)));
        rows.push(<[String; 5]>::try_from(last).map_err(|_| anyhow::anyhow!("four engines"))?);
        let heads = ["statement, ms, hot", "Plimsoll", "DuckDB", "Polars", "chDB"];
        println!("{}", table::render(heads, &rows));
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        let fastest = means[1..].iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Bound::at_most(
            "statements over requests, times the fastest other engine",
            Some(means[0] / fastest),
            1.0,
            "",
        ))
    }

    /// Writing requests again, and what a row takes.
    fn publishing(&self, warehouse: &Path, place: &Path, args: &Args) -> Result<Vec<Bound>> {
        let files = parquet_files(&warehouse.join("raw/requests"))?;
        let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        let rows: f64 = self
            .value(warehouse, "SELECT count(*) FROM requests")?
            .parse()?;
        let (largest, _) = files
            .iter()
            .max_by_key(|(_, bytes)| *bytes)
            .context("no file")?;
        let folder = place.join("rewritten");
        fs::create_dir_all(&folder)?;
        let mut ours = on_cores(&self.rewrite, args.threads);
        ours.arg(largest).arg(&folder);
        let mut wrote = vec![("Plimsoll", last_line::<Wrote>(&mut ours)?)];
        for (name, engine) in [("DuckDB", "duckdb"), ("PyArrow", "pyarrow")] {
            let mut peer = self.peer(&["write", engine], args.threads);
            peer.arg(largest).arg(place.join("peer.parquet"));
            wrote.push((name, last_line::<Wrote>(&mut peer)?));
        }
        let rate = |wrote: &Wrote| wrote.rows / wrote.seconds;
        let lines: Vec<[String; 3]> = wrote
            .iter()
            .map(|(name, wrote)| {
                let (rate, each) = (figures(rate(wrote)), figures(wrote.bytes / wrote.rows));
                [(*name).to_owned(), rate, each]
            })
            .collect();
        println!(
            "{}",
            table::render(["writes requests", "rows/s", "bytes/row"], &lines)
        );
        let fastest = wrote[1..]
            .iter()
            .map(|(_, other)| rate(other))
            .fold(0.0, f64::max);
        Ok(vec![
            Bound::at_least(
                "rows a second, times the fastest other writer",
                Some(rate(&wrote[0].1) / fastest),
                1.0,
                "",
            ),
            Bound::at_most(
                "bytes of a row of requests",
                Some(bytes as f64 / rows),
                40.0,
                "",
            ),
        ])
    }

    fn peer(&self, arguments: &[&str], threads: u16) -> Command {
        let script = workspace_root().join("xtask/src/bench/warehouse/peers.py");
        let mut command = on_cores(&self.python, threads);
        command.arg("-B").arg(script).args(arguments);
        command
    }
}
