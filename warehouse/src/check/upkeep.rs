//! What ought to be tidied up, and what was left behind.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Date32Type;
use chrono::{NaiveDate, Utc};
use plimsoll_ingest::{Table, WarehouseStore, storage};

use super::Finding;
use crate::error::OpenError;
use crate::files::{FileList, RunsOfFile};
use crate::maintenance::{Retention, commit, compact};
use crate::snapshots::Snapshots;

/// So many small files of past days, or entries of the log since it was summed
/// up, make a table slow to open.
const MANY: usize = 100;

/// Files of a run that is not visible for so long were left behind, in ms.
const LEFT_BEHIND_MS: i64 = 24 * 3_600_000;

const OPTIMIZE: &str = "`plimsoll warehouse optimize` does it";

const LEFT: &str = "the spool of the run may wait on the host that measured it: `plimsoll serve` \
    or `plimsoll run` there publishes the rest";

/// What ought to be done about a table.
pub(super) async fn check(
    store: &WarehouseStore,
    snapshots: &Arc<Snapshots>,
    table: Table,
    retention: &Retention,
) -> Result<Vec<Finding>, OpenError> {
    let snapshot = snapshots.snapshot(table).await?;
    let files = snapshot.files();
    let mut findings = Vec::new();
    let today = Utc::now().date_naive();
    if let Some(first) = retention.first_day(table, today) {
        let past = days(files).filter(|day| *day < first).count();
        if past > 0 {
            let what = format!("{past} files of days before {first} are past their retention");
            findings.push(Finding::note(table, what, OPTIMIZE));
        }
    }
    let small = (0..files.len())
        .filter(|file| {
            let size = files.size(*file).unwrap_or_default();
            i64::try_from(size).is_ok_and(|size| size <= compact::SMALL)
        })
        .count();
    let of_today = days(files).filter(|day| *day >= today).count();
    if small > of_today + MANY {
        let what = format!("{} small files could be put together", small - of_today);
        findings.push(Finding::note(table, what, OPTIMIZE));
    }
    let last = commit::last_checkpoint(store, table).await;
    let last = last.map_err(|error| OpenError::Unreadable {
        table,
        location: store.location().to_string(),
        reason: error.to_string(),
        help: storage::help(&error),
    })?;
    let entries = snapshot.version().saturating_sub(last);
    if entries > MANY as u64 {
        let what = format!("its log has {entries} entries since it was last summed up");
        findings.push(Finding::note(table, what, OPTIMIZE));
    }
    // Where `runs` cannot be read that is told of `runs`.
    if table.per_run()
        && table != Table::Runs
        && let Ok(run_keys) = snapshots.run_keys().await
    {
        let visible = run_keys.visible();
        let before = Utc::now().timestamp_millis() - LEFT_BEHIND_MS;
        let runs = files.runs().into_iter().enumerate();
        let left = runs.filter(|(file, runs)| {
            let is_hidden = matches!(runs, RunsOfFile::One(key) if !visible.contains(key));
            let modified = files.modified_ms(*file);
            is_hidden && modified.is_some_and(|modified| modified < before)
        });
        let left = left.count();
        if left > 0 {
            let what = format!("{left} files are of runs that were never published whole");
            findings.push(Finding::note(table, what, LEFT));
        }
    }
    Ok(findings)
}

/// The days of a partitioned table's files.
fn days(files: &FileList) -> impl Iterator<Item = NaiveDate> + '_ {
    let column = files.partition_column("date");
    let days = column.and_then(|days| days.as_primitive_opt::<Date32Type>());
    let days = days.into_iter().flat_map(|days| days.iter().flatten());
    days.filter_map(NaiveDate::from_epoch_days)
}
