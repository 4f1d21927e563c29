//! `cargo xtask bench claims`: what a claim costs, and how soon a job's first request is sent.
//!
//! The queue is ten thousand tasks long all the time. Paced, sixteen workers claim and end so many tasks
//! a second together; at full speed each claims as soon as it can, and two cores are what it waits for. The last part is the product: a job is posted
//! to a service, whose worker sends the first request to a simulated model.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bound::{self, Bound};
use crate::cargo::{Build, PRODUCT, Target, TargetKind, build_executables};
use crate::http;
use crate::machine;
use crate::peers;
use crate::postgresql::Postgres;
use crate::product::Product;
use crate::steps::Steps;
use crate::table;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tasks that wait
    #[arg(long, default_value_t = 10_000)]
    queued: u64,
    /// Tasks that have ended, in the second of two stores
    #[arg(long, default_value_t = 20_000)]
    history: u64,
    /// Workers
    #[arg(long, default_value_t = 16)]
    workers: u64,
    /// Claims a second, of all workers together
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
    /// Length of each measurement
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Jobs that are posted to a service
    #[arg(long, default_value_t = 20)]
    jobs: usize,
}

const CLAIM: Target = Target {
    package: "plimsoll-executor",
    name: "claim_tasks",
    kind: TargetKind::Example,
};

#[derive(Deserialize)]
struct Figures {
    claims_per_s: f64,
    claim_ms_p50: f64,
    claim_ms_p99: f64,
    claim_ms_max: f64,
    finish_ms_p50: f64,
    finish_ms_p99: f64,
}

/// Prints the figures beside their bounds.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    peers::install(&mut steps)?;
    let built = build_executables(Build::Release, &[PRODUCT, CLAIM])?;
    let [product, claim] = built.as_slice() else {
        bail!("cargo built {} of two", built.len());
    };
    println!("{}\n", machine::description());
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::start()?;
    let mut bounds = Vec::new();
    let mut rows = Vec::new();
    for (store, limit) in [("SQLite", 2.0), ("PostgreSQL", 5.0)] {
        let place = |name: &str| -> Result<String> {
            match store {
                "SQLite" => Ok(format!("sqlite://{}/{name}.db", folder.path().display())),
                _ => postgres.database(name),
            }
        };
        let measure = |name: &str, history: u64, rate: f64| -> Result<Figures> {
            let figures = [args.queued, history, args.workers].map(|number| number.to_string());
            let done = Command::new(claim)
                .arg(place(name)?)
                .args(figures)
                .args([rate.to_string(), args.seconds.to_string()])
                .output()?;
            if !done.status.success() {
                bail!("claim_tasks: {}", String::from_utf8_lossy(&done.stderr));
            }
            Ok(serde_json::from_slice(&done.stdout)?)
        };
        let paced = measure("paced", 0, args.rate)?;
        let old = measure("old", args.history, args.rate)?;
        let full = measure("full", 0, 0.0)?;
        let what = |how: &str| format!("{store}, {how}");
        rows.push(row(what("paced"), &paced));
        rows.push(row(what(&format!("paced, {} ended", args.history)), &old));
        rows.push(row(what("full speed"), &full));
        bounds.push(Bound::at_most(
            what("claim p99, paced"),
            Some(paced.claim_ms_p99),
            limit,
            " ms",
        ));
        bounds.push(Bound::at_most(
            what("claim p50 with a history, times without"),
            Some(old.claim_ms_p50 / paced.claim_ms_p50),
            1.2,
            "",
        ));
    }
    let heads = [
        "store",
        "claims/s",
        "claim p50",
        "p99",
        "max ms",
        "finish p50",
        "p99 ms",
    ];
    println!("{}", table::render(heads, &rows));
    let first = first_requests(product, args.jobs)?;
    println!(
        "From a job's acceptance to its first request, {} jobs: p50 {:.1} ms, most {:.1} ms\n",
        first.len(),
        first[first.len() / 2],
        first[first.len() - 1]
    );
    let p50 = Some(first[first.len() / 2]);
    bounds.push(Bound::at_most(
        "acceptance to first request, p50",
        p50,
        100.0,
        " ms",
    ));
    match bound::print_all(&bounds) {
        0 => Ok(()),
        missed => bail!("{missed} bounds are missed"),
    }
}

fn row(what: String, figures: &Figures) -> [String; 7] {
    let ms = |value: f64| format!("{value:.2}");
    [
        what,
        format!("{:.0}", figures.claims_per_s),
        ms(figures.claim_ms_p50),
        ms(figures.claim_ms_p99),
        ms(figures.claim_ms_max),
        ms(figures.finish_ms_p50),
        ms(figures.finish_ms_p99),
    ]
}

/// A process that says where it is in its first line, and ends with this value.
struct Started {
    child: Child,
    says: Value,
}

impl Started {
    fn new(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let says = serde_json::from_str(&line).with_context(|| line.clone())?;
        Ok(Self { child, says })
    }

    fn url(&self) -> Result<String> {
        Ok(self.says["url"]
            .as_str()
            .context("it says where it is")?
            .to_owned())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Milliseconds from a job's acceptance to its first request, in order.
fn first_requests(product: &Path, jobs: usize) -> Result<Vec<f64>> {
    let product = Product::new(product.to_path_buf())?;
    let slots = [
        "simulate", "--json", "--port", "0", "--slots", "4", "--ttft", "5ms",
    ];
    let model = Started::new(&mut product.command(&slots))?;
    let serve = [
        "serve",
        "--json",
        "--quiet",
        "--listen",
        "127.0.0.1:0",
        "--maintain",
        "off",
    ];
    let service = Started::new(&mut product.command(&serve))?;
    let url = service.url()?;
    let address: SocketAddr = url.trim_start_matches("http://").parse()?;
    let job = json!({
        "subject": {"model": model.says["model"], "endpoint": model.url()?},
        "suites": [{"performance": "smoke", "set": {"workload.output_tokens": 2}}],
    });
    let ask = |sql: &str| -> Result<Vec<Value>> {
        let body = json!({"sql": sql}).to_string();
        let (status, body) = http::post(address, "/api/v1/sql", &body)?;
        if status != 200 {
            bail!("{sql}: {status} {body}");
        }
        let answer: Value = serde_json::from_str(&body)?;
        Ok(answer["rows"].as_array().cloned().unwrap_or_default())
    };
    for number in 1..=jobs {
        let (status, body) = http::post(address, "/api/v1/jobs", &job.to_string())?;
        if status != 201 {
            bail!("a job was answered {status}: {body}");
        }
        let begun = Instant::now();
        while ask("select count(*) as jobs from reports.jobs")?[0]["jobs"] != number {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("a job did not end");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let rows = ask("select r.config, arrow_typeof(j.queued_at) as t, \
         date_part('epoch', j.queued_at) as queued_s, min(q.sent_ns) as sent_ns \
         from reports.runs r join reports.jobs j on j.job_id = r.job_id \
         join raw.requests q on q.run_key = r.run_key group by r.config, j.queued_at")?;
    let mut waits = Vec::new();
    for row in rows {
        let config: Value = serde_json::from_str(row["config"].as_str().context("a config")?)?;
        let start = config["clock"]["realtime_start_ns"]
            .as_i64()
            .context("a start")?;
        let queued = row["queued_s"].as_f64().context("when it was accepted")?;
        let sent = row["sent_ns"].as_i64().context("a request")?;
        waits.push((start + sent) as f64 / 1e6 - queued * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    match waits.is_empty() {
        true => bail!("no job had a run"),
        false => Ok(waits),
    }
}
