//! A generator that the machine does not let work: it was late, and the run says so.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::{Answer, Listen, Place, Running};
use crate::simulated::Simulated;
use nix::sys::signal::Signal;

/// For so long, of 8 s.
const STOOD_STILL: Duration = Duration::from_millis(1_500);

/// Measures with the process stopped for a while in the middle, and checks that nothing is told of
/// the subject.
#[track_caller]
fn held_up_under(ttft: &str, load: &[&str], first_line: &str) -> Place {
    let place = Place::new();
    let simulated = Simulated::start(&place, &["--slots", "64", "--ttft", ttft, "--itl", "1ms"]);
    let size = ["--output-tokens", "4", "--duration", "8s", "--json"];
    let mut command = place.command(&simulated.run(&[load, &size].concat()));
    let mut running = Running::start(&mut command, Listen::ToProgress);
    running.wait_for(first_line);
    running.signal(Signal::SIGSTOP);
    let since = Instant::now();
    while since.elapsed() < STOOD_STILL {
        place.done(&["sql", "select 1"]);
    }
    running.signal(Signal::SIGCONT);
    let answer = running.end();
    assert_eq!(answer.code, Some(5), "{answer:?}");
    let result = answer.json();
    assert_eq!(result["verdict"], "invalid", "{result}");
    let reasons = result["verdict_reasons"].as_array().expect("a list");
    let rules: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| reason["rule"].as_str())
        .collect();
    let of_the_generator = ["environment", "schedule_lag_p99", "idle_slots"];
    assert!(
        rules.iter().all(|rule| of_the_generator.contains(rule)),
        "{result}"
    );
    place
}

#[track_caller]
fn was_late(place: &Place) {
    let lag = place.value("select schedule_lag_ns_p99 from reports.runs");
    assert!(lag.as_i64() > Some(10_000_000), "late by {lag} ns");
    assert_eq!(
        place.value("select bool_or(valid) from reports.stages where phase = 'steady'"),
        false
    );
}

#[test]
fn arrivals_that_were_sent_late_make_no_measurement() {
    was_late(&held_up_under(
        "100ms",
        &["--profile", "stability", "--rate", "100"],
        "stability 100 req/s:",
    ));
}

/// A slot that stood empty was load that the subject did not get.
#[test]
fn slots_that_stood_empty_make_no_measurement() {
    was_late(&held_up_under(
        "100ms",
        &["--profile", "max_throughput", "--concurrency", "20"],
        "max_throughput concurrency 20:",
    ));
}

/// One of a thousand requests was late, which no percentile tells; the one slot stood empty for a
/// good part of the time.
#[test]
fn a_stop_between_two_short_replies_makes_no_measurement() {
    let place = held_up_under(
        "2ms",
        &["--profile", "max_throughput", "--concurrency", "1"],
        "max_throughput concurrency 1:",
    );
    let late = place.value(
        "select count(*) from raw.requests where phase = 'steady' \
         and sent_ns - scheduled_ns > 100000000",
    );
    assert!(late.as_i64() <= Some(1), "{late} requests were late");
    let reasons = place.value("select verdict_reasons from reports.runs");
    assert!(
        reasons
            .to_string()
            .contains("the generator stood still for "),
        "{reasons}"
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
