//! Where figures changed, on series whose changes are known.

use plimsoll_ingest::{EnvelopeRow, RunRow, ScoreRow};

use crate::place::{Place, answer, at, blank, envelope, failure, id, run};

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
