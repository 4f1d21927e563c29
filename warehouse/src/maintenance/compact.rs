//! Small files of closed days, put together into few that are sorted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, SortExpr, col};
use datafusion::physical_plan::execute_stream;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Action;
use deltalake_core::protocol::DeltaOperation;
use futures::TryStreamExt as _;
use plimsoll_ingest::files::{FileLimits, TableFiles};
use plimsoll_ingest::{Date, Table};

use super::{MaintenanceError, Work, commit};
use crate::engine::store_url;
use crate::files::{FileList, RunsOfFile};
use crate::plain;
use crate::provider::FileTable;
use crate::snapshots::{RunKeys, TableSnapshot};

/// Files as large as this are left as they are.
pub(crate) const SMALL: i64 = 96 << 20;

/// A table of one folder is put together when it has so many small files: it
/// would else be written anew each time for one more run.
const MANY: usize = 8;

/// How long a run has been visible before its files are put together with
/// others, in ms: longer than any reader goes on with an old set of snapshots.
const SETTLED_MS: i64 = 3_600_000;

/// What the names of files begin with that were put together.
const COMPACTED: &str = "compacted-";

/// The runs that have been visible for an hour.
pub(super) async fn visible_runs(work: &Work) -> Result<RunKeys, MaintenanceError> {
    let session = work
        .engine
        .session(Arc::new(datafusion::catalog::MemoryCatalogProvider::new()));
    let runs = TableSnapshot::open(&work.store, Table::Runs).await?;
    let (files, before_ms) = (runs.files(), settled_before(work.now));
    let is_settled = |file: usize| {
        // What was put together before had settled then.
        let name = files.path(file).filename();
        let is_compacted = name.is_some_and(|name| name.starts_with(COMPACTED));
        is_compacted || files.modified_ms(file).is_some_and(|ms| ms <= before_ms)
    };
    let settled = (0..files.len()).map(|file| Some(is_settled(file)));
    let settled = files.filtered(&settled.collect());
    let settled = settled.map_err(MaintenanceError::storage)?;
    let store = store_url(work.store.location());
    let keys = RunKeys::read(&settled, runs.columns(), None, &session, &store).await;
    keys.map_err(MaintenanceError::storage)
}

fn settled_before(now: DateTime<Utc>) -> i64 {
    now.timestamp_millis() - SETTLED_MS
}

/// Puts the small files of each closed day together. Says how many there were,
/// and how many they became.
pub(super) async fn compact(
    work: &Work,
    table: Table,
    visible: &RunKeys,
) -> Result<(usize, usize), MaintenanceError> {
    let (mut before, mut after) = (0, 0);
    let Some(delta) = commit::opened(work, table).await? else {
        return Ok((0, 0));
    };
    let files = FileList::of(&delta).map_err(MaintenanceError::storage)?;
    for (date, group) in groups(work, table, &delta, &files, visible) {
        // The last commit moved on; what this group names did not change, since nobody else takes
        // files out.
        let mut delta = delta.clone();
        delta
            .update_state()
            .await
            .map_err(MaintenanceError::storage)?;
        before += group.len();
        after += put_together(work, table, &delta, date, &group).await?;
    }
    Ok((before, after))
}

/// The files to put together, by day; those of a table of one folder under the first.
fn groups(
    work: &Work,
    table: Table,
    delta: &DeltaTable,
    files: &FileList,
    visible: &RunKeys,
) -> BTreeMap<Date, Vec<String>> {
    let mut groups: BTreeMap<Date, Vec<String>> = BTreeMap::new();
    let Ok(state) = delta.snapshot() else {
        return groups;
    };
    let settled_ms = settled_before(work.now);
    let today = Date::from_days(i32::try_from(work.now.timestamp() / 86_400).unwrap_or(i32::MAX));
    for (file, runs) in state.log_data().iter().zip(files.runs()) {
        let is_visible = match runs {
            RunsOfFile::One(key) if table.per_run() => visible.visible().contains(&key),
            // It was put together before, or is of a table that says nothing of runs.
            RunsOfFile::One(_) | RunsOfFile::Several => true,
            // Somebody else's file: nobody knows what is in it.
            RunsOfFile::Unknown => !table.per_run(),
        };
        let is_settled = file.modification_time() <= settled_ms;
        // Of a file whose rows nobody counted nobody could say that none was lost.
        let is_counted = file.num_records().is_some();
        if file.size() > SMALL || !is_visible || !is_settled || !is_counted {
            continue;
        }
        let day = match table.partitioned() {
            true => match day_of(&file.partition_values_map()) {
                Some(day) if day < today => day,
                _ => continue,
            },
            false => Date::from_days(0),
        };
        let path = file.path().into_owned();
        groups.entry(day).or_default().push(path);
    }
    let enough = if table.partitioned() { 2 } else { MANY };
    groups.retain(|_, files| files.len() >= enough);
    groups
}

fn day_of(partition: &std::collections::HashMap<String, Option<String>>) -> Option<Date> {
    let text = partition.get("date")?.as_deref()?;
    let day = text.parse::<chrono::NaiveDate>().ok()?;
    Some(Date::from_days(day.to_epoch_days()))
}

/// Writes the rows of some files, sorted, into new ones, and names those in
/// their place.
async fn put_together(
    work: &Work,
    table: Table,
    delta: &DeltaTable,
    date: Date,
    group: &[String],
) -> Result<usize, MaintenanceError> {
    let group: HashSet<&str> = group.iter().map(String::as_str).collect();
    let state = delta.snapshot().map_err(MaintenanceError::storage)?;
    let chosen: Vec<_> = state
        .log_data()
        .iter()
        .filter(|file| group.contains(file.path().as_ref()))
        .collect();
    let rows_before: Option<usize> = chosen.iter().map(|file| file.num_records()).sum();
    let keep = state
        .log_data()
        .iter()
        .map(|file| Some(group.contains(file.path().as_ref())))
        .collect();
    let files = FileList::of(delta).map_err(MaintenanceError::storage)?;
    let files = files.filtered(&keep).map_err(MaintenanceError::storage)?;
    let snapshot = TableSnapshot::of(work.store.location(), table, delta.clone())?;
    let store = store_url(work.store.location());
    let rows = FileTable::new(snapshot.columns().clone(), files, store);

    let of = format!("{COMPACTED}{:010}", work.fence());
    let mut rows_after = 0;
    let mut sorted = sorted(work, table, rows)
        .await
        .map_err(MaintenanceError::storage)?;
    let (limits, storage) = (FileLimits::COMPACTED, delta.object_store());
    let mut written = TableFiles::new(table, date, &of, limits, storage);
    written = written.with_others_of(&sorted.schema());
    while let Some(batch) = sorted.try_next().await.map_err(MaintenanceError::storage)? {
        rows_after += batch.num_rows();
        written
            .write(&batch)
            .await
            .map_err(MaintenanceError::storage)?;
    }
    if rows_before != Some(rows_after) {
        let what = format!("{rows_after} rows were read where its log says {rows_before:?}");
        return Err(MaintenanceError::Rows { table, what });
    }
    let adds = written.finish().await.map_err(MaintenanceError::storage)?;
    let after = adds.len();
    let removed = chosen
        .iter()
        .map(|file| Action::Remove(file.remove_action(false)));
    let added = adds.into_iter().map(|mut add| {
        add.data_change = false;
        Action::Add(add)
    });
    let operation = DeltaOperation::Optimize {
        predicate: None,
        target_size: i64::try_from(FileLimits::COMPACTED.file_bytes).unwrap_or(i64::MAX),
    };
    let actions = removed.chain(added).collect();
    commit::commit(work, delta, actions, operation, None).await?;
    Ok(after)
}

/// The rows of a table in file order.
async fn sorted(
    work: &Work,
    table: Table,
    rows: FileTable,
) -> datafusion::error::Result<datafusion::execution::SendableRecordBatchStream> {
    let session = work
        .engine
        .session(Arc::new(datafusion::catalog::MemoryCatalogProvider::new()));
    let order = table
        .sort_columns()
        .iter()
        .map(|column| SortExpr::new(col(*column), true, true));
    let plan = LogicalPlanBuilder::scan(table.name(), provider_as_source(Arc::new(rows)), None)?
        .sort(order.collect::<Vec<_>>())?
        .build()?;
    let plan = plain::texts(session.create_physical_plan(&plan).await?)?;
    execute_stream(plan, session.task_ctx())
}
