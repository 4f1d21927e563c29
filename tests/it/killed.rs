//! Processes that are killed at random while they publish, on local files and on object storage.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use plimsoll_ingest::spool::{Manifest, Spool, Tag};
use plimsoll_ingest::{
    EnvelopeRow, RequestRow, RunId, RunRow, StageRow, Table, TableRow as _, TaskId, Timestamp,
    Verdict,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::peers::Bucket;
use crate::program::{Answer, Place};

/// Runs that wait in each round.
const RUNS: usize = 5;

/// How long a process may live at first, in ms: from before it opens a table to after it is done.
const LIVES_MS: std::ops::Range<u64> = 20..900;

/// With each death the longest life is so much longer, in ms: a slow server ends a round, too.
const LONGER_MS: u64 = 20;

/// Rounds where nobody asks for more.
const SHORT_ROUNDS: u64 = 1;

fn rounds() -> u64 {
    let asked = std::env::var("PLIMSOLL_FAULT_ROUNDS");
    asked.map_or(SHORT_ROUNDS, |text| text.parse().expect("a number"))
}

/// The sealed spool of a run of two requests.
fn spool(root: &Path, warehouse: &str) {
    let run_id = RunId::new(Timestamp::now());
    let task_id = TaskId::new(Timestamp::now());
    let manifest = Manifest {
        task_id: Some(task_id),
        ..Manifest::new(run_id, warehouse, "")
    };
    let mut spool = Spool::create(root, manifest).expect("a spool");
    let requests = [0, 1].map(|request_id| RequestRow::blank(run_id, request_id));
    let requests = RequestRow::to_batch(&requests).expect("rows");
    spool
        .append(Tag::Facts(Table::Requests), &requests)
        .expect("appended");
    let stage = StageRow {
        sent: 2,
        errors: 2,
        ..StageRow::blank(run_id, 0)
    };
    let run = RunRow {
        task_id: Some(task_id.to_string()),
        verdict: Verdict::Blocked.to_string(),
        suite: "smoke".to_owned(),
        model: "m".to_owned(),
        envelope_id: "e".to_owned(),
        comparable_key: "k".to_owned(),
        ..RunRow::blank(run_id, run_id.created_at())
    };
    let envelope = EnvelopeRow {
        envelope_id: "e".to_owned(),
        ..EnvelopeRow::blank(run_id)
    };
    let finals = [
        (
            Table::Envelopes,
            EnvelopeRow::to_batch(&[envelope]).expect("rows"),
        ),
        (Table::Stages, StageRow::to_batch(&[stage]).expect("rows")),
        (Table::Runs, RunRow::to_batch(&[run]).expect("rows")),
    ];
    spool.seal(&finals).expect("sealed");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in from.read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

fn waiting(spools: &Path) -> usize {
    let entries = spools.read_dir().map(Iterator::collect::<Vec<_>>);
    let entries = entries.unwrap_or_default();
    let names = entries.iter().flatten().map(|entry| entry.file_name());
    // What is being deleted has another name.
    names
        .filter(|name| name.to_string_lossy().parse::<RunId>().is_ok())
        .count()
}

/// A service that publishes what waits in a spool.
fn publisher(place: &Place, variables: &[(&str, String)], warehouse: &str, spools: &Path) -> Child {
    let spools = spools.display().to_string();
    let flags = ["serve", "--listen", "127.0.0.1:0", "--maintain", "off"];
    let places = ["--warehouse", warehouse, "--spool", &spools];
    place
        .command(&[&flags[..], &places[..]].concat())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Two processes publish copies of the same spools, and both are killed again and again, at random,
/// until nothing waits. Then every run is there once, whole, and no task was completed twice.
fn kill_until_nothing_waits(warehouse: &str, variables: &[(&str, String)], seed: u64) -> u64 {
    let place = Place::new();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let spools: [PathBuf; 2] = ["one", "other"].map(|name| place.path().join(name));
    for _ in 0..RUNS {
        spool(&spools[0], warehouse);
    }
    copy_folder(&spools[0], &spools[1]);
    let mut deaths = 0;
    while spools.iter().any(|spools| waiting(spools) > 0) {
        let mut processes: Vec<_> = spools
            .iter()
            .filter(|spools| waiting(spools) > 0)
            .map(|spools| publisher(&place, variables, warehouse, spools))
            .collect();
        while let Some(mut process) = processes.pop() {
            // The moment of a death is no event that could be waited for.
            let longest = LIVES_MS.end + LONGER_MS * deaths;
            let life = random.random_range(LIVES_MS.start..longest);
            thread::park_timeout(Duration::from_millis(life));
            process.kill().expect("it is under way");
            process.wait().expect("it can be waited for");
            deaths += 1;
        }
        assert!(deaths < 400, "{} still wait", waiting(&spools[0]));
    }
    let mut check = place.command(&["warehouse", "check", "--json", "--warehouse", warehouse]);
    check.envs(variables.iter().map(|(name, value)| (name, value)));
    let checked = Answer::of(check.output().expect("the program starts"));
    let found = checked.json();
    assert_eq!(found["sound"], json!(true), "seed {seed}: {checked:?}");
    assert_eq!(found["runs"], json!(RUNS), "seed {seed}: {checked:?}");
    deaths
}

#[test]
fn publishers_killed_at_random_end_with_each_run_once_in_local_files() {
    for seed in 0..rounds() {
        let place = Place::new();
        let warehouse = place.path().join("warehouse").display().to_string();
        let deaths = kill_until_nothing_waits(&warehouse, &[], seed);
        println!("{deaths} deaths on local files");
    }
}

#[test]
fn publishers_killed_at_random_end_with_each_run_once_on_s3() {
    for seed in 0..rounds() {
        let bucket = Bucket::s3();
        let deaths = kill_until_nothing_waits(bucket.warehouse, &bucket.variables, seed);
        println!("{deaths} deaths on S3");
    }
}

#[test]
fn publishers_killed_at_random_end_with_each_run_once_on_azure() {
    for seed in 0..rounds() {
        let bucket = Bucket::azure();
        let deaths = kill_until_nothing_waits(bucket.warehouse, &bucket.variables, seed);
        println!("{deaths} deaths on Azure");
    }
}
