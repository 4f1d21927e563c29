//! Leaves the spool of a run of many requests behind, as a killed process would.
//!
//! `cargo xtask bench start` runs it, and then lets the program find, seal and publish the spool.
//! The rows are made by a generator with the spread of a real run: requests end out of order, and
//! each has a list of chunk times.
//!
//! Usage: `spool_large_run SPOOL WAREHOUSE CONFIG REQUESTS`, where CONFIG is what `runs.config` of
//! a run of the profile `stability` holds. Writes one line of JSON.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use plimsoll_ingest::spool::{Manifest, SendRow, Spool, Tag};
use plimsoll_ingest::{
    ChunksRow, RequestRow, RunId, RunRow, StageRow, Table, TableRow as _, Timestamp,
    WarehouseLocation,
};

/// Requests of one frame.
const BATCH: i64 = 2_000;

/// Chunks of each reply.
const CHUNKS: i64 = 16;

/// How far from its turn a request may end, as replies of different lengths do.
const DISORDER: i64 = 1_000;

/// Between one request and the next: a thousand a second.
const APART_NS: i64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [spools, warehouse, config, requests] = &arguments[..] else {
        return Err("usage: spool_large_run SPOOL WAREHOUSE CONFIG REQUESTS".into());
    };
    let requests: i64 = requests.parse()?;
    let run = RunRow {
        pillar: "performance".to_owned(),
        suite: "stability".to_owned(),
        profile: Some("stability".to_owned()),
        model: "large".to_owned(),
        envelope_id: "large".to_owned(),
        comparable_key: "large".to_owned(),
        config: config.clone(),
        ..RunRow::blank(RunId::new(Timestamp::now()), Timestamp::now())
    };
    let folder = spool(
        Path::new(spools),
        &WarehouseLocation::parse(warehouse)?,
        &run,
        requests,
    )?;
    println!(
        "{}",
        serde_json::json!({
            "run_id": run.run_id.to_string(),
            "chunks": requests * CHUNKS,
            "spool_bytes": bytes_of(&folder)?,
        })
    );
    Ok(())
}

fn spool(
    root: &Path,
    warehouse: &WarehouseLocation,
    run: &RunRow,
    requests: i64,
) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let run_id = run.run_id;
    let manifest = Manifest::new(run_id, warehouse.to_string(), env!("CARGO_PKG_VERSION"));
    let mut spool = Spool::create(root, manifest)?;
    spool.append(
        Tag::Draft(Table::Runs),
        &RunRow::to_batch(std::slice::from_ref(run))?,
    )?;
    let stage = StageRow {
        name: "large".to_owned(),
        phase: "steady".to_owned(),
        offered_rps: Some(1e9 / APART_NS as f64),
        duration_ns: requests * APART_NS,
        ..StageRow::blank(run_id, 0)
    };
    spool.append(Tag::Draft(Table::Stages), &StageRow::to_batch(&[stage])?)?;
    for first in (0..requests).step_by(usize::try_from(BATCH)?) {
        let turns = first..requests.min(first + BATCH);
        let ids: Vec<i64> = turns.clone().map(|turn| ended_at(turn, requests)).collect();
        let sends: Vec<SendRow> = turns.map(send).collect();
        spool.append(Tag::Sends, &SendRow::to_batch(&sends)?)?;
        let rows: Vec<RequestRow> = ids.iter().map(|id| request(run_id, *id)).collect();
        spool.append(Tag::Facts(Table::Requests), &RequestRow::to_batch(&rows)?)?;
        let rows: Vec<ChunksRow> = ids.iter().map(|id| chunks(run_id, *id)).collect();
        spool.append(Tag::Facts(Table::Chunks), &ChunksRow::to_batch(&rows)?)?;
    }
    spool.sync()?;
    Ok(spool.folder().to_owned())
}

/// Which request ends at a turn: within a block of `DISORDER` the order is a fixed shuffle.
fn ended_at(turn: i64, requests: i64) -> i64 {
    let block = turn / DISORDER * DISORDER;
    if block + DISORDER > requests {
        return turn;
    }
    // 607 and DISORDER share no factor, so each place of the block is met once.
    block + (turn - block) * 607 % DISORDER
}

/// Up to 16 ms, spread evenly and the same for the same request each time.
fn wobble_ns(request_id: i64) -> i64 {
    (request_id
        .cast_unsigned()
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        >> 40)
        .cast_signed()
}

fn send(request_id: i64) -> SendRow {
    let scheduled_ns = request_id * APART_NS;
    let sent_ns = scheduled_ns + wobble_ns(request_id) / 100;
    SendRow {
        request_id,
        stage: 0,
        scheduled_ns,
        sent_ns,
    }
}

/// A request of the spread that a busy server shows.
fn request(run_id: RunId, request_id: i64) -> RequestRow {
    let SendRow {
        scheduled_ns,
        sent_ns,
        ..
    } = send(request_id);
    let wobble_ns = wobble_ns(request_id);
    let ttft_ns = 50_000_000 + wobble_ns;
    let e2e_ns = ttft_ns + (CHUNKS - 1) * 10_000_000 + wobble_ns;
    RequestRow {
        phase: "steady".to_owned(),
        workload_class: Some("short".to_owned()),
        scheduled_ns,
        sent_ns,
        first_byte_ns: Some(scheduled_ns + ttft_ns),
        first_token_ns: Some(scheduled_ns + ttft_ns),
        last_token_ns: Some(scheduled_ns + e2e_ns),
        done_ns: scheduled_ns + e2e_ns,
        status: "ok".to_owned(),
        http_status: Some(200),
        finish_reason: Some("length".to_owned()),
        prompt_tokens: Some(8 + wobble_ns % 100),
        output_tokens: Some(CHUNKS),
        cached_tokens: Some(0),
        prompt_tokens_asked: Some(8 + wobble_ns % 100),
        output_tokens_asked: Some(CHUNKS),
        token_chunks: Some(CHUNKS),
        bundled_chunks: Some(0),
        token_source: Some("usage".to_owned()),
        ttft_ns: Some(ttft_ns),
        ttft_any_ns: Some(ttft_ns),
        tpot_ns: Some(10_000_000 + wobble_ns / CHUNKS),
        ntpot_ns: Some(e2e_ns / CHUNKS),
        itl_ns: Some(vec![
            10_000_000,
            10_100_000,
            10_200_000,
            10_300_000 + wobble_ns,
        ]),
        e2e_ns,
        queue_ns: sent_ns - scheduled_ns,
        slo_met: Some(true),
        good: true,
        timestamp_source: "kernel".to_owned(),
        ..RequestRow::blank(run_id, request_id)
    }
}

fn chunks(run_id: RunId, request_id: i64) -> ChunksRow {
    let wobble_ns = wobble_ns(request_id);
    ChunksRow {
        run_id,
        run_key: run_id.run_key(),
        date: run_id.date(),
        request_id,
        at_ns: (1..=CHUNKS)
            .map(|chunk| 10_000_000 + wobble_ns / chunk)
            .collect(),
        tokens: Some((0..CHUNKS).map(|_| 1).collect()),
    }
}

fn bytes_of(folder: &Path) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
