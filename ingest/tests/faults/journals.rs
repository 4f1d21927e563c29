//! Journals over storage that fails: each row of a source is there once, whoever dies when.

use std::sync::Arc;

use futures::FutureExt as _;
use object_store::memory::InMemory;
use plimsoll_faulty_storage::{Fate, Faulty, rounds, step};
use plimsoll_ingest::delta::create_missing;
use plimsoll_ingest::{
    EventRow, Journal, Recorded as _, Table, TableRow as _, Timestamp, WarehouseStore,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::place::{location, rows};

/// The event that a source numbers so.
fn event(number: i64) -> EventRow {
    EventRow {
        at: Timestamp::from_micros(1_790_000_000_000_000 + number),
        actor: "ada".to_string(),
        action: "job_submitted".to_string(),
        source: Some(format!("number {number}")),
        job_id: None,
        task_id: None,
        run_id: None,
        model: None,
        deployment: None,
        host: None,
        reason: None,
        detail: "{}".to_string(),
    }
}

fn events(first: i64, until: i64) -> Vec<EventRow> {
    (first..until).map(event).collect()
}

/// Tries to append events up to a number, from the first that is not known to be in.
async fn append(store: Arc<Faulty>, first: i64, until: i64) -> bool {
    let store = WarehouseStore::over(&location(), store);
    let Ok(mut journal) = Journal::open(&store, "store-1").await else {
        return false;
    };
    journal.append(first, &events(first, until)).await.is_ok()
}

/// The numbers of the events that a reader sees, in order.
async fn seen(inner: &Arc<InMemory>) -> Vec<i64> {
    let store = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
    let mut numbers = Vec::new();
    for batch in rows(&store, Table::Events).await {
        for row in EventRow::from_batch(&batch).expect("events") {
            let number = row.at().micros() - 1_790_000_000_000_000;
            assert_eq!(row, event(number));
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    numbers
}

async fn made() -> Arc<InMemory> {
    let inner = Arc::new(InMemory::new());
    let healthy = Faulty::healthy(inner.clone());
    let store = WarehouseStore::over(&location(), healthy.clone());
    create_missing(&store).await.expect("made");
    assert!(append(healthy, 1, 4).await);
    inner
}

#[tokio::test]
async fn any_operation_of_appending_may_meet_any_fate() {
    let made = made().await;
    for fate in Fate::FAULTS {
        let step = step(3);
        let mut operation = fate as u64 % step;
        loop {
            let inner = Arc::new(made.fork());
            let faulty = Faulty::at(inner.clone(), operation, fate);
            // Number 3 is sent again, as if its answer had been lost.
            append(faulty.clone(), 3, 8).await;
            let over = faulty.operations() <= operation;
            faulty.settle().await;
            let half = seen(&inner).await;
            assert!(
                [(1..4).collect::<Vec<_>>(), (1..8).collect()].contains(&half),
                "operation {operation}, {fate:?}: {half:?}"
            );
            assert!(append(Faulty::healthy(inner.clone()), 3, 9).await);
            let whole = seen(&inner).await;
            assert_eq!(
                whole,
                (1..9).collect::<Vec<_>>(),
                "operation {operation}, {fate:?}"
            );
            if over {
                break;
            }
            operation += step;
        }
        println!("{fate:?} at one in {step} of {operation} operations");
        assert!(operation > 8, "{operation} operations");
    }
}

#[tokio::test]
async fn another_writer_of_the_source_may_come_between_any_two_operations() {
    let made = made().await;
    let mut operation = 0;
    loop {
        let inner = Arc::new(made.fork());
        let healthy = Faulty::healthy(inner.clone());
        // It has some of the same rows.
        let overtaker = async move { assert!(append(healthy, 4, 6).await) };
        let way = Faulty::overtaken(inner.clone(), operation, overtaker.boxed());
        assert!(append(way.clone(), 3, 8).await, "operation {operation}");
        if way.operations() <= operation {
            break;
        }
        let whole = seen(&inner).await;
        assert_eq!(
            whole,
            (1..8).collect::<Vec<_>>(),
            "overtaken at {operation}"
        );
        operation += 1;
    }
    assert!(operation > 8, "{operation} operations");
}

/// Sends all events until they are in, through storage that fails at random.
async fn send(inner: Arc<InMemory>, until: i64, seed: u64) -> usize {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut first, mut met, mut tries) = (1, 0, 0);
    while first < until {
        tries += 1;
        let way = match tries % 12 {
            0 => Faulty::healthy(inner.clone()),
            _ => Faulty::seeded(
                inner.clone(),
                random.random(),
                [3, 9, 30][random.random_range(0..3)],
            ),
        };
        let next = until.min(first + random.random_range(1..9));
        if append(way.clone(), first, next).await {
            first = next;
        }
        if random.random_bool(0.5) {
            way.settle().await;
        }
        met += way.met().len();
    }
    met
}

#[tokio::test]
async fn writers_of_one_source_on_failing_storage_end_with_each_row_once() {
    const EVENTS: i64 = 30;
    let mut met = 0;
    for seed in 0..rounds() {
        let inner = made().await;
        let writers = (0..3).map(|writer| {
            let inner = inner.clone();
            tokio::spawn(send(inner, EVENTS, seed * 3 + writer))
        });
        for writer in writers.collect::<Vec<_>>() {
            met += writer.await.expect("a writer ends");
        }
        let whole = seen(&inner).await;
        assert_eq!(whole, (1..EVENTS).collect::<Vec<_>>(), "seed {seed}");
    }
    println!("{} rounds of 3 writers met {met} faults", rounds());
    assert!(met > 0);
}
