//! Object storage behind a network that loses answers: what it did is not what its client hears.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::between::{Between, Head, Passing, Rules};
use crate::buckets::{answer, at};
use crate::peers::Bucket;
use crate::program::Place;
use crate::simulated::Simulated;

/// Requests of which one meets a fault, on average.
const ONE_IN: u64 = 7;

/// Runs that are measured.
const RUNS: u64 = 4;

const FAULTS: [Passing; 6] = [
    Passing::Lost,
    Passing::DoneAndRefused,
    Passing::Refused,
    Passing::Lost,
    Passing::DoneAndRefused,
    Passing::Torn,
];

/// Numbers that look drawn: the same each time.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How many requests of a kind met a fault.
#[derive(Default)]
struct Met {
    requests: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
}

impl Met {
    fn passing(&self, request: &Head) -> Passing {
        let drawn = mixed(self.requests.fetch_add(1, Ordering::Relaxed));
        if !drawn.is_multiple_of(ONE_IN) {
            return Passing::Whole;
        }
        let met = match request[0].starts_with("PUT ") {
            true => &self.writes,
            false => &self.reads,
        };
        met.fetch_add(1, Ordering::Relaxed);
        FAULTS[(drawn / ONE_IN) as usize % FAULTS.len()]
    }
}

/// Whatever a client hears of what its requests came to, each run is there once and whole.
fn each_run_is_there_once(bucket: &Bucket, through: impl Fn(&str) -> Vec<(&'static str, String)>) {
    let met = Arc::new(Met::default());
    let faults = Arc::clone(&met);
    let rules = Rules::of(move |request| faults.passing(request));
    let lossy = Between::before(&bucket.url, rules);
    let variables = through(&lossy.url());
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = ["--warehouse", bucket.warehouse];
    let made = answer(
        &place,
        &bucket.variables,
        &[&["warehouse", "init"], &there[..]].concat(),
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    let run = [&simulated.run(&["--requests", "12"])[..], &there].concat();
    let mut measured = 0;
    for _ in 0..RUNS {
        let done = answer(&place, &variables, &run);
        // What could not be published waits in its spool; what could not begin has none.
        measured += usize::from(matches!(done.code, Some(0 | 5)));
        let failed = done.code == Some(1) && done.stderr.contains("help:");
        assert!(failed || matches!(done.code, Some(0 | 5)), "{done:?}");
    }
    // The next run may have published what an earlier one could not.
    let at_least = measured + place.spooled().len();
    let check = [&["warehouse", "check"], &there[..]].concat();
    let sound = answer(&place, &bucket.variables, &check);
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert_eq!(place.spooled(), Vec::<String>::new());
    let counted = "select count(distinct run_id) as runs, count(*) as requests from requests";
    let asked = [&["sql", counted, "--format", "ndjson"], &there[..]].concat();
    let counted = answer(&place, &bucket.variables, &asked).json();
    let runs = counted["runs"].as_u64().expect("a number");
    // A probe and two stages each.
    assert_eq!(counted["requests"], json!(runs * 25));
    let (writes, reads) = (&met.writes, &met.reads);
    let (writes, reads) = (
        writes.load(Ordering::Relaxed),
        reads.load(Ordering::Relaxed),
    );
    let all =
        format!("{runs} runs, {at_least} at least; {writes} writes and {reads} reads met faults");
    assert!(runs >= at_least.max(1) as u64 && runs <= RUNS, "{all}");
    assert!(writes > 3 && reads > 10, "{all}");
}

#[test]
fn s3_that_loses_answers_holds_each_run_once() {
    let bucket = Bucket::s3();
    each_run_is_there_once(&bucket, |endpoint| at(&bucket, endpoint.to_owned()));
}

#[test]
fn azure_that_loses_answers_holds_each_run_once() {
    let bucket = Bucket::azure();
    each_run_is_there_once(&bucket, |endpoint| {
        let elsewhere =
            |(name, value): &(&'static str, String)| (*name, value.replace(&bucket.url, endpoint));
        bucket.variables.iter().map(elsewhere).collect()
    });
}

/// Storage that stops answering while the warehouse is looked through: what was not looked at is not
/// called broken.
#[test]
fn a_check_that_storage_leaves_calls_nothing_broken() {
    let bucket = Bucket::s3();
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = ["--warehouse", bucket.warehouse];
    let run = [&simulated.run(&["--requests", "12"])[..], &there].concat();
    let done = answer(&place, &bucket.variables, &run);
    assert!(matches!(done.code, Some(0 | 5)), "{done:?}");
    let check = [&["warehouse", "check"], &there[..]].concat();
    let (mut answered, mut left) = (false, 0);
    for requests in (0..).step_by(23) {
        let asked = AtomicU64::new(0);
        let rules = Rules::of(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            number if number < requests => Passing::Whole,
            _ => Passing::Rejected,
        });
        let leaving = Between::before(&bucket.url, rules);
        let said = answer(&place, &at(&bucket, leaving.url()), &check);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(!all.contains("broken"), "after {requests} requests: {all}");
        if said.code == Some(0) {
            answered = true;
            break;
        }
        assert_eq!(said.code, Some(1), "after {requests} requests: {said:?}");
        assert!(said.stderr.contains("help:"), "{said:?}");
        left += 1;
    }
    assert!(answered && left > 3, "{left} times");
}
