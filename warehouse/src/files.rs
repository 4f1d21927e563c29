//! The active files of one table, with what its log knows about each.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::scalar::ScalarValue;
use deltalake_core::{DeltaResult, DeltaTable};
use object_store::ObjectMeta;
use object_store::path::Path;
use plimsoll_ingest::RunId;

/// The files of a table, one row per file: path, size, rows, and per column
/// the least and the greatest value and the number of nulls.
#[derive(Debug, Clone)]
pub(crate) struct FileList {
    /// Delta's add actions, flattened: `num_records`, `min.c`, `max.c`,
    /// `null_count.c`, `partition.c`, ...
    actions: RecordBatch,
    /// Where each file lies in the object store.
    paths: Arc<[Path]>,
}

/// Which runs a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunsOfFile {
    /// One run, by its key.
    One(i64),
    /// Several: the file was compacted.
    Several,
    /// The log does not say.
    Unknown,
}

impl FileList {
    /// No files.
    pub(crate) fn none() -> Self {
        Self {
            actions: RecordBatch::new_empty(Arc::new(Schema::empty())),
            paths: Arc::default(),
        }
    }

    /// The active files of a loaded table.
    pub(crate) fn of(table: &DeltaTable) -> DeltaResult<Self> {
        let state = table.snapshot()?;
        let root = Path::from_url_path(table.table_url().path())?;
        let paths = state
            .log_data()
            .iter()
            .map(|file| {
                root.parts()
                    .chain(file.object_store_path().parts())
                    .collect()
            })
            .collect();
        Ok(Self {
            actions: state.add_actions_table(true)?,
            paths,
        })
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Where the file lies.
    pub(crate) fn path(&self, file: usize) -> &Path {
        &self.paths[file]
    }

    /// The files for which `keep` is true.
    pub(crate) fn filtered(&self, keep: &BooleanArray) -> Result<Self> {
        let actions = filter_record_batch(&self.actions, keep)?;
        let kept = self
            .paths
            .iter()
            .zip(keep.iter())
            .filter(|(_, keep)| *keep == Some(true));
        Ok(Self {
            actions,
            paths: kept.map(|(path, _)| path.clone()).collect(),
        })
    }

    /// Which runs each file holds, by the least and greatest `run_key`.
    pub(crate) fn runs(&self) -> Vec<RunsOfFile> {
        let integers = |column: Option<&ArrayRef>| {
            column.and_then(|array| array.as_primitive_opt::<Int64Type>().cloned())
        };
        let min = integers(self.actions.column_by_name("min.run_key"));
        let max = integers(self.actions.column_by_name("max.run_key"));
        let (Some(min), Some(max)) = (min, max) else {
            return vec![RunsOfFile::Unknown; self.len()];
        };
        min.iter()
            .zip(max.iter())
            .map(|bounds| match bounds {
                (Some(least), Some(greatest)) if least == greatest => RunsOfFile::One(least),
                (Some(_), Some(_)) => RunsOfFile::Several,
                _ => RunsOfFile::Unknown,
            })
            .collect()
    }

    /// The files that a reader sees who sees the runs `visible`.
    ///
    /// Left out are files of one run that is not visible. A file with several
    /// runs was compacted, which happens only long after its runs became
    /// visible; a file about which the log says nothing was not written by
    /// Plimsoll, and is shown.
    pub(crate) fn visible_to(&self, visible: &HashSet<i64>) -> Result<Self> {
        if self.len() == 0 {
            return Ok(self.clone());
        }
        let keep: BooleanArray = self
            .runs()
            .into_iter()
            .map(|runs| match runs {
                RunsOfFile::One(key) => Some(visible.contains(&key)),
                RunsOfFile::Several | RunsOfFile::Unknown => Some(true),
            })
            .collect();
        self.filtered(&keep)
    }

    /// The rows of the file, where the log says.
    pub(crate) fn rows(&self, file: usize) -> Option<usize> {
        usize::try_from(self.integer("num_records", file)?).ok()
    }

    /// The file's size in bytes, where the log says.
    pub(crate) fn size(&self, file: usize) -> Option<u64> {
        u64::try_from(self.integer("size_bytes", file)?).ok()
    }

    /// When the file was written, in ms since the epoch, where the log says.
    pub(crate) fn modified_ms(&self, file: usize) -> Option<i64> {
        self.integer("modification_time", file)
    }

    /// What a column of integers, or of moments in us, lies within in the file, where the log says.
    pub(crate) fn limits(&self, file: usize, column: &str) -> Option<(i64, i64)> {
        let column = Column::from_name(column);
        let limit = |which: &str| {
            let values = self.bound(which, &column)?;
            let values = match values.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, _) => cast(&values, &DataType::Int64),
                _ => Ok(values),
            };
            integer(&values.ok()?, file)
        };
        Some((limit("min")?, limit("max")?))
    }

    /// The nulls of a column in the file, where the log says.
    pub(crate) fn nulls(&self, file: usize, column: &str) -> Option<u64> {
        let nulls = self.integer(&format!("null_count.{column}"), file)?;
        u64::try_from(nulls).ok()
    }

    fn integer(&self, name: &str, file: usize) -> Option<i64> {
        integer(self.actions.column_by_name(name)?, file)
    }

    /// The value of a partition column for each file.
    pub(crate) fn partition_column(&self, name: &str) -> Option<&ArrayRef> {
        self.actions.column_by_name(&format!("partition.{name}"))
    }

    /// The file as the scan wants it.
    ///
    /// `file_columns` are the columns that lie in files, in order; statistics
    /// are given for those in `wanted` only, since a table has many columns
    /// and a query names few.
    pub(crate) fn scan_file(
        &self,
        file: usize,
        file_columns: &[(&str, &DataType)],
        wanted: &HashSet<&str>,
        partition_columns: &[&str],
    ) -> Result<PartitionedFile> {
        let partition_values = partition_columns
            .iter()
            .map(|name| match self.partition_column(name) {
                Some(values) => ScalarValue::try_from_array(values, file),
                None => Ok(ScalarValue::Null),
            })
            .collect::<Result<Vec<_>>>()?;
        let size = self.size(file).unwrap_or(0);
        let modified = self
            .modified_ms(file)
            .and_then(DateTime::from_timestamp_millis);
        let meta = ObjectMeta {
            location: self.paths[file].clone(),
            last_modified: modified.unwrap_or_default(),
            size,
            e_tag: None,
            version: None,
        };
        let statistics = self.statistics(file, file_columns, wanted)?;
        Ok(PartitionedFile::new_from_meta(meta)
            .with_partition_values(partition_values)
            .with_statistics(Arc::new(statistics)))
    }

    fn statistics(
        &self,
        file: usize,
        file_columns: &[(&str, &DataType)],
        wanted: &HashSet<&str>,
    ) -> Result<Statistics> {
        let columns = file_columns
            .iter()
            .map(|(name, kind)| {
                if wanted.contains(name) {
                    self.column_statistics(file, name, kind)
                } else {
                    Ok(ColumnStatistics::new_unknown())
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Statistics {
            num_rows: exact(self.rows(file)),
            total_byte_size: Precision::Absent,
            column_statistics: columns,
        })
    }

    fn column_statistics(
        &self,
        file: usize,
        name: &str,
        kind: &DataType,
    ) -> Result<ColumnStatistics> {
        let value = |which: &str| -> Result<Precision<ScalarValue>> {
            let Some(array) = self.actions.column_by_name(&format!("{which}.{name}")) else {
                return Ok(Precision::Absent);
            };
            let value = ScalarValue::try_from_array(array, file)?;
            Ok(match bounds(kind) {
                _ if value.is_null() || value.data_type() != *kind => Precision::Absent,
                Bounds::Values => Precision::Exact(value),
                Bounds::Limits => Precision::Inexact(value),
            })
        };
        let nulls = self
            .nulls(file, name)
            .and_then(|nulls| usize::try_from(nulls).ok());
        Ok(ColumnStatistics {
            null_count: exact(nulls),
            min_value: value("min")?,
            max_value: value("max")?,
            ..ColumnStatistics::new_unknown()
        })
    }

    /// The bound of a column in each file, so that every value lies within.
    fn bound(&self, which: &str, column: &Column) -> Option<ArrayRef> {
        if let Some(values) = self.partition_column(&column.name) {
            return Some(ArrayRef::clone(values));
        }
        let array = self
            .actions
            .column_by_name(&format!("{which}.{}", column.name))?;
        if which == "max"
            && array.data_type() == &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        {
            return Some(past_the_millisecond(array.as_primitive()));
        }
        Some(ArrayRef::clone(array))
    }
}

/// The integer of a row; `None` where it is null, or the column is of something else.
fn integer(column: &ArrayRef, row: usize) -> Option<i64> {
    let column = column.as_primitive_opt::<Int64Type>()?;
    column.is_valid(row).then(|| column.value(row))
}

/// What the log's least and greatest values are.
enum Bounds {
    /// Values that occur.
    Values,
    /// Limits that no value passes; the value itself may not occur.
    Limits,
}

/// Integers and dates are kept as they are. The log cuts moments to whole
/// milliseconds and may cut long texts; floats leave out NaN.
fn bounds(kind: &DataType) -> Bounds {
    match kind {
        DataType::Int64 | DataType::Int32 | DataType::Date32 => Bounds::Values,
        _ => Bounds::Limits,
    }
}

/// The log cuts moments to whole milliseconds, so the greatest one may lie up
/// to a millisecond later.
fn past_the_millisecond(greatest: &TimestampMicrosecondArray) -> ArrayRef {
    let later = greatest.unary::<_, TimestampMicrosecondType>(|micros| micros.saturating_add(999));
    Arc::new(later.with_timezone("UTC"))
}

fn exact(count: Option<usize>) -> Precision<usize> {
    count.map_or(Precision::Absent, Precision::Exact)
}

impl PruningStatistics for FileList {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound("min", column)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound("max", column)
    }

    fn num_containers(&self) -> usize {
        self.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self
            .actions
            .column_by_name(&format!("null_count.{}", column.name))?;
        cast(counts, &DataType::UInt64).ok()
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        cast(
            self.actions.column_by_name("num_records")?,
            &DataType::UInt64,
        )
        .ok()
    }

    /// The log keeps no bounds of `run_id`, but an id determines its key, and
    /// of that it does: a file of one run holds none of the ids whose keys are
    /// others.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if column.name != "run_id" {
            return None;
        }
        let keys: HashSet<i64> = values
            .iter()
            .filter_map(|value| value.try_as_str().flatten()?.parse::<RunId>().ok())
            .map(|id| id.run_key())
            .collect();
        let none_of_them = |runs| match runs {
            RunsOfFile::One(key) if !keys.contains(&key) => Some(false),
            _ => None,
        };
        Some(self.runs().into_iter().map(none_of_them).collect())
    }
}
