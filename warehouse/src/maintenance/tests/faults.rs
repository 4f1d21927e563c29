//! Maintenance over storage that fails, and beside others, at any of its operations.
//!
//! `PLIMSOLL_FAULT_ROUNDS` has each operation tried with each fate; a few are where nobody asks for
//! more.

use std::num::NonZero;

use arrow::util::pretty::pretty_format_batches;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::memory::InMemory;
use plimsoll_faulty_storage::{Fate, Faulty, step};
use tokio::task::JoinSet;

use super::*;
use crate::check;
use crate::snapshots::Snapshots;

/// Of so many operations one is tried where there is little time.
const SHORT: u64 = 83;

/// A lease that has run out at once: whoever had it is gone.
const RUN_OUT: Duration = Duration::ZERO;

pub(super) fn over(faulty: Arc<Faulty>) -> WarehouseStore {
    let location = WarehouseLocation::parse("s3://results/warehouse").expect("a place");
    WarehouseStore::over(&location, faulty)
}

fn healthy(inner: &Arc<InMemory>) -> WarehouseStore {
    over(Faulty::healthy(Arc::clone(inner)))
}

/// Two closed days to be put together, one past its retention, a run that nobody sees, and one of
/// today: something to do for every part of maintenance.
async fn untidy() -> Arc<InMemory> {
    let inner = Arc::new(InMemory::new());
    let store = healthy(&inner);
    delta::create_missing(&store).await.expect("made");
    for run in 0..10 {
        publish(&store, 72 + run % 2 * 24, true).await;
    }
    publish(&store, 45 * 24, true).await;
    publish(&store, 72, false).await;
    publish(&store, 0, true).await;
    inner
}

fn optimizing() -> Chore {
    Chore::Optimize {
        retention: Retention::default(),
    }
}

fn vacuuming() -> Chore {
    Chore::Vacuum {
        older_than: Duration::ZERO,
        dry_run: false,
    }
}

async fn maintained(store: WarehouseStore, chore: &Chore) -> Result<Maintained, MaintenanceError> {
    under_lease(store, &WarehouseOptions::default(), chore, RUN_OUT).await
}

/// What a reader sees who begins now, without the day that is past its retention; and that all of
/// it is sound.
async fn seen(inner: &Arc<InMemory>) -> String {
    let store = healthy(inner);
    let engine = Engine::new(&store, &WarehouseOptions::default()).expect("an engine");
    let snapshots = Snapshots::unopened(&store, &Arc::new(engine)).await;
    let newest = snapshots.expect("a set").newest().await;
    let newest = Arc::new(newest.expect("the newest set"));
    let sql = "SELECT r.run_id, count(*), count(DISTINCT c.request_id), sum(cardinality(c.at_ns)) \
               FROM runs AS r JOIN chunks AS c ON c.run_key = r.run_key \
               WHERE c.date > current_date - INTERVAL '20 days' GROUP BY r.run_id ORDER BY 1";
    let rows = newest.rows(sql, Vec::new()).await.expect("an answer");
    let checked = check::look(&store, &newest, &Retention::default()).await;
    let checked = checked.expect("looked through");
    assert!(checked.is_sound(), "{:?}", checked.findings);
    pretty_format_batches(&rows).expect("text").to_string()
}

/// Does the chore to its end, as whoever comes next does.
async fn tidy_up(inner: &Arc<InMemory>, chore: &Chore, how: &str) {
    let Maintained { failed, .. } = maintained(healthy(inner), chore)
        .await
        .unwrap_or_else(|error| panic!("{how}: {error}"));
    assert!(failed.is_empty(), "{how}: {failed:?}");
}

/// Holds that nothing is left to be done, and that nothing lies about.
async fn is_tidy(inner: &Arc<InMemory>, how: &str) {
    let store = healthy(inner);
    tidy_up(inner, &vacuuming(), how).await;
    for table in [Table::Chunks, Table::Runs] {
        let named = files(&store, table).await;
        let folder = store.path(&table.path());
        let objects: Vec<_> = inner.list(Some(&folder)).try_collect().await.expect("all");
        let parquet = objects.iter().filter(|object| {
            let path = object.location.as_ref();
            !path.contains("_delta_log") && path.contains("parquet")
        });
        assert_eq!(parquet.count(), named.len(), "{how}: {table}: {named:?}");
    }
    // Two closed days, the run that nobody sees, and today.
    let chunks = files(&store, Table::Chunks).await;
    assert_eq!(chunks.len(), 4, "{how}: {chunks:?}");
}

/// Makes an attempt for each operation, or for each so many of them, until one is not reached: an
/// attempt says how many operations it took. Where all are tried, some are at once.
async fn at_each_operation<A>(first: u64, attempt: impl Fn(u64) -> A) -> u64
where
    A: Future<Output = u64> + Send + 'static,
{
    let step = step(SHORT);
    let at_once = match step {
        1 => std::thread::available_parallelism().map_or(1, NonZero::get),
        _ => 1,
    };
    let (mut attempts, mut next, mut reached) = (JoinSet::new(), first, None);
    loop {
        while reached.is_none() && attempts.len() < at_once {
            let (operation, attempt) = (next, attempt(next));
            attempts.spawn(async move { (operation, attempt.await) });
            next += step;
        }
        let Some(made) = attempts.join_next().await else {
            break;
        };
        let (operation, operations) = made.expect("rows stay");
        if operations <= operation {
            assert!(operations > 50, "{operations} operations");
            reached = Some(operations);
        }
    }
    reached.expect("some operation is not reached")
}

/// Maintains with that fate for one operation, and then once more with none.
async fn maintained_at(
    operation: u64,
    chore: Chore,
    fate: Fate,
    from: Arc<InMemory>,
    expected: Arc<str>,
) -> u64 {
    let how = format!("{chore:?}, operation {operation}: {fate:?}");
    let inner = Arc::new(from.fork());
    let faulty = Faulty::at(Arc::clone(&inner), operation, fate);
    drop(maintained(over(Arc::clone(&faulty)), &chore).await);
    assert_eq!(*seen(&inner).await, *expected, "{how}");
    faulty.settle().await;
    assert_eq!(*seen(&inner).await, *expected, "{how}, late");
    tidy_up(&inner, &optimizing(), &how).await;
    is_tidy(&inner, &how).await;
    assert_eq!(*seen(&inner).await, *expected, "{how}, tidied up");
    faulty.operations()
}

/// The worst two where there is little time, else all.
fn fates() -> &'static [Fate] {
    if step(SHORT) == 1 {
        &Fate::FAULTS
    } else {
        &Fate::FAULTS[..2]
    }
}

/// Maintains with each fate at each operation.
async fn with_each_fate(chore: &Chore, from: &Arc<InMemory>) {
    let expected: Arc<str> = seen(from).await.into();
    for fate in fates() {
        let first = *fate as u64 * 11 % step(SHORT);
        let operations = at_each_operation(first, |operation| {
            let (from, expected) = (Arc::clone(from), Arc::clone(&expected));
            maintained_at(operation, chore.clone(), *fate, from, expected)
        });
        let (operations, step) = (operations.await, step(SHORT));
        println!("maintenance: {fate:?} at one in {step} of {operations} operations");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_whatever_happens_to_any_operation_of_optimizing() {
    let from = untidy().await;
    with_each_fate(&optimizing(), &from).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_whatever_happens_to_any_operation_of_vacuum() {
    let from = untidy().await;
    tidy_up(&from, &optimizing(), "before").await;
    with_each_fate(&vacuuming(), &from).await;
}

/// Does something in a warehouse.
type Overtaker = fn(WarehouseStore) -> BoxFuture<'static, ()>;

/// Somebody does something between two operations of optimizing, once for each of them.
async fn overtaken_at_each_operation(overtaker: Overtaker, runs: usize) {
    let from = untidy().await;
    let expected: Arc<str> = seen(&from).await.into();
    let operations = at_each_operation(0, |operation| {
        overtaken_at(
            operation,
            overtaker,
            runs,
            Arc::clone(&from),
            Arc::clone(&expected),
        )
    });
    let (operations, step) = (operations.await, step(SHORT));
    println!("maintenance: overtaken at one in {step} of {operations} operations");
}

async fn overtaken_at(
    operation: u64,
    overtaker: Overtaker,
    runs: usize,
    from: Arc<InMemory>,
    expected: Arc<str>,
) -> u64 {
    let how = format!("overtaken at operation {operation}");
    // Each run is there as it was, and so many more.
    let holds = |seen: &str| {
        let missing = expected.lines().find(|line| !seen.contains(line));
        assert_eq!(missing, None, "{how}: {seen}");
        let more = seen.lines().count() - expected.lines().count();
        assert_eq!(more, runs, "{how}: {seen}");
    };
    let inner = Arc::new(from.fork());
    let overtaker = overtaker(healthy(&inner));
    let way = Faulty::overtaken(Arc::clone(&inner), operation, overtaker);
    drop(maintained(over(Arc::clone(&way)), &optimizing()).await);
    if way.operations() > operation {
        holds(&seen(&inner).await);
        tidy_up(&inner, &optimizing(), &how).await;
        holds(&seen(&inner).await);
    }
    way.operations()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_be_published_at_any_moment_of_optimizing() {
    let publishing = |store: WarehouseStore| {
        async move {
            publish(&store, 72, true).await;
        }
        .boxed()
    };
    overtaken_at_each_operation(publishing, 1).await;
}

/// The first holder's lease has run out, and it does not know yet.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_may_optimize_at_any_moment_of_optimizing() {
    let rival = |store: WarehouseStore| {
        async move {
            // It is held for the first moment of its life.
            while let Err(error) = maintained(store.clone(), &optimizing()).await {
                let held = matches!(error, MaintenanceError::Held { .. });
                assert!(held, "{error}");
            }
        }
        .boxed()
    };
    overtaken_at_each_operation(rival, 0).await;
}
