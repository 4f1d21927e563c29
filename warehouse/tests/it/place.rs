//! Small warehouses in temporary folders.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use deltalake_core::DeltaTable;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use plimsoll_ingest::{
    ColumnKind, EnvelopeRow, RequestRow, RunId, RunRow, StageRow, TableRow, TickRow, Timestamp,
    Verdict, WarehouseLocation, WarehouseStore, delta,
};
use plimsoll_warehouse::{
    Access, Format, QueryError, QueryLimits, Warehouse, WarehouseOptions, format,
};
use serde_json::Value;

/// A folder that goes when this is dropped.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) location: WarehouseLocation,
}

impl Place {
    /// A folder in which no warehouse is yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("warehouse");
        let location = WarehouseLocation::parse(&path.display().to_string()).expect("a path");
        Self { folder, location }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What holds the warehouse.
    pub(crate) fn store(&self) -> WarehouseStore {
        WarehouseStore::connect(&self.location).expect("local files")
    }

    /// The warehouse's folder.
    pub(crate) fn warehouse(&self) -> &Path {
        self.location.local_folder().expect("local files")
    }

    /// Appends rows as one file (one for each date), in one commit.
    pub(crate) async fn append<R: TableRow>(&self, rows: &[R]) {
        let table = delta::open_or_create(&self.store(), R::TABLE)
            .await
            .expect("a table");
        append_batch(table, R::to_batch(rows).expect("a batch")).await;
    }

    pub(crate) async fn open(&self) -> Warehouse {
        open(
            &self.location,
            WarehouseOptions {
                threads: 2,
                ..Default::default()
            },
        )
        .await
    }
}

pub(crate) async fn append_batch(mut table: DeltaTable, batch: RecordBatch) {
    let mut writer = RecordBatchWriter::for_table(&table).expect("a writer");
    writer.write(batch).await.expect("rows that fit");
    writer.flush_and_commit(&mut table).await.expect("a commit");
}

pub(crate) async fn open(location: &WarehouseLocation, options: WarehouseOptions) -> Warehouse {
    Warehouse::open(location, options)
        .await
        .expect("an open warehouse")
}

pub(crate) const EVERYTHING: QueryLimits = QueryLimits {
    timeout: std::time::Duration::from_secs(60),
    max_rows: None,
    access: Access::All,
};

/// The answer as CSV, without the header.
pub(crate) async fn answer(warehouse: &Warehouse, sql: &str) -> String {
    let text = ask(warehouse, sql, &[], &EVERYTHING)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    text.split_once('\n')
        .map(|(_, rows)| rows.trim_end().to_string())
        .unwrap_or_default()
}

/// The answer as CSV, or why there is none.
pub(crate) async fn ask(
    warehouse: &Warehouse,
    sql: &str,
    parameters: &[Value],
    limits: &QueryLimits,
) -> Result<String, QueryError> {
    let mut result = warehouse.query(sql, parameters, limits).await?;
    let mut bytes = Vec::new();
    match format::write(&mut result, Format::Csv, &mut bytes).await {
        Ok(_) => Ok(String::from_utf8(bytes).expect("CSV is text")),
        Err(format::FormatError::Query(error)) => Err(error),
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// Why there is no answer.
pub(crate) async fn failure(warehouse: &Warehouse, sql: &str) -> QueryError {
    match ask(warehouse, sql, &[], &EVERYTHING).await {
        Ok(answer) => panic!("{sql} answers {answer}"),
        Err(error) => error,
    }
}

/// Noon of a day in January 2026, plus minutes.
pub(crate) fn at(day: i64, minute: i64) -> Timestamp {
    const FIRST_NOON_S: i64 = 1_767_268_800;
    Timestamp::from_micros((FIRST_NOON_S + (day - 1) * 86_400 + minute * 60) * 1_000_000)
}

/// An id whose random part is all `fill`.
pub(crate) fn id(started_at: Timestamp, fill: u8) -> RunId {
    RunId::from_digest(started_at, [fill; 10])
}

/// A row in which every column is null, or zero or empty where null is not allowed.
pub(crate) fn blank<R: TableRow>(run: RunId) -> R {
    let columns = R::COLUMNS.iter().map(|column| -> ArrayRef {
        if column.nullable {
            return new_null_array(&column.kind.data_type(), 1);
        }
        match (column.name, column.kind) {
            ("run_id", _) => Arc::new(StringArray::from(vec![run.to_string()])),
            ("run_key", _) => Arc::new(Int64Array::from(vec![run.run_key()])),
            (_, ColumnKind::Date) => Arc::new(Date32Array::from(vec![run.date().days()])),
            (_, ColumnKind::Utf8) => Arc::new(StringArray::from(vec![""])),
            (_, ColumnKind::Int64) => Arc::new(Int64Array::from(vec![0])),
            (_, ColumnKind::Float64) => Arc::new(Float64Array::from(vec![0.0])),
            (_, ColumnKind::Boolean) => Arc::new(BooleanArray::from(vec![false])),
            (_, ColumnKind::Timestamp) => {
                let start = run.created_at().micros();
                Arc::new(TimestampMicrosecondArray::from(vec![start]).with_timezone("UTC"))
            }
            (name, kind) => panic!("no blank for {name}, {kind:?}"),
        }
    });
    let batch = RecordBatch::try_new(R::TABLE.arrow_schema(), columns.collect()).expect("a row");
    R::from_batch(&batch).expect("a row").remove(0)
}

/// A performance run of `model` that passed.
pub(crate) fn run(run: RunId, model: &str) -> RunRow {
    RunRow {
        pillar: "performance".into(),
        suite: "step".into(),
        profile: Some("step".into()),
        model: model.into(),
        envelope_id: "envelope".into(),
        comparable_key: "key".into(),
        verdict: Verdict::Passed.to_string(),
        ..RunRow::blank(run, run.created_at())
    }
}

pub(crate) fn envelope(run: RunId) -> EnvelopeRow {
    EnvelopeRow {
        json: "{}".into(),
        ..blank(run)
    }
}

pub(crate) fn stage(run: RunId, stage: i64, phase: &str) -> StageRow {
    StageRow {
        stage,
        name: format!("stage {stage}"),
        phase: phase.into(),
        valid: true,
        ..blank(run)
    }
}

pub(crate) fn tick(run: RunId, second: i64) -> TickRow {
    TickRow {
        at_ns: second * 1_000_000_000,
        completed: second,
        ..blank(run)
    }
}

/// As many ticks, a second apart.
pub(crate) fn ticks(run: RunId, count: i64) -> Vec<TickRow> {
    let first = tick(run, 0);
    let nth = |n| TickRow {
        at_ns: n * 1_000_000_000,
        completed: n,
        ..first.clone()
    };
    (0..count).map(nth).collect()
}

pub(crate) fn request(run: RunId, request_id: i64) -> RequestRow {
    RequestRow {
        request_id,
        phase: "steady".into(),
        status: "ok".into(),
        timestamp_source: "kernel".into(),
        scheduled_ns: request_id * 1_000,
        sent_ns: request_id * 1_000,
        first_token_ns: Some(request_id * 1_001_000 + 1_000_000),
        last_token_ns: Some(request_id * 1_001_000 + 1_000_000),
        done_ns: request_id * 1_001_000 + 1_000_000,
        ttft_ns: Some((request_id + 1) * 1_000_000),
        e2e_ns: (request_id + 1) * 1_000_000,
        ..blank(run)
    }
}
