//! What publishing promises, tried on real tables.

use std::path::Path;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::id::JobId;
use crate::location::WarehouseLocation;
use crate::spool::Manifest;
use crate::table::{ChunksRow, JobRow, StageRow};
use crate::time::Timestamp;

mod again;
mod refused;
mod torn;

struct Place {
    _folder: tempfile::TempDir,
    warehouse: WarehouseStore,
    spools: std::path::PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("folder");
    let warehouse = folder.path().join("warehouse").display().to_string();
    Place {
        warehouse: local(&warehouse),
        spools: folder.path().join("spool"),
        _folder: folder,
    }
}

fn local(path: &str) -> WarehouseStore {
    let location = WarehouseLocation::parse(path).expect("path");
    WarehouseStore::connect(&location).expect("local files")
}

fn run_row(run_id: RunId, task_id: Option<TaskId>, verdict: Verdict) -> RunRow {
    let at = run_id.created_at();
    let mut row = RunRow {
        suite: "smoke".to_string(),
        model: "m".to_string(),
        envelope_id: "e".to_string(),
        comparable_key: "k".to_string(),
        ..RunRow::blank(run_id, at)
    };
    row.task_id = task_id.map(|id| id.to_string());
    row.verdict = verdict.to_string();
    row
}

fn job_row(job_id: JobId, at: Timestamp) -> JobRow {
    JobRow {
        job_id: job_id.to_string(),
        spec: "{}".into(),
        verdict: Verdict::Passed.to_string(),
        triggered_by: "test".into(),
        trigger: "manual".into(),
        schedule_id: None,
        change: None,
        labels: "{}".into(),
        queued_at: at,
        started_at: None,
        finished_at: at,
        runs: 1,
    }
}

fn spool(
    spools: &Path,
    run_id: RunId,
    job_id: Option<JobId>,
    task_id: Option<TaskId>,
    verdict: Verdict,
    requests: i64,
) -> Spool {
    let manifest = Manifest {
        job_id,
        task_id,
        ..Manifest::new(run_id, "", "")
    };
    let mut spool = Spool::create(spools, manifest).expect("create");
    for first in (0..requests)
        .step_by(100)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let rows: Vec<_> = (first..requests.min(first + 100))
            .map(|request_id| ChunksRow {
                run_id,
                run_key: run_id.run_key(),
                date: run_id.date(),
                request_id,
                at_ns: vec![1, 2],
                tokens: None,
            })
            .collect();
        let batch = ChunksRow::to_batch(&rows).expect("batch");
        spool
            .append(Tag::Facts(Table::Chunks), &batch)
            .expect("append");
    }
    let runs = RunRow::to_batch(&[run_row(run_id, task_id, verdict)]).expect("batch");
    let mut finals = vec![(Table::Runs, runs)];
    if let Some(job_id) = job_id {
        let job = job_row(job_id, job_id.created_at());
        finals.push((Table::Jobs, JobRow::to_batch(&[job]).expect("batch")));
    }
    finals.push((Table::Stages, StageRow::to_batch(&[]).expect("batch")));
    spool.seal(&finals).expect("seal");
    spool
}

/// Every row that a reader of the table would see.
async fn rows(warehouse: &WarehouseStore, table: Table) -> Vec<RecordBatch> {
    let delta = open_or_create(warehouse, table).await.expect("open");
    let mut batches = Vec::new();
    for file in delta.snapshot().expect("loaded").log_data().iter() {
        let object = delta
            .object_store()
            .get(&file.object_store_path())
            .await
            .expect("file");
        let bytes = object.bytes().await.expect("bytes");
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet");
        batches.extend(
            reader
                .build()
                .expect("reader")
                .map(|batch| batch.expect("batch")),
        );
    }
    batches
}

async fn count(warehouse: &WarehouseStore, table: Table) -> usize {
    rows(warehouse, table)
        .await
        .iter()
        .map(RecordBatch::num_rows)
        .sum()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in from.read_dir().expect("list") {
        let entry = entry.expect("entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}

#[tokio::test]
async fn a_run_is_published_whole_and_sorted_and_its_spool_goes() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let job_id = JobId::new(Timestamp::now());
    let spool = spool(
        &place.spools,
        run_id,
        Some(job_id),
        None,
        Verdict::Passed,
        250,
    );
    let published = publish(spool, &place.warehouse).await.expect("published");
    assert_eq!(
        published,
        Published {
            verdict: Verdict::Passed,
            by_us: true
        }
    );
    let chunks = rows(&place.warehouse, Table::Chunks).await;
    let ids: Vec<i64> = chunks
        .iter()
        .flat_map(|batch| {
            batch["request_id"]
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(ids, (0..250).collect::<Vec<_>>());
    assert_eq!(count(&place.warehouse, Table::Runs).await, 1);
    assert_eq!(count(&place.warehouse, Table::Jobs).await, 1);
    assert!(crate::spool::list(&place.spools).expect("list").is_empty());
}

#[tokio::test]
async fn publishing_twice_equals_publishing_once() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let job_id = JobId::new(Timestamp::now());
    let first = spool(
        &place.spools,
        run_id,
        Some(job_id),
        None,
        Verdict::Passed,
        30,
    );
    let copy = place.spools.join("copy");
    copy_folder(first.folder(), &copy);
    publish(first, &place.warehouse).await.expect("published");
    let again = Spool::take_over(&copy).expect("no error").expect("free");
    let published = publish(again, &place.warehouse).await.expect("published");
    assert_eq!(
        published,
        Published {
            verdict: Verdict::Passed,
            by_us: false
        }
    );
    assert_eq!(count(&place.warehouse, Table::Chunks).await, 30);
    assert_eq!(count(&place.warehouse, Table::Runs).await, 1);
    assert_eq!(count(&place.warehouse, Table::Jobs).await, 1);
}

#[tokio::test]
async fn two_publishers_of_one_spool_at_once_end_with_one_copy() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let first = spool(&place.spools, run_id, None, None, Verdict::Passed, 30);
    let mut all = vec![first];
    for number in 0..3 {
        let copy = place.spools.join(format!("copy-{number}"));
        copy_folder(all[0].folder(), &copy);
        all.push(Spool::take_over(&copy).expect("no error").expect("free"));
    }
    let all = all
        .into_iter()
        .map(|spool| publish(spool, &place.warehouse));
    for published in futures::future::join_all(all).await {
        assert_eq!(published.expect("published").verdict, Verdict::Passed);
    }
    assert_eq!(count(&place.warehouse, Table::Chunks).await, 30);
    assert_eq!(count(&place.warehouse, Table::Runs).await, 1);
}

#[tokio::test]
async fn a_zombies_run_of_a_completed_task_is_kept_as_incomplete() {
    let place = place();
    let task_id = TaskId::new(Timestamp::now());
    let run_id = || RunId::new(Timestamp::now());
    let rescuer = spool(
        &place.spools,
        run_id(),
        None,
        Some(task_id),
        Verdict::Degraded,
        3,
    );
    let zombie = spool(
        &place.spools,
        run_id(),
        None,
        Some(task_id),
        Verdict::Passed,
        3,
    );
    let first = publish(rescuer, &place.warehouse).await.expect("published");
    assert_eq!(first.verdict, Verdict::Degraded);
    let second = publish(zombie, &place.warehouse).await.expect("published");
    assert_eq!(
        second,
        Published {
            verdict: Verdict::Incomplete,
            by_us: true
        }
    );
    assert_eq!(count(&place.warehouse, Table::Runs).await, 2);
}

/// Whether the task is ended by a run with a verdict, of its last attempt or of
/// an earlier one.
async fn check_ends_task(verdict: Verdict, last_attempt: bool, ends: bool) {
    let place = place();
    let task_id = TaskId::new(Timestamp::now());
    let run_id = RunId::new(Timestamp::now());
    let manifest = Manifest {
        task_id: Some(task_id),
        last_attempt,
        ..Manifest::new(run_id, "", "")
    };
    let mut spool = Spool::create(&place.spools, manifest).expect("create");
    let row = RunRow::to_batch(&[run_row(run_id, Some(task_id), verdict)]).expect("batch");
    spool.seal(&[(Table::Runs, row)]).expect("seal");
    publish(spool, &place.warehouse).await.expect("published");

    let later = RunId::new(Timestamp::now());
    let later = self::spool(
        &place.spools,
        later,
        None,
        Some(task_id),
        Verdict::Passed,
        1,
    );
    let published = publish(later, &place.warehouse).await.expect("published");
    let counts = published.verdict == Verdict::Passed;
    assert_eq!(
        counts, !ends,
        "{verdict} of the last attempt: {last_attempt}"
    );
}

#[tokio::test]
async fn a_measurement_or_the_last_attempt_ends_the_task() {
    for measured in [
        Verdict::Passed,
        Verdict::Degraded,
        Verdict::Blocked,
        Verdict::Invalid,
    ] {
        check_ends_task(measured, false, true).await;
    }
    for gave_up in [Verdict::Error, Verdict::Cancelled] {
        check_ends_task(gave_up, false, false).await;
        check_ends_task(gave_up, true, true).await;
    }
    check_ends_task(Verdict::Incomplete, true, false).await;
}

#[tokio::test]
async fn a_verdict_of_a_later_release_is_an_error_not_a_guess() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let mut row = run_row(run_id, None, Verdict::Passed);
    row.verdict = "splendid".to_string();
    let mut spool = Spool::create(&place.spools, Manifest::new(run_id, "", "")).expect("create");
    let row = RunRow::to_batch(&[row]).expect("batch");
    spool.seal(&[(Table::Runs, row)]).expect("seal");
    let refused = publish(spool, &place.warehouse).await;
    let Err(PublishError::Row(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("`splendid`"), "{error}");
    assert_eq!(crate::spool::list(&place.spools).expect("list").len(), 1);
    assert_eq!(count(&place.warehouse, Table::Runs).await, 0);
}

#[tokio::test]
async fn a_spool_of_an_earlier_release_is_published_with_nulls() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let mut row = run_row(run_id, None, Verdict::Passed);
    row.profile = Some("forgotten".to_string());
    let row = RunRow::to_batch(&[row]).expect("batch");
    let kept: Vec<usize> = (0..row.num_columns())
        .filter(|index| row.schema_ref().field(*index).name() != "profile")
        .collect();
    let earlier = row.project(&kept).expect("batch");
    let mut spool = Spool::create(&place.spools, Manifest::new(run_id, "", "")).expect("create");
    spool.seal(&[(Table::Runs, earlier)]).expect("seal");
    let published = publish(spool, &place.warehouse).await.expect("published");
    assert_eq!(published.verdict, Verdict::Passed);
    let runs = rows(&place.warehouse, Table::Runs).await;
    assert_eq!(runs.len(), 1);
    assert_eq!(
        text(&runs[0], "run_id", 0),
        Some(run_id.to_string().as_str())
    );
    assert_eq!(text(&runs[0], "profile", 0), None);
}

#[tokio::test]
async fn an_unsealed_spool_is_refused_and_kept() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let manifest = Manifest::new(run_id, "", "");
    let spool = Spool::create(&place.spools, manifest).expect("create");
    let refused = publish(spool, &place.warehouse).await;
    assert!(
        matches!(refused, Err(PublishError::NotSealed { .. })),
        "{refused:?}"
    );
    assert_eq!(crate::spool::list(&place.spools).expect("list").len(), 1);
}

/// A byte that the disk changed after the seal: the rest would pass for the whole.
#[tokio::test]
async fn a_spool_that_changed_since_it_was_sealed_is_not_published() {
    let place = place();
    let run_id = RunId::new(Timestamp::now());
    let sealed = spool(&place.spools, run_id, None, None, Verdict::Passed, 300);
    let segment = sealed.folder().join("segment-000000.plsf");
    let whole = std::fs::read(&segment).expect("segment");
    for changed in [whole.len() / 10, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[changed] ^= 1;
        std::fs::write(&segment, &bytes).expect("write");
        let copy = place.spools.join("copy");
        copy_folder(sealed.folder(), &copy);
        let spool = Spool::take_over(&copy).expect("no error").expect("free");
        assert!(spool.contents().expect("contents").sealed());
        let refused = publish(spool, &place.warehouse).await;
        assert!(
            matches!(
                refused,
                Err(PublishError::Spool(SpoolError::Damaged { .. }))
            ),
            "{refused:?}"
        );
        assert_eq!(count(&place.warehouse, Table::Runs).await, 0);
        std::fs::remove_dir_all(&copy).expect("it stays until it is removed");
    }
    std::fs::write(&segment, &whole).expect("write");
    publish(sealed, &place.warehouse).await.expect("published");
    assert_eq!(count(&place.warehouse, Table::Chunks).await, 300);
}

#[tokio::test]
async fn runs_of_many_writers_at_once_are_all_there() {
    let place = place();
    let all = (0..8).map(|_| {
        let run_id = RunId::new(Timestamp::now());
        publish(
            spool(&place.spools, run_id, None, None, Verdict::Passed, 5),
            &place.warehouse,
        )
    });
    for published in futures::future::join_all(all).await {
        published.expect("published");
    }
    assert_eq!(count(&place.warehouse, Table::Runs).await, 8);
    assert_eq!(count(&place.warehouse, Table::Chunks).await, 40);
}
