//! One table at one version.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt as _;
use plimsoll_ingest::delta::{self, TableError};
use plimsoll_ingest::storage;
use plimsoll_ingest::{Table, WarehouseLocation, WarehouseStore};

use crate::error::OpenError;
use crate::files::FileList;
use crate::maintenance::commit;
use crate::provider::TableColumns;

/// A table at one version, or its absence.
#[derive(Debug, Clone)]
pub(crate) struct TableSnapshot {
    table: Table,
    /// `None` where the warehouse has no such table (yet).
    delta: Option<DeltaTable>,
    /// The version at which all of it was read, and not what was new.
    read_at: u64,
    /// When its log was listed last, in seconds since the epoch; of all that are the same version.
    listed_s: Arc<AtomicI64>,
    columns: TableColumns,
    files: FileList,
}

/// After so many commits all of a table is read anew. Delta keeps what each commit said of files in
/// a batch of its own, and looks into each at every refresh; a checkpoint says it all in one.
const COMMITS_READ_ANEW: u64 = 100;

/// So long a log is not listed while it has no next commit, in s: to look for that is a tenth of a
/// list's price in a bucket, and in a folder does not grow with the log. A list tells, too, where the
/// next commit is past its time and gone, as after a machine slept for weeks, and where the bucket is.
const LISTED_AGAIN_S: i64 = 60;

/// How to find what is new in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// By its next commit, or by a list from time to time.
    ForNext,
    /// By a list: a name that was not there may go on looking so for a while (NFS keeps that), and
    /// what is asked for is known to be there.
    AtAll,
}

fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
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

    /// The table's newest version, mostly by reading only the commits after this one.
    pub(crate) async fn newer(
        &self,
        store: &WarehouseStore,
        look: Look,
    ) -> Result<Self, OpenError> {
        let Some(mut delta) = self.delta.clone() else {
            return Self::open(store, self.table).await;
        };
        if look == Look::ForNext && self.was_just_listed() && self.is_last(store).await {
            return Ok(self.clone());
        }
        let listed_s = now_s();
        let location = store.location();
        let unreadable = |error| unreadable(self.table, location, &error);
        delta.update_state().await.map_err(unreadable)?;
        if delta.version() == Some(self.version()) {
            self.listed_s.store(listed_s, Ordering::Relaxed);
            return Ok(self.clone());
        }
        let version = delta.version().unwrap_or_default();
        if version.saturating_sub(self.read_at) >= COMMITS_READ_ANEW {
            // Without one it would be as many batches as before.
            let summed_up = commit::last_checkpoint(store, self.table).await;
            if summed_up.is_ok_and(|version| version > self.read_at) {
                return Self::open(store, self.table).await;
            }
        }
        delta::check(location, self.table, &delta)
            .map_err(|error| from_ingest(self.table, location, error))?;
        let newer = Self::of(location, self.table, delta)?;
        Ok(Self {
            read_at: self.read_at,
            listed_s: Arc::new(listed_s.into()),
            ..newer
        })
    }

    /// By the wall clock: others stand still while a machine sleeps. One that was set back lists.
    fn was_just_listed(&self) -> bool {
        let ago_s = now_s() - self.listed_s.load(Ordering::Relaxed);
        (0..LISTED_AGAIN_S).contains(&ago_s)
    }

    /// Whether the log has no next commit. Where nobody can tell, it may have one.
    async fn is_last(&self, store: &WarehouseStore) -> bool {
        let (table, next) = (self.table.path(), self.version() + 1);
        let next = store.path(&format!("{table}/_delta_log/{next:020}.json"));
        let found = store.objects().head(&next).await;
        matches!(found, Err(object_store::Error::NotFound { .. }))
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
            read_at: delta.version().unwrap_or_default(),
            listed_s: Arc::new(now_s().into()),
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
            read_at: 0,
            listed_s: Arc::new(now_s().into()),
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
    let has_log = store.has_log(table).await;
    has_log.map_err(|error| unreadable(table, store.location(), &error))
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
        TableError::File { source, .. } => unreadable(table, location, &source),
        error @ (TableError::StoodStill { .. } | TableError::Unwritable { .. }) => {
            unreadable(table, location, &error)
        }
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
        None => in_short(&storage::chain(error)),
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

/// What Delta says of a log, in a line: of commits that are missing it shows its own structures.
fn in_short(reason: &str) -> String {
    const FIELD: &str = ", version: ";
    const LONGEST: usize = 300;
    let mut versions = reason.split(FIELD).skip(1).filter_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    });
    if let Some((_, after)) = reason.split_once("found gap: ")
        && after.starts_with("ParsedLogPath")
        && let (Some(before), Some(after)) = (versions.next(), versions.next())
    {
        return format!(
            "in its log (`_delta_log`) commit {after} follows {before}: those between are missing"
        );
    }
    match reason.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{} ..", &reason[..cut]),
        None => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use deltalake_core::checkpoints::create_checkpoint;
    use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
    use deltalake_core::kernel::{Action, Add};
    use deltalake_core::protocol::{DeltaOperation, SaveMode};
    use object_store::path::Path;

    use super::*;

    const TABLE: Table = Table::Stages;

    /// Commits a file that is said to be there.
    async fn commit(delta: &mut DeltaTable, name: u64) {
        let file = Add {
            path: format!("part-{name}.parquet"),
            stats: Some(r#"{"numRecords":0}"#.to_string()),
            data_change: true,
            ..Add::default()
        };
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: None,
            predicate: None,
        };
        let properties = CommitProperties::default().with_create_checkpoint(false);
        let state = delta.snapshot().expect("a table");
        let committed = CommitBuilder::from(properties)
            .with_actions(vec![Action::Add(file)])
            .build(Some(state), delta.log_store(), operation)
            .await;
        committed.expect("committed");
        delta.update_state().await.expect("read");
    }

    fn paths(snapshot: &TableSnapshot) -> HashSet<Path> {
        let files = snapshot.files();
        (0..files.len())
            .map(|file| files.path(file).clone())
            .collect()
    }

    async fn place() -> (tempfile::TempDir, WarehouseStore, DeltaTable) {
        let folder = tempfile::tempdir().expect("a folder");
        let location = WarehouseLocation::parse(&folder.path().display().to_string());
        let store = WarehouseStore::connect(&location.expect("a path")).expect("local files");
        let delta = delta::open_or_create(&store, TABLE).await;
        (folder, store, delta.expect("a table"))
    }

    #[tokio::test]
    async fn what_many_commits_said_is_read_anew_where_it_is_summed_up() {
        let (_folder, store, mut delta) = place().await;
        let first = TableSnapshot::open(&store, TABLE).await.expect("opened");
        for name in 1..=COMMITS_READ_ANEW {
            commit(&mut delta, name).await;
        }
        let unsummed = first.newer(&store, Look::ForNext).await.expect("newer");
        assert_eq!((unsummed.version(), unsummed.read_at), (100, 0));
        create_checkpoint(&delta, None).await.expect("summed up");
        let same = unsummed
            .newer(&store, Look::ForNext)
            .await
            .expect("no newer");
        assert_eq!((same.version(), same.read_at), (100, 0));
        commit(&mut delta, 101).await;
        let anew = same.newer(&store, Look::ForNext).await.expect("newer");
        assert_eq!((anew.version(), anew.read_at), (101, 101));
        commit(&mut delta, 102).await;
        let last = anew.newer(&store, Look::ForNext).await.expect("newer");
        assert_eq!((last.version(), last.read_at), (102, 101));
        let opened = TableSnapshot::open(&store, TABLE).await.expect("opened");
        assert_eq!(paths(&last), paths(&opened));
        assert_eq!(paths(&last).len(), 102);
    }

    /// The next commit may be gone, with all that the log's last checkpoint says.
    #[tokio::test]
    async fn a_log_is_listed_from_time_to_time() {
        let (folder, store, mut delta) = place().await;
        let first = TableSnapshot::open(&store, TABLE).await.expect("opened");
        for name in 1..=3 {
            commit(&mut delta, name).await;
        }
        create_checkpoint(&delta, None).await.expect("summed up");
        let log = folder.path().join(TABLE.path()).join("_delta_log");
        for version in 0..3 {
            let commit = log.join(format!("{version:020}.json"));
            std::fs::remove_file(commit).expect("it is there");
        }
        let soon = first
            .newer(&store, Look::ForNext)
            .await
            .expect("no next commit");
        assert_eq!(soon.version(), 0);
        let listed = first.newer(&store, Look::AtAll).await.expect("newer");
        assert_eq!(listed.version(), 3);
        // A machine that slept has not looked for so long, and nor has one whose clock was set back.
        for ago_s in [LISTED_AGAIN_S, -2] {
            first.listed_s.store(now_s() - ago_s, Ordering::Relaxed);
            let last = first.newer(&store, Look::ForNext).await.expect("newer");
            assert_eq!(last.version(), 3);
            assert_eq!(paths(&last).len(), 3);
            assert!(last.was_just_listed());
        }
        // Who finds nothing new has looked for all that are the same.
        listed.listed_s.store(0, Ordering::Relaxed);
        let same = listed.newer(&store, Look::ForNext).await.expect("the same");
        assert!(same.was_just_listed() && listed.was_just_listed());
    }
}
