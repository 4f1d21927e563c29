//! Sums of integers, which do not begin anew where they pass their type.

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
    ] {
        let error = failure(&warehouse, sql).await.to_string();
        assert!(
            error.contains("does not hold: sum up CAST(.. AS DOUBLE)"),
            "{sql}: {error}"
        );
    }
    let large = "SELECT sum(CAST(x AS DOUBLE)) FROM (VALUES (9223372036854775807), (1)) AS t(x)";
    assert_eq!(answer(&warehouse, large).await, "9.223372036854776e18");
}
