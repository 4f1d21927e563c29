//! `cargo xtask bench start`: schedule lag, memory, start time and publishing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::bound::{self, Bound};
use super::distribution::Distribution;
use super::load::{Load, Stamps};
use super::ours;
use super::simulator::{Model, Simulator};
use crate::cargo::{Build, PRODUCT, Target, TargetKind, build_executables};
use crate::machine;
use crate::product::Product;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of the open loop
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Requests of the run that is published
    #[arg(long, default_value_t = 5_000_000)]
    publish: u64,
}

/// Leaves the spool of a large run behind, as a killed process would.
const SPOOL_LARGE_RUN: Target = Target {
    package: "plimsoll-ingest",
    name: "spool_large_run",
    kind: TargetKind::Example,
};

/// Runs all parts and prints them; fails where a bound is missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut programs = build_executables(Build::Release, &[PRODUCT, SPOOL_LARGE_RUN])?.into_iter();
    let (Some(program), Some(spooler)) = (programs.next(), programs.next()) else {
        bail!("cargo did not build both programs");
    };
    let product = Product::new(program)?;
    println!("{}\n", machine::description());
    let mut bounds = open_loop(&product, args.seconds)?;
    bounds.extend(memory(&product)?);
    bounds.push(first_answer(&product)?);
    bounds.push(publishing(&product, &spooler, args.publish)?);
    match bound::print_all(&bounds) {
        0 => Ok(()),
        missed => bail!("{missed} bounds are missed"),
    }
}

/// A thousand short requests a second, whatever the server does.
fn open_loop(product: &Product, seconds: u64) -> Result<Vec<Bound>> {
    let model = Model {
        slots: 4000,
        ttft: "5ms",
        itl: "1ms",
    };
    let simulator = Simulator::start(product, &model)?;
    let end = product.run(&[
        "--url",
        simulator.url(),
        "--model",
        simulator.model(),
        "--profile",
        "stability",
        "--rate",
        "1000",
        "--duration",
        &format!("{seconds}s"),
        "--prompt-tokens",
        "8",
        "--output-tokens",
        "4",
    ])?;
    simulator.stop()?;
    let row: OpenLoop = product.sql_row(&format!(
        "select schedule_lag_ns_p99, missed, sent, duration_ns from reports.stages \
         where run_id = '{}' and phase = 'steady'",
        end.run_id
    ))?;
    println!(
        "open loop, 1,000 requests/s of 4 tokens: {}, {} sent",
        end.verdict, row.sent
    );
    let lag_ms = row.schedule_lag_ns_p99.map(|lag| lag as f64 / 1e6);
    let rate = row.sent as f64 / (row.duration_ns as f64 / 1e9);
    Ok(vec![
        Bound::at_most("schedule lag p99 at 1,000 requests/s", lag_ms, 1.0, " ms"),
        Bound::at_most("arrivals missed", Some(row.missed as f64), 0.0, ""),
        Bound::at_least("arrivals sent each second", Some(rate), 980.0, ""),
    ])
}

#[derive(Deserialize)]
struct OpenLoop {
    schedule_lag_ns_p99: Option<i64>,
    missed: i64,
    sent: i64,
    duration_ns: i64,
}

/// Short and long runs at 1000 streams: the second kind must not need more memory. A peak hangs on
/// what the allocator just then gave back, so each kind is run three times, in turn, and the
/// medians are compared.
fn memory(product: &Product) -> Result<Vec<Bound>> {
    const TIMES: usize = 3;
    let peak_mb = |seconds| -> Result<Option<f64>> {
        let simulator = Simulator::start(
            product,
            &Model {
                slots: 4000,
                ttft: "50ms",
                itl: "10ms",
            },
        )?;
        let load = Load {
            streams: 1000,
            ramp: Duration::ZERO,
            duration: Duration::from_secs(seconds),
            output_tokens: 64,
        };
        let measured = ours::measure(product, &simulator, &load, Stamps::Kernel)?;
        simulator.stop()?;
        Ok(measured.peak_mb)
    };
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        short.push(peak_mb(10)?);
        long.push(peak_mb(60)?);
    }
    println!(
        "peaks at 1000 streams, in MB: {} for 10 s, {} for 60 s",
        listed(&short),
        listed(&long)
    );
    let (short, long) = (median(short), median(long));
    let growth = short.zip(long).map(|(short, long)| long - short);
    Ok(vec![
        Bound::at_most("memory at 1000 streams, 10 s", short, 150.0, " MB"),
        Bound::at_most("memory at 1000 streams, 60 s", long, 150.0, " MB"),
        Bound::at_most("more memory for 60 s than for 10 s", growth, 10.0, " MB"),
    ])
}

/// The middle one of an odd number of values; `None` where one is missing.
fn median(values: Vec<Option<f64>>) -> Option<f64> {
    let mut values = values.into_iter().collect::<Option<Vec<_>>>()?;
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn listed(values: &[Option<f64>]) -> String {
    let shown = |value: &Option<f64>| value.map_or("-".to_owned(), |mib| format!("{mib:.0}"));
    values.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// From start to exit of the smallest query, on the warehouse that the runs above filled.
fn first_answer(product: &Product) -> Result<Bound> {
    const TIMES: usize = 20;
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        let status = product
            .command(&["sql", "select 1"])
            .stdout(Stdio::null())
            .status()
            .context("plimsoll could not be started")?;
        if !status.success() {
            bail!("plimsoll sql \"select 1\" ended with {status}");
        }
        took.push(i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX));
    }
    let median = Distribution::of(took).quantile(0.5);
    let median_ms = median.map(|nanoseconds| nanoseconds as f64 / 1e6);
    let what = format!("plimsoll sql \"select 1\", median of {TIMES}");
    Ok(Bound::at_most(what, median_ms, 100.0, " ms"))
}

/// A large run that a killed process left behind: the next run finds, seals and publishes it. The
/// memory for that must not grow with the number of requests.
fn publishing(product: &Product, spooler: &Path, requests: u64) -> Result<Bound> {
    let config: Config =
        product.sql_row("select config from reports.runs where profile = 'stability' limit 1")?;
    let output = Command::new(spooler)
        .arg(product.spool())
        .arg(product.warehouse())
        .arg(config.config)
        .arg(requests.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("the program that makes a large spool could not be started")?;
    if !output.status.success() {
        bail!("spooling {requests} requests ended with {}", output.status);
    }
    let large: Large = serde_json::from_slice(&output.stdout)?;

    let simulator = Simulator::start(
        product,
        &Model {
            slots: 8,
            ttft: "5ms",
            itl: "1ms",
        },
    )?;
    let started = Instant::now();
    let subject = ["--url", simulator.url(), "--model", simulator.model()];
    let end = product.run(&[&subject[..], &["--profile", "smoke"]].concat())?;
    let took = started.elapsed();
    simulator.stop()?;
    let rows: Count = product.sql_row(&format!(
        "select count(*) as count from raw.requests where run_id = '{}'",
        large.run_id
    ))?;
    if rows.count != requests {
        bail!("{} of {requests} requests were published", rows.count);
    }
    println!(
        "a run found, sealed and published {requests} requests with {} chunks ({} MiB of spool) \
         and measured its own within {:.0} s",
        large.chunks,
        large.spool_bytes >> 20,
        took.as_secs_f64(),
    );
    let what = format!("memory for publishing {requests} requests");
    Ok(Bound::at_most(
        what,
        Some(end.usage.peak_mb()),
        500.0,
        " MB",
    ))
}

#[derive(Deserialize)]
struct Config {
    config: String,
}

#[derive(Deserialize)]
struct Large {
    run_id: String,
    chunks: u64,
    spool_bytes: u64,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}
