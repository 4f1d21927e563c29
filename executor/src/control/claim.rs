//! A worker takes the next task.

use plimsoll_ingest::{JobId, TaskId};
use std::time::Duration;

use super::database::{Change, Dialect};
use super::record::Columns;
use super::{Store, StoreError};

/// How long a lease lasts that nobody renews.
pub const LEASE: Duration = Duration::from_secs(15);

/// No task waits longer than this for its time, whatever it waits for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Another worker may have taken what was found; then the next is looked for, so often.
const LOOKS: u32 = 16;

/// Who takes tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name, which no other worker has.
    pub name: String,
    /// Where it runs: a host makes one performance load at a time.
    pub host: String,
}

/// The right to work on a task, until somebody else has a later fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// Its job.
    pub job: JobId,
    /// Its place among the suites of the job, from 0.
    pub number: usize,
    /// Grows with every claim; every later write carries it.
    pub fence: i64,
    /// How often the task was begun, this time included.
    pub attempt: i64,
    /// How often it is begun at most.
    pub max_attempts: i64,
    /// What is to be done.
    pub errand: Errand,
    pub(super) lane: String,
}

impl Lease {
    /// Whether no attempt follows this one.
    pub const fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}

/// What a worker does with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Make a run of it.
    Run,
    /// Find out whether it has a run that ended it, and end it in any case.
    Settle,
}

/// Tasks that may be claimed, the first first: those to be settled, those that were passed over often
/// enough, then by class and age.
const CANDIDATES: &str = "SELECT id, lane, tier, due_fence FROM (
  SELECT * FROM (SELECT id, lane, 0 AS tier, due_fence FROM task WHERE state = 'settling'
    AND {ready} AND {free}
    ORDER BY due_fence LIMIT 16) settling
  UNION ALL SELECT * FROM (SELECT id, lane, 1 AS tier, due_fence FROM task WHERE turn = 1
    AND loads = 1 AND due_fence <= {last_fence} AND {ready} AND {runs} AND {loads}
    ORDER BY due_fence LIMIT 16) due_load
  UNION ALL SELECT * FROM (SELECT id, lane, 1 AS tier, due_fence FROM task WHERE turn = 1
    AND loads = 0 AND due_fence <= {last_fence} AND {ready} AND {runs}
    ORDER BY due_fence LIMIT 16) due
  UNION ALL SELECT * FROM (SELECT id, lane, 9 - priority AS tier, due_fence FROM task WHERE turn = 1
    AND loads = 1 AND {ready} AND {runs} AND {loads}
    ORDER BY priority DESC, due_fence LIMIT 16) class_load
  UNION ALL SELECT * FROM (SELECT id, lane, 9 - priority AS tier, due_fence FROM task WHERE turn = 1
    AND loads = 0 AND {ready} AND {runs}
    ORDER BY priority DESC, due_fence LIMIT 16) class
) candidate ORDER BY tier, due_fence";

/// Nobody has paused the store.
const RUNS: &str = "EXISTS (SELECT 1 FROM control WHERE name = 'paused' AND value = '')";
/// The host makes no load.
const LOADS: &str =
    "NOT EXISTS (SELECT 1 FROM task WHERE state = 'leased' AND loads = 1 AND host = $2)";

/// Nobody settles it: a lease that is over, or lasts longer than one can, is none. `$3` is a lease's time.
const FREE: &str = "(lease_until IS NULL OR lease_until <= {now} OR lease_until > {now} + $3)";

/// The statement that finds the next, and locks its lane where several processes write at a time.
fn find(dialect: Dialect) -> String {
    let candidates = CANDIDATES
        .replace("{runs}", RUNS)
        .replace("{loads}", LOADS)
        .replace("{free}", FREE);
    match dialect {
        Dialect::Sqlite => format!("SELECT id, lane FROM ({candidates}) LIMIT 1"),
        Dialect::Postgres => format!(
            "WITH candidates AS MATERIALIZED ({candidates}) SELECT id, lane FROM candidates \
             WHERE pg_try_advisory_xact_lock(hashtextextended(lane, 0)) LIMIT 1"
        ),
    }
}

impl Store {
    /// Leases the next task to a worker; `None` where there is none for it now.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn claim(&self, worker: &Worker) -> Result<Option<Lease>, StoreError> {
        for _ in 0..LOOKS {
            match self.again(|| self.try_claim(worker)).await? {
                Found::Nothing => return Ok(None),
                Found::Lease(lease) => return Ok(Some(lease)),
                Found::Gone => {}
            }
        }
        Ok(None)
    }

    async fn try_claim(&self, worker: &Worker) -> Result<Found, StoreError> {
        let mut change = self.begin().await?;
        let find = self
            .statement_now(&find(self.dialect))
            .bind(worker.host.clone())
            .bind(ttl());
        let Some(row) = change.first(find).await? else {
            return Ok(Found::Nothing);
        };
        let columns = Columns {
            store: self,
            row: &row,
        };
        let (id, lane) = (columns.text("id")?, columns.text("lane")?);
        let Some(taken) = change.take(&id, worker).await? else {
            return Ok(Found::Gone);
        };
        let Taken { lease, shares } = taken;
        let begin = "UPDATE job SET state = 'running', started_at = COALESCE(started_at, {now}) \
                     WHERE id = $2 AND state = 'queued'";
        change
            .run(self.statement_now(begin).bind(lease.job.to_string()))
            .await?;
        if shares {
            change.give_turn(&lane).await?;
        }
        change.commit().await?;
        Ok(Found::Lease(lease))
    }
}

/// How long a lease lasts, in microseconds.
fn ttl() -> i64 {
    i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX)
}

enum Found {
    Nothing,
    /// Somebody else has it by now.
    Gone,
    Lease(Lease),
}

struct Taken {
    lease: Lease,
    /// Whether others of its lane may be claimed with it.
    shares: bool,
}

impl Change<'_> {
    async fn take(&mut self, id: &str, worker: &Worker) -> Result<Option<Taken>, StoreError> {
        let store = self.store;
        if store.dialect == Dialect::Sqlite {
            let next = "UPDATE sequence SET value = value + 1 WHERE name = 'fence'";
            self.run(store.statement(next)).await?;
        }
        let take = "UPDATE task SET fence = {next_fence}, worker = $2, host = $3, \
             lease_until = {now} + $4, turn = 0, \
             attempt = attempt + (CASE WHEN state = 'queued' THEN 1 ELSE 0 END), \
             started_at = (CASE WHEN state = 'queued' THEN COALESCE(started_at, {now}) ELSE started_at END), \
             state = (CASE WHEN state = 'queued' THEN 'leased' ELSE state END) \
             WHERE id = $5 AND ((state = 'queued' AND turn = 1) \
               OR (state = 'settling' AND (lease_until IS NULL OR lease_until <= {now} \
                 OR lease_until > {now} + $4))) \
             RETURNING job_id, number, fence, attempt, max_attempts, exclusive, state, lane";
        let take = store
            .statement_now(take)
            .bind(worker.name.clone())
            .bind(worker.host.clone())
            .bind(ttl())
            .bind(id.to_string());
        let Some(row) = self.first(take).await? else {
            return Ok(None);
        };
        let columns = Columns { store, row: &row };
        let task = id
            .parse()
            .map_err(|error| store.unreadable(super::error::bad_id(&error)))?;
        let number = columns.integer("number")?;
        let errand = match columns.text("state")?.as_str() {
            "settling" => Errand::Settle,
            _ => Errand::Run,
        };
        let lease = Lease {
            task,
            job: columns.parsed("job_id")?,
            number: usize::try_from(number)
                .map_err(|_| store.unreadable(format!("task number {number}")))?,
            fence: columns.integer("fence")?,
            attempt: columns.integer("attempt")?,
            max_attempts: columns.integer("max_attempts")?,
            errand,
            lane: columns.text("lane")?,
        };
        let shares = errand == Errand::Run && columns.integer("exclusive")? == 0;
        Ok(Some(Taken { lease, shares }))
    }
}
