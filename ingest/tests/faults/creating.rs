//! Tables that are made while storage fails, or by two at once.

use std::sync::Arc;

use futures::{FutureExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::memory::InMemory;
use plimsoll_faulty_storage::{Fate, Faulty, step};
use plimsoll_ingest::delta::{create_missing, open_table};
use plimsoll_ingest::{Table, WarehouseStore};

use crate::place::location;

/// Holds that every table is there, and was made once.
async fn each_was_made_once(inner: &Arc<InMemory>, how: &str) {
    let store = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
    for table in Table::ALL.iter().copied() {
        let opened = open_table(&store, table).await.expect("readable");
        assert!(opened.is_some(), "{how}: {table} is missing");
        let log = store.path(&format!("{}/_delta_log", table.path()));
        let entries: Vec<_> = inner.list(Some(&log)).try_collect().await.expect("a list");
        let commits = entries
            .iter()
            .filter(|entry| entry.location.extension() == Some("json"));
        assert_eq!(commits.count(), 1, "{how}: {table}: {entries:?}");
    }
}

/// Makes the tables once for each operation that it takes, or for each so many of them, with that
/// fate for that operation, and then once more with none.
async fn at_each_operation(fate: Fate) {
    let step = step(29);
    let mut operation = fate as u64 % step;
    loop {
        let inner = Arc::new(InMemory::new());
        let faulty = Faulty::at(inner.clone(), operation, fate);
        let made = create_missing(&WarehouseStore::over(&location(), faulty.clone())).await;
        let over = faulty.operations() <= operation;
        let how = format!("operation {operation}: {fate:?}");
        assert!(made.is_ok() || !over, "{how}");
        faulty.settle().await;
        let healthy = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
        create_missing(&healthy)
            .await
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        each_was_made_once(&inner, &how).await;
        if over {
            let operations = faulty.operations();
            println!("making tables: {fate:?} at one in {step} of {operations} operations");
            assert!(operations > 50, "{operations} operations");
            break;
        }
        operation += step;
    }
}

#[tokio::test]
async fn tables_are_made_once_whatever_happens_to_any_operation() {
    for fate in Fate::FAULTS {
        at_each_operation(fate).await;
    }
}

#[tokio::test]
async fn tables_are_made_once_though_somebody_else_makes_them_at_any_moment() {
    let step = step(11);
    let mut operation = 0;
    loop {
        let inner = Arc::new(InMemory::new());
        let rival = WarehouseStore::over(&location(), Faulty::healthy(inner.clone()));
        let overtaker = async move {
            create_missing(&rival).await.expect("nobody overtakes them");
        };
        let way = Faulty::overtaken(inner.clone(), operation, overtaker.boxed());
        let made = create_missing(&WarehouseStore::over(&location(), way.clone())).await;
        let how = format!("overtaken at operation {operation}");
        made.unwrap_or_else(|error| panic!("{how}: {error}"));
        if way.operations() <= operation {
            assert!(way.operations() > 50, "{} operations", way.operations());
            break;
        }
        each_was_made_once(&inner, &how).await;
        operation += step;
    }
}
