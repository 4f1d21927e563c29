//! Files that queries spill to, without names.
//!
//! The engine's own have names and are removed by the process that made them. One that was killed
//! leaves them there, gigabytes at a time, and nothing tells whose they were. A file without a name
//! goes with its process, however that ends.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::human_readable_size;
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use futures::stream::try_unfold;
use nix::libc::{EDQUOT, EMFILE, ENFILE, ENOSPC};

/// How much of a file is read at once, in bytes.
const READ_AT_ONCE: usize = 128 * 1024;

/// Why rows cannot be spilled, or read again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpillError {
    /// All queries together would spill more than they may.
    #[error("more would be spilled than the {} that may be", human_readable_size(*.limit as usize))]
    Full {
        /// In bytes.
        limit: u64,
    },
    /// The process has too many files open.
    #[error(
        "too many open files: a sort or a join of many rows keeps some for each part that it spills"
    )]
    OpenFiles,
    /// There is no room in the folder.
    #[error("no space left in {} for rows that are spilled", .folder.display())]
    NoSpace {
        /// The folder.
        folder: PathBuf,
    },
    /// The system refuses otherwise.
    #[error("rows cannot be spilled to {}: {reason}", .folder.display())]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// What was written cannot be read.
    #[error("rows that were spilled to {} cannot be read again: {reason}", .folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl SpillError {
    /// What to do, unless it is to ask for less.
    pub(crate) fn help(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => None,
            Self::OpenFiles => Some(
                "raise the limit of open files (`ulimit -n`), or allow statements more memory: --memory",
            ),
            Self::NoSpace { .. } => Some("make room there, or name another folder in TMPDIR"),
            Self::Refused { .. } => Some("name a folder in TMPDIR that can be written to"),
            Self::Unreadable { .. } => {
                Some("look at the disk that has this folder, or name one on another disk in TMPDIR")
            }
        }
    }
}

/// Where queries spill, and how much all of them together may.
#[derive(Debug)]
pub(crate) struct SpillFolder {
    folder: PathBuf,
    limit: u64,
    used: AtomicU64,
}

impl SpillFolder {
    /// Files in `folder`, or the system's for temporary files, of `limit` bytes together. It is made,
    /// and touched at all, only where something is spilled.
    pub(crate) fn new(folder: Option<PathBuf>, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.unwrap_or_else(std::env::temp_dir),
            limit,
            used: AtomicU64::new(0),
        })
    }

    fn refusal(&self, error: &io::Error) -> SpillError {
        let folder = self.folder.clone();
        match error.raw_os_error() {
            Some(EMFILE | ENFILE) => SpillError::OpenFiles,
            Some(ENOSPC | EDQUOT) => SpillError::NoSpace { folder },
            _ => SpillError::Refused {
                folder,
                reason: error.to_string(),
            },
        }
    }

    fn unreadable(&self, error: &dyn Error) -> SpillError {
        SpillError::Unreadable {
            folder: self.folder.clone(),
            reason: error.to_string(),
        }
    }

    fn take(&self, bytes: u64) -> Result<(), SpillError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|&used| used <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken
            .map(|_| ())
            .map_err(|_| SpillError::Full { limit: self.limit })
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Files of this folder as the engine asks for them.
#[derive(Debug)]
pub(crate) struct SpillFiles(pub(crate) Arc<SpillFolder>);

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _: &str) -> Result<Arc<dyn SpillFile>> {
        let folder = &self.0;
        let file = std::fs::create_dir_all(&folder.folder)
            .and_then(|()| tempfile::tempfile_in(&folder.folder))
            .map_err(|error| DataFusionError::External(Box::new(folder.refusal(&error))))?;
        Ok(Arc::new(Spilled(Arc::new(Contents {
            file,
            written: AtomicU64::new(0),
            folder: Arc::clone(folder),
        }))))
    }
}

/// One file. What it holds counts until nobody has it any more.
#[derive(Debug)]
struct Contents {
    file: File,
    written: AtomicU64,
    folder: Arc<SpillFolder>,
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.folder.give_back(*self.written.get_mut());
    }
}

impl Contents {
    fn read(&self, mut bytes: Vec<u8>, from: u64) -> Result<Bytes, SpillError> {
        let read = loop {
            match self.file.read_at(&mut bytes, from) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.folder.unreadable(&error)),
                Ok(read) => break read,
            }
        };
        bytes.truncate(read);
        // What is read of a file that is still written may be little, and is kept for as long as a row of
        // it.
        bytes.shrink_to_fit();
        Ok(Bytes::from(bytes))
    }
}

#[derive(Debug)]
struct Spilled(Arc<Contents>);

impl SpillFile for Spilled {
    fn size(&self) -> Option<u64> {
        Some(self.0.written.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let contents = Arc::clone(&self.0);
        Ok(Box::pin(try_unfold(0, move |from| {
            let contents = Arc::clone(&contents);
            async move {
                // Taken here: threads that read come and go, and the allocator keeps for each what others
                // free of its.
                let bytes = vec![0; READ_AT_ONCE];
                let reading = Arc::clone(&contents);
                let read = tokio::task::spawn_blocking(move || reading.read(bytes, from));
                let read = read
                    .await
                    .unwrap_or_else(|error| Err(contents.folder.unreadable(&error)));
                let bytes = read.map_err(|error| DataFusionError::External(Box::new(error)))?;
                let next = from + bytes.len() as u64;
                Ok((!bytes.is_empty()).then_some((bytes, next)))
            }
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer(Arc::clone(&self.0))))
    }
}

/// Writes to the end of a file.
struct Writer(Arc<Contents>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let contents = &self.0;
        let length = bytes.len() as u64;
        contents.folder.take(length).map_err(io::Error::other)?;
        // Counted before it is written, so that it is given back however that ends.
        contents.written.fetch_add(length, Ordering::Relaxed);
        (&contents.file)
            .write_all(bytes)
            .map_err(|error| io::Error::other(contents.folder.refusal(&error)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt as _;

    use super::*;
    use crate::QueryError;

    fn names_in(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder).expect("a folder").count()
    }

    async fn read(file: &dyn SpillFile) -> Vec<u8> {
        let chunks = file.read_stream().expect("a stream");
        let chunks: Vec<Bytes> = chunks.try_collect().await.expect("it can be read");
        chunks.concat()
    }

    #[tokio::test]
    async fn what_was_written_is_read_as_often_as_asked_and_has_no_name() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = SpillFolder::new(Some(place.path().join("spill")), 1 << 30);
        let files = SpillFiles(Arc::clone(&folder));
        assert_eq!(
            names_in(place.path()),
            0,
            "untouched until something is spilled"
        );
        let file = files.create_temp_file("rows").expect("a file");
        let mut writer = file.open_writer().expect("a writer");
        let one: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
        writer.write_all(&one).expect("written");
        assert_eq!(read(file.as_ref()).await, one);
        // Reading does not move where the next bytes go.
        writer.write_all(b"and more").expect("written");
        writer.finish().expect("finished");
        let all = [one.as_slice(), b"and more"].concat();
        assert_eq!(read(file.as_ref()).await, all);
        assert_eq!(file.size(), Some(all.len() as u64));
        assert_eq!(names_in(&place.path().join("spill")), 0, "no names");
    }

    #[tokio::test]
    async fn all_files_together_have_the_limit_until_they_are_gone() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = SpillFolder::new(Some(place.path().to_path_buf()), 1000);
        let files = SpillFiles(Arc::clone(&folder));
        let one = files.create_temp_file("rows").expect("a file");
        let other = files.create_temp_file("rows").expect("a file");
        let [mut first, mut second] =
            [&one, &other].map(|file| file.open_writer().expect("a writer"));
        first.write_all(&[1; 600]).expect("it has room");
        let error = second.write_all(&[2; 401]).expect_err("one byte too many");
        let error = error.get_ref().and_then(|error| error.downcast_ref());
        assert_eq!(error, Some(&SpillError::Full { limit: 1000 }));
        second.write_all(&[2; 400]).expect("it has room");
        drop((first, one));
        second
            .write_all(&[2; 600])
            .expect("the other gave its room back");
        assert_eq!(read(other.as_ref()).await, [2; 1000]);
        drop((second, other));
        assert_eq!(folder.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_the_system_refuses_is_said_with_what_to_do() {
        let folder = SpillFolder::new(Some("/spill".into()), 1000);
        for (code, said, help) in [
            (EMFILE, "too many open files", "ulimit -n"),
            (ENFILE, "too many open files", "ulimit -n"),
            (ENOSPC, "no space left in /spill", "TMPDIR"),
            (EDQUOT, "no space left in /spill", "TMPDIR"),
            (
                nix::libc::EROFS,
                "cannot be spilled to /spill: Read-only",
                "TMPDIR",
            ),
        ] {
            let error = folder.refusal(&io::Error::from_raw_os_error(code));
            assert!(error.to_string().contains(said), "{error}");
            assert!(
                error.help().is_some_and(|text| text.contains(help)),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_again_is_said_with_what_to_do() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = SpillFolder::new(Some(place.path().to_path_buf()), 1000);
        let file = File::create(place.path().join("only-written")).expect("a file");
        let file = Spilled(Arc::new(Contents {
            file,
            written: AtomicU64::new(0),
            folder,
        }));
        let mut chunks = file.read_stream().expect("a stream");
        let error = chunks.try_next().await.expect_err("it cannot be read");
        let error = QueryError::from_engine(&error, 1000);
        assert!(
            error.to_string().contains("cannot be read again: Bad file"),
            "{error}"
        );
        assert!(error.help().contains("TMPDIR"), "{}", error.help());
    }
}
