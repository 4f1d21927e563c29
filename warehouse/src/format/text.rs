//! Cells as text, and comma-separated values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::compute::cast;
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::FormatOptions;

/// RFC 3339 in UTC, with as many digits of the second as are needed.
pub(super) const MOMENT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// How single values are shown.
pub(super) fn cell_options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_timestamp_format(Some(MOMENT))
        .with_timestamp_tz_format(Some(MOMENT))
}

/// How values are written in JSON.
pub(super) fn json_options() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_format(MOMENT.to_string())
        .with_timestamp_tz_format(MOMENT.to_string())
}

/// The batch with every moment that has another time zone moved to UTC, those
/// in lists and structs too.
pub(super) fn in_utc(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    with_columns(batch, |column| {
        let wanted = type_in_utc(column.data_type());
        match wanted == *column.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, &wanted),
        }
    })
}

fn type_in_utc(found: &DataType) -> DataType {
    use DataType::{
        Dictionary, FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct, Timestamp,
    };
    let field = |field: &FieldRef| -> FieldRef {
        let moved = field.as_ref().clone();
        let moved = moved.with_data_type(type_in_utc(field.data_type()));
        Arc::new(moved)
    };
    match found {
        Timestamp(unit, Some(_)) => Timestamp(*unit, Some("UTC".into())),
        List(items) => List(field(items)),
        LargeList(items) => LargeList(field(items)),
        ListView(items) => ListView(field(items)),
        LargeListView(items) => LargeListView(field(items)),
        FixedSizeList(items, size) => FixedSizeList(field(items), *size),
        Struct(fields) => Struct(fields.iter().map(field).collect()),
        Map(entries, sorted) => Map(field(entries), *sorted),
        Dictionary(keys, values) => Dictionary(keys.clone(), Box::new(type_in_utc(values))),
        other => other.clone(),
    }
}

/// The batch with columns that a flat table cannot hold turned into text:
/// lists and structs into JSON, bytes into hex.
pub(super) fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    with_columns(&in_utc(batch)?, |column| match column.data_type() {
        kind if kind.is_nested() => json_texts(column),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => hex_texts(column),
        _ => Ok(Arc::clone(column)),
    })
}

fn with_columns(
    batch: &RecordBatch,
    change: impl Fn(&ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(change)
        .collect::<Result<Vec<_>, _>>()?;
    let schema = batch.schema();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

fn json_texts(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field: FieldRef = Arc::new(Field::new("value", column.data_type().clone(), true));
    let options = json_options();
    let mut encoder = make_encoder(&field, column.as_ref(), &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

fn hex_texts(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let bytes = cast(column, &DataType::LargeBinary)?;
    let mut texts = StringBuilder::new();
    for value in bytes.as_binary::<i64>().iter() {
        let digits = |value: &[u8]| {
            value
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        texts.append_option(value.map(digits));
    }
    Ok(Arc::new(texts.finish()))
}

/// Comma-separated values with a header.
#[derive(Debug)]
pub(super) struct CsvEncoder {
    schema: SchemaRef,
    headed: bool,
}

impl CsvEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            headed: false,
        }
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut bytes = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_header(!self.headed)
            .with_timestamp_format(MOMENT.to_string())
            .with_timestamp_tz_format(MOMENT.to_string())
            .build(&mut bytes);
        writer.write(&flat(batch)?)?;
        drop(writer);
        self.headed = true;
        Ok(bytes)
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        if self.headed {
            return Ok(Vec::new());
        }
        let schema = SchemaRef::clone(&self.schema);
        self.encode(&RecordBatch::new_empty(schema))
    }
}
