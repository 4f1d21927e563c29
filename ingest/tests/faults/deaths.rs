//! One fault at each place where there can be one, one after another.

use std::sync::Arc;

use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use futures::FutureExt as _;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use plimsoll_ingest::delta::{create_missing, open_or_create};
use plimsoll_ingest::{Table, WarehouseStore};

use crate::place::{Seen, Waiting, location};
use plimsoll_faulty_storage::{Fate, Faulty, step};

/// A warehouse whose tables are there.
async fn made() -> Arc<InMemory> {
    let inner = Arc::new(InMemory::new());
    let store = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
    create_missing(&store).await.expect("made");
    inner
}

/// Publishes a run once for each operation that it takes, or for each so many of them, with that
/// fate for that operation, and then once more with none.
async fn at_each_operation(fate: Fate) {
    let made = made().await;
    // Each time another first one, so that all are met in a few rounds.
    let step = step(9);
    let mut operation = fate as u64 % step;
    loop {
        let spools = tempfile::tempdir().expect("a folder");
        let inner = Arc::new(made.fork());
        let waiting = Waiting::new();
        waiting.spool(spools.path());
        let faulty = Faulty::at(inner.clone(), operation, fate);
        waiting.publish(spools.path(), faulty.clone()).await;
        let over = faulty.operations() <= operation;
        // What is half done is seen by nobody.
        Seen::by_a_reader(&inner).await.whole_runs();
        faulty.settle().await;
        if waiting.waits(spools.path()) {
            let healthy = Faulty::healthy(inner.clone());
            let published = waiting.publish(spools.path(), healthy).await;
            assert!(published.is_some(), "operation {operation}: {fate:?}");
        }
        let seen = Seen::by_a_reader(&inner).await;
        assert_eq!(seen.whole_runs(), 1, "operation {operation}: {fate:?}");
        seen.holds(waiting);
        if over {
            break;
        }
        operation += step;
    }
    println!("{fate:?} at one in {step} of {operation} operations");
    // Four commits, each with its look at the log before and after.
    assert!(operation > 30, "{operation} operations");
}

/// Somebody else publishes, from beginning to end, between two operations of a publisher: once for
/// each operation. `rival` is what they publish, given what the publisher has.
async fn overtaken_at_each_operation(rival: fn(Waiting) -> Waiting, runs: usize) {
    let made = made().await;
    let step = step(2);
    let mut operation = 0;
    loop {
        let spools = tempfile::tempdir().expect("a folder");
        let (mine, theirs) = (spools.path().join("mine"), spools.path().join("theirs"));
        let inner = Arc::new(made.fork());
        let waiting = Waiting::new();
        let rival = rival(waiting);
        waiting.spool(&mine);
        rival.spool(&theirs);
        let healthy = Faulty::healthy(inner.clone());
        let overtaker = async move {
            let published = rival.publish(&theirs, healthy).await;
            assert!(published.is_some(), "nobody overtakes them");
        };
        let way = Faulty::overtaken(inner.clone(), operation, overtaker.boxed());
        let published = waiting.publish(&mine, way.clone()).await;
        assert!(published.is_some(), "operation {operation}");
        if way.operations() <= operation {
            break;
        }
        let seen = Seen::by_a_reader(&inner).await;
        assert_eq!(seen.whole_runs(), runs, "operation {operation}");
        seen.holds(waiting);
        seen.holds(rival);
        operation += step;
    }
    assert!(operation > 30, "{operation} operations");
}

#[tokio::test]
async fn the_same_run_may_be_published_by_somebody_else_at_any_moment() {
    overtaken_at_each_operation(|waiting| waiting, 1).await;
}

#[tokio::test]
async fn the_same_task_may_be_completed_by_somebody_else_at_any_moment() {
    overtaken_at_each_operation(|waiting| Waiting::of_task(waiting.task_id), 2).await;
}

#[tokio::test]
async fn a_publisher_may_die_before_any_operation() {
    at_each_operation(Fate::DiesBefore).await;
}

#[tokio::test]
async fn a_publisher_may_die_after_any_operation() {
    at_each_operation(Fate::DiesAfter).await;
}

#[tokio::test]
async fn any_operation_may_be_refused() {
    at_each_operation(Fate::Refused).await;
}

#[tokio::test]
async fn the_answer_to_any_operation_may_be_lost() {
    at_each_operation(Fate::AnswerLost).await;
}

#[tokio::test]
async fn any_write_may_be_answered_with_a_conflict() {
    at_each_operation(Fate::Conflict).await;
}

#[tokio::test]
async fn any_write_may_be_late() {
    at_each_operation(Fate::Late).await;
}

/// The tables of one run, whose next commit is their hundredth.
async fn before_the_hundredth() -> Arc<InMemory> {
    let inner = made().await;
    let store = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
    for table in [Table::Chunks, Table::Stages, Table::Runs, Table::Jobs] {
        let mut delta = open_or_create(&store, table).await.expect("a table");
        for _ in 1..100 {
            let operation = DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            };
            let properties = CommitProperties::default().with_create_checkpoint(false);
            let state = delta.snapshot().expect("loaded");
            CommitBuilder::from(properties)
                .build(Some(state), delta.log_store(), operation)
                .await
                .expect("a commit");
            delta.update_state().await.expect("refreshed");
        }
        assert_eq!(delta.version(), Some(99));
        create_checkpoint(&delta, None).await.expect("summed up");
    }
    inner
}

/// Whether the logs of one run's tables are summed up.
async fn summed_up(inner: &InMemory) -> usize {
    let mut summed_up = 0;
    for table in [Table::Chunks, Table::Stages, Table::Runs, Table::Jobs] {
        let store = WarehouseStore::over(&location(), Faulty::healthy(Arc::new(inner.fork())));
        let log = format!("{}/_delta_log", table.path());
        let checkpoint = store.path(&format!("{log}/00000000000000000100.checkpoint.parquet"));
        summed_up += usize::from(inner.head(&checkpoint).await.is_ok());
    }
    summed_up
}

#[tokio::test]
async fn the_hundredth_commit_sums_the_log_up_and_is_none_the_worse_where_it_cannot() {
    let made = before_the_hundredth().await;
    for (part, expected) in [
        ("no such path", 4),
        (".checkpoint.", 0),
        ("_last_checkpoint", 4),
    ] {
        let inner = Arc::new(made.fork());
        let spools = tempfile::tempdir().expect("a folder");
        let waiting = Waiting::new();
        waiting.spool(spools.path());
        let way = Faulty::refusing(inner.clone(), part);
        let published = waiting.publish(spools.path(), way).await;
        assert!(published.is_some(), "{part}");
        assert_eq!(summed_up(&inner).await, expected, "{part}");
        // A reader that begins there sees what one sees that reads every commit.
        assert_eq!(Seen::by_a_reader(&inner).await.whole_runs(), 1, "{part}");
    }
}
