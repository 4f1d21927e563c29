//! What jobs and tasks there are.

use plimsoll_ingest::{JobId, Timestamp};

use super::record::{Columns, JOB_COLUMNS, Job, JobState, Priority, Task, TaskState};
use super::{FindJobError, Store, StoreError};

/// The fewest characters that name a job.
const FEWEST_CHARACTERS: usize = 6;

/// Tasks of one class that are equally far and have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// Their class.
    pub priority: Priority,
    /// How far they are.
    pub state: TaskState,
    /// How many there are; at least one.
    pub tasks: i64,
    /// When the oldest of their jobs was accepted.
    pub oldest: Timestamp,
}

/// What waits to be brought to the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbrought {
    /// Rows of jobs that have ended.
    pub jobs: i64,
    /// Audit events.
    pub events: i64,
}

impl Store {
    /// The latest jobs, newest first, at most `limit`; only those in one state where one is given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self, state: Option<JobState>, limit: i64) -> Result<Vec<Job>, StoreError> {
        let wanted = match state {
            Some(state) => format!("WHERE state = '{state}'"),
            None => String::new(),
        };
        let select = format!(
            "SELECT {JOB_COLUMNS} FROM job {wanted} ORDER BY queued_at DESC, id DESC LIMIT $1"
        );
        let rows = self.read(self.statement(&select).bind(limit)).await?;
        rows.iter()
            .map(|row| Job::read(&Columns { store: self, row }))
            .collect()
    }

    /// A job; `None` where there is none of that id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn job(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        let select = format!("SELECT {JOB_COLUMNS} FROM job WHERE id = $1");
        let rows = self
            .read(self.statement(&select).bind(job.to_string()))
            .await?;
        rows.first()
            .map(|row| Job::read(&Columns { store: self, row }))
            .transpose()
    }

    /// The tasks of a job, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn tasks(&self, job: JobId) -> Result<Vec<Task>, StoreError> {
        let select = "SELECT * FROM task WHERE job_id = $1 ORDER BY number";
        let rows = self
            .read(self.statement(select).bind(job.to_string()))
            .await?;
        rows.iter()
            .map(|row| Task::read(&Columns { store: self, row }))
            .collect()
    }

    /// The job that a text names: an id, `latest`, or at least 6 of an id's last characters.
    ///
    /// # Errors
    /// It names none, or several; or the store cannot be read.
    pub async fn find_job(&self, text: &str) -> Result<JobId, FindJobError> {
        let wanted = text.trim().trim_start_matches('.').to_ascii_lowercase();
        if let Ok(job) = wanted.parse::<JobId>() {
            let found = self.job(job).await?;
            let unknown = FindJobError::Unknown {
                text: text.to_string(),
            };
            return found.map(|job| job.id).ok_or(unknown);
        }
        let rows = if wanted == "latest" {
            let latest = "SELECT id FROM job ORDER BY queued_at DESC, id DESC LIMIT 1";
            self.read(self.statement(latest)).await?
        } else {
            let names_one = wanted.len() >= FEWEST_CHARACTERS
                && wanted.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if !names_one {
                return Err(FindJobError::NoReference {
                    text: text.to_string(),
                });
            }
            let like = "SELECT id FROM job WHERE id LIKE $1 ORDER BY queued_at DESC, id LIMIT 10";
            self.read(self.statement(like).bind(format!("%{wanted}")))
                .await?
        };
        let ids = rows
            .iter()
            .map(|row| Columns { store: self, row }.parsed("id"));
        let matches = ids.collect::<Result<Vec<JobId>, _>>()?;
        match matches.as_slice() {
            [] => Err(FindJobError::Unknown {
                text: text.to_string(),
            }),
            [job] => Ok(*job),
            _ => Err(FindJobError::Ambiguous {
                text: text.to_string(),
                matches,
            }),
        }
    }

    /// Jobs that have ended and whose row is not known to be in the warehouse; the oldest, at most
    /// `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn unpublished_jobs(&self, limit: i64) -> Result<Vec<Job>, StoreError> {
        let select = format!(
            "SELECT {JOB_COLUMNS} FROM job WHERE state = 'done' AND published = 0 \
             ORDER BY finished_at LIMIT $1"
        );
        let rows = self.read(self.statement(&select).bind(limit)).await?;
        rows.iter()
            .map(|row| Job::read(&Columns { store: self, row }))
            .collect()
    }

    /// Notes that a job's row is in the warehouse.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn job_is_published(&self, job: JobId) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let update = "UPDATE job SET published = 1 WHERE id = $1";
        change
            .run(self.statement(update).bind(job.to_string()))
            .await?;
        change.commit().await
    }

    /// How long the queue is: tasks that have not ended, by class and state.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn depths(&self) -> Result<Vec<Depth>, StoreError> {
        let select = "SELECT t.priority, t.state, count(*) AS tasks, min(j.queued_at) AS oldest \
                      FROM task t JOIN job j ON j.id = t.job_id \
                      WHERE t.state <> 'done' AND t.state <> 'dead' AND t.state <> 'cancelled' \
                      GROUP BY t.priority, t.state";
        let rows = self.read(self.statement(select)).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { store: self, row };
                Ok(Depth {
                    priority: columns.priority()?,
                    state: columns.parsed("state")?,
                    tasks: columns.integer("tasks")?,
                    oldest: Timestamp::from_micros(columns.integer("oldest")?),
                })
            })
            .collect()
    }

    /// How much waits to be brought to the warehouse.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn unbrought(&self) -> Result<Unbrought, StoreError> {
        let select = "SELECT (SELECT count(*) FROM job WHERE state = 'done' AND published = 0) AS jobs, \
                      (SELECT count(*) FROM event) AS events";
        let rows = self.read(self.statement(select)).await?;
        let row = rows
            .first()
            .ok_or_else(|| self.unreadable("how much waits"))?;
        let columns = Columns { store: self, row };
        Ok(Unbrought {
            jobs: columns.integer("jobs")?,
            events: columns.integer("events")?,
        })
    }
}
