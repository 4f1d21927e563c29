//! Files of rows as scans open them: small ones whole, and from memory where they were read before.
//!
//! A day of functional cases is a file of some kilobytes. A question of a year opens hundreds of
//! them, and on object storage each would cost a request for its footer and one for its columns.

use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use object_store::ObjectStore;
use object_store::path::Path;
use plimsoll_ingest::storage::{Keeping, KeptObjects};
use plimsoll_ingest::{StorageKind, WarehouseStore};

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

    /// Reads the small ones among files that a scan is about to open, many at once: the scan opens
    /// one after the other.
    pub(crate) async fn read_ahead(&self, files: &[PartitionedFile]) {
        if self.remote {
            self.kept.read_ahead(self.fitting(files)).await;
        }
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
        let chunks = "SELECT sum(request_id), count(at_ns[1]) FROM raw.chunks";
        assert_eq!(asked(chunks).await, RUNS);
        assert_eq!(asked(chunks).await, 0);
        let other = "SELECT max(run_id) FROM raw.chunks WHERE request_id = 0";
        assert_eq!(asked(other).await, 0, "other columns lie in the same files");
    }
}
