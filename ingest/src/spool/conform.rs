//! Spooled rows with the columns that their table has today.
//!
//! A spool may be older than the release that publishes it. Columns that an
//! earlier release did not know are null, and unknown ones are left out.

use std::path::Path;

use arrow::array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::Field;

use super::{SpoolError, Tag};
use crate::table::Table;

/// The rows of a frame of `tag` with exactly the columns of `table`.
///
/// # Errors
/// A column that may not be null is missing or null, or a column has another type.
pub(super) fn conform(
    folder: &Path,
    tag: Tag,
    table: Table,
    batch: &RecordBatch,
) -> Result<RecordBatch, SpoolError> {
    let schema = table.arrow_schema();
    let column = |field: &Field| -> Result<ArrayRef, SpoolError> {
        match batch.column_by_name(field.name()) {
            Some(column) => match difference(column, field) {
                None => Ok(column.clone()),
                Some((row, reason)) => Err(SpoolError::Column {
                    path: folder.to_path_buf(),
                    table,
                    column: field.name().clone(),
                    row: row.map_or_else(String::new, |row| format!(", row {row}")),
                    reason,
                }),
            },
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(SpoolError::Missing {
                path: folder.to_path_buf(),
                table,
                column: field.name().clone(),
            }),
        }
    };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(column(field)?);
    }
    RecordBatch::try_new(schema, columns).map_err(|source| SpoolError::Arrow {
        path: folder.to_path_buf(),
        tag: tag.to_string(),
        source,
    })
}

/// What keeps a column from being the one of `field`, and in which row.
fn difference(column: &ArrayRef, field: &Field) -> Option<(Option<usize>, String)> {
    let (found, expected) = (column.data_type(), field.data_type());
    if !found.equals_datatype(expected) {
        return Some((None, format!("is {found}, expected {expected}")));
    }
    if field.is_nullable() {
        return None;
    }
    let row = (0..column.len()).find(|row| column.is_null(*row))?;
    Some((Some(row), "is null".to_string()))
}
