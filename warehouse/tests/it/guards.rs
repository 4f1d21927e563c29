//! What a query may not do, and what stops it.

use std::time::{Duration, Instant};

use plimsoll_warehouse::{QueryError, QueryLimits, WarehouseOptions, check_read_only};
use serde_json::json;

use crate::place::{EVERYTHING, Place, answer, ask, at, failure, id, open, run, ticks};

#[tokio::test]
async fn statements_that_write_are_refused_before_storage_is_touched() {
    let place = Place::new();
    let target = place.folder().join("stolen.csv");
    let warehouse = place.open().await;
    for sql in [
        "INSERT INTO runs (model) VALUES ('x')".to_string(),
        "DROP TABLE runs".into(),
        format!("COPY (SELECT 1) TO '{}'", target.display()),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'", target.display()),
        format!(
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'",
            target.display()
        ),
        "SET datafusion.execution.parquet.pushdown_filters = false".into(),
        "SELECT 1; SELECT 2".into(),
    ] {
        let refused = matches!(failure(&warehouse, &sql).await, QueryError::Refused { .. });
        assert!(refused, "{sql}");
        assert!(
            matches!(check_read_only(&sql), Err(QueryError::Refused { .. })),
            "{sql}"
        );
    }
    assert!(!target.exists());
    assert!(!place.warehouse().exists());
    // No file is a table, whatever its name.
    std::fs::write(&target, "a\n1\n").expect("a file");
    let sql = format!("SELECT * FROM '{}'", target.display());
    assert!(matches!(
        failure(&warehouse, &sql).await,
        QueryError::UnknownTable { .. }
    ));
}

#[tokio::test]
async fn a_query_that_never_ends_is_stopped() {
    let place = Place::new();
    let warehouse = place.open().await;
    let limits = QueryLimits {
        timeout: Duration::from_millis(300),
        ..EVERYTHING
    };
    let began = Instant::now();
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000) AS a, generate_series(1, 1000000000) AS b",
        "SELECT sum(a.value * b.value) FROM generate_series(1, 10000000) AS a JOIN generate_series(1, 10000000) AS b ON a.value < b.value",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        // A result that goes on for ever, read as fast as it comes.
        "SELECT a.value FROM generate_series(1, 1000000000) AS a, generate_series(1, 1000000000) AS b",
    ] {
        let error = ask(&warehouse, sql, &[], &limits).await.expect_err(sql);
        assert!(
            matches!(error, QueryError::TimedOut { .. }),
            "{sql}: {error}"
        );
        assert_eq!(
            error.to_string(),
            "the query was stopped after its limit of 300 ms"
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        answer(&warehouse, "SELECT 1").await,
        "1",
        "the next query has its threads"
    );
}

#[tokio::test]
async fn a_query_whose_reader_is_gone_gives_its_threads_back() {
    let place = Place::new();
    let options = WarehouseOptions {
        threads: 1,
        ..Default::default()
    };
    let warehouse = open(&place.location, options).await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000) AS a, generate_series(1, 1000000000) AS b";
    for _ in 0..3 {
        drop(
            warehouse
                .query(endless, &[], &EVERYTHING)
                .await
                .expect("a stream"),
        );
    }
    let limits = QueryLimits {
        timeout: Duration::from_secs(10),
        ..EVERYTHING
    };
    assert_eq!(
        ask(&warehouse, "SELECT 1 AS a", &[], &limits)
            .await
            .expect("an answer"),
        "a\n1\n"
    );
}

#[tokio::test]
async fn memory_has_a_limit_and_sorting_spills_within_its_own() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    place.append(&ticks(run_id, 100_000)).await;
    place.append(&[run(run_id, "m")]).await;
    let spill = place.folder().join("spill");
    let options = |memory_limit, spill_limit| WarehouseOptions {
        memory_limit,
        spill_dir: Some(spill.clone()),
        spill_limit,
        threads: 2,
        answers: 0,
    };
    let grouped = "SELECT count(*) FROM (SELECT at_ns, run_id, array_agg(completed) FROM ticks GROUP BY at_ns, run_id)";
    let sorted = "SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY run_id, completed DESC) AS n FROM ticks) WHERE n > 0";

    let roomy = open(&place.location, options(1 << 30, 1 << 30)).await;
    assert_eq!(answer(&roomy, grouped).await, "100000");
    assert_eq!(answer(&roomy, sorted).await, "100000");

    let tight = open(&place.location, options(24 << 20, 1 << 30)).await;
    assert_eq!(answer(&tight, sorted).await, "100000", "it spills");

    let full = open(&place.location, options(1 << 20, 1 << 16)).await;
    let error = failure(&full, grouped).await;
    assert!(matches!(error, QueryError::Memory { .. }), "{error:?}");
    assert!(error.to_string().contains("its limit of 1 MiB"), "{error}");
    assert_eq!(answer(&full, "SELECT 1").await, "1");
}

/// The engine's window functions keep rows, and its functions make texts, without asking.
#[tokio::test]
async fn rows_that_windows_keep_and_texts_that_multiply_have_the_limit_too() {
    let place = Place::new();
    let options = WarehouseOptions {
        memory_limit: 16 << 20,
        threads: 2,
        ..WarehouseOptions::default()
    };
    let warehouse = open(&place.location, options).await;
    let doubled = |text: &str| {
        (0..10).fold(
            format!("SELECT value || '{text}' AS a FROM generate_series(1, 4000)"),
            |inner, _| format!("SELECT a || a AS a FROM ({inner})"),
        )
    };
    for sql in [
        "SELECT max(n) FROM (SELECT count(*) OVER () AS n FROM generate_series(1, 100000000000))".to_string(),
        "SELECT max(n) FROM (SELECT max(value) OVER () AS n FROM generate_series(1, 100000000000))".to_string(),
        format!(
            "SELECT length(replace(b, 'x', b)) FROM (SELECT replace(a, 'x', a) AS b FROM (SELECT '{}' AS a))",
            "x".repeat(150)
        ),
        format!(
            "SELECT length(regexp_replace(b, 'x', b, 'g')) FROM (SELECT regexp_replace(a, 'x', a, 'g') AS b FROM (SELECT '{}' AS a))",
            "x".repeat(150)
        ),
        format!("SELECT length(a) FROM ({})", doubled(&"x".repeat(3_000))),
        "WITH RECURSIVE t(a) AS (SELECT 'x' UNION ALL SELECT a || a FROM t) SELECT max(length(a)) FROM t".to_string(),
        "SELECT length(array_to_string(l, d)) FROM (SELECT array_agg(value) AS l, string_agg(CAST(value AS TEXT), '-') AS d FROM generate_series(1, 20000))".to_string(),
    ] {
        let error = failure(&warehouse, &sql).await;
        let shown: String = sql.chars().take(200).collect();
        assert!(matches!(error, QueryError::Memory { .. }), "{shown}: {error:?}");
    }
    // What is let go again does not count, and usual texts are far from any limit.
    for (sql, expected) in [
        (
            "SELECT max(n) FROM (SELECT value - lag(value) OVER (ORDER BY value) AS n FROM generate_series(1, 3000000))",
            "1",
        ),
        (
            "SELECT max(length(replace(CAST(value AS TEXT), '0', '--'))) FROM generate_series(1, 1000000)",
            "13",
        ),
        ("SELECT replace('a-b', '-', NULL) IS NULL", "true"),
        ("SELECT array_to_string([1, 2, 3], ',')", "\"1,2,3\""),
        (
            "SELECT regexp_replace('2026-11-25', '([0-9]+)-([0-9]+)-([0-9]+)', '\\3.\\2.')",
            "25.11.",
        ),
    ] {
        assert_eq!(answer(&warehouse, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn rows_beyond_the_limit_are_cut_off_and_the_cut_is_told() {
    let place = Place::new();
    let warehouse = place.open().await;
    let sql = "SELECT value FROM generate_series(1, 100000)";
    for (max_rows, rows, truncated) in [(10, 10, true), (100_000, 100_000, false)] {
        let limits = QueryLimits {
            max_rows: Some(max_rows),
            ..EVERYTHING
        };
        let mut result = warehouse.query(sql, &[], &limits).await.expect("a result");
        let mut bytes = Vec::new();
        let format = plimsoll_warehouse::Format::Ndjson;
        let written = plimsoll_warehouse::format::write(&mut result, format, &mut bytes).await;
        assert_eq!(written.expect("written"), rows);
        assert_eq!(result.truncated(), truncated);
    }
}

#[tokio::test]
async fn parameters_are_values_whatever_they_say() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    place.append(&[run(run_id, "m' OR '1'='1")]).await;
    let warehouse = place.open().await;
    for (sql, parameters, expected) in [
        (
            "SELECT count(*) AS n FROM runs WHERE model = $1",
            vec![json!("m' OR '1'='1")],
            "n\n1\n",
        ),
        (
            "SELECT count(*) AS n FROM runs WHERE model = $1",
            vec![json!("x' OR '1'='1")],
            "n\n0\n",
        ),
        (
            "SELECT count(*) AS n FROM runs WHERE started_at >= $1",
            vec![json!("2026-01-01T00:00:00Z")],
            "n\n1\n",
        ),
        (
            "SELECT count(*) AS n FROM runs WHERE started_at >= $1",
            vec![json!("2026-02-01T00:00:00Z")],
            "n\n0\n",
        ),
        (
            "SELECT count(*) AS n FROM runs WHERE run_key = $1 AND verdict = $2",
            vec![json!(run_id.run_key()), json!("passed")],
            "n\n1\n",
        ),
        (
            "SELECT count(*) AS n FROM runs WHERE model = $1",
            vec![json!(null)],
            "n\n0\n",
        ),
        (
            "SELECT $1 + 1 AS n, $2 AS t",
            vec![json!(41), json!(true)],
            "n,t\n42,true\n",
        ),
        (
            "SELECT value FROM generate_series(1, 9) ORDER BY value LIMIT $1",
            vec![json!(2)],
            "value\n1\n2\n",
        ),
    ] {
        let answer = ask(&warehouse, sql, &parameters, &EVERYTHING).await;
        assert_eq!(
            answer.unwrap_or_else(|error| panic!("{sql}: {error}")),
            expected,
            "{sql}"
        );
    }
    for (sql, parameters) in [
        ("SELECT $1", vec![]),
        ("SELECT $2", vec![json!(1)]),
        ("SELECT 1", vec![json!(1)]),
        ("SELECT $name", vec![json!(1)]),
        ("SELECT $1", vec![json!([1])]),
    ] {
        let error = ask(&warehouse, sql, &parameters, &EVERYTHING)
            .await
            .expect_err(sql);
        assert!(
            matches!(error, QueryError::Parameters { .. }),
            "{sql}: {error}"
        );
    }
}

/// The engine drops one of two projections that look the same; what is asked must not look so.
#[tokio::test]
async fn subqueries_that_look_the_same_are_each_computed() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    place.append(&ticks(run_id, 3)).await;
    place.append(&[run(run_id, "m")]).await;
    let warehouse = place.open().await;
    let deep = (0..11).fold("SELECT 1 AS a".to_string(), |inner, _| {
        format!("SELECT a + 1 AS a FROM ({inner})")
    });
    for (sql, expected) in [
        (deep.as_str(), "12"),
        (
            "SELECT a * 2 AS a FROM (SELECT a * 2 AS a FROM (SELECT a * 2 AS a FROM (SELECT value AS a FROM generate_series(3, 3))))",
            "24",
        ),
        (
            "SELECT a * 2 AS a FROM (SELECT a * 2 AS a FROM (SELECT a * 2 AS a FROM (SELECT max(completed) + 3 AS a FROM ticks) LIMIT 1) LIMIT 1)",
            "SAME",
        ),
        (
            "SELECT t.a * 2 AS a FROM (SELECT t.a * 2 AS a FROM (SELECT t.a * 2 AS a FROM (SELECT value AS a FROM generate_series(3, 3)) AS t) AS t) AS t",
            "24",
        ),
        (
            "WITH t AS (SELECT value AS a FROM generate_series(3, 3)), u AS (SELECT a * 2 AS a FROM t), v AS (SELECT a * 2 AS a FROM u) SELECT a * 2 AS a FROM v",
            "24",
        ),
        (
            "SELECT a * 2 AS a FROM (SELECT a * 2 AS a FROM (SELECT a * 2 AS a FROM (SELECT value AS a FROM generate_series(3, 9)) WHERE a < 4) WHERE a < 9)",
            "24",
        ),
    ] {
        let expected = match expected {
            "SAME" => answer(&warehouse, "SELECT 8 * (max(completed) + 3) FROM ticks").await,
            expected => expected.to_string(),
        };
        assert_eq!(answer(&warehouse, sql).await, expected, "{sql}");
    }
    // Their names come into no message.
    let error = failure(&warehouse, "SELECT modle FROM (SELECT model FROM runs)").await;
    assert!(!error.to_string().contains("subquery"), "{error}");
    let help = error.help();
    assert!(
        help.contains("model") && !help.contains("subquery"),
        "{help}"
    );
}

#[tokio::test]
async fn functions_whose_result_has_no_limit_are_not_there() {
    let warehouse = Place::new().open().await;
    for (function, arguments) in [
        ("repeat", "'x', 10"),
        ("lpad", "'x', 10"),
        ("rpad", "'x', 10"),
        ("array_repeat", "1, 10"),
        ("list_repeat", "1, 10"),
        ("array_resize", "[1], 10"),
        ("list_resize", "[1], 10"),
        ("range", "1, 10"),
        ("generate_series", "1, 10"),
        ("levenshtein", "'x', 'y'"),
        ("array_replace", "[1], 1, 2"),
        ("list_replace_all", "[1], 1, 2"),
        ("arrow_cast", "1, 'Int8'"),
    ] {
        let error = failure(&warehouse, &format!("SELECT {function}({arguments})")).await;
        assert!(matches!(error, QueryError::Plan { .. }), "{error:?}");
        assert!(error.to_string().contains(function), "{error}");
    }
    let series = "SELECT * FROM generate_series(1, 3)";
    assert_eq!(answer(&warehouse, series).await, "1\n2\n3");
    assert_eq!(
        answer(&warehouse, "SELECT * FROM range(1, 3)").await,
        "1\n2"
    );
}

#[tokio::test]
async fn the_longest_chain_that_is_taken_runs() {
    let warehouse = Place::new().open().await;
    let sum = vec!["value"; 500].join(" + ");
    let sql = format!("SELECT {sum} AS n FROM generate_series(1, 1)");
    assert_eq!(answer(&warehouse, &sql).await, "500");
    let rows = vec!["SELECT 1 AS n"; 500].join(" UNION ALL ");
    let sql = format!("SELECT sum(n) AS n FROM ({rows})");
    assert_eq!(answer(&warehouse, &sql).await, "500");
    let error = failure(&warehouse, &format!("SELECT {}1", "1 + ".repeat(4_000))).await;
    assert!(error.to_string().contains("more than 500"), "{error}");
}

#[tokio::test]
async fn sizes_that_statements_name_take_no_memory_by_themselves() {
    let warehouse = Place::new().open().await;
    let rows = "(VALUES (1.0), (2.0)) AS t(a)";
    for call in [
        "approx_percentile_cont(a, 0.5, CENTROIDS)",
        "approx_percentile_cont(0.5, CENTROIDS) WITHIN GROUP (ORDER BY a)",
        "approx_percentile_cont_with_weight(a, 1, 0.5, CENTROIDS)",
        "approx_percentile_cont(a, 0.5, CENTROIDS) OVER (ORDER BY a)",
    ] {
        let of = |centroids: &str| {
            let call = call.replace("CENTROIDS", centroids);
            format!("SELECT count(x) AS n FROM (SELECT {call} AS x FROM {rows})")
        };
        for centroids in [
            "1001",
            "100000000000000",
            "9223372036854775807",
            "500 + 501",
            "CAST(1e15 AS BIGINT)",
        ] {
            let error = failure(&warehouse, &of(centroids)).await;
            let told = error.to_string();
            assert!(told.contains("from 1 to 1000"), "{call}: {told}");
        }
        let answer = answer(&warehouse, &of("1000")).await;
        assert!(["1", "2"].contains(&answer.as_str()), "{call}: {answer}");
    }
    let best = |limit: &str| {
        format!(
            "SELECT g, max(value) AS m FROM (SELECT value % 3 AS g, value \
             FROM generate_series(1, 30)) GROUP BY g ORDER BY m DESC LIMIT {limit}"
        )
    };
    for limit in ["10000", "10001", "1000000000000", "9223372036854775807"] {
        let rows = answer(&warehouse, &best(limit)).await;
        assert_eq!(rows, "0,30\n2,29\n1,28", "{limit}");
    }
    assert_eq!(answer(&warehouse, &best("2")).await, "0,30\n2,29");
}

#[tokio::test]
async fn a_sample_that_would_be_all_rows_is_refused() {
    let warehouse = Place::new().open().await;
    for sql in [
        "SELECT count(*) FROM requests TABLESAMPLE (10 PERCENT)",
        "SELECT count(*) FROM requests TABLESAMPLE SYSTEM (10)",
        "SELECT count(*) FROM (SELECT * FROM requests) AS r TABLESAMPLE BERNOULLI (10)",
        "WITH r AS (SELECT * FROM runs TABLESAMPLE (1 ROWS)) SELECT count(*) FROM r",
    ] {
        let error = failure(&warehouse, sql).await.to_string();
        assert!(error.contains("TABLESAMPLE is not offered"), "{error}");
    }
}
