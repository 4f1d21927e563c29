//! Where figures changed, on series whose changes are known.

use std::time::{Duration, Instant};

use plimsoll_ingest::{EnvelopeRow, RunRow, ScoreRow};
use plimsoll_warehouse::{QueryError, QueryLimits, WarehouseOptions};

use crate::place::{EVERYTHING, Place, answer, ask, at, blank, envelope, failure, id, open, run};

/// A little noise that does not repeat soon.
fn jitter(number: i64) -> f64 {
    ((number * 7_919) % 31) as f64 / 31.0 - 0.5
}

/// A run a day from the first of January: TTFT rises on the 13th, when the driver changes, and the
/// peak rises on the 9th.
async fn nightly(place: &Place, days: i64) {
    for day in 1..=days {
        let run_id = id(at(day, 0), 1);
        let ttft_ms = if day < 13 { 100.0 } else { 120.0 } + 4.0 * jitter(day);
        let peak = if day < 9 { 16.0 } else { 20.0 } + jitter(day);
        let setup = EnvelopeRow {
            driver: Some(if day < 13 { "560" } else { "570" }.into()),
            host: Some("gpu7".into()),
            ..envelope(run_id)
        };
        place.append(&[setup]).await;
        let row = RunRow {
            ttft_ns_p99: Some((ttft_ms * 1e6) as i64),
            e2e_ns_p50: Some((900.0 * 1e6 + 1e6 * jitter(day * 3)) as i64),
            peak_goodput_rps: Some(peak),
            ..run(run_id, "m")
        };
        place.append(&[row]).await;
    }
}

const WHAT: &str = "SELECT changed_at, metric, direction, round(before), round(after), \
                    round(change_pct), runs_before, runs_after, confidence > 0.95, causes, \
                    change_low < change AND change < change_high";

#[tokio::test]
async fn a_regression_is_found_with_its_runs_and_what_changed() {
    let place = Place::new();
    nightly(&place, 24).await;
    let warehouse = place.open().await;
    let worse = "2026-01-13T12:00:00Z,ttft_p99_ms,worse,100.0,120.0,20.0,12,12,true,\
                 driver: 560 -> 570,true";
    let better = "2026-01-09T12:00:00Z,peak_goodput_rps,better,16.0,20.0,25.0,8,16,true,,true";
    let found = answer(
        &warehouse,
        &format!("{WHAT} FROM regressions('2026-01-01')"),
    )
    .await;
    assert_eq!(found, worse);
    let both = answer(
        &warehouse,
        &format!("{WHAT} FROM change_points('2026-01-01')"),
    )
    .await;
    assert_eq!(both, format!("{worse}\n{better}"));
    let sides = "SELECT a.started_at, b.started_at FROM regressions('2026-01-01') AS c \
                 JOIN runs AS a ON a.run_id = c.run_id_before \
                 JOIN runs AS b ON b.run_id = c.run_id_after";
    assert_eq!(
        answer(&warehouse, sides).await,
        "2026-01-12T12:00:00Z,2026-01-13T12:00:00Z"
    );
    // Only what changed since then; the moment is that of the first run after the change.
    for (since, points) in [
        ("2026-01-09T12:00:00Z", "2"),
        ("2026-01-09T14:00:00+02:00", "2"),
        ("2026-01-09T12:00:01Z", "1"),
        ("2026-01-14", "0"),
        ("2027-01-01", "0"),
    ] {
        let sql = format!("SELECT count(*) FROM change_points('{since}')");
        assert_eq!(answer(&warehouse, &sql).await, points, "{since}");
    }
    for argument in [
        "'yesterday'",
        "'2026-13-01'",
        "7",
        "''",
        "'2026-01-01', 'x'",
    ] {
        let sql = format!("SELECT * FROM regressions({argument})");
        let error = failure(&warehouse, &sql).await.to_string();
        assert!(
            error.contains("regressions takes a day or a moment"),
            "{error}"
        );
    }
}

/// A new level of two runs, or a series of four before it, is not enough to say so.
#[tokio::test]
async fn few_runs_decide_nothing() {
    let place = Place::new();
    nightly(&place, 14).await;
    let warehouse = place.open().await;
    let sql = "SELECT count(*) FROM regressions('2026-01-01')";
    assert_eq!(answer(&warehouse, sql).await, "0");
    let place = Place::new();
    for day in 1..=20 {
        let peak = if day < 5 { 16.0 } else { 8.0 } + jitter(day) / 8.0;
        let row = RunRow {
            peak_goodput_rps: Some(peak),
            ..run(id(at(day, 0), 1), "m")
        };
        place.append(&[row]).await;
    }
    assert_eq!(answer(&place.open().await, sql).await, "0");
}

/// Scores change too, and only along their own key.
#[tokio::test]
async fn scores_are_followed_along_their_key() {
    let place = Place::new();
    for day in 1..=20 {
        for (minute, key, step) in [(0, "a", 0.1), (1, "b", 0.0)] {
            let run_id = id(at(day, minute), 1);
            let value = 0.7 - if day > 10 { step } else { 0.0 } + jitter(day + minute) / 100.0;
            let row = ScoreRow {
                benchmark: "gsm8k".into(),
                metric: "acc".into(),
                value,
                n: 200,
                higher_is_better: true,
                comparable_key: key.into(),
                ..blank(run_id)
            };
            place.append(&[row]).await;
            place.append(&[run(run_id, "m")]).await;
        }
    }
    let sql = "SELECT pillar, suite, metric, unit, comparable_key, changed_at, direction \
               FROM change_points('2026-01-01')";
    assert_eq!(
        answer(&place.open().await, sql).await,
        "benchmark,gsm8k,acc,score,a,2026-01-11T12:00:00Z,worse"
    );
}

/// Runs of some models, one each quarter of an hour, with a figure that never settles.
async fn restless(place: &Place, models: &[&str], runs: i64) {
    for model in models {
        let rows = (0..runs).map(|number| RunRow {
            ttft_ns_p99: Some(100_000_000 + (number / 40 % 7) * 3_000_000 + number * number % 977),
            ..run(id(at(1, number * 15), model.as_bytes()[0]), model)
        });
        place.append(&rows.collect::<Vec<_>>()).await;
    }
}

/// Finding changes takes time in the square of the runs, and memory for each.
#[tokio::test]
async fn many_runs_of_a_question_are_kept_within_the_limits() {
    let since = "SELECT count(*) FROM regressions('2026-01-01')";
    let place = Place::new();
    let models = ["a", "b", "c", "d", "e", "f", "g", "h"];
    restless(&place, &models, 2_800).await;
    let options = WarehouseOptions {
        threads: 1,
        ..WarehouseOptions::default()
    };
    let warehouse = open(&place.location, options.clone()).await;
    let limits = QueryLimits {
        timeout: Duration::from_secs(1),
        ..EVERYTHING
    };
    let error = ask(&warehouse, since, &[], &limits).await;
    let error = error.expect_err("it takes longer");
    assert!(matches!(error, QueryError::TimedOut { .. }), "{error}");
    // Whoever asks next does not wait until all is looked at.
    let began = Instant::now();
    assert_eq!(answer(&warehouse, "SELECT 1").await, "1");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );

    let tight = WarehouseOptions {
        memory_limit: 4 << 20,
        ..options
    };
    let warehouse = open(&place.location, tight).await;
    let error = failure(&warehouse, since).await;
    assert!(matches!(error, QueryError::Memory { .. }), "{error}");
    assert_eq!(
        answer(&warehouse, "SELECT count(*) FROM runs").await,
        "22400"
    );

    let place = Place::new();
    restless(&place, &["m"], 3_000).await;
    let warehouse = place.open().await;
    let error = failure(&warehouse, since).await.to_string();
    assert!(
        error.contains("`step` of `m` has 3000 runs since 2026-01-01T00:00:00Z"),
        "{error}"
    );
    assert!(
        error.contains("2900") && error.contains("give a later moment"),
        "{error}"
    );
    let later = "SELECT count(*) FROM regressions('2026-01-25')";
    assert!(answer(&warehouse, later).await.parse::<u32>().is_ok());
}
