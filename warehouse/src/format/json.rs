//! JSON: one array of objects, or one object a line.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, StructArray};
use arrow::datatypes::{Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::make_encoder;

use super::text::{in_utc, json_options};

/// Writes objects with what stands before, between and after them.
#[derive(Debug)]
pub(super) struct JsonEncoder {
    names: Vec<String>,
    begin: &'static [u8],
    between: &'static [u8],
    /// After the last object.
    end: &'static [u8],
    /// Instead of everything, where there is no object.
    nothing: &'static [u8],
    rows: u64,
}

impl JsonEncoder {
    /// One array.
    pub(super) fn array(schema: &SchemaRef) -> Self {
        let names = column_names(schema);
        Self {
            names,
            begin: b"[",
            between: b",\n ",
            end: b"]\n",
            nothing: b"[]\n",
            rows: 0,
        }
    }

    /// One object a line.
    pub(super) fn lines(schema: &SchemaRef) -> Self {
        let names = column_names(schema);
        Self {
            names,
            begin: b"",
            between: b"\n",
            end: b"\n",
            nothing: b"",
            rows: 0,
        }
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let batch = in_utc(batch)?;
        let fields: Vec<FieldRef> = self
            .names
            .iter()
            .zip(batch.columns())
            .map(|(name, column)| Arc::new(Field::new(name, column.data_type().clone(), true)))
            .collect();
        let objects = if fields.is_empty() {
            StructArray::new_empty_fields(batch.num_rows(), None)
        } else {
            StructArray::try_new(fields.into(), batch.columns().to_vec(), None)?
        };
        let field: FieldRef = Arc::new(Field::new("row", objects_type(&objects), false));
        let options = json_options();
        let mut encoder = make_encoder(&field, &objects, &options)?;
        let mut bytes = Vec::new();
        for row in 0..batch.num_rows() {
            bytes.extend_from_slice(if self.rows == 0 {
                self.begin
            } else {
                self.between
            });
            encoder.encode(row, &mut bytes);
            self.rows += 1;
        }
        Ok(bytes)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        if self.rows == 0 {
            self.nothing.to_vec()
        } else {
            self.end.to_vec()
        }
    }
}

fn objects_type(objects: &StructArray) -> arrow::datatypes::DataType {
    arrow::array::Array::data_type(objects).clone()
}

/// The columns' names, numbered where two are the same: a join may give two
/// columns one name, and an object has each name once.
pub fn column_names(schema: &SchemaRef) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut unique = |name: &String| {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names
            .find(|name| taken.insert(name.clone()))
            .expect("numbers do not end")
    };
    schema
        .fields()
        .iter()
        .map(|field| unique(field.name()))
        .collect()
}
