//! Days that are past what a table is kept for.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveDate;
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::protocol::DeltaOperation;
use plimsoll_ingest::Table;

use super::{MaintenanceError, Work, commit};

/// The application transaction that says which day is the first that was left, in days since the
/// epoch: whoever keeps a table for longer afterwards does not miss what is gone. It has no time, so
/// that the log never forgets it.
pub(crate) const KEPT_FROM: &str = "kept_from";

const DAY: Duration = Duration::from_secs(86_400);

/// How long the rows of tables are kept. Tables that are not partitioned by day
/// are kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    kept: BTreeMap<Table, Duration>,
}

impl Default for Retention {
    /// Requests for 180 days, chunks for 30, all else for ever.
    fn default() -> Self {
        Self {
            kept: BTreeMap::from([(Table::Requests, 180 * DAY), (Table::Chunks, 30 * DAY)]),
        }
    }
}

impl Retention {
    /// The same with one table kept for so long; `None` is for ever.
    pub fn with(mut self, table: Table, kept: Option<Duration>) -> Self {
        match kept {
            Some(kept) => self.kept.insert(table, kept),
            None => self.kept.remove(&table),
        };
        self
    }

    /// How long a table is kept; `None` is for ever.
    pub fn of(&self, table: Table) -> Option<Duration> {
        self.kept
            .get(&table)
            .copied()
            .filter(|_| table.partitioned())
    }

    /// The first day that is still kept of a table on `today`.
    pub fn first_day(&self, table: Table, today: NaiveDate) -> Option<NaiveDate> {
        let days = self.of(table)?.as_secs().div_ceil(DAY.as_secs());
        today.checked_sub_days(chrono::Days::new(days))
    }
}

/// Takes the days that are past its retention out of a table. Says how many
/// files that were; vacuum deletes them later.
pub(super) async fn take_out(
    work: &Work,
    table: Table,
    retention: &Retention,
) -> Result<usize, MaintenanceError> {
    let Some(first) = retention.first_day(table, work.now.date_naive()) else {
        return Ok(0);
    };
    let Some(delta) = commit::opened(work, table).await? else {
        return Ok(0);
    };
    let state = delta.snapshot().map_err(MaintenanceError::storage)?;
    let is_past = |values: std::collections::HashMap<String, Option<String>>| {
        let day = values.get("date")?.as_deref()?.parse::<NaiveDate>().ok()?;
        (day < first).then_some(())
    };
    let removed: Vec<_> = state
        .log_data()
        .iter()
        .filter(|file| is_past(file.partition_values_map()).is_some())
        .map(|file| Action::Remove(file.remove_action(true)))
        .collect();
    let files = removed.len();
    if files > 0 {
        let operation = DeltaOperation::Delete {
            predicate: Some(format!("date < '{first}'")),
        };
        // A shorter retention may have been further.
        let log = delta.log_store();
        let noted = state.transaction_version(&log, KEPT_FROM).await;
        let noted = noted.map_err(MaintenanceError::storage)?;
        let first_left = i64::from(first.to_epoch_days()).max(noted.unwrap_or(i64::MIN));
        let kept = Transaction::new(KEPT_FROM, first_left);
        commit::commit(work, &delta, removed, operation, Some(kept)).await?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_day_that_is_kept_is_that_many_days_ago() {
        let today: NaiveDate = "2026-03-31".parse().expect("a day");
        let retention = Retention::default();
        let first = |table| retention.first_day(table, today).map(|day| day.to_string());
        assert_eq!(first(Table::Chunks).as_deref(), Some("2026-03-01"));
        assert_eq!(first(Table::Requests).as_deref(), Some("2025-10-02"));
        assert_eq!(first(Table::Ticks), None);
        let other = Retention::default()
            .with(Table::Requests, None)
            .with(Table::Runs, Some(DAY))
            .with(Table::Ticks, Some(DAY / 2));
        assert_eq!(other.of(Table::Requests), None);
        assert_eq!(other.of(Table::Runs), None, "it is not partitioned");
        let first = other.first_day(Table::Ticks, today).expect("a day");
        assert_eq!(first.to_string(), "2026-03-30", "a day is kept whole");
    }
}
