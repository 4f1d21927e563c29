//! Views that count, on rows that can be counted by hand.

use plimsoll_ingest::{CaseRow, EventRow, FleetRow, RequestRow, RunRow, StageRow, Verdict};
use plimsoll_warehouse::{Access, QueryLimits};

use crate::place::{EVERYTHING, Place, answer, ask, at, blank, id, request, run, stage};

#[tokio::test]
async fn gpu_hours_are_the_minutes_in_each_state() {
    let place = Place::new();
    let sample = |minute: i64, gpu: Option<&str>, state: &str| FleetRow {
        at: at(1, minute),
        host: "gpu7".into(),
        gpu_uuid: gpu.map(str::to_owned),
        sku: gpu.map(|_| "H100".to_owned()),
        state: state.into(),
        utilization: None,
        memory_used: None,
        deployment: None,
        queued: None,
        oldest_queued_s: None,
    };
    let mut samples: Vec<_> = (0..30)
        .map(|minute| sample(minute, Some("a"), "leased"))
        .collect();
    samples.extend((30..45).map(|minute| sample(minute, Some("a"), "idle")));
    // One minute twice, one of another hour, one of another GPU, and one of the host itself.
    samples.push(sample(44, Some("a"), "idle"));
    samples.push(sample(60, Some("a"), "foreign"));
    samples.push(sample(59, Some("b"), "quarantined"));
    samples.push(sample(10, None, "idle"));
    place.append(&samples).await;
    let warehouse = place.open().await;
    let sql = "SELECT hour, host, gpu, sku, busy, idle, round(foreign, 4), \
               round(quarantined, 4), round(sampled, 4) FROM gpu_hours ORDER BY hour, gpu";
    assert_eq!(
        answer(&warehouse, sql).await,
        "2026-01-01T12:00:00Z,gpu7,a,H100,0.5,0.25,0.0,0.0,0.75\n\
         2026-01-01T12:00:00Z,gpu7,b,H100,0.0,0.0,0.0,0.0167,0.0167\n\
         2026-01-01T13:00:00Z,gpu7,a,H100,0.0,0.0,0.0167,0.0,0.0167"
    );
}

#[tokio::test]
async fn functional_summary_counts_the_cases_of_each_marker() {
    let place = Place::new();
    for (fill, verdict) in [(1, Verdict::Degraded), (2, Verdict::Incomplete)] {
        let run_id = id(at(2, 0), fill);
        let case = |case_id: &str, marker: &str, outcome: &str| CaseRow {
            case_id: case_id.into(),
            tier: "standard".into(),
            marker: marker.into(),
            outcome: outcome.into(),
            ..blank(run_id)
        };
        let cases = [
            case("1", "tools", "passed"),
            case("2", "tools", "passed"),
            case("3", "tools", "failed"),
            case("4", "tools", "error"),
            case("5", "stream", "skipped"),
        ];
        place.append(&cases).await;
        let run = RunRow {
            pillar: "functional".into(),
            verdict: verdict.to_string(),
            ..run(run_id, "m")
        };
        place.append(&[run]).await;
    }
    let warehouse = place.open().await;
    let sql = "SELECT model, tier, marker, started_at, passed, failed, skipped, errors \
               FROM functional_summary ORDER BY marker";
    assert_eq!(
        answer(&warehouse, sql).await,
        "m,standard,stream,2026-01-02T12:00:00Z,0,0,1,0\n\
         m,standard,tools,2026-01-02T12:00:00Z,2,1,0,1"
    );
}

#[tokio::test]
async fn operations_are_the_events_that_explain_a_figure() {
    let place = Place::new();
    let event = |minute: i64, action: &str| EventRow {
        at: at(3, minute),
        actor: "ada".into(),
        action: action.into(),
        source: None,
        job_id: None,
        task_id: None,
        run_id: None,
        model: Some("m".into()),
        deployment: Some("d1".into()),
        host: None,
        reason: Some("exit status 1".into()),
        detail: "{}".into(),
    };
    place
        .append(&[
            event(0, "deployment_started"),
            event(1, "job_submitted"),
            event(2, "deployment_failed"),
        ])
        .await;
    let warehouse = place.open().await;
    let sql = "SELECT * FROM operations ORDER BY at";
    assert_eq!(
        answer(&warehouse, sql).await,
        "2026-01-03T12:00:00Z,deployment_started,m,d1,,exit status 1\n\
         2026-01-03T12:02:00Z,deployment_failed,m,d1,,exit status 1"
    );
    // It shows what happened, and not who did it, to those who may not read the audit.
    let viewer = QueryLimits {
        access: Access::Reports,
        ..EVERYTHING
    };
    let shown = ask(&warehouse, "SELECT kind FROM operations", &[], &viewer).await;
    assert_eq!(shown.expect("an answer").lines().count(), 3);
    let refused = ask(&warehouse, "SELECT actor FROM audit.events", &[], &viewer).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn latency_matrix_tells_classes_and_arms_of_requests_apart() {
    let place = Place::new();
    let run_id = id(at(4, 0), 1);
    let of = |number: i64, class: &str, ttft_ms: Option<i64>, stage: i64| RequestRow {
        stage,
        phase: if stage == 0 { "warm_up" } else { "steady" }.into(),
        workload_class: Some(class.into()),
        status: if ttft_ms.is_some() { "ok" } else { "timeout" }.into(),
        ttft_ns: ttft_ms.map(|ms| ms * 1_000_000),
        output_tokens: ttft_ms.map(|_| number * 10),
        good: ttft_ms.is_some_and(|ms| ms < 35),
        ..request(run_id, number)
    };
    place
        .append(&[
            of(0, "short", Some(999), 0),
            of(1, "short", Some(10), 1),
            of(2, "short", Some(20), 1),
            of(3, "long", Some(30), 1),
            of(4, "long", Some(40), 1),
            of(5, "long", None, 1),
            RequestRow {
                arm: Some("neighbour".into()),
                ..of(6, "short", Some(50), 1)
            },
        ])
        .await;
    let offered = StageRow {
        offered_rps: Some(4.0),
        ..stage(run_id, 1, "steady")
    };
    place.append(&[stage(run_id, 0, "warm_up"), offered]).await;
    place.append(&[run(run_id, "m")]).await;
    let sql = "SELECT stage, offered_rps, arm, workload_class, sent, ok, good, errors, output_tokens, \
               ttft_p50_ms, ttft_p99_ms, tpot_p50_ms FROM latency_matrix('latest')";
    assert_eq!(
        answer(&place.open().await, sql).await,
        "1,4.0,neighbour,short,1,1,0,0,60.0,50.0,50.0,\n\
         1,4.0,,long,3,2,1,1,35.0,35.0,39.9,\n\
         1,4.0,,short,2,2,2,0,15.0,15.0,19.9,"
    );
}
