//! Files of rows as scans open them: small ones whole, and from memory where they were read before.
//!
//! A day of functional cases is a file of some kilobytes. A question of a year opens hundreds of
//! them, and on object storage each would cost a request for its footer and one for its columns.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaData;
use plimsoll_ingest::storage::{Keeping, KeptObjects};
use plimsoll_ingest::{StorageKind, WarehouseStore};
use tokio::sync::OnceCell;

use crate::store::ReadOnlyStore;

/// The largest file that is read whole: over a network it takes about as long as a part of it.
const SMALL: u64 = 256 << 10;

/// Whether a file is read whole.
pub(crate) fn is_small(file: &PartitionedFile) -> bool {
    file.object_meta.size <= SMALL
}

/// Opens files of rows, and keeps small ones.
#[derive(Debug)]
pub(crate) struct Files {
    small: CachedParquetFileReaderFactory,
    other: CachedParquetFileReaderFactory,
    kept: Arc<KeptObjects>,
    /// Whether each file is a request over a network.
    remote: bool,
    capacity: u64,
}

impl Files {
    /// The files of `storage`, of which `capacity` bytes are kept. What they say of themselves is
    /// kept by `environment`.
    pub(crate) fn of(storage: &WarehouseStore, environment: &RuntimeEnv, capacity: usize) -> Self {
        let open = |store: Arc<dyn ObjectStore>| {
            let footers = environment.cache_manager.get_file_metadata_cache();
            CachedParquetFileReaderFactory::new(Arc::new(ReadOnlyStore::new(store)), footers)
        };
        let capacity = capacity as u64;
        let keeping = Keeping {
            // No two files of rows ever have one name.
            settled: |_| true,
            largest: SMALL,
            capacity,
        };
        let kept = Arc::new(KeptObjects::over(Arc::clone(storage.objects()), keeping));
        Self {
            small: open(Arc::clone(&kept) as _),
            other: open(Arc::clone(storage.objects())),
            kept,
            remote: storage.location().kind() != StorageKind::Local,
            capacity,
        }
    }

    /// What opens the files of one scan.
    pub(crate) fn of_scan(
        self: &Arc<Self>,
        files: &[PartitionedFile],
    ) -> Arc<dyn ParquetFileReaderFactory> {
        if !self.remote {
            return Arc::clone(self) as _;
        }
        Arc::new(FilesOfScan {
            files: Arc::clone(self),
            ahead: Arc::new(Ahead {
                kept: Arc::clone(&self.kept),
                locations: self.fitting(files),
                read: OnceCell::new(),
            }),
        })
    }

    /// The small ones of some files, as many as there is room for beside others.
    fn fitting(&self, files: &[PartitionedFile]) -> Vec<Path> {
        let mut room = self.capacity / 2;
        let small = files.iter().filter(|file| is_small(file));
        let fitting = small.map_while(|file| {
            room = room.checked_sub(file.object_meta.size)?;
            Some(file.object_meta.location.clone())
        });
        fitting.collect()
    }
}

impl ParquetFileReaderFactory for Files {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_size: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let files = match is_small(&file) {
            true => &self.small,
            false => &self.other,
        };
        files.create_reader(partition, file, footer_size, metrics)
    }
}

/// The files of one scan over a network: whoever first reads from one has the small ones read, many
/// at once. The scan opens one after the other; a question that statistics answer opens none.
#[derive(Debug)]
struct FilesOfScan {
    files: Arc<Files>,
    ahead: Arc<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    kept: Arc<KeptObjects>,
    locations: Vec<Path>,
    read: OnceCell<()>,
}

impl Ahead {
    async fn read(&self) {
        let read = self.kept.read_ahead(&self.locations);
        self.read.get_or_init(|| read).await;
    }
}

impl ParquetFileReaderFactory for FilesOfScan {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_size: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let ahead = Arc::clone(&self.ahead);
        let files = &self.files;
        let reader = files.create_reader(partition, file, footer_size, metrics)?;
        Ok(Box::new(AfterAhead { ahead, reader }))
    }
}

/// A file that is read once the small ones of its scan were.
struct AfterAhead {
    ahead: Arc<Ahead>,
    reader: Box<dyn AsyncFileReader + Send>,
}

impl AsyncFileReader for AfterAhead {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            self.ahead.read().await;
            self.reader.get_bytes(range).await
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            self.ahead.read().await;
            self.reader.get_byte_ranges(ranges).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            self.ahead.read().await;
            self.reader.get_metadata(options).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use plimsoll_faulty_storage::Faulty;
    use plimsoll_ingest::publish::publish;
    use plimsoll_ingest::spool::{Manifest, Spool, Tag};
    use plimsoll_ingest::{
        ChunksRow, RunId, RunRow, Table, TableRow as _, Timestamp, Verdict, WarehouseLocation,
        WarehouseStore,
    };

    use crate::engine::{Engine, WarehouseOptions};
    use crate::snapshots::Snapshots;

    const RUNS: u64 = 6;

    /// A run with rows of `chunks`.
    async fn publish_run(store: &WarehouseStore, spools: &std::path::Path) {
        let run_id = RunId::new(Timestamp::now());
        let manifest = Manifest::new(run_id, "", "");
        let mut spool = Spool::create(spools, manifest).expect("a spool");
        let chunk = ChunksRow {
            run_id,
            run_key: run_id.run_key(),
            date: run_id.date(),
            request_id: 0,
            at_ns: vec![1, 2],
            tokens: None,
        };
        let chunks = ChunksRow::to_batch(&[chunk]).expect("rows");
        spool
            .append(Tag::Facts(Table::Chunks), &chunks)
            .expect("appended");
        let run = RunRow {
            suite: "smoke".to_string(),
            model: "m".to_string(),
            envelope_id: "e".to_string(),
            comparable_key: "k".to_string(),
            verdict: Verdict::Passed.to_string(),
            ..RunRow::blank(run_id, run_id.created_at())
        };
        let run = RunRow::to_batch(&[run]).expect("rows");
        spool.seal(&[(Table::Runs, run)]).expect("sealed");
        publish(spool, store).await.expect("published");
    }

    /// Over a network a small file is one request, by whoever reads it first.
    #[tokio::test]
    async fn a_small_file_is_asked_for_once() {
        let spools = tempfile::tempdir().expect("a folder");
        let location = WarehouseLocation::parse("s3://results/warehouse").expect("a place");
        let way = Faulty::healthy(Arc::new(InMemory::new()));
        let store = WarehouseStore::over(&location, way.clone());
        for _ in 0..RUNS {
            publish_run(&store, spools.path()).await;
        }
        let engine =
            Arc::new(Engine::new(&store, &WarehouseOptions::default()).expect("an engine"));
        let snapshots = Snapshots::unopened(&store, &engine).await.expect("a set");
        let snapshots = Arc::new(snapshots);
        snapshots.table(Table::Chunks).await.expect("opened");
        let asked = async |sql: &str| {
            let before = way.operations();
            let rows = snapshots.rows(sql, Vec::new()).await.expect("an answer");
            assert_eq!(rows[0].num_rows(), 1);
            way.operations() - before
        };
        let counted = "SELECT count(*), min(run_key) FROM raw.chunks";
        assert_eq!(asked(counted).await, 0, "the log says how many there are");
        let chunks = "SELECT sum(request_id), count(at_ns[1]) FROM raw.chunks";
        assert_eq!(asked(chunks).await, RUNS);
        assert_eq!(asked(chunks).await, 0);
        let other = "SELECT max(run_id) FROM raw.chunks WHERE request_id = 0";
        assert_eq!(asked(other).await, 0, "other columns lie in the same files");
    }
}
