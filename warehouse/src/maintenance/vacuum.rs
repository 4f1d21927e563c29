//! Files that no version of a table needs any more.

use std::collections::HashSet;
use std::time::Duration;

use deltalake_core::DeltaTable;
use deltalake_core::operations::vacuum::{VacuumBuilder, VacuumMode};
use futures::TryStreamExt as _;
use plimsoll_ingest::Table;

use super::{MaintenanceError, Work, commit};

/// Deletes data files that the table does not name, and has not named for
/// `older_than`: what compaction and retention took out, and what a crash left
/// behind before its commit; a dry run only looks for them. Says how many there were.
pub(super) async fn vacuum(
    work: &Work,
    table: Table,
    older_than: Duration,
    dry_run: bool,
) -> Result<usize, MaintenanceError> {
    let Some(delta) = commit::opened(work, table).await? else {
        return Ok(0);
    };
    let unneeded = vacuuming(&delta, older_than).with_dry_run(true).await;
    let (_, unneeded) = unneeded.map_err(MaintenanceError::storage)?;
    // The log goes on naming files that were deleted, for as long as it is kept.
    let there = files_in(&delta).await?;
    let named = unneeded.files_deleted.iter();
    let files = named.filter(|file| there.contains(*file)).count();
    if files > 0 && !dry_run {
        let deleted = vacuuming(&delta, older_than).await;
        deleted.map_err(MaintenanceError::storage)?;
    }
    Ok(files)
}

fn vacuuming(delta: &DeltaTable, older_than: Duration) -> VacuumBuilder {
    let kept = chrono::Duration::from_std(older_than).unwrap_or(chrono::Duration::MAX);
    // How short it may be is said where it is asked.
    delta
        .clone()
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(kept)
        .with_enforce_retention_duration(false)
}

/// What lies in a table's folder, by paths from there.
async fn files_in(delta: &DeltaTable) -> Result<HashSet<String>, MaintenanceError> {
    let objects = delta.object_store();
    let paths = objects
        .list(None)
        .map_ok(|object| object.location.to_string());
    paths.try_collect().await.map_err(MaintenanceError::storage)
}
