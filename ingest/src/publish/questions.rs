//! What a publisher asks the tables before and after each of its commits.

use arrow::array::{AsArray, RecordBatch};
use deltalake_core::DeltaTable;

use super::{PublishError, Publisher, task_transaction};
use crate::append::Appender;
use crate::id::RunId;
use crate::log;
use crate::storage::WarehouseStore;
use crate::table::Table;
use crate::time::Timestamp;
use crate::verdict::Verdict;

impl Publisher<'_> {
    /// Whether this run's rows are in a table of facts.
    pub(super) async fn is_in(
        &self,
        delta: &DeltaTable,
        table: Table,
    ) -> Result<bool, PublishError> {
        let fail = |source| self.table_error(table, source);
        let app_id = self.run_transaction();
        if log::has_transaction(delta, &app_id).await.map_err(fail)? {
            return Ok(true);
        }
        let key = self.run_key();
        let files = log::files_by_run_key(delta).map_err(fail)?;
        Ok(files.iter().any(|file| file.bounds == Some((key, key))))
    }

    pub(super) fn run_key(&self) -> i64 {
        self.run_id.run_key()
    }

    /// Reads those files of `runs` that may hold keys in a range.
    pub(super) async fn runs_between(
        &self,
        runs: &DeltaTable,
        least: i64,
        most: i64,
    ) -> Result<Vec<RecordBatch>, PublishError> {
        runs_between(self.store, runs, least, most).await
    }

    /// The verdict that `runs` holds for this run; `None` where it is not in.
    pub(super) async fn verdict_in(
        &self,
        runs: &DeltaTable,
    ) -> Result<Option<Verdict>, PublishError> {
        let key = self.run_key();
        let id = self.run_id.to_string();
        for batch in self.runs_between(runs, key, key).await? {
            let found = (0..batch.num_rows()).find(|row| text(&batch, "run_id", *row) == Some(&id));
            if let Some(row) = found {
                return self.verdict_of(&batch, row).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether some other run completed this run's task.
    pub(super) async fn task_is_complete(&self, runs: &DeltaTable) -> Result<bool, PublishError> {
        let Some(task_id) = self.task_id else {
            return Ok(false);
        };
        let fail = |source| self.table_error(Table::Runs, source);
        if log::has_transaction(runs, &task_transaction(task_id))
            .await
            .map_err(fail)?
        {
            return Ok(true);
        }
        // The transaction may have expired; a run is never older than its task.
        let task = task_id.to_string();
        let since = first_key(task_id.created_at());
        for batch in self.runs_between(runs, since, i64::MAX).await? {
            for row in 0..batch.num_rows() {
                if text(&batch, "task_id", row) == Some(&task)
                    && self.verdict_of(&batch, row)?.completes_task()
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The verdict of one row of `runs`.
    pub(super) fn verdict_of(
        &self,
        runs: &RecordBatch,
        row: usize,
    ) -> Result<Verdict, PublishError> {
        let run_id = text(runs, "run_id", row).unwrap_or_default();
        self.parse_verdict(run_id, text(runs, "verdict", row).unwrap_or_default())
    }

    pub(super) fn parse_verdict(&self, run_id: &str, word: &str) -> Result<Verdict, PublishError> {
        parse_verdict(self.store, run_id, word)
    }

    /// Whether a run with this verdict ends its task: a measurement does, and
    /// so does the last attempt that could not run or was cancelled.
    pub(super) fn ends_task(&self, verdict: Verdict) -> bool {
        let gave_up = matches!(verdict, Verdict::Error | Verdict::Cancelled);
        verdict.completes_task() || (gave_up && self.last_attempt)
    }
}

/// The least key that a run of this moment, or a later one, can have.
pub(super) fn first_key(at: Timestamp) -> i64 {
    RunId::from_digest(at, [0; 10]).run_key()
}

/// Reads those files of `runs` that may hold keys in a range.
pub(super) async fn runs_between(
    store: &WarehouseStore,
    runs: &DeltaTable,
    least: i64,
    most: i64,
) -> Result<Vec<RecordBatch>, PublishError> {
    let appender = Appender {
        table: Table::Runs,
        warehouse: store.location(),
    };
    let files = log::files_by_run_key(runs);
    let files = files.map_err(|source| appender.delta_error(source))?;
    let files = files.iter().filter(|file| file.may_hold(&least, &most));
    let paths = files.map(|file| &file.path);
    Ok(appender.read_files(runs, paths).await?)
}

pub(super) fn parse_verdict(
    store: &WarehouseStore,
    run_id: &str,
    word: &str,
) -> Result<Verdict, PublishError> {
    word.parse().map_err(|source| PublishError::Verdict {
        run_id: run_id.to_string(),
        warehouse: store.location().to_string(),
        source,
    })
}

pub(super) fn text<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let column = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    arrow::array::Array::is_valid(column, row).then(|| column.value(row))
}
