//! Commits of maintenance, and what sums up the log.

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::protocol::DeltaOperation;
use object_store::ObjectStoreExt as _;
use plimsoll_ingest::{Table, Timestamp, WarehouseStore, delta};

use super::{MaintenanceError, Work};

/// The application transaction that every commit of maintenance carries.
const TRANSACTION: &str = "maintenance";

/// A checkpoint is made where the log has so many entries since the last one.
const ENTRIES_PER_CHECKPOINT: u64 = 10;

/// A table as it is now; `None` where it is not there.
pub(super) async fn opened(
    work: &Work,
    table: Table,
) -> Result<Option<DeltaTable>, MaintenanceError> {
    let opened = delta::open_table(&work.store, table).await;
    opened.map_err(MaintenanceError::storage)
}

/// Commits `actions`, once, if nobody with a later lease has been here; `note` is a transaction
/// that goes with them.
pub(super) async fn commit(
    work: &Work,
    delta: &DeltaTable,
    actions: Vec<Action>,
    operation: DeltaOperation,
    note: Option<Transaction>,
) -> Result<(), MaintenanceError> {
    let fence = i64::try_from(work.fence()).unwrap_or(i64::MAX);
    let state = delta.snapshot().map_err(MaintenanceError::storage)?;
    let log = delta.log_store();
    let last = state.transaction_version(&log, TRANSACTION).await;
    let last = last.map_err(MaintenanceError::storage)?;
    if last.is_some_and(|last| last > fence) {
        return Err(MaintenanceError::LeaseLost);
    }
    let now = Some(Timestamp::now().millis());
    let transaction = Transaction::new_with_last_update(TRANSACTION, fence, now);
    let transactions = note.into_iter().chain([transaction]).collect();
    let properties = CommitProperties::default()
        .with_application_transactions(transactions)
        .with_create_checkpoint(false)
        .with_cleanup_expired_logs(Some(false));
    CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(state), delta.log_store(), operation)
        .await
        .map(drop)
        .map_err(MaintenanceError::storage)
}

/// Makes a checkpoint where the log has grown since the last, and deletes
/// entries past the table's log retention. Says whether, and how many.
pub(super) async fn sum_up(work: &Work, table: Table) -> Result<(bool, usize), MaintenanceError> {
    let Some(delta) = opened(work, table).await? else {
        return Ok((false, 0));
    };
    let version = delta.version().unwrap_or_default();
    let last = last_checkpoint(&work.store, table).await;
    let last = last.map_err(MaintenanceError::storage)?;
    if version < last + ENTRIES_PER_CHECKPOINT {
        return Ok((false, 0));
    }
    create_checkpoint(&delta, None)
        .await
        .map_err(MaintenanceError::storage)?;
    let deleted = cleanup_metadata(&delta, None).await;
    Ok((true, deleted.map_err(MaintenanceError::storage)?))
}

/// The version that the newest checkpoint sums up to; 0 where there is none.
pub(crate) async fn last_checkpoint(
    store: &WarehouseStore,
    table: Table,
) -> object_store::Result<u64> {
    let place = store.path(&format!("{}/_delta_log/_last_checkpoint", table.path()));
    let found = match store.objects().get(&place).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(0),
        Err(error) => return Err(error),
    };
    let bytes = found.bytes().await?;
    // A hint that cannot be read is none: readers go without it, too.
    let hint: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(hint["version"].as_u64().unwrap_or_default())
}
