//! A folder with a warehouse, filled as runs are: by spool and publication.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use plimsoll_ingest::publish::publish;
use plimsoll_ingest::spool::{Manifest, Spool};
use plimsoll_ingest::{
    EnvelopeRow, RunId, RunRow, StageRow, Table, TableRow, Timestamp, WarehouseLocation,
    WarehouseStore,
};
use plimsoll_warehouse::{Warehouse, WarehouseOptions};
use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder that holds a warehouse, or will.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// A folder without a warehouse.
    pub(crate) fn empty() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
        }
    }

    /// A folder with these runs, each with two stages.
    pub(crate) async fn with(runs: &[RunRow]) -> Self {
        let place = Self::empty();
        for run in runs {
            place.publish(run).await;
        }
        place
    }

    pub(crate) fn warehouse_folder(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }

    fn location(&self) -> WarehouseLocation {
        let folder = self.warehouse_folder();
        WarehouseLocation::parse(folder.to_str().expect("text")).expect("a place")
    }

    /// Publishes a run with two stages and an envelope.
    pub(crate) async fn publish(&self, run: &RunRow) {
        let root = self.folder.path().join("spool");
        let mut spool = Spool::create(&root, manifest(run.run_id)).expect("a spool");
        let stages = [stage(run.run_id, 0, 4.0), stage(run.run_id, 1, 8.0)];
        let finals = [
            (Table::Stages, StageRow::to_batch(&stages).expect("stages")),
            (
                Table::Envelopes,
                EnvelopeRow::to_batch(&[envelope(run)]).expect("envelope"),
            ),
            (
                Table::Runs,
                RunRow::to_batch(std::slice::from_ref(run)).expect("run"),
            ),
        ];
        spool.seal(&finals).expect("sealed");
        let store = WarehouseStore::connect(&self.location()).expect("local files");
        publish(spool, &store).await.expect("published");
    }

    pub(crate) async fn open(&self) -> Arc<Warehouse> {
        self.open_with(WarehouseOptions::default()).await
    }

    pub(crate) async fn open_with(&self, options: WarehouseOptions) -> Arc<Warehouse> {
        Arc::new(
            Warehouse::open(&self.location(), options)
                .await
                .expect("a warehouse"),
        )
    }

    /// Puts another row into the file of the only run, as a tool that knows no contract might.
    pub(crate) fn rewrite_run(&self, row: &RunRow) {
        let folder = self.warehouse_folder().join("reports/runs");
        let log = folder.join("_delta_log");
        let commit = commit(&log, commits(&log) - 1);
        let text = std::fs::read_to_string(&commit).expect("a commit");
        let actions = text.lines().map(|line| {
            let mut action: Value = serde_json::from_str(line).expect("JSON");
            if let Some(add) = action.get_mut("add") {
                let file = folder.join(add["path"].as_str().expect("a path"));
                let batch = RunRow::to_batch(std::slice::from_ref(row)).expect("a row");
                let mut bytes = Vec::new();
                let mut writer =
                    ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
                writer.write(&batch).expect("written");
                writer.close().expect("closed");
                add["size"] = bytes.len().into();
                std::fs::write(file, bytes).expect("a file");
            }
            action.to_string()
        });
        let rewritten: Vec<_> = actions.collect();
        std::fs::write(&commit, rewritten.join("\n")).expect("a commit");
    }

    /// Makes the table of runs unreadable.
    pub(crate) fn break_runs(&self) {
        let log = self.warehouse_folder().join("reports/runs/_delta_log");
        std::fs::create_dir_all(&log).expect("a folder");
        std::fs::write(commit(&log, commits(&log)), "this is no commit\n").expect("a file");
    }

    /// Takes back [`Place::break_runs`].
    pub(crate) fn mend_runs(&self) {
        let log = self.warehouse_folder().join("reports/runs/_delta_log");
        std::fs::remove_file(commit(&log, commits(&log) - 1)).expect("removed");
    }
}

fn commits(log: &Path) -> usize {
    let entries = std::fs::read_dir(log).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".json"))
        .count()
}

fn commit(log: &Path, number: usize) -> PathBuf {
    log.join(format!("{number:020}.json"))
}

/// The moment `minute` minutes into a day of 2026.
pub(crate) fn at(minute: i64) -> Timestamp {
    Timestamp::from_micros(1_772_000_000_000_000 + minute * 60_000_000)
}

/// An id whose random bits are all `fill`.
pub(crate) fn id(minute: i64, fill: u8) -> RunId {
    RunId::from_digest(at(minute), [fill; 10])
}

/// A step run that began `minute` minutes into the day and passed.
pub(crate) fn run(minute: i64, fill: u8, model: &str) -> RunRow {
    RunRow {
        pillar: "performance".to_string(),
        suite: "step".to_string(),
        profile: Some("step".to_string()),
        model: model.to_string(),
        endpoint: "http://gpu7:8000/v1".to_string(),
        envelope_id: "e1".to_string(),
        comparable_key: "c1".to_string(),
        config: r#"{"slo":"ttft_p99=500ms,error_rate=1%","seed":7,"limit_finding":true}"#
            .to_string(),
        labels: r#"{"team":"inference"}"#.to_string(),
        triggered_by: "ada".to_string(),
        trigger: "manual".to_string(),
        verdict: "passed".to_string(),
        verdict_reasons: r#"[{"rule":"error_rate","measured":"0 %","required":"1 %","met":true}]"#
            .to_string(),
        finished_at: at(minute + 1),
        headline_stage: Some(1),
        peak_goodput_rps: Some(8.0),
        plimsoll_version: "0.1.0".to_string(),
        ..RunRow::blank(id(minute, fill), at(minute))
    }
}

fn stage(run: RunId, number: i64, offered: f64) -> StageRow {
    StageRow {
        name: format!("{offered} req/s"),
        phase: "steady".to_string(),
        offered_rps: Some(offered),
        duration_ns: 10_000_000_000,
        sent: 40,
        ok: 40,
        good: 40,
        throughput_rps: offered,
        goodput_rps: offered,
        ttft_ns_p50: Some(98_000_000),
        ttft_ns_p99: Some(140_000_000),
        e2e_ns_p50: Some(700_000_000),
        achieved_ratio: Some(1.0),
        valid: true,
        ..StageRow::blank(run, number)
    }
}

fn envelope(run: &RunRow) -> EnvelopeRow {
    EnvelopeRow {
        envelope_id: run.envelope_id.clone(),
        engine: Some("vllm".to_string()),
        plimsoll_version: run.plimsoll_version.clone(),
        ..EnvelopeRow::blank(run.run_id)
    }
}

fn manifest(run_id: RunId) -> Manifest {
    Manifest::new(run_id, "", "0.1.0")
}
