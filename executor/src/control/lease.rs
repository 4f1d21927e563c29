//! What the holder of a lease may do: renew it, and end it in one way or another.

use std::time::Duration;

use plimsoll_ingest::{RunId, Verdict};

use super::claim::LEASE;
use super::database::Change;
use super::record::{Columns, TaskState};
use super::{Errand, Lease, Store, StoreError};

/// What others ask of the holder of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Who wants the job to end.
    pub cancelled_by: Option<String>,
    /// Who wants nothing to be sent for now.
    pub paused_by: Option<String>,
}

/// How a task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    /// `Done`, `Dead` or `Cancelled`.
    pub state: TaskState,
    /// Its verdict.
    pub verdict: Verdict,
    /// The run that the verdict is of.
    pub run: Option<RunId>,
    /// Why, where the verdict does not say.
    pub reason: Option<String>,
}

/// Whether the holder still had the lease. `Lost` means that nothing was changed, and that somebody
/// else has, or will have, the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Held {
    /// It had, and what was asked is done.
    Yes,
    /// It had not.
    Lost,
}

impl Store {
    /// Renews a lease, and says how far the run is. One that ran out, and that nobody took away yet, is renewed too: its fence keeps
    /// everybody else out, and a clock that jumps ends no measurement.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn beat(&self, lease: &Lease, progress: Option<&str>) -> Result<Held, StoreError> {
        self.again(|| self.try_beat(lease, progress)).await
    }

    async fn try_beat(&self, lease: &Lease, progress: Option<&str>) -> Result<Held, StoreError> {
        let mut change = self.begin().await?;
        let ttl = i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
        let renew = "UPDATE task SET lease_until = {now} + $2, progress = $5 \
                     WHERE id = $3 AND fence = $4 AND state IN ('leased', 'settling')";
        let progress = progress.map(str::to_string);
        let renew = self.statement_now(renew).bind(ttl);
        let renew = renew
            .bind(lease.task.to_string())
            .bind(lease.fence)
            .bind(progress);
        let renewed = change.run(renew).await?;
        change.commit().await?;
        Ok(held(renewed))
    }

    /// What others ask of the holder; `None` where the lease is lost.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wishes(&self, lease: &Lease) -> Result<Option<Wishes>, StoreError> {
        let select = "SELECT j.cancelled_by, c.value AS paused FROM task t \
                      JOIN job j ON j.id = t.job_id JOIN control c ON c.name = 'paused' \
                      WHERE t.id = $1 AND t.fence = $2 AND t.state IN ('leased', 'settling')";
        let select = self
            .statement(select)
            .bind(lease.task.to_string())
            .bind(lease.fence);
        let rows = self.read(select).await?;
        let wishes = rows.first().map(|row| {
            let columns = Columns { store: self, row };
            Ok(Wishes {
                cancelled_by: columns.text_or_null("cancelled_by")?,
                paused_by: Some(columns.text("paused")?).filter(|by| !by.is_empty()),
            })
        });
        wishes.transpose()
    }

    /// Ends the task, and with it its job where it was the last.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn finish(&self, lease: &Lease, end: &TaskEnd) -> Result<Held, StoreError> {
        let held = self.again(|| self.try_finish(lease, end)).await?;
        self.tell_change();
        Ok(held)
    }

    async fn try_finish(&self, lease: &Lease, end: &TaskEnd) -> Result<Held, StoreError> {
        let mut change = self.begin().await?;
        change.lock_lane(&lease.lane).await?;
        change.lock_job(&lease.job.to_string()).await?;
        let finish = "UPDATE task SET state = $2, verdict = $3, run_id = $4, \
             reason = COALESCE($5, reason), finished_at = {now}, fence = NULL, worker = NULL, \
             host = NULL, lease_until = NULL, progress = NULL \
             WHERE id = $6 AND fence = $7 AND state IN ('leased', 'settling')";
        let finish = self
            .statement_now(finish)
            .bind(end.state.to_string())
            .bind(end.verdict.to_string())
            .bind(end.run.map(|run| run.to_string()))
            .bind(end.reason.clone())
            .bind(lease.task.to_string())
            .bind(lease.fence);
        if change.run(finish).await? == 0 {
            return Ok(Held::Lost);
        }
        change.go_on(&lease.job.to_string(), &lease.lane).await?;
        change.commit().await?;
        Ok(Held::Yes)
    }

    /// Puts the task back, to be begun again after a while; where no attempt is left, or the job was
    /// cancelled, it is settled instead.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn retry(
        &self,
        lease: &Lease,
        after: Duration,
        reason: &str,
    ) -> Result<Held, StoreError> {
        let release = Release {
            after,
            reason,
            attempts: Attempts::Counts,
        };
        self.release(lease, release).await
    }

    /// Puts the task back for no fault of its own, because this worker ends or cannot work: the attempt
    /// is made good.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn hand_back(
        &self,
        lease: &Lease,
        began: Began,
        after: Duration,
        reason: &str,
    ) -> Result<Held, StoreError> {
        let attempts = match (lease.errand, began) {
            // Settling is no attempt.
            (Errand::Settle, _) => Attempts::Counts,
            (Errand::Run, Began::Nothing) => Attempts::TakenBack,
            (Errand::Run, Began::ARun) => Attempts::OneMore,
        };
        self.release(
            lease,
            Release {
                after,
                reason,
                attempts,
            },
        )
        .await
    }

    async fn release(&self, lease: &Lease, release: Release<'_>) -> Result<Held, StoreError> {
        let held = self.again(|| self.try_release(lease, release)).await?;
        self.tell_change();
        Ok(held)
    }

    async fn try_release(&self, lease: &Lease, release: Release<'_>) -> Result<Held, StoreError> {
        let mut change = self.begin().await?;
        change.lock_lane(&lease.lane).await?;
        change.lock_job(&lease.job.to_string()).await?;
        let (attempt, most) = match release.attempts {
            Attempts::Counts => (0, 0),
            Attempts::TakenBack => (-1, 0),
            Attempts::OneMore => (0, 1),
        };
        let after = i64::try_from(release.after.as_micros()).unwrap_or(i64::MAX);
        let put_back = "UPDATE task SET state = (CASE WHEN state = 'settling' \
               OR attempt + $2 >= max_attempts + $3 \
               OR (SELECT cancelled_at FROM job WHERE id = task.job_id) IS NOT NULL \
             THEN 'settling' ELSE 'queued' END), attempt = attempt + $2, \
             max_attempts = max_attempts + $3, not_before = (CASE WHEN $4 > 0 THEN {now} + $4 ELSE 0 END), reason = $5, \
             fence = NULL, worker = NULL, host = NULL, lease_until = NULL, progress = NULL \
             WHERE id = $6 AND fence = $7 AND state IN ('leased', 'settling')";
        let put_back = self
            .statement_now(put_back)
            .bind(attempt)
            .bind(most)
            .bind(after)
            .bind(release.reason.to_string())
            .bind(lease.task.to_string())
            .bind(lease.fence);
        if change.run(put_back).await? == 0 {
            return Ok(Held::Lost);
        }
        change.give_turn(&lease.lane).await?;
        change.commit().await?;
        Ok(Held::Yes)
    }
}

/// What a worker has done when it hands a task back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Began {
    /// Nothing that is left behind.
    Nothing,
    /// A run, which was broken off.
    ARun,
}

#[derive(Debug, Clone, Copy)]
struct Release<'a> {
    after: Duration,
    reason: &'a str,
    attempts: Attempts,
}

/// What becomes of the count of attempts.
#[derive(Debug, Clone, Copy)]
enum Attempts {
    /// This one counts.
    Counts,
    /// As if it had not been.
    TakenBack,
    /// It counts, and there may be one more.
    OneMore,
}

fn held(rows: u64) -> Held {
    match rows {
        0 => Held::Lost,
        _ => Held::Yes,
    }
}

impl Change<'_> {
    /// After a task has ended: the next suite of its job, the next of its lane, the end of the job.
    /// The lane and the job have to be locked.
    pub(super) async fn go_on(&mut self, job: &str, lane: &str) -> Result<(), StoreError> {
        let store = self.store;
        let next = "UPDATE task SET state = 'queued', not_before = 0 WHERE job_id = $1 \
             AND state = 'waiting' \
             AND number = (SELECT min(number) FROM task WHERE job_id = $1 AND state = 'waiting') \
             AND NOT EXISTS (SELECT 1 FROM task o WHERE o.job_id = $1 \
               AND o.state IN ('queued', 'leased', 'settling')) RETURNING lane";
        let next = store.statement(next).bind(job.to_string());
        let next = self.first(next).await?;
        let next = next
            .map(|row| Columns { store, row: &row }.text("lane"))
            .transpose()?;
        if let Some(other) = next.as_deref().filter(|other| *other != lane) {
            self.lock_lane(other).await?;
            self.give_turn(other).await?;
        }
        self.give_turn(lane).await?;
        if next.is_none() {
            self.end_job_if_over(job).await?;
        }
        Ok(())
    }
}
