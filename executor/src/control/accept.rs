//! A job is accepted: written with its tasks, and durable from then on.

use std::time::Duration;

use plimsoll_ingest::{JobId, TaskId, Timestamp, Trigger};
use sqlx::Row as _;

use super::database::Change;
use super::event::{Caller, Noted};
use super::record::{Columns, Priority};
use super::{Store, StoreError};

/// How many tasks of later jobs may be begun before a task that was there first, besides those that
/// were there before it.
pub const BYPASSES: i64 = 32;

/// A job that was found to be in order.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What was submitted, resolved, as JSON.
    pub spec: String,
    /// Digest of what was submitted, as it was.
    pub digest: String,
    /// Its tasks, in the order in which they are begun; at least one.
    pub tasks: Vec<NewTask>,
    /// Its class.
    pub priority: Priority,
    /// It is cancelled if it has not ended after this time.
    pub deadline: Option<Duration>,
    /// What asks for it.
    pub trigger: Trigger,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// The key by which the same call, made again, is known.
    pub idempotency_key: Option<String>,
    /// The tick of a schedule that it is of.
    pub tick: Option<Tick>,
    /// It is not begun before this; `None` where nothing holds it, which a clock that goes back does not
    /// change.
    pub not_before: Option<Timestamp>,
}

/// A moment at which a schedule hands a job in; it has one job at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The schedule.
    pub schedule: String,
    /// The moment.
    pub at: Timestamp,
}

/// One suite of a job.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its pillar.
    pub pillar: String,
    /// The suite.
    pub suite: String,
    /// What it may have to itself.
    pub lane: String,
    /// Whether it has to have it to itself.
    pub exclusive: bool,
    /// Whether it makes a performance load, of which a host makes one at a time.
    pub loads: bool,
    /// How often it is begun at most.
    pub max_attempts: i64,
}

/// What became of a job that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is a new job.
    New(JobId),
    /// The same job was accepted before, under the same idempotency key.
    Before(JobId),
}

impl Accepted {
    /// The job.
    pub const fn job(self) -> JobId {
        match self {
            Self::New(job) | Self::Before(job) => job,
        }
    }
}

impl Store {
    /// Writes a job and its tasks; once this has answered, no crash loses them.
    ///
    /// # Errors
    /// The store cannot be written, or another job has the idempotency key.
    pub async fn accept(&self, job: &NewJob, caller: &Caller) -> Result<Accepted, StoreError> {
        let accepted = self.again(|| self.try_accept(job, caller)).await?;
        self.tell_change();
        Ok(accepted)
    }

    async fn try_accept(&self, job: &NewJob, caller: &Caller) -> Result<Accepted, StoreError> {
        let mut change = self.begin().await?;
        if let Some(key) = &job.idempotency_key {
            let find = "SELECT id, spec_digest FROM job WHERE idempotency_key = $1";
            if let Some(row) = change.first(self.statement(find).bind(key.clone())).await? {
                let columns = Columns {
                    store: self,
                    row: &row,
                };
                let before: JobId = columns.parsed("id")?;
                return match columns.text("spec_digest")? == job.digest {
                    true => Ok(Accepted::Before(before)),
                    false => Err(StoreError::KeyUsed {
                        key: key.clone(),
                        job: before,
                    }),
                };
            }
        }
        let job_id = change.write_job(job, caller).await?;
        change.commit().await?;
        Ok(Accepted::New(job_id))
    }
}

impl Change<'_> {
    /// Writes a job and its tasks.
    pub(super) async fn write_job(
        &mut self,
        job: &NewJob,
        caller: &Caller,
    ) -> Result<JobId, StoreError> {
        let store = self.store;
        let first = job
            .tasks
            .first()
            .ok_or_else(|| store.unreadable("a job without tasks"))?;
        self.lock_lane(&first.lane).await?;
        let now = Timestamp::from_micros(self.number(store.statement_now("SELECT {now}")).await?);
        let job_id = JobId::new(now);
        let deadline = job.deadline.map(|deadline| {
            let micros = i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX);
            now.micros().saturating_add(micros)
        });
        let insert = "INSERT INTO job (id, spec, state, priority, triggered_by, trigger_kind, \
                      idempotency_key, spec_digest, traceparent, queued_at, deadline_at, \
                      schedule_id, tick_at) \
                      VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let insert = store
            .statement(insert)
            .bind(job_id.to_string())
            .bind(job.spec.clone())
            .bind(job.priority.rank())
            .bind(caller.actor.clone())
            .bind(job.trigger.to_string())
            .bind(job.idempotency_key.clone())
            .bind(job.digest.clone())
            .bind(job.traceparent.clone())
            .bind(now.micros())
            .bind(deadline)
            .bind(job.tick.as_ref().map(|tick| tick.schedule.clone()))
            .bind(job.tick.as_ref().map(|tick| tick.at.micros()));
        self.run(insert).await?;
        let due = store.statement(
            "SELECT (CASE WHEN last > due THEN last ELSE due END) FROM (SELECT {last_fence} + $1 AS \
             last, COALESCE((SELECT max(due_fence) FROM task), 0) + 1 AS due) AS both_of_them",
        );
        let due = self.number(due.bind(BYPASSES)).await?;
        for (number, task) in job.tasks.iter().enumerate() {
            let insert = "INSERT INTO task (id, job_id, number, pillar, suite, lane, exclusive, \
                          loads, state, priority, due_fence, not_before, max_attempts) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
            let insert = store
                .statement(insert)
                .bind(TaskId::new(now).to_string())
                .bind(job_id.to_string())
                .bind(number as i64)
                .bind(task.pillar.clone())
                .bind(task.suite.clone())
                .bind(task.lane.clone())
                .bind(i64::from(task.exclusive))
                .bind(i64::from(task.loads))
                .bind(if number == 0 { "queued" } else { "waiting" })
                .bind(job.priority.rank())
                .bind(due + number as i64)
                .bind(job.not_before.map_or(0, Timestamp::micros))
                .bind(task.max_attempts);
            self.run(insert).await?;
        }
        self.give_turn(&first.lane).await?;
        let job_text = Some(job_id.to_string());
        self.note(
            caller,
            Noted {
                job: job_text,
                ..Noted::of("job_submitted")
            },
        )
        .await?;
        Ok(job_id)
    }

    /// Decides anew which task of a lane may be claimed next: one that is due, whatever its class, else
    /// the first of the highest class, else the one whose wait is over first. Nobody while the lane is
    /// held by a task that cannot share it. The lane has to be locked.
    pub(super) async fn give_turn(&mut self, lane: &str) -> Result<(), StoreError> {
        let store = self.store;
        let take = store.statement("UPDATE task SET turn = 0 WHERE lane = $1 AND turn = 1");
        self.run(take.bind(lane.to_string())).await?;
        let give = "UPDATE task SET turn = 1 WHERE id = COALESCE( \
             (SELECT id FROM task WHERE lane = $2 AND state = 'queued' AND {ready} \
              AND due_fence <= {last_fence} ORDER BY due_fence LIMIT 1), \
             (SELECT id FROM task WHERE lane = $2 AND state = 'queued' AND {ready} \
              ORDER BY priority DESC, due_fence LIMIT 1), \
             (SELECT id FROM task WHERE lane = $2 AND state = 'queued' ORDER BY not_before LIMIT 1)) \
             AND NOT EXISTS (SELECT 1 FROM task h WHERE h.lane = $2 AND h.state = 'leased' \
              AND (h.exclusive = 1 OR task.exclusive = 1))";
        let give = store.statement_now(give);
        self.run(give.bind(lane.to_string())).await?;
        Ok(())
    }

    /// Ends a job whose tasks have all ended.
    pub(super) async fn end_job_if_over(&mut self, job: &str) -> Result<(), StoreError> {
        let store = self.store;
        let tasks = store.statement("SELECT state, verdict FROM task WHERE job_id = $1");
        let rows = self.all(tasks.bind(job.to_string())).await?;
        let mut verdicts = Vec::new();
        for row in &rows {
            let columns = Columns { store, row };
            let state: super::TaskState = columns.parsed("state")?;
            if !state.is_over() {
                return Ok(());
            }
            verdicts.extend(columns.parsed_or_null::<plimsoll_ingest::Verdict>("verdict")?);
        }
        let verdict = plimsoll_ingest::Verdict::worst(verdicts);
        let verdict = verdict.unwrap_or(plimsoll_ingest::Verdict::Error);
        let end = "UPDATE job SET state = 'done', verdict = $2, finished_at = {now} \
                   WHERE id = $3 AND state <> 'done'";
        let end = store
            .statement_now(end)
            .bind(verdict.to_string())
            .bind(job.to_string());
        self.run(end).await?;
        Ok(())
    }

    /// Has a job to itself until the change is over.
    pub(super) async fn lock_job(&mut self, job: &str) -> Result<(), StoreError> {
        let lock = self
            .store
            .statement("SELECT id FROM job WHERE id = $1 {for_update}");
        let row = self.first(lock.bind(job.to_string())).await?;
        let there = row.is_some_and(|row| row.try_get::<String, _>(0).is_ok());
        match there {
            true => Ok(()),
            false => Err(self.store.unreadable(format!("there is no job {job}"))),
        }
    }
}
