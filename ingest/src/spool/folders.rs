//! The folder of spools: which there are, and what is left of those that are done.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::manifest::{MANIFEST_FILE, Manifest};
use super::{DONE, HIDDEN, LOCK_FILE, NEW, SpoolError, segment};
use crate::id::RunId;

/// To make a spool takes milliseconds.
const LONG_AGO: Duration = Duration::from_secs(3_600);

/// Folders below `root` that hold a spool, whoever holds their locks. One that has lost a part is
/// among them: whoever tries to take it over says so.
///
/// # Errors
/// The root is there and cannot be read.
pub fn list(root: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let fail = |source| SpoolError::Io {
        path: root.to_path_buf(),
        action: "listing",
        source,
    };
    let entries = match root.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(HIDDEN));
        if !hidden && is_spool(&path) {
            folders.push(path);
        }
    }
    folders.sort_unstable();
    Ok(folders)
}

/// Whether a folder holds a spool: it has a manifest, or the name of a run and another part of one.
fn is_spool(folder: &Path) -> bool {
    let holds = |part: &str| folder.join(part).is_file();
    let name = folder.file_name().and_then(|name| name.to_str());
    let is_of_a_run = || name.is_some_and(|name| name.parse::<RunId>().is_ok());
    let has_rows = || segment::next_number(folder).is_ok_and(|next| next > 0);
    holds(MANIFEST_FILE) || is_of_a_run() && (holds(LOCK_FILE) || has_rows())
}

/// The warehouses of the spools below `root` that were abandoned, as their
/// processes named them: nobody holds their locks. `None` for a spool that does
/// not say.
///
/// # Errors
/// The root is there and cannot be read.
pub fn abandoned(root: &Path) -> Result<Vec<Option<String>>, SpoolError> {
    let free = |folder: &PathBuf| {
        let lock = OpenOptions::new().write(true).open(folder.join(LOCK_FILE));
        match lock {
            Ok(lock) => lock.try_lock().is_ok(),
            // Whether somebody still holds the lock that was lost, nobody can tell.
            Err(error) => error.kind() == io::ErrorKind::NotFound && folder.is_dir(),
        }
    };
    let warehouse = |folder: PathBuf| Manifest::read(&folder).ok().map(|read| read.warehouse);
    Ok(list(root)?
        .into_iter()
        .filter(free)
        .map(warehouse)
        .collect())
}

/// Deletes what is left below `root` of spools whose rows are published: a
/// crash came between the new name and the deletion, or the deletion failed.
/// And of those that never came to be: a crash came before their name, and an
/// hour has passed.
///
/// Such a folder holds nothing that is needed, so what cannot be deleted is
/// for the log alone, and the next sweep tries again.
pub fn sweep(root: &Path) {
    let swept = root.read_dir().and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_left = name.starts_with(DONE) || name.starts_with(NEW) && is_old(&entry);
            if !is_left || !entry.file_type()?.is_dir() {
                continue;
            }
            let folder = entry.path();
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::debug!(
                    folder = %folder.display(),
                    %error,
                    "the rest of a published spool cannot be deleted"
                );
            }
        }
        Ok(())
    });
    if let Err(error) = swept {
        tracing::debug!(root = %root.display(), %error, "published spools cannot be looked for");
    }
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let changed = entry.metadata().and_then(|folder| folder.modified());
    let age = changed.ok().and_then(|changed| changed.elapsed().ok());
    age.is_some_and(|age| age > LONG_AGO)
}
