//! The thread that writes the truth log.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{OpenTruth, RequestTruth};

/// How many requests may wait to be written. At the bound the server goes on
/// and the request is counted as lost: waiting for a disk would make the truth
/// another one.
const QUEUE: usize = 16_384;

/// How often the thread looks for requests while there are some. It is not
/// woken for each: a wake-up is a system call of the server, between two of its
/// tokens. What was written stays in memory no longer than twice that.
const TURN: Duration = Duration::from_millis(25);

/// The log and its thread.
#[derive(Debug)]
pub(crate) struct TruthLog {
    sender: TruthSender,
    thread: JoinHandle<io::Result<()>>,
    path: PathBuf,
}

/// Hands requests to the log.
#[derive(Clone, Debug)]
pub(crate) struct TruthSender {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Request(Box<OpenTruth>),
    End,
}

impl TruthLog {
    /// Creates the file, or empties it, and starts the thread.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        let (queue, requests) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("truth-log".to_owned())
            .spawn(move || write(file, &requests))?;
        let lost = Arc::default();
        Ok(Self {
            sender: TruthSender { queue, lost },
            thread,
            path: path.to_owned(),
        })
    }

    pub(crate) fn sender(&self) -> &TruthSender {
        &self.sender
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn finish(self) -> io::Result<()> {
        // It is gone only after an error, which joining it returns.
        if self.sender.queue.send(Message::End).is_err() {
            tracing::debug!("the truth log ended before the server");
        }
        match self.thread.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl TruthSender {
    pub(crate) fn send(&self, request: Box<OpenTruth>) {
        let full_or_gone = match self.queue.try_send(Message::Request(request)) {
            Ok(()) => false,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => true,
        };
        if full_or_gone {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that were not written since the queue was full or the file
    /// could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn write(mut file: BufWriter<File>, requests: &Receiver<Message>) -> io::Result<()> {
    loop {
        // Nothing is left in memory: rest until there is something.
        let Ok(first) = requests.recv() else {
            return Ok(());
        };
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Request(request) => write_line(&mut file, *request)?,
                Message::End => return file.flush(),
            }
            next = match requests.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => {
                    std::thread::sleep(TURN);
                    requests.try_recv().ok()
                }
                Err(TryRecvError::Disconnected) => None,
            };
        }
        file.flush()?;
    }
}

fn write_line(file: &mut BufWriter<File>, request: OpenTruth) -> io::Result<()> {
    serde_json::to_writer(&mut *file, &RequestTruth::from(request))?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::{EventKind, EventTruth};
    use super::*;

    #[test]
    fn a_line_reads_back_as_what_was_sent() {
        let open = || OpenTruth {
            request: RequestTruth {
                status: Some(400),
                ..RequestTruth::new("a \"b\"".to_owned(), 3, 5)
            },
            events: vec![EventTruth {
                kind: EventKind::Content,
                tokens: 2,
                due_ns: 7,
                mono_ns: 8,
                real_ns: 9,
            }],
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("truth.jsonl");
        let log = TruthLog::create(&path).expect("a temporary file");
        log.sender().send(Box::new(open()));
        log.sender().send(Box::new(open()));
        log.finish().expect("written");
        let text = std::fs::read_to_string(&path).expect("a file");
        let lines: Vec<RequestTruth> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert_eq!(lines, [open().into(), open().into()]);
        assert_eq!((lines[0].tokens[0], lines[0].real_ns[0]), (2, 9));
    }

    #[test]
    fn a_log_that_has_ended_counts_what_is_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = TruthLog::create(&folder.path().join("truth.jsonl")).expect("a file");
        let sender = log.sender().clone();
        log.finish().expect("written");
        sender.send(Box::new(OpenTruth {
            request: RequestTruth::new("late".to_owned(), 0, 0),
            events: vec![],
        }));
        assert_eq!(sender.lost(), 1);
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_end() {
        let log = TruthLog::create(Path::new("/dev/full")).expect("it opens");
        log.sender().send(Box::new(OpenTruth {
            request: RequestTruth::new("lost".to_owned(), 0, 0),
            events: vec![],
        }));
        let error = log.finish().expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
