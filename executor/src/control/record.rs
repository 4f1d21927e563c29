//! The store's words and rows, as the rest of the program has them.

use std::str::FromStr;

use plimsoll_ingest::{JobId, RunId, TaskId, Timestamp, Trigger, Verdict, words};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError};

words! {
    /// How far a job is.
    JobState, "job state" {
        /// Accepted; none of its tasks was begun.
        Queued = "queued",
        /// A task of it was begun.
        Running = "running",
        /// All its tasks have ended.
        Done = "done",
    }
}

words! {
    /// How far a task is. From `done`, `dead` and `cancelled` nothing leads away.
    TaskState, "task state" {
        /// An earlier suite of its job has not ended.
        Waiting = "waiting",
        /// It may be begun.
        Queued = "queued",
        /// A worker has it.
        Leased = "leased",
        /// Whether it has a run is to be found out; then it ends.
        Settling = "settling",
        /// It ended with a measurement.
        Done = "done",
        /// It ended without one.
        Dead = "dead",
        /// Somebody ended it.
        Cancelled = "cancelled",
    }
}

impl TaskState {
    /// Whether it has ended.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }
}

words! {
    /// Which tasks go first. The lower classes are passed over a bounded number of times.
    Priority, "priority" {
        /// After the others.
        Low = "low",
        /// As usual.
        Normal = "normal",
        /// Before the others.
        High = "high",
    }
}

impl Priority {
    pub(super) const fn rank(self) -> i64 {
        self as i64
    }

    fn of_rank(rank: i64) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|priority| priority.rank() == rank)
    }
}

/// A job, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// What was submitted, as JSON; see [`crate::job_spec::JobSpec::to_json`].
    pub spec: String,
    /// How far it is.
    pub state: JobState,
    /// Its class.
    pub priority: Priority,
    /// The worst verdict of its tasks; `None` until it has ended.
    pub verdict: Option<Verdict>,
    /// Who asked for it.
    pub triggered_by: String,
    /// What asked for it.
    pub trigger: Trigger,
    /// The schedule that asked for it.
    pub schedule_id: Option<String>,
    /// The trace that it belongs to, as in W3C's `traceparent`.
    pub traceparent: Option<String>,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// When its first task was begun.
    pub started_at: Option<Timestamp>,
    /// When its last task ended.
    pub finished_at: Option<Timestamp>,
    /// When it is cancelled if it has not ended.
    pub deadline_at: Option<Timestamp>,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
}

/// A task, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The task.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// Its place among the suites of the job, from 0.
    pub number: i64,
    /// The pillar of its suite.
    pub pillar: String,
    /// The suite.
    pub suite: String,
    /// How far it is.
    pub state: TaskState,
    /// How often it was begun.
    pub attempt: i64,
    /// How often it is begun at most.
    pub max_attempts: i64,
    /// The worker that has it.
    pub worker: Option<String>,
    /// The host of that worker.
    pub host: Option<String>,
    /// Until when that worker has it.
    pub lease_until: Option<Timestamp>,
    /// How far its run is, as JSON; see [`crate::worker`].
    pub progress: Option<String>,
    /// Before this it is not begun; `None` where nothing holds it.
    pub not_before: Option<Timestamp>,
    /// Its verdict; `None` until it has ended.
    pub verdict: Option<Verdict>,
    /// The run that its verdict is of.
    pub run: Option<RunId>,
    /// Why it ended as it did, or why it was begun again.
    pub reason: Option<String>,
    /// When it was begun first.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A row, of which each column is read by its name.
pub(super) struct Columns<'a> {
    pub(super) store: &'a Store,
    pub(super) row: &'a AnyRow,
}

impl Columns<'_> {
    pub(super) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.row
            .try_get(column)
            .map_err(|source| self.store.failed(source))
    }

    pub(super) fn text_or_null(&self, column: &str) -> Result<Option<String>, StoreError> {
        self.row
            .try_get(column)
            .map_err(|source| self.store.failed(source))
    }

    pub(super) fn integer(&self, column: &str) -> Result<i64, StoreError> {
        self.row
            .try_get(column)
            .map_err(|source| self.store.failed(source))
    }

    pub(super) fn moment(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = self
            .row
            .try_get(column)
            .map_err(|source| self.store.failed(source))?;
        Ok(micros.map(Timestamp::from_micros))
    }

    pub(super) fn parsed<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        self.parse(column, &self.text(column)?)
    }

    pub(super) fn parsed_or_null<T>(&self, column: &str) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text = self.text_or_null(column)?;
        text.map(|text| self.parse(column, &text)).transpose()
    }

    pub(super) fn priority(&self) -> Result<Priority, StoreError> {
        let rank = self.integer("priority")?;
        let priority = Priority::of_rank(rank);
        priority.ok_or_else(|| self.store.unreadable(format!("priority {rank}")))
    }

    fn parse<T>(&self, column: &str, text: &str) -> Result<T, StoreError>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        text.parse()
            .map_err(|error| self.store.unreadable(format!("column {column}: {error}")))
    }
}

/// The columns of a [`Job`].
pub(super) const JOB_COLUMNS: &str = "id, spec, state, priority, verdict, triggered_by, \
     trigger_kind, schedule_id, traceparent, queued_at, started_at, finished_at, deadline_at, \
     cancelled_by";

impl Job {
    pub(super) fn read(columns: &Columns<'_>) -> Result<Self, StoreError> {
        let needed = |column| {
            let moment = columns.moment(column)?;
            moment.ok_or_else(|| columns.store.unreadable(format!("no {column}")))
        };
        Ok(Self {
            id: columns.parsed("id")?,
            spec: columns.text("spec")?,
            state: columns.parsed("state")?,
            priority: columns.priority()?,
            verdict: columns.parsed_or_null("verdict")?,
            triggered_by: columns.text("triggered_by")?,
            trigger: columns.parsed("trigger_kind")?,
            schedule_id: columns.text_or_null("schedule_id")?,
            traceparent: columns.text_or_null("traceparent")?,
            queued_at: needed("queued_at")?,
            started_at: columns.moment("started_at")?,
            finished_at: columns.moment("finished_at")?,
            deadline_at: columns.moment("deadline_at")?,
            cancelled_by: columns.text_or_null("cancelled_by")?,
        })
    }
}

impl Task {
    pub(super) fn read(columns: &Columns<'_>) -> Result<Self, StoreError> {
        let not_before = columns.integer("not_before")?;
        Ok(Self {
            id: columns.parsed("id")?,
            job: columns.parsed("job_id")?,
            number: columns.integer("number")?,
            pillar: columns.text("pillar")?,
            suite: columns.text("suite")?,
            state: columns.parsed("state")?,
            attempt: columns.integer("attempt")?,
            max_attempts: columns.integer("max_attempts")?,
            worker: columns.text_or_null("worker")?,
            host: columns.text_or_null("host")?,
            lease_until: columns.moment("lease_until")?,
            progress: columns.text_or_null("progress")?,
            not_before: (not_before > 0).then(|| Timestamp::from_micros(not_before)),
            verdict: columns.parsed_or_null("verdict")?,
            run: columns.parsed_or_null("run_id")?,
            reason: columns.text_or_null("reason")?,
            started_at: columns.moment("started_at")?,
            finished_at: columns.moment("finished_at")?,
        })
    }
}
