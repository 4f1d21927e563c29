//! Spools to publish, and what a reader finds of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use plimsoll_ingest::delta::open_table;
use plimsoll_ingest::publish::{Published, publish};
use plimsoll_ingest::spool::{Manifest, Spool, Tag};
use plimsoll_ingest::{
    ChunksRow, JobId, JobRow, RunId, RunRow, StageRow, Table, TableRow as _, TaskId, Timestamp,
    Verdict, WarehouseLocation, WarehouseStore,
};

use plimsoll_faulty_storage::Faulty;

/// Requests of each run, and stages.
const REQUESTS: i64 = 40;
const STAGES: i64 = 2;

/// A run that waits in a spool.
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) run_id: RunId,
    pub(crate) task_id: TaskId,
    pub(crate) job_id: JobId,
}

impl Waiting {
    /// The only run of a task.
    pub(crate) fn new() -> Self {
        Self::of_task(TaskId::new(Timestamp::now()))
    }

    /// A run of a task that may have others.
    pub(crate) fn of_task(task_id: TaskId) -> Self {
        Self {
            run_id: RunId::new(Timestamp::now()),
            task_id,
            job_id: JobId::new(Timestamp::now()),
        }
    }

    /// Leaves its spool below `root`, sealed.
    pub(crate) fn spool(self, root: &Path) {
        let manifest = Manifest {
            job_id: Some(self.job_id),
            task_id: Some(self.task_id),
            ..Manifest::new(self.run_id, "", "")
        };
        let (run_id, at) = (self.run_id, self.run_id.created_at());
        let mut spool = Spool::create(root, manifest).expect("a spool");
        let chunks: Vec<_> = (0..REQUESTS)
            .map(|request_id| ChunksRow {
                run_id,
                run_key: run_id.run_key(),
                date: run_id.date(),
                request_id,
                at_ns: vec![1, 2],
                tokens: None,
            })
            .collect();
        let chunks = ChunksRow::to_batch(&chunks).expect("rows");
        spool
            .append(Tag::Facts(Table::Chunks), &chunks)
            .expect("appended");
        let stages: Vec<_> = (0..STAGES)
            .map(|stage| StageRow::blank(run_id, stage))
            .collect();
        let run = RunRow {
            task_id: Some(self.task_id.to_string()),
            job_id: Some(self.job_id.to_string()),
            verdict: Verdict::Passed.to_string(),
            suite: "smoke".to_string(),
            model: "m".to_string(),
            envelope_id: "e".to_string(),
            comparable_key: "k".to_string(),
            ..RunRow::blank(run_id, at)
        };
        let job = JobRow {
            job_id: self.job_id.to_string(),
            spec: "{}".to_string(),
            verdict: Verdict::Passed.to_string(),
            triggered_by: "test".to_string(),
            trigger: "manual".to_string(),
            schedule_id: None,
            change: None,
            labels: "{}".to_string(),
            queued_at: self.job_id.created_at(),
            started_at: None,
            finished_at: at,
            runs: 1,
        };
        let finals = [
            (Table::Stages, StageRow::to_batch(&stages).expect("rows")),
            (Table::Runs, RunRow::to_batch(&[run]).expect("rows")),
            (Table::Jobs, JobRow::to_batch(&[job]).expect("rows")),
        ];
        spool.seal(&finals).expect("sealed");
    }

    fn folder(self, root: &Path) -> std::path::PathBuf {
        root.join(self.run_id.to_string())
    }

    /// Tries to publish it; `None` where that failed, or its spool is gone.
    pub(crate) async fn publish(self, root: &Path, store: Arc<Faulty>) -> Option<Published> {
        let spool = Spool::take_over(&self.folder(root)).expect("readable")?;
        let store = WarehouseStore::over(&location(), store);
        publish(spool, &store).await.ok()
    }

    /// Whether its spool is there.
    pub(crate) fn waits(self, root: &Path) -> bool {
        self.folder(root).exists()
    }
}

pub(crate) fn location() -> WarehouseLocation {
    WarehouseLocation::parse("s3://results/warehouse").expect("a place")
}

/// What a reader sees: rows by run in each table, and the runs' verdicts.
pub(crate) struct Seen {
    pub(crate) verdicts: HashMap<String, Vec<String>>,
    pub(crate) tasks: HashMap<String, Vec<String>>,
    chunks: HashMap<String, Vec<i64>>,
    stages: HashMap<String, Vec<i64>>,
    pub(crate) jobs: HashMap<String, usize>,
}

impl Seen {
    /// Reads `runs` first and the facts after it, as readers do.
    pub(crate) async fn by_a_reader(inner: &Arc<InMemory>) -> Self {
        let store = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
        let runs = rows(&store, Table::Runs).await;
        let (mut verdicts, mut tasks) = (HashMap::new(), HashMap::new());
        for batch in &runs {
            for row in 0..batch.num_rows() {
                let word = |column: &str| batch[column].as_string::<i32>().value(row).to_string();
                let of_run: &mut Vec<_> = verdicts.entry(word("run_id")).or_default();
                of_run.push(word("verdict"));
                let of_task: &mut Vec<_> = tasks.entry(word("task_id")).or_default();
                of_task.push(word("verdict"));
            }
        }
        let mut jobs = HashMap::new();
        for batch in rows(&store, Table::Jobs).await {
            for job in batch["job_id"].as_string::<i32>().iter().flatten() {
                *jobs.entry(job.to_string()).or_default() += 1;
            }
        }
        Self {
            verdicts,
            tasks,
            chunks: by_run(&rows(&store, Table::Chunks).await, "request_id"),
            stages: by_run(&rows(&store, Table::Stages).await, "stage"),
            jobs,
        }
    }

    /// Holds that every visible run is there once and whole; says how many there are.
    pub(crate) fn whole_runs(&self) -> usize {
        for (run, verdicts) in &self.verdicts {
            assert_eq!(verdicts.len(), 1, "run {run} is visible {verdicts:?}");
            let chunks = self.chunks.get(run).map(Vec::as_slice);
            assert_eq!(
                chunks,
                Some(&(0..REQUESTS).collect::<Vec<_>>()[..]),
                "{run}"
            );
            let stages = self.stages.get(run).map(Vec::as_slice);
            assert_eq!(stages, Some(&(0..STAGES).collect::<Vec<_>>()[..]), "{run}");
        }
        for (job, times) in &self.jobs {
            assert_eq!(*times, 1, "job {job}");
        }
        for (task, verdicts) in &self.tasks {
            let completed = verdicts.iter().filter(|verdict| *verdict == "passed");
            assert!(completed.count() <= 1, "task {task} has {verdicts:?}");
        }
        self.verdicts.len()
    }

    /// Holds that a run is there, once and whole, and its job with it.
    pub(crate) fn holds(&self, waiting: Waiting) {
        let run = waiting.run_id.to_string();
        assert!(self.verdicts.contains_key(&run), "run {run} is missing");
        let job = waiting.job_id.to_string();
        assert_eq!(self.jobs.get(&job), Some(&1), "job {job}");
    }
}

fn by_run(batches: &[RecordBatch], column: &str) -> HashMap<String, Vec<i64>> {
    let mut by_run: HashMap<String, Vec<i64>> = HashMap::new();
    for batch in batches {
        let values = batch[column].as_primitive::<Int64Type>();
        for (run, value) in batch["run_id"].as_string::<i32>().iter().zip(values) {
            let (run, value) = (run.expect("never null"), value.expect("never null"));
            by_run.entry(run.to_string()).or_default().push(value);
        }
    }
    by_run
        .values_mut()
        .for_each(|values| values.sort_unstable());
    by_run
}

/// All rows of a table's active files.
pub(crate) async fn rows(store: &WarehouseStore, table: Table) -> Vec<RecordBatch> {
    let Some(delta) = open_table(store, table).await.expect("readable") else {
        return Vec::new();
    };
    let mut batches = Vec::new();
    for file in delta.snapshot().expect("loaded").log_data().iter() {
        let object = delta.object_store().get(&file.object_store_path()).await;
        let bytes = object
            .expect("a file of the log")
            .bytes()
            .await
            .expect("bytes");
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
        for batch in reader.build().expect("a reader") {
            batches.push(batch.expect("rows"));
        }
    }
    batches
}
