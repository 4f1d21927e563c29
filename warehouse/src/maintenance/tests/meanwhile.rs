//! Readers and writers that go on while a warehouse is maintained.

use super::*;
use crate::{Access, Format, QueryLimits, Warehouse};

/// Runs that are published meanwhile.
const RUNS: usize = 24;

async fn ask(warehouse: &Warehouse, sql: &str) -> String {
    let limits = QueryLimits {
        timeout: Duration::from_secs(60),
        max_rows: None,
        access: Access::All,
    };
    let mut result = warehouse.query(sql, &[], &limits).await.expect("a plan");
    let mut bytes = Vec::new();
    crate::format::write(&mut result, Format::Csv, &mut bytes)
        .await
        .expect("rows");
    String::from_utf8(bytes)
        .expect("CSV is text")
        .trim_end()
        .to_string()
}

/// Every visible run has its five chunks, seen once; says how many runs there are.
async fn runs_seen(warehouse: &Warehouse) -> usize {
    let sql = "SELECT count(DISTINCT r.run_key), count(c.request_id), \
               count(DISTINCT c.run_key * 10 + c.request_id) \
               FROM runs r LEFT JOIN chunks c ON c.run_key = r.run_key";
    let text = ask(warehouse, sql).await;
    let row = text.lines().last().expect("a row");
    let numbers: Vec<usize> = row
        .split(',')
        .map(|n| n.parse().expect("a number"))
        .collect();
    let [runs, chunks, different] = numbers[..] else {
        panic!("{row}")
    };
    assert_eq!((chunks, different), (5 * runs, 5 * runs), "{runs} runs");
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_do_not_notice() {
    let (_folder, store) = place();
    publish(&store, 50, true).await;
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..RUNS / 2 {
                    publish(&store, 50, true).await;
                }
            })
        })
        .collect();
    let reader = Warehouse::open(store.location(), WarehouseOptions::default()).await;
    let reader = reader.expect("open");
    let (mut seen, mut reads, mut compacted) = (0, 0, 0);
    while writers.iter().any(|writer| !writer.is_finished()) || reads < 3 {
        let (done, now) = tokio::join!(optimize(&store), async {
            reader.refresh().await.expect("refreshed");
            runs_seen(&reader).await
        });
        let files = done.iter().map(|(_, done)| done.compacted.0);
        compacted += files.sum::<usize>();
        assert!(now >= seen, "a run that was seen is gone");
        (seen, reads) = (now, reads + 1);
    }
    for writer in writers {
        writer.await.expect("every run is published");
    }
    optimize(&store).await;
    // One reader has the files that compaction took out, another those that it made.
    let late = Warehouse::open(store.location(), WarehouseOptions::default()).await;
    assert_eq!(runs_seen(&late.expect("open")).await, RUNS + 1);
    assert_eq!(
        runs_seen(&reader).await,
        seen,
        "an old set of snapshots stays readable"
    );
    assert!(compacted > 0, "nothing was compacted in {reads} rounds");
}
