//! What queries hold, where their rows or their sorts are large.

use std::time::Duration;

use plimsoll_warehouse::{QueryLimits, Warehouse, WarehouseOptions};

use crate::place::{EVERYTHING, Place, ask, open};

const MIB: usize = 1 << 20;

async fn with_memory(place: &Place, memory_limit: usize) -> Warehouse {
    let options = WarehouseOptions {
        memory_limit,
        spill_dir: Some(place.folder().join("spill")),
        threads: 2,
        ..WarehouseOptions::default()
    };
    open(&place.location, options).await
}

/// The values of an answer, without the names of its columns.
async fn values(warehouse: &Warehouse, sql: &str) -> String {
    let limits = QueryLimits {
        timeout: Duration::from_secs(150),
        ..EVERYTHING
    };
    let shown: String = sql.chars().take(100).collect();
    let answer = ask(warehouse, sql, &[], &limits).await;
    let answer = answer.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (_, values) = answer.split_once('\n').expect("names of columns");
    values.trim_end().to_string()
}

/// The most memory that this process had so far, in bytes, where the system tells.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

/// A usual batch of such rows would have 819 MB, and a query several of them.
#[tokio::test]
async fn rows_of_any_size_go_through_in_batches_that_fit() {
    let place = Place::new();
    let warehouse = with_memory(&place, 64 * MIB).await;
    let long = "x".repeat(100_000);
    let rows = format!("SELECT '{long}' || value AS a, value FROM generate_series(1, 3000)");
    let before = peak();
    for (sql, expected) in [
        (
            format!("SELECT count(*) FROM (SELECT DISTINCT a FROM ({rows}))"),
            "3000",
        ),
        (
            format!("SELECT count(a), max(length(a)), sum(value) FROM ({rows}) WHERE a > 'b'"),
            "3000,100004,4501500",
        ),
        (
            "SELECT count(a), max(length(a)) FROM (SELECT value || (SELECT string_agg(CAST(value AS TEXT), ',') \
             FROM generate_series(1, 20000)) AS a FROM generate_series(1, 8000))"
                .to_string(),
            "8000,108897",
        ),
        (
            format!(
                "SELECT sum(n), count(*) FROM (SELECT row_number() OVER (ORDER BY a) AS n FROM ({rows}))"
            ),
            "4501500,3000",
        ),
        (
            format!(
                "SELECT count(*), sum(l.value) FROM ({rows}) AS l JOIN ({rows}) AS r ON l.a = r.a \
                 WHERE l.value <= 300"
            ),
            "300,45150",
        ),
    ] {
        assert_eq!(values(&warehouse, &sql).await, expected);
    }
    if let (Some(before), Some(peak)) = (before, peak()) {
        let more = peak - before;
        assert!(more < 256 * MIB, "{} MiB more than before", more / MIB);
    }
}

/// An aggregate's rows may be large, and what it read is not: it is not read again in batches of a few.
#[tokio::test]
async fn large_values_of_few_groups_do_not_slow_down_what_they_are_made_of() {
    let place = Place::new();
    let warehouse = with_memory(&place, 128 * MIB).await;
    let rows = "SELECT value % 4 AS g, value AS v FROM generate_series(1, 1000000)";
    for values in [
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY v)",
        "cardinality(array_agg(v))",
    ] {
        let sql = format!("EXPLAIN ANALYZE SELECT g, {values} FROM ({rows}) GROUP BY g");
        let analysed = self::values(&warehouse, &sql).await;
        let scan = analysed
            .lines()
            .find(|line| line.contains("LazyMemoryExec"));
        let scan = scan.expect("a line of the series");
        // Of some thousand rows each, and not of a few.
        let batches = scan.split("output_batches=").nth(1).expect("a number");
        let batches = batches.split([',', ']']).next().expect("a number");
        let batches: usize = batches.parse().unwrap_or(usize::MAX);
        assert!(batches < 1000, "{scan}");
    }
}

/// A query that begins again has given nothing yet, and one that has given rows goes on as it is.
#[tokio::test]
async fn rows_are_given_once_whatever_their_size() {
    let place = Place::new();
    let warehouse = with_memory(&place, 16 * MIB).await;
    let long = "x".repeat(2_000);
    let rows = |from: usize| {
        format!(
            "SELECT CASE WHEN value < {from} THEN 'a' ELSE '{long}' || value END AS a, value \
             FROM generate_series(1, 22000)"
        )
    };
    let all: Vec<usize> = (1..=22_000).collect();
    // Large from the first, after the first batches, near the end.
    for from in [21_000, 9_000, 0] {
        let of_row = format!("SELECT value, a FROM ({})", rows(from));
        let given = values(&warehouse, &of_row).await;
        let mut given: Vec<usize> = given
            .lines()
            .map(|line| line.split(',').next().and_then(|value| value.parse().ok()))
            .map(|value| value.expect("a number"))
            .collect();
        given.sort_unstable();
        assert_eq!(given, all, "large from {from}");
    }
    let few = values(
        &warehouse,
        &format!("SELECT length(a) FROM ({}) LIMIT 3", rows(0)),
    )
    .await;
    assert_eq!(few, "2001\n2001\n2001");
    let analysed = format!("EXPLAIN ANALYZE SELECT DISTINCT a FROM ({})", rows(20_000));
    assert!(
        values(&warehouse, &analysed)
            .await
            .contains("AggregateExec")
    );
}

/// One part of a sort that merges what it has spilled would take all memory from the other.
#[tokio::test]
async fn sorts_of_several_times_the_memory_come_to_their_end() {
    let place = Place::new();
    let pairs = "SELECT a.value * 1000 + b.value AS n FROM generate_series(0, 999) AS a, generate_series(0, 999) AS b";
    for memory in [8, 16, 32] {
        let warehouse = with_memory(&place, memory * MIB).await;
        let ranks =
            format!("SELECT n, row_number() OVER (ORDER BY n % 7, n) AS rank FROM ({pairs})");
        let sql = format!("SELECT count(*), sum(rank), min(n), max(n) FROM ({ranks})");
        assert_eq!(
            values(&warehouse, &sql).await,
            "1000000,500000500000,0,999999",
            "{memory} MiB"
        );
        let sql =
            format!("SELECT n FROM ({ranks}) WHERE rank = 142858 OR rank = 142859 ORDER BY n");
        // The last of those that seven divides, and the first after them.
        assert_eq!(values(&warehouse, &sql).await, "1\n999999", "{memory} MiB");
    }
}

/// The rows are small, and what a join's condition makes of a usual batch of pairs would have 370 MB.
#[tokio::test]
async fn conditions_of_joins_make_texts_that_fit() {
    let place = Place::new();
    let warehouse = with_memory(&place, 64 * MIB).await;
    let text = "x".repeat(40);
    let rows = |count| format!("SELECT '{text}' || value AS a FROM generate_series(1, {count})");
    let (left, right) = (rows(3), rows(8_000));
    let named = ["l.a, r.a"; 500].join(", ");
    let before = peak();
    // Those whose numbers have five digits together.
    let sql = format!(
        "SELECT count(*) FROM ({left}) AS l JOIN ({right}) AS r \
         ON length(concat({named})) >= 42500"
    );
    assert_eq!(values(&warehouse, &sql).await, "21003");
    if let (Some(before), Some(peak)) = (before, peak()) {
        let more = peak - before;
        assert!(more < 256 * MIB, "{} MiB more than before", more / MIB);
    }
}
