//! What maintenance promises, tried on real tables.

use std::time::Duration;

use plimsoll_ingest::{ChunksRow, EnvelopeRow, RunId, RunRow, TableRow, Timestamp, Verdict};

use super::*;

mod faults;
mod later;
mod leases;
mod meanwhile;

fn place() -> (tempfile::TempDir, WarehouseStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let location = WarehouseLocation::parse(&folder.path().display().to_string());
    let store = WarehouseStore::connect(&location.expect("a path")).expect("local files");
    (folder, store)
}

/// Hours and more before the tests run.
fn moment(hours_ago: i64) -> Timestamp {
    Timestamp::from_micros(Timestamp::now().micros() - hours_ago * 3_600_000_000)
}

fn chunks_of(run_id: RunId) -> Vec<ChunksRow> {
    let of_request = |request_id| ChunksRow {
        run_id,
        run_key: run_id.run_key(),
        date: run_id.date(),
        request_id,
        at_ns: vec![1, 2],
        tokens: None,
    };
    (0..5).map(of_request).collect()
}

fn passed(run_id: RunId) -> RunRow {
    RunRow {
        verdict: Verdict::Passed.to_string(),
        ..RunRow::blank(run_id, run_id.created_at())
    }
}

/// Appends a run's rows as publishing does: one file for each run and table, written `hours_ago`.
async fn publish(store: &WarehouseStore, hours_ago: i64, visible: bool) -> RunId {
    let run_id = RunId::new(moment(hours_ago));
    append(store, run_id, hours_ago, &chunks_of(run_id)).await;
    if visible {
        append(store, run_id, hours_ago, &[EnvelopeRow::blank(run_id)]).await;
        append(store, run_id, hours_ago, &[passed(run_id)]).await;
    }
    run_id
}

async fn append<R: TableRow>(store: &WarehouseStore, run_id: RunId, hours_ago: i64, rows: &[R]) {
    use deltalake_core::kernel::Action;
    use deltalake_core::kernel::transaction::CommitBuilder;
    use deltalake_core::protocol::{DeltaOperation, SaveMode};
    use plimsoll_ingest::files::{FileLimits, TableFiles};

    let delta = delta::open_or_create(store, R::TABLE)
        .await
        .expect("a table");
    let (date, limits) = (run_id.date(), FileLimits::PUBLISHED);
    let mut files = TableFiles::new(R::TABLE, date, "part", limits, delta.object_store());
    files
        .write(&R::to_batch(rows).expect("rows"))
        .await
        .expect("written");
    let adds = files
        .finish()
        .await
        .expect("files")
        .into_iter()
        .map(|mut add| {
            add.modification_time = moment(hours_ago).millis();
            Action::Add(add)
        });
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    CommitBuilder::default()
        .with_actions(adds.collect())
        .build(
            Some(delta.snapshot().expect("loaded")),
            delta.log_store(),
            operation,
        )
        .await
        .expect("a commit");
}

async fn files(store: &WarehouseStore, table: Table) -> Vec<String> {
    let delta = delta::open_table(store, table).await.expect("readable");
    let delta = delta.expect("there");
    let state = delta.snapshot().expect("loaded");
    let mut paths: Vec<_> = state
        .log_data()
        .iter()
        .map(|file| file.path().into_owned())
        .collect();
    paths.sort_unstable();
    paths
}

async fn answer(store: &WarehouseStore, sql: &str) -> String {
    use crate::{Access, Format, QueryLimits, Warehouse};
    let warehouse = Warehouse::open(store.location(), WarehouseOptions::default()).await;
    let limits = QueryLimits {
        timeout: Duration::from_secs(60),
        max_rows: None,
        access: Access::All,
    };
    let warehouse = warehouse.expect("open");
    let mut result = warehouse.query(sql, &[], &limits).await.expect("a plan");
    let mut bytes = Vec::new();
    crate::format::write(&mut result, Format::Csv, &mut bytes)
        .await
        .expect("rows");
    let text = String::from_utf8(bytes).expect("CSV is text");
    text.trim_end()
        .split_once('\n')
        .map_or("", |(_, rows)| rows)
        .to_string()
}

async fn optimize(store: &WarehouseStore) -> Vec<(Table, Done)> {
    let chore = Chore::Optimize {
        retention: Retention::default(),
    };
    let maintained = maintain(store.location(), WarehouseOptions::default(), chore).await;
    let Maintained { done, failed } = maintained.expect("maintained");
    assert!(failed.is_empty(), "{failed:?}");
    done
}

const WHAT_IS_SEEN: &str = "SELECT count(*), count(DISTINCT run_key), min(request_id), \
                            max(request_id), sum(cardinality(at_ns)) FROM chunks";

#[tokio::test]
async fn small_files_of_closed_days_become_one_and_nobody_notices() {
    let (_folder, store) = place();
    for run in 0..4 {
        publish(&store, 72 + run % 2, true).await;
    }
    let hidden = publish(&store, 72, false).await;
    publish(&store, 0, true).await;
    let before = answer(&store, WHAT_IS_SEEN).await;
    assert_eq!(before, "25,5,0,4,50");
    let done = optimize(&store).await;
    let of = |table: Table| {
        done.iter()
            .find(|(of, _)| *of == table)
            .map(|(_, done)| done.clone())
    };
    let chunks = of(Table::Chunks).expect("something was done");
    assert!(
        (1..=2).contains(&chunks.compacted.1),
        "one for each day: {chunks:?}"
    );
    assert_eq!(
        chunks.compacted.0, 4,
        "neither today's nor the hidden run's"
    );
    assert_eq!(answer(&store, WHAT_IS_SEEN).await, before);
    let left = files(&store, Table::Chunks).await;
    let of_hidden = format!("date={}", hidden.date());
    assert!(
        left.iter().any(|path| path.starts_with(&of_hidden)),
        "{left:?}"
    );
    // The run becomes visible later, whole.
    let run = RunRow::blank(hidden, hidden.created_at());
    append(&store, hidden, 0, &[run]).await;
    assert_eq!(answer(&store, WHAT_IS_SEEN).await, "30,6,0,4,60");
    let again = optimize(&store).await;
    let again = again.iter().find(|(table, _)| *table == Table::Chunks);
    assert_eq!(again, None, "nothing is left to do: {again:?}");
}

#[tokio::test]
async fn a_compacted_file_is_sorted_by_run_and_request() {
    let (_folder, store) = place();
    for _ in 0..3 {
        publish(&store, 60, true).await;
    }
    optimize(&store).await;
    let [file] = &files(&store, Table::Chunks).await[..] else {
        panic!("one file")
    };
    let path = format!("{}/{file}", Table::Chunks.path());
    let object = object_store::ObjectStoreExt::get(store.objects(), &store.path(&path)).await;
    let bytes = object.expect("there").bytes().await.expect("bytes");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes)
        .expect("Parquet")
        .build()
        .expect("a reader");
    let mut keys = Vec::new();
    for batch in reader {
        let batch = batch.expect("rows");
        let column = |name: &str| {
            use arrow::array::AsArray as _;
            batch[name]
                .as_primitive::<arrow::datatypes::Int64Type>()
                .values()
                .to_vec()
        };
        keys.extend(column("run_key").into_iter().zip(column("request_id")));
    }
    assert_eq!(keys.len(), 15);
    assert!(keys.is_sorted(), "{keys:?}");
}

/// Delta itself lets two rewrites of the same files both land. The transaction that each commit of
/// ours carries does not.
#[tokio::test]
async fn two_compactions_of_the_same_files_cannot_both_land() {
    use deltalake_core::kernel::Action;
    use deltalake_core::kernel::transaction::CommitBuilder;
    use deltalake_core::protocol::DeltaOperation;
    use plimsoll_ingest::files::{FileLimits, TableFiles};

    for ours in [true, false] {
        let (_folder, store) = place();
        let run_id = publish(&store, 60, true).await;
        let work = |fence| Work {
            store: store.clone(),
            engine: Engine::new(&store, &WarehouseOptions::default()).expect("an engine"),
            fence: Arc::new(AtomicU64::new(fence)),
            now: chrono::Utc::now(),
        };
        let (one, other) = (work(1), work(2));
        let before = delta::open_table(&store, Table::Chunks)
            .await
            .expect("readable");
        let before = before.expect("there");
        let mut landed = Vec::new();
        for work in [&one, &other] {
            // Both look at the same version, as two processes would.
            let (date, limits) = (run_id.date(), FileLimits::PUBLISHED);
            let files = before.object_store();
            let mut written = TableFiles::new(Table::Chunks, date, "twice", limits, files);
            let rows = [ChunksRow {
                run_id,
                run_key: run_id.run_key(),
                date,
                request_id: 0,
                at_ns: vec![],
                tokens: None,
            }];
            written
                .write(&ChunksRow::to_batch(&rows).expect("rows"))
                .await
                .expect("written");
            let state = before.snapshot().expect("loaded");
            let named = state.log_data();
            let removed = named.iter().map(|file| file.remove_action(false));
            let mut actions: Vec<_> = removed.map(Action::Remove).collect();
            for mut add in written.finish().await.expect("files") {
                add.data_change = false;
                actions.push(Action::Add(add));
            }
            let operation = DeltaOperation::Optimize {
                predicate: None,
                target_size: 1,
            };
            landed.push(match ours {
                true => commit::commit(work, &before, actions, operation, None)
                    .await
                    .is_ok(),
                false => CommitBuilder::default()
                    .with_actions(actions)
                    .build(Some(state), before.log_store(), operation)
                    .await
                    .is_ok(),
            });
        }
        let left = files(&store, Table::Chunks).await.len();
        match ours {
            true => assert_eq!((landed, left), (vec![true, false], 1)),
            // If this fails one day, Delta has mended it.
            false => assert_eq!((landed, left), (vec![true, true], 2)),
        }
    }
}

#[tokio::test]
async fn a_holder_whose_lease_was_taken_commits_nothing() {
    let (_folder, store) = place();
    for _ in 0..2 {
        publish(&store, 60, true).await;
    }
    let delta = delta::open_table(&store, Table::Chunks)
        .await
        .expect("readable");
    let delta = delta.expect("there");
    let work = |fence| Work {
        store: store.clone(),
        engine: Engine::new(&store, &WarehouseOptions::default()).expect("an engine"),
        fence: Arc::new(AtomicU64::new(fence)),
        now: chrono::Utc::now(),
    };
    let operation = || deltalake_core::protocol::DeltaOperation::Optimize {
        predicate: None,
        target_size: 1,
    };
    commit::commit(&work(7), &delta, Vec::new(), operation(), None)
        .await
        .expect("the later one");
    let mut newer = delta.clone();
    newer.update_state().await.expect("refreshed");
    let refused = commit::commit(&work(6), &newer, Vec::new(), operation(), None).await;
    assert!(
        matches!(refused, Err(MaintenanceError::LeaseLost)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn days_past_their_retention_go_and_others_stay() {
    let (_folder, store) = place();
    publish(&store, 24 * 40, true).await;
    publish(&store, 24 * 2, true).await;
    let done = optimize(&store).await;
    let chunks = done
        .iter()
        .find(|(table, _)| *table == Table::Chunks)
        .expect("done");
    assert_eq!(chunks.1.expired, 1);
    assert_eq!(answer(&store, "SELECT count(*) FROM chunks").await, "5");
    assert_eq!(
        answer(&store, "SELECT count(*) FROM runs").await,
        "2",
        "runs are for ever"
    );
}

#[tokio::test]
async fn a_checkpoint_sums_up_the_log_and_answers_stay() {
    let (_folder, store) = place();
    for _ in 0..12 {
        publish(&store, 50, true).await;
    }
    let before = answer(&store, WHAT_IS_SEEN).await;
    let done = optimize(&store).await;
    let runs = done
        .iter()
        .find(|(table, _)| *table == Table::Runs)
        .expect("done");
    assert!(runs.1.checkpoint, "{runs:?}");
    assert_eq!(runs.1.compacted, (12, 1));
    assert_eq!(answer(&store, WHAT_IS_SEEN).await, before);
    assert_eq!(answer(&store, "SELECT count(*) FROM runs").await, "12");
}

/// Publishing asks the log whether a run is in. What it asks may expire, and the answer must not
/// change: then the files say it.
#[tokio::test]
async fn a_checkpoint_leaves_out_transactions_past_their_time() {
    use deltalake_core::kernel::Transaction;
    use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
    use deltalake_core::protocol::{DeltaOperation, SaveMode};

    let (_folder, store) = place();
    for _ in 0..10 {
        publish(&store, 2, true).await;
    }
    let delta = delta::open_table(&store, Table::Runs)
        .await
        .expect("readable");
    let delta = delta.expect("there");
    let transaction = |name, days: i64| {
        Transaction::new_with_last_update(name, 1, Some(moment(24 * days).millis()))
    };
    let properties = CommitProperties::default().with_application_transactions(vec![
        transaction("run:old", 31),
        transaction("run:young", 29),
    ]);
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    CommitBuilder::from(properties)
        .build(
            Some(delta.snapshot().expect("loaded")),
            delta.log_store(),
            operation,
        )
        .await
        .expect("a commit");
    let known = async || {
        let delta = delta::open_table(&store, Table::Runs)
            .await
            .expect("readable");
        let delta = delta.expect("there");
        let (state, log) = (delta.snapshot().expect("loaded").clone(), delta.log_store());
        let old = state
            .transaction_version(&log, "run:old")
            .await
            .expect("read");
        let young = state
            .transaction_version(&log, "run:young")
            .await
            .expect("read");
        (old.is_some(), young.is_some())
    };
    optimize(&store).await;
    assert_eq!(known().await, (false, true));
}

#[tokio::test]
async fn vacuum_deletes_what_nothing_needs_and_is_old_enough() {
    let (_folder, store) = place();
    for _ in 0..3 {
        publish(&store, 60, true).await;
    }
    optimize(&store).await;
    let vacuum = async |older_than, dry_run| {
        let chore = Chore::Vacuum {
            older_than,
            dry_run,
        };
        let options = WarehouseOptions::default();
        let done = maintain(store.location(), options, chore)
            .await
            .expect("vacuumed");
        let done = done.done.iter();
        done.map(|(_, done)| match dry_run {
            true => done.deletable,
            false => done.vacuumed,
        })
        .sum::<usize>()
    };
    assert_eq!(
        vacuum(Duration::from_secs(86_400), false).await,
        0,
        "they are too young"
    );
    let all = vacuum(Duration::ZERO, true).await;
    assert!(all >= 3, "{all}");
    assert_eq!(
        vacuum(Duration::ZERO, false).await,
        all,
        "a dry run deletes nothing"
    );
    assert_eq!(answer(&store, WHAT_IS_SEEN).await, "15,3,0,4,30");
    assert_eq!(vacuum(Duration::ZERO, true).await, 0);
}

#[tokio::test]
async fn a_place_without_a_warehouse_is_left_alone() {
    let (folder, store) = place();
    let chore = Chore::Optimize {
        retention: Retention::default(),
    };
    let refused = maintain(store.location(), WarehouseOptions::default(), chore).await;
    assert!(
        matches!(refused, Err(MaintenanceError::NoWarehouse { .. })),
        "{refused:?}"
    );
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}

/// A table that cannot be maintained does not keep the others from it.
#[tokio::test]
async fn what_fails_with_one_table_is_said_and_the_others_are_maintained() {
    let (_folder, store) = place();
    for _ in 0..12 {
        publish(&store, 50, true).await;
    }
    let chunks = files(&store, Table::Chunks).await;
    let path = store.path(&format!("{}/{}", Table::Chunks.path(), chunks[0]));
    object_store::ObjectStoreExt::delete(store.objects(), &path)
        .await
        .expect("a file is lost");
    let chore = Chore::Optimize {
        retention: Retention::default(),
    };
    let maintained = maintain(store.location(), WarehouseOptions::default(), chore).await;
    let Maintained { done, failed } = maintained.expect("maintained");
    let failed: Vec<_> = failed.iter().map(|(table, _)| *table).collect();
    assert_eq!(failed, [Table::Chunks]);
    assert!(
        done.iter().any(|(table, _)| *table == Table::Runs),
        "{done:?}"
    );
    assert_eq!(
        files(&store, Table::Chunks).await,
        chunks,
        "nothing is half done"
    );
}
