//! Spools that hold what publishing has no way for: they stay, and nothing of them is published.

use super::*;

#[tokio::test]
async fn rows_that_would_be_left_out_keep_their_spool() {
    let run_id = RunId::new(Timestamp::now());
    let facts = |table: Table| {
        (
            Tag::Facts(table),
            RecordBatch::new_empty(table.arrow_schema()),
        )
    };
    let stages = |tag: fn(Table) -> Tag| {
        let rows = RecordBatch::new_empty(Table::Stages.arrow_schema());
        (tag(Table::Stages), rows)
    };
    for (frames, said) in [
        (
            vec![facts(Table::Fleet)],
            "rows of `reports.fleet` which are about no run",
        ),
        (
            vec![facts(Table::Events)],
            "rows of `audit.events` which are about no run",
        ),
        (
            vec![facts(Table::Jobs)],
            "rows of `reports.jobs` before its end",
        ),
        (
            vec![facts(Table::Runs)],
            "rows of `reports.runs` before its end",
        ),
        (
            vec![stages(Tag::Facts)],
            "rows of `reports.stages` both before its end and at it",
        ),
    ] {
        let place = place();
        let manifest = Manifest::new(run_id, "", "");
        let mut spool = Spool::create(&place.spools, manifest).expect("create");
        for (tag, rows) in frames {
            spool.append(tag, &rows).expect("append");
        }
        let runs = RunRow::to_batch(&[run_row(run_id, None, Verdict::Passed)]).expect("batch");
        let stages = StageRow::to_batch(&[]).expect("batch");
        let finals = [(Table::Runs, runs), (Table::Stages, stages)];
        spool.seal(&finals).expect("seal");
        let folder = spool.folder().to_path_buf();
        let refused = publish(spool, &place.warehouse).await;
        let refused = refused.expect_err("there is no way").to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(folder.exists(), "nothing is lost");
        let runs = rows(&place.warehouse, Table::Runs).await;
        assert!(runs.is_empty(), "{runs:?}");
    }
}

#[tokio::test]
async fn a_run_brings_one_job_at_most() {
    let place = place();
    let (run_id, now) = (RunId::new(Timestamp::now()), Timestamp::now());
    let mut spool = Spool::create(&place.spools, Manifest::new(run_id, "", "")).expect("create");
    let jobs = [job_row(JobId::new(now), now), job_row(JobId::new(now), now)];
    let finals = [
        (
            Table::Runs,
            RunRow::to_batch(&[run_row(run_id, None, Verdict::Passed)]).expect("batch"),
        ),
        (Table::Jobs, JobRow::to_batch(&jobs).expect("batch")),
    ];
    spool.seal(&finals).expect("seal");
    let refused = publish(spool, &place.warehouse).await;
    let refused = refused.expect_err("two jobs").to_string();
    assert!(
        refused.contains("rows of `reports.jobs` more than one"),
        "{refused}"
    );
}
