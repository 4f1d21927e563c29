//! Results as bytes: for people, for spreadsheets, for programs.
//!
//! One meaning in every text format: moments are RFC 3339 in UTC with a `Z`
//! and no more digits than needed (a moment without a time zone is UTC), bytes
//! are lower-case hex, lists and structs in `table` and `csv` are JSON. A null
//! is an empty cell in `table` and `csv`, and `null` in JSON.
//!
//! Everything is written batch by batch; none of the formats holds a result.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::StreamExt;
use parquet::errors::ParquetError;

use crate::error::QueryError;
use crate::stream::QueryStream;

mod binary;
mod json;
mod table;
mod text;

use binary::{ArrowEncoder, ParquetEncoder};
use json::JsonEncoder;
pub use json::column_names;
use table::TableEncoder;
use text::CsvEncoder;

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Aligned columns for people. Numbers are aligned to the right, control
    /// characters are escaped, and cells are cut after 100 characters or 20
    /// lines, those of the last column excepted.
    Table,
    /// Comma-separated values with a header, quoted where needed (RFC 4180).
    Csv,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file, compressed with Zstandard.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Table,
        Self::Csv,
        Self::Json,
        Self::Ndjson,
        Self::Arrow,
        Self::Parquet,
    ];

    /// The name, as `--format` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// The media type, as HTTP names it.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether it is text, which a terminal can show.
    pub const fn is_text(self) -> bool {
        !matches!(self, Self::Arrow | Self::Parquet)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no format; there are table, csv, json, ndjson, arrow and parquet")]
pub struct UnknownFormat {
    /// The word.
    pub text: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownFormat {
            text: text.to_string(),
        })
    }
}

/// Why a result could not be written to its end.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The query failed on the way.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The bytes could not be written.
    #[error("the result cannot be written")]
    Write(#[from] io::Error),
    /// The format cannot hold a column of the result.
    #[error("the result cannot be written as {format}")]
    Encode {
        /// The format.
        format: Format,
        /// What it cannot hold.
        source: ArrowError,
    },
}

/// Turns batches into bytes, one batch at a time.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Table(TableEncoder),
    Csv(CsvEncoder),
    Json(JsonEncoder),
    Arrow(Box<ArrowEncoder>),
    Parquet(Box<ParquetEncoder>),
}

impl Encoder {
    /// An encoder for results with the columns of `schema`.
    ///
    /// # Errors
    /// Where the format cannot hold one of the columns.
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self, FormatError> {
        let encode = |source| FormatError::Encode { format, source };
        let inner = match format {
            Format::Table => Inner::Table(TableEncoder::new(schema)),
            Format::Csv => Inner::Csv(CsvEncoder::new(schema)),
            Format::Json => Inner::Json(JsonEncoder::array(schema)),
            Format::Ndjson => Inner::Json(JsonEncoder::lines(schema)),
            Format::Arrow => Inner::Arrow(Box::new(ArrowEncoder::new(schema).map_err(encode)?)),
            Format::Parquet => {
                Inner::Parquet(Box::new(ParquetEncoder::new(schema).map_err(encode)?))
            }
        };
        Ok(Self { format, inner })
    }

    /// The bytes of one batch; some formats hold bytes back until later.
    ///
    /// # Errors
    /// Where the format cannot hold a value.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, FormatError> {
        let format = self.format;
        let bytes = match &mut self.inner {
            Inner::Table(table) => table.encode(batch),
            Inner::Csv(csv) => csv.encode(batch),
            Inner::Json(json) => json.encode(batch),
            Inner::Arrow(arrow) => arrow.encode(batch),
            Inner::Parquet(parquet) => parquet.encode(batch),
        };
        bytes.map_err(|source| FormatError::Encode { format, source })
    }

    /// The last bytes. Results without rows have a header, too.
    ///
    /// # Errors
    /// Where what was held back cannot be encoded.
    pub fn finish(self) -> Result<Vec<u8>, FormatError> {
        let format = self.format;
        let bytes = match self.inner {
            Inner::Table(table) => Ok(table.finish()),
            Inner::Csv(csv) => csv.finish(),
            Inner::Json(json) => Ok(json.finish()),
            Inner::Arrow(arrow) => arrow.finish(),
            Inner::Parquet(parquet) => parquet.finish(),
        };
        bytes.map_err(|source| FormatError::Encode { format, source })
    }
}

fn from_parquet(error: ParquetError) -> ArrowError {
    ArrowError::from_external_error(Box::new(error))
}

/// Writes a whole result and gives the number of its rows.
///
/// # Errors
/// Where the query fails on the way, the format cannot hold a column, or the
/// writer fails. What was written until then stays written.
pub async fn write(
    result: &mut QueryStream,
    format: Format,
    writer: &mut (impl Write + ?Sized),
) -> Result<u64, FormatError> {
    let mut encoder = Encoder::new(format, &result.schema())?;
    let mut rows = 0;
    while let Some(batch) = result.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write_all(&encoder.encode(&batch)?)?;
    }
    writer.write_all(&encoder.finish()?)?;
    writer.flush()?;
    Ok(rows)
}
