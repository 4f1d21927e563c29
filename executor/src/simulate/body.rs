//! The bodies of answers, and how a reply leaves at its deadlines.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::fault::Abort;
use super::frame::ReplyFrame;
use super::meters::{Meters, count};
use super::script::{Emission, Script, Step};
use super::slots::Slot;
use super::stamp::RequestLog;
use super::truth::Ending;
use crate::timer::{MonotonicAnchor, PreciseTimer, Sleep, monotonic_ns};

/// The body of any answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// Known at once.
    Whole(Option<Bytes>),
    /// Sent over time.
    Reply(Box<ReplyBody>),
}

/// A fault broke the reply off. Hyper closes the connection when it gets this.
#[derive(Debug, thiserror::Error)]
#[error("the simulated engine broke off its reply")]
pub(crate) struct BrokenOff;

/// The steps of a reply that are still to come.
#[derive(Debug)]
pub(crate) enum Steps {
    Stream(Box<Script>),
    /// A reply that is not streamed is one step.
    Whole(Option<Step>),
}

impl Steps {
    fn next(&mut self, slot: &Slot) -> Option<Step> {
        match self {
            Self::Stream(script) => script.next(|| slot.busy()),
            Self::Whole(step) => step.take(),
        }
    }
}

/// A reply on its way. Dropping it, as Hyper does when the client leaves,
/// frees the slot.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    next: Option<Step>,
    steps: Steps,
    sleep: Sleep,
    anchor: MonotonicAnchor,
    arrived_ns: i64,
    first_token_left: bool,
    /// Whether something was handed to Hyper that it may not have written yet.
    unwritten: bool,
    by_length: bool,
    slot: Slot,
    log: RequestLog,
    meters: Arc<Meters>,
}

/// What a reply needs besides its steps.
#[derive(Debug)]
pub(crate) struct ReplyParts {
    pub(crate) arrived_ns: i64,
    pub(crate) by_length: bool,
    pub(crate) slot: Slot,
    pub(crate) log: RequestLog,
    pub(crate) meters: Arc<Meters>,
}

impl ReplyBody {
    pub(crate) fn new(
        mut steps: Steps,
        parts: ReplyParts,
        timer: &PreciseTimer,
        anchor: MonotonicAnchor,
    ) -> Self {
        let ReplyParts {
            arrived_ns,
            by_length,
            slot,
            log,
            meters,
        } = parts;
        let next = steps.next(&slot);
        let due_ns = next.as_ref().map_or(slot.start_ns(), Step::due_ns);
        Self {
            sleep: timer.sleep_until(anchor.instant_at(due_ns)),
            next,
            steps,
            anchor,
            arrived_ns,
            first_token_left: false,
            unwritten: false,
            by_length,
            slot,
            log,
            meters,
        }
    }

    /// Waits until there is something to send, so that the answer's head
    /// leaves with it in one system call.
    pub(crate) async fn until_due(&mut self) {
        (&mut self.sleep).await;
    }

    /// Its length, where all of it is one step.
    fn exact_length(&self) -> Option<u64> {
        match (&self.next, &self.steps) {
            (Some(Step::Send(emission)), Steps::Whole(_)) => {
                u64::try_from(emission.frame.remaining()).ok()
            }
            _ => None,
        }
    }

    fn send(&mut self, emission: Emission) -> ReplyFrame {
        let tokens = emission.marks.tokens();
        if tokens > 0 {
            count(&self.meters.generation_tokens, tokens.into());
            if !self.first_token_left {
                self.first_token_left = true;
                self.meters.observe_ttft(monotonic_ns() - self.arrived_ns);
            }
        }
        self.unwritten = true;
        self.log.announce(&emission.marks, emission.due_ns);
        self.next = self.steps.next(&self.slot);
        match &self.next {
            Some(step) => self.sleep.reset(self.anchor.instant_at(step.due_ns())),
            None => self.complete(emission.due_ns),
        }
        emission.frame
    }

    fn complete(&mut self, due_ns: i64) {
        self.slot.release_at(due_ns);
        self.log.end(Ending::Completed, Some(due_ns));
        self.meters.observe_e2e(due_ns - self.arrived_ns);
        let meter = if self.by_length {
            &self.meters.completed_by_length
        } else {
            &self.meters.completed_otherwise
        };
        count(meter, 1);
    }

    fn break_off(&mut self, due_ns: i64, how: Abort) -> Option<BrokenOff> {
        self.slot.release_at(due_ns);
        self.log.end(Ending::Broken, Some(due_ns));
        count(&self.meters.unfinished, 1);
        match how {
            Abort::End => None,
            Abort::Close => Some(BrokenOff),
            Abort::Reset => {
                self.log.tap().reset_at_end();
                Some(BrokenOff)
            }
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if self.next.is_some() {
            count(&self.meters.unfinished, 1);
        }
    }
}

impl Body for AnswerBody {
    type Data = ReplyFrame;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ReplyFrame>, BrokenOff>>> {
        let reply = match self.get_mut() {
            Self::Whole(bytes) => {
                let frame = bytes.take().map(|bytes| Ok(Frame::data(bytes.into())));
                return Poll::Ready(frame);
            }
            Self::Reply(reply) => reply,
        };
        let Some(next) = &reply.next else {
            return Poll::Ready(None);
        };
        // Hyper writes what it has when there is no more to be had for now.
        let unwritten = std::mem::take(&mut reply.unwritten);
        ready!(Pin::new(&mut reply.sleep).poll(cx));
        if unwritten && next.stands_apart() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match reply.next.take() {
            None => None,
            Some(Step::Send(emission)) => Some(Ok(Frame::data(reply.send(emission)))),
            Some(Step::Break { due_ns, how }) => reply.break_off(due_ns, how).map(Err),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Reply(reply) => reply.next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = match self {
            Self::Whole(bytes) => bytes.as_ref().map(|bytes| bytes.len() as u64),
            Self::Reply(reply) => reply.exact_length(),
        };
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
