//! The files that a table's log names: there, whole, and as the log says.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use plimsoll_ingest::storage::{self, StorageFailure};
use plimsoll_ingest::{Table, WarehouseStore};

use super::Finding;
use crate::error::OpenError;
use crate::files::FileList;

/// Files that are looked at at once.
const AT_ONCE: usize = 8;

/// Bytes of a file's end that are read at first: the whole footer, mostly.
const TAIL: u64 = 64 << 10;

pub(super) const RESTORE: &str = "restore the file from a copy of the storage, or take its run out with a \
    tool for Delta tables";

/// What is wrong with the files of a table.
///
/// # Errors
/// Storage does not answer: of files that nobody looked at there is nothing to say.
pub(super) async fn check(
    store: &WarehouseStore,
    table: Table,
    files: &FileList,
) -> Result<Vec<Finding>, OpenError> {
    let objects = store.objects().as_ref();
    let looks = (0..files.len()).map(|file| async move {
        let looked = check_file(objects, table, files, file).await;
        looked.map_err(|failure| OpenError::Unreadable {
            table,
            location: store.location().to_string(),
            reason: failure.to_string(),
            help: Some(failure.kind().help()),
        })
    });
    let found = stream::iter(looks).buffer_unordered(AT_ONCE);
    found
        .try_filter_map(async |finding| Ok(finding))
        .try_collect()
        .await
}

async fn check_file(
    objects: &dyn ObjectStore,
    table: Table,
    files: &FileList,
    file: usize,
) -> Result<Option<Finding>, StorageFailure> {
    let path = files.path(file);
    let name = path.filename().unwrap_or_default();
    let broken = |what: String| {
        Ok(Some(Finding::broken(
            table,
            format!("file {name} {what}"),
            RESTORE,
        )))
    };
    let size = match objects.head(path).await {
        Ok(found) => found.size,
        Err(object_store::Error::NotFound { .. }) => return broken("is missing".into()),
        Err(error) => match storage::failure(&error) {
            Some(failure) => return Err(failure.clone()),
            None => return broken(format!("cannot be looked at: {error}")),
        },
    };
    if let Some(said) = files.size(file).filter(|said| *said != size) {
        return broken(format!("has {size} bytes where the log says {said}"));
    }
    let footer = match footer(objects, path, size).await {
        Ok(footer) => footer,
        Err(error) => match storage::failure(&error) {
            Some(failure) => return Err(failure.clone()),
            None => return broken(format!("is torn: {error}")),
        },
    };
    let rows = usize::try_from(footer.file_metadata().num_rows()).unwrap_or_default();
    if let Some(said) = files.rows(file).filter(|said| *said != rows) {
        return broken(format!("has {rows} rows where the log says {said}"));
    }
    let wrong = table.stats_columns().iter().find_map(|column| {
        let holds = Holds::of(&footer, column)?;
        difference(column, &holds, files, file)
    });
    wrong.map_or(Ok(None), broken)
}

/// How what the log says of a column differs from what its file holds.
fn difference(column: &str, holds: &Holds, files: &FileList, file: usize) -> Option<String> {
    let nulls = holds.nulls.zip(files.nulls(file, column));
    if let Some((found, said)) = nulls.filter(|(found, said)| found != said) {
        return Some(format!(
            "has {found} rows without {column}, and its log says {said}"
        ));
    }
    let (least, greatest) = holds.bounds?;
    let (from, to) = files.limits(file, column)?;
    let lies_within = from <= least && greatest <= to;
    (!lies_within).then(|| {
        format!("holds {column} from {least} to {greatest}, and its log says {from} to {to}")
    })
}

/// What a file holds of a column of integers or moments, by its footer.
struct Holds {
    /// The least and the greatest value; `None` where there is none, or the footer does not say.
    bounds: Option<(i64, i64)>,
    /// The nulls, where the footer says.
    nulls: Option<u64>,
}

impl Holds {
    /// `None` where the file has no such column, as one of an earlier release.
    fn of(footer: &ParquetMetaData, column: &str) -> Option<Self> {
        let schema = footer.file_metadata().schema_descr();
        let at = schema
            .columns()
            .iter()
            .position(|found| found.path().string() == column)?;
        let mut holds = Self {
            bounds: None,
            nulls: Some(0),
        };
        for group in footer.row_groups() {
            let Some(Statistics::Int64(values)) = group.column(at).statistics() else {
                holds.nulls = None;
                continue;
            };
            let nulls = holds.nulls.zip(values.null_count_opt());
            holds.nulls = nulls.map(|(before, more)| before + more);
            if let (Some(least), Some(greatest)) = (values.min_opt(), values.max_opt()) {
                let (low, high) = holds.bounds.unwrap_or((*least, *greatest));
                holds.bounds = Some((low.min(*least), high.max(*greatest)));
            }
        }
        Some(holds)
    }
}

async fn footer(
    objects: &dyn ObjectStore,
    path: &Path,
    size: u64,
) -> Result<ParquetMetaData, ParquetError> {
    let mut wanted = TAIL.min(size);
    loop {
        // Azure has no ranges that are counted from the end.
        let tail = tail(objects, path, size - wanted..size).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, size) {
            Ok(()) => return reader.finish(),
            Err(ParquetError::NeedMoreData(needed)) if (needed as u64) > wanted => {
                wanted = (needed as u64).min(size);
                if tail.len() as u64 == size {
                    return Err(ParquetError::EOF(
                        "its footer is longer than the file".into(),
                    ));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn tail(
    objects: &dyn ObjectStore,
    path: &Path,
    range: Range<u64>,
) -> Result<Bytes, ParquetError> {
    // Nothing is no range.
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let read = objects.get_range(path, range).await;
    read.map_err(|error| ParquetError::External(error.into()))
}
