//! Tasks whose worker was lost, and jobs whose time is over.

use plimsoll_ingest::{JobId, TaskId};

use super::claim::LEASE;
use super::record::Columns;
use super::{Store, StoreError};

/// A lease that ran out, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The task.
    pub task: TaskId,
    /// The job.
    pub job: JobId,
    /// The worker that had it.
    pub worker: String,
    fence: i64,
    lease_until: i64,
    lane: String,
    host: String,
}

impl Store {
    /// Leases that ran out: those that are over, and those that last longer than one can, since the clock
    /// went back after they were given. Who lives renews them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn expired(&self) -> Result<Vec<Expired>, StoreError> {
        let select = "SELECT id, job_id, worker, host, fence, lease_until, lane FROM task \
                      WHERE state = 'leased' \
                      AND (lease_until < {now} OR lease_until > {now} + $2) ORDER BY lease_until LIMIT 1000";
        let lease = i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
        let rows = self.read(self.statement_now(select).bind(lease)).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { store: self, row };
                Ok(Expired {
                    task: columns.parsed("id")?,
                    job: columns.parsed("job_id")?,
                    worker: columns.text_or_null("worker")?.unwrap_or_default(),
                    fence: columns.integer("fence")?,
                    lease_until: columns.integer("lease_until")?,
                    lane: columns.text("lane")?,
                    host: columns.text_or_null("host")?.unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Takes a task away from a worker that was lost: it is begun again, or settled where no attempt is
    /// left or its job was cancelled. False where the lease was renewed or ended since it was seen.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn rescue(&self, expired: &Expired) -> Result<bool, StoreError> {
        let rescued = self.again(|| self.try_rescue(expired)).await?;
        self.tell_change();
        Ok(rescued)
    }

    async fn try_rescue(&self, expired: &Expired) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        change.lock_lane(&expired.lane).await?;
        change.lock_job(&expired.job.to_string()).await?;
        let rescue = "UPDATE task SET state = (CASE WHEN attempt >= max_attempts \
               OR (SELECT cancelled_at FROM job WHERE id = task.job_id) IS NOT NULL \
             THEN 'settling' ELSE 'queued' END), not_before = 0, reason = $1, \
             fence = NULL, worker = NULL, host = NULL, lease_until = NULL, progress = NULL \
             WHERE id = $2 AND fence = $3 AND lease_until = $4 AND state = 'leased'";
        let reason = format!("worker {} on {} was lost", expired.worker, expired.host);
        let rescue = self
            .statement(rescue)
            .bind(reason)
            .bind(expired.task.to_string())
            .bind(expired.fence)
            .bind(expired.lease_until);
        if change.run(rescue).await? == 0 {
            return Ok(false);
        }
        change.give_turn(&expired.lane).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Gives the turn of a lane to a task that is ready, where the one that has it is not any more: the
    /// clock went back. Says how many lanes there were.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn wake_lanes(&self) -> Result<usize, StoreError> {
        let select = "SELECT DISTINCT lane FROM task h WHERE turn = 1 AND NOT {ready} \
                      AND EXISTS (SELECT 1 FROM task WHERE lane = h.lane AND state = 'queued' \
                        AND turn = 0 AND {ready})";
        let rows = self.read(self.statement_now(select)).await?;
        for row in &rows {
            let lane = Columns { store: self, row }.text("lane")?;
            self.again(|| self.try_wake(&lane)).await?;
        }
        if !rows.is_empty() {
            self.tell_change();
        }
        Ok(rows.len())
    }

    async fn try_wake(&self, lane: &str) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        change.lock_lane(lane).await?;
        change.give_turn(lane).await?;
        change.commit().await
    }

    /// Jobs that have not ended and whose deadline is past.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn past_deadline(&self) -> Result<Vec<JobId>, StoreError> {
        let select = "SELECT id FROM job WHERE state <> 'done' AND deadline_at < {now} \
                      AND cancelled_at IS NULL LIMIT 1000";
        let rows = self.read(self.statement_now(select)).await?;
        rows.iter()
            .map(|row| Columns { store: self, row }.parsed("id"))
            .collect()
    }
}
