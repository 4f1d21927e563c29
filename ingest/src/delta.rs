//! The Delta tables of a warehouse: opening, creating, asking what is there.

use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableError};

use crate::location::WarehouseLocation;
use crate::storage::{StorageError, WarehouseStore};
use crate::table::{SCHEMA_VERSION, Table};

/// The table property that holds the version of the schemas.
pub const SCHEMA_VERSION_PROPERTY: &str = "plimsoll.schema_version";

/// How long the log remembers application transactions.
const TRANSACTION_RETENTION: &str = "interval 30 days";

/// What can go wrong between here and a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The storage, or the table's log, could not be read or written.
    #[error("table `{table}` in warehouse `{warehouse}`")]
    Storage {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
        /// What Delta says.
        source: Box<DeltaTableError>,
    },
    /// A later release made it in a way that this one cannot keep.
    #[error(
        "table `{table}` in warehouse `{warehouse}` has schema version {found}, and this release \
         knows up to {known}; use the release that made it, or a later one"
    )]
    Newer {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
        /// Its version.
        found: u32,
        /// The highest that is known.
        known: u32,
    },
    /// Storage cannot hold a warehouse, or cannot be written.
    #[error(transparent)]
    Place(#[from] StorageError),
}

impl TableError {
    pub(crate) fn storage(
        table: Table,
        warehouse: &WarehouseLocation,
        source: DeltaTableError,
    ) -> Self {
        Self::Storage {
            table,
            warehouse: warehouse.to_string(),
            source: Box::new(source),
        }
    }
}

/// Opens a table at its newest version; `None` where there is none.
///
/// # Errors
/// The storage cannot be read, or a later release made the table.
pub async fn open_table(
    store: &WarehouseStore,
    table: Table,
) -> Result<Option<DeltaTable>, TableError> {
    let warehouse = store.location();
    let fail = |source| TableError::storage(table, warehouse, source);
    let mut delta = DeltaTable::new(store.log_of(table));
    if !delta.verify_deltatable_existence().await.map_err(fail)? {
        return Ok(None);
    }
    match delta.load().await {
        Ok(()) => {}
        Err(DeltaTableError::NotATable(_)) => return Ok(None),
        Err(source) => return Err(fail(source)),
    }
    check_version(warehouse, table, &delta)?;
    Ok(Some(delta))
}

/// Refuses a table whose schemas a later release raised.
///
/// # Errors
/// [`TableError::Newer`], naming both versions.
pub fn check_version(
    warehouse: &WarehouseLocation,
    table: Table,
    delta: &DeltaTable,
) -> Result<(), TableError> {
    let state = delta
        .snapshot()
        .map_err(|source| TableError::storage(table, warehouse, source))?;
    let property = state
        .metadata()
        .configuration()
        .get(SCHEMA_VERSION_PROPERTY);
    let found = property
        .and_then(|text| text.parse().ok())
        .unwrap_or(SCHEMA_VERSION);
    if found > SCHEMA_VERSION {
        let warehouse = warehouse.to_string();
        return Err(TableError::Newer {
            table,
            warehouse,
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(())
}

/// Opens a table, creating it first where there is none.
///
/// Two processes that create it at once end with one table: the loser of the
/// first commit opens the winner's.
///
/// # Errors
/// As [`open_table`]; also where the place cannot be written.
pub async fn open_or_create(
    store: &WarehouseStore,
    table: Table,
) -> Result<DeltaTable, TableError> {
    store.check().await?;
    if let Some(delta) = open_table(store, table).await? {
        return Ok(delta);
    }
    let warehouse = store.location();
    let fail = |source| TableError::storage(table, warehouse, source);
    let schema: StructType = table
        .arrow_schema()
        .as_ref()
        .try_into_kernel()
        .map_err(|source: arrow::error::ArrowError| fail(DeltaTableError::from(source)))?;
    let mut create = CreateBuilder::new()
        .with_log_store(store.log_of(table))
        .with_table_name(table.name())
        .with_comment(table.doc())
        .with_columns(schema.fields().cloned())
        .with_save_mode(SaveMode::ErrorIfExists)
        .with_raise_if_key_not_exists(false)
        // Without this the loser of two creations would commit a second one.
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .with_configuration([
            (SCHEMA_VERSION_PROPERTY, Some(SCHEMA_VERSION.to_string())),
            (
                "delta.setTransactionRetentionDuration",
                Some(TRANSACTION_RETENTION.to_string()),
            ),
            (
                "delta.dataSkippingStatsColumns",
                Some(table.stats_columns().join(",")),
            ),
        ]);
    if table.partitioned() {
        create = create.with_partition_columns(["date"]);
    }
    let created = create.await;
    match open_table(store, table).await? {
        Some(delta) => Ok(delta),
        None => Err(fail(created.err().unwrap_or_else(|| {
            DeltaTableError::NotATable(warehouse.table_url(table).to_string())
        }))),
    }
}

/// Creates whatever tables of the warehouse are missing.
///
/// # Errors
/// As [`open_or_create`], of the first table that fails.
pub async fn create_missing(store: &WarehouseStore) -> Result<(), TableError> {
    for table in Table::ALL {
        open_or_create(store, *table).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_without_tables_stays_so_until_they_are_created() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("warehouse");
        let location = WarehouseLocation::parse(&path.display().to_string()).expect("path");
        let warehouse = WarehouseStore::connect(&location).expect("local files");
        assert!(
            open_table(&warehouse, Table::Runs)
                .await
                .expect("no error")
                .is_none()
        );
        assert!(!path.exists());
        create_missing(&warehouse).await.expect("created");
        create_missing(&warehouse).await.expect("twice is once");
        for table in Table::ALL {
            let delta = open_table(&warehouse, *table)
                .await
                .expect("open")
                .expect("there");
            let state = delta.snapshot().expect("loaded");
            assert_eq!(delta.version(), Some(0), "{table}");
            assert_eq!(state.protocol().min_reader_version(), 1, "{table}");
            assert_eq!(state.protocol().min_writer_version(), 2, "{table}");
            let names: Vec<_> = state.schema().fields().map(|f| f.name().clone()).collect();
            let ours: Vec<_> = table.columns().iter().map(|c| c.name.to_string()).collect();
            assert_eq!(names, ours);
        }
    }

    #[tokio::test]
    async fn many_that_create_at_once_end_with_one_table() {
        let folder = tempfile::tempdir().expect("folder");
        let location =
            WarehouseLocation::parse(&folder.path().display().to_string()).expect("path");
        let warehouse = WarehouseStore::connect(&location).expect("local files");
        let all = (0..6).map(|_| open_or_create(&warehouse, Table::Runs));
        for opened in futures::future::join_all(all).await {
            assert_eq!(opened.expect("opened").version(), Some(0));
        }
    }
}
