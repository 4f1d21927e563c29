//! What is published already is found without its transaction, and without statistics.

use super::*;

/// Commits rows as an engine that keeps no statistics would rewrite them, or as they are left when
/// their transaction has expired.
async fn commit(place: &Place, spool: &Spool, table: Table, with_statistics: bool) {
    let contents = spool.contents().expect("contents");
    let publisher = Publisher {
        store: &place.warehouse,
        contents: &contents,
        run_id: spool.manifest().run_id,
        task_id: None,
        last_attempt: true,
    };
    let mut delta = open_or_create(&place.warehouse, table).await.expect("open");
    let rows = merge::ordered_rows(&contents, Tag::Final(table), table).expect("rows");
    let adds = publisher.write_files(&delta, table, rows).await;
    let mut adds = adds.expect("files");
    if !with_statistics {
        for add in &mut adds {
            add.stats = None;
        }
    }
    let mut attempt = 0;
    publisher
        .appender(table)
        .try_commit(&mut delta, &adds, &[], &mut attempt)
        .await
        .expect("committed");
}

fn sealed(place: &Place) -> Spool {
    let run_id = RunId::new(Timestamp::now());
    let job_id = JobId::new(Timestamp::now());
    let verdict = Verdict::Passed;
    spool(&place.spools, run_id, Some(job_id), None, verdict, 3)
}

#[tokio::test]
async fn a_jobs_row_is_there_once_after_its_transaction_expired() {
    for with_statistics in [true, false] {
        let place = place();
        let other = sealed(&place);
        publish(other, &place.warehouse).await.expect("published");
        let spool = sealed(&place);
        for table in [Table::Runs, Table::Jobs] {
            commit(&place, &spool, table, with_statistics).await;
        }
        let published = publish(spool, &place.warehouse).await.expect("published");
        assert!(!published.by_us);
        assert_eq!(count(&place.warehouse, Table::Jobs).await, 2);
        assert_eq!(count(&place.warehouse, Table::Runs).await, 2);
    }
}
