//! The spool: what a run measured, on local disk, until it is published.
//!
//! One folder per run, named by its id, holding a manifest, a lock file and
//! segments of frames. The process that measures holds the lock; a folder
//! whose lock is free was abandoned, and whoever takes the lock may seal and
//! publish it. What was appended and synced survives kill -9 and power cuts.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

mod conform;
mod error;
mod extents;
mod folders;
mod frame;
mod manifest;
mod segment;
mod send;

pub use error::SpoolError;
pub use folders::{abandoned, list, sweep};
pub use frame::Tag;
pub use manifest::{Manifest, SPOOL_VERSION};
pub use segment::FrameRef;
pub use send::SendRow;

use crate::storage::{self, sync_folder};
use crate::table::Table;
use manifest::MANIFEST_FILE;
use segment::{Extent, SegmentWriter};

const LOCK_FILE: &str = "lock";
/// Folders under way to or from existence begin so; nobody else touches them.
const HIDDEN: char = '.';
/// Folders that get their name when all that belongs to a spool is in them.
const NEW: &str = ".new-";
/// Folders whose rows are published begin so until they are deleted.
const DONE: &str = ".done-";

/// A run's spool, locked by this process.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    manifest: Manifest,
    writer: Option<SegmentWriter>,
    next_segment: u32,
    /// The first segment that holds frames of this process alone, as do those after it.
    own_segment: u32,
    /// Bytes of the frames in them.
    own_bytes: u64,
    /// Keeps other processes out; given back when the spool is dropped.
    _lock: File,
}

impl Spool {
    /// Begins the spool of a run below `root`.
    ///
    /// # Errors
    /// The folder cannot be written, or the run has a spool already.
    pub fn create(root: &Path, manifest: Manifest) -> Result<Self, SpoolError> {
        let name = manifest.run_id.to_string();
        let folder = root.join(&name);
        let fail = |action| {
            let path = folder.clone();
            move |source| SpoolError::Io {
                path,
                action,
                source,
            }
        };
        let staging = root.join(format!("{NEW}{name}"));
        storage::create_folder_of(&staging.join(LOCK_FILE)).map_err(fail("making the folder"))?;
        let lock = File::create(staging.join(LOCK_FILE)).map_err(fail("making the lock"))?;
        lock.lock().map_err(fail("locking"))?;
        manifest
            .write(&staging)
            .map_err(fail("writing the manifest"))?;
        // What is in the folder is on disk before its name says that it is a spool.
        sync_folder(&staging).map_err(fail("syncing the folder"))?;
        fs::rename(&staging, &folder).map_err(fail("naming the folder"))?;
        sync_folder(root).map_err(fail("syncing the folder"))?;
        Ok(Self {
            folder,
            manifest,
            writer: None,
            next_segment: 0,
            own_segment: 0,
            own_bytes: 0,
            _lock: lock,
        })
    }

    /// Takes over the spool in `folder`; `None` where its process lives, or where
    /// another one published it in the meantime.
    ///
    /// # Errors
    /// The folder cannot be read, or a later release wrote it.
    pub fn take_over(folder: &Path) -> Result<Option<Self>, SpoolError> {
        let fail = |action| {
            let path = folder.to_path_buf();
            move |source| SpoolError::Io {
                path,
                action,
                source,
            }
        };
        // Where a part is not there, another process may have published and removed them all.
        let lost = |part| match folder.try_exists() {
            Ok(false) => Ok(None),
            _ => Err(SpoolError::Incomplete {
                path: folder.to_path_buf(),
                part,
            }),
        };
        let opened = OpenOptions::new().write(true).open(folder.join(LOCK_FILE));
        let lock = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return lost(LOCK_FILE),
            opened => opened.map_err(fail("opening the lock"))?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(fail("locking")(source)),
        }
        let manifest = match Manifest::read(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return lost(MANIFEST_FILE),
            read => read.map_err(fail("reading the manifest"))?,
        };
        if manifest.version > SPOOL_VERSION {
            let path = folder.to_path_buf();
            return Err(SpoolError::Newer {
                path,
                found: manifest.version,
            });
        }
        let folder = folder.to_path_buf();
        let mut spool = Self {
            folder,
            manifest,
            writer: None,
            next_segment: 0,
            own_segment: 0,
            own_bytes: 0,
            _lock: lock,
        };
        spool.leave_segment()?;
        Ok(Some(spool))
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Notes that no other attempt follows: an error, or a cancelled run, ends the task, too.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn end_task(&mut self) -> Result<(), SpoolError> {
        self.manifest.last_attempt = true;
        let replaced = self.manifest.replace(&self.folder);
        replaced.map_err(|source| SpoolError::Io {
            path: self.folder.clone(),
            action: "writing the manifest",
            source,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> SpoolError + use<> {
        let path = self.folder.clone();
        move |source| SpoolError::Io {
            path,
            action,
            source,
        }
    }

    /// Lets the next frame begin a new segment.
    fn leave_segment(&mut self) -> Result<(), SpoolError> {
        self.writer = None;
        let next = segment::next_number(&self.folder);
        self.next_segment = next.map_err(self.io("reading"))?;
        (self.own_segment, self.own_bytes) = (self.next_segment, 0);
        Ok(())
    }

    fn write(&mut self, tag: Tag, batch: Option<&RecordBatch>) -> Result<(), SpoolError> {
        let bytes = frame::encode(tag, batch).map_err(|source| SpoolError::Arrow {
            path: self.folder.clone(),
            tag: tag.to_string(),
            source,
        })?;
        if self.writer.is_none() {
            let begun = SegmentWriter::begin(&self.folder, self.next_segment);
            self.writer = Some(begun.map_err(self.io("beginning a segment"))?);
        }
        let writer = self.writer.as_mut().expect("was just begun");
        let written = writer.append(&bytes);
        written.map_err(self.io("appending"))?;
        self.own_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Appends one batch. It is safe after the next [`Spool::sync`].
    ///
    /// # Errors
    /// The disk is full or broken; nothing of the batch stays then.
    pub fn append(&mut self, tag: Tag, batch: &RecordBatch) -> Result<(), SpoolError> {
        self.write(tag, Some(batch))
    }

    /// Makes all that was appended outlive a crash.
    ///
    /// # Errors
    /// The disk failed; what was appended since the last sync may be lost.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        match &mut self.writer {
            Some(writer) => {
                let synced = writer.sync();
                synced.map_err(self.io("syncing"))
            }
            None => Ok(()),
        }
    }

    /// Looks through all that was appended and is whole.
    ///
    /// # Errors
    /// The folder cannot be read, or a later release wrote frames that this
    /// one does not know: to publish the others and remove the spool would
    /// lose them.
    pub fn contents(&self) -> Result<SpoolContents, SpoolError> {
        let scan = segment::scan(&self.folder).map_err(self.io("reading"))?;
        if let Some(tag) = scan.unknown_tag {
            return Err(SpoolError::UnknownFrames {
                path: self.folder.clone(),
                frames: scan.unknown_frames,
                tag,
            });
        }
        Ok(SpoolContents {
            folder: self.folder.clone(),
            frames: scan.frames,
            extents: scan.extents,
        })
    }

    /// Drops the rows of a seal that was cut short before its end marker, and
    /// all that follows them. A spool that is sealed, or that nobody began to
    /// seal, stays as it is.
    ///
    /// Whoever appends to a spool that was taken over calls this first: what
    /// stands behind such rows goes with them.
    ///
    /// # Errors
    /// The disk failed, or the spool cannot be looked through.
    pub fn drop_cut_short_seal(&mut self) -> Result<(), SpoolError> {
        let contents = self.contents()?;
        self.drop_finals(&contents)
    }

    fn drop_finals(&mut self, contents: &SpoolContents) -> Result<(), SpoolError> {
        let mut frames = contents.frames.iter();
        let first = frames.find(|frame| matches!(frame.tag, Tag::Final(_)));
        let Some(frame) = first.filter(|_| !contents.sealed()) else {
            return Ok(());
        };
        self.writer = None;
        segment::truncate_from(&self.folder, frame).map_err(self.io("dropping an old seal"))?;
        self.leave_segment()
    }

    /// Ends the spool: the rows made at the run's end, then the end marker.
    ///
    /// Rows of an earlier seal that was cut short are dropped first, so that
    /// a spool is sealed by one publisher's rows alone. A sealed spool stays
    /// as it is.
    ///
    /// # Errors
    /// The disk failed; the spool is not sealed then.
    pub fn seal(&mut self, finals: &[(Table, RecordBatch)]) -> Result<SpoolContents, SpoolError> {
        // What a process appended before it was killed may not be on disk, and
        // the end marker must not get there before it.
        segment::sync_all(&self.folder).map_err(self.io("syncing"))?;
        let contents = self.contents()?;
        if contents.sealed() {
            return Ok(contents);
        }
        self.check_own(&contents)?;
        self.drop_finals(&contents)?;
        self.leave_segment()?;
        for (table, batch) in finals {
            self.write(Tag::Final(*table), Some(batch))?;
        }
        // The rows are safe before the marker says that they are complete.
        self.sync()?;
        let contents = self.contents()?;
        self.check_own(&contents)?;
        self.write(Tag::End, Some(&extents::to_batch(&contents.extents)))?;
        self.sync()?;
        self.contents()
    }

    /// Checks that all that this process appended can be read.
    fn check_own(&self, contents: &SpoolContents) -> Result<(), SpoolError> {
        let own = contents.extents.iter();
        let own = own.filter(|extent| extent.segment >= self.own_segment);
        let there: u64 = own.map(|extent| extent.whole).sum();
        match self.own_bytes.saturating_sub(there) {
            0 => Ok(()),
            bytes => Err(SpoolError::Damaged {
                path: self.folder.clone(),
                bytes,
            }),
        }
    }

    /// Removes a spool whose rows are published.
    ///
    /// Once the folder has its new name nobody publishes it again. That it
    /// cannot be deleted is logged; [`sweep`] tries again.
    ///
    /// # Errors
    /// The folder cannot be renamed; whoever finds it publishes it again,
    /// which changes nothing.
    pub fn remove(self) -> Result<(), SpoolError> {
        let name = self.manifest.run_id.to_string();
        let gone = self.folder.with_file_name(format!("{DONE}{name}"));
        fs::rename(&self.folder, &gone).map_err(self.io("removing"))?;
        // A network file system keeps the name of an open file in its folder,
        // which then cannot be deleted: the lock is closed first.
        drop(self);
        match fs::remove_dir_all(&gone) {
            Ok(()) => {}
            // A sweep was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                folder = %gone.display(),
                %error,
                "a spool is published, and its folder cannot be deleted"
            ),
        }
        Ok(())
    }
}

/// The whole frames of a spool.
#[derive(Debug)]
pub struct SpoolContents {
    folder: PathBuf,
    frames: Vec<FrameRef>,
    extents: Vec<Extent>,
}

impl SpoolContents {
    /// Whether an end marker says that nothing more will come.
    pub fn sealed(&self) -> bool {
        self.frames
            .last()
            .is_some_and(|frame| frame.tag == Tag::End)
    }

    /// Bytes that a crash left without a whole frame.
    pub fn torn_bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.torn).sum()
    }

    /// Whether nothing was ever measured into it: there is no frame but perhaps
    /// the beginning of the first.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && !self.extents.iter().any(|extent| extent.spoiled)
    }

    /// Checks that all that the end marker was written after can be read.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] where some of it cannot.
    pub fn check(&self) -> Result<(), SpoolError> {
        for end in self.batches(Tag::End) {
            let bytes = extents::missing(&end?, &self.extents);
            if bytes > 0 {
                return Err(SpoolError::Damaged {
                    path: self.folder.clone(),
                    bytes,
                });
            }
        }
        Ok(())
    }

    /// The frames that hold such rows, in the order in which they were written.
    pub fn frames(&self, tag: Tag) -> impl Iterator<Item = &FrameRef> {
        self.frames.iter().filter(move |frame| frame.tag == tag)
    }

    /// Whether there is any such frame.
    pub fn has(&self, tag: Tag) -> bool {
        self.frames(tag).next().is_some()
    }

    /// Reads one frame's rows. Those of a table have the table's columns,
    /// whichever release wrote them: nullable ones that are not in the frame
    /// are null, and unknown ones are left out.
    ///
    /// # Errors
    /// The disk failed, the frame is no Arrow batch, or it lacks a column that
    /// may not be null.
    pub fn read(&self, frame: &FrameRef) -> Result<RecordBatch, SpoolError> {
        let path = self.folder.clone();
        let payload =
            segment::read_payload(&self.folder, frame).map_err(|source| SpoolError::Io {
                path,
                action: "reading",
                source,
            })?;
        let arrow = |source| SpoolError::Arrow {
            path: self.folder.clone(),
            tag: frame.tag.to_string(),
            source,
        };
        let batch = frame::decode(&payload)
            .map_err(arrow)?
            .ok_or_else(|| arrow(ArrowError::IpcError("the frame is empty".to_string())))?;
        match frame.tag.table() {
            Some(table) => conform::conform(&self.folder, frame.tag, table, &batch),
            None => Ok(batch),
        }
    }

    /// Reads all rows of a kind, batch by batch.
    pub fn batches(&self, tag: Tag) -> impl Iterator<Item = Result<RecordBatch, SpoolError>> + '_ {
        self.frames(tag).map(|frame| self.read(frame))
    }
}

#[cfg(test)]
mod tests;
