//! What a query sees: one immutable set of table snapshots.
//!
//! A table is opened when a statement first names it, so that a command that
//! asks little opens little. `runs` is read before any table of facts: since
//! a run's facts are committed before its row in `runs`, a run that is
//! visible has all its facts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use datafusion::catalog::MemoryCatalogProvider;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt as _;
use plimsoll_ingest::{Table, WarehouseLocation, WarehouseStore, storage};
use tokio::sync::OnceCell;

use crate::catalog::Catalog;
use crate::engine::{Engine, store_url};
use crate::error::{OpenError, QueryError};
use crate::functions;
use crate::limits::Access;
use crate::metered::bytes_of;
use crate::plain;
use crate::provider::FileTable;
use crate::views::View;

mod run_keys;
mod table;

pub(crate) use run_keys::RunKeys;
pub(crate) use table::{Look, TableSnapshot};

/// One set of snapshots, with the views planned over it.
#[derive(Debug)]
pub(crate) struct Snapshots {
    store: WarehouseStore,
    engine: Arc<Engine>,
    tables: HashMap<Table, OnceCell<TableSnapshot>>,
    run_keys: OnceCell<RunKeys>,
    /// The tables as queries see them.
    visible: HashMap<Table, OnceCell<Arc<FileTable>>>,
    views: HashMap<View, OnceCell<Arc<ViewTable>>>,
    exists: bool,
    /// Differs from that of every other set of this process.
    generation: u64,
}

/// Sets that were made so far.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

impl Snapshots {
    /// A set in which no table is open yet. All it asks storage is whether
    /// there is a warehouse.
    pub(crate) async fn unopened(
        store: &WarehouseStore,
        engine: &Arc<Engine>,
    ) -> Result<Self, OpenError> {
        let exists = table::is_there(store, Table::Runs).await?;
        Ok(Self::empty(store, engine, exists))
    }

    fn empty(store: &WarehouseStore, engine: &Arc<Engine>, exists: bool) -> Self {
        Self {
            store: store.clone(),
            engine: Arc::clone(engine),
            tables: Table::ALL
                .iter()
                .map(|table| (*table, OnceCell::new()))
                .collect(),
            run_keys: OnceCell::new(),
            visible: Table::ALL
                .iter()
                .map(|table| (*table, OnceCell::new()))
                .collect(),
            views: View::ALL
                .iter()
                .map(|view| (*view, OnceCell::new()))
                .collect(),
            exists,
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Which set it is, among those of this process.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether every table is at the same version in both sets, or not open in either.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.exists == other.exists
            && Table::ALL.iter().all(|table| {
                match (self.tables[table].get(), other.tables[table].get()) {
                    (Some(one), Some(other)) => one.is_same_as(other),
                    (None, None) => true,
                    _ => false,
                }
            })
    }

    /// The newest set: `runs` first, then every other table. Of tables that
    /// are open in `self`, only newer commits are read.
    ///
    /// A table that cannot be read does not stop the others: a query that names
    /// it is told why. Only storage that does not answer does, since it may
    /// answer the next time.
    pub(crate) async fn newest(&self) -> Result<Self, OpenError> {
        let runs = self.newer(Table::Runs, Look::ForNext).await?;
        // The facts of a new run have to be found, by whatever way storage has been asked before.
        let same_runs = self.tables[&Table::Runs].get();
        let look = match same_runs.is_some_and(|before| before.is_same_as(&runs)) {
            true => Look::ForNext,
            false => Look::AtAll,
        };
        let next = Self::empty(&self.store, &self.engine, runs.exists());
        next.set(Table::Runs, runs);
        next.run_keys
            .get_or_try_init(|| next.read_run_keys(self.run_keys.get()))
            .await?;
        let others = Table::ALL
            .iter()
            .copied()
            .filter(|table| *table != Table::Runs);
        let opened = others.map(async |table| (table, self.newer(table, look).await));
        for (table, snapshot) in futures::future::join_all(opened).await {
            match snapshot {
                Ok(snapshot) => next.set(table, snapshot),
                Err(error) if error.is_of_storage() => return Err(error),
                Err(error) => {
                    if self.tables[&table].get().is_some() {
                        tracing::warn!(help = %error.help(), "{error}");
                    }
                }
            }
        }
        Ok(next)
    }

    async fn newer(&self, table: Table, look: Look) -> Result<TableSnapshot, OpenError> {
        match self.tables[&table].get() {
            Some(snapshot) => snapshot.newer(&self.store, look).await,
            None => TableSnapshot::open(&self.store, table).await,
        }
    }

    fn set(&self, table: Table, snapshot: TableSnapshot) {
        self.tables[&table]
            .set(snapshot)
            .expect("nobody else holds this set, and each table is set once");
    }

    /// Where the warehouse lies.
    pub(crate) fn location(&self) -> &WarehouseLocation {
        self.store.location()
    }

    /// Whether the place holds a warehouse: a table of runs.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// A table at its version in this set.
    pub(crate) async fn snapshot(&self, table: Table) -> Result<&TableSnapshot, OpenError> {
        self.tables[&table]
            .get_or_try_init(|| TableSnapshot::open(&self.store, table))
            .await
    }

    /// The keys of the runs that have a row in `runs`.
    pub(crate) async fn run_keys(&self) -> Result<&RunKeys, OpenError> {
        self.run_keys
            .get_or_try_init(|| self.read_run_keys(None))
            .await
    }

    async fn read_run_keys(&self, before: Option<&RunKeys>) -> Result<RunKeys, OpenError> {
        let runs = self.snapshot(Table::Runs).await?;
        let session = self.engine.session(Arc::new(MemoryCatalogProvider::new()));
        let store = store_url(self.store.location());
        let keys = RunKeys::read(runs.files(), runs.columns(), before, &session, &store).await;
        keys.map_err(|error| OpenError::Unreadable {
            table: Table::Runs,
            location: self.store.location().to_string(),
            reason: error.strip_backtrace(),
            help: storage::help(&error),
        })
    }

    /// A table as queries see it: without the files of runs that are not visible.
    pub(crate) async fn table(&self, table: Table) -> Result<Arc<FileTable>, DataFusionError> {
        let visible = self.visible[&table].get_or_try_init(|| self.visible_table(table));
        visible.await.cloned()
    }

    async fn visible_table(&self, table: Table) -> Result<Arc<FileTable>, DataFusionError> {
        let external = |error: OpenError| DataFusionError::External(Box::new(error));
        let run_keys = if table.per_run() && table != Table::Runs {
            Some(self.run_keys().await.map_err(external)?)
        } else {
            None
        };
        let snapshot = self.snapshot(table).await.map_err(external)?;
        let files = match run_keys {
            Some(run_keys) => snapshot.files().visible_to(run_keys.visible())?,
            None => snapshot.files().clone(),
        };
        let columns = snapshot.columns().clone();
        let store = store_url(self.store.location());
        Ok(Arc::new(FileTable::new(columns, files, store)))
    }

    /// A view, planned over this set with its owner's rights.
    pub(crate) async fn view(
        self: &Arc<Self>,
        view: View,
    ) -> Result<Arc<ViewTable>, DataFusionError> {
        let planned = self.views[&view].get_or_try_init(async || {
            let session = self.session(Access::All);
            let plan = session.create_logical_plan(view.sql()).await?;
            Ok::<_, DataFusionError>(Arc::new(ViewTable::new(plan, Some(view.sql().to_string()))))
        });
        planned.await.cloned()
    }

    /// A session over this set.
    pub(crate) fn session(self: &Arc<Self>, access: Access) -> SessionState {
        let catalog = Catalog::new(Arc::clone(self), access);
        let mut session = self.engine.session(Arc::new(catalog));
        functions::register(&mut session, self);
        session
    }

    /// The rows of a statement of our own, run with every right.
    pub(crate) async fn rows(
        self: &Arc<Self>,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Vec<RecordBatch>, DataFusionError> {
        Ok(self.counted_rows(sql, parameters).await?.0)
    }

    /// The same where they may be many, with what they take of the memory that queries have.
    pub(crate) async fn counted_rows(
        self: &Arc<Self>,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<(Vec<RecordBatch>, MemoryReservation), DataFusionError> {
        let session = self.session(Access::All);
        let mut plan = session.create_logical_plan(sql).await?;
        if !parameters.is_empty() {
            plan = plan.with_param_values(parameters)?;
        }
        let plan = plain::texts(session.create_physical_plan(&plan).await?)?;
        let memory = session.task_ctx().memory_pool().clone();
        let taken = MemoryConsumer::new("rows of a named answer").register(&memory);
        let mut rows = execute_stream(plan, session.task_ctx())?;
        let mut batches = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            taken.try_grow(bytes_of(&batch))?;
            batches.push(batch);
        }
        Ok((batches, taken))
    }

    /// An error of the engine as ours.
    pub(crate) fn error(&self, error: &DataFusionError) -> QueryError {
        QueryError::from_engine(error, self.engine.memory_limit())
    }

    /// What makes sessions.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The memory that all queries together may have, in bytes.
    pub(crate) fn memory_limit(&self) -> usize {
        self.engine.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use futures::stream::BoxStream;
    use object_store::ObjectStore;
    use object_store::path::Path;
    use plimsoll_ingest::delta;

    use super::*;
    use crate::engine::WarehouseOptions;

    /// Local files of which one schema is for others.
    #[derive(Debug)]
    struct Restricted(Arc<dyn ObjectStore>);

    impl std::fmt::Display for Restricted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("restricted")
        }
    }

    fn allowed(path: &Path) -> object_store::Result<()> {
        if path.as_ref().contains("/raw/") {
            return Err(object_store::Error::PermissionDenied {
                path: path.to_string(),
                source: "403".into(),
            });
        }
        Ok(())
    }

    #[async_trait::async_trait]
    impl ObjectStore for Restricted {
        async fn get_opts(
            &self,
            path: &Path,
            options: object_store::GetOptions,
        ) -> object_store::Result<object_store::GetResult> {
            allowed(path)?;
            self.0.get_opts(path, options).await
        }

        fn list(
            &self,
            prefix: Option<&Path>,
        ) -> BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
            match allowed(prefix.unwrap_or(&Path::default())) {
                Ok(()) => self.0.list(prefix),
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            }
        }

        async fn list_with_delimiter(
            &self,
            prefix: Option<&Path>,
        ) -> object_store::Result<object_store::ListResult> {
            allowed(prefix.unwrap_or(&Path::default()))?;
            self.0.list_with_delimiter(prefix).await
        }

        async fn put_opts(
            &self,
            path: &Path,
            _: object_store::PutPayload,
            _: object_store::PutOptions,
        ) -> object_store::Result<object_store::PutResult> {
            panic!("readers do not write {path}")
        }

        async fn put_multipart_opts(
            &self,
            path: &Path,
            _: object_store::PutMultipartOptions,
        ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
            panic!("readers do not write {path}")
        }

        fn delete_stream(
            &self,
            _: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            panic!("readers do not delete")
        }

        async fn copy_opts(
            &self,
            from: &Path,
            _: &Path,
            _: object_store::CopyOptions,
        ) -> object_store::Result<()> {
            panic!("readers do not copy {from}")
        }
    }

    /// A bucket's policy may give a user the schema `reports` alone.
    #[tokio::test]
    async fn who_may_read_one_schema_reads_that_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let location = WarehouseLocation::parse(&path).expect("a path");
        let store = WarehouseStore::connect(&location).expect("local files");
        delta::create_missing(&store).await.expect("made");
        let restricted = Arc::new(Restricted(Arc::clone(store.objects())));
        let store = WarehouseStore::over(&location, restricted);
        let engine = Engine::new(&store, &WarehouseOptions::default()).expect("an engine");
        let snapshots = Snapshots::unopened(&store, &Arc::new(engine)).await;
        let newest = snapshots.expect("a set").newest().await;
        let newest = Arc::new(newest.expect("what may not be read stops nothing"));
        let rows = newest.rows("SELECT count(*) FROM stages", Vec::new()).await;
        assert_eq!(rows.expect("an answer").len(), 1);
        let again = newest.newest().await.expect("nor the next set");
        assert!(again.is_same_as(&newest), "what was answered stays good");
        let denied = newest.snapshot(Table::Requests).await;
        assert!(
            matches!(denied, Err(OpenError::Denied { .. })),
            "{denied:?}"
        );
    }

    /// A run's facts are there before its row in `runs`: read the other way round, a run that is
    /// published in between would be visible without its facts.
    #[tokio::test]
    async fn runs_are_read_before_facts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("warehouse").display().to_string();
        let location = WarehouseLocation::parse(&path).expect("a path");
        let store = WarehouseStore::connect(&location).expect("local files");
        for table in [Table::Ticks, Table::Runs] {
            delta::open_or_create(&store, table).await.expect("a table");
        }
        let log = location
            .local_folder()
            .expect("local files")
            .join(Table::Runs.path())
            .join("_delta_log");
        std::fs::write(log.join("00000000000000000001.json"), "no commit").expect("a file");
        let engine = Engine::new(&store, &WarehouseOptions::default()).expect("an engine");
        let snapshots = Snapshots::unopened(&store, &Arc::new(engine)).await;
        let snapshots = snapshots.expect("a set");
        let read = snapshots.table(Table::Ticks).await;
        assert!(read.is_err(), "nobody can tell what is visible");
        assert!(
            snapshots.tables[&Table::Ticks].get().is_none(),
            "facts wait for what is visible"
        );
    }
}
