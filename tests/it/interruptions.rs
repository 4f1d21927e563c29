//! Runs that are cut short: what was measured is kept, under a verdict that says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::program::{Listen, Place, Running};
use crate::simulated::Simulated;

/// A run that would take much longer, after two seconds of warm-up at 50 requests a second.
fn under_way(place: &Place, simulated: &Simulated) -> Running {
    let mut command = place.command(&simulated.run(&[
        "--profile",
        "stability",
        "--rate",
        "50",
        "--duration",
        "20s",
        "--output-tokens",
        "4",
        "--json",
    ]));
    let mut running = Running::start(&mut command, Listen::ToProgress);
    running.wait_for("stability 50 req/s:");
    running
}

/// Two seconds at 50 requests a second, less those of the second that a crash may lose.
const MEASURED: i64 = 50;

fn is_published_as(place: &Place, verdict: &str, at_least: i64) {
    assert_eq!(
        place.value("select verdict from reports.runs"),
        json!(verdict)
    );
    let rows = place.value("select count(*) from raw.requests");
    assert!(
        rows.as_i64() >= Some(at_least),
        "what was measured is there: {rows}"
    );
    assert_eq!(rows, place.value("select sum(sent) from reports.stages"));
    assert_eq!(
        rows,
        place.value("select sum(ok + errors) from reports.stages")
    );
    assert_eq!(place.spooled(), [""; 0]);
}

#[test]
fn ctrl_c_publishes_what_was_measured_as_cancelled() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let running = under_way(&place, &simulated);
    running.signal(Signal::SIGINT);
    let answer = running.end();
    assert_eq!(answer.code, Some(130), "{answer:?}");
    assert_eq!(answer.json()["verdict"], "cancelled");
    is_published_as(&place, "cancelled", MEASURED);
}

#[test]
fn a_service_manager_ends_it_as_well() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let running = under_way(&place, &simulated);
    running.signal(Signal::SIGTERM);
    let answer = running.end();
    assert_eq!(answer.code, Some(130), "{answer:?}");
    is_published_as(&place, "cancelled", MEASURED);
}

#[test]
fn after_a_kill_the_next_run_publishes_what_was_spooled() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let running = under_way(&place, &simulated);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, None, "it was killed");
    assert_eq!(place.spooled().len(), 1);

    // Commands that only read say so and leave it alone.
    let answer = place.done(&["sql", "select count(*) from reports.runs"]);
    assert!(answer.stderr.contains("spool"), "{answer:?}");
    assert_eq!(place.spooled().len(), 1);

    // A run for another warehouse does not take it along, and says whose it is.
    let elsewhere = [
        &simulated.run(&["--profile", "smoke"])[..],
        &["--warehouse", "other"],
    ];
    let answer = place.done(&elsewhere.concat());
    let home = place.path().join("plimsoll-data/warehouse");
    let hint = format!("plimsoll serve --warehouse {}", home.display());
    assert!(answer.stderr.contains(&hint), "{answer:?}");
    assert!(!answer.stderr.contains("published run"), "{answer:?}");
    assert_eq!(place.spooled().len(), 1);

    place.done(&simulated.run(&["--profile", "smoke"]));
    assert_eq!(place.spooled(), [""; 0]);
    assert_eq!(
        place.rows("select profile, verdict from reports.runs order by started_at"),
        [
            json!({"profile": "stability", "verdict": "incomplete"}),
            json!({"profile": "smoke", "verdict": "passed"}),
        ]
    );
    let kept = place.value(
        "select count(*) from raw.requests q join reports.runs r on q.run_key = r.run_key \
         where r.verdict = 'incomplete'",
    );
    assert!(
        kept.as_i64() >= Some(MEASURED),
        "at most the last second is lost: {kept}"
    );
}

#[test]
fn a_half_written_spool_is_published_up_to_its_last_whole_part() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let running = under_way(&place, &simulated);
    running.signal(Signal::SIGKILL);
    running.end();
    let spool = place
        .path()
        .join("plimsoll-data/spool")
        .join(&place.spooled()[0]);
    let segment = spool
        .read_dir()
        .expect("the spool is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("segment"))
        })
        .max()
        .expect("it has a segment");
    let bytes = std::fs::read(&segment).expect("it can be read");
    std::fs::write(&segment, &bytes[..bytes.len() - 7]).expect("it can be cut");

    place.done(&simulated.run(&["--profile", "smoke"]));
    assert_eq!(place.spooled(), [""; 0]);
    assert_eq!(
        place.value("select count(*) from reports.runs where verdict = 'incomplete'"),
        json!(1)
    );
}

#[test]
fn an_abort_rule_stops_all_arrivals_and_keeps_what_was_measured() {
    let place = Place::new();
    let simulated = Simulated::start(
        &place,
        &[
            "--ttft",
            "5ms",
            "--itl",
            "1ms",
            "--fault",
            "http-error:every=2",
        ],
    );
    let answer = place.answer(&simulated.run(&[
        "--profile",
        "stability",
        "--rate",
        "50",
        "--duration",
        "60s",
        "--output-tokens",
        "4",
        "--abort-if",
        "error_rate=30%@2s",
        "--json",
    ]));
    assert_eq!(answer.json()["verdict"], "cancelled", "{answer:?}");
    assert!(
        answer.json()["verdict_reasons"]
            .to_string()
            .contains("error_rate"),
        "{answer:?}"
    );
    is_published_as(&place, "cancelled", 10);
    // The rule looks at the last two seconds, and its run is over within one more.
    let last =
        place.value("select max(sent_ns) / 1000000 from raw.requests where phase <> 'probe'");
    let looked = place.value(
        "select min(done_ns) / 1000000 from raw.requests where phase <> 'probe' and status <> 'ok'",
    );
    let (last, looked) = (last.as_i64(), looked.as_i64());
    assert!(
        last < looked.map(|first_error| first_error + 3_000),
        "the first error at {looked:?} ms, and still sent at {last:?} ms"
    );
}

#[test]
fn a_pause_stops_all_arrivals_until_it_ends() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let mut running = under_way(&place, &simulated);
    let asked = SystemTime::now();
    running.signal(Signal::SIGUSR1);
    running.wait_for("paused");
    // Two seconds of silence, which is more than what a pause may take to begin.
    let held = Duration::from_secs(3);
    while asked.elapsed().is_ok_and(|elapsed| elapsed < held) {
        place.done(&["sql", "select 1"]);
    }
    running.signal(Signal::SIGUSR2);
    running.wait_for("stability 50 req/s:");
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().code, Some(130));
    is_published_as(&place, "cancelled", MEASURED);
    assert!(
        place
            .value("select sum(missed) from reports.stages")
            .as_i64()
            > Some(0)
    ); // Within a second of the signal nothing was sent any more, until it went on.
    let asked = asked.duration_since(UNIX_EPOCH).expect("it is after 1970");
    let asked_us = asked.as_micros();
    let during = place.value(&format!(
        "select count(*) from raw.requests q join reports.runs r on q.run_key = r.run_key \
         where cast(r.started_at as bigint) + q.sent_ns / 1000 \
         between {} and {}",
        asked_us + 1_000_000,
        asked_us + 3_000_000
    ));
    assert_eq!(during, json!(0));
}
