//! What the log knows is used: files are left out, and counts need no file.

use plimsoll_ingest::{RequestRow, RunId};
use plimsoll_warehouse::Warehouse;

use crate::place::{Place, answer, at, id, request, run};

/// Three days with a run each; request ids from 0, 1000 and 2000.
async fn three_days(place: &Place) -> [RunId; 3] {
    let runs = [1, 2, 3].map(|day| id(at(day, 0), day as u8));
    for (day, run_id) in runs.iter().enumerate() {
        let first = day as i64 * 1_000;
        let rows: Vec<RequestRow> = (first..first + 10)
            .map(|number| request(*run_id, number))
            .collect();
        place.append(&rows).await;
        place.append(&[run(*run_id, "m")]).await;
    }
    runs
}

async fn plan(warehouse: &Warehouse, sql: &str) -> String {
    let explain = format!("EXPLAIN FORMAT INDENT {sql}");
    answer(warehouse, &explain).await
}

/// How many files of `requests` the plan reads.
async fn files(warehouse: &Warehouse, sql: &str) -> usize {
    plan(warehouse, sql).await.matches("/raw/requests/").count()
}

#[tokio::test]
async fn files_that_cannot_hold_a_row_are_not_opened() {
    let place = Place::new();
    let runs = three_days(&place).await;
    let warehouse = place.open().await;
    let (id, key) = (runs[1], runs[1].run_key());
    for (filter, kept, rows) in [
        ("true".to_string(), 3, 30),
        ("date = '2026-01-02'".into(), 1, 10),
        ("date >= DATE '2026-01-02'".into(), 2, 20),
        ("date > '2026-02-01'".into(), 0, 0),
        (
            "date_trunc('month', date) = '2026-01-01' AND date <> '2026-01-01'".into(),
            2,
            20,
        ),
        (format!("run_key = {key}"), 1, 10),
        (format!("run_key IN ({key}, 5)"), 1, 10),
        (format!("run_id = '{id}'"), 1, 10),
        (format!("run_id IN ('{id}', 'nonsense')"), 1, 10),
        ("run_id = 'nonsense'".into(), 0, 0),
        ("request_id BETWEEN 1005 AND 1999".into(), 1, 5),
        ("request_id < 1000 OR date = '2026-01-03'".into(), 2, 20),
        ("scheduled_ns >= 2000000".into(), 1, 10),
        ("status = 'timeout'".into(), 3, 0),
    ] {
        let sql = format!("SELECT status FROM requests WHERE {filter}");
        assert_eq!(files(&warehouse, &sql).await, kept, "{filter}");
        let count = format!("SELECT count(status) FROM requests WHERE {filter}");
        assert_eq!(
            answer(&warehouse, &count).await,
            rows.to_string(),
            "{filter}"
        );
    }
}

#[tokio::test]
async fn counts_and_extremes_are_answered_without_opening_a_file() {
    let place = Place::new();
    three_days(&place).await;
    let warehouse = place.open().await;
    for (sql, expected) in [
        ("SELECT count(*) FROM requests", "30"),
        (
            "SELECT count(*) FROM requests WHERE date <= '2026-01-02'",
            "20",
        ),
        (
            "SELECT min(request_id), max(request_id) FROM requests",
            "0,2009",
        ),
        ("SELECT max(date) FROM requests", "2026-01-03"),
        ("SELECT count(request_id) FROM requests", "30"),
    ] {
        assert_eq!(
            files(&warehouse, sql).await,
            0,
            "{}",
            plan(&warehouse, sql).await
        );
        assert_eq!(answer(&warehouse, sql).await, expected, "{sql}");
    }
    // A limit that is met by the first files says nothing about the others.
    let some = "SELECT count(*), min(request_id) < 3000 FROM (SELECT * FROM requests LIMIT 15)";
    assert_eq!(answer(&warehouse, some).await, "15,true");
    // Some writers' logs cut moments to milliseconds: extremes are read.
    let sql = "SELECT min(started_at), max(started_at) FROM runs";
    assert_eq!(
        answer(&warehouse, sql).await,
        "2026-01-01T12:00:00Z,2026-01-03T12:00:00Z"
    );
    let exact = "SELECT count(*) FROM runs WHERE started_at >= '2026-01-03T12:00:00Z'";
    assert_eq!(answer(&warehouse, exact).await, "1");
    let mut late = run(id(at(4, 0), 4), "late");
    late.started_at = plimsoll_ingest::Timestamp::from_micros(at(4, 0).micros() + 250);
    place.append(&[late]).await;
    warehouse.refresh().await.expect("a newer set");
    let past = "SELECT model FROM runs WHERE started_at > '2026-01-04T12:00:00.000200Z'";
    assert_eq!(answer(&warehouse, past).await, "late");
    let last = "SELECT max(started_at) FROM runs";
    assert_eq!(
        answer(&warehouse, last).await,
        "2026-01-04T12:00:00.000250Z"
    );
}

#[tokio::test]
async fn filters_and_limits_reach_the_scan() {
    let place = Place::new();
    three_days(&place).await;
    let warehouse = place.open().await;
    let filtered = plan(
        &warehouse,
        "SELECT request_id FROM requests WHERE status = 'ok'",
    )
    .await;
    // Statistics of row groups and pages leave out what they can; the filter itself runs after.
    assert!(filtered.contains("pruning_predicate="), "{filtered}");
    assert!(filtered.contains("FilterExec"), "{filtered}");
    let first = "SELECT status FROM requests WHERE date > '2026-01-01' LIMIT 3";
    assert_eq!(
        files(&warehouse, first).await,
        1,
        "{}",
        plan(&warehouse, first).await
    );
    assert_eq!(answer(&warehouse, first).await.lines().count(), 3);
    let narrow = plan(&warehouse, "SELECT date, status FROM requests").await;
    assert!(narrow.contains("projection=[date, status]"), "{narrow}");
}

/// Files in which some value is null can be left out, where a filter took the nulls out.
#[tokio::test]
async fn the_first_rows_of_an_order_know_where_there_are_no_nulls() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    let rows: Vec<RequestRow> = (0..4)
        .map(|number| RequestRow {
            ttft_ns: (number > 0).then_some(number * 100),
            ..request(run_id, number)
        })
        .collect();
    place.append(&rows).await;
    place.append(&[run(run_id, "m")]).await;
    let warehouse = place.open().await;
    let joined = "SELECT q.ttft_ns AS t FROM runs AS r LEFT JOIN \
                  (SELECT run_key, ttft_ns FROM requests WHERE ttft_ns IS NOT NULL) AS q \
                  ON q.run_key = r.run_key + 1";
    for (from, no_nulls, first) in [
        (
            "SELECT ttft_ns AS t FROM requests WHERE ttft_ns IS NOT NULL",
            true,
            "300\n200",
        ),
        (
            "SELECT ttft_ns AS t FROM requests WHERE ttft_ns < 300",
            true,
            "200\n100",
        ),
        (
            "SELECT ttft_ns AS t FROM requests WHERE 300 > ttft_ns AND good",
            true,
            "",
        ),
        (
            "SELECT t FROM (SELECT ttft_ns AS t FROM requests WHERE ttft_ns > 0) AS s",
            true,
            "300\n200",
        ),
        ("SELECT request_id AS t FROM requests", true, "3\n2"),
        ("SELECT ttft_ns AS t FROM requests", false, "\"\"\n300"),
        (
            "SELECT ttft_ns AS t FROM requests WHERE ttft_ns IS NOT NULL OR request_id = 0",
            false,
            "\"\"\n300",
        ),
        (
            "SELECT ttft_ns AS t FROM requests WHERE ttft_ns IS DISTINCT FROM 300",
            false,
            "\"\"\n200",
        ),
        (joined, false, "\"\""),
    ] {
        let sql = format!("{from} ORDER BY t DESC LIMIT 2");
        let plan = plan(&warehouse, &sql).await;
        assert_eq!(plan.contains("DESC NULLS LAST"), no_nulls, "{sql}: {plan}");
        assert_eq!(answer(&warehouse, &sql).await, first, "{sql}");
    }
}
