//! What can go wrong, as people read it: one line that says what happened,
//! and one ([`QueryError::help`]) that says what to do.

use std::time::Duration;

use plimsoll_ingest::Table;

use crate::resolve::ResolveError;

mod engine;
mod nearest;

pub(crate) use nearest::nearest;

/// Why a warehouse, or a table of it, cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The table was written by a release whose schemas this one does not know.
    #[error(
        "table `{table}` in `{location}` has schema version {found}, and this Plimsoll reads up \
         to {known}"
    )]
    NewerTable {
        /// The table.
        table: Table,
        /// The warehouse.
        location: String,
        /// The version in the table's properties.
        found: u32,
        /// The highest version that is known here.
        known: u32,
    },
    /// The table uses a feature of Delta Lake that Plimsoll never writes.
    #[error("table `{table}` uses {feature}, which Plimsoll does not read")]
    Unsupported {
        /// The table.
        table: Table,
        /// The feature.
        feature: String,
    },
    /// Another table lies where this one should be.
    #[error("what lies at table `{table}` in `{location}` is not that table: {what}")]
    Foreign {
        /// The table.
        table: Table,
        /// The warehouse.
        location: String,
        /// How it differs.
        what: String,
    },
    /// Storage does not let this user read the table.
    #[error("table `{table}` in `{location}` may not be read with these credentials: {reason}")]
    Denied {
        /// The table.
        table: Table,
        /// The warehouse.
        location: String,
        /// What storage says.
        reason: String,
    },
    /// The table's log or its files cannot be read.
    #[error("table `{table}` in `{location}` cannot be read: {reason}")]
    Unreadable {
        /// The table.
        table: Table,
        /// The warehouse.
        location: String,
        /// The reason.
        reason: String,
        /// What to do about it, where the cause lies in object storage.
        help: Option<&'static str>,
    },
    /// There is no way to the storage.
    #[error("{reason}")]
    Storage {
        /// Why.
        reason: String,
        /// What to do about it.
        help: &'static str,
    },
    /// The query engine, its threads or its spill folder could not be set up.
    #[error("the query engine cannot be set up: {reason}")]
    Engine {
        /// The reason.
        reason: String,
    },
}

impl OpenError {
    /// Whether storage, or what asks it, failed for now; the tables may be as they ought to be.
    pub(crate) fn is_of_storage(&self) -> bool {
        match self {
            Self::Unreadable { help, .. } => help.is_some(),
            Self::Storage { .. } | Self::Engine { .. } => true,
            Self::NewerTable { .. }
            | Self::Unsupported { .. }
            | Self::Foreign { .. }
            | Self::Denied { .. } => false,
        }
    }

    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::NewerTable { .. } => {
                "install the release that wrote it, or a later one; this one changed nothing".into()
            }
            Self::Unsupported { .. } => {
                "another tool changed the table; rewrite it there with that feature off".into()
            }
            Self::Foreign { .. } => {
                "give Plimsoll a place of its own, or move that table away; nothing was changed"
                    .into()
            }
            Self::Denied { .. } => {
                "ask for a table that they may read, or have the storage's policy changed".into()
            }
            Self::Unreadable { help, .. } => help
                .unwrap_or(
                    "restore what is missing or damaged from a copy of the storage; where you may \
                     not read it, have that changed",
                )
                .into(),
            Self::Storage { help, .. } => (*help).into(),
            Self::Engine { .. } => "check the memory, thread and spill settings".into(),
        }
    }
}

/// Why a query gave no result, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement does more than read, or is more than one.
    #[error("{what} refused: one statement is taken, and only one that reads")]
    Refused {
        /// What was refused, ending in "is" or "are".
        what: String,
    },
    /// The table exists, but not for this role.
    #[error("table `{table}` is not among those that this role may read")]
    NotAllowed {
        /// The table.
        table: String,
    },
    /// The text is no SQL.
    #[error("syntax: {message}")]
    Syntax {
        /// What was expected and where.
        message: String,
    },
    /// No such table or view.
    #[error("there is no table `{name}`")]
    UnknownTable {
        /// The name in the statement.
        name: String,
        /// The table whose name is nearest, if one is near.
        nearest: Option<String>,
    },
    /// No such column.
    #[error("there is no column `{name}`")]
    UnknownColumn {
        /// The name in the statement.
        name: String,
        /// The column whose name is nearest, if one is near.
        nearest: Option<String>,
        /// The columns that there are at that place.
        available: Vec<String>,
    },
    /// The statement cannot be planned: wrong types, wrong use of a function.
    #[error("{message}")]
    Plan {
        /// What is wrong.
        message: String,
    },
    /// The parameters do not fit the statement.
    #[error("parameters: {message}")]
    Parameters {
        /// What does not fit.
        message: String,
    },
    /// A value made it fail: a division by zero, a cast that cannot be done.
    #[error("{message}")]
    Execution {
        /// What failed.
        message: String,
    },
    /// A sum, a difference or a product of integers is larger than its type holds.
    #[error("{message}")]
    DoesNotHold {
        /// What does not.
        message: String,
    },
    /// It took longer than its limit.
    #[error("the query was stopped after its limit of {}", seconds(*.limit))]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It needed more memory, or more spill space, than its limit.
    #[error("the query needs more memory than its limit of {} MiB: {detail}", .limit >> 20)]
    Memory {
        /// The memory limit, in bytes.
        limit: usize,
        /// Who asked for how much.
        detail: String,
    },
    /// A table cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Data files cannot be read.
    #[error("storage: {message}")]
    Storage {
        /// What failed.
        message: String,
        /// What to do about it, where storage said why.
        help: Option<&'static str>,
    },
    /// The run that a table function was asked for cannot be told.
    #[error(transparent)]
    Run(Box<ResolveError>),
    /// A defect in the engine.
    #[error("the query engine failed: {message}")]
    Internal {
        /// What it says.
        message: String,
    },
}

impl QueryError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Refused { .. } => {
                "the tables are open Delta tables; `plimsoll run` writes to them".into()
            }
            Self::NotAllowed { .. } => "ask for a role that may read it".into(),
            Self::Syntax { .. } => "see `select question, sql from questions` for examples".into(),
            Self::UnknownTable {
                nearest: Some(name),
                ..
            }
            | Self::UnknownColumn {
                nearest: Some(name),
                ..
            } => format!("did you mean `{name}`?"),
            Self::UnknownTable { nearest: None, .. } => {
                "`show tables` lists the tables and views".into()
            }
            Self::UnknownColumn {
                nearest: None,
                available,
                ..
            } => match available.as_slice() {
                [] => "`describe TABLE` lists a table's columns".into(),
                names => format!("there are {}", enumerate(names)),
            },
            Self::Plan { .. } => {
                "`describe TABLE` lists columns and their types, `show functions` the functions"
                    .into()
            }
            Self::Parameters { .. } => "write $1, $2, .. and give as many values".into(),
            Self::Execution { .. } => {
                "leave out the rows that cannot be computed, or use try_cast or nullif".into()
            }
            Self::DoesNotHold { .. } => "compute with CAST(.. AS DOUBLE)".into(),
            Self::TimedOut { .. } => {
                "ask for less (one run, one date), or allow it more time".into()
            }
            Self::Memory { .. } => {
                "ask for less, group by fewer columns, or allow it more memory or spill space"
                    .into()
            }
            Self::Open(error) => error.help(),
            Self::Storage { help, .. } => help
                .unwrap_or(
                    "`plimsoll warehouse check` tells what is missing or broken, and what to do",
                )
                .into(),
            Self::Run(error) => error.help(),
            Self::Internal { .. } => "this is a defect: please report the statement".into(),
        }
    }
}

/// The first names of many.
fn enumerate(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>();
    if names.len() > SHOWN {
        text.push(format!("{} more", names.len() - SHOWN));
    }
    text.join(", ")
}

fn seconds(limit: Duration) -> String {
    if limit.subsec_millis() == 0 {
        format!("{} s", limit.as_secs())
    } else {
        format!("{} ms", limit.as_millis())
    }
}
