//! Runs that are visible: whole, and there once.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::{Table, WarehouseStore};

use super::footers::RESTORE;
use super::{Finding, Severity};
use crate::error::{OpenError, QueryError};
use crate::maintenance::Retention;
use crate::maintenance::expire::KEPT_FROM;
use crate::snapshots::Snapshots;

/// How many rows of one kind are told.
const TOLD: usize = 5;

/// One question whose every row is a text about something that is not as it should be.
struct Question {
    /// The table that it is about.
    table: Table,
    /// Those that it reads.
    reads: &'static [Table],
    severity: Severity,
    sql: &'static str,
    /// Where `$1` is the first day that is kept of the table.
    from_kept: bool,
    help: &'static str,
}

const REPORT: &str = "another tool wrote rows into the table; if none did, please report it as a bug, with \
    this line";

const LOST: &str = "rows were taken out by another tool, or a file was replaced; the run's numbers \
    cannot be trusted";

const YET_TO_COME: &str = "the clock of the host that measured it is wrong, or that of this one: set it \
    right; until that time the run counts as the newest";

const QUESTIONS: [Question; 9] = [
    Question {
        table: Table::Runs,
        reads: &[Table::Runs],
        severity: Severity::Broken,
        sql: "SELECT 'run ' || run_id || ' is there ' || count(*) || ' times' FROM runs
              GROUP BY run_id HAVING count(*) > 1",
        from_kept: false,
        help: REPORT,
    },
    Question {
        table: Table::Runs,
        reads: &[Table::Runs],
        severity: Severity::Broken,
        sql: "SELECT 'task ' || task_id || ' was completed by ' || count(*) || ' runs' FROM runs
              WHERE task_id IS NOT NULL
                AND verdict IN ('passed', 'degraded', 'blocked', 'invalid')
              GROUP BY task_id HAVING count(*) > 1",
        from_kept: false,
        help: REPORT,
    },
    Question {
        table: Table::Jobs,
        reads: &[Table::Jobs],
        severity: Severity::Broken,
        sql: "SELECT 'job ' || job_id || ' is there ' || count(*) || ' times' FROM jobs
              GROUP BY job_id HAVING count(*) > 1",
        from_kept: false,
        help: REPORT,
    },
    Question {
        table: Table::Envelopes,
        reads: &[Table::Runs, Table::Envelopes],
        severity: Severity::Broken,
        sql: "SELECT 'the envelope of run ' || u.run_id || ' is not there'
              FROM runs u LEFT ANTI JOIN envelopes e ON e.run_key = u.run_key
              WHERE u.verdict IN ('passed', 'degraded', 'blocked')",
        from_kept: false,
        help: LOST,
    },
    Question {
        table: Table::Stages,
        reads: &[Table::Runs, Table::Stages],
        severity: Severity::Broken,
        sql: "SELECT 'stage ' || u.headline_stage || ' of run ' || u.run_id
                  || ', which its headline is about, is not there'
              FROM runs u LEFT ANTI JOIN stages s
                ON s.run_key = u.run_key AND s.stage = u.headline_stage
              WHERE u.headline_stage IS NOT NULL",
        from_kept: false,
        help: LOST,
    },
    Question {
        table: Table::Requests,
        reads: &[Table::Runs, Table::Stages, Table::Requests],
        severity: Severity::Broken,
        sql: "SELECT 'stage ' || s.stage || ' of run ' || s.run_id || ' has '
                  || coalesce(r.there, 0) || ' rows of ' || s.sent || ' requests that it sent'
              FROM stages s JOIN runs u ON u.run_key = s.run_key
              LEFT JOIN (SELECT run_key, stage, count(*) AS there FROM requests
                         WHERE date >= $1 GROUP BY run_key, stage) r
                ON r.run_key = s.run_key AND r.stage = s.stage
              WHERE u.started_at >= CAST($1 AS TIMESTAMP) AND s.sent <> coalesce(r.there, 0)",
        from_kept: true,
        help: LOST,
    },
    Question {
        table: Table::Stages,
        reads: &[Table::Runs, Table::Stages, Table::Requests],
        severity: Severity::Broken,
        // A process may die after a stage's first request and before its row.
        sql: "SELECT 'stage ' || r.stage || ' of run ' || u.run_id
                  || ', which has requests, is not there'
              FROM (SELECT DISTINCT run_key, stage FROM requests) r
              JOIN runs u ON u.run_key = r.run_key AND u.verdict IN ('passed', 'degraded')
              LEFT ANTI JOIN stages s ON s.run_key = r.run_key AND s.stage = r.stage",
        from_kept: false,
        help: LOST,
    },
    Question {
        table: Table::Cases,
        reads: &[Table::Runs, Table::Cases],
        severity: Severity::Broken,
        sql:
            "SELECT 'run ' || u.run_id || ' has ' || coalesce(c.there, 0) || ' rows of '
                  || u.cases_total || ' cases'
              FROM runs u
              LEFT JOIN (SELECT run_key, count(*) AS there FROM cases
                         WHERE date >= $1 GROUP BY run_key) c ON c.run_key = u.run_key
              WHERE u.started_at >= CAST($1 AS TIMESTAMP) AND u.cases_total <> coalesce(c.there, 0)",
        from_kept: true,
        help: LOST,
    },
    Question {
        table: Table::Runs,
        reads: &[Table::Runs],
        severity: Severity::Note,
        sql: "SELECT 'run ' || run_id || ' began at ' || started_at || ', which is yet to come'
              FROM runs WHERE started_at > now() + INTERVAL '5 minutes' ORDER BY started_at",
        from_kept: false,
        help: YET_TO_COME,
    },
];

/// How many runs are visible, where `runs` is readable, and what is wrong with the rows of such tables.
///
/// # Errors
/// The questions need more memory than there is, or storage does not answer.
pub(super) async fn check(
    store: &WarehouseStore,
    snapshots: &Arc<Snapshots>,
    retention: &Retention,
    readable: &[Table],
) -> Result<(Option<usize>, Vec<Finding>), OpenError> {
    let mut findings = Vec::new();
    let mut take = |answered: Result<Vec<Finding>, Unanswered>| match answered {
        Ok(found) => {
            findings.extend(found);
            Ok(())
        }
        Err(Unanswered::Found(finding)) => {
            findings.push(finding);
            Ok(())
        }
        Err(Unanswered::Failed(error)) => Err(error),
    };
    let answerable = |question: &&Question| {
        let mut reads = question.reads.iter();
        reads.all(|table| readable.contains(table))
    };
    for question in QUESTIONS.iter().filter(answerable) {
        take(answer(store, snapshots, retention, question).await)?;
    }
    // Whose row in `runs` is not seen is not seen at all.
    if !readable.contains(&Table::Runs) {
        return Ok((None, findings));
    }
    let facts = readable.iter().copied().filter(|table| table.per_run());
    for table in facts {
        if table == Table::Runs || !snapshots.snapshot(table).await?.exists() {
            continue;
        }
        take(of_no_run(snapshots, table).await)?;
        take(there_twice(snapshots, table).await)?;
    }
    let runs = match count_runs(snapshots).await {
        Ok(runs) => Some(runs),
        Err(unanswered) => {
            take(Err(unanswered))?;
            None
        }
    };
    Ok((runs, findings))
}

/// Why a question has no answer.
enum Unanswered {
    /// Files of its tables cannot be read.
    Found(Finding),
    /// It could not be asked here.
    Failed(OpenError),
}

impl From<OpenError> for Unanswered {
    fn from(error: OpenError) -> Self {
        Self::Failed(error)
    }
}

async fn count_runs(snapshots: &Arc<Snapshots>) -> Result<usize, Unanswered> {
    let batches = rows(
        snapshots,
        Table::Runs,
        "SELECT count(*) FROM runs",
        Vec::new(),
    )
    .await?;
    let counted = batches
        .first()
        .map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    Ok(usize::try_from(counted.unwrap_or_default()).unwrap_or_default())
}

async fn answer(
    store: &WarehouseStore,
    snapshots: &Arc<Snapshots>,
    retention: &Retention,
    question: &Question,
) -> Result<Vec<Finding>, Unanswered> {
    let table = question.table;
    let parameters = match question.from_kept {
        true => vec![first_kept(store, snapshots, retention, table).await?],
        false => Vec::new(),
    };
    let mut found = Found::default();
    found.add(&rows(snapshots, table, question.sql, parameters).await?);
    Ok(found.told(table, question.severity, question.help))
}

/// The first day of which every row of a table is still there.
async fn first_kept(
    store: &WarehouseStore,
    snapshots: &Arc<Snapshots>,
    retention: &Retention,
    table: Table,
) -> Result<ScalarValue, OpenError> {
    let today = chrono::Utc::now().date_naive();
    // A day more, since retention takes days out while this looks.
    let first = retention
        .first_day(table, today)
        .and_then(|day| day.succ_opt())
        .unwrap_or_default();
    // It may have been shorter before.
    let snapshot = snapshots.snapshot(table).await?;
    let kept_from = snapshot.transaction(store, KEPT_FROM).await?;
    let kept_from =
        kept_from.and_then(|days| NaiveDate::from_epoch_days(i32::try_from(days).ok()?));
    let first = first.max(kept_from.unwrap_or_default());
    Ok(ScalarValue::Date32(Some(first.to_epoch_days())))
}

/// Rows that every reader sees, of runs that none sees.
async fn of_no_run(snapshots: &Arc<Snapshots>, table: Table) -> Result<Vec<Finding>, Unanswered> {
    let sql = format!(
        "SELECT 'rows of a run with key ' || r.run_key || ' that is not in `runs`'
         FROM (SELECT DISTINCT run_key FROM {table}) r
         LEFT ANTI JOIN runs u ON u.run_key = r.run_key"
    );
    let mut found = Found::default();
    found.add(&rows(snapshots, table, &sql, Vec::new()).await?);
    Ok(found.told(table, Severity::Broken, REPORT))
}

/// Rows of a run that ought to differ in what tells its rows apart.
///
/// Asked for so many runs at a time as fit into memory: there may be any number of requests.
async fn there_twice(snapshots: &Arc<Snapshots>, table: Table) -> Result<Vec<Finding>, Unanswered> {
    let Some(columns) = table.unique_columns() else {
        return Ok(Vec::new());
    };
    let columns = columns.join(", ");
    let sql = format!(
        "SELECT 'run with key ' || run_key || ' has ' || sum(times) || ' rows, and ' || count(*)
             || ' different {columns}'
         FROM (SELECT run_key, {columns}, count(*) AS times FROM {table}
               WHERE run_key BETWEEN $1 AND $2 GROUP BY run_key, {columns})
         GROUP BY run_key HAVING sum(times) <> count(*)"
    );
    let most = snapshots.memory_limit() / BYTES_OF_A_ROW;
    let mut found = Found::default();
    for (least, greatest) in spans(&rows_of_runs(snapshots, table).await?, most) {
        let keys = [least, greatest].map(|key| ScalarValue::Int64(Some(key)));
        found.add(&rows(snapshots, table, &sql, keys.into()).await?);
    }
    Ok(found.told(table, Severity::Broken, REPORT))
}

/// Memory that telling one row from the others may take, in bytes, with room for whatever else is
/// held meanwhile.
const BYTES_OF_A_ROW: usize = 512;

/// How many rows each run has, by its key, in the order of keys.
async fn rows_of_runs(
    snapshots: &Arc<Snapshots>,
    table: Table,
) -> Result<Vec<(i64, usize)>, Unanswered> {
    let sql =
        format!("SELECT run_key, count(*) FROM {table} WHERE run_key IS NOT NULL GROUP BY run_key");
    let batches = rows(snapshots, table, &sql, Vec::new()).await?;
    let counted = batches.iter().flat_map(|batch| {
        let integers = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        let counts = integers(1).values().iter();
        let counts = counts.map(|count| usize::try_from(*count).unwrap_or_default());
        integers(0).values().iter().copied().zip(counts)
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort_unstable();
    Ok(counted)
}

/// The keys of neighbours that have `most` rows together, or of one run that has more alone.
fn spans(runs: &[(i64, usize)], most: usize) -> Vec<(i64, i64)> {
    let mut spans = Vec::new();
    let mut left = 0;
    for &(key, rows) in runs {
        match spans.last_mut() {
            Some((_, greatest)) if rows <= left => {
                *greatest = key;
                left -= rows;
            }
            _ => {
                spans.push((key, key));
                left = most.saturating_sub(rows);
            }
        }
    }
    spans
}

/// Texts about what is wrong in one way.
#[derive(Default)]
struct Found {
    /// The first few.
    texts: Vec<String>,
    total: usize,
}

impl Found {
    fn add(&mut self, batches: &[RecordBatch]) {
        let options = FormatOptions::default();
        for batch in batches {
            self.total += batch.num_rows();
            let Ok(texts) = ArrayFormatter::try_new(batch.column(0).as_ref(), &options) else {
                continue;
            };
            let room = TOLD.saturating_sub(self.texts.len());
            let told = (0..batch.num_rows().min(room)).map(|row| texts.value(row).to_string());
            self.texts.extend(told);
        }
    }

    fn told(self, table: Table, severity: Severity, help: &str) -> Vec<Finding> {
        let more = self.total - self.texts.len();
        let more = (more > 0).then(|| format!("and {more} more of the kind"));
        let all = self.texts.into_iter().chain(more);
        let finding = |what| Finding {
            severity,
            table,
            what,
            help: help.to_string(),
        };
        all.map(finding).collect()
    }
}

async fn rows(
    snapshots: &Arc<Snapshots>,
    table: Table,
    sql: &str,
    parameters: Vec<ScalarValue>,
) -> Result<Vec<RecordBatch>, Unanswered> {
    let rows = snapshots.rows(sql, parameters).await;
    rows.map_err(|error| match snapshots.error(&error) {
        error @ QueryError::Memory { .. } => Unanswered::Failed(OpenError::Unreadable {
            table,
            location: snapshots.location().to_string(),
            reason: error.to_string(),
            help: Some("allow it more memory, by PLIMSOLL_SQL_MEMORY or `sql.memory`"),
        }),
        QueryError::Open(error) if error.is_of_storage() => Unanswered::Failed(error),
        QueryError::Storage {
            message,
            help: Some(help),
        } => Unanswered::Failed(OpenError::Unreadable {
            table,
            location: snapshots.location().to_string(),
            reason: message,
            help: Some(help),
        }),
        unread => match plimsoll_ingest::storage::help(&error) {
            // The rows may be as they ought to be, and storage does not answer for now.
            Some(help) => Unanswered::Failed(OpenError::Unreadable {
                table,
                location: snapshots.location().to_string(),
                reason: unread.to_string(),
                help: Some(help),
            }),
            None => {
                let what = format!("rows cannot be read: {unread}");
                Unanswered::Found(Finding::broken(table, what, RESTORE))
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_asked_for_together_as_far_as_they_fit() {
        let runs = [(1, 4), (2, 6), (5, 1), (7, 30), (8, 10), (9, 0)];
        assert_eq!(spans(&runs, 10), [(1, 2), (5, 5), (7, 7), (8, 9)]);
        assert_eq!(spans(&runs, 0), [(1, 1), (2, 2), (5, 5), (7, 7), (8, 9)]);
        assert_eq!(spans(&[], 10), []);
    }
}
