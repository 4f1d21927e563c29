//! The row of a job, which its last run brings.

use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use serde_json::Value;

use super::{PublishError, Publisher, log, merge, text};
use crate::delta::open_or_create;
use crate::spool::Tag;
use crate::table::Table;

/// How many characters of an id are compared with a file's bounds.
const BOUND_CHARACTERS: usize = 18;

impl Publisher<'_> {
    /// Whether a job's row is in `jobs`.
    async fn job_is_in(
        &self,
        jobs: &DeltaTable,
        app_id: &str,
        job_id: &str,
    ) -> Result<bool, PublishError> {
        let fail = |source| self.table_error(Table::Jobs, source);
        if log::has_transaction(jobs, app_id).await.map_err(fail)? {
            return Ok(true);
        }
        // The transaction may have expired. Statistics may hold the beginning of a text alone, cut
        // to no less than half of an id.
        let cut = |value: &Value| Some(value.as_str()?.chars().take(BOUND_CHARACTERS).collect());
        let files = log::files_by::<String>(jobs, "job_id", cut).map_err(fail)?;
        let key: String = job_id.chars().take(BOUND_CHARACTERS).collect();
        let files = files.iter().filter(|file| file.may_hold(&key, &key));
        let paths = files.map(|file| &file.path);
        let batches = self.read_files(jobs, Table::Jobs, paths).await?;
        Ok(batches.iter().any(|batch| {
            (0..batch.num_rows()).any(|row| text(batch, "job_id", row) == Some(job_id))
        }))
    }

    /// Publishes the job's row, where this spool holds it.
    pub(super) async fn publish_job(&self) -> Result<(), PublishError> {
        let table = Table::Jobs;
        let tag = Tag::Final(table);
        if !self.contents.has(tag) {
            return Ok(());
        }
        let rows: Vec<_> =
            merge::ordered_rows(self.contents, tag, table)?.collect::<Result<_, _>>()?;
        let Some(job_id) = rows.first().and_then(|batch| text(batch, "job_id", 0)) else {
            return Ok(());
        };
        let app_id = format!("job:{job_id}");
        let mut jobs = open_or_create(self.store, table).await?;
        let mut adds: Option<Vec<Add>> = None;
        let mut attempt = 0;
        loop {
            if self.job_is_in(&jobs, &app_id, job_id).await? {
                return Ok(());
            }
            let files = match adds.take() {
                Some(files) => files,
                None => {
                    self.write_files(&jobs, table, rows.iter().cloned().map(Ok))
                        .await?
                }
            };
            let transactions = [self.transaction(&app_id)];
            self.try_commit(&mut jobs, table, &files, &transactions, &mut attempt)
                .await?;
            adds = Some(files);
        }
    }
}
