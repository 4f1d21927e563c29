//! Views that count, on rows that can be counted by hand.

use plimsoll_ingest::{CaseRow, FleetRow, RunRow, Verdict};

use crate::place::{Place, answer, at, blank, id, run};

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
