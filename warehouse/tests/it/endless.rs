//! Queries that would go on for ever: they stop, and others go on meanwhile.

use std::time::{Duration, Instant};

use plimsoll_warehouse::{QueryError, QueryLimits, WarehouseOptions};
use tokio::time::timeout;

use crate::place::{EVERYTHING, Place, ask, open};

/// What takes milliseconds on a quiet machine, and seconds at most on a busy one.
const SOON: Duration = Duration::from_secs(10);

/// Each reads its input at once, and has work for days then.
const ENDLESS: [(&str, &str); 16] = [
    (
        "pairs, few of which are",
        "SELECT sum(a.value * b.value) FROM generate_series(1, 200000) AS a \
         JOIN generate_series(1, 900000000) AS b ON a.value < b.value % 7",
    ),
    (
        "pairs, none of which is",
        "SELECT count(*) FROM generate_series(1, 200000) AS a \
         JOIN generate_series(1, 900000000) AS b ON a.value + b.value < 0",
    ),
    (
        "pairs, most of which are",
        "SELECT sum(a.value * b.value) FROM generate_series(1, 200000) AS a \
         JOIN generate_series(1, 900000000) AS b ON a.value <> b.value",
    ),
    (
        "rows without a pair",
        "SELECT count(b.value) FROM generate_series(1, 200000) AS a \
         LEFT JOIN generate_series(1, 900000000) AS b ON a.value + b.value < 0",
    ),
    (
        "rows of which some pair exists",
        "SELECT count(*) FROM generate_series(1, 200000) AS a WHERE EXISTS \
         (SELECT 1 FROM generate_series(1, 900000000) AS b WHERE a.value + b.value < 0)",
    ),
    (
        "many rows of one key",
        "SELECT sum(a.value * b.value) FROM generate_series(1, 200000) AS a \
         JOIN generate_series(1, 900000000) AS b ON a.value % 2 = b.value % 2",
    ),
    (
        "many rows of one key, none of which is",
        "SELECT count(*) FROM generate_series(1, 200000) AS a \
         JOIN generate_series(1, 900000000) AS b \
         ON a.value % 2 = b.value % 2 AND a.value + b.value < 0",
    ),
    (
        "rows whose key many have",
        "SELECT count(*) FROM generate_series(1, 200000) AS a WHERE EXISTS \
         (SELECT 1 FROM generate_series(1, 900000000) AS b WHERE a.value % 2 = b.value % 2)",
    ),
    (
        "rows whose key none has, or many",
        "SELECT count(*) FROM generate_series(1, 200000) AS a WHERE NOT EXISTS \
         (SELECT 1 FROM generate_series(1, 900000000) AS b WHERE a.value % 2 = b.value % 2)",
    ),
    (
        "all pairs",
        "SELECT sum(a.value * b.value) \
         FROM generate_series(1, 200000) AS a, generate_series(1, 900000000) AS b",
    ),
    (
        "lists that are taken apart",
        "SELECT sum(x) FROM (SELECT unnest(l) AS x FROM \
         (SELECT array_agg(value) AS l FROM generate_series(1, 100000)), \
         generate_series(1, 900000000))",
    ),
    (
        "a running median",
        "SELECT max(m) FROM (SELECT median(value) OVER (ORDER BY value \
         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS m FROM generate_series(1, 2000000))",
    ),
    (
        "the median of what is left",
        "SELECT max(m) FROM (SELECT median(value) OVER (ORDER BY value \
         ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS m FROM generate_series(1, 2000000))",
    ),
    (
        "medians of many rows",
        "SELECT max(m) FROM (SELECT median(value) OVER (ORDER BY value \
         ROWS BETWEEN 200000 PRECEDING AND 200000 FOLLOWING) AS m \
         FROM generate_series(1, 2000000))",
    ),
    (
        "a value far behind nulls",
        "SELECT max(m) FROM (SELECT nth_value(CASE WHEN value % 2 = 0 THEN value END, 900000) \
         IGNORE NULLS OVER (ORDER BY value \
         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS m \
         FROM generate_series(1, 2000000))",
    ),
    (
        "the last value of what is left",
        "SELECT max(m) FROM (SELECT last_value(CASE WHEN value % 2 = 0 THEN value END) \
         IGNORE NULLS OVER (ORDER BY value \
         ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS m \
         FROM generate_series(1, 2000000))",
    ),
];

#[tokio::test]
async fn they_stop_at_their_limit_and_give_their_threads_back() {
    let place = Place::new();
    let warehouse = place.open().await;
    let limits = QueryLimits {
        timeout: Duration::from_secs(1),
        ..EVERYTHING
    };
    for (what, sql) in ENDLESS {
        let began = Instant::now();
        let error = ask(&warehouse, sql, &[], &limits).await.expect_err(what);
        let stopped = began.elapsed();
        assert!(
            matches!(error, QueryError::TimedOut { .. }),
            "{what}: {error}"
        );
        let began = Instant::now();
        let next = ask(&warehouse, "SELECT 1 AS a", &[], &EVERYTHING).await;
        assert_eq!(next.expect("an answer"), "a\n1\n");
        // Beside other tests, whose work takes its share.
        assert!(stopped < SOON, "{what} stopped after {stopped:?}");
        assert!(
            began.elapsed() < SOON,
            "{what} went on for {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn other_queries_go_on_beside_them() {
    let place = Place::new();
    let warehouse = place.open().await;
    for (what, sql) in ENDLESS {
        let mut endless = warehouse.query(sql, &[], &EVERYTHING).await.expect(what);
        let given = timeout(Duration::from_secs(1), endless.ready()).await;
        assert!(given.is_err(), "{what} has given something");
        let began = Instant::now();
        for _ in 0..3 {
            let next = ask(&warehouse, "SELECT 1 AS a", &[], &EVERYTHING).await;
            assert_eq!(next.expect("an answer"), "a\n1\n");
        }
        assert!(
            began.elapsed() < SOON,
            "beside {what}: {:?}",
            began.elapsed()
        );
        drop(endless);
    }
}

/// Each would copy a large value ten thousand times in one batch.
const LARGE: [(&str, &str); 7] = [
    (
        "a list beside each row",
        "SELECT count(*) FROM (SELECT array_agg(value) AS l FROM generate_series(1, 1000000)) AS a, \
         generate_series(1, 100000) AS b WHERE cardinality(a.l) > b.value",
    ),
    (
        "a text beside each row",
        "SELECT sum(length(s) + b.value) FROM (SELECT string_agg(CAST(value AS VARCHAR), ',') AS s \
         FROM generate_series(1, 1000000)) AS a, generate_series(1, 100000) AS b",
    ),
    (
        "a list beside each row of its key",
        "SELECT sum(cardinality(l) + b.value) FROM (SELECT array_agg(value) AS l, max(value) AS k \
         FROM generate_series(1, 1000000)) AS a \
         JOIN generate_series(1, 100000) AS b ON b.value % 1 + 1000000 = k",
    ),
    (
        "a list of lists put together, beside each row",
        "SELECT sum(cardinality(l) + b.value) FROM (SELECT array_concat(k, k, k, k, k, k, k, k) AS l \
         FROM (SELECT array_agg(value) AS k FROM generate_series(1, 100000))) AS a, \
         generate_series(1, 100000) AS b",
    ),
    (
        "a list as a window has it",
        "SELECT max(cardinality(l)) FROM \
         (SELECT array_agg(value) OVER () AS l FROM generate_series(1, 100000))",
    ),
    (
        "a list beside each of its items",
        "SELECT sum(x + cardinality(m)) FROM (SELECT unnest(l) AS x, l AS m FROM \
         (SELECT array_agg(value) AS l FROM generate_series(1, 100000)))",
    ),
    (
        "lists of lists",
        "SELECT count(x) + sum(cardinality(m)) FROM (SELECT unnest(unnest(l)) AS x, m FROM (SELECT array_agg(l) AS l, \
         max(l) AS m FROM (SELECT array_agg(value) AS l, value % 2000 AS k \
         FROM generate_series(1, 4000000) GROUP BY value % 2000)))",
    ),
];

#[tokio::test]
async fn large_values_are_not_copied_beyond_the_limit_on_memory() {
    let place = Place::new();
    let warehouse = place.open().await;
    let columns = ["s"; 400].join(", ");
    let length_of = |call: &str| {
        format!(
            "SELECT sum(length({call})) FROM (SELECT string_agg(CAST(value AS VARCHAR), ',') AS s \
             FROM generate_series(1, 250000)) AS a, generate_series(1, 1000) AS b"
        )
    };
    let sums = [
        format!("concat({columns})"),
        ["s"; 400].join(" || "),
        format!("array_to_string([{columns}], '')"),
        format!("concat_ws(s, {})", ["'a'"; 400].join(", ")),
    ];
    let mut sums: Vec<_> = sums.iter().map(|call| length_of(call)).collect();
    // The same as the condition of a join.
    sums.push(format!(
        "SELECT count(*) FROM (SELECT string_agg(CAST(value AS VARCHAR), ',') AS s \
         FROM generate_series(1, 250000)) AS a, generate_series(1, 1000) AS b \
         WHERE length({}) > b.value",
        ["s"; 400].join(" || ")
    ));
    let sums = sums.iter().map(|sql| ("a sum of texts", sql.as_str()));
    for (what, sql) in LARGE.into_iter().chain(sums) {
        let error = ask(&warehouse, sql, &[], &EVERYTHING)
            .await
            .expect_err(what);
        let known = matches!(error, QueryError::Memory { .. } | QueryError::Plan { .. });
        assert!(known, "{what}: {error}");
    }
    // What fits is answered.
    let fits = [
        (
            "SELECT sum(cardinality(l) + b.value) FROM (SELECT array_agg(value) AS l \
             FROM generate_series(1, 20000)) AS a, generate_series(1, 1000) AS b",
            "20500500",
        ),
        (
            "SELECT sum(x) FROM (SELECT unnest(l) AS x FROM (SELECT array_agg(value) AS l \
             FROM generate_series(1, 20000)), generate_series(1, 1000))",
            "200010000000",
        ),
        (
            "SELECT sum(cardinality(lag)) FROM (SELECT lag(l) OVER (ORDER BY k) AS lag FROM \
             (SELECT array_agg(value) AS l, value % 10 AS k FROM generate_series(1, 1000) \
             GROUP BY value % 10))",
            "900",
        ),
        (
            "SELECT sum(length((SELECT string_agg(CAST(value AS VARCHAR), ',') \
             FROM generate_series(1, 20000))) + value) FROM generate_series(1, 20000)",
            "2377870000",
        ),
        (
            "SELECT sum(cardinality(array_append((SELECT array_agg(value) \
             FROM generate_series(1, 100000)), value))) FROM generate_series(1, 3000)",
            "300003000",
        ),
        // A window gives all its rows in one batch.
        (
            "SELECT count(*) FROM (SELECT string_agg(CAST(value AS VARCHAR), ',') AS s \
             FROM generate_series(1, 450000)) AS a, \
             (SELECT value, count(*) OVER () AS n FROM generate_series(1, 3000)) AS b \
             WHERE length(a.s) > b.value + b.n",
            "3000",
        ),
        (
            "SELECT count(l['k']) FROM (SELECT unnest(l) AS l, m FROM (SELECT array_agg(named_struct(\
             'k', value, 'v', 'a text of some length')) AS l, max(value) AS m \
             FROM generate_series(1, 300000)))",
            "300000",
        ),
        (
            "SELECT cardinality(array_agg(value)) FROM generate_series(1, 5000000)",
            "5000000",
        ),
    ];
    let texts = ["repeated"; 50].join(" || ");
    let often = format!(
        "SELECT sum(length({texts})) FROM (SELECT concat(CAST(value AS VARCHAR), \
         'some more of what a text may have') AS repeated FROM generate_series(100000, 199999))"
    );
    let fits = fits.into_iter().chain([(often.as_str(), "195000000")]);
    for (sql, expected) in fits {
        let found = ask(&warehouse, sql, &[], &EVERYTHING).await.expect(sql);
        assert_eq!(found.lines().nth(1), Some(expected), "{sql}");
    }
}

#[tokio::test]
async fn a_join_with_too_little_memory_says_so() {
    let place = Place::new();
    let options = WarehouseOptions {
        memory_limit: 8 << 20,
        ..Default::default()
    };
    let warehouse = open(&place.location, options).await;
    let limits = QueryLimits {
        timeout: Duration::from_secs(5),
        ..EVERYTHING
    };
    let small = "generate_series(1, 1000000) AS b ON a.value + b.value < 0";
    for large in [
        "generate_series(1, 3000000)",
        "(SELECT value FROM generate_series(1, 3000000) ORDER BY value % 7)",
        "(SELECT DISTINCT value FROM generate_series(1, 1000000))",
        "(SELECT value, count(*) FROM generate_series(1, 3000000) GROUP BY value)",
        "(SELECT x.value FROM generate_series(1, 3000000) AS x JOIN generate_series(1, 10) AS y \
         ON x.value % 10 = y.value)",
    ] {
        let sql = format!("SELECT count(*) FROM {large} AS a JOIN {small}");
        let error = ask(&warehouse, &sql, &[], &limits).await.expect_err(large);
        assert!(
            matches!(error, QueryError::Memory { .. }),
            "{large}: {error}"
        );
    }
}

#[tokio::test]
async fn recursive_queries_join_in_every_round() {
    let place = Place::new();
    let sql = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT t.n + 1 FROM \
               (SELECT DISTINCT value % 10 AS v FROM generate_series(1, 100)) AS s \
               JOIN t ON s.v > t.n AND s.v < t.n + 2 WHERE t.n < 5) SELECT n FROM t ORDER BY n";
    let found = ask(&place.open().await, sql, &[], &EVERYTHING).await;
    assert_eq!(found.expect("an answer"), "n\n1\n2\n3\n4\n5\n");
}

/// Whatever stops a window function changes none of its values.
#[tokio::test]
async fn window_functions_give_what_they_would() {
    let place = Place::new();
    let warehouse = place.open().await;
    let sql = "SELECT value AS v, sum(value) OVER (ORDER BY value) AS so_far, \
        sum(value) OVER (ORDER BY value ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS rest, \
        sum(value) FILTER (WHERE value % 2 = 0) OVER (ORDER BY value) AS even, \
        median(CAST(value AS DOUBLE)) OVER (ORDER BY value ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) \
        AS middle, count(*) OVER () AS n, max(value) OVER (PARTITION BY value % 2) AS most, \
        last_value(value) OVER (ORDER BY value DESC ROWS BETWEEN CURRENT ROW AND UNBOUNDED \
        FOLLOWING) AS last FROM generate_series(1, 5) ORDER BY v";
    let answer = ask(&warehouse, sql, &[], &EVERYTHING).await;
    let expected = "v,so_far,rest,even,middle,n,most,last\n\
        1,1,15,,1.5,5,5,1\n\
        2,3,14,2,2.0,5,4,1\n\
        3,6,12,2,3.0,5,5,1\n\
        4,10,9,6,4.0,5,4,1\n\
        5,15,5,6,4.5,5,5,1\n";
    assert_eq!(answer.expect("an answer"), expected);
}
