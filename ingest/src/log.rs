//! Questions to a table's log.

use std::time::Duration;

use chrono::Utc;
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::{DeltaResult, DeltaTable};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde_json::Value;
use tokio::runtime::Handle;

/// Host and storage may differ so much before nothing is left out of a log by the host's clock.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A file and the bounds of one column of its rows.
pub(crate) struct BoundedFile<T> {
    /// Where it lies, from the table's folder.
    pub(crate) path: Path,
    /// The least and the greatest value; `None` where the log does not say, as
    /// after a rewrite by an engine that keeps no statistics.
    pub(crate) bounds: Option<(T, T)>,
}

impl<T: PartialOrd> BoundedFile<T> {
    /// Whether rows from `least` to `most` may be in it.
    pub(crate) fn may_hold(&self, least: &T, most: &T) -> bool {
        self.bounds
            .as_ref()
            .is_none_or(|(min, max)| min <= most && max >= least)
    }
}

/// Whether an application transaction is in the log.
pub(crate) async fn has_transaction(delta: &DeltaTable, app_id: &str) -> DeltaResult<bool> {
    let version = delta
        .snapshot()?
        .transaction_version(&delta.log_store(), app_id)
        .await?;
    Ok(version.is_some())
}

/// Writes a checkpoint of the version that was just committed, without what is past its time.
///
/// On a thread of its own: the library waits there for requests, and the caller's thread may be the
/// one that sends them.
///
/// # Errors
/// Says why there is none.
pub(crate) async fn sum_up(delta: &DeltaTable) -> Result<(), String> {
    let version = delta.version().ok_or("no table")?;
    let commit = Path::from(format!("_delta_log/{version:020}.json"));
    let committed = delta.object_store().head(&commit).await;
    let committed = committed.map_err(|error| error.to_string())?;
    let age = Utc::now() - committed.last_modified;
    if age.abs().to_std().is_ok_and(|age| age > CLOCK_SKEW) {
        return Err("the clocks of this host and of storage differ".to_string());
    }
    let (delta, handle) = (delta.clone(), Handle::current());
    let summed_up = tokio::task::spawn_blocking(move || {
        let summed_up = handle.block_on(create_checkpoint(&delta, None));
        summed_up.map_err(|error| error.to_string())
    });
    summed_up.await.map_err(|panic| panic.to_string())?
}

/// The files of a table, with the bounds of `column` as `read` takes them from
/// the statistics.
pub(crate) fn files_by<T>(
    delta: &DeltaTable,
    column: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> DeltaResult<Vec<BoundedFile<T>>> {
    let files = delta.snapshot()?.log_data();
    let bounded = files.iter().map(|file| {
        let bounds = || {
            let statistics: Value = serde_json::from_str(&file.stats()?).ok()?;
            let bound = |side: &str| read(&statistics[side][column]);
            Some((bound("minValues")?, bound("maxValues")?))
        };
        BoundedFile {
            path: file.object_store_path(),
            bounds: bounds(),
        }
    });
    Ok(bounded.collect())
}

/// The files of a table, with the run keys between which their rows lie.
pub(crate) fn files_by_run_key(delta: &DeltaTable) -> DeltaResult<Vec<BoundedFile<i64>>> {
    files_by(delta, "run_key", Value::as_i64)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::{Table, WarehouseLocation, WarehouseStore, delta};

    /// A checkpoint leaves out what is past its time, and whose time it is must not be in doubt.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_is_not_summed_up_where_clocks_differ() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = folder.path().display().to_string();
        let location = WarehouseLocation::parse(&location).expect("a path");
        let store = WarehouseStore::connect(&location).expect("local files");
        let table = delta::open_or_create(&store, Table::Runs).await;
        let table = table.expect("a table");
        let log = folder.path().join(Table::Runs.path()).join("_delta_log");
        let commit = log.join("00000000000000000000.json");
        let commit = File::options().write(true).open(commit).expect("a commit");
        let now = SystemTime::now();
        let hour = Duration::from_secs(3_600);
        for wrong in [now - hour, now + hour] {
            commit.set_modified(wrong).expect("storage's clock");
            let refused = sum_up(&table).await.expect_err("clocks differ");
            assert!(refused.contains("clocks"), "{refused}");
            assert!(!log.join("_last_checkpoint").exists());
        }
        commit
            .set_modified(now - CLOCK_SKEW / 2)
            .expect("near enough");
        sum_up(&table).await.expect("a checkpoint");
        assert!(log.join("_last_checkpoint").exists());
    }
}
