//! Exactly once from a sealed spool to the warehouse's tables.
//!
//! Facts first, `runs` after them, `jobs` last: a run is visible wholly or not
//! at all. Each commit carries the application transaction `run:<run_id>`
//! (`job:<job_id>` for `jobs`), so that two publishers of one spool end with
//! one copy, and the `runs` commit of a run that completes its task carries
//! `task:<task_id>`, which keeps a zombie's later run from counting.

use arrow::array::RecordBatch;
use deltalake_core::kernel::{Add, Transaction};
use deltalake_core::{DeltaTable, DeltaTableError};

mod jobs;
mod merge;
mod questions;
mod tasks;

pub use jobs::publish_job;
pub use merge::MergeError;
use questions::text;
pub use tasks::{TaskRun, count_runs, run_that_ended, verdict_of};

use crate::append::{Appender, transaction};
use crate::contract::Checker;
use crate::delta::{TableError, open_or_create, open_or_create_each};
use crate::id::{RunId, TaskId};
use crate::row::{RowError, TableRow as _};
use crate::spool::{Spool, SpoolContents, SpoolError, Tag};
use crate::storage::WarehouseStore;
use crate::table::{RunRow, Table};
use crate::verdict::Verdict;
use crate::vocabulary::UnknownWord;

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

    fn appender(&self, table: Table) -> Appender<'_> {
        Appender {
            table,
            warehouse: self.store.location(),
        }
    }

    fn table_error(&self, table: Table, source: DeltaTableError) -> PublishError {
        self.appender(table).delta_error(source).into()
    }

    /// Writes the files of one table's rows; nothing sees them yet.
    async fn write_files(
        &self,
        delta: &DeltaTable,
        table: Table,
        rows: impl Iterator<Item = Result<RecordBatch, MergeError>>,
    ) -> Result<Vec<Add>, PublishError> {
        let checker = Checker::new(table, self.run_id)?;
        let of = format!("part-{}", self.run_id);
        let rows = rows.map(|batch| batch.map_err(PublishError::from));
        self.appender(table)
            .write_files(delta, checker, (&of, self.run_id.date()), rows)
            .await
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
        let transactions = [once(&self.run_transaction())];
        let mut attempt = 0;
        // Somebody else may have committed them since.
        delta
            .update_state()
            .await
            .map_err(|source| self.table_error(table, source))?;
        while !self.is_in(&delta, table).await? {
            self.appender(table)
                .try_commit(&mut delta, &adds, &transactions, &mut attempt)
                .await?;
        }
        Ok(())
    }

    fn run_transaction(&self) -> String {
        format!("run:{}", self.run_id)
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
            let mut transactions = vec![once(&self.run_transaction())];
            if let Some(task_id) = self.task_id.filter(|_| self.ends_task(verdict)) {
                transactions.push(once(&task_transaction(task_id)));
            }
            self.appender(table)
                .try_commit(&mut runs, &adds, &transactions, &mut attempt)
                .await?;
        }
    }
}

/// The application transaction of something that is there once.
fn once(app_id: &str) -> Transaction {
    transaction(app_id, 1)
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
