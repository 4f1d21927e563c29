//! Rows that are about no run, each exactly once: `reports.fleet` and `audit.events`.
//!
//! Whoever writes them is a **source**, which numbers its rows: 1, 2, 3. It keeps each row until it
//! knows that it is in, and sends it again where it does not know. Each commit carries the
//! application transaction `<table>:<source>` with the number of its last row as version; rows up
//! to the version that the log holds are in, and are passed over. Two writers of one source, such as
//! a process and the one that took its place, end with one copy of each row, since commits with one
//! transaction conflict.
//!
//! A source's name is given together with its counter. Where the counter begins anew, after a disk
//! was lost, so does the name: rows under numbers that other rows have are refused.

use std::marker::PhantomData;

use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use serde_json::Value;

use crate::append::{Appender, COMMITS_SUMMED_UP, transaction};
use crate::contract::Checker;
use crate::delta::{TableError, open_or_create};
use crate::log;
use crate::row::{RowError, TableRow};
use crate::storage::WarehouseStore;
use crate::table::{EventRow, FleetRow, Table};
use crate::time::Timestamp;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// A row of a journal.
pub trait Recorded: TableRow + Clone + PartialEq + sealed::Sealed {
    /// When it was.
    fn at(&self) -> Timestamp;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! recorded {
    ($($row:ty),+) => { $(
        impl sealed::Sealed for $row {}
        impl Recorded for $row {
            fn at(&self) -> Timestamp {
                self.at
            }
        }
    )+ };
}

recorded!(FleetRow, EventRow);

/// Why rows were not appended. None of them is in; the source keeps them.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A source without a name, or a number that no row can have.
    #[error("rows of `{table}` from source `{source_name}`: {reason}")]
    Source {
        /// The table.
        table: Table,
        /// The source's name.
        source_name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Other rows are in under these numbers.
    #[error(
        "source `{source_name}` wrote rows up to number {last} to `{table}`, and row {number}, of \
         {at}, is not among them: its numbers began anew; give the source a new name"
    )]
    Renumbered {
        /// The table.
        table: Table,
        /// The source's name.
        source_name: String,
        /// The last number that the log holds for it.
        last: i64,
        /// The number of the row that is not there.
        number: i64,
        /// When that row says to be of.
        at: Timestamp,
    },
    /// A row breaks its table's contract.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The table cannot be opened, made, read or written.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// What one source appends to one table.
pub struct Journal<R> {
    store: WarehouseStore,
    source: String,
    delta: DeltaTable,
    /// The version at which it was read whole.
    read_at: Option<u64>,
    rows: PhantomData<fn(R)>,
}

impl<R: Recorded> Journal<R> {
    /// Opens the table for the source of that name, creating it where there is none.
    ///
    /// # Errors
    /// The name is empty, or the table cannot be opened or made.
    pub async fn open(store: &WarehouseStore, source: &str) -> Result<Self, AppendError> {
        if source.trim().is_empty() {
            return Err(AppendError::Source {
                table: R::TABLE,
                source_name: source.to_string(),
                reason: "it has no name",
            });
        }
        let delta = open_or_create(store, R::TABLE).await?;
        Ok(Self {
            store: store.clone(),
            source: source.to_string(),
            read_at: delta.version(),
            delta,
            rows: PhantomData,
        })
    }

    /// The number of the source's last row that is in, as of the last look at the log; 0 where none
    /// is.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn last(&self) -> Result<i64, AppendError> {
        let fail = |source| self.appender().delta_error(source);
        let state = self.delta.snapshot().map_err(fail)?;
        let log = self.delta.log_store();
        let version = state.transaction_version(&log, self.app_id()).await;
        Ok(version.map_err(fail)?.unwrap_or(0))
    }

    /// Appends rows, the first of which has number `first` and the others those behind it; rows
    /// that are in are passed over. Says how many were not.
    ///
    /// # Errors
    /// Says what is wrong. The rows may be in nevertheless where an answer of storage was lost;
    /// appending them again is right in any case.
    pub async fn append(&mut self, first: i64, rows: &[R]) -> Result<usize, AppendError> {
        let until = i64::try_from(rows.len()).ok();
        let until = until.and_then(|count| first.checked_add(count));
        let Some(until) = until.filter(|_| first >= 1) else {
            return Err(self.refused("its rows are numbered from 1, and so far as an i64 goes"));
        };
        let number_of = |row: usize| first + row as i64;
        self.look_again().await?;
        let mut written = Written::default();
        let mut attempt = 0;
        loop {
            let last = self.last().await?;
            let known = (last.saturating_add(1).clamp(first, until) - first) as usize;
            if known == rows.len() {
                break;
            }
            // Another writer of this source may have moved on.
            if written.adds.is_empty() || written.known != known {
                let adds = self.write(&rows[known..]).await?;
                written = Written { known, adds };
            }
            let transaction = [transaction(&self.app_id(), until - 1)];
            let appender = Appender {
                table: R::TABLE,
                warehouse: self.store.location(),
            };
            appender
                .try_commit(&mut self.delta, &written.adds, &transaction, &mut attempt)
                .await?;
        }
        // What somebody else wrote under these numbers has to be the same.
        let theirs = match self.holds(&written.adds)? {
            true => written.known,
            false => rows.len(),
        };
        if let Some(row) = self.missing(&rows[..theirs]).await? {
            return Err(AppendError::Renumbered {
                table: R::TABLE,
                source_name: self.source.clone(),
                last: self.last().await?,
                number: number_of(row),
                at: rows[row].at(),
            });
        }
        Ok(rows.len() - theirs)
    }

    /// Refreshes the table, and reads it anew where a hundred commits came: each stays in memory.
    async fn look_again(&mut self) -> Result<(), AppendError> {
        let hundreds = |version: Option<u64>| version.map(|version| version / COMMITS_SUMMED_UP);
        if hundreds(self.delta.version()) != hundreds(self.read_at) {
            self.delta = open_or_create(&self.store, R::TABLE).await?;
            self.read_at = self.delta.version();
            return Ok(());
        }
        let refreshed = self.delta.update_state().await;
        refreshed.map_err(|source| self.appender().delta_error(source).into())
    }

    /// Writes the files of rows; nothing sees them yet.
    async fn write(&self, rows: &[R]) -> Result<Vec<Add>, AppendError> {
        let mut rows = rows.to_vec();
        rows.sort_by_key(Recorded::at);
        let Some(date) = rows.first().map(|row| row.at().date()) else {
            return Ok(Vec::new());
        };
        let batches = rows.chunks(BATCH_ROWS);
        let batches = batches.map(|rows| R::to_batch(rows).map_err(AppendError::from));
        let checker = Checker::of_journal(R::TABLE)?;
        self.appender()
            .write_files(&self.delta, checker, ("part", date), batches)
            .await
    }

    /// Whether the log names these files.
    fn holds(&self, adds: &[Add]) -> Result<bool, AppendError> {
        let Some(add) = adds.first() else {
            return Ok(false);
        };
        let state = self.delta.snapshot();
        let state = state.map_err(|source| self.appender().delta_error(source))?;
        let files = state.log_data();
        let named = files.iter().any(|file| file.path() == add.path);
        Ok(named)
    }

    /// The first of these rows that is not in the table.
    async fn missing(&self, rows: &[R]) -> Result<Option<usize>, AppendError> {
        let moments = rows.iter().map(Recorded::at);
        let (Some(least), Some(most)) = (moments.clone().min(), moments.max()) else {
            return Ok(None);
        };
        let appender = self.appender();
        // Bounds may be cut to milliseconds.
        let millis = |value: &Value| Some(Timestamp::parse(value.as_str()?)?.millis());
        let files = log::files_by(&self.delta, "at", millis);
        let files = files.map_err(|source| appender.delta_error(source))?;
        let (first, last) = (least.millis(), most.millis());
        let files = files.iter().filter(|file| file.may_hold(&first, &last));
        let paths = files.map(|file| &file.path);
        let mut there = Vec::new();
        for batch in appender.read_files(&self.delta, paths).await? {
            let found = R::from_batch(&batch)?.into_iter();
            there.extend(found.filter(|row| (least..=most).contains(&row.at())));
        }
        there.sort_by_key(Recorded::at);
        let is_there = |row: &R| {
            let from = there.partition_point(|other| other.at() < row.at());
            let others = there[from..].iter();
            let mut others = others.take_while(|other| other.at() == row.at());
            others.any(|other| other == row)
        };
        Ok(rows.iter().position(|row| !is_there(row)))
    }

    fn appender(&self) -> Appender<'_> {
        Appender {
            table: R::TABLE,
            warehouse: self.store.location(),
        }
    }

    fn app_id(&self) -> String {
        format!("{}:{}", R::TABLE.name(), self.source)
    }

    fn refused(&self, reason: &'static str) -> AppendError {
        AppendError::Source {
            table: R::TABLE,
            source_name: self.source.clone(),
            reason,
        }
    }
}

/// Files of the rows behind those that were in when they were written.
#[derive(Default)]
struct Written {
    known: usize,
    adds: Vec<Add>,
}

#[cfg(test)]
mod tests;
