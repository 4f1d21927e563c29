//! Formats for programs: Arrow IPC streams and Parquet files.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::from_parquet;

/// Rows of a Parquet row group: what is held in memory at most.
const ROW_GROUP_ROWS: usize = 64 * 1024;

/// An Arrow IPC stream.
pub(super) struct ArrowEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl fmt::Debug for ArrowEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowEncoder").finish_non_exhaustive()
    }
}

impl ArrowEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self {
            writer: StreamWriter::try_new(Vec::new(), schema)?,
        })
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        self.writer.write(batch)?;
        Ok(std::mem::take(self.writer.get_mut()))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, ArrowError> {
        self.writer.into_inner()
    }
}

/// A Parquet file.
#[derive(Debug)]
pub(super) struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties));
        Ok(Self {
            writer: writer.map_err(from_parquet)?,
        })
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        self.writer.write(batch).map_err(from_parquet)?;
        // Offsets in the file are counted apart from the buffer.
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, ArrowError> {
        self.writer.into_inner().map_err(from_parquet)
    }
}
