//! A simulator, a warehouse and a spool for one test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use plimsoll_executor::load::abort::AbortRules;
use plimsoll_executor::load::profile::{Overrides, Profile};
use plimsoll_executor::load::stamped::Stamping;
use plimsoll_executor::performance::{
    Endpoint, JobError, JobOutcome, JobRequest, Origin, PerformanceSuite, Progress, StopSignal,
    Target, run_job,
};
use plimsoll_executor::simulate::{Simulator, SimulatorConfig};
use plimsoll_ingest::delta::open_table;
use plimsoll_ingest::{Date, TableRow, Trigger, WarehouseLocation, WarehouseStore};
use tokio::sync::watch;

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) warehouse: WarehouseLocation,
    pub(crate) spool: PathBuf,
    pub(crate) stop: StopSignal,
    pub(crate) progress: watch::Sender<Progress>,
}

/// A simulator of two slots that answers soon.
pub(crate) fn config() -> SimulatorConfig {
    let mut config = SimulatorConfig::new(NonZeroU32::new(2).expect("two"));
    config.model = "sim".to_string();
    config.ttft = Duration::from_millis(5);
    config.itl = Duration::from_millis(1);
    config.prompt_token = Duration::ZERO;
    config
}

/// Serves on a thread of its own until the test's process ends.
pub(crate) fn serve(config: SimulatorConfig) -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("runtime").block_on(async {
            let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
            let simulator = Simulator::bind(config, any_port).await.expect("bind");
            sender.send(simulator.local_addr()).expect("the test waits");
            simulator.run(std::future::pending()).await.expect("serve");
        });
    });
    receiver.recv().expect("the simulator listens")
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let warehouse = folder.path().join("warehouse").display().to_string();
        Self {
            warehouse: WarehouseLocation::parse(&warehouse).expect("path"),
            spool: folder.path().join("spool"),
            stop: StopSignal::default(),
            progress: watch::Sender::new(Progress::Probing),
            folder,
        }
    }

    pub(crate) fn job(&self, address: SocketAddr, profile: &str, set: &[&str]) -> JobRequest {
        let mut overrides = Overrides {
            seed: Some(7),
            ..Overrides::default()
        };
        for setting in set {
            overrides.others.push(setting.parse().expect("a setting"));
        }
        JobRequest {
            target: Target {
                endpoint: Endpoint::new(&format!("http://{address}/v1"), None).expect("a URL"),
                api_key_env: None,
                model: "sim".to_string(),
                revision: None,
                stamping: Stamping::Kernel,
            },
            origin: Origin {
                labels: BTreeMap::new(),
                triggered_by: "test".to_string(),
                trigger: Trigger::Manual,
                schedule_id: None,
                trace_id: None,
            },
            suites: vec![PerformanceSuite {
                profile: Profile::load(profile, &overrides, 1).expect("a profile"),
                slo: "error_rate=1%".parse().expect("an SLO"),
                abort: AbortRules::default(),
            }],
        }
    }

    pub(crate) async fn run(&self, job: JobRequest) -> Result<JobOutcome, JobError> {
        run_job(
            job,
            &self.warehouse,
            &self.spool,
            self.progress.clone(),
            self.stop.clone(),
        )
        .await
    }

    fn store(&self) -> WarehouseStore {
        WarehouseStore::connect(&self.warehouse).expect("local files")
    }

    /// Every row of a table, as a reader of its files would see it.
    pub(crate) async fn rows<R: TableRow>(&self) -> Vec<R> {
        let Some(delta) = open_table(&self.store(), R::TABLE).await.expect("open") else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        for file in delta.snapshot().expect("loaded").log_data().iter() {
            let path = self
                .warehouse
                .local_folder()
                .expect("local files")
                .join(R::TABLE.path())
                .join(file.path().as_ref());
            let file = std::fs::File::open(path).expect("a file of the table");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
            for batch in reader.build().expect("reader") {
                let batch = with_date(&batch.expect("batch"), R::TABLE.partitioned());
                rows.extend(R::from_batch(&batch).expect("rows"));
            }
        }
        rows
    }
}

/// Partitioned tables keep the day in the path; rows want it as a column.
fn with_date(batch: &arrow::array::RecordBatch, partitioned: bool) -> arrow::array::RecordBatch {
    if !partitioned {
        return batch.clone();
    }
    let days = vec![Date::from_days(0).days(); batch.num_rows()];
    let date: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Date32Array::from(days));
    let mut columns: Vec<(String, arrow::array::ArrayRef)> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    columns.push(("date".to_string(), date));
    arrow::array::RecordBatch::try_from_iter(columns).expect("batch")
}
