//! Rows of a statement of ours, as plain values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::Result;
use datafusion::scalar::ScalarValue;

use crate::snapshots::Snapshots;

/// The rows of a statement; columns by their number.
pub(super) struct Rows {
    columns: Vec<ArrayRef>,
    len: usize,
}

impl Rows {
    /// The rows of `sql`, all of them in memory.
    pub(super) async fn of(
        snapshots: &Arc<Snapshots>,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Self> {
        let batches = snapshots.rows(sql, parameters).await?;
        let Some(first) = batches.first() else {
            return Ok(Self {
                columns: Vec::new(),
                len: 0,
            });
        };
        let all: RecordBatch = concat_batches(&first.schema(), &batches)?;
        let plain = |column: &ArrayRef| -> Result<ArrayRef> {
            let to = match column.data_type() {
                DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
                DataType::Timestamp(_, _) => DataType::Int64,
                _ => return Ok(Arc::clone(column)),
            };
            Ok(cast(column, &to)?)
        };
        let columns = all.columns().iter().map(plain).collect::<Result<_>>()?;
        Ok(Self {
            columns,
            len: all.num_rows(),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A text; `None` where it is null.
    pub(super) fn text(&self, column: usize, row: usize) -> Option<&str> {
        let texts = self.columns[column].as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row))
    }

    /// A float; `None` where it is null.
    pub(super) fn float(&self, column: usize, row: usize) -> Option<f64> {
        let floats = self.columns[column].as_primitive::<Float64Type>();
        floats.is_valid(row).then(|| floats.value(row))
    }

    /// An integer, or a moment in us; `None` where it is null.
    pub(super) fn integer(&self, column: usize, row: usize) -> Option<i64> {
        let integers = self.columns[column].as_primitive::<Int64Type>();
        integers.is_valid(row).then(|| integers.value(row))
    }

    /// A flag; `None` where it is null.
    pub(super) fn flag(&self, column: usize, row: usize) -> Option<bool> {
        let flags = self.columns[column].as_boolean();
        flags.is_valid(row).then(|| flags.value(row))
    }
}
