//! Whether a warehouse is what it promises to be.
//!
//! - Every table can be opened and is ours; every file that its log names is
//!   there, whole, and holds the rows and bounds that the log says.
//! - Every run that is visible is whole and there once.
//! - Nothing waits to be tidied up that ought to be.
//!
//! It reads the footers of all files, and the keys of all rows; it changes
//! nothing.

use std::fmt;
use std::sync::Arc;

use plimsoll_ingest::{Table, WarehouseLocation, WarehouseStore, storage};

use crate::engine::{Engine, WarehouseOptions};
use crate::error::OpenError;
use crate::maintenance::Retention;
use crate::runtime::QueryRuntime;
use crate::snapshots::Snapshots;

mod footers;
mod rows;
mod upkeep;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Answers may be wrong, or cannot be given.
    Broken,
    /// Answers are right; something ought to be done all the same.
    Note,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The table.
    pub table: Table,
    /// What is found.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.table, self.what)
    }
}

impl Finding {
    fn broken(table: Table, what: impl Into<String>, help: &str) -> Self {
        Self {
            severity: Severity::Broken,
            table,
            what: what.into(),
            help: help.to_string(),
        }
    }

    fn note(table: Table, what: impl Into<String>, help: &str) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::broken(table, what, help)
        }
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Tables that are there.
    pub tables: usize,
    /// Files that their logs name.
    pub files: usize,
    /// Runs that are visible; `None` where files of `runs` kept them from being looked at.
    pub runs: Option<usize>,
    /// What is not as it should be, the worst first.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether nothing is broken.
    pub fn is_sound(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.all(|finding| finding.severity == Severity::Note)
    }
}

/// Looks through the warehouse at `location`, on threads of its own.
///
/// # Errors
/// Where it cannot be looked at: no way to the storage, too little memory, or no threads.
pub async fn check(
    location: &WarehouseLocation,
    options: WarehouseOptions,
    retention: Retention,
) -> Result<Checked, OpenError> {
    let runtime = QueryRuntime::start(options.threads)?;
    let location = location.clone();
    let mut work = runtime.spawn(async move {
        let store = WarehouseStore::connect(&location).map_err(|error| OpenError::Storage {
            reason: error.to_string(),
            help: storage::help(&error).unwrap_or("check the warehouse's URL"),
        })?;
        let engine = Arc::new(Engine::new(&store, &options)?);
        let snapshots = Arc::new(Snapshots::unopened(&store, &engine).await?);
        let mut checked = look(&store, &snapshots, &retention).await?;
        checked.findings.sort_by_key(|finding| finding.severity);
        Ok(checked)
    });
    (&mut work.handle)
        .await
        .map_err(|panic| OpenError::Engine {
            reason: panic.to_string(),
        })?
}

/// Looks through one set of snapshots.
pub(crate) async fn look(
    store: &WarehouseStore,
    snapshots: &Arc<Snapshots>,
    retention: &Retention,
) -> Result<Checked, OpenError> {
    let mut checked = Checked::default();
    if !snapshots.exists() {
        return Ok(checked);
    }
    // Rows are looked at in tables of which every file is as it should be.
    let mut readable = Vec::new();
    for table in Table::ALL.iter().copied() {
        match snapshots.snapshot(table).await {
            Ok(snapshot) if snapshot.exists() => {
                checked.tables += 1;
                checked.files += snapshot.files().len();
                let wrong = footers::check(store, table, snapshot.files()).await?;
                if wrong.is_empty() {
                    readable.push(table);
                }
                checked.findings.extend(wrong);
                let upkeep = upkeep::check(store, snapshots, table, retention).await?;
                checked.findings.extend(upkeep);
            }
            Ok(_) => {
                readable.push(table);
                checked.findings.push(Finding::note(
                    table,
                    "there is no such table yet",
                    "`plimsoll warehouse init` makes it, and so does the next run",
                ));
            }
            Err(error) if error.is_of_storage() => return Err(error),
            Err(error) => {
                let (what, help) = (error.to_string(), error.help());
                checked.findings.push(Finding::broken(table, what, &help));
            }
        }
    }
    let (runs, wrong) = rows::check(store, snapshots, retention, &readable).await?;
    checked.runs = runs;
    checked.findings.extend(wrong);
    for table in Table::ALL.iter().filter(|table| !readable.contains(table)) {
        let what = match table {
            Table::Runs => {
                "its rows were not looked at, nor those of tables that hang on it: whether runs are whole \
                 and there once is not known"
            }
            _ => "its rows were not looked at: whether they are whole and there once is not known",
        };
        checked.findings.push(Finding::note(
            *table,
            what,
            "mend what is broken, and check again",
        ));
    }
    Ok(checked)
}
