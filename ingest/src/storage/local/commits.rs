//! The newest commits of a log, found by their names.
//!
//! Names can be read from a folder only from the first to the last, and a log keeps those of a month.
//! What is asked for at each look are the few since its last checkpoint, and their names follow each
//! other. That a commit among them was lost only what comes after it tells: so all names are read
//! first, and from time to time, and what was seen once has to be found again.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::after::FEW;

/// So long commits are found by their names after all names were read.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// What a log says of its last checkpoint.
#[derive(Deserialize)]
struct LastCheckpoint {
    version: u64,
}

/// What was seen of a log.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// When all names were read; by the wall clock, since others stand still while a machine sleeps.
    read_at: SystemTime,
    /// The greatest version.
    last: u64,
}

/// The logs whose folders were read whole.
#[derive(Debug, Default)]
pub(super) struct ReadLogs(Mutex<HashMap<PathBuf, Seen>>);

impl ReadLogs {
    /// The names of the commits from a name on, and of the checkpoints among them, in order; `None`
    /// where it takes all names to tell.
    pub(super) fn commits_from(
        &self,
        folder: &FilePath,
        from: &str,
    ) -> io::Result<Option<Vec<(String, Metadata)>>> {
        let is_version = from.len() == 20 && from.bytes().all(|byte| byte.is_ascii_digit());
        let Some(first) = from.parse().ok().filter(|_| is_version) else {
            return Ok(None);
        };
        let Some(seen) = self.all().get(folder).copied() else {
            return Ok(None);
        };
        // A clock that was set back does not tell.
        let ago = SystemTime::now().duration_since(seen.read_at);
        if !ago.is_ok_and(|ago| ago < READ_AGAIN) || !knows_absence(folder) {
            return Ok(None);
        }
        let Some(found) = found_from(folder, first)? else {
            return Ok(None);
        };
        if found.last < seen.last {
            return Ok(None);
        }
        if let Some(seen) = self.all().get_mut(folder) {
            seen.last = seen.last.max(found.last);
        }
        Ok(Some(found.files))
    }

    /// All names of a folder were read, from `read_at` on; the greatest version among them was `last`.
    pub(super) fn was_read(&self, folder: &FilePath, read_at: SystemTime, last: Option<u64>) {
        let is_log = folder.file_name().is_some_and(|name| name == "_delta_log");
        match last {
            Some(last) if is_log => {
                let seen = Seen { read_at, last };
                self.all().insert(folder.to_path_buf(), seen);
            }
            _ => drop(self.all().remove(folder)),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PathBuf, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version of a commit, or of a checkpoint, by its name.
pub(super) fn version_of(name: &str) -> Option<u64> {
    let (version, kind) = name.split_once('.')?;
    let is_of_log = version.len() == 20 && (kind == COMMIT || kind == CHECKPOINT);
    version.parse().ok().filter(|_| is_of_log)
}

const COMMIT: &str = "json";
const CHECKPOINT: &str = "checkpoint.parquet";

/// What names tell.
struct Found {
    files: Vec<(String, Metadata)>,
    /// The greatest version among them.
    last: u64,
}

fn found_from(log: &FilePath, first: u64) -> io::Result<Option<Found>> {
    let mut found = Vec::new();
    let mut next = first;
    let mut checkpoint = None;
    loop {
        let mut look = |kind: &str| {
            let name = format!("{next:020}.{kind}");
            let there = metadata(&log.join(&name))?.filter(Metadata::is_file);
            let is_there = there.is_some();
            found.extend(there.map(|metadata| (name, metadata)));
            Ok::<_, io::Error>(is_there)
        };
        let is_summed_up = look(CHECKPOINT)?;
        if is_summed_up {
            checkpoint = Some(next);
        }
        // The commit that a checkpoint sums up may be gone.
        if !look(COMMIT)? && !is_summed_up {
            break;
        }
        if found.len() > FEW {
            return Ok(None);
        }
        next += 1;
    }
    if found.is_empty() {
        return Ok(None);
    }
    // What has no name here may have been deleted, since a later checkpoint says all of it; and a
    // checkpoint may be in parts, whose names do not follow from its version.
    let last = match fs::read(log.join("_last_checkpoint")) {
        Ok(said) => match serde_json::from_slice::<LastCheckpoint>(&said) {
            Ok(last) => Some(last.version),
            Err(_) => return Ok(None),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let is_all = match last {
        Some(last) if last >= first => checkpoint.is_some_and(|found| found >= last),
        Some(_) => true,
        None => first <= 1,
    };
    let last = next - 1;
    Ok(is_all.then_some(Found { files: found, last }))
}

fn metadata(path: &FilePath) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a name that is not there is not there: what lies on other machines is looked up in what
/// this one remembers of it, and NFS remembers for a minute what was missing.
#[cfg(target_os = "linux")]
fn knows_absence(folder: &FilePath) -> bool {
    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC,
        TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
    };
    const ZFS_SUPER_MAGIC: FsType = FsType(0x2fc1_2fc1);
    const ON_THIS_MACHINE: [FsType; 7] = [
        BTRFS_SUPER_MAGIC,
        EXT4_SUPER_MAGIC,
        F2FS_SUPER_MAGIC,
        OVERLAYFS_SUPER_MAGIC,
        TMPFS_MAGIC,
        XFS_SUPER_MAGIC,
        ZFS_SUPER_MAGIC,
    ];
    statfs(folder).is_ok_and(|found| ON_THIS_MACHINE.contains(&found.filesystem_type()))
}

/// Nobody has looked which file systems of this one do.
#[cfg(not(target_os = "linux"))]
fn knows_absence(_: &FilePath) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(tempfile::TempDir);

    impl Log {
        fn of(versions: std::ops::Range<u64>) -> Self {
            let log = Self(tempfile::tempdir().expect("a folder"));
            fs::create_dir(log.path()).expect("made");
            for version in versions {
                log.write(&format!("{version:020}.json"), "{}");
            }
            log
        }

        fn path(&self) -> std::path::PathBuf {
            self.0.path().join("_delta_log")
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path().join(name), text).expect("written");
        }

        fn sum_up(&self, version: u64) {
            self.write(&format!("{version:020}.checkpoint.parquet"), "all of it");
            let said = format!(r#"{{"version":{version},"size":3}}"#);
            self.write("_last_checkpoint", &said);
        }

        fn delete(&self, versions: std::ops::Range<u64>) {
            for version in versions {
                let commit = format!("{version:020}.json");
                fs::remove_file(self.path().join(commit)).expect("it was there");
            }
        }

        /// The versions that are found by their names, and whether each is a checkpoint.
        fn from(&self, version: u64) -> Option<Vec<(u64, bool)>> {
            let name = format!("{version:020}");
            let found = self.was_read().commits_from(&self.path(), &name);
            let found = found.expect("looked");
            let named = found?.into_iter().map(|(name, _)| {
                let (version, kind) = name.split_once('.').expect("two parts");
                let version = version.parse().expect("a version");
                (version, kind == "checkpoint.parquet")
            });
            Some(named.collect())
        }

        /// How many files are found by their names.
        fn found_by(&self, logs: &ReadLogs, from: u64) -> Option<usize> {
            let found = logs.commits_from(&self.path(), &format!("{from:020}"));
            found.expect("looked").map(|found| found.len())
        }

        /// As after a moment ago.
        fn was_read(&self) -> ReadLogs {
            let read = ReadLogs::default();
            self.read(&read, SystemTime::now());
            read
        }

        /// Reads all names.
        fn read(&self, logs: &ReadLogs, at: SystemTime) {
            let names = fs::read_dir(self.path()).expect("a folder");
            let versions = names.filter_map(|entry| {
                let name = entry.expect("a name").file_name();
                version_of(name.to_str().expect("plain"))
            });
            logs.was_read(&self.path(), at, versions.max());
        }
    }

    #[test]
    fn commits_since_the_last_checkpoint_are_found_by_their_names() {
        let log = Log::of(0..5);
        let all = [0, 1, 2, 3, 4].map(|version| (version, false));
        assert_eq!(log.from(0).as_deref(), Some(&all[..]));
        assert_eq!(log.from(1).as_deref(), Some(&all[1..]));
        log.sum_up(3);
        assert_eq!(log.from(4).as_deref(), Some(&all[4..]));
        let from_checkpoint = [(3, true), (3, false), (4, false)];
        assert_eq!(log.from(3).as_deref(), Some(&from_checkpoint[..]));
        log.delete(0..4);
        let summed_up = [(3, true), (4, false)];
        assert_eq!(log.from(3).as_deref(), Some(&summed_up[..]));
    }

    #[test]
    fn what_names_do_not_tell_is_left_to_a_list() {
        let log = Log::of(0..5);
        assert_eq!(log.from(5), None, "nothing, or all of it is gone");
        assert_eq!(log.from(2), None, "no checkpoint says what was before");
        log.sum_up(4);
        assert_eq!(log.from(0).map(|found| found.len()), Some(6));
        log.delete(2..4);
        assert_eq!(log.from(0), None, "the log goes on behind a gap");
        assert_eq!(log.from(4).map(|found| found.len()), Some(2));
        log.write("_last_checkpoint", r#"{"version":4,"parts":2}"#);
        let whole = log.path().join("00000000000000000004.checkpoint.parquet");
        fs::remove_file(whole).expect("it was there");
        assert_eq!(log.from(4), None, "a checkpoint in parts");
        log.write("_last_checkpoint", "half of");
        assert_eq!(log.from(4), None, "nobody knows what it says");
        let long = Log::of(0..FEW as u64 + 1);
        assert_eq!(long.from(0), None, "one list is quicker");
        for name in ["0", "00000000000000000000.json", "_last_checkpoint"] {
            let found = long.was_read().commits_from(&long.path(), name);
            let found = found.expect("looked");
            assert!(found.is_none(), "{name}");
        }
        let other = long.0.path().join("rows");
        let read = ReadLogs::default();
        read.was_read(&other, SystemTime::now(), Some(256));
        assert!(read.all().is_empty(), "no log");
    }

    #[test]
    fn all_names_are_read_first_and_then_from_time_to_time() {
        let log = Log::of(0..3);
        let read = ReadLogs::default();
        let look = || log.found_by(&read, 1);
        assert_eq!(look(), None, "nobody has read them");
        let now = SystemTime::now();
        log.read(&read, now);
        assert_eq!(look(), Some(2));
        for wrong in [now - READ_AGAIN, now + READ_AGAIN] {
            log.read(&read, wrong);
            assert_eq!(look(), None, "it is long ago, or nobody knows");
        }
        log.read(&read, now - READ_AGAIN + Duration::from_secs(10));
        assert_eq!(look(), Some(2));
    }

    /// A commit that was lost is told from one that is not there yet by what was seen after it.
    #[test]
    fn what_was_seen_once_has_to_be_found_again() {
        let log = Log::of(0..4);
        let read = ReadLogs::default();
        let look = || log.found_by(&read, 1);
        log.read(&read, SystemTime::now());
        log.write("00000000000000000004.json", "{}");
        assert_eq!(look(), Some(4));
        log.delete(4..5);
        assert_eq!(look(), None, "it was seen by its name");
        log.read(&read, SystemTime::now());
        assert_eq!(look(), Some(3));
        log.delete(2..3);
        for _ in 0..2 {
            assert_eq!(look(), None, "the log goes on behind a gap");
            log.read(&read, SystemTime::now());
        }
        log.delete(0..2);
        assert_eq!(look(), None, "nothing follows");
    }
}
