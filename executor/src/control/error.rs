//! Why the store did not do what was asked.

use plimsoll_ingest::{IdError, JobId};
use sqlx::error::ErrorKind;

use super::ControlUrl;

/// Why the store did not do what was asked. Nothing of it was done, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, read or written.
    #[error("the control store `{url}` cannot be used")]
    Database {
        /// The store.
        url: ControlUrl,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database says nothing. What was asked may be done all the same.
    #[error("the control store `{url}` did not answer within {} s", .after.as_secs())]
    Silent {
        /// The store.
        url: ControlUrl,
        /// How long it was waited.
        after: std::time::Duration,
    },
    /// The file of a SQLite database, or its folder, cannot be made.
    #[error("the control store `{url}` cannot be made")]
    Folder {
        /// The store.
        url: ControlUrl,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A later release made its tables.
    #[error(
        "the control store `{url}` is of version {found}, and this release knows up to {known}"
    )]
    Newer {
        /// The store.
        url: ControlUrl,
        /// The version that was found.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// The database holds tables of something else.
    #[error("the database `{url}` holds other tables, and no control store")]
    Foreign {
        /// The store.
        url: ControlUrl,
    },
    /// A row holds what this release does not know.
    #[error("the control store `{url}` holds a row that this release cannot read: {reason}")]
    Row {
        /// The store.
        url: ControlUrl,
        /// What is wrong with it.
        reason: String,
    },
    /// Another job has the idempotency key.
    #[error("the idempotency key `{key}` was used for job ..{}, which is another", .job.short())]
    KeyUsed {
        /// The key.
        key: String,
        /// The job that has it.
        job: JobId,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Database { source, .. } => match source {
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) => {
                    "is the database running, and can it be reached from here?".to_string()
                }
                _ => "is there room, and may this user write there? choose another place with \
                      --control"
                    .to_string(),
            },
            Self::Silent { .. } => {
                "is the database running, and can it be reached from here?".to_string()
            }
            Self::Folder { .. } => {
                "choose a place that this user may write: --control sqlite://PATH".to_string()
            }
            Self::Newer { .. } => "use the release that made it, or a later one".to_string(),
            Self::Foreign { .. } => "choose an empty database: --control URL".to_string(),
            Self::Row { .. } => "use the release that wrote it, or a later one".to_string(),
            Self::KeyUsed { .. } => "take a new key for a new job".to_string(),
        }
    }

    /// Whether the same may go well when it is tried again: the database is away or busy.
    pub fn is_transient(&self) -> bool {
        let source = match self {
            Self::Silent { .. } => return true,
            Self::Database { source, .. } => source,
            _ => return false,
        };
        match source {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => true,
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                // PostgreSQL: connections, too little of something, somebody intervened; SQLite: a full
                // or busy disk, whose primary codes are 5, 6, 10 and 13.
                let primary = code.parse::<i64>().map(|code| code & 0xFF);
                ["08", "53", "57"]
                    .iter()
                    .any(|class| code.len() == 5 && code.starts_with(class))
                    || (code.len() < 5 && matches!(primary, Ok(5 | 6 | 10 | 13)))
            }),
            _ => false,
        }
    }

    /// Whether the change lost against another that was made at the same time.
    pub(super) fn lost_a_race(&self) -> bool {
        let Self::Database {
            source: sqlx::Error::Database(error),
            ..
        } = self
        else {
            return false;
        };
        let code = error.code();
        matches!(code.as_deref(), Some("40001" | "40P01" | "55P03"))
            || error.kind() == ErrorKind::UniqueViolation
    }
}

/// Why a text names no job.
#[derive(Debug, thiserror::Error)]
pub enum FindJobError {
    /// It cannot name one.
    #[error(
        "`{text}` names no job: a job is named by its id, or by at least 6 of its last characters"
    )]
    NoReference {
        /// The text.
        text: String,
    },
    /// There is none.
    #[error("there is no job `{text}`")]
    Unknown {
        /// The text.
        text: String,
    },
    /// Several are meant.
    #[error("`{text}` may be any of {} jobs", .matches.len())]
    Ambiguous {
        /// The text.
        text: String,
        /// Those that are meant.
        matches: Vec<JobId>,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with an id that a row holds.
pub(super) fn bad_id(error: &IdError) -> String {
    error.to_string()
}
