//! Jobs that somebody ends, and the brake for all of them.

use plimsoll_ingest::JobId;

use super::database::Change;
use super::event::{Caller, Noted};
use super::record::Columns;
use super::{JobState, Store, StoreError};

/// What became of a wish to end a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It ends: what has not begun is cancelled, and workers are told.
    Ends,
    /// It had ended already.
    HadEnded,
}

impl Store {
    /// Ends a job: tasks that were never begun are cancelled, those that were begun before are settled,
    /// and a worker that has one hears of it.
    ///
    /// # Errors
    /// There is no such job, or the store cannot be written.
    pub async fn cancel(
        &self,
        job: JobId,
        caller: &Caller,
        reason: Option<&str>,
    ) -> Result<Cancelled, StoreError> {
        let cancelled = self.again(|| self.try_cancel(job, caller, reason)).await?;
        self.tell_change();
        Ok(cancelled)
    }

    async fn try_cancel(
        &self,
        job: JobId,
        caller: &Caller,
        reason: Option<&str>,
    ) -> Result<Cancelled, StoreError> {
        let mut change = self.begin().await?;
        let cancelled = change.cancel_job(job, caller, reason).await?;
        change.commit().await?;
        Ok(cancelled)
    }

    /// Holds everything back: no task is begun, and runs that are under way send nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn pause(&self, caller: &Caller) -> Result<(), StoreError> {
        self.set_paused(caller, &caller.actor, "paused").await
    }

    /// Lets everything go on.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn resume(&self, caller: &Caller) -> Result<(), StoreError> {
        self.set_paused(caller, "", "resumed").await
    }

    async fn set_paused(&self, caller: &Caller, by: &str, action: &str) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let set = "UPDATE control SET value = $1 WHERE name = 'paused'";
        change.run(self.statement(set).bind(by.to_string())).await?;
        change.note(caller, Noted::of(action)).await?;
        change.commit().await?;
        self.tell_change();
        Ok(())
    }

    /// Who holds everything back; `None` where nobody does.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn paused_by(&self) -> Result<Option<String>, StoreError> {
        let rows = self
            .read(self.statement("SELECT value FROM control WHERE name = 'paused'"))
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| self.unreadable("whether it is paused"))?;
        let by = Columns { store: self, row }.text("value")?;
        Ok(Some(by).filter(|by| !by.is_empty()))
    }
}

impl Change<'_> {
    /// Ends a job, as part of the self.
    pub(super) async fn cancel_job(
        &mut self,
        job: JobId,
        caller: &Caller,
        reason: Option<&str>,
    ) -> Result<Cancelled, StoreError> {
        let id = job.to_string();
        let store = self.store;
        let lanes = "SELECT DISTINCT lane FROM task WHERE job_id = $1 ORDER BY lane";
        let rows = self.all(store.statement(lanes).bind(id.clone())).await?;
        let lanes = rows.iter().map(|row| Columns { store, row }.text("lane"));
        let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
        for lane in &lanes {
            self.lock_lane(lane).await?;
        }
        self.lock_job(&id).await?;
        let state = "SELECT state FROM job WHERE id = $1";
        let row = self.first(store.statement(state).bind(id.clone())).await?;
        let state: Option<JobState> = row
            .map(|row| Columns { store, row: &row }.parsed("state"))
            .transpose()?;
        if state == Some(JobState::Done) {
            return Ok(Cancelled::HadEnded);
        }
        let mark = "UPDATE job SET cancelled_at = COALESCE(cancelled_at, {now}), \
                    cancelled_by = COALESCE(cancelled_by, $2) WHERE id = $3";
        let mark = store
            .statement_now(mark)
            .bind(caller.actor.clone())
            .bind(id.clone());
        self.run(mark).await?;
        let unbegun = "UPDATE task SET state = 'cancelled', turn = 0, verdict = 'cancelled', \
             reason = $2, finished_at = {now} WHERE job_id = $3 \
             AND (state = 'waiting' OR (state = 'queued' AND attempt = 0))";
        let why = format!("cancelled by {}", caller.actor);
        self.run(store.statement_now(unbegun).bind(why).bind(id.clone()))
            .await?;
        let begun = "UPDATE task SET state = 'settling', turn = 0, not_before = 0 \
                     WHERE job_id = $1 AND state = 'queued'";
        self.run(store.statement(begun).bind(id.clone())).await?;
        for lane in &lanes {
            self.give_turn(lane).await?;
        }
        self.end_job_if_over(&id).await?;
        let noted = Noted {
            job: Some(id),
            reason: reason.map(str::to_string),
            ..Noted::of("job_cancelled")
        };
        self.note(caller, noted).await?;
        Ok(Cancelled::Ends)
    }
}
