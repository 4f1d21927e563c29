//! Taking the time right before the system call that carries an event.
//!
//! A body hands an event to Hyper, Hyper puts the HTTP chunk around it and
//! writes it to the stream later. So a body only announces its events to the
//! connection's [`Tap`], and [`StampedStream`], which lies under Hyper, reads
//! the clocks just before it calls into the kernel.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::fate::Fate;
use super::script::Marks;
use super::truth::{Ending, EventTruth, OpenTruth, RequestTruth, TruthSender};
use crate::timer::{monotonic_ns, realtime_ns};

/// The most events that room is made for at once; a reply may be asked for that
/// nobody will wait for.
const ROOM: usize = 1_024;

/// What a connection's stream and its requests tell each other.
#[derive(Debug)]
pub(crate) struct Tap {
    fate: Arc<Fate>,
    truth: Option<TruthSender>,
    /// Set where the connection is to end in a reset.
    reset: AtomicBool,
    /// Whether events were announced that have not left yet. It is set and read
    /// in the connection's own task.
    announced: AtomicBool,
    /// Requests whose line is not complete: mostly one. A lock, since body
    /// and stream both write here; both are in one task, so it is never waited
    /// for.
    open: Mutex<Vec<OpenRequest>>,
}

#[derive(Debug)]
struct OpenRequest {
    truth: Box<OpenTruth>,
    /// How many of its events have left; the others were only announced.
    left: usize,
    ended: bool,
}

impl OpenRequest {
    fn is_complete(&self) -> bool {
        self.ended && self.left == self.truth.events.len()
    }
}

impl Tap {
    pub(crate) fn new(fate: Arc<Fate>, truth: Option<TruthSender>) -> Arc<Self> {
        Arc::new(Self {
            fate,
            truth,
            reset: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    /// Makes the end of the connection a TCP reset.
    pub(crate) fn reset_at_end(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    fn open(&self) -> MutexGuard<'_, Vec<OpenRequest>> {
        // Whole between any two statements: a panic elsewhere broke nothing.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything announced left with the system call before which the clocks
    /// read this.
    fn left(&self, mono_ns: i64, real_ns: i64) {
        self.announced.store(false, Ordering::Relaxed);
        let mut open = self.open();
        for request in open.iter_mut() {
            for event in &mut request.truth.events[request.left..] {
                event.mono_ns = mono_ns;
                event.real_ns = real_ns;
            }
            request.left = request.truth.events.len();
        }
        self.log_complete(&mut open);
    }

    /// What was announced and has not left never will.
    fn closed(&self) {
        self.announced.store(false, Ordering::Relaxed);
        let mut open = self.open();
        for request in open.iter_mut() {
            if request.left < request.truth.events.len() {
                request.truth.events.truncate(request.left);
                request.truth.request.ending = self.unfinished();
            }
        }
        self.log_complete(&mut open);
    }

    fn log_complete(&self, open: &mut Vec<OpenRequest>) {
        let Some(log) = &self.truth else { return };
        for request in open.extract_if(.., |request| request.is_complete()) {
            log.send(request.truth);
        }
    }

    /// How a request ends that nobody ended.
    fn unfinished(&self) -> Ending {
        if self.fate.is_running() {
            Ending::Disconnected
        } else {
            Ending::Stopped
        }
    }
}

/// The line of one request in the truth log; dropping it ends the request as
/// one whose client left.
#[derive(Debug)]
pub(crate) struct RequestLog {
    tap: Arc<Tap>,
    ordinal: u64,
    ended: bool,
}

impl RequestLog {
    pub(crate) fn begin(
        tap: &Arc<Tap>,
        ordinal: u64,
        arrived_ns: i64,
        request_id: impl FnOnce() -> String,
    ) -> Self {
        if tap.truth.is_some() {
            let request = RequestTruth::new(request_id(), ordinal, arrived_ns);
            tap.open().push(OpenRequest {
                truth: Box::new(OpenTruth {
                    request,
                    events: Vec::new(),
                }),
                left: 0,
                ended: false,
            });
        }
        Self {
            tap: Arc::clone(tap),
            ordinal,
            ended: false,
        }
    }

    /// The connection that the request came on.
    pub(crate) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Notes something about the request, if a log is kept.
    pub(crate) fn note(&self, note: impl FnOnce(&mut RequestTruth)) {
        if self.tap.truth.is_some() {
            let mut open = self.tap.open();
            if let Some(request) = self.find(&mut open) {
                note(&mut request.truth.request);
            }
        }
    }

    /// Makes room for so many events.
    pub(crate) fn expect_events(&self, events: usize) {
        if self.tap.truth.is_some() {
            let mut open = self.tap.open();
            if let Some(request) = self.find(&mut open) {
                request.truth.events.reserve(events.min(ROOM));
            }
        }
    }

    /// Announces events that are handed to Hyper now.
    pub(crate) fn announce(&self, marks: &Marks, due_ns: i64) {
        if self.tap.truth.is_some() && !marks.is_empty() {
            let mut open = self.tap.open();
            if let Some(request) = self.find(&mut open) {
                let events = marks.iter().map(|mark| EventTruth {
                    kind: mark.kind,
                    tokens: mark.tokens,
                    due_ns,
                    mono_ns: 0,
                    real_ns: 0,
                });
                request.truth.events.extend(events);
                self.tap.announced.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Ends the request; its slot, if it had one, was free from `released_ns`.
    pub(crate) fn end(&mut self, ending: Ending, released_ns: Option<i64>) {
        if std::mem::replace(&mut self.ended, true) || self.tap.truth.is_none() {
            return;
        }
        let mut open = self.tap.open();
        if let Some(request) = self.find(&mut open) {
            let truth = &mut request.truth.request;
            truth.ending = ending;
            truth.released_ns = released_ns.filter(|_| truth.slot_ns.is_some());
            request.ended = true;
        }
        self.tap.log_complete(&mut open);
    }

    fn find<'a>(&self, open: &'a mut [OpenRequest]) -> Option<&'a mut OpenRequest> {
        open.iter_mut()
            .find(|request| request.truth.request.ordinal == self.ordinal)
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.ended {
            let ending = self.tap.unfinished();
            self.end(ending, Some(monotonic_ns()));
        }
    }
}

/// A TCP stream that reads the clocks before it writes.
#[derive(Debug)]
pub(crate) struct StampedStream {
    tcp: TcpStream,
    tap: Arc<Tap>,
}

impl StampedStream {
    pub(crate) fn new(tcp: TcpStream, tap: Arc<Tap>) -> Self {
        Self { tcp, tap }
    }
}

impl AsyncRead for StampedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for StampedStream {
    /// Hyper gives everything that it has as one run of bytes. Where the
    /// kernel takes only part of it, the events count as gone with the call
    /// that takes the rest.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if !stream.tap.announced.load(Ordering::Relaxed) {
            return Pin::new(&mut stream.tcp).poll_write(cx, buf);
        }
        let real_ns = realtime_ns();
        let mono_ns = monotonic_ns();
        let written = ready!(Pin::new(&mut stream.tcp).poll_write(cx, buf))?;
        if written == buf.len() {
            stream.tap.left(mono_ns, real_ns);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

impl Drop for StampedStream {
    fn drop(&mut self) {
        self.tap.closed();
        let reset = self.tap.reset.load(Ordering::Relaxed) || self.tap.fate.has_crashed();
        if reset && let Err(error) = self.tcp.set_zero_linger() {
            tracing::debug!(%error, "a connection was closed instead of reset");
        }
    }
}
