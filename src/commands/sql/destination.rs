//! Where a result goes: standard output, or a file that is there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// How much is collected before it is written.
const BUFFER: usize = 64 * 1024;

/// An open place for one result. Dropped before [`Destination::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Standard output.
    Stdout(BufWriter<io::Stdout>),
    /// A file; it gets its name when it is whole.
    File(PendingFile),
}

/// A file under a name of its own until it is whole.
#[derive(Debug)]
pub(crate) struct PendingFile {
    writer: BufWriter<File>,
    target: PathBuf,
    /// The name until then; `None` where the target is written as it is (a device, a named pipe).
    pending: Option<PathBuf>,
}

impl Destination {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Self::Stdout(BufWriter::with_capacity(BUFFER, io::stdout()))
    }

    /// The file at `path`, made new or replaced at the end.
    ///
    /// # Errors
    /// Its folder is not there or may not be written.
    pub(crate) fn file(path: &Path) -> Result<Self, Failure> {
        let open = || {
            // A link stays a link: what it leads to is replaced.
            let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let is_special = fs::metadata(&target).is_ok_and(|found| !found.is_file());
            let (file, pending) = if is_special {
                (OpenOptions::new().write(true).open(&target)?, None)
            } else {
                let pending = pending_name(&target)?;
                (File::create_new(&pending)?, Some(pending))
            };
            let writer = BufWriter::with_capacity(BUFFER, file);
            Ok(PendingFile {
                writer,
                target,
                pending,
            })
        };
        open()
            .map(Self::File)
            .map_err(|error| cannot_write(path, &error))
    }

    /// Ends the result: all of it is where it should be.
    ///
    /// # Errors
    /// The rest cannot be written. A file that was there before is as it was.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut writer) => writer.flush().map_err(|error| Failure::output(&error)),
            Self::File(mut file) => file
                .commit()
                .map_err(|error| cannot_write(&file.target, &error)),
        }
    }

    /// What a failed write means here.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        match self {
            Self::Stdout(_) => Failure::output(error),
            Self::File(file) => cannot_write(&file.target, error),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File(file) => file.writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File(file) => file.writer.flush(),
        }
    }
}

impl PendingFile {
    fn commit(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        if let Some(pending) = &self.pending {
            self.writer.get_ref().sync_all()?;
            fs::rename(pending, &self.target)?;
            self.pending = None;
        }
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take()
            && let Err(error) = fs::remove_file(&pending)
        {
            tracing::warn!(path = %pending.display(), %error, "a half-written file stays");
        }
    }
}

/// A name beside the target that no other process uses.
fn pending_name(target: &Path) -> io::Result<PathBuf> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut pending = std::ffi::OsString::from(".");
    pending.push(name);
    pending.push(format!(".{}.partial", std::process::id()));
    Ok(target.with_file_name(pending))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(
        format_args!("cannot write {}: {error}", path.display()),
        "does the folder exist, may it be written, and is there room on its disk?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_finished_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        fs::write(&path, "old").expect("written");
        let mut destination = Destination::file(&path).expect("opened");
        destination.write_all(b"new").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "old");
        destination.finish().expect("finished");
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        let mut destination = Destination::file(&path).expect("opened");
        destination.write_all(b"half").expect("written");
        destination.flush().expect("flushed");
        drop(destination);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let failure = Destination::file(Path::new("no/such/out.csv")).expect_err("no folder");
        let lines = failure.lines().expect("two lines");
        assert!(
            lines.starts_with("error: cannot write no/such/out.csv: "),
            "{lines}"
        );
        assert_eq!(failure.exit().code(), 1);
    }

    #[test]
    fn a_device_is_written_and_stays_a_device() {
        let mut destination = Destination::file(Path::new("/dev/null")).expect("opened");
        destination.write_all(b"gone").expect("written");
        destination.finish().expect("finished");
        assert!(!fs::metadata("/dev/null").expect("still there").is_file());
    }
}
