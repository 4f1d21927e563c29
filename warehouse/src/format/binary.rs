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

/// Rows and bytes of a Parquet row group, whichever is reached first: what is
/// held in memory at most, besides one batch.
const ROW_GROUP_ROWS: usize = 64 * 1024;
const ROW_GROUP_BYTES: usize = 4 << 20;

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
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::BinaryArray;
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    /// Rows of 4 KiB that cannot be compressed.
    fn noise(rows: usize, seed: &mut u64) -> RecordBatch {
        let values: Vec<Vec<u8>> = (0..rows)
            .map(|_| {
                (0..4 << 10)
                    .map(|_| {
                        // xorshift64: what counts is that no two rows are alike.
                        *seed ^= *seed << 13;
                        *seed ^= *seed >> 7;
                        *seed ^= *seed << 17;
                        seed.to_le_bytes()[3]
                    })
                    .collect()
            })
            .collect();
        let column = BinaryArray::from_iter_values(&values);
        RecordBatch::try_from_iter([("a", Arc::new(column) as _)]).expect("one column")
    }

    #[test]
    fn wide_rows_make_row_groups_of_few_rows() {
        let mut seed = 7;
        let first = noise(512, &mut seed);
        let mut encoder = ParquetEncoder::new(&first.schema()).expect("an encoder");
        let mut bytes = encoder.encode(&first).expect("encoded");
        for _ in 0..5 {
            let batch = noise(512, &mut seed);
            bytes.extend(encoder.encode(&batch).expect("encoded"));
        }
        assert!(bytes.len() > ROW_GROUP_BYTES / 2, "{} bytes", bytes.len());
        bytes.extend(encoder.finish().expect("finished"));
        let file = SerializedFileReader::new(Bytes::from(bytes)).expect("a Parquet file");
        let groups = file.metadata().row_groups();
        assert!(groups.len() >= 2, "{} row groups", groups.len());
        let rows: i64 = groups.iter().map(|group| group.num_rows()).sum();
        assert_eq!(rows, 6 * 512);
    }
}
