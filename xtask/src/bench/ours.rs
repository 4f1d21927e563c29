//! The product under the same load as the floor client, read back through its own SQL.

use anyhow::Result;
use serde::Deserialize;

use super::load::{FirstToken, Load, Measured, Stamps};
use super::simulator::Simulator;
use crate::product::Product;

/// Runs one closed loop and reads its rows.
///
/// # Errors
/// Where the run or a query fails.
pub(crate) fn measure(
    product: &Product,
    simulator: &Simulator,
    load: &Load,
    stamps: Stamps,
) -> Result<Measured> {
    let arguments = arguments(simulator, load, stamps);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let end = product.run(&arguments)?;
    let run_id = &end.run_id;
    let start_ns = start_ns(product, run_id)?;
    let stage: Stage = product.sql_row(&format!(
        "select started_ns, duration_ns, throughput_rps from reports.stages \
         where run_id = '{run_id}' and phase = 'steady'"
    ))?;
    let rows: Vec<Row> = product.sql(&format!(
        "select request_id, first_token_ns from raw.requests where run_id = '{run_id}' \
         and phase = 'steady' and first_token_ns is not null and timestamp_source = '{}'",
        stamps.name()
    ))?;
    let from_ns = start_ns + stage.started_ns;
    let cpu = end.usage.cpu_between(from_ns, from_ns + stage.duration_ns);
    Ok(Measured {
        first_tokens: rows
            .iter()
            .map(|row| FirstToken {
                request_id: format!("{run_id}/{}", row.request_id),
                at_ns: start_ns + row.first_token_ns,
            })
            .collect(),
        requests_per_second: stage.throughput_rps,
        cpu_share: cpu.map(|cpu| cpu.as_nanos() as f64 / stage.duration_ns as f64),
        peak_mb: Some(end.usage.peak_mb()),
    })
}

fn arguments(simulator: &Simulator, load: &Load, stamps: Stamps) -> Vec<String> {
    [
        "--url",
        simulator.url(),
        "--model",
        simulator.model(),
        "--profile",
        "max_throughput",
        "--concurrency",
        &load.streams.to_string(),
        "--duration",
        &format!("{}s", load.duration.as_secs()),
        "--prompt-tokens",
        "8",
        "--output-tokens",
        &load.output_tokens.to_string(),
        "--timestamps",
        stamps.name(),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// When a run started, on the monotonic clock that its `_ns` columns count from.
fn start_ns(product: &Product, run_id: &str) -> Result<i64> {
    let row: ConfigRow = product.sql_row(&format!(
        "select config from reports.runs where run_id = '{run_id}'"
    ))?;
    let config: Config = serde_json::from_str(&row.config)?;
    Ok(config.clock.monotonic_start_ns)
}

#[derive(Deserialize)]
struct ConfigRow {
    config: String,
}

#[derive(Deserialize)]
struct Config {
    clock: Clock,
}

#[derive(Deserialize)]
struct Clock {
    monotonic_start_ns: i64,
}

#[derive(Deserialize)]
struct Stage {
    started_ns: i64,
    duration_ns: i64,
    throughput_rps: f64,
}

#[derive(Deserialize)]
struct Row {
    request_id: i64,
    first_token_ns: i64,
}
