//! `saturation_curve(run)`: how a run behaves as its load grows.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType::{self, Boolean, Float64, Int64, Utf8};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use crate::resolve::resolve;
use crate::snapshots::Snapshots;

const SQL: &str = include_str!("saturation_curve.sql");

/// The columns of [`SQL`], with their meaning.
const COLUMNS: &[(&str, DataType, &str)] = &[
    ("stage", Int64, "Number of the stage, from 0."),
    ("name", Utf8, "Its name."),
    (
        "workload_class",
        Utf8,
        "Class of the workload; null where classes are mixed.",
    ),
    (
        "offered_rps",
        Float64,
        "Rate asked for, in requests a second; null in a closed loop.",
    ),
    (
        "concurrency",
        Int64,
        "Requests kept in flight; null in an open loop.",
    ),
    ("duration_ms", Float64, "Length of the stage's window."),
    (
        "throughput_rps",
        Float64,
        "Requests that ended ok inside the window, a second.",
    ),
    (
        "goodput_rps",
        Float64,
        "Good requests that ended inside the window, a second.",
    ),
    (
        "output_tokens_per_s",
        Float64,
        "Output tokens a second: throughput_rps times the mean output of ok requests; null where \
         none was ok.",
    ),
    ("ttft_p50_ms", Float64, "p50 of the time to first token."),
    ("ttft_p99_ms", Float64, "p99 of the time to first token."),
    (
        "tpot_p50_ms",
        Float64,
        "p50 of the time per output token, the first excluded.",
    ),
    (
        "tpot_p99_ms",
        Float64,
        "p99 of the time per output token, the first excluded.",
    ),
    ("itl_p50_ms", Float64, "p50 of the gap between chunks."),
    ("itl_p99_ms", Float64, "p99 of the gap between chunks."),
    ("e2e_p50_ms", Float64, "p50 of the end-to-end latency."),
    ("e2e_p99_ms", Float64, "p99 of the end-to-end latency."),
    ("sent", Int64, "Requests sent."),
    ("missed", Int64, "Arrivals that could not be sent."),
    ("ok", Int64, "Requests that ended ok."),
    (
        "good",
        Int64,
        "Requests that are ok, correct as far as checked, and within the SLO.",
    ),
    ("errors", Int64, "Requests that did not end ok."),
    (
        "error_rate",
        Float64,
        "errors over sent; null where none was sent.",
    ),
    (
        "slo_attainment",
        Float64,
        "good over sent; null where none was sent.",
    ),
    ("in_flight_max", Int64, "Most requests in flight at once."),
    (
        "achieved_ratio",
        Float64,
        "Share of the arrivals that were served without letting the backlog grow, 0 to 1; null in a \
         closed loop or where nothing was due.",
    ),
    (
        "backlog_slope",
        Float64,
        "Growth of the backlog, in requests a second; null in a closed loop.",
    ),
    (
        "schedule_lag_p99_ms",
        Float64,
        "p99 of how late the generator sent: after a request was due, in a closed loop after its slot \
         fell free; null where nothing was sent.",
    ),
    ("valid", Boolean, "Whether the generator kept its schedule."),
    ("run_id", Utf8, "The run."),
];

/// The function's schema: known before the run is, since calling it is
/// synchronous and finding the run reads storage.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |(name, kind, doc): &(&str, DataType, &str)| {
        let comment = [("comment".to_string(), (*doc).to_string())];
        Field::new(*name, kind.clone(), true).with_metadata(comment.into())
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
});

/// The function.
#[derive(Debug)]
pub(super) struct SaturationCurve {
    snapshots: Arc<Snapshots>,
}

impl SaturationCurve {
    /// The name in SQL.
    pub(super) const NAME: &'static str = "saturation_curve";

    /// The function over one set of snapshots.
    pub(super) fn new(snapshots: Arc<Snapshots>) -> Self {
        Self { snapshots }
    }
}

impl TableFunctionImpl for SaturationCurve {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let reference = match args.exprs() {
            [Expr::Literal(value, _)] => value.try_as_str().flatten().map(str::to_string),
            _ => None,
        };
        let Some(reference) = reference else {
            return plan_err!(
                "{} takes one run, as a text: its id, the last 6 or more characters of it, or \
                 'latest'",
                Self::NAME
            );
        };
        Ok(Arc::new(CurveOf {
            snapshots: Arc::clone(&self.snapshots),
            reference,
        }))
    }
}

/// The curve of one run, as a table.
#[derive(Debug)]
struct CurveOf {
    snapshots: Arc<Snapshots>,
    reference: String,
}

impl CurveOf {
    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        let run = resolve(&self.snapshots, &self.reference)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let key = ScalarValue::Int64(Some(run.run_key()));
        let batches = self.snapshots.rows(SQL, vec![key]).await?;
        batches
            .into_iter()
            .map(|batch| {
                Ok(RecordBatch::try_new(
                    self.schema(),
                    batch.columns().to_vec(),
                )?)
            })
            .collect()
    }
}

#[async_trait]
impl TableProvider for CurveOf {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // A run has a few dozen stages at most: they are read here, in order,
        // and handed on from memory.
        let rows = self.rows().await?;
        Ok(MemorySourceConfig::try_new_exec(
            &[rows],
            self.schema(),
            projection.cloned(),
        )?)
    }
}
