//! Runs that are visible: whole, and there once.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::{Table, WarehouseStore};

use super::Finding;
use crate::error::OpenError;
use crate::maintenance::Retention;
use crate::maintenance::expire::KEPT_FROM;
use crate::snapshots::Snapshots;

/// How many rows of one kind are told.
const TOLD: usize = 5;

/// One question whose every row is a text about something wrong. `$1` is the
/// first day of requests that is kept.
struct Question {
    table: Table,
    sql: &'static str,
    help: &'static str,
}

const REPORT: &str = "this must not happen: please report it as a bug, with this line";

const LOST: &str = "rows were taken out by another tool, or a file was replaced; the run's numbers \
    cannot be trusted";

const QUESTIONS: [Question; 7] = [
    Question {
        table: Table::Runs,
        sql: "SELECT 'run ' || run_id || ' is there ' || count(*) || ' times' FROM runs
              GROUP BY run_id HAVING count(*) > 1",
        help: REPORT,
    },
    Question {
        table: Table::Runs,
        sql: "SELECT 'task ' || task_id || ' was completed by ' || count(*) || ' runs' FROM runs
              WHERE task_id IS NOT NULL
                AND verdict IN ('passed', 'degraded', 'blocked', 'invalid')
              GROUP BY task_id HAVING count(*) > 1",
        help: REPORT,
    },
    Question {
        table: Table::Jobs,
        sql: "SELECT 'job ' || job_id || ' is there ' || count(*) || ' times' FROM jobs
              GROUP BY job_id HAVING count(*) > 1",
        help: REPORT,
    },
    Question {
        table: Table::Stages,
        sql: "SELECT 'stage ' || stage || ' of run ' || min(run_id) || ' is there ' || count(*)
                  || ' times'
              FROM stages GROUP BY run_key, stage HAVING count(*) > 1",
        help: REPORT,
    },
    Question {
        table: Table::Requests,
        sql: "SELECT 'stage ' || s.stage || ' of run ' || s.run_id || ' has '
                  || coalesce(r.there, 0) || ' rows of ' || s.sent || ' requests that it sent'
              FROM stages s JOIN runs u ON u.run_key = s.run_key
              LEFT JOIN (SELECT run_key, stage, count(*) AS there FROM requests
                         WHERE date >= $1 GROUP BY run_key, stage) r
                ON r.run_key = s.run_key AND r.stage = s.stage
              WHERE u.started_at >= CAST($1 AS TIMESTAMP) AND s.sent <> coalesce(r.there, 0)",
        help: LOST,
    },
    Question {
        table: Table::Requests,
        sql: "SELECT 'run with key ' || run_key || ' has ' || count(*) || ' requests, and '
                  || count(DISTINCT request_id) || ' of them are different'
              FROM requests GROUP BY run_key HAVING count(*) <> count(DISTINCT request_id)",
        help: REPORT,
    },
    Question {
        table: Table::Requests,
        sql: "SELECT 'rows of a run with key ' || r.run_key || ' that is not in `runs`'
              FROM (SELECT DISTINCT run_key FROM requests) r
              LEFT ANTI JOIN runs u ON u.run_key = r.run_key",
        help: REPORT,
    },
];

/// How many runs are visible.
pub(super) async fn count_runs(snapshots: &Arc<Snapshots>) -> Result<usize, OpenError> {
    let batches = rows(snapshots, Table::Runs, "SELECT count(*) FROM runs", None).await?;
    let counted = batches
        .first()
        .map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    Ok(usize::try_from(counted.unwrap_or_default()).unwrap_or_default())
}

/// What is wrong with the rows.
pub(super) async fn check(
    store: &WarehouseStore,
    snapshots: &Arc<Snapshots>,
    retention: &Retention,
) -> Result<Vec<Finding>, OpenError> {
    let today = chrono::Utc::now().date_naive();
    // A day more, since retention takes days out while this looks.
    let first = retention
        .first_day(Table::Requests, today)
        .and_then(|day| day.succ_opt())
        .unwrap_or_default();
    // It may have been shorter before.
    let requests = snapshots.snapshot(Table::Requests).await?;
    let kept_from = requests.transaction(store, KEPT_FROM).await?;
    let kept_from =
        kept_from.and_then(|days| NaiveDate::from_epoch_days(i32::try_from(days).ok()?));
    let first = first.max(kept_from.unwrap_or_default());
    let mut findings = Vec::new();
    for Question { table, sql, help } in &QUESTIONS {
        let parameter = sql.contains("$1").then(|| {
            let days = first.to_epoch_days();
            ScalarValue::Date32(Some(days))
        });
        let batches = rows(snapshots, *table, sql, parameter).await?;
        let total: usize = batches
            .iter()
            .map(arrow::array::RecordBatch::num_rows)
            .sum();
        let options = FormatOptions::default();
        let texts = batches.iter().flat_map(|batch| {
            let texts = ArrayFormatter::try_new(batch.column(0).as_ref(), &options);
            let rows = 0..batch.num_rows();
            texts.into_iter().flat_map(move |texts| {
                let text = |row| texts.value(row).to_string();
                rows.clone().map(text).collect::<Vec<_>>()
            })
        });
        findings.extend(
            texts
                .take(TOLD)
                .map(|text| Finding::broken(*table, text, help)),
        );
        if total > TOLD {
            let what = format!("and {} more of the kind", total - TOLD);
            findings.push(Finding::broken(*table, what, help));
        }
    }
    Ok(findings)
}

async fn rows(
    snapshots: &Arc<Snapshots>,
    table: Table,
    sql: &str,
    parameter: Option<ScalarValue>,
) -> Result<Vec<arrow::array::RecordBatch>, OpenError> {
    let rows = snapshots.rows(sql, parameter.into_iter().collect()).await;
    rows.map_err(|error| OpenError::Unreadable {
        table,
        location: snapshots.location().to_string(),
        reason: error.strip_backtrace(),
        help: plimsoll_ingest::storage::help(&error),
    })
}
