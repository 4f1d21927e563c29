//! Sums of integers and decimals, which do not begin anew where they pass their type.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plimsoll_warehouse::QueryError;

use crate::place::{Place, answer, failure};

const MOST: &str = "9223372036854775807";

#[tokio::test]
async fn sums_are_what_they_are_on_paper() {
    let warehouse = Place::new().open().await;
    for (sql, expected) in [
        (
            "SELECT sum(value) FROM generate_series(1, 100000)",
            "5000050000",
        ),
        (
            "SELECT sum(-value) FROM generate_series(1, 100000)",
            "-5000050000",
        ),
        (
            "SELECT sum(x) FROM (VALUES (9223372036854775807), (1), (-1)) AS t(x)",
            MOST,
        ),
        (
            "SELECT sum(x) FROM (VALUES (CAST(1 AS INT)), (NULL), (2)) AS t(x)",
            "3",
        ),
        (
            "SELECT sum(CAST(x AS BIGINT UNSIGNED)) FROM (VALUES (9223372036854775807), (9223372036854775807)) AS t(x)",
            "18446744073709551614",
        ),
        (
            "SELECT count(sum) FROM (SELECT sum(x) AS sum FROM (VALUES (CAST(NULL AS BIGINT))) AS t(x))",
            "0",
        ),
        (
            "SELECT count(sum) FROM (SELECT sum(value) AS sum FROM generate_series(1, 3) WHERE value > 3)",
            "0",
        ),
        (
            "SELECT sum(DISTINCT value % 3) FROM generate_series(1, 100)",
            "3",
        ),
        (
            "SELECT sum(DISTINCT value % 3), sum(DISTINCT -value % 5), sum(DISTINCT CAST(NULL AS INT)) IS NULL \
             FROM generate_series(1, 300000)",
            "3,-10,true",
        ),
        (
            "SELECT g, sum(DISTINCT x), sum(DISTINCT y) FROM (SELECT value % 2 AS g, value % 4 AS x, value % 6 AS y \
             FROM generate_series(1, 300000)) GROUP BY g ORDER BY g",
            "0,2,6\n1,4,9",
        ),
        (
            "SELECT max(s) FROM (SELECT sum(DISTINCT value / 2) OVER (ORDER BY value ROWS 2 PRECEDING) AS s \
             FROM generate_series(1, 9))",
            "7",
        ),
        (
            "SELECT sum(CAST(value AS DECIMAL(20, 2)) / 4), sum(DISTINCT CAST(value % 2 AS DECIMAL(20, 1))), \
             sum(DISTINCT value % 3) FROM generate_series(1, 300000)",
            "11250037500.000000,1.0,3",
        ),
        (
            "SELECT sum(x) FROM (VALUES (CAST('99999999999999999999999999999999999998' AS DECIMAL(38, 0))), (1)) AS t(x)",
            "99999999999999999999999999999999999999",
        ),
        // What comes to a window's sum before what leaves it is taken away.
        (
            "SELECT count(*), count(DISTINCT s) FROM (SELECT sum(x) OVER (ORDER BY i ROWS CURRENT ROW) AS s FROM \
             (SELECT value AS i, CAST('90000000000000000000000000000000000000' AS DECIMAL(38, 0)) AS x \
             FROM generate_series(1, 9)))",
            "9,1",
        ),
        (
            "SELECT sum(DISTINCT x), sum(DISTINCT y) FROM (VALUES \
             (CAST('90000000000000000000000000000000000000' AS DECIMAL(38, 0)), 1), \
             (CAST('90000000000000000000000000000000000001' AS DECIMAL(38, 0)), 2), \
             (CAST('-90000000000000000000000000000000000000' AS DECIMAL(38, 0)), 2)) AS t(x, y)",
            "90000000000000000000000000000000000001,3",
        ),
        (
            "SELECT sum(value) FILTER (WHERE value % 2 = 0) FROM generate_series(1, 10)",
            "30",
        ),
        ("SELECT sum(value * 0.5) FROM generate_series(1, 3)", "3.0"),
        (
            "SELECT arrow_typeof(sum(value)) FROM generate_series(1, 3)",
            "Int64",
        ),
        // In parts, which are put together.
        (
            "SELECT g, sum(value) AS s FROM (SELECT value % 3 AS g, value FROM generate_series(1, 300000)) \
          GROUP BY g ORDER BY g",
            "0,15000150000\n1,14999950000\n2,15000050000",
        ),
        (
            "SELECT count(*) FROM (SELECT value, sum(value) AS s FROM generate_series(1, 300000) \
          GROUP BY value) WHERE s = value",
            "300000",
        ),
        (
            "SELECT g, sum(value) FILTER (WHERE value > 2) AS s FROM (SELECT value % 2 AS g, value \
          FROM generate_series(1, 4)) GROUP BY g ORDER BY g",
            "0,4\n1,3",
        ),
        // As window functions, whose rows come and go.
        (
            "SELECT max(s) FROM (SELECT sum(value) OVER (ORDER BY value ROWS 1 PRECEDING) AS s \
          FROM generate_series(1, 10))",
            "19",
        ),
        (
            "SELECT max(s) FROM (SELECT sum(x) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS s \
          FROM (VALUES (1, 9223372036854775807), (2, -1), (3, 9223372036854775807)) AS t(i, x))",
            MOST,
        ),
        (
            "SELECT count(s) FROM (SELECT sum(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS s \
          FROM (VALUES (1, 5), (2, NULL), (3, 7)) AS t(i, x))",
            "1",
        ),
    ] {
        assert_eq!(answer(&warehouse, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_sum_that_its_type_does_not_hold_is_an_error() {
    let warehouse = Place::new().open().await;
    for sql in [
        "SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) AS t(x)",
        "SELECT sum(-x) FROM (VALUES (9223372036854775807), (2)) AS t(x)",
        "SELECT sum(CAST(x AS BIGINT UNSIGNED)) \
         FROM (VALUES (9223372036854775807), (9223372036854775807), (2)) AS t(x)",
        "SELECT g, sum(x) FROM (VALUES (1, 9223372036854775807), (1, 1), (2, 3)) AS t(g, x) GROUP BY g",
        "SELECT sum(x) OVER (ORDER BY i) AS s FROM (VALUES (1, 9223372036854775807), (2, 1)) AS t(i, x)",
        "SELECT sum(value + 9223372036854000000) FROM generate_series(1, 100)",
        "SELECT sum(DISTINCT x), sum(DISTINCT y) FROM (VALUES (9223372036854775807, 1), (1, 2)) AS t(x, y)",
        "SELECT sum(DISTINCT x) OVER (ORDER BY x) FROM (VALUES (9223372036854775807), (1)) AS t(x)",
        "SELECT sum(x) FROM (VALUES (CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))), (1)) AS t(x)",
        "SELECT sum(x) FROM (SELECT CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)) AS x \
         FROM generate_series(1, 4))",
        "SELECT sum(DISTINCT x), sum(DISTINCT y) FROM (VALUES (CAST('99999999999999999999999999999999999999' \
         AS DECIMAL(38, 0)), 1), (5, 2)) AS t(x, y)",
    ] {
        let error = failure(&warehouse, sql).await.to_string();
        assert!(error.ends_with("does not hold"), "{sql}: {error}");
    }
    for (digits, said) in [
        ("38, 0", "100000000000000000000000000000000000000, which"),
        ("38, 2", "1000000000000000000000000000000000000.00, which"),
    ] {
        let (most, one) = match digits {
            "38, 0" => ("9".repeat(38), "1"),
            _ => (format!("{}.99", "9".repeat(36)), "0.01"),
        };
        let sql = format!(
            "SELECT sum(CAST(x AS DECIMAL({digits}))) FROM (VALUES ('{most}'), ('{one}')) AS t(x)"
        );
        let error = failure(&warehouse, &sql).await.to_string();
        assert!(error.contains(said), "{error}");
    }
    let large = "SELECT sum(CAST(x AS DOUBLE)) FROM (VALUES (9223372036854775807), (1)) AS t(x)";
    assert_eq!(answer(&warehouse, large).await, "9.223372036854776e18");
}

/// The square of a latency of four seconds in nanoseconds is more than a BIGINT.
#[tokio::test]
async fn arithmetic_of_integers_does_not_begin_anew() {
    let warehouse = Place::new().open().await;
    for (sql, said) in [
        (
            "SELECT value * value FROM generate_series(4000000000, 4000000001)",
            "4000000000 * 4000000000 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT value + 9223372036854775807 FROM generate_series(0, 3)",
            "1 + 9223372036854775807 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT 9223372036854775807 + 1",
            "9223372036854775807 + 1 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT CAST(value AS BIGINT UNSIGNED) - CAST(3 AS BIGINT UNSIGNED) FROM generate_series(1, 5)",
            "1 - 3 comes to a number, which BIGINT UNSIGNED does not hold",
        ),
        (
            "SELECT CAST(value AS INT) * CAST(100000 AS INT) FROM generate_series(30001, 30001)",
            "30001 * 100000 comes to a number, which INT does not hold",
        ),
        (
            "SELECT count(*) FROM generate_series(1, 5) AS t(x) WHERE x * 9000000000000000000 > 3",
            "2 * 9000000000000000000 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT max(s) FROM (SELECT x, (SELECT max(y * 9000000000000000000) FROM generate_series(1, 2) AS u(y)) AS s \
             FROM generate_series(1, 5) AS t(x))",
            "2 * 9000000000000000000 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT sum(x * x) OVER (ORDER BY x) FROM generate_series(4000000000, 4000000001) AS t(x)",
            "4000000000 * 4000000000 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT -min(x) FROM (VALUES (-9223372036854775808), (1)) AS t(x)",
            "0 - -9223372036854775808 comes to a number, which BIGINT does not hold",
        ),
        (
            "SELECT -CAST(x AS INT) FROM (VALUES (-2147483648)) AS t(x)",
            "0 - -2147483648 comes to a number, which INT does not hold",
        ),
    ] {
        let error = failure(&warehouse, sql).await;
        assert!(
            matches!(error, QueryError::DoesNotHold { .. }),
            "{sql}: {error:?}"
        );
        assert_eq!(error.to_string(), said, "{sql}");
    }
    for (sql, expected) in [
        // Names and types are as they were.
        (
            "SELECT arrow_typeof(value + 1) FROM generate_series(1, 1)",
            "Int64",
        ),
        (
            "SELECT \"t.x + Int64(1)\" FROM (SELECT x + 1 FROM generate_series(1, 1) AS t(x))",
            "2",
        ),
        (
            "SELECT x * 2 + (x - 1) * 3 AS y, sum(x * 2) FROM generate_series(1, 2) AS t(x) GROUP BY x * 2 + (x - 1) * 3 \
             HAVING sum(x * 2) > 0 ORDER BY sum(x * 2) DESC",
            "7,4\n2,2",
        ),
        (
            "SELECT a.x, b.x FROM generate_series(1, 3) AS a(x) JOIN generate_series(1, 3) AS b(x) ON a.x + 1 = b.x ORDER BY a.x * 1",
            "1,2\n2,3",
        ),
        (
            "SELECT x + NULL IS NULL FROM generate_series(1, 1) AS t(x)",
            "true",
        ),
        (
            "SELECT CASE WHEN x > 2 THEN 0 ELSE x * 4000000000000000000 END FROM generate_series(2, 3) AS t(x)",
            "8000000000000000000\n0",
        ),
        ("SELECT -9223372036854775807 - 1", "-9223372036854775808"),
        (
            "SELECT CAST(DATE '2026-11-27' - 7 AS VARCHAR)",
            "2026-11-20",
        ),
        ("SELECT CAST(4000000000 AS DOUBLE) * 4000000000", "1.6e19"),
        ("SELECT 1.5 * 2, 7 / 2, 7 % 4", "3.0,3,3"),
        (
            "SELECT -x, -(x * 1.5), -1, - -x FROM (VALUES (5)) AS t(x)",
            "-5,-7.5,-1,5",
        ),
    ] {
        assert_eq!(answer(&warehouse, sql).await, expected, "{sql}");
    }
}

/// More than 38 digits would be shown without the last of them.
#[tokio::test]
async fn arithmetic_of_decimals_keeps_all_digits() {
    let warehouse = Place::new().open().await;
    let of = |computed: &str, x: &str, y: &str| {
        format!(
            "SELECT {computed} FROM (VALUES (CAST('{x}' AS DECIMAL(38, 0)), CAST('{y}' AS DECIMAL(10, 5)))) AS t(x, y)"
        )
    };
    let large = format!("6{}", "0".repeat(37));
    for computed in [
        "x + x",
        "-x - x",
        "x * CAST(2 AS DECIMAL(1, 0))",
        "x / y",
        "x + y",
    ] {
        let sql = of(computed, &large, "0.00025");
        let error = failure(&warehouse, &sql).await;
        assert!(
            matches!(error, QueryError::DoesNotHold { .. }),
            "{computed}: {error:?}"
        );
    }
    let error = failure(&warehouse, &of("x + x", &large, "1")).await;
    let twice = format!("12{}", "0".repeat(37));
    assert_eq!(
        error.to_string(),
        format!("`+` of decimals comes to {twice}, which Decimal128(38, 0) does not hold")
    );
    for (computed, expected) in [
        (
            "x + y, x - y, x * y, x / y",
            "7.50000,4.50000,9.00000,4.0000",
        ),
        (
            "sum(x + x), arrow_typeof(sum(y * y))",
            "12,\"Decimal128(31, 10)\"",
        ),
        ("x + NULL IS NULL, NULL - y IS NULL", "true,true"),
    ] {
        assert_eq!(
            answer(&warehouse, &of(computed, "6", "1.5")).await,
            expected,
            "{computed}"
        );
    }
}

/// Nothing is asked for after an error: windows would panic.
#[tokio::test]
async fn a_window_whose_sum_passes_its_type_ends_with_that() {
    let warehouse = Place::new().open().await;
    let sql = "SELECT sum(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
        FROM (VALUES (1, 1), (2, 2), (3, 9223372036854775807), (4, 7)) AS t(i, x)";
    // A panic of a query's own thread is told, and nothing else shows it.
    let panics = Arc::new(AtomicUsize::new(0));
    let (seen, usual) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        seen.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
    for _ in 0..10 {
        let error = failure(&warehouse, sql).await;
        assert!(matches!(error, QueryError::DoesNotHold { .. }), "{error:?}");
    }
    drop(warehouse);
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}
