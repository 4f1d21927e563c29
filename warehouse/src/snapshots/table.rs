//! One table at one version.

use std::error::Error;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::StreamExt;
use plimsoll_ingest::delta::{self, TableError};
use plimsoll_ingest::storage;
use plimsoll_ingest::{Table, WarehouseLocation, WarehouseStore};

use crate::error::{OpenError, chain};
use crate::files::FileList;
use crate::provider::TableColumns;

/// A table at one version, or its absence.
#[derive(Debug)]
pub(crate) struct TableSnapshot {
    table: Table,
    /// `None` where the warehouse has no such table (yet).
    delta: Option<DeltaTable>,
    columns: TableColumns,
    files: FileList,
}

impl TableSnapshot {
    /// The table's newest version.
    pub(crate) async fn open(store: &WarehouseStore, table: Table) -> Result<Self, OpenError> {
        let location = store.location();
        let opened = delta::open_table(store, table).await;
        match opened.map_err(|error| from_ingest(table, location, error))? {
            Some(delta) => Self::of(location, table, delta),
            None => Ok(Self::absent(table)),
        }
    }

    /// The table's newest version, by reading only the commits after this one.
    pub(crate) async fn newer(&self, store: &WarehouseStore) -> Result<Self, OpenError> {
        let Some(mut delta) = self.delta.clone() else {
            return Self::open(store, self.table).await;
        };
        let location = store.location();
        let unreadable = |error| unreadable(self.table, location, &error);
        delta.update_state().await.map_err(unreadable)?;
        delta::check(location, self.table, &delta)
            .map_err(|error| from_ingest(self.table, location, error))?;
        Self::of(location, self.table, delta)
    }

    /// The table as `delta` has it.
    ///
    /// # Errors
    /// It cannot be read here.
    pub(crate) fn of(
        location: &WarehouseLocation,
        table: Table,
        delta: DeltaTable,
    ) -> Result<Self, OpenError> {
        let unreadable = |error: DeltaTableError| unreadable(table, location, &error);
        let state = delta.snapshot().map_err(unreadable)?;
        let reader_version = state.protocol().min_reader_version();
        if reader_version > 1 {
            // Deletion vectors and column mapping need more than a plain scan.
            let feature = format!("Delta reader version {reader_version}");
            return Err(OpenError::Unsupported { table, feature });
        }
        let schema = with_ours(&state.snapshot().arrow_schema(), table);
        let partitions = state.metadata().partition_columns();
        let files = FileList::of(&delta).map_err(unreadable)?;
        let columns = TableColumns::new(schema, partitions);
        Ok(Self {
            table,
            delta: Some(delta),
            columns,
            files,
        })
    }

    fn absent(table: Table) -> Self {
        let columns = TableColumns::new(table.arrow_schema(), &[]);
        Self {
            table,
            delta: None,
            columns,
            files: FileList::none(),
        }
    }

    /// Whether there is such a table.
    pub(crate) fn exists(&self) -> bool {
        self.delta.is_some()
    }

    /// The version of its log; 0 where there is no such table.
    pub(crate) fn version(&self) -> u64 {
        let version = self.delta.as_ref().and_then(DeltaTable::version);
        version.unwrap_or_default()
    }

    /// Whether both are the same version of the same table, or both its absence.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.exists() == other.exists() && self.version() == other.version()
    }

    /// The version of an application transaction, where there is one of that name.
    pub(crate) async fn transaction(
        &self,
        store: &WarehouseStore,
        name: &str,
    ) -> Result<Option<i64>, OpenError> {
        let Some(delta) = &self.delta else {
            return Ok(None);
        };
        let unreadable = |error| unreadable(self.table, store.location(), &error);
        let state = delta.snapshot().map_err(unreadable)?;
        let version = state.transaction_version(&delta.log_store(), name).await;
        version.map_err(unreadable)
    }

    /// The columns, and which of them are partitions.
    pub(crate) fn columns(&self) -> &TableColumns {
        &self.columns
    }

    /// All active files, those of invisible runs too.
    pub(crate) fn files(&self) -> &FileList {
        &self.files
    }
}

/// Whether there is such a table, by a look at its log alone.
pub(crate) async fn is_there(store: &WarehouseStore, table: Table) -> Result<bool, OpenError> {
    let log = store.path(&format!("{}/_delta_log", table.path()));
    match store.objects().list(Some(&log)).next().await {
        Some(Ok(_)) => Ok(true),
        None | Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
        Some(Err(error)) => Err(unreadable(table, store.location(), &error)),
    }
}

/// The schema in the log, which a later release may have widened, and after
/// it whatever columns of ours an earlier release did not have yet; files
/// that lack a column read as null. Comments are ours where the log has none.
fn with_ours(log: &SchemaRef, table: Table) -> SchemaRef {
    let ours = table.arrow_schema();
    let commented = |field: &FieldRef| match ours.field_with_name(field.name()) {
        Ok(our) if !field.metadata().contains_key("comment") => {
            Arc::new(field.as_ref().clone().with_metadata(our.metadata().clone()))
        }
        _ => Arc::clone(field),
    };
    let missing = ours
        .fields()
        .iter()
        .filter(|our| log.field_with_name(our.name()).is_err());
    let nullable = |our: &FieldRef| Arc::new(our.as_ref().clone().with_nullable(true));
    let fields: Vec<FieldRef> = log
        .fields()
        .iter()
        .map(commented)
        .chain(missing.map(nullable))
        .collect();
    Arc::new(Schema::new(fields))
}

fn from_ingest(table: Table, location: &WarehouseLocation, error: TableError) -> OpenError {
    match error {
        TableError::Newer {
            table,
            warehouse,
            found,
            known,
        } => OpenError::NewerTable {
            table,
            location: warehouse,
            found,
            known,
        },
        TableError::Storage { source, .. } => unreadable(table, location, source.as_ref()),
        TableError::Foreign {
            table,
            warehouse,
            what,
        } => OpenError::Foreign {
            table,
            location: warehouse,
            what,
        },
        TableError::Place(error) => unreadable(table, location, &error),
    }
}

fn unreadable(
    table: Table,
    location: &WarehouseLocation,
    error: &(dyn Error + 'static),
) -> OpenError {
    let reason = match storage::failure(error) {
        Some(failure) => failure.to_string(),
        None => chain(error),
    };
    let location = location.to_string();
    if storage::is_denied(error) {
        return OpenError::Denied {
            table,
            location,
            reason,
        };
    }
    OpenError::Unreadable {
        table,
        location,
        reason,
        help: storage::help(error),
    }
}
