//! Schemas, roles, and names that are nearly right.

use plimsoll_warehouse::{Access, QueryError, QueryLimits, Warehouse};

use crate::place::{EVERYTHING, Place, answer, ask, at, failure, id, request, run};

async fn asked_with(
    warehouse: &Warehouse,
    access: Access,
    sql: &str,
) -> Result<String, QueryError> {
    ask(
        warehouse,
        sql,
        &[],
        &QueryLimits {
            access,
            ..EVERYTHING
        },
    )
    .await
}

#[tokio::test]
async fn each_role_sees_its_schemas_and_no_others() {
    let place = Place::new();
    let run_id = id(at(1, 0), 1);
    place.append(&[request(run_id, 0)]).await;
    place.append(&[run(run_id, "m")]).await;
    let warehouse = place.open().await;
    for (table, first) in [
        ("runs", Access::Reports),
        ("reports.runs", Access::Reports),
        ("plimsoll.reports.runs", Access::Reports),
        ("peak_rps", Access::Reports),
        ("reports.questions", Access::Reports),
        ("requests", Access::ReportsAndRaw),
        ("raw.requests", Access::ReportsAndRaw),
        ("events", Access::All),
        ("audit.events", Access::All),
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        for access in [Access::Reports, Access::ReportsAndRaw, Access::All] {
            let answer = asked_with(&warehouse, access, &sql).await;
            if access >= first {
                answer.unwrap_or_else(|error| panic!("{table} as {access:?}: {error}"));
            } else {
                let refused = matches!(answer, Err(QueryError::NotAllowed { .. }));
                assert!(refused, "{table} as {access:?}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_information_schema_lists_what_the_role_sees() {
    let place = Place::new();
    place.append(&[run(id(at(1, 0), 1), "m")]).await;
    let warehouse = place.open().await;
    let sql = "SELECT DISTINCT table_schema FROM information_schema.tables \
         WHERE table_schema <> 'information_schema' ORDER BY table_schema";
    for (access, schemas) in [
        (Access::Reports, "table_schema\nreports\n"),
        (Access::ReportsAndRaw, "table_schema\nraw\nreports\n"),
        (Access::All, "table_schema\naudit\nraw\nreports\n"),
    ] {
        assert_eq!(
            asked_with(&warehouse, access, sql)
                .await
                .expect("an answer"),
            schemas
        );
    }
    let sql = "SELECT table_type FROM information_schema.tables \
         WHERE table_name IN ('runs', 'peak_rps') ORDER BY table_name";
    assert_eq!(answer(&warehouse, sql).await, "VIEW\nBASE TABLE");
    let sql = "SELECT column_name, data_type FROM information_schema.columns \
         WHERE table_name = 'ticks' AND table_schema = 'reports' ORDER BY ordinal_position LIMIT 3";
    assert_eq!(
        answer(&warehouse, sql).await,
        "run_id,Utf8\nrun_key,Int64\ndate,Date32"
    );
    // A stranger finds the way with SQL alone: every table, view and column says what it means.
    for of in ["tables", "columns"] {
        let sql = format!(
            "SELECT count(*), count(comment) > 20 FROM information_schema.{of} \
             WHERE comment IS NULL AND table_schema <> 'information_schema' \
             UNION ALL SELECT 0, count(comment) > 20 FROM information_schema.{of} \
             ORDER BY 2"
        );
        assert_eq!(answer(&warehouse, &sql).await, "0,false\n0,true", "{of}");
    }
    let sql = "SELECT comment FROM information_schema.columns \
         WHERE table_name = 'peak_rps' AND column_name = 'peak_goodput_rps'";
    assert_eq!(
        answer(&warehouse, sql).await,
        "Good requests a second at the limit."
    );
    let tables = answer(&warehouse, "SHOW TABLES").await;
    assert!(tables.contains("reports,runs,BASE TABLE"), "{tables}");
    let described = answer(&warehouse, "DESCRIBE peak_rps").await;
    assert!(
        described.contains("peak_goodput_rps,Float64"),
        "{described}"
    );
}

#[tokio::test]
async fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
    let place = Place::new();
    let warehouse = place.open().await;
    for (sql, message, help) in [
        (
            "SELECT * FROM run",
            "there is no table `run`",
            "did you mean `runs`?",
        ),
        (
            "SELECT * FROM raw.request",
            "there is no table `raw.request`",
            "did you mean `requests`?",
        ),
        (
            "SELECT * FROM raw.runs",
            "there is no table `raw.runs`",
            "did you mean `runs`?",
        ),
        (
            "SELECT * FROM elsewhere.reports.runs",
            "there is no table `elsewhere.reports.runs`",
            "did you mean `runs`?",
        ),
        (
            "SELECT * FROM customers",
            "there is no table `customers`",
            "`show tables` lists the tables and views",
        ),
        (
            "SELECT * FROM saturation_curv('latest')",
            "there is no table `saturation_curv`",
            "did you mean `saturation_curve`?",
        ),
        (
            "SELECT modle FROM runs",
            "there is no column `modle`",
            "did you mean `model`?",
        ),
        (
            "SELECT model FROM runs WHERE runs.verdcit = 'x'",
            "there is no column `runs.verdcit`",
            "did you mean `verdict`?",
        ),
        (
            "WITH t AS (SELECT 1 AS a) SELECT zebra FROM t",
            "there is no column `zebra`",
            "there are `a`",
        ),
    ] {
        let error = failure(&warehouse, sql).await;
        assert_eq!(
            (error.to_string().as_str(), error.help().as_str()),
            (message, help),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_planned_or_computed_says_so_on_one_line() {
    let place = Place::new();
    place.append(&[run(id(at(1, 0), 1), "m")]).await;
    let warehouse = place.open().await;
    for (sql, says) in [
        ("SELECT lenght(model) FROM runs", "lenght"),
        ("SELECT model FROM runs GROUP BY verdict", "model"),
        ("SELECT sum(model) FROM runs", "sum"),
        ("SELECT 1 / 0", "zero"),
        ("SELECT CAST(model AS BIGINT) FROM runs", "Cannot cast"),
        ("SELECT", "found: EOF"),
    ] {
        let text = failure(&warehouse, sql).await.to_string();
        assert!(text.contains(says) && !text.contains('\n'), "{sql}: {text}");
        for noise in [
            "Error during planning",
            "caused by",
            "backtrace",
            "github.com",
            ".rs:",
        ] {
            assert!(!text.contains(noise), "{sql}: {text}");
        }
    }
}
