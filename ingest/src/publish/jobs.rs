//! The row of a job: its last run brings it, or whoever ended the job.

use deltalake_core::kernel::Add;

use super::{PublishError, Publisher, once, text};
use crate::append::Appender;
use crate::contract::Checker;
use crate::delta::open_or_create;
use crate::log;
use crate::row::TableRow as _;
use crate::spool::Tag;
use crate::storage::WarehouseStore;
use crate::table::{JobRow, Table};
use crate::time::Timestamp;
use deltalake_core::DeltaTable;
use serde_json::Value;

/// Publishes the row of a job that has ended; doing so twice is doing it once.
///
/// # Errors
/// The row breaks its table's contract, or the table cannot be written.
pub async fn publish_job(store: &WarehouseStore, job: &JobRow) -> Result<(), PublishError> {
    let jobs = open_or_create(store, Table::Jobs).await?;
    append_job(store, jobs, job).await
}

async fn append_job(
    store: &WarehouseStore,
    mut jobs: DeltaTable,
    job: &JobRow,
) -> Result<(), PublishError> {
    let appender = Appender {
        table: Table::Jobs,
        warehouse: store.location(),
    };
    let app_id = format!("job:{}", job.job_id);
    let mut adds: Option<Vec<Add>> = None;
    let mut attempt = 0;
    loop {
        if job_is_in(appender, &jobs, &app_id, job).await? {
            return Ok(());
        }
        let files = match adds.take() {
            Some(files) => files,
            None => {
                let rows = JobRow::to_batch(std::slice::from_ref(job))?;
                let checker = Checker::of_journal(Table::Jobs)?;
                let of = format!("part-{}", job.job_id);
                let rows = std::iter::once(Ok::<_, PublishError>(rows));
                appender
                    .write_files(&jobs, checker, (&of, job.queued_at.date()), rows)
                    .await?
            }
        };
        let transactions = [once(&app_id)];
        appender
            .try_commit(&mut jobs, &files, &transactions, &mut attempt)
            .await?;
        adds = Some(files);
    }
}

/// Whether the row of a job is in `jobs`.
async fn job_is_in(
    appender: Appender<'_>,
    jobs: &DeltaTable,
    app_id: &str,
    job: &JobRow,
) -> Result<bool, PublishError> {
    let fail = |source| appender.delta_error(source);
    if log::has_transaction(jobs, app_id).await.map_err(fail)? {
        return Ok(true);
    }
    // The transaction may have expired. Bounds may be cut to milliseconds.
    let millis = |value: &Value| Some(Timestamp::parse(value.as_str()?)?.millis());
    let files = log::files_by(jobs, "queued_at", millis).map_err(fail)?;
    let at = job.queued_at.millis();
    let files = files.iter().filter(|file| file.may_hold(&at, &at));
    let paths = files.map(|file| &file.path);
    let batches = appender.read_files(jobs, paths).await?;
    let is_it = |batch: &_, row| text(batch, "job_id", row) == Some(&job.job_id);
    Ok(batches
        .iter()
        .any(|batch| (0..batch.num_rows()).any(|row| is_it(batch, row))))
}

impl Publisher<'_> {
    /// Publishes the job's row, where this spool holds it.
    pub(super) async fn publish_job(&self, jobs: DeltaTable) -> Result<(), PublishError> {
        for batch in self.contents.batches(Tag::Final(Table::Jobs)) {
            if let Some(job) = JobRow::from_batch(&batch?)?.first() {
                return append_job(self.store, jobs, job).await;
            }
        }
        Ok(())
    }
}
