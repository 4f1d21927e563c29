//! Questions to a table's log.

use deltalake_core::{DeltaResult, DeltaTable};
use object_store::path::Path;
use serde_json::Value;

/// A file whose rows lie between two run keys.
pub(crate) struct KeyedFile {
    /// Where it lies, from the table's folder.
    pub(crate) path: Path,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

/// Whether an application transaction is in the log.
pub(crate) async fn has_transaction(delta: &DeltaTable, app_id: &str) -> DeltaResult<bool> {
    let version = delta
        .snapshot()?
        .transaction_version(&delta.log_store(), app_id)
        .await?;
    Ok(version.is_some())
}

/// The files of a table that say between which run keys their rows lie.
pub(crate) fn files_by_run_key(delta: &DeltaTable) -> DeltaResult<impl Iterator<Item = KeyedFile>> {
    let files: Vec<_> = delta
        .snapshot()?
        .log_data()
        .iter()
        .filter_map(|file| {
            let statistics: Value = serde_json::from_str(&file.stats()?).ok()?;
            let key = |bound: &str| statistics[bound]["run_key"].as_i64();
            let (min, max) = (key("minValues")?, key("maxValues")?);
            Some(KeyedFile {
                path: file.object_store_path(),
                min,
                max,
            })
        })
        .collect();
    Ok(files.into_iter())
}
