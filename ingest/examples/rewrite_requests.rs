//! Writes a file of requests again, as publishing does: every row is read first, then timed.
//!
//! `cargo xtask bench warehouse` runs it beside other writers of Parquet. Usage:
//! `rewrite_requests FILE FOLDER`. Writes one line of JSON.

use std::env;
use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use mimalloc::MiMalloc;
use object_store::local::LocalFileSystem;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use plimsoll_ingest::files::{FileLimits, TableFiles};
use plimsoll_ingest::{Date, Table};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, folder] = &arguments[..] else {
        return Err("usage: rewrite_requests FILE FOLDER".into());
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    let batches = reader
        .with_batch_size(8_192)
        .build()?
        .collect::<Result<Vec<_>, _>>()?;
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
    let began = Instant::now();
    let limits = FileLimits::COMPACTED;
    let mut files = TableFiles::new(Table::Requests, Date::from_days(0), "part", limits, store);
    for batch in &batches {
        files.write(batch).await?;
    }
    let adds = files.finish().await?;
    let told = serde_json::json!({
        "rows": batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        "seconds": began.elapsed().as_secs_f64(),
        "bytes": adds.iter().map(|add| add.size).sum::<i64>(),
    });
    println!("{told}");
    Ok(())
}
