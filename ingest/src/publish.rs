//! Exactly once from a sealed spool to the warehouse's tables.
//!
//! Facts first, `runs` after them, `jobs` last: a run is visible wholly or not
//! at all. Each commit carries the application transaction `run:<run_id>`
//! (`job:<job_id>` for `jobs`), so that two publishers of one spool end with
//! one copy, and the `runs` commit of a run that completes its task carries
//! `task:<task_id>`, which keeps a zombie's later run from counting.

use std::time::Duration;

use arrow::array::RecordBatch;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use parquet::errors::ParquetError;

mod jobs;
mod log;
mod merge;
mod questions;

pub use merge::MergeError;
use questions::text;

use crate::contract::Checker;
use crate::delta::{TableError, open_or_create, open_or_create_each};
use crate::files::{FileLimits, TableFiles};
use crate::id::{RunId, TaskId};
use crate::row::{RowError, TableRow as _};
use crate::spool::{Spool, SpoolContents, SpoolError, Tag};
use crate::storage::WarehouseStore;
use crate::table::{RunRow, Table};
use crate::time::Timestamp;
use crate::verdict::Verdict;
use crate::vocabulary::UnknownWord;

/// How often a commit is tried before its error is reported.
const COMMIT_ATTEMPTS: u32 = 12;

/// So many commits of a table are summed up by whoever makes the last of them.
const COMMITS_SUMMED_UP: u64 = 100;

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
    /// Rows that publishing has no way for.
    #[error("the spool of run {run_id} holds rows of `{table}` {how}")]
    Rows {
        /// The run.
        run_id: RunId,
        /// Whose rows.
        table: Table,
        /// What is wrong with how they are there.
        how: &'static str,
    },
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

/// Files of one table's rows that no commit names yet.
struct Written {
    table: Table,
    delta: DeltaTable,
    adds: Vec<Add>,
}

/// Publishes a sealed spool, then removes it. Doing so twice is doing it once.
///
/// A spool of which something cannot be read any more, or of which a row breaks its
/// table's contract, is not published: the rest would pass for the whole.
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
        self.check_tags()?;
        let runs = open_or_create(self.store, Table::Runs).await?;
        if let Some(verdict) = self.verdict_in(&runs).await? {
            let jobs = open_or_create(self.store, Table::Jobs).await?;
            self.publish_job(jobs).await?;
            return Ok(Published {
                verdict,
                by_us: false,
            });
        }
        // Every table is there before the first commit, so that a reader never
        // meets half a warehouse.
        let others = Table::ALL.iter().copied();
        let others = others.filter(|table| *table != Table::Runs);
        let tables = open_or_create_each(self.store, others).await?;
        let open = |table| DeltaTable::clone(&tables[&table]);
        let run = self.run_row()?;
        let jobs = self.check_rows(Table::Jobs, Tag::Final(Table::Jobs))?;
        if jobs > 1 {
            return Err(PublishError::Rows {
                run_id: self.run_id,
                table: Table::Jobs,
                how: "more than one",
            });
        }
        // Every row is checked, and every file written, before anything is committed: a run of
        // which one row breaks the contract leaves nothing in the tables.
        let mut facts = Vec::new();
        for table in Table::ALL.iter().copied() {
            for tag in [Tag::Facts(table), Tag::Final(table)] {
                if table.per_run() && table != Table::Runs && self.contents.has(tag) {
                    facts.extend(self.write_facts(table, open(table), tag).await?);
                }
            }
        }
        for written in facts {
            self.commit_facts(written).await?;
        }
        let published = self.publish_run(runs, run).await?;
        self.publish_job(open(Table::Jobs)).await?;
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
        let mut checker = Checker::new(table, self.run_id)?;
        let of = format!("part-{}", self.run_id);
        let (date, limits) = (self.run_id.date(), FileLimits::PUBLISHED);
        let mut files = TableFiles::new(table, date, &of, limits, delta.object_store());
        for batch in rows {
            let batch = batch?;
            checker.check(&batch)?;
            files.write(&batch).await.map_err(self.file_error(table))?;
        }
        files.finish().await.map_err(self.file_error(table))
    }

    /// Refuses rows that would be left out, or be taken for those of an earlier attempt: the spool
    /// would be removed with them.
    fn check_tags(&self) -> Result<(), PublishError> {
        let refuse = |table, how| {
            Err(PublishError::Rows {
                run_id: self.run_id,
                table,
                how,
            })
        };
        for table in Table::ALL.iter().copied() {
            let is_final = matches!(table, Table::Runs | Table::Jobs);
            match [Tag::Facts(table), Tag::Final(table)].map(|tag| self.contents.has(tag)) {
                [true, _] if is_final => return refuse(table, "before its end"),
                [true, _] | [_, true] if !is_final && !table.per_run() => {
                    return refuse(table, "which are about no run");
                }
                [true, true] => return refuse(table, "both before its end and at it"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Holds rows that are not written yet to their table's contract.
    /// Says how many they are.
    fn check_rows(&self, table: Table, tag: Tag) -> Result<usize, PublishError> {
        let mut checker = Checker::new(table, self.run_id)?;
        let mut rows = 0;
        for batch in self.contents.batches(tag) {
            let batch = batch?;
            checker.check(&batch)?;
            rows += batch.num_rows();
        }
        Ok(rows)
    }

    /// The run's own row.
    fn run_row(&self) -> Result<RunRow, PublishError> {
        let tag = Tag::Final(Table::Runs);
        self.check_rows(Table::Runs, tag)?;
        let mut rows = Vec::new();
        for batch in self.contents.batches(tag) {
            rows.extend(RunRow::from_batch(&batch?)?);
        }
        rows.pop().ok_or(PublishError::NoRunRow {
            run_id: self.run_id,
        })
    }

    /// Writes the files of one table of facts; `None` where its rows are in already.
    async fn write_facts(
        &self,
        table: Table,
        delta: DeltaTable,
        tag: Tag,
    ) -> Result<Option<Written>, PublishError> {
        if self.is_in(&delta, table).await? {
            return Ok(None);
        }
        let rows = merge::ordered_rows(self.contents, tag, table)?;
        let adds = self.write_files(&delta, table, rows).await?;
        Ok(Some(Written { table, delta, adds }))
    }

    async fn commit_facts(&self, written: Written) -> Result<(), PublishError> {
        let Written {
            table,
            mut delta,
            adds,
        } = written;
        let transactions = vec![self.transaction(&self.run_transaction())];
        let mut attempt = 0;
        // Somebody else may have committed them since.
        delta
            .update_state()
            .await
            .map_err(|source| self.table_error(table, source))?;
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
    ///
    /// Where a hundred commits are full the log is summed up, so that a warehouse that nobody
    /// maintains stays quick to open.
    async fn try_commit(
        &self,
        delta: &mut DeltaTable,
        table: Table,
        adds: &[Add],
        transactions: &[Transaction],
        attempt: &mut u32,
    ) -> Result<(), PublishError> {
        *attempt += 1;
        let before = delta.version();
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
            .map_err(|source| self.table_error(table, source))?;
        let hundreds = |version: Option<u64>| version.map(|version| version / COMMITS_SUMMED_UP);
        if hundreds(before) < hundreds(delta.version())
            && let Err(reason) = log::sum_up(delta).await
        {
            // Readers go without it, and the next hundred have one.
            tracing::debug!(%table, reason, "no checkpoint");
        }
        Ok(())
    }

    /// Makes the run visible.
    async fn publish_run(
        &self,
        mut runs: DeltaTable,
        row: RunRow,
    ) -> Result<Published, PublishError> {
        let table = Table::Runs;
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
