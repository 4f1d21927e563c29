//! The logs of tables as the Delta library reads them.

use std::num::NonZero;
use std::sync::Arc;

use async_trait::async_trait;
use buoyant_kernel_engine::DefaultEngineBuilder;
use buoyant_kernel_engine::executor::TaskExecutor;
use buoyant_kernel_engine::executor::tokio::{TokioBackgroundExecutor, TokioMultiThreadExecutor};
use bytes::Bytes;
use delta_kernel::{Engine, EvaluationHandler, JsonHandler, ParquetHandler, StorageHandler};
use deltalake_core::DeltaResult;
use deltalake_core::kernel::Version;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{
    CommitOrBytes, LogStore, LogStoreConfig, LogStoreRef, ObjectStoreRef, StorageConfig,
    default_logstore,
};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use tokio::runtime::{Handle, RuntimeFlavor};
use url::Url;
use uuid::Uuid;

/// Commits of one log that are read at once.
const COMMITS_AT_ONCE: NonZero<usize> = NonZero::new(32).expect("more than 0");

/// So many lines of a commit are taken apart at once; most have ten.
const LINES_AT_ONCE: NonZero<usize> = NonZero::new(100).expect("more than 0");

/// A log, and the files of its table.
///
/// As the library's own, but for how commits are read: that would read a thousand at once, and take
/// the memory of a thousand lines for each of them, which is 2 MB.
pub(super) struct TableLog {
    inner: LogStoreRef,
    /// Rooted at the bucket.
    objects: ObjectStoreRef,
}

impl TableLog {
    /// The log of the table at `url`, whose place in `objects` is `prefix`.
    pub(super) fn new(objects: &ObjectStoreRef, prefix: Path, url: &Url) -> Self {
        let files: ObjectStoreRef = Arc::new(PrefixStore::new(objects.clone(), prefix));
        Self {
            inner: default_logstore(files, objects.clone(), url, &StorageConfig::default()),
            objects: objects.clone(),
        }
    }
}

#[async_trait]
impl LogStore for TableLog {
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn read_commit_entry(&self, version: Version) -> DeltaResult<Option<Bytes>> {
        self.inner.read_commit_entry(version).await
    }

    async fn write_commit_entry(
        &self,
        version: Version,
        commit: CommitOrBytes,
        operation: Uuid,
    ) -> Result<(), TransactionError> {
        self.inner
            .write_commit_entry(version, commit, operation)
            .await
    }

    async fn abort_commit_entry(
        &self,
        version: Version,
        commit: CommitOrBytes,
        operation: Uuid,
    ) -> Result<(), TransactionError> {
        self.inner
            .abort_commit_entry(version, commit, operation)
            .await
    }

    async fn get_latest_version(&self, start: Version) -> DeltaResult<Version> {
        self.inner.get_latest_version(start).await
    }

    fn object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.inner.object_store(operation)
    }

    fn root_object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.inner.root_object_store(operation)
    }

    fn engine(&self, _: Option<Uuid>) -> Arc<dyn Engine> {
        Arc::new(LogEngine::new(&self.objects))
    }

    fn config(&self) -> &LogStoreConfig {
        self.inner.config()
    }
}

/// Reads commits in small parts, and checkpoints in large ones.
struct LogEngine {
    commits: Arc<dyn JsonHandler>,
    all: Arc<dyn Engine>,
}

impl LogEngine {
    fn new(objects: &ObjectStoreRef) -> Self {
        let runtime = Handle::current();
        // One thread cannot both wait for what is read and read it.
        match runtime.runtime_flavor() {
            RuntimeFlavor::CurrentThread => Self::on(objects, TokioBackgroundExecutor::new()),
            _ => Self::on(objects, TokioMultiThreadExecutor::new(runtime)),
        }
    }

    fn on<E: TaskExecutor>(objects: &ObjectStoreRef, executor: E) -> Self {
        let executor = Arc::new(executor);
        let engine =
            || DefaultEngineBuilder::new(objects.clone()).with_task_executor(Arc::clone(&executor));
        let commits = engine()
            .with_buffer_size(COMMITS_AT_ONCE)
            .with_batch_size(LINES_AT_ONCE)
            .build();
        Self {
            commits: commits.json_handler(),
            all: Arc::new(engine().build()),
        }
    }
}

impl Engine for LogEngine {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        self.all.evaluation_handler()
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        self.all.storage_handler()
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        Arc::clone(&self.commits)
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        self.all.parquet_handler()
    }
}
