//! The Delta tables of a warehouse: opening, creating, asking what is there.

use std::collections::HashMap;

use arrow::datatypes::Schema;
use deltalake_core::kernel::engine::arrow_conversion::{TryFromArrow as _, TryIntoKernel as _};
use deltalake_core::kernel::transaction::{CommitProperties, PROTOCOL};
use deltalake_core::kernel::{StructField, StructType};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::future::join_all;
use nix::unistd::{AccessFlags, access};
use parquet::errors::ParquetError;

use crate::location::{StorageKind, WarehouseLocation};
use crate::storage::{StorageError, WarehouseStore};
use crate::table::{SCHEMA_VERSION, Table};

/// The table property that holds the version of the schemas.
pub const SCHEMA_VERSION_PROPERTY: &str = "plimsoll.schema_version";

/// How long the log remembers application transactions.
const TRANSACTION_RETENTION: &str = "interval 30 days";

/// The Delta protocol that readers have to know: every one does, and what is written stays readable by all.
const READER_VERSION: i32 = 1;

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
    /// Another table lies where this one should be.
    #[error("what lies at table `{table}` in warehouse `{warehouse}` is not that table: {what}")]
    Foreign {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
        /// How it differs.
        what: String,
    },
    /// A file could not be written or read.
    #[error("table `{table}` in warehouse `{warehouse}`: a Parquet file failed")]
    File {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
        /// Why.
        source: ParquetError,
    },
    /// The process stood still between writing files and naming them in the log.
    #[error(
        "table `{table}` in warehouse `{warehouse}`: files that were written were not named in its log \
         within an hour, and may have been deleted as leftovers since"
    )]
    StoodStill {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
    },
    /// It is ours, and cannot be written to.
    #[error("table `{table}` in warehouse `{warehouse}` cannot be written: {what}")]
    Unwritable {
        /// The table.
        table: Table,
        /// The warehouse.
        warehouse: String,
        /// Why.
        what: String,
        /// What to do about it.
        help: &'static str,
    },
    /// Storage cannot hold a warehouse, or cannot be written.
    #[error(transparent)]
    Place(#[from] StorageError),
}

impl TableError {
    /// What to do about it, in one line; `None` where the cause alone says it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Storage { .. } | Self::File { .. } => None,
            Self::Newer { .. } => {
                Some("install the release that made it, or a later one; nothing was changed")
            }
            Self::Foreign { .. } => Some(
                "give Plimsoll a place of its own, or move that table away; nothing was changed",
            ),
            Self::StoodStill { .. } => Some(
                "this process, or its machine, stood still meanwhile: publish again, which writes \
                 them anew; nothing was lost",
            ),
            Self::Unwritable { help, .. } => Some(help),
            Self::Place(error) => error.help(),
        }
    }

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
    // A folder that is not there is an error to Delta; in a bucket there are no folders.
    if warehouse.kind() == StorageKind::Local {
        let has_log = store.has_log(table).await;
        if !has_log.map_err(|error| fail(DeltaTableError::from(error)))? {
            return Ok(None);
        }
    }
    let mut delta = DeltaTable::new(store.log_of(table));
    match delta.load().await {
        Ok(()) => {}
        Err(DeltaTableError::NotATable(_)) => return Ok(None),
        Err(source) => return Err(fail(source)),
    }
    check(warehouse, table, &delta)?;
    Ok(Some(delta))
}

/// Refuses a table whose schemas a later release raised, and what is no table
/// of ours.
///
/// Columns that a later release added are no reason, nor are columns that an
/// earlier one did not have yet: those may be null.
///
/// # Errors
/// [`TableError::Newer`], naming both versions, or [`TableError::Foreign`].
pub fn check(
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
    let partitions = state.metadata().partition_columns();
    let difference = difference(table, &state.snapshot().arrow_schema(), partitions);
    difference.map_or(Ok(()), |what| {
        let warehouse = warehouse.to_string();
        Err(TableError::Foreign {
            table,
            warehouse,
            what,
        })
    })
}

/// Refuses a table that no commit could be added to, before there is anything to add.
fn check_writable(
    store: &WarehouseStore,
    table: Table,
    delta: &DeltaTable,
) -> Result<(), TableError> {
    let warehouse = store.location();
    let unwritable = |what: String, help| TableError::Unwritable {
        table,
        warehouse: warehouse.to_string(),
        what,
        help,
    };
    let state = delta
        .snapshot()
        .map_err(|source| TableError::storage(table, warehouse, source))?;
    let reads = state.protocol().min_reader_version();
    if reads > READER_VERSION {
        let what = format!(
            "it asks for Delta's reader version {reads}, and Plimsoll reads {READER_VERSION}"
        );
        let help = "another tool changed the table: rewrite it there with that feature off";
        return Err(unwritable(what, help));
    }
    PROTOCOL.can_write_to(state).map_err(|error| {
        let help = "another tool changed the table: take that feature off with it";
        unwritable(error.to_string(), help)
    })?;
    let Some(folder) = warehouse.local_folder() else {
        return Ok(());
    };
    let log = folder.join(table.path()).join("_delta_log");
    access(&log, AccessFlags::W_OK).map_err(|why| {
        let help = "let this user write there, or choose another place for the warehouse";
        unwritable(format!("{}: {}", log.display(), why.desc()), help)
    })
}

/// What keeps columns from being those of a table.
fn difference(table: Table, found: &Schema, partitions: &[String]) -> Option<String> {
    for column in table.columns() {
        let (name, wanted) = (column.name, column.kind.data_type());
        match found.field_with_name(name) {
            Ok(field) if !column.kind.is(field.data_type()) => {
                let found = field.data_type();
                return Some(format!("column `{name}` is {found}, not {wanted}"));
            }
            Ok(_) => {}
            Err(_) if column.nullable => {}
            Err(_) => return Some(format!("it has no column `{name}`")),
        }
    }
    let wanted: &[&str] = if table.partitioned() { &["date"] } else { &[] };
    (partitions != wanted).then(|| format!("it is partitioned by {partitions:?}, not {wanted:?}"))
}

/// Opens a table to write to it, creating it first where there is none, and
/// adding columns that an earlier release did not have.
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
        check_writable(store, table, &delta)?;
        return widened(store, table, delta).await;
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
                "delta.dataSkippingStatsColumns",
                Some(table.stats_columns().join(",")),
            ),
        ]);
    // Sources are few, and one that was silent for long goes on where it was.
    if !table.is_journal() {
        let retention = [(
            "delta.setTransactionRetentionDuration",
            Some(TRANSACTION_RETENTION),
        )];
        create = create.with_configuration(retention);
    }
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

/// How often columns are tried to be added while others add them, too.
const WIDENINGS: usize = 5;

/// The table with every column of this release. Earlier releases go on reading
/// and writing it: they take no notice of columns that they do not know, and
/// leave them null.
async fn widened(
    store: &WarehouseStore,
    table: Table,
    mut delta: DeltaTable,
) -> Result<DeltaTable, TableError> {
    let fail = |source| TableError::storage(table, store.location(), source);
    for attempt in 1.. {
        let columns = delta.snapshot().map_err(fail)?.snapshot().arrow_schema();
        let missing: Vec<_> = table
            .columns()
            .iter()
            .filter(|column| columns.field_with_name(column.name).is_err())
            .map(|column| StructField::try_from_arrow(&column.field().with_nullable(true)))
            .collect::<Result<_, _>>()
            .map_err(|source| fail(DeltaTableError::from(source)))?;
        if missing.is_empty() {
            break;
        }
        let properties = CommitProperties::default()
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        let adding = delta.clone().add_columns().with_fields(missing);
        let added = adding.with_commit_properties(properties).await;
        delta.update_state().await.map_err(fail)?;
        if let Err(source) = added
            && attempt == WIDENINGS
        {
            return Err(fail(source));
        }
    }
    Ok(delta)
}

/// Opens tables to write to them, as [`open_or_create`] does, all at once: each asks storage several
/// times, one answer after the other.
///
/// # Errors
/// As [`open_or_create`], of the first table that fails.
pub(crate) async fn open_or_create_each(
    store: &WarehouseStore,
    tables: impl Iterator<Item = Table>,
) -> Result<HashMap<Table, DeltaTable>, TableError> {
    let opened = tables.map(async |table| {
        let delta = open_or_create(store, table).await?;
        Ok((table, delta))
    });
    join_all(opened).await.into_iter().collect()
}

/// Creates whatever tables of the warehouse are missing.
///
/// # Errors
/// As [`open_or_create`], of the first table that fails.
pub async fn create_missing(store: &WarehouseStore) -> Result<(), TableError> {
    let all = Table::ALL.iter().copied();
    open_or_create_each(store, all).await.map(drop)
}

#[cfg(test)]
mod tests;
