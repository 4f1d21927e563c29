//! A generator that the machine does not let work: it was late, and the run says so.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Answer, Listen, Place, Running};
use crate::simulated::Simulated;

/// Measures with the process stopped for a while in the middle, and checks that nothing is told of
/// the subject.
#[track_caller]
fn held_up_under(load: &[&str], first_line: &str) {
    let place = Place::new();
    let simulated = Simulated::start(
        &place,
        &["--slots", "64", "--ttft", "100ms", "--itl", "1ms"],
    );
    let size = ["--output-tokens", "4", "--duration", "8s", "--json"];
    let mut command = place.command(&simulated.run(&[load, &size].concat()));
    let mut running = Running::start(&mut command, Listen::ToProgress);
    running.wait_for(first_line);
    running.signal(Signal::SIGSTOP);
    // It stands still for as long as these take.
    for _ in 0..12 {
        place.done(&["sql", "select 1"]);
    }
    running.signal(Signal::SIGCONT);
    let answer = running.end();
    assert_eq!(answer.code, Some(5), "{answer:?}");
    let result = answer.json();
    assert_eq!(result["verdict"], "invalid", "{result}");
    let reasons = result["verdict_reasons"].as_array().expect("a list");
    let of_the_generator = |reason: &Value| reason["rule"] == "schedule_lag_p99";
    assert!(reasons.iter().all(of_the_generator), "{result}");
    let lag = place.value("select schedule_lag_ns_p99 from reports.runs");
    assert!(lag.as_i64() > Some(10_000_000), "late by {lag} ns");
    assert_eq!(
        place.value("select bool_or(valid) from reports.stages where phase = 'steady'"),
        false
    );
}

#[test]
fn arrivals_that_were_sent_late_make_no_measurement() {
    held_up_under(
        &["--profile", "stability", "--rate", "100"],
        "stability 100 req/s:",
    );
}

/// A slot that stood empty was load that the subject did not get.
#[test]
fn slots_that_stood_empty_make_no_measurement() {
    held_up_under(
        &["--profile", "max_throughput", "--concurrency", "20"],
        "max_throughput concurrency 20:",
    );
}

/// A slot without a connection would stand empty from beginning to end: that is said at once.
#[test]
fn more_slots_than_connections_are_refused() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let load = ["--profile", "max_throughput", "--concurrency", "1000"];
    let run = place.command(&simulated.run(&load));
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(place.path())
        .output()
        .expect("there is a shell");
    Answer::of(output).refuses(
        1,
        "max_throughput keeps 1000 requests in flight, and this process may have 192 connections",
        "ulimit -n",
    );
    assert!(!place.path().join("plimsoll-data").exists());
}
