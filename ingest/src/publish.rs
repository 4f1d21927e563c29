//! Exactly once from a sealed spool to the warehouse's tables.
//!
//! Facts first, `runs` after them, `jobs` last: a run is visible wholly or not
//! at all. Each commit carries the application transaction `run:<run_id>`
//! (`job:<job_id>` for `jobs`), so that two publishers of one spool end with
//! one copy, and the `runs` commit of a run that completes its task carries
//! `task:<task_id>`, which keeps a zombie's later run from counting.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use bytes::Bytes;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

mod files;
mod jobs;
mod log;
mod merge;

pub use merge::MergeError;

use crate::delta::{TableError, open_or_create};
use crate::id::{RunId, TaskId};
use crate::row::{RowError, TableRow as _};
use crate::spool::{Spool, SpoolContents, SpoolError, Tag};
use crate::storage::WarehouseStore;
use crate::table::{RunRow, Table};
use crate::time::Timestamp;
use crate::verdict::Verdict;
use crate::vocabulary::UnknownWord;
use files::RunFiles;

/// How often a commit is tried before its error is reported.
const COMMIT_ATTEMPTS: u32 = 12;

/// Why a spool was not published. Its rows stay in the spool.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No end marker: the run may still be under way.
    #[error("the spool of run {run_id} is not sealed")]
    NotSealed {
        /// The run.
        run_id: RunId,
    },
    /// The spool says nothing of the run itself.
    #[error("the spool of run {run_id} holds no row for `runs`")]
    NoRunRow {
        /// The run.
        run_id: RunId,
    },
    /// A table cannot be opened, made or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The spool cannot be read or removed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The rows cannot be put in order.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A row breaks its table's contract.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A row has a verdict that this release does not know.
    #[error(
        "run {run_id} of warehouse `{warehouse}` has a verdict that this release does not know; \
         use the release that wrote it, or a later one"
    )]
    Verdict {
        /// The run.
        run_id: String,
        /// The warehouse.
        warehouse: String,
        /// The word that was found.
        source: UnknownWord,
    },
    /// A file could not be written or read.
    #[error("table `{table}` in warehouse `{warehouse}`: a Parquet file failed")]
    File {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
        /// Why.
        source: ParquetError,
    },
}

/// What a publication came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The verdict that `runs` holds for the run.
    pub verdict: Verdict,
    /// False where another publisher, or an earlier attempt, had done it all.
    pub by_us: bool,
}

/// One run on its way into one warehouse.
struct Publisher<'a> {
    store: &'a WarehouseStore,
    contents: &'a SpoolContents,
    run_id: RunId,
    task_id: Option<TaskId>,
    last_attempt: bool,
}

/// Publishes a sealed spool, then removes it. Doing so twice is doing it once.
///
/// A spool of which something cannot be read any more is not published: the rest
/// would pass for the whole.
///
/// # Errors
/// Says which table failed and why; the spool stays, to be published later.
pub async fn publish(spool: Spool, store: &WarehouseStore) -> Result<Published, PublishError> {
    let contents = spool.contents()?;
    let manifest = spool.manifest();
    if !contents.sealed() {
        return Err(PublishError::NotSealed {
            run_id: manifest.run_id,
        });
    }
    contents.check()?;
    let publisher = Publisher {
        store,
        contents: &contents,
        run_id: manifest.run_id,
        task_id: manifest.task_id,
        last_attempt: manifest.last_attempt,
    };
    let published = publisher.publish_all().await?;
    spool.remove()?;
    Ok(published)
}

impl Publisher<'_> {
    async fn publish_all(&self) -> Result<Published, PublishError> {
        let runs = open_or_create(self.store, Table::Runs).await?;
        if let Some(verdict) = self.verdict_in(&runs).await? {
            self.publish_job().await?;
            return Ok(Published {
                verdict,
                by_us: false,
            });
        }
        // Every table is there before the first commit, so that a reader never
        // meets half a warehouse.
        for table in Table::ALL {
            open_or_create(self.store, *table).await?;
        }
        for table in Table::ALL
            .iter()
            .copied()
            .filter(|table| *table != Table::Runs)
        {
            for tag in [Tag::Facts(table), Tag::Final(table)] {
                if table.per_run() && self.contents.has(tag) {
                    self.publish_facts(table, tag).await?;
                }
            }
        }
        let published = self.publish_run(runs).await?;
        self.publish_job().await?;
        Ok(published)
    }

    fn file_error(&self, table: Table) -> impl Fn(ParquetError) -> PublishError + '_ {
        move |source| PublishError::File {
            table,
            warehouse: self.store.location().to_string(),
            source,
        }
    }

    fn table_error(&self, table: Table, source: DeltaTableError) -> PublishError {
        TableError::storage(table, self.store.location(), source).into()
    }

    /// Writes the files of one table's rows; nothing sees them yet.
    async fn write_files(
        &self,
        delta: &DeltaTable,
        table: Table,
        rows: impl Iterator<Item = Result<RecordBatch, MergeError>>,
    ) -> Result<Vec<Add>, PublishError> {
        let mut files = RunFiles::new(table, self.run_id, delta.object_store());
        for batch in rows {
            files.write(&batch?).await.map_err(self.file_error(table))?;
        }
        files.finish().await.map_err(self.file_error(table))
    }

    async fn publish_facts(&self, table: Table, tag: Tag) -> Result<(), PublishError> {
        let mut delta = open_or_create(self.store, table).await?;
        if self.is_in(&delta, table).await? {
            return Ok(());
        }
        let rows = merge::ordered_rows(self.contents, tag, table)?;
        let adds = self.write_files(&delta, table, rows).await?;
        let transactions = vec![self.transaction(&self.run_transaction())];
        let mut attempt = 0;
        while !self.is_in(&delta, table).await? {
            self.try_commit(&mut delta, table, &adds, &transactions, &mut attempt)
                .await?;
        }
        Ok(())
    }

    fn run_transaction(&self) -> String {
        format!("run:{}", self.run_id)
    }

    fn transaction(&self, app_id: &str) -> Transaction {
        Transaction::new_with_last_update(app_id, 1, Some(Timestamp::now().millis()))
    }

    /// One attempt at a commit, then a look at what is there now. An error
    /// does not say that nothing landed, so the caller asks the log each time.
    async fn try_commit(
        &self,
        delta: &mut DeltaTable,
        table: Table,
        adds: &[Add],
        transactions: &[Transaction],
        attempt: &mut u32,
    ) -> Result<(), PublishError> {
        *attempt += 1;
        let properties = CommitProperties::default()
            .with_application_transactions(transactions.to_vec())
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: table.partitioned().then(|| vec!["date".to_string()]),
            predicate: None,
        };
        let state = delta
            .snapshot()
            .map_err(|source| self.table_error(table, source))?;
        let committed = CommitBuilder::from(properties)
            .with_actions(adds.iter().cloned().map(Action::Add).collect())
            .build(Some(state), delta.log_store(), operation)
            .await;
        if let Err(source) = committed {
            tracing::debug!(%table, run = %self.run_id, error = %source, "commit failed");
            if *attempt >= COMMIT_ATTEMPTS {
                return Err(self.table_error(table, source));
            }
            tokio::time::sleep(pause_before(*attempt)).await;
        }
        delta
            .update_state()
            .await
            .map_err(|source| self.table_error(table, source))
    }

    /// Whether this run's rows are in a table of facts.
    async fn is_in(&self, delta: &DeltaTable, table: Table) -> Result<bool, PublishError> {
        let fail = |source| self.table_error(table, source);
        let app_id = self.run_transaction();
        if log::has_transaction(delta, &app_id).await.map_err(fail)? {
            return Ok(true);
        }
        let key = self.run_key();
        let files = log::files_by_run_key(delta).map_err(fail)?;
        Ok(files.iter().any(|file| file.bounds == Some((key, key))))
    }

    fn run_key(&self) -> i64 {
        self.run_id.run_key()
    }

    /// Reads those files of `runs` that may hold keys in a range.
    async fn runs_between(
        &self,
        runs: &DeltaTable,
        least: i64,
        most: i64,
    ) -> Result<Vec<RecordBatch>, PublishError> {
        let files = log::files_by_run_key(runs);
        let files = files.map_err(|source| self.table_error(Table::Runs, source))?;
        let files = files.iter().filter(|file| file.may_hold(&least, &most));
        let paths = files.map(|file| &file.path);
        self.read_files(runs, Table::Runs, paths).await
    }

    /// Reads whole files of a small table.
    async fn read_files(
        &self,
        delta: &DeltaTable,
        table: Table,
        paths: impl Iterator<Item = &Path>,
    ) -> Result<Vec<RecordBatch>, PublishError> {
        let mut batches = Vec::new();
        for path in paths {
            let object = delta.object_store().get(path).await;
            let bytes: Bytes = match object {
                Ok(object) => object.bytes().await,
                Err(error) => Err(error),
            }
            .map_err(|error| self.table_error(table, error.into()))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|builder| builder.build())
                .map_err(self.file_error(table))?;
            for batch in reader {
                batches.push(batch.map_err(|error| self.file_error(table)(error.into()))?);
            }
        }
        Ok(batches)
    }

    /// The verdict that `runs` holds for this run; `None` where it is not in.
    async fn verdict_in(&self, runs: &DeltaTable) -> Result<Option<Verdict>, PublishError> {
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
    async fn task_is_complete(&self, runs: &DeltaTable) -> Result<bool, PublishError> {
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
        let since = RunId::from_digest(task_id.created_at(), [0; 10]).run_key();
        let task = task_id.to_string();
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
    fn verdict_of(&self, runs: &RecordBatch, row: usize) -> Result<Verdict, PublishError> {
        let run_id = text(runs, "run_id", row).unwrap_or_default();
        self.parse_verdict(run_id, text(runs, "verdict", row).unwrap_or_default())
    }

    fn parse_verdict(&self, run_id: &str, word: &str) -> Result<Verdict, PublishError> {
        word.parse().map_err(|source| PublishError::Verdict {
            run_id: run_id.to_string(),
            warehouse: self.store.location().to_string(),
            source,
        })
    }

    /// Whether a run with this verdict ends its task: a measurement does, and
    /// so does the last attempt that could not run or was cancelled.
    fn ends_task(&self, verdict: Verdict) -> bool {
        let gave_up = matches!(verdict, Verdict::Error | Verdict::Cancelled);
        verdict.completes_task() || (gave_up && self.last_attempt)
    }

    /// Makes the run visible.
    async fn publish_run(&self, mut runs: DeltaTable) -> Result<Published, PublishError> {
        let table = Table::Runs;
        let mut rows = Vec::new();
        for batch in self.contents.batches(Tag::Final(table)) {
            rows.extend(RunRow::from_batch(&batch?)?);
        }
        let row = rows.pop().ok_or(PublishError::NoRunRow {
            run_id: self.run_id,
        })?;
        let mut written: Option<(Verdict, Vec<Add>)> = None;
        let mut attempt = 0;
        loop {
            if let Some(verdict) = self.verdict_in(&runs).await? {
                return Ok(Published {
                    verdict,
                    by_us: attempt > 0,
                });
            }
            let row = match self.task_is_complete(&runs).await? {
                true => superseded(&row),
                false => row.clone(),
            };
            let verdict = self.parse_verdict(&row.run_id.to_string(), &row.verdict)?;
            let adds = match &written {
                Some((as_verdict, adds)) if *as_verdict == verdict => adds.clone(),
                _ => {
                    let batch = RunRow::to_batch(std::slice::from_ref(&row))?;
                    let adds = self
                        .write_files(&runs, table, std::iter::once(Ok(batch)))
                        .await?;
                    written = Some((verdict, adds.clone()));
                    adds
                }
            };
            let mut transactions = vec![self.transaction(&self.run_transaction())];
            if let Some(task_id) = self.task_id.filter(|_| self.ends_task(verdict)) {
                transactions.push(self.transaction(&task_transaction(task_id)));
            }
            self.try_commit(&mut runs, table, &adds, &transactions, &mut attempt)
                .await?;
        }
    }
}

/// Waits longer after each failed commit, never twice the same.
fn pause_before(attempt: u32) -> Duration {
    let mut jitter = [0u8; 1];
    getrandom::fill(&mut jitter).expect("the operating system gives random bytes");
    let longest = 10u64 << attempt.min(7);
    Duration::from_millis(longest / 2 + longest * u64::from(jitter[0]) / 512)
}

fn task_transaction(task_id: TaskId) -> String {
    format!("task:{task_id}")
}

fn text<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let column = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    arrow::array::Array::is_valid(column, row).then(|| column.value(row))
}

/// The row of a run whose task another run completed before it.
fn superseded(row: &RunRow) -> RunRow {
    let reason = serde_json::json!([{
        "rule": "superseded",
        "measured": format!("verdict {} of attempt {}", row.verdict, row.attempt),
        "required": "no earlier completed run of the task",
    }]);
    let verdict = Verdict::Incomplete.to_string();
    RunRow {
        verdict,
        verdict_reasons: reason.to_string(),
        ..row.clone()
    }
}

#[cfg(test)]
mod tests;
