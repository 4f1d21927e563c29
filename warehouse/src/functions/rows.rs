//! Rows of a statement of ours, as plain values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::scalar::ScalarValue;

use crate::snapshots::Snapshots;

/// The rows of a statement; columns by their number.
pub(super) struct Rows {
    columns: Vec<ArrayRef>,
    names: Vec<String>,
    len: usize,
    /// What they take of the memory that queries have.
    taken: Option<MemoryReservation>,
}

impl Rows {
    /// The rows of `sql`, all of them in memory.
    pub(super) async fn of(
        snapshots: &Arc<Snapshots>,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Self> {
        let (batches, taken) = snapshots.counted_rows(sql, parameters).await?;
        let Some(first) = batches.first() else {
            return Ok(Self {
                columns: Vec::new(),
                names: Vec::new(),
                len: 0,
                taken: None,
            });
        };
        // They are there twice while they are put together.
        let size = taken.size();
        taken.try_grow(size)?;
        let all: RecordBatch = concat_batches(&first.schema(), &batches)?;
        drop(batches);
        taken.shrink(size);
        let plain = |column: &ArrayRef| -> Result<ArrayRef> {
            let to = match column.data_type() {
                DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
                DataType::Timestamp(_, _) => DataType::Int64,
                _ => return Ok(Arc::clone(column)),
            };
            Ok(cast(column, &to)?)
        };
        let columns = all.columns().iter().map(plain).collect::<Result<_>>()?;
        let schema = all.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        Ok(Self {
            columns,
            names: names.collect(),
            len: all.num_rows(),
            taken: Some(taken),
        })
    }

    /// Counts what is kept of each row for as long as `counted` lives.
    pub(super) fn count(
        &self,
        row_bytes: usize,
        counted: &mut Option<MemoryReservation>,
    ) -> Result<()> {
        let Some(taken) = &self.taken else {
            return Ok(());
        };
        let counted = counted.get_or_insert_with(|| taken.new_empty());
        counted.try_grow(self.len * row_bytes)
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

    /// A text of a column that is never null.
    pub(super) fn required_text(&self, column: usize, row: usize) -> Result<&str> {
        self.required(column, self.text(column, row))
    }

    /// An integer, or a moment in us, of a column that is never null.
    pub(super) fn required_integer(&self, column: usize, row: usize) -> Result<i64> {
        self.required(column, self.integer(column, row))
    }

    /// A flag of a column that is never null.
    pub(super) fn required_flag(&self, column: usize, row: usize) -> Result<bool> {
        self.required(column, self.flag(column, row))
    }

    fn required<T>(&self, column: usize, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| {
            let name = &self.names[column];
            exec_datafusion_err!(
                "{name} is null, which it never is in rows that Plimsoll wrote: \
                 another tool wrote this one"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_null_that_another_tool_wrote_is_an_error() {
        let rows = Rows {
            columns: vec![
                Arc::new(StringArray::from(vec![None, Some("m")])),
                Arc::new(Int64Array::from(vec![None, Some(7)])),
            ],
            names: vec!["model".to_string(), "run_key".to_string()],
            len: 2,
            taken: None,
        };
        assert_eq!(rows.required_text(0, 1).ok(), Some("m"));
        assert_eq!(rows.required_integer(1, 1).ok(), Some(7));
        let nulls = [
            rows.required_text(0, 0).err(),
            rows.required_integer(1, 0).err(),
        ];
        for (error, column) in nulls.into_iter().zip(["model", "run_key"]) {
            let error = error.expect("a null is no value").to_string();
            assert!(error.contains(&format!("{column} is null")), "{error}");
        }
    }
}
