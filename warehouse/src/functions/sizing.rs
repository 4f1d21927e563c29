//! `sizing(model, demand_rps)`: how many replicas carry a demand.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::ColumnKind::{Boolean, Float64, Int64, Timestamp, Utf8};

use super::{Call, Column, Definition};
use crate::snapshots::Snapshots;

const SQL: &str = include_str!("sizing.sql");

/// The function.
pub(super) const DEFINITION: Definition = Definition {
    name: "sizing",
    takes: "a model, as a text, and the demand in requests a second, a number greater than 0",
    columns: COLUMNS,
    call: |arguments| {
        let [model, demand] = arguments else {
            return None;
        };
        let model = model.try_as_str().flatten()?.to_string();
        let demand = demand.cast_to(&DataType::Float64).ok()?;
        let ScalarValue::Float64(Some(demand_rps)) = demand else {
            return None;
        };
        let needed = demand_rps.is_finite() && demand_rps > 0.0;
        needed.then(|| Arc::new(Sizing { model, demand_rps }) as Arc<dyn Call>)
    },
};

/// The columns of [`SQL`], with their meaning.
const COLUMNS: &[Column] = &[
    ("gpu_sku", Utf8, "GPU model; null where unknown."),
    (
        "gpu_count",
        Int64,
        "GPUs of one replica; null where unknown.",
    ),
    (
        "endpoint",
        Utf8,
        "Where it was served; null where the hardware is known.",
    ),
    ("workload", Utf8, "The workload in words."),
    ("slo", Utf8, "The SLO that the rate holds for."),
    (
        "demand_rps",
        Float64,
        "Requests a second that are needed, as asked.",
    ),
    (
        "basis",
        Utf8,
        "sustainable or peak: what the rate is; null where none is known.",
    ),
    (
        "rate_rps",
        Float64,
        "Requests a second that one replica is counted with; null where none is known.",
    ),
    (
        "replicas",
        Int64,
        "Replicas that carry the demand; null where no rate is known.",
    ),
    (
        "replicas_with_reserve",
        Int64,
        "One more, for the loss of one.",
    ),
    (
        "gpus_with_reserve",
        Int64,
        "GPUs of all those replicas; null where unknown.",
    ),
    (
        "headroom_pct",
        Float64,
        "By how much all replicas exceed the demand, in per cent.",
    ),
    (
        "headroom_after_loss_pct",
        Float64,
        "The same once one replica is lost.",
    ),
    (
        "measured_at",
        Timestamp,
        "Start of the run that the rate comes from; null where no limit was looked for.",
    ),
    (
        "stale",
        Boolean,
        "Whether something changed since, or a figure is older than 30 days.",
    ),
    (
        "run_id",
        Utf8,
        "The run that the rate comes from; null where no limit was looked for.",
    ),
];

/// The function with its arguments.
#[derive(Debug)]
struct Sizing {
    model: String,
    demand_rps: f64,
}

#[async_trait]
impl Call for Sizing {
    async fn rows(&self, snapshots: &Arc<Snapshots>) -> Result<Vec<RecordBatch>> {
        let model = ScalarValue::from(self.model.as_str());
        let demand = ScalarValue::Float64(Some(self.demand_rps));
        snapshots.rows(SQL, vec![model, demand]).await
    }
}
