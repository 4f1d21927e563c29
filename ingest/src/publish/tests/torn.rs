//! Publications that end or are overtaken between two of their commits.

use super::*;

/// One run with a task and a job, as its process left it.
struct Torn {
    spool: Spool,
    run_id: RunId,
}

fn torn(place: &Place, task_id: Option<TaskId>) -> Torn {
    let run_id = RunId::new(Timestamp::now());
    let job_id = JobId::new(Timestamp::now());
    let spool = spool(
        &place.spools,
        run_id,
        Some(job_id),
        task_id,
        Verdict::Passed,
        30,
    );
    Torn { spool, run_id }
}

/// The publisher that [`publish`] makes of a spool, to be stopped or overtaken on its way.
fn publisher<'a>(
    warehouse: &'a WarehouseStore,
    contents: &'a SpoolContents,
    spool: &Spool,
) -> Publisher<'a> {
    let manifest = spool.manifest();
    Publisher {
        store: warehouse,
        contents,
        run_id: manifest.run_id,
        task_id: manifest.task_id,
        last_attempt: manifest.last_attempt,
    }
}

#[tokio::test]
async fn a_run_whose_facts_cannot_be_committed_is_not_visible() {
    let place = place();
    let torn = torn(&place, None);
    let chunks = open_or_create(&place.warehouse, Table::Chunks)
        .await
        .expect("made");
    let next = chunks.version().map_or(0, |version| version + 1);
    // A folder has the name of the next commit: no list shows it, and nothing can be put there.
    let taken = place
        .warehouse
        .location()
        .local_folder()
        .expect("local")
        .join(Table::Chunks.path())
        .join(format!("_delta_log/{next:020}.json"));
    std::fs::create_dir(taken).expect("folder");
    let refused = publish(torn.spool, &place.warehouse).await;
    assert!(
        matches!(refused, Err(PublishError::Table(_))),
        "{refused:?}"
    );
    assert_eq!(count(&place.warehouse, Table::Runs).await, 0);
    assert_eq!(count(&place.warehouse, Table::Jobs).await, 0);
    assert_eq!(crate::spool::list(&place.spools).expect("list").len(), 1);
}

/// The process was killed between the run's commit and its job's.
#[tokio::test]
async fn a_job_that_is_missing_is_added_to_a_run_that_is_there() {
    let place = place();
    let torn = torn(&place, None);
    let contents = torn.spool.contents().expect("whole");
    let publisher = publisher(&place.warehouse, &contents, &torn.spool);
    let runs = open_or_create(&place.warehouse, Table::Runs)
        .await
        .expect("made");
    let row = publisher.run_row().expect("its row");
    publisher.publish_run(runs, row).await.expect("the run");
    assert_eq!(count(&place.warehouse, Table::Jobs).await, 0);
    let published = publish(torn.spool, &place.warehouse).await.expect("rest");
    assert!(!published.by_us);
    assert_eq!(count(&place.warehouse, Table::Runs).await, 1);
    assert_eq!(count(&place.warehouse, Table::Jobs).await, 1);
}

/// Transactions expire; the files say by their statistics whose rows they hold.
#[tokio::test]
async fn facts_that_are_there_without_their_transaction_are_not_added_again() {
    let place = place();
    let torn = torn(&place, None);
    let contents = torn.spool.contents().expect("whole");
    let publisher = publisher(&place.warehouse, &contents, &torn.spool);
    let table = Table::Chunks;
    let mut chunks = open_or_create(&place.warehouse, table).await.expect("made");
    let rows = merge::ordered_rows(&contents, Tag::Facts(table), table).expect("rows");
    let adds = publisher
        .write_files(&chunks, table, rows)
        .await
        .expect("files");
    publisher
        .appender(table)
        .try_commit(&mut chunks, &adds, &[], &mut 0)
        .await
        .expect("committed");
    publish(torn.spool, &place.warehouse).await.expect("rest");
    assert_eq!(count(&place.warehouse, table).await, 30);
    assert_eq!(count(&place.warehouse, Table::Runs).await, 1);
}

/// The zombie looked, and saw a task that nobody had completed; then the rescuer's run landed. The
/// commit itself has to notice, and the file that it wrote as passed must not be the one that
/// counts.
#[tokio::test]
async fn a_zombie_that_is_overtaken_before_its_commit_is_incomplete() {
    let place = place();
    let task_id = TaskId::new(Timestamp::now());
    let rescuer = torn(&place, Some(task_id));
    let zombie = torn(&place, Some(task_id));
    let before = open_or_create(&place.warehouse, Table::Runs)
        .await
        .expect("made");
    publish(rescuer.spool, &place.warehouse)
        .await
        .expect("published");
    let contents = zombie.spool.contents().expect("whole");
    let publisher = publisher(&place.warehouse, &contents, &zombie.spool);
    let row = publisher.run_row().expect("its row");
    let published = publisher.publish_run(before, row).await.expect("published");
    assert_eq!(published.verdict, Verdict::Incomplete);
    let mut kept = Vec::new();
    for batch in rows(&place.warehouse, Table::Runs).await {
        for row in RunRow::from_batch(&batch).expect("runs") {
            kept.push((row.run_id, row.verdict));
        }
    }
    kept.sort_unstable();
    let mut wanted = [
        (rescuer.run_id, "passed".to_string()),
        (zombie.run_id, "incomplete".to_string()),
    ];
    wanted.sort_unstable();
    assert_eq!(kept, wanted);
}

/// Rows of two tables are lawful, of a third one is not: nothing of the run is in any table, and
/// all of it waits.
#[tokio::test]
async fn a_row_that_breaks_the_contract_keeps_its_run_out_and_in_its_spool() {
    use crate::table::RequestRow;

    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let mut spool = Spool::create(&place.spools, Manifest::new(run_id, "", "")).expect("create");
    let chunks = |request_id| ChunksRow {
        run_id,
        run_key: run_id.run_key(),
        date: run_id.date(),
        request_id,
        at_ns: vec![1],
        tokens: None,
    };
    let chunks = ChunksRow::to_batch(&[chunks(0), chunks(1)]).expect("batch");
    spool
        .append(Tag::Facts(Table::Chunks), &chunks)
        .expect("append");
    let wrong = RequestRow {
        status: "fine".to_string(),
        ..RequestRow::blank(run_id, 1)
    };
    let requests = RequestRow::to_batch(&[RequestRow::blank(run_id, 0), wrong]).expect("batch");
    spool
        .append(Tag::Facts(Table::Requests), &requests)
        .expect("append");
    let run = RunRow::to_batch(&[run_row(run_id, None, Verdict::Passed)]).expect("batch");
    spool.seal(&[(Table::Runs, run)]).expect("seal");
    let folder = spool.folder().to_path_buf();
    drop(spool);
    for _ in 0..2 {
        let spool = Spool::take_over(&folder).expect("no error").expect("free");
        let refused = publish(spool, &place.warehouse).await;
        let Err(PublishError::Row(error)) = refused else {
            panic!("{refused:?}");
        };
        let said = "table `requests`: column `status`, row 1: `fine` is not one of ok";
        assert!(error.to_string().starts_with(said), "{error}");
    }
    for table in [Table::Chunks, Table::Requests, Table::Runs] {
        assert_eq!(count(&place.warehouse, table).await, 0, "{table}");
    }
    assert_eq!(crate::spool::list(&place.spools).expect("list").len(), 1);
}
