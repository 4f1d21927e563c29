//! Percentiles that are merged.

use plimsoll_ingest::{RunId, Sketch, StageRow};
use plimsoll_warehouse::QueryError;

use crate::place::{Place, answer, at, failure, id, request, run, stage};

/// Latencies over four orders of magnitude, none twice.
fn latencies(run: i64, stage: i64) -> impl Iterator<Item = i64> {
    (0..500).map(move |n| (1_000 + (n * 7_919 + run * 31 + stage * 101) % 9_973) * (1 << (n % 9)))
}

async fn publish(place: &Place, run_id: RunId, number: i64) {
    let mut stages = Vec::new();
    let mut requests = Vec::new();
    for of in 0..3 {
        let sketch: Sketch = latencies(number, of).map(|ns| ns as f64).collect();
        stages.push(StageRow {
            ttft_sketch: (of < 2).then(|| sketch.to_bytes()),
            ..stage(run_id, of, "steady")
        });
        requests.extend(latencies(number, of).enumerate().map(|(n, ns)| {
            plimsoll_ingest::RequestRow {
                stage: of,
                ttft_ns: Some(ns),
                ..request(run_id, of * 500 + n as i64)
            }
        }));
    }
    place.append(&stages).await;
    place.append(&requests).await;
    place.append(&[run(run_id, "m")]).await;
}

#[tokio::test]
async fn sketches_of_stages_merge_to_what_the_requests_say() {
    let place = Place::new();
    for number in 0..4 {
        publish(&place, id(at(1, number), number as u8 + 1), number).await;
    }
    let warehouse = place.open().await;
    // Grouped and not, over stages and over requests.
    let merged = "SELECT run_key, sketch_merge(ttft_sketch) AS s FROM stages GROUP BY run_key";
    let made = "SELECT run_key, sketch(ttft_ns) AS s, approx_distinct(stage) \
                FROM requests WHERE stage < 2 GROUP BY run_key";
    let exact = "SELECT run_key, percentile_cont(0.5) WITHIN GROUP (ORDER BY ttft_ns) AS p50, \
                 percentile_cont(0.99) WITHIN GROUP (ORDER BY ttft_ns) AS p99 \
                 FROM requests WHERE stage < 2 GROUP BY run_key";
    let sql = format!(
        "SELECT count(*), bool_and(a.s = b.s), \
         max(abs(sketch_quantile(a.s, 0.5) / p50 - 1)) < 0.011, \
         max(abs(sketch_quantile(a.s, 0.99) / p99 - 1)) < 0.011 \
         FROM ({merged}) AS a JOIN ({made}) AS b ON a.run_key = b.run_key \
         JOIN ({exact}) AS c ON c.run_key = a.run_key"
    );
    assert_eq!(answer(&warehouse, &sql).await, "4,true,true,true");
    let sql = "SELECT sketch_quantile((SELECT sketch_merge(ttft_sketch) FROM stages), 0.9) \
               = sketch_quantile((SELECT sketch(ttft_ns) FROM requests WHERE stage < 2), 0.9)";
    assert_eq!(answer(&warehouse, sql).await, "true");
    let sql = "SELECT sketch_quantile(sketch(ttft_ns) FILTER (WHERE stage = 0), 1) = \
               max(ttft_ns) FILTER (WHERE stage = 0) FROM requests";
    assert_eq!(answer(&warehouse, sql).await, "true");
}

#[tokio::test]
async fn of_nothing_there_is_no_sketch_and_of_no_sketch_no_quantile() {
    let place = Place::new();
    publish(&place, id(at(1, 0), 1), 0).await;
    let warehouse = place.open().await;
    for (sql, answers) in [
        (
            "SELECT sketch(ttft_ns) IS NULL FROM requests WHERE stage = 9",
            "true",
        ),
        ("SELECT sketch(tpot_ns) IS NULL FROM requests", "true"),
        (
            "SELECT stage, sketch_merge(ttft_sketch) IS NULL FROM stages GROUP BY stage ORDER BY 1",
            "0,false\n1,false\n2,true",
        ),
        ("SELECT sketch_quantile(NULL, 0.5) IS NULL", "true"),
        (
            "SELECT sketch_quantile(ttft_sketch, NULL) IS NULL FROM stages WHERE stage = 0",
            "true",
        ),
        (
            "SELECT sketch_quantile(sketch(x), 0.5) FROM (VALUES (1), (2), (3)) AS t (x)",
            "1.9936617014173448",
        ),
    ] {
        assert_eq!(answer(&warehouse, sql).await, answers, "{sql}");
    }
    for (sql, says) in [
        (
            "SELECT sketch_quantile(ttft_sketch, 1.5) FROM stages WHERE stage = 0",
            "a share from 0 to 1, and 1.5",
        ),
        (
            "SELECT sketch_quantile(arrow_cast('x', 'Binary'), 0.5)",
            "arrow_cast",
        ),
        (
            "SELECT sketch_quantile(X'504c534b', 0.5)",
            "the sketch is damaged",
        ),
        ("SELECT sketch_merge(X'00')", "no sketch of Plimsoll's"),
        (
            "SELECT sketch(x) FROM (VALUES (1.0), (CAST('NaN' AS DOUBLE))) AS t (x)",
            "finite numbers, and NaN",
        ),
        ("SELECT sketch('slow')", "sketch"),
    ] {
        let error = failure(&warehouse, sql).await.to_string();
        assert!(error.contains(says), "{sql}: {error}");
    }
}

/// Many groups of sketches count as memory, and a query past the limits is refused.
#[tokio::test]
async fn sketches_are_held_to_the_memory_limit() {
    let place = Place::new();
    let options = plimsoll_warehouse::WarehouseOptions {
        threads: 2,
        memory_limit: 20 << 20,
        spill_limit: 1 << 20,
        ..Default::default()
    };
    let warehouse = crate::place::open(&place.location, options).await;
    let sql = "SELECT count(*) FROM (SELECT value % 200000 AS g, sketch(value * value) AS s \
               FROM range(1000000) GROUP BY value % 200000) AS t WHERE s IS NOT NULL";
    let error = failure(&warehouse, sql).await;
    let refused = matches!(error, QueryError::Memory { .. });
    assert!(refused, "{error:?}");
}
