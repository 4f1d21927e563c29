//! Rows of a run that are there twice.

use std::collections::HashSet;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::Breach;
use crate::table::Table;

/// Finds rows that hold what another one holds.
pub(super) struct Unique {
    columns: &'static [&'static str],
    converter: RowConverter,
    before: Before,
}

/// The rows before that may come again.
enum Before {
    /// The last one: rows are in order of all that tells them apart.
    Last(Option<OwnedRow>),
    /// Those with the same value in the first column, by which alone rows are in order.
    Alike {
        value: Option<i64>,
        rows: HashSet<OwnedRow>,
    },
}

impl Unique {
    pub(super) fn new(table: Table, columns: &'static [&'static str]) -> Result<Self, ArrowError> {
        let schema = table.arrow_schema();
        let fields = columns
            .iter()
            .map(|column| {
                Ok(SortField::new(
                    schema.field_with_name(column)?.data_type().clone(),
                ))
            })
            .collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(Self {
            columns,
            converter: RowConverter::new(fields)?,
            before: match table.merge_column() {
                Some(column) if columns != [column] => Before::Alike {
                    value: None,
                    rows: HashSet::new(),
                },
                _ => Before::Last(None),
            },
        })
    }

    /// The first row of a batch that was there before.
    pub(super) fn breach(&mut self, batch: &RecordBatch) -> Result<Option<Breach>, ArrowError> {
        let values: Vec<ArrayRef> = self
            .columns
            .iter()
            .filter_map(|column| batch.column_by_name(column).cloned())
            .collect();
        let rows = self.converter.convert_columns(&values)?;
        let repeated = match &mut self.before {
            Before::Last(last) => {
                let mut before = last.as_ref().map(OwnedRow::row);
                let repeated = rows.iter().position(|now| before.replace(now) == Some(now));
                *last = before.map(|row| row.owned());
                repeated
            }
            Before::Alike { value, rows: alike } => {
                let values = values.first().and_then(|values| values.as_primitive_opt());
                let Some(values) = values.map(Int64Array::values) else {
                    return Ok(None);
                };
                rows.iter().zip(values).position(|(now, at)| {
                    if value.replace(*at) != Some(*at) {
                        alike.clear();
                    }
                    !alike.insert(now.owned())
                })
            }
        };
        Ok(repeated.map(|row| Breach {
            row,
            column: self.columns[self.columns.len() - 1],
            reason: "is there twice in the run".to_string(),
        }))
    }
}
