//! What can go wrong with a spool, as people read it.

use std::io;
use std::path::PathBuf;

use arrow::error::ArrowError;

use super::SPOOL_VERSION;
use crate::table::Table;

/// What can go wrong with a spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk refused.
    #[error("spool `{path}`: {action} failed")]
    Io {
        /// The spool's folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A file that each spool has from its beginning is not there.
    #[error(
        "spool `{path}` has lost its `{part}`, so the disk or somebody removed it; nothing of the run \
         is published, and the folder stays as it is"
    )]
    Incomplete {
        /// The spool's folder.
        path: PathBuf,
        /// The file's name.
        part: &'static str,
    },
    /// A batch could not be written or read as Arrow.
    #[error("spool `{path}`: rows of `{tag}` are no Arrow batch")]
    Arrow {
        /// The spool's folder.
        path: PathBuf,
        /// What the frame holds.
        tag: String,
        /// Arrow's reason.
        source: ArrowError,
    },
    /// A later release wrote it.
    #[error(
        "spool `{path}` has layout {found}, and this release knows up to {SPOOL_VERSION}; \
             publish it with the release that wrote it"
    )]
    Newer {
        /// The spool's folder.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// A later release wrote frames of kinds that this one does not know.
    #[error(
        "spool `{path}` holds frames of a later release, {frames} in number and the first tagged \
         `{tag}`; publish it with the release that wrote them"
    )]
    UnknownFrames {
        /// The spool's folder.
        path: PathBuf,
        /// How many they are.
        frames: u64,
        /// The tag of the first.
        tag: String,
    },
    /// Rows that were written are not there any more.
    #[error(
        "spool `{path}`: {bytes} bytes that were written cannot be read any more, so the disk or \
         somebody changed them; nothing of the run is published, and the folder stays as it is"
    )]
    Damaged {
        /// The spool's folder.
        path: PathBuf,
        /// How much is missing.
        bytes: u64,
    },
    /// A column that may not be null is not in the spool.
    #[error("spool `{path}`: rows of table `{table}` have no column `{column}`")]
    Missing {
        /// The spool's folder.
        path: PathBuf,
        /// The table.
        table: Table,
        /// The column.
        column: String,
    },
    /// A column does not hold what its table asks for.
    #[error("spool `{path}`: rows of table `{table}`: column `{column}`{row}: {reason}")]
    Column {
        /// The spool's folder.
        path: PathBuf,
        /// The table.
        table: Table,
        /// The column.
        column: String,
        /// The row in its batch, as text; empty where it is all rows.
        row: String,
        /// What is wrong.
        reason: String,
    },
}
