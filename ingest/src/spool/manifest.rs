//! What a spool says of itself, before any row of it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, RunId, TaskId};

pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// The version of the spool's layout that this release writes.
pub const SPOOL_VERSION: u32 = 1;

/// Which run the spool holds, where it is to be published, and by what right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the spool's layout.
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// The job it belongs to.
    pub job_id: Option<JobId>,
    /// The task it executes.
    pub task_id: Option<TaskId>,
    /// Which attempt at the task it is, from 1.
    pub attempt: i64,
    /// Whether no attempt follows this one: then the run ends its task, though
    /// it could not run or was cancelled. Of a task that others may take up it
    /// is known at the run's end.
    #[serde(default)]
    pub last_attempt: bool,
    /// The lease's fence; null where the task is leased to nobody else.
    pub fence: Option<i64>,
    /// The warehouse, as it was given.
    pub warehouse: String,
    /// The version of Plimsoll that made it.
    pub plimsoll_version: String,
}

impl Manifest {
    /// The only attempt at a run that belongs to no job and that nobody leased.
    pub fn new(
        run_id: RunId,
        warehouse: impl Into<String>,
        plimsoll_version: impl Into<String>,
    ) -> Self {
        Self {
            version: SPOOL_VERSION,
            run_id,
            job_id: None,
            task_id: None,
            attempt: 1,
            last_attempt: true,
            fence: None,
            warehouse: warehouse.into(),
            plimsoll_version: plimsoll_version.into(),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = File::create_new(folder.join(MANIFEST_FILE))?;
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        file.write_all(&text)?;
        file.sync_all()
    }

    /// Takes the place of the one that is there, wholly or not at all.
    pub(crate) fn replace(&self, folder: &Path) -> io::Result<()> {
        let beside = folder.join(format!("{MANIFEST_FILE}.new"));
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let mut file = File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, folder.join(MANIFEST_FILE))?;
        File::open(folder)?.sync_all()
    }

    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let text = std::fs::read(folder.join(MANIFEST_FILE))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }
}
