//! Parts of spans of time: what PostgreSQL and DuckDB give for them.

use crate::place::{Place, answer};

#[tokio::test]
async fn parts_of_spans_are_those_that_one_would_write() {
    let warehouse = Place::new().open().await;
    let parts = |part: &str| format!("extract({part} FROM s)");
    let parts = [
        "day",
        "hour",
        "minute",
        "second",
        "millisecond",
        "microsecond",
        "nanosecond",
        "epoch",
    ]
    .map(parts);
    let parts = parts.join(", ");
    let long = "TIMESTAMP '2026-01-03T01:02:03.75Z' - TIMESTAMP '2026-01-01T00:00:00Z'";
    let short = "TIMESTAMP '2026-01-01T00:00:00Z' - TIMESTAMP '2026-01-01T00:00:02.743126Z'";
    let least = "TIMESTAMP '2026-01-01T00:00:00.970945Z' - TIMESTAMP '2026-01-01T00:00:00Z'";
    for (span, expected) in [
        (long, "2,1,2,3,3750,3750000,3750000000,176523.75"),
        (short, "0,0,0,-2,-2743,-2743126,-2743126000,-2.743126"),
        (least, "0,0,0,0,970,970945,970945000,0.970945"),
        (
            "INTERVAL '2 days 1 hour 2 minutes 3.75 seconds'",
            "2,1,2,3,3750,3750000,3750000000,176523.75",
        ),
        (
            "to_timestamp_seconds(90061) - to_timestamp_seconds(0)",
            "1,1,1,1,1000,1000000,1000000000,90061.0",
        ),
        ("CAST(NULL AS INTERVAL)", ",,,,,,,"),
    ] {
        let sql = format!("SELECT {parts} FROM (SELECT {span} AS s)");
        assert_eq!(answer(&warehouse, &sql).await, expected, "{span}");
    }
    // Of many rows, and by its other name.
    let sql = "SELECT sum(datepart('minutes', s)), sum(extract(second FROM s)), sum(date_part('hour', s)), \
        sum(extract(epoch FROM s)) FROM (SELECT to_timestamp_seconds(value * 61) - to_timestamp_seconds(0) AS s FROM generate_series(0, 119))";
    assert_eq!(answer(&warehouse, sql).await, "3540,3540,61,435540.0");
}

#[tokio::test]
async fn parts_of_timestamps_are_as_they_were() {
    let warehouse = Place::new().open().await;
    let moment = "TIMESTAMP '2026-01-03T01:02:03.750001Z'";
    for (part, expected) in [
        ("year", "2026"),
        ("dow", "6"),
        ("hour", "1"),
        ("millisecond", "3750"),
        ("epoch", "1767402123.750001"),
    ] {
        let sql = format!("SELECT extract({part} FROM {moment})");
        assert_eq!(answer(&warehouse, &sql).await, expected, "{part}");
    }
    let sql =
        format!("SELECT count(*) FROM (SELECT {moment} AS t) WHERE extract(year FROM t) = 2026");
    assert_eq!(answer(&warehouse, &sql).await, "1");
}
