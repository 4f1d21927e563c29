//! The row of a job, which its last run brings.

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use serde_json::Value;

use super::{PublishError, Publisher, merge, once, text};
use crate::log;
use crate::spool::Tag;
use crate::table::Table;
use crate::time::Timestamp;

impl Publisher<'_> {
    /// Whether the row of a job is in `jobs`.
    async fn job_is_in(
        &self,
        jobs: &DeltaTable,
        app_id: &str,
        row: &RecordBatch,
    ) -> Result<bool, PublishError> {
        let fail = |source| self.table_error(Table::Jobs, source);
        if log::has_transaction(jobs, app_id).await.map_err(fail)? {
            return Ok(true);
        }
        // The transaction may have expired. Bounds may be cut to milliseconds.
        let millis = |value: &Value| Some(Timestamp::parse(value.as_str()?)?.millis());
        let files = log::files_by(jobs, "queued_at", millis).map_err(fail)?;
        let queued_at = row["queued_at"].as_primitive::<TimestampMicrosecondType>();
        let at = Timestamp::from_micros(queued_at.value(0)).millis();
        let files = files.iter().filter(|file| file.may_hold(&at, &at));
        let paths = files.map(|file| &file.path);
        let batches = self.appender(Table::Jobs).read_files(jobs, paths).await?;
        let job_id = text(row, "job_id", 0);
        Ok(batches
            .iter()
            .any(|batch| (0..batch.num_rows()).any(|row| text(batch, "job_id", row) == job_id)))
    }

    /// Publishes the job's row, where this spool holds it.
    pub(super) async fn publish_job(&self, mut jobs: DeltaTable) -> Result<(), PublishError> {
        let table = Table::Jobs;
        let tag = Tag::Final(table);
        if !self.contents.has(tag) {
            return Ok(());
        }
        let rows: Vec<_> =
            merge::ordered_rows(self.contents, tag, table)?.collect::<Result<_, _>>()?;
        let Some(row) = rows.first() else {
            return Ok(());
        };
        let Some(job_id) = text(row, "job_id", 0) else {
            return Ok(());
        };
        let app_id = format!("job:{job_id}");
        let mut adds: Option<Vec<Add>> = None;
        let mut attempt = 0;
        loop {
            if self.job_is_in(&jobs, &app_id, row).await? {
                return Ok(());
            }
            let files = match adds.take() {
                Some(files) => files,
                None => {
                    self.write_files(&jobs, table, rows.iter().cloned().map(Ok))
                        .await?
                }
            };
            let transactions = [once(&app_id)];
            self.appender(table)
                .try_commit(&mut jobs, &files, &transactions, &mut attempt)
                .await?;
            adds = Some(files);
        }
    }
}
