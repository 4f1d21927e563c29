//! A run is seen wholly or not at all.

use plimsoll_ingest::{RunRow, TickRow};

use crate::place::{Place, answer, at, id, run, stage, tick, ticks};

const COUNTS: &str = "SELECT (SELECT count(*) FROM runs) AS runs, \
     (SELECT count(*) FROM stages) AS stages, (SELECT count(*) FROM ticks) AS ticks, \
     (SELECT sum(completed) FROM ticks) AS completed";

#[tokio::test]
async fn facts_of_a_run_that_is_not_in_runs_are_not_seen() {
    let place = Place::new();
    let (seen, unseen) = (id(at(1, 0), 1), id(at(1, 1), 2));
    for run in [seen, unseen] {
        place.append(&[stage(run, 0, "steady")]).await;
        place.append(&[tick(run, 1), tick(run, 2)]).await;
    }
    place.append(&[run(seen, "m")]).await;
    let warehouse = place.open().await;
    assert_eq!(answer(&warehouse, COUNTS).await, "1,1,2,3");
    let runs = answer(&warehouse, "SELECT DISTINCT run_id FROM ticks").await;
    assert_eq!(runs, seen.to_string());
    // Counting is answered by the log, the rest by files: both leave it out.
    let by_scan = "SELECT count(*) FROM ticks WHERE completed > 0";
    assert_eq!(answer(&warehouse, by_scan).await, "2");

    place.append(&[run(unseen, "m")]).await;
    assert_eq!(
        answer(&warehouse, COUNTS).await,
        "1,1,2,3",
        "a set does not change"
    );
    warehouse.refresh().await.expect("a newer set");
    assert_eq!(answer(&warehouse, COUNTS).await, "2,2,4,6");
}

#[tokio::test]
async fn a_compacted_file_is_seen_and_compacted_runs_are_known() {
    let place = Place::new();
    let runs: Vec<_> = (1..=4)
        .map(|number| id(at(1, number), number as u8))
        .collect();
    // Files of several runs each, as compaction leaves them.
    place.append(&[tick(runs[0], 1), tick(runs[1], 2)]).await;
    place
        .append(&[run(runs[0], "m"), run(runs[1], "m"), run(runs[2], "m")])
        .await;
    place.append(&[tick(runs[2], 4)]).await;
    place.append(&[tick(runs[3], 8)]).await;
    let warehouse = place.open().await;
    assert_eq!(
        answer(&warehouse, "SELECT sum(completed) FROM ticks").await,
        "7"
    );
    // The keys that were read from the compacted file stay known.
    place.append(&[run(runs[3], "m")]).await;
    warehouse.refresh().await.expect("a newer set");
    assert_eq!(
        answer(&warehouse, "SELECT sum(completed) FROM ticks").await,
        "15"
    );
}

#[tokio::test]
async fn a_query_keeps_the_set_it_began_with() {
    use futures::StreamExt;

    let place = Place::new();
    let first = id(at(1, 0), 1);
    let ticks: Vec<TickRow> = ticks(first, 50_000);
    place.append(&ticks).await;
    place.append(&[run(first, "m")]).await;
    let warehouse = place.open().await;
    let sql = "SELECT run_id FROM ticks";
    let mut result = warehouse
        .query(sql, &[], &crate::place::EVERYTHING)
        .await
        .expect("a result");
    let begun = result
        .next()
        .await
        .expect("a batch")
        .expect("no error")
        .num_rows();
    let second = id(at(1, 1), 2);
    place.append(&[tick(second, 1)]).await;
    place.append::<RunRow>(&[run(second, "m")]).await;
    warehouse.refresh().await.expect("a newer set");
    let mut rows = begun;
    while let Some(batch) = result.next().await {
        rows += batch.expect("no error").num_rows();
    }
    assert_eq!(rows, 50_000);
    assert_eq!(
        answer(&warehouse, "SELECT count(*) FROM ticks").await,
        "50001"
    );
}

#[tokio::test]
async fn a_run_that_ingest_published_is_read_back() {
    use plimsoll_ingest::publish::publish;
    use plimsoll_ingest::spool::{Manifest, Spool, Tag};
    use plimsoll_ingest::{RequestRow, StageRow, Table, TableRow};

    let place = Place::new();
    let run_id = id(at(3, 0), 7);
    let manifest = Manifest::new(run_id, place.location.to_string(), "");
    let mut spool = Spool::create(&place.folder().join("spool"), manifest).expect("a spool");
    let requests: Vec<_> = (0..3)
        .map(|number| RequestRow {
            itl_ns: Some(vec![10, 20, 30, 30 + number]),
            ..crate::place::request(run_id, number)
        })
        .collect();
    let batch = RequestRow::to_batch(&requests).expect("rows");
    spool
        .append(Tag::Facts(Table::Requests), &batch)
        .expect("appended");
    let stages = StageRow::to_batch(&[stage(run_id, 0, "steady")]).expect("rows");
    let runs = RunRow::to_batch(&[run(run_id, "m")]).expect("rows");
    spool
        .seal(&[(Table::Stages, stages), (Table::Runs, runs)])
        .expect("sealed");
    publish(spool, &place.store()).await.expect("published");

    let warehouse = place.open().await;
    let sql = "SELECT model, date, request_id, ttft_ns, itl_ns FROM requests \
         JOIN runs USING (run_key) ORDER BY request_id";
    assert_eq!(
        answer(&warehouse, sql).await,
        "m,2026-01-03,0,1000000,\"[10,20,30,30]\"\n\
         m,2026-01-03,1,2000000,\"[10,20,30,31]\"\n\
         m,2026-01-03,2,3000000,\"[10,20,30,32]\""
    );
    assert_eq!(
        answer(&warehouse, "SELECT count(*), max(stage) FROM stages").await,
        "1,0"
    );
}
