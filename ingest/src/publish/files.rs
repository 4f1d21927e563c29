//! Parquet files of one run's rows, and what the log says of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use crate::id::RunId;
use crate::row::ColumnKind;
use crate::table::Table;
use crate::time::Timestamp;

/// A file is closed, and the next begun, past this many bytes.
const FILE_LIMIT: usize = 256 << 20;
/// Rows and bytes of a row group, whichever is reached first. A row group waits in memory until it
/// is whole, however long the lists in its rows are; so these bound what publishing takes.
const ROW_GROUP_ROWS: usize = 65_536;
const ROW_GROUP_BYTES: usize = 4 << 20;
/// Bytes and rows of a page. Until a page is whole its values wait as they are, lists with two
/// levels a value, so pages of lists hold fewer rows.
const PAGE_BYTES: usize = 256 << 10;
const PAGE_ROWS: usize = 20_000;
const LIST_PAGE_ROWS: usize = 1_000;
/// Bytes that an upload gathers before it sends a part.
const UPLOAD_BUFFER: usize = 8 << 20;

fn properties(table: Table) -> WriterProperties {
    let level = ZstdLevel::try_new(3).expect("3 is a level of zstd");
    let page_rows = match table {
        Table::Chunks => LIST_PAGE_ROWS,
        _ => PAGE_ROWS,
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("plimsoll {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(page_rows)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    // Moments and durations hardly repeat: their differences are what is small.
    for column in table
        .columns()
        .iter()
        .filter(|column| is_moment(column.name))
    {
        let path = match column.kind {
            ColumnKind::Int64 => ColumnPath::from(column.name),
            ColumnKind::Int64List => {
                let parts = [column.name, "list", "element"].map(str::to_string);
                ColumnPath::new(parts.to_vec())
            }
            _ => continue,
        };
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

fn is_moment(column: &str) -> bool {
    column.ends_with("_ns") || column == "request_id"
}

/// Minimum, maximum and null count of the columns that queries prune by.
#[derive(Debug, Default)]
struct FileStatistics {
    rows: usize,
    columns: HashMap<&'static str, ColumnRange>,
}

#[derive(Debug, Default, Clone, Copy)]
struct ColumnRange {
    min: Option<i64>,
    max: Option<i64>,
    nulls: usize,
    is_timestamp: bool,
}

impl FileStatistics {
    fn add(&mut self, table: Table, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for name in table.stats_columns() {
            let Some(column) = batch.column_by_name(name) else {
                continue;
            };
            let range = self.columns.entry(name).or_default();
            range.nulls += column.null_count();
            let (min, max) = if matches!(column.data_type(), DataType::Timestamp(..)) {
                range.is_timestamp = true;
                let values = column.as_primitive::<TimestampMicrosecondType>();
                (arrow::compute::min(values), arrow::compute::max(values))
            } else {
                let values = column.as_primitive::<Int64Type>();
                (arrow::compute::min(values), arrow::compute::max(values))
            };
            range.min = range.min.into_iter().chain(min).min();
            range.max = range.max.into_iter().chain(max).max();
        }
    }

    /// As the Delta protocol writes statistics of a file.
    fn to_json(&self) -> String {
        let value = |range: &ColumnRange, value: i64| match range.is_timestamp {
            true => Value::from(Timestamp::from_micros(value).to_string()),
            false => Value::from(value),
        };
        let mut names: Vec<_> = self.columns.keys().copied().collect();
        names.sort_unstable();
        let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
        for name in names {
            let range = &self.columns[name];
            if let (Some(low), Some(high)) = (range.min, range.max) {
                min.insert(name.to_string(), value(range, low));
                max.insert(name.to_string(), value(range, high));
            }
            nulls.insert(name.to_string(), range.nulls.into());
        }
        json!({"numRecords": self.rows, "minValues": min, "maxValues": max, "nullCount": nulls})
            .to_string()
    }
}

/// Writes the rows of one table and run, in one or more files.
pub(crate) struct RunFiles {
    table: Table,
    run_id: RunId,
    /// Sets this publisher's files apart from those of another one.
    publisher: String,
    store: Arc<dyn ObjectStore>,
    file_schema: SchemaRef,
    current: Option<OpenFile>,
    done: Vec<Add>,
}

struct OpenFile {
    path: String,
    writer: AsyncArrowWriter<BufWriter>,
    statistics: FileStatistics,
}

impl RunFiles {
    /// `store` is rooted at the table's folder.
    pub(crate) fn new(table: Table, run_id: RunId, store: Arc<dyn ObjectStore>) -> Self {
        let schema = table.arrow_schema();
        // The partition's value is in the log and in the path, not in the file.
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .filter(|field| !(table.partitioned() && field.name() == "date"))
            .cloned()
            .collect();
        Self {
            table,
            run_id,
            publisher: RunId::new(Timestamp::now()).short(),
            store,
            file_schema: Arc::new(arrow::datatypes::Schema::new(fields)),
            current: None,
            done: Vec::new(),
        }
    }

    fn next_path(&self) -> String {
        let Self {
            run_id, publisher, ..
        } = self;
        let name = format!(
            "part-{run_id}-{publisher}-{:04}.zstd.parquet",
            self.done.len()
        );
        if self.table.partitioned() {
            format!("date={}/{name}", run_id.date())
        } else {
            name
        }
    }

    /// Appends rows, in the order in which they are to lie.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let columns = self
            .file_schema
            .fields()
            .iter()
            .filter_map(|field| batch.column_by_name(field.name()).cloned())
            .collect();
        let batch = RecordBatch::try_new(self.file_schema.clone(), columns)?;
        if self.current.is_none() {
            let path = self.next_path();
            let target =
                Path::parse(&path).map_err(|error| ParquetError::External(error.into()))?;
            let upload = BufWriter::with_capacity(self.store.clone(), target, UPLOAD_BUFFER);
            let properties = properties(self.table);
            let writer =
                AsyncArrowWriter::try_new(upload, self.file_schema.clone(), Some(properties))?;
            let statistics = FileStatistics::default();
            self.current = Some(OpenFile {
                path,
                writer,
                statistics,
            });
        }
        let open = self.current.as_mut().expect("was just opened");
        open.statistics.add(self.table, &batch);
        open.writer.write(&batch).await?;
        if open.writer.bytes_written() + open.writer.in_progress_size() > FILE_LIMIT {
            self.close_current().await?;
        }
        Ok(())
    }

    async fn close_current(&mut self) -> Result<(), ParquetError> {
        let Some(mut open) = self.current.take() else {
            return Ok(());
        };
        open.writer.finish().await?;
        let date = self.run_id.date().to_string();
        let partition = self
            .table
            .partitioned()
            .then(|| ("date".to_string(), Some(date)));
        self.done.push(Add {
            path: open.path,
            partition_values: partition.into_iter().collect(),
            size: i64::try_from(open.writer.bytes_written()).unwrap_or(i64::MAX),
            modification_time: Timestamp::now().millis(),
            data_change: true,
            stats: Some(open.statistics.to_json()),
            ..Add::default()
        });
        Ok(())
    }

    /// Closes the last file and says what to add to the log.
    pub(crate) async fn finish(mut self) -> Result<Vec<Add>, ParquetError> {
        self.close_current().await?;
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::TableRow as _;
    use crate::table::ChunksRow;
    use object_store::ObjectStoreExt as _;

    #[tokio::test]
    async fn a_file_leaves_out_its_partition_and_the_log_says_what_is_in_it() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let run_id = RunId::new(Timestamp::from_micros(1_700_000_000_000_000));
        let row = |request_id| ChunksRow {
            run_id,
            run_key: run_id.run_key(),
            date: run_id.date(),
            request_id,
            at_ns: vec![5, 10],
            tokens: None,
        };
        let batch = ChunksRow::to_batch(&[row(3), row(9)]).expect("batch");
        let mut files = RunFiles::new(Table::Chunks, run_id, store.clone());
        files.write(&batch).await.expect("write");
        let adds = files.finish().await.expect("finish");
        let [add] = &adds[..] else {
            panic!("one file: {adds:?}")
        };
        assert!(
            add.path.starts_with("date=2023-11-14/part-"),
            "{}",
            add.path
        );
        let stats: Value =
            serde_json::from_str(add.stats.as_deref().expect("stats")).expect("JSON");
        assert_eq!(stats["numRecords"], 2);
        assert_eq!(stats["minValues"]["request_id"], 3);
        assert_eq!(stats["maxValues"]["request_id"], 9);
        assert_eq!(stats["minValues"]["run_key"], run_id.run_key());
        let bytes = store
            .get(&Path::parse(&add.path).expect("path"))
            .await
            .expect("there");
        let bytes = bytes.bytes().await.expect("bytes");
        assert_eq!(bytes.len() as i64, add.size);
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes)
            .expect("Parquet");
        assert!(reader.schema().field_with_name("date").is_err());
        assert_eq!(reader.metadata().file_metadata().num_rows(), 2);
    }

    #[test]
    fn moments_are_written_as_differences() {
        let properties = properties(Table::Requests);
        let sent = ColumnPath::from("sent_ns");
        assert_eq!(
            properties.encoding(&sent),
            Some(Encoding::DELTA_BINARY_PACKED)
        );
        assert!(!properties.dictionary_enabled(&sent));
        assert!(properties.dictionary_enabled(&ColumnPath::from("status")));
    }
}
