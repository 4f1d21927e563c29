//! Runs whose process died: sealed as incomplete, and published.

use std::path::{Path, PathBuf};

use plimsoll_ingest::publish::publish;
use plimsoll_ingest::spool::{self, Spool, SpoolError};
use plimsoll_ingest::storage::chain;
use plimsoll_ingest::{RunId, Verdict, WarehouseLocation, WarehouseStore};

use super::seal::{FinishedAt, JobEnd, RunEnd, SealError, seal};
use crate::verdict::Ending;

/// Why abandoned spools cannot be published at all: they cannot be looked for,
/// or there is no way to the warehouse.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct RecoverError {
    reason: String,
}

/// What became of abandoned spools.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Runs that are in the warehouse now, with their verdicts.
    pub published: Vec<(RunId, Verdict)>,
    /// Runs of which there was nothing to publish, not even what was to be measured.
    pub empty: Vec<RunId>,
    /// Spools that stay, and why.
    pub failed: Vec<(PathBuf, String)>,
}

/// Publishes the abandoned spools below `root` that belong to `warehouse`.
/// Those of other warehouses, and those whose process lives, are left alone.
///
/// # Errors
/// Only where the folder of spools cannot be read; what fails with one spool
/// is in the result.
pub async fn recover(
    root: &Path,
    warehouse: &WarehouseLocation,
) -> Result<Recovered, RecoverError> {
    spool::sweep(root);
    let folders = spool::list(root).map_err(|error| RecoverError {
        reason: chain(&error),
    })?;
    let store = WarehouseStore::connect(warehouse).map_err(|error| RecoverError {
        reason: chain(&error),
    })?;
    let mut recovered = Recovered::default();
    for folder in folders {
        match recover_one(&folder, &store).await {
            Ok(Some(Found::Run(run, verdict))) => recovered.published.push((run, verdict)),
            Ok(Some(Found::Nothing(run))) => recovered.empty.push(run),
            Ok(None) => {}
            Err(reason) => recovered.failed.push((folder, reason)),
        }
    }
    Ok(recovered)
}

/// What was in a spool that nobody works on.
enum Found {
    /// A run, which is in the warehouse now.
    Run(RunId, Verdict),
    /// No row at all; the spool is gone.
    Nothing(RunId),
}

async fn recover_one(folder: &Path, store: &WarehouseStore) -> Result<Option<Found>, String> {
    let text = |error: SpoolError| chain(&error);
    let Some(mut spool) = Spool::take_over(folder).map_err(text)? else {
        return Ok(None);
    };
    if !store.location().is_named(&spool.manifest().warehouse) {
        return Ok(None);
    }
    let run_id = spool.manifest().run_id;
    let contents = spool.contents().map_err(text)?;
    if !contents.sealed() {
        let why = match contents.torn_bytes() {
            0 => "its process ended in the middle of it".to_string(),
            bytes => format!(
                "its process ended in the middle of it, and {bytes} bytes of what it wrote are no \
                 whole rows"
            ),
        };
        let end = RunEnd {
            ending: Ending::Incomplete(why),
            environment_change: None,
            finished_at: FinishedAt::LastKnown,
            job: JobEnd::Lost,
        };
        match seal(&mut spool, end) {
            Ok(_) => {}
            // Nothing was measured, and nothing says what was to be.
            Err(SealError::NoRun) if contents.is_empty() => {
                spool.remove().map_err(text)?;
                return Ok(Some(Found::Nothing(run_id)));
            }
            Err(error) => return Err(chain(&error)),
        }
    }
    let published = publish(spool, store).await.map_err(|error| chain(&error))?;
    Ok(Some(Found::Run(run_id, published.verdict)))
}
