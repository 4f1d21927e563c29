//! How often publishing asks storage: over a network each question costs time and money.

use std::sync::Arc;

use object_store::memory::InMemory;
use plimsoll_faulty_storage::Faulty;
use plimsoll_ingest::delta::create_missing;
use plimsoll_ingest::{Table, WarehouseStore};

use crate::place::{Waiting, location};

/// Runs that are published one after the other, by a process each.
const RUNS: u64 = 8;

/// Tables that a run of these tests has rows for.
const WRITTEN: u64 = 4;

/// What is asked to open a table, beside its commits: a list, the last checkpoint, and the commit
/// that made it.
const TO_OPEN: u64 = 3;

/// What is asked to write to a table that is open: whether others wrote to it, before and after, with
/// two questions each; the file, the commit, and a look at either.
const TO_WRITE: u64 = 8;

/// The log is read for the columns, for the files, for the run's transaction and for its task's, by
/// whoever opens a table and again when it was written; the job's row is looked for in files.
#[tokio::test]
async fn each_commit_is_read_once_and_no_file_of_other_jobs() {
    let inner = Arc::new(InMemory::new());
    let root = tempfile::tempdir().expect("a folder");
    let healthy = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
    create_missing(&healthy).await.expect("made");
    for commits in 0..RUNS {
        let way = Faulty::healthy(inner.clone());
        let run = Waiting::new();
        run.spool(root.path());
        let published = run.publish(root.path(), way.clone()).await;
        assert!(published.is_some_and(|published| published.by_us));
        let tables = Table::ALL.len() as u64;
        let most = tables * TO_OPEN + WRITTEN * (TO_WRITE + commits);
        let asked = way.operations();
        assert!(
            asked <= most,
            "{asked}, not {most}, after {commits} commits"
        );
    }
}
