//! Parquet files of a table's rows, and what the log says of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use crate::id::RunId;
use crate::row::ColumnKind;
use crate::table::Table;
use crate::time::{Date, Timestamp};

/// How large files and their parts get. A row group waits in memory until it is whole, however
/// long the lists in its rows are; so these bound what writing takes.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// A file is closed, and the next begun, past this many bytes.
    pub file_bytes: usize,
    /// Rows and bytes of a row group, whichever is reached first.
    pub row_group_rows: usize,
    /// See `row_group_rows`.
    pub row_group_bytes: usize,
}

impl FileLimits {
    /// For publishing, which goes on beside a measurement and takes little memory.
    pub const PUBLISHED: Self = Self {
        file_bytes: 256 << 20,
        row_group_rows: 65_536,
        row_group_bytes: 4 << 20,
    };

    /// For files that are put together: they are read for years, and written where memory is.
    pub const COMPACTED: Self = Self {
        file_bytes: 256 << 20,
        row_group_rows: 131_072,
        row_group_bytes: 32 << 20,
    };
}

/// Bytes and rows of a page. Until a page is whole its values wait as they are, lists with two
/// levels a value, so pages of lists hold fewer rows.
const PAGE_BYTES: usize = 256 << 10;
const PAGE_ROWS: usize = 20_000;
const LIST_PAGE_ROWS: usize = 1_000;
/// Bytes of a part of an upload, and how many parts may be under way while the next is gathered: an
/// upload holds these in memory. No store takes smaller parts.
const PART_BYTES: usize = 5 << 20;
const PARTS_UNDER_WAY: usize = 1;

fn properties(table: Table, limits: FileLimits) -> WriterProperties {
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
        .set_max_row_group_row_count(Some(limits.row_group_rows))
        .set_max_row_group_bytes(Some(limits.row_group_bytes));
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

/// Writes rows of one table, and of one day where it is partitioned, in one or more files. No
/// reader sees them until a commit names them.
pub struct TableFiles {
    table: Table,
    /// The day, where the table is partitioned.
    date: Option<Date>,
    /// What the names of the files begin with; no other writer has it.
    stem: String,
    store: Arc<dyn ObjectStore>,
    file_schema: SchemaRef,
    limits: FileLimits,
    current: Option<OpenFile>,
    done: Vec<Add>,
}

struct OpenFile {
    path: String,
    writer: AsyncArrowWriter<BufWriter>,
    statistics: FileStatistics,
}

impl TableFiles {
    /// Files with rows of `date`, whose names begin with `of` and end with something of their own.
    /// `store` is rooted at the table's folder.
    pub fn new(
        table: Table,
        date: Date,
        of: &str,
        limits: FileLimits,
        store: Arc<dyn ObjectStore>,
    ) -> Self {
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
            date: table.partitioned().then_some(date),
            stem: format!("{of}-{}", RunId::new(Timestamp::now()).short()),
            store,
            file_schema: Arc::new(Schema::new(fields)),
            limits,
            current: None,
            done: Vec::new(),
        }
    }

    /// Also writes what `columns` has beside the table's own: a later release may have added some,
    /// and whoever writes its rows anew keeps them.
    #[must_use]
    pub fn with_others_of(mut self, columns: &Schema) -> Self {
        let own = self.table.arrow_schema();
        let others = columns.fields().iter();
        let others = others.filter(|field| own.field_with_name(field.name()).is_err());
        let fields = self.file_schema.fields().iter().chain(others).cloned();
        self.file_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self
    }

    fn next_path(&self) -> String {
        let name = format!("{}-{:04}.zstd.parquet", self.stem, self.done.len());
        match self.date {
            Some(date) => format!("date={date}/{name}"),
            None => name,
        }
    }

    /// Appends rows, in the order in which they are to lie.
    ///
    /// # Errors
    /// Storage refuses, or the batch has other columns.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
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
            let upload = BufWriter::with_capacity(self.store.clone(), target, PART_BYTES)
                .with_max_concurrency(PARTS_UNDER_WAY);
            // Parquet's own types say all that ours do; Arrow's schema would take kilobytes in each
            // file, and time at each opening.
            let options = ArrowWriterOptions::new()
                .with_properties(properties(self.table, self.limits))
                .with_skip_arrow_metadata(true);
            let schema = self.file_schema.clone();
            let writer = AsyncArrowWriter::try_new_with_options(upload, schema, options)?;
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
        if open.writer.bytes_written() + open.writer.in_progress_size() > self.limits.file_bytes {
            self.close_current().await?;
        }
        Ok(())
    }

    async fn close_current(&mut self) -> Result<(), ParquetError> {
        let Some(mut open) = self.current.take() else {
            return Ok(());
        };
        open.writer.finish().await?;
        let partition = self
            .date
            .map(|date| ("date".to_string(), Some(date.to_string())));
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
    ///
    /// # Errors
    /// Storage refuses.
    pub async fn finish(mut self) -> Result<Vec<Add>, ParquetError> {
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
        let batch = chunks(run_id, 3..10);
        let mut files = files_of(run_id, store.clone());
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
        let stats = statistics(add);
        assert_eq!(stats["numRecords"], 7);
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
        assert_eq!(reader.metadata().file_metadata().num_rows(), 7);
    }

    fn files_of(run_id: RunId, store: Arc<dyn ObjectStore>) -> TableFiles {
        let (date, limits) = (run_id.date(), FileLimits::PUBLISHED);
        TableFiles::new(Table::Chunks, date, "part", limits, store)
    }

    fn chunks(run_id: RunId, ids: std::ops::Range<i64>) -> RecordBatch {
        let row = |request_id| ChunksRow {
            run_id,
            run_key: run_id.run_key(),
            date: run_id.date(),
            request_id,
            at_ns: vec![5, 10],
            tokens: None,
        };
        ChunksRow::to_batch(&ids.map(row).collect::<Vec<_>>()).expect("batch")
    }

    fn statistics(add: &Add) -> Value {
        serde_json::from_str(add.stats.as_deref().expect("stats")).expect("JSON")
    }

    #[tokio::test]
    async fn statistics_are_those_of_all_batches_of_a_file() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let run_id = RunId::new(Timestamp::now());
        let mut files = files_of(run_id, store);
        for ids in [4..9, 0..2, 20..30, 10..11] {
            files.write(&chunks(run_id, ids)).await.expect("write");
        }
        let adds = files.finish().await.expect("finish");
        let [add] = &adds[..] else {
            panic!("one file: {adds:?}")
        };
        let statistics = statistics(add);
        assert_eq!(statistics["numRecords"], 18);
        assert_eq!(statistics["minValues"]["request_id"], 0);
        assert_eq!(statistics["maxValues"]["request_id"], 29);
    }

    #[tokio::test]
    async fn a_full_file_is_followed_by_another_under_a_name_of_its_own() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let run_id = RunId::new(Timestamp::now());
        let mut files = files_of(run_id, store.clone());
        files.limits.file_bytes = 1;
        for ids in [0..3, 3..5, 5..9] {
            files.write(&chunks(run_id, ids)).await.expect("write");
        }
        let adds = files.finish().await.expect("finish");
        let rows: Vec<_> = adds
            .iter()
            .map(|add| statistics(add)["numRecords"].clone())
            .collect();
        assert_eq!(rows, [3, 2, 4]);
        for add in &adds {
            let path = Path::parse(&add.path).expect("path");
            let there = store.head(&path).await.expect("a file for each name");
            assert_eq!(there.size as i64, add.size, "{}", add.path);
        }
        let names: std::collections::HashSet<_> = adds.iter().map(|add| &add.path).collect();
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn moments_are_written_as_differences() {
        let properties = properties(Table::Requests, FileLimits::PUBLISHED);
        let sent = ColumnPath::from("sent_ns");
        assert_eq!(
            properties.encoding(&sent),
            Some(Encoding::DELTA_BINARY_PACKED)
        );
        assert!(!properties.dictionary_enabled(&sent));
        assert!(properties.dictionary_enabled(&ColumnPath::from("status")));
    }
}
