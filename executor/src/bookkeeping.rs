//! Brings what the store knows for good to the warehouse: the rows of jobs that ended, and who did what.

use std::convert::Infallible;
use std::time::Duration;

use plimsoll_ingest::publish::{PublishError, count_runs, publish_job};
use plimsoll_ingest::{
    AppendError, EventRow, JobRow, Journal, Verdict, WarehouseLocation, WarehouseStore,
};

use crate::control::{Job, Store, StoreError};
use crate::job_spec::{Change, JobSpec};
use crate::worker::{Failures, Warn};

/// How often it is looked for what others have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many rows are brought at a time.
const ROWS: i64 = 500;

/// Why nothing could be brought; it stays in the store.
#[derive(Debug, thiserror::Error)]
enum BringError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the row of a job cannot be published")]
    Job(#[from] PublishError),
    #[error("audit events cannot be published")]
    Events(#[from] AppendError),
    #[error("the warehouse cannot be reached")]
    Warehouse(#[from] plimsoll_ingest::storage::StorageError),
}

/// Brings what is new, for as long as it is waited for. Any number of processes may do so at once.
pub async fn bring_always(store: &Store, warehouse: &WarehouseLocation, warn: &Warn) -> Infallible {
    let mut failures = Failures::default();
    let mut changes = store.changes();
    loop {
        changes.borrow_and_update();
        let wait = match bring(store, warehouse).await {
            Ok(()) => {
                failures = Failures::default();
                LOOK_EVERY
            }
            Err(error) => failures.next_of(&error, warn).max(LOOK_EVERY),
        };
        tokio::select! {
            // The sender is the store's own.
            _ = changes.changed(), if wait == LOOK_EVERY => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Brings what is new, once.
async fn bring(store: &Store, warehouse: &WarehouseLocation) -> Result<(), BringError> {
    let jobs = store.unpublished_jobs(ROWS).await?;
    let events = store.pending_events(ROWS).await?;
    if jobs.is_empty() && events.is_empty() {
        return Ok(());
    }
    let tables = WarehouseStore::connect(warehouse)?;
    for job in jobs {
        let runs = count_runs(&tables, job.id).await?;
        publish_job(&tables, &row(&job, runs)).await?;
        store.job_is_published(job.id).await?;
    }
    let Some((first, last)) = events
        .first()
        .zip(events.last())
        .map(|(first, last)| (first.0, last.0))
    else {
        return Ok(());
    };
    let rows: Vec<EventRow> = events.into_iter().map(|(_, event)| event).collect();
    let mut journal = Journal::open(&tables, &store.id().await?).await?;
    journal.append(first, &rows).await?;
    store.forget_events(last).await?;
    Ok(())
}

fn row(job: &Job, runs: i64) -> JobRow {
    let spec = JobSpec::from_json(&job.spec).ok();
    let labels = spec
        .as_ref()
        .map(|spec| serde_json::json!(spec.labels).to_string());
    let change = spec
        .as_ref()
        .and_then(|spec| spec.change.as_ref().map(Change::to_json));
    // One that this release cannot read is left out: its query may hold a key.
    let public = spec.map_or_else(
        || "{}".to_string(),
        |spec| spec.to_public_json().to_string(),
    );
    JobRow {
        job_id: job.id.to_string(),
        spec: public,
        verdict: job.verdict.unwrap_or(Verdict::Error).to_string(),
        triggered_by: job.triggered_by.clone(),
        trigger: job.trigger.to_string(),
        schedule_id: job.schedule_id.clone(),
        change: change.map(|change| change.to_string()),
        labels: labels.unwrap_or_else(|| "{}".to_string()),
        queued_at: job.queued_at,
        started_at: job.started_at,
        finished_at: job.finished_at.unwrap_or(job.queued_at),
        runs,
    }
}
