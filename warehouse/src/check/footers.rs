//! The files that a table's log names: there, whole, and as the log says.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use plimsoll_ingest::{Table, WarehouseStore};

use super::Finding;
use crate::files::FileList;

/// Files that are looked at at once.
const AT_ONCE: usize = 8;

/// Bytes of a file's end that are read at first: the whole footer, mostly.
const TAIL: u64 = 64 << 10;

pub(super) const RESTORE: &str = "restore the file from a copy of the storage, or take its run out with a \
    tool for Delta tables";

/// What is wrong with the files of a table.
pub(super) async fn check(store: &WarehouseStore, table: Table, files: &FileList) -> Vec<Finding> {
    let objects = store.objects().as_ref();
    let looks = (0..files.len()).map(|file| check_file(objects, table, files, file));
    let found = stream::iter(looks).buffer_unordered(AT_ONCE);
    found.filter_map(async |finding| finding).collect().await
}

async fn check_file(
    objects: &dyn ObjectStore,
    table: Table,
    files: &FileList,
    file: usize,
) -> Option<Finding> {
    let path = files.path(file);
    let name = path.filename().unwrap_or_default();
    let broken = |what: String| {
        Some(Finding::broken(
            table,
            format!("file {name} {what}"),
            RESTORE,
        ))
    };
    let size = match objects.head(path).await {
        Ok(found) => found.size,
        Err(object_store::Error::NotFound { .. }) => return broken("is missing".into()),
        Err(error) => return broken(format!("cannot be looked at: {error}")),
    };
    if let Some(said) = files.size(file).filter(|said| *said != size) {
        return broken(format!("has {size} bytes where the log says {said}"));
    }
    let footer = match footer(objects, path, size).await {
        Ok(footer) => footer,
        Err(error) => return broken(format!("is torn: {error}")),
    };
    let rows = usize::try_from(footer.file_metadata().num_rows()).unwrap_or_default();
    if let Some(said) = files.rows(file).filter(|said| *said != rows) {
        return broken(format!("has {rows} rows where the log says {said}"));
    }
    let wrong = table.stats_columns().iter().find_map(|column| {
        let (least, greatest) = bounds(&footer, column)?;
        let (from, to) = files.integer_bounds(file, column)?;
        let lies_within = from <= least && greatest <= to;
        (!lies_within).then(|| {
            format!("holds {column} from {least} to {greatest}, and its log says {from} to {to}")
        })
    });
    wrong.and_then(broken)
}

/// The least and the greatest value of an integer column, by the footer.
fn bounds(footer: &ParquetMetaData, column: &str) -> Option<(i64, i64)> {
    let schema = footer.file_metadata().schema_descr();
    let at = schema
        .columns()
        .iter()
        .position(|found| found.path().string() == column)?;
    let mut all: Option<(i64, i64)> = None;
    for group in footer.row_groups() {
        let Some(Statistics::Int64(values)) = group.column(at).statistics() else {
            continue;
        };
        let (Some(least), Some(greatest)) = (values.min_opt(), values.max_opt()) else {
            continue;
        };
        let (low, high) = all.unwrap_or((*least, *greatest));
        all = Some((low.min(*least), high.max(*greatest)));
    }
    all
}

async fn footer(
    objects: &dyn ObjectStore,
    path: &Path,
    size: u64,
) -> Result<ParquetMetaData, ParquetError> {
    let mut wanted = TAIL.min(size);
    loop {
        let tail = tail(objects, path, wanted).await?;
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

async fn tail(objects: &dyn ObjectStore, path: &Path, bytes: u64) -> Result<Bytes, ParquetError> {
    let external = |error: object_store::Error| ParquetError::External(error.into());
    let options = GetOptions {
        range: Some(GetRange::Suffix(bytes)),
        ..GetOptions::default()
    };
    let result = objects.get_opts(path, options).await.map_err(external)?;
    result.bytes().await.map_err(external)
}
