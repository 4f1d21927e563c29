//! What the warehouse knows of a task and of a job.

use super::questions::{first_key, parse_verdict, runs_between};
use super::{PublishError, task_transaction, text};
use crate::append::Appender;
use crate::delta::open_table;
use crate::id::{JobId, RunId, TaskId};
use crate::log;
use crate::row::RowError;
use crate::storage::WarehouseStore;
use crate::table::Table;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// So much earlier than its task a run may seem to be: their ids have the times of two clocks.
const CLOCKS_APART: i64 = 5 * 60 * 1_000_000;

/// The key of the first run that may belong to what was made at this moment.
fn since(made: Timestamp) -> i64 {
    first_key(Timestamp::from_micros(made.micros() - CLOCKS_APART))
}

/// The run that ended a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskRun {
    /// The run.
    pub run_id: RunId,
    /// Its verdict, which is the task's.
    pub verdict: Verdict,
}

/// The run that ended a task; `None` where none did yet.
///
/// # Errors
/// `runs` cannot be read.
pub async fn run_that_ended(
    store: &WarehouseStore,
    task_id: TaskId,
) -> Result<Option<TaskRun>, PublishError> {
    let Some(runs) = open_table(store, Table::Runs).await? else {
        return Ok(None);
    };
    let appender = Appender {
        table: Table::Runs,
        warehouse: store.location(),
    };
    let is_claimed = log::has_transaction(&runs, &task_transaction(task_id)).await;
    let is_claimed = is_claimed.map_err(|source| appender.delta_error(source))?;
    let task = task_id.to_string();
    // Where it is known that there is one it is looked for everywhere: a clock may be far off.
    let since = if is_claimed {
        i64::MIN
    } else {
        since(task_id.created_at())
    };
    let mut ended: Option<TaskRun> = None;
    for batch in runs_between(store, &runs, since, i64::MAX).await? {
        for row in 0..batch.num_rows() {
            if text(&batch, "task_id", row) != Some(&task) {
                continue;
            }
            let run_id = text(&batch, "run_id", row).unwrap_or_default();
            let verdict = text(&batch, "verdict", row).unwrap_or_default();
            let verdict = parse_verdict(store, run_id, verdict)?;
            let run_id: RunId = run_id.parse().map_err(|_| RowError::Value {
                table: Table::Runs.name(),
                column: "run_id",
                row,
                reason: format!("`{run_id}` is no run id"),
            })?;
            let run = TaskRun { run_id, verdict };
            if verdict.completes_task() {
                return Ok(Some(run));
            }
            // The last attempt at a task that none completed ends it as an error, or cancelled.
            if is_claimed && matches!(verdict, Verdict::Error | Verdict::Cancelled) {
                let later = |before: &TaskRun| before.run_id.run_key() > run_id.run_key();
                ended = ended.filter(later).or(Some(run));
            }
        }
    }
    Ok(ended)
}

/// How many runs of a job are in the warehouse.
///
/// # Errors
/// `runs` cannot be read.
pub async fn count_runs(store: &WarehouseStore, job_id: JobId) -> Result<i64, PublishError> {
    let Some(runs) = open_table(store, Table::Runs).await? else {
        return Ok(0);
    };
    let job = job_id.to_string();
    let since = since(job_id.created_at());
    let batches = runs_between(store, &runs, since, i64::MAX).await?;
    let of_job = batches.iter().map(|batch| {
        let rows = 0..batch.num_rows();
        rows.filter(|row| text(batch, "job_id", *row) == Some(&job))
            .count() as i64
    });
    Ok(of_job.sum())
}

/// The verdict of a run; `None` where it is not in the warehouse.
///
/// # Errors
/// `runs` cannot be read.
pub async fn verdict_of(
    store: &WarehouseStore,
    run_id: RunId,
) -> Result<Option<Verdict>, PublishError> {
    let Some(runs) = open_table(store, Table::Runs).await? else {
        return Ok(None);
    };
    let (key, run) = (run_id.run_key(), run_id.to_string());
    for batch in runs_between(store, &runs, key, key).await? {
        let found = (0..batch.num_rows()).find(|row| text(&batch, "run_id", *row) == Some(&run));
        if let Some(row) = found {
            let verdict = text(&batch, "verdict", row).unwrap_or_default();
            return parse_verdict(store, &run, verdict).map(Some);
        }
    }
    Ok(None)
}
