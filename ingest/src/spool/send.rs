//! What the spool knows of a request between its send and its end.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

/// A request that was sent: one row, written when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendRow {
    /// Number of the request in schedule order.
    pub request_id: i64,
    /// The stage.
    pub stage: i64,
    /// When it was due, in ns since the run's start.
    pub scheduled_ns: i64,
    /// When it was sent, in ns since the run's start.
    pub sent_ns: i64,
}

const COLUMNS: [&str; 4] = ["request_id", "stage", "scheduled_ns", "sent_ns"];

impl SendRow {
    fn schema() -> SchemaRef {
        let fields = COLUMNS.map(|name| Field::new(name, DataType::Int64, false));
        Arc::new(Schema::new(fields.to_vec()))
    }

    /// The rows as one batch.
    ///
    /// # Errors
    /// None in practice: the columns are of one length.
    pub fn to_batch(rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let column = |of: fn(&Self) -> i64| -> Arc<Int64Array> {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
        };
        RecordBatch::try_new(
            Self::schema(),
            vec![
                column(|row| row.request_id),
                column(|row| row.stage),
                column(|row| row.scheduled_ns),
                column(|row| row.sent_ns),
            ],
        )
    }

    /// The rows of a batch; `None` where it holds other columns.
    pub fn from_batch(batch: &RecordBatch) -> Option<Vec<Self>> {
        let mut columns = Vec::with_capacity(COLUMNS.len());
        for name in COLUMNS {
            columns.push(
                batch
                    .column_by_name(name)?
                    .as_primitive_opt::<Int64Type>()?
                    .values(),
            );
        }
        let rows = (0..batch.num_rows()).map(|row| Self {
            request_id: columns[0][row],
            stage: columns[1][row],
            scheduled_ns: columns[2][row],
            sent_ns: columns[3][row],
        });
        Some(rows.collect())
    }
}
