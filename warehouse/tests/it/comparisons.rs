//! Two runs side by side.

use plimsoll_ingest::{CaseRow, EnvelopeRow, RunId, RunRow, ScoreRow, StageRow, Verdict};

use crate::place::{Place, answer, at, blank, envelope, failure, id, run, stage};

/// A run of `model` with a TTFT in ms and a peak.
async fn measured(place: &Place, run_id: RunId, model: &str, ttft_ms: i64, peak: f64) {
    let of_stage = StageRow {
        name: "4 req/s".into(),
        ttft_ns_p99: Some(ttft_ms * 2_000_000),
        throughput_rps: 4.0,
        ..stage(run_id, 1, "steady")
    };
    let warm_up = StageRow {
        ttft_ns_p99: Some(1),
        ..stage(run_id, 0, "warm_up")
    };
    place.append(&[warm_up, of_stage]).await;
    let setup = EnvelopeRow {
        driver: Some(if ttft_ms > 110 { "570" } else { "560" }.into()),
        json: r#"{"timestamp_source": "kernel"}"#.into(),
        ..envelope(run_id)
    };
    place.append(&[setup]).await;
    let row = RunRow {
        ttft_ns_p99: Some(ttft_ms * 1_000_000),
        peak_goodput_rps: Some(peak),
        config: format!(
            r#"{{"seed": {}, "clock": {{"at": {ttft_ms}}}}}"#,
            run_id.run_key()
        ),
        ..run(run_id, model)
    };
    place.append(&[row]).await;
}

const FIGURES: &str = "SELECT section, item, metric, a, b, change, round(change_pct, 2), \
                       round(change_low, 2), round(change_high, 2), verdict, reason, earlier";

/// Six runs whose TTFT alternates by 2 ms, then one at 130: noise is 1.41, and the interval of a
/// difference 2.91 times 2 at 3.57 degrees of freedom.
#[tokio::test]
async fn a_difference_is_judged_by_the_runs_before() {
    let place = Place::new();
    for minute in 0..6 {
        let ttft_ms = 100 + 2 * (minute % 2);
        measured(&place, id(at(1, minute), 1), "m", ttft_ms, 16.0).await;
    }
    measured(&place, id(at(1, 6), 2), "m", 130, 16.1).await;
    // Later, of another model, and of no verdict: none of them tells about the noise.
    measured(&place, id(at(1, 7), 3), "m", 500, 99.0).await;
    measured(&place, id(at(1, 3), 4), "other", 500, 99.0).await;
    let spoiled = RunRow {
        verdict: Verdict::Invalid.to_string(),
        ttft_ns_p99: Some(900_000_000),
        ..run(id(at(1, 2), 5), "m")
    };
    place.append(&[spoiled]).await;
    let warehouse = place.open().await;
    let (a, b) = (id(at(1, 5), 1), id(at(1, 6), 2));
    let compared = format!("FROM compare_runs('{a}', '{b}')");
    assert_eq!(
        answer(
            &warehouse,
            &format!("{FIGURES} {compared} WHERE unit IS NOT NULL")
        )
        .await,
        "summary,,peak_goodput_rps,16.0,16.1,0.10000000000000142,0.63,0.1,0.1,negligible,,6\n\
         summary,,ttft_p99_ms,102.0,130.0,28.0,27.45,22.17,33.83,worse,,6\n\
         stage,4 req/s,throughput_rps,4.0,4.0,0.0,0.0,0.0,0.0,within_noise,,6\n\
         stage,4 req/s,goodput_rps,0.0,0.0,0.0,,0.0,0.0,within_noise,,6\n\
         stage,4 req/s,ttft_p99_ms,204.0,260.0,56.0,27.45,44.35,67.65,worse,,6"
    );
    let texts = format!(
        "SELECT section, item, a_text, b_text {compared} WHERE unit IS NULL AND item <> 'seed'"
    );
    assert_eq!(answer(&warehouse, &texts).await, "envelope,driver,560,570");
    // The other way round it is better, and the noise is that of the same runs.
    let turned = format!(
        "SELECT change, verdict, earlier FROM compare_runs('{b}', '{a}') \
         WHERE section = 'summary' AND metric = 'ttft_p99_ms'"
    );
    assert_eq!(answer(&warehouse, &turned).await, "-28.0,better,6");
    // Two runs that differ as neighbours do.
    let (c, d) = (id(at(1, 3), 1), id(at(1, 5), 1));
    let same =
        format!("SELECT DISTINCT verdict FROM compare_runs('{c}', '{d}') WHERE unit IS NOT NULL");
    assert_eq!(answer(&warehouse, &same).await, "within_noise");
}

#[tokio::test]
async fn what_cannot_be_decided_says_why() {
    let place = Place::new();
    for minute in 0..5 {
        measured(&place, id(at(1, minute), 1), "m", 100 + minute, 16.0).await;
    }
    let other = RunRow {
        comparable_key: "other".into(),
        peak_goodput_rps: Some(9.0),
        verdict: Verdict::Blocked.to_string(),
        ..run(id(at(1, 9), 2), "m")
    };
    place.append(&[other]).await;
    let warehouse = place.open().await;
    let of = |a: RunId, b: RunId| {
        format!("FROM compare_runs('{a}', '{b}') WHERE section = 'summary' ORDER BY metric")
    };
    let first = |minute| id(at(1, minute), 1);
    let sql = format!(
        "SELECT metric, verdict, reason, change_low {}",
        of(first(2), first(4))
    );
    assert_eq!(
        answer(&warehouse, &sql).await,
        "peak_goodput_rps,undecided,\"4 earlier runs of the question, and 5 are needed\",\n\
         ttft_p99_ms,undecided,\"4 earlier runs of the question, and 5 are needed\","
    );
    let sql = format!(
        "SELECT metric, a, b, verdict, reason, a_text, b_text {}",
        of(first(4), id(at(1, 9), 2))
    );
    let different = "the runs answer different questions: their comparable_key differs";
    assert_eq!(
        answer(&warehouse, &sql).await,
        format!(
            "peak_goodput_rps,16.0,9.0,undecided,{different},,\n\
             ttft_p99_ms,104.0,,undecided,only one of the runs has it,,\n\
             verdict,,,,,passed,blocked"
        )
    );
    let spoiled = id(at(1, 8), 7);
    let row = RunRow {
        verdict: Verdict::Incomplete.to_string(),
        ..run(spoiled, "m")
    };
    place.append(&[row]).await;
    warehouse.refresh().await.expect("a newer set");
    let sql = format!("SELECT * FROM compare_runs('latest', '{spoiled}')");
    let error = failure(&warehouse, &sql).await.to_string();
    assert!(
        error.contains("is incomplete: it says nothing about its model"),
        "{error}"
    );
    for arguments in [
        "'latest'",
        "'latest', 7",
        "'latest', 'x'",
        "'latest', '123456'",
    ] {
        let sql = format!("SELECT * FROM compare_runs({arguments})");
        failure(&warehouse, &sql).await;
    }
}

#[tokio::test]
async fn benchmarks_markers_and_cases_are_compared_too() {
    let place = Place::new();
    for minute in 0..7 {
        let run_id = id(at(1, minute), 1);
        let last = minute == 6;
        let score = |metric: &str, value: f64, stderr: f64| ScoreRow {
            benchmark: "gsm8k".into(),
            metric: metric.into(),
            value,
            stderr: Some(stderr),
            n: 200,
            higher_is_better: true,
            comparable_key: "k".into(),
            ..blank(run_id)
        };
        let fallen = if last { 0.1 } else { 0.0 };
        place
            .append(&[
                score("acc", 0.8 - fallen, 0.01),
                score("noisy", 0.8 - fallen, 0.1),
            ])
            .await;
        let case = |case_id: &str, outcome: &str| CaseRow {
            case_id: case_id.into(),
            tier: "quick".into(),
            marker: "tools".into(),
            outcome: outcome.into(),
            ..blank(run_id)
        };
        let outcome = if last { "failed" } else { "passed" };
        place
            .append(&[
                case("a", "passed"),
                case("b", outcome),
                case("c", "skipped"),
            ])
            .await;
        place.append(&[run(run_id, "m")]).await;
    }
    let sql = format!(
        "SELECT section, item, metric, a, b, verdict, a_text, b_text \
         FROM compare_runs('{}', 'latest') ORDER BY section, metric",
        id(at(1, 5), 1)
    );
    assert_eq!(
        answer(&place.open().await, &sql).await,
        "benchmark,gsm8k,acc,0.8,0.7000000000000001,worse,,\n\
         benchmark,gsm8k,noisy,0.8,0.7000000000000001,within_noise,,\n\
         case,b,,,,,passed,failed\n\
         marker,tools,passed_share,1.0,0.5,worse,,"
    );
}

/// A run that looks for a limit and finds it at a stage of this name; `None` where no load holds.
async fn limit(place: &Place, run_id: RunId, found: Option<(&str, i64, f64)>) {
    let stages = ["8 req/s", "16 req/s"].into_iter().zip(0..);
    let stages: Vec<_> = stages
        .map(|(name, number)| StageRow {
            name: name.into(),
            sent: 100,
            ok: 100,
            ..stage(run_id, number, "steady")
        })
        .collect();
    let held = stages
        .iter()
        .find(|stage| Some(stage.name.as_str()) == found.map(|found| found.0));
    let row = RunRow {
        profile: Some("step".into()),
        verdict: match found {
            Some(_) => Verdict::Passed,
            None => Verdict::Blocked,
        }
        .to_string(),
        headline_stage: Some(held.map_or(0, |stage| stage.stage)),
        ttft_ns_p99: found.map(|(_, ttft_ms, _)| ttft_ms * 1_000_000),
        error_rate: found.map(|_| 0.0),
        peak_goodput_rps: found.map(|(_, _, peak)| peak),
        ..run(run_id, "m")
    };
    place.append(&stages).await;
    place.append(&[row]).await;
}

/// What got faster has its limit at a heavier load, with longer latencies: that is no change for the
/// worse. What holds no load any more has no peak, and that is one.
#[tokio::test]
async fn limits_at_different_loads_have_latencies_of_their_own() {
    let place = Place::new();
    for minute in 0..8 {
        let (ttft_ms, peak) = (100 + minute % 2, 8.0 + 0.01 * (minute % 3) as f64);
        limit(
            &place,
            id(at(1, minute), 1),
            Some(("8 req/s", ttft_ms, peak)),
        )
        .await;
    }
    for minute in 8..12 {
        let found = Some((
            "16 req/s",
            300 + minute % 2,
            16.0 + 0.01 * (minute % 3) as f64,
        ));
        limit(&place, id(at(1, minute), 2), found).await;
    }
    for minute in 12..16 {
        limit(&place, id(at(1, minute), 3), None).await;
    }
    let warehouse = place.open().await;
    let (a, b) = (id(at(1, 7), 1), id(at(1, 8), 2));
    let sql = format!(
        "SELECT metric, verdict, reason FROM compare_runs('{a}', '{b}') \
         WHERE section = 'summary' AND unit IS NOT NULL ORDER BY metric"
    );
    let different = "it describes different loads: 8 req/s and 16 req/s";
    assert_eq!(
        answer(&warehouse, &sql).await,
        format!(
            "error_rate,undecided,{different}\n\
             peak_goodput_rps,better,\n\
             ttft_p99_ms,undecided,{different}"
        )
    );
    let sql = "SELECT metric, direction, round(before, 1), after FROM change_points('2000-01-01') \
               ORDER BY changed_at";
    assert_eq!(
        answer(&warehouse, sql).await,
        "peak_goodput_rps,better,8.0,16.0125\npeak_goodput_rps,worse,16.0,0.0"
    );
    let sql = "SELECT metric, runs, last, gap FROM performance_summary ORDER BY metric";
    let summary = answer(&warehouse, sql).await;
    assert!(summary.contains("peak_goodput_rps,16,0.0,16."), "{summary}");
}

/// One failure in some thousand requests, after none, may be chance; so may not every second.
#[tokio::test]
async fn a_share_is_held_to_what_its_requests_can_tell() {
    let place = Place::new();
    let shares = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0001, 0.5];
    for (minute, error_rate) in (0..).zip(shares) {
        let run_id = id(at(1, minute), 1);
        let sent = StageRow {
            sent: 10_000,
            ok: 10_000,
            ..stage(run_id, 0, "steady")
        };
        let row = RunRow {
            error_rate: Some(error_rate),
            ..run(run_id, "m")
        };
        place.append(&[sent]).await;
        place.append(&[row]).await;
    }
    let warehouse = place.open().await;
    for (minute, verdict) in [(5, "within_noise"), (6, "within_noise"), (7, "worse")] {
        let (a, b) = (id(at(1, 4), 1), id(at(1, minute), 1));
        let sql =
            format!("SELECT verdict FROM compare_runs('{a}', '{b}') WHERE metric = 'error_rate'");
        assert_eq!(answer(&warehouse, &sql).await, verdict, "{minute}");
    }
}
