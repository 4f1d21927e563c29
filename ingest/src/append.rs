//! Appending rows to one table: files first, then commits until one of them is in the log.

use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::contract::Checker;
use crate::delta::TableError;
use crate::files::{FileLimits, TableFiles};
use crate::location::WarehouseLocation;
use crate::log;
use crate::row::RowError;
use crate::table::Table;
use crate::time::{Date, Timestamp};

/// Files are named in the log within this time of their writing, or written anew: after a day without a
/// name somebody may take them for what a crash left, and delete them.
const NAMED_WITHIN_MS: i64 = 3_600_000;

/// How often a commit is tried before its error is reported.
const COMMIT_ATTEMPTS: u32 = 12;

/// So many commits of a table are summed up by whoever makes the last of them.
pub(crate) const COMMITS_SUMMED_UP: u64 = 100;

/// The application transaction of that name, at that version, as of now.
pub(crate) fn transaction(app_id: &str, version: i64) -> Transaction {
    Transaction::new_with_last_update(app_id, version, Some(Timestamp::now().millis()))
}

/// One table of one warehouse that rows are appended to.
#[derive(Clone, Copy)]
pub(crate) struct Appender<'a> {
    pub(crate) table: Table,
    pub(crate) warehouse: &'a WarehouseLocation,
}

impl Appender<'_> {
    /// What Delta says, with the table and the warehouse.
    pub(crate) fn delta_error(self, source: DeltaTableError) -> TableError {
        TableError::storage(self.table, self.warehouse, source)
    }

    /// What became of a file, with the table and the warehouse.
    pub(crate) fn file_error(self, source: ParquetError) -> TableError {
        TableError::File {
            table: self.table,
            warehouse: self.warehouse.to_string(),
            source,
        }
    }

    /// Holds rows to their table's contract and writes their files, whose names begin with `of`;
    /// nothing sees them yet. `date` is their day, where the table is partitioned.
    pub(crate) async fn write_files<E: From<TableError> + From<RowError>>(
        self,
        delta: &DeltaTable,
        mut checker: Checker,
        (of, date): (&str, Date),
        rows: impl Iterator<Item = Result<RecordBatch, E>>,
    ) -> Result<Vec<Add>, E> {
        let limits = FileLimits::PUBLISHED;
        let mut files = TableFiles::new(self.table, date, of, limits, delta.object_store());
        let fail = |source| self.file_error(source);
        for batch in rows {
            let batch = batch?;
            checker.check(&batch)?;
            files.write(&batch).await.map_err(fail)?;
        }
        Ok(files.finish().await.map_err(fail)?)
    }

    /// One attempt at a commit of files that were just written, then a look at what is there now. An error
    /// does not say that nothing landed, so the caller asks the log each time.
    ///
    /// Where a hundred commits are full the log is summed up, so that a warehouse that nobody
    /// maintains stays quick to open.
    ///
    /// # Errors
    /// That of the last attempt that is made, or the log cannot be read.
    pub(crate) async fn try_commit(
        self,
        delta: &mut DeltaTable,
        adds: &[Add],
        transactions: &[Transaction],
        attempt: &mut u32,
    ) -> Result<(), TableError> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        if adds
            .iter()
            .any(|add| now_ms - add.modification_time > NAMED_WITHIN_MS)
        {
            return Err(TableError::StoodStill {
                table: self.table,
                warehouse: self.warehouse.to_string(),
            });
        }
        *attempt += 1;
        let (table, fail) = (self.table, |source| self.delta_error(source));
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
        let state = delta.snapshot().map_err(fail)?;
        let committed = CommitBuilder::from(properties)
            .with_actions(adds.iter().cloned().map(Action::Add).collect())
            .build(Some(state), delta.log_store(), operation)
            .await;
        if let Err(source) = committed {
            tracing::debug!(%table, ?transactions, error = %source, "commit failed");
            if *attempt >= COMMIT_ATTEMPTS {
                return Err(fail(source));
            }
            tokio::time::sleep(pause_before(*attempt)).await;
        }
        delta.update_state().await.map_err(fail)?;
        let hundreds = |version: Option<u64>| version.map(|version| version / COMMITS_SUMMED_UP);
        if hundreds(before) < hundreds(delta.version())
            && let Err(reason) = log::sum_up(delta).await
        {
            // Readers go without it, and the next hundred have one.
            tracing::debug!(%table, reason, "no checkpoint");
        }
        Ok(())
    }

    /// Reads whole files of a small table.
    pub(crate) async fn read_files(
        self,
        delta: &DeltaTable,
        paths: impl Iterator<Item = &Path>,
    ) -> Result<Vec<RecordBatch>, TableError> {
        let mut batches = Vec::new();
        for path in paths {
            let object = delta.object_store().get(path).await;
            let bytes: Bytes = match object {
                Ok(object) => object.bytes().await,
                Err(error) => Err(error),
            }
            .map_err(|error| self.delta_error(error.into()))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|builder| builder.build())
                .map_err(|error| self.file_error(error))?;
            for batch in reader {
                batches.push(batch.map_err(|error| self.file_error(error.into()))?);
            }
        }
        Ok(batches)
    }
}

/// Waits longer after each failed commit, never twice the same.
fn pause_before(attempt: u32) -> Duration {
    let mut jitter = [0u8; 1];
    getrandom::fill(&mut jitter).expect("the operating system gives random bytes");
    let longest = 10u64 << attempt.min(7);
    Duration::from_millis(longest / 2 + longest * u64::from(jitter[0]) / 512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::open_or_create;
    use crate::row::TableRow as _;
    use crate::{AppendError, FleetRow, WarehouseStore};

    /// A machine that slept for a week must not name what was deleted meanwhile.
    #[tokio::test]
    async fn files_that_were_written_long_ago_are_not_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = WarehouseLocation::parse(&folder.path().display().to_string());
        let location = location.expect("a path");
        let store = WarehouseStore::connect(&location).expect("local files");
        let table = Table::Fleet;
        let mut delta = open_or_create(&store, table).await.expect("a table");
        let appender = Appender {
            table,
            warehouse: &location,
        };
        let at = Timestamp::now();
        let row = FleetRow {
            at,
            host: "gpu-1".to_string(),
            gpu_uuid: None,
            sku: None,
            state: "idle".to_string(),
            utilization: None,
            memory_used: None,
            deployment: None,
            queued: None,
            oldest_queued_s: None,
        };
        let checker = Checker::of_journal(table).expect("a checker");
        let batches = [FleetRow::to_batch(&[row]).map_err(AppendError::from)];
        let written =
            appender.write_files(&delta, checker, ("part", at.date()), batches.into_iter());
        let mut adds = written.await.expect("written");
        let mut attempt = 0;
        adds[0].modification_time -= NAMED_WITHIN_MS + 1_000;
        let refused = appender
            .try_commit(&mut delta, &adds, &[], &mut attempt)
            .await;
        let refused = refused.expect_err("nobody knows whether they are still there");
        assert!(
            matches!(refused, TableError::StoodStill { .. }),
            "{refused}"
        );
        assert_eq!((delta.version(), attempt), (Some(0), 0));
        adds[0].modification_time += 2_000;
        let named = appender
            .try_commit(&mut delta, &adds, &[], &mut attempt)
            .await;
        named.expect("they are there");
        assert_eq!(delta.version(), Some(1));
    }
}
