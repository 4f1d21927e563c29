//! From the load loop to the spool, on a thread of its own.
//!
//! The loop hands over what happened in batches, over a bounded channel; the
//! thread makes rows of it, appends them to the spool and syncs it at least
//! once a second. Where the disk cannot keep up, batches wait in the loop and
//! grow; past a bound the recorder says so and the run ends as incomplete.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_ingest::spool::{SendRow, Spool, SpoolError, Tag};
use plimsoll_ingest::storage::chain;
use plimsoll_ingest::{RunId, StageRow, Table, TableRow as _, TickRow};

use super::rows::{Measured, RowMaker};

/// Batches under way between the loop and the thread.
const CHANNEL_BATCHES: usize = 32;
/// Rows that may wait in the loop before the run is ended.
const WAITING_ROWS: usize = 1_000_000;
/// Rows of one frame at most.
const FRAME_ROWS: usize = 8_192;
/// What was appended is synced at least so often.
const SYNC_EVERY: Duration = Duration::from_millis(900);

/// What happened since the last batch.
#[derive(Debug, Default)]
pub(crate) struct Happenings {
    pub(crate) sends: Vec<SendRow>,
    pub(crate) ended: Vec<Measured>,
    pub(crate) ticks: Vec<TickRow>,
    pub(crate) stages: Vec<StageRow>,
}

impl Happenings {
    fn rows(&self) -> usize {
        self.sends.len() + self.ended.len() + self.ticks.len() + self.stages.len()
    }
}

/// The loop's end of the way to the spool.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: SyncSender<Happenings>,
    thread: JoinHandle<Result<Spool, Box<Failed>>>,
    waiting: Happenings,
}

/// A spool that could not be written, with all that it holds.
#[derive(Debug)]
struct Failed {
    spool: Spool,
    error: SpoolError,
}

/// Why the recorder cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecorderError {
    /// The spool's disk failed or is full.
    #[error("the spool cannot be written: {}", chain(.0))]
    Spool(SpoolError),
    /// The disk is slower than what is measured.
    #[error("the spool's disk is too slow: {rows} rows wait for it")]
    TooSlow { rows: usize },
}

impl Recorder {
    /// Starts the thread, which owns the spool until [`Recorder::finish`].
    pub(crate) fn start(spool: Spool, run_id: RunId) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(CHANNEL_BATCHES);
        let thread = std::thread::Builder::new().name("spool".to_string());
        let thread = thread.spawn(move || record(spool, RowMaker::new(run_id), &receiver))?;
        Ok(Self {
            sender,
            thread,
            waiting: Happenings::default(),
        })
    }

    /// What is to be handed over next.
    pub(crate) fn waiting(&mut self) -> &mut Happenings {
        &mut self.waiting
    }

    /// Hands over what happened, if there is room. False where the recorder
    /// cannot go on; [`Recorder::finish`] says why.
    pub(crate) fn flush(&mut self) -> bool {
        if self.waiting.rows() == 0 {
            return true;
        }
        match self.sender.try_send(std::mem::take(&mut self.waiting)) {
            Ok(()) => true,
            Err(TrySendError::Full(batch)) => {
                self.waiting = batch;
                self.waiting.rows() <= WAITING_ROWS
            }
            Err(TrySendError::Disconnected(batch)) => {
                self.waiting = batch;
                false
            }
        }
    }

    /// Hands over the rest, waits for the thread and gives the spool back.
    pub(crate) fn finish(self) -> (Spool, Result<(), RecorderError>) {
        let rows = self.waiting.rows();
        let too_slow = rows > WAITING_ROWS;
        let unsent = self.sender.send(self.waiting).is_err();
        drop(self.sender);
        match self
            .thread
            .join()
            .expect("the spool's thread returns its errors")
        {
            Ok(spool) if too_slow || unsent => (spool, Err(RecorderError::TooSlow { rows })),
            Ok(spool) => (spool, Ok(())),
            Err(failed) => (failed.spool, Err(RecorderError::Spool(failed.error))),
        }
    }
}

fn record(
    mut spool: Spool,
    maker: RowMaker,
    receiver: &Receiver<Happenings>,
) -> Result<Spool, Box<Failed>> {
    let mut synced = Instant::now();
    loop {
        // Looked at first: a thread that batches always wait for must sync all the same.
        let left = SYNC_EVERY.saturating_sub(synced.elapsed());
        let written = if left.is_zero() {
            synced = Instant::now();
            spool.sync()
        } else {
            match receiver.recv_timeout(left) {
                Ok(batch) => append(&mut spool, &maker, &batch),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        };
        if let Err(error) = written {
            return Err(Box::new(Failed { spool, error }));
        }
    }
    match spool.sync() {
        Ok(()) => Ok(spool),
        Err(error) => Err(Box::new(Failed { spool, error })),
    }
}

fn append(spool: &mut Spool, maker: &RowMaker, batch: &Happenings) -> Result<(), SpoolError> {
    // Sends first: a reply's row must never be there without its send.
    for sends in batch.sends.chunks(FRAME_ROWS) {
        let rows = SendRow::to_batch(sends).expect("columns of one length form a batch");
        spool.append(Tag::Sends, &rows)?;
    }
    for stages in batch.stages.chunks(FRAME_ROWS) {
        let rows = StageRow::to_batch(stages).expect("rows of one type form a batch");
        spool.append(Tag::Draft(Table::Stages), &rows)?;
    }
    for ended in batch.ended.chunks(FRAME_ROWS) {
        let (requests, chunks) = maker.batches(ended);
        spool.append(Tag::Facts(Table::Requests), &requests)?;
        if chunks.num_rows() > 0 {
            spool.append(Tag::Facts(Table::Chunks), &chunks)?;
        }
    }
    for ticks in batch.ticks.chunks(FRAME_ROWS) {
        let rows = TickRow::to_batch(ticks).expect("rows of one type form a batch");
        spool.append(Tag::Facts(Table::Ticks), &rows)?;
    }
    Ok(())
}
