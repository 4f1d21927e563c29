//! The truth log: what the server did, when it really did it.
//!
//! One line of JSON per chat completion, written when it has ended, each a
//! [`RequestTruth`]. The moments of emission are taken right before the system
//! call that carries an event, so that a client on the same machine can be
//! judged by them.

mod writer;

use serde::{Deserialize, Serialize};

pub(crate) use writer::{TruthLog, TruthSender};

/// One line of the truth log. Row grain: one per request for a chat completion,
/// refused ones too.
///
/// All `_ns` are nanoseconds of `CLOCK_MONOTONIC`, which all processes of a
/// machine share, but `real_ns`, which is of `CLOCK_REALTIME` as the kernel's
/// receive timestamps are. The five lists at the end are of one length: one
/// entry per event that left, in the order of leaving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTruth {
    /// The client's `x-request-id`; `chatcmpl-<ordinal>` where it sent none.
    pub request_id: String,
    /// Counts from 0 in the order in which requests were read to their end.
    pub ordinal: u64,
    /// Whether the reply is streamed; `None` where the request was not
    /// understood.
    pub stream: Option<bool>,
    /// `None` where the request was not understood.
    pub prompt_tokens: Option<u32>,
    /// How many tokens were asked for, or the default; `None` where the
    /// request was not understood.
    pub asked_tokens: Option<u32>,
    /// The HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// When the head of the request was read.
    pub arrived_ns: i64,
    /// When its service began; `None` without one. For a request that waited
    /// it is the nominal end of the service before.
    pub slot_ns: Option<i64>,
    /// When its slot was free again: at the deadline of the last token, or when
    /// the client left. `None` without a slot.
    pub released_ns: Option<i64>,
    /// How it ended.
    pub ending: Ending,
    /// What each event was.
    pub kinds: Vec<EventKind>,
    /// How many output tokens it carried.
    pub tokens: Vec<u32>,
    /// When it was due.
    pub due_ns: Vec<i64>,
    /// When it left.
    pub mono_ns: Vec<i64>,
    /// When it left, by the wall clock.
    pub real_ns: Vec<i64>,
}

impl RequestTruth {
    /// One that has just arrived.
    pub(crate) fn new(request_id: String, ordinal: u64, arrived_ns: i64) -> Self {
        Self {
            request_id,
            ordinal,
            stream: None,
            prompt_tokens: None,
            asked_tokens: None,
            status: None,
            arrived_ns,
            slot_ns: None,
            released_ns: None,
            ending: Ending::Disconnected,
            kinds: Vec::new(),
            tokens: Vec::new(),
            due_ns: Vec::new(),
            mono_ns: Vec::new(),
            real_ns: Vec::new(),
        }
    }
}

/// A request of which not everything is known yet.
#[derive(Debug)]
pub(crate) struct OpenTruth {
    /// All but its events.
    pub(crate) request: RequestTruth,
    /// Its events, kept together while they happen.
    pub(crate) events: Vec<EventTruth>,
}

/// One event of a reply; the moments are zero until it has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventTruth {
    pub(crate) kind: EventKind,
    pub(crate) tokens: u32,
    pub(crate) due_ns: i64,
    pub(crate) mono_ns: i64,
    pub(crate) real_ns: i64,
}

impl From<OpenTruth> for RequestTruth {
    fn from(open: OpenTruth) -> Self {
        let OpenTruth { request, events } = open;
        Self {
            kinds: events.iter().map(|event| event.kind).collect(),
            tokens: events.iter().map(|event| event.tokens).collect(),
            due_ns: events.iter().map(|event| event.due_ns).collect(),
            mono_ns: events.iter().map(|event| event.mono_ns).collect(),
            real_ns: events.iter().map(|event| event.real_ns).collect(),
            ..request
        }
    }
}

/// How a request ended, as the server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All that was planned was handed to the kernel.
    Completed,
    /// It got an HTTP error.
    Refused,
    /// A fault broke it off.
    Broken,
    /// The client left.
    Disconnected,
    /// The server ended before it.
    Stopped,
}

/// What an event of a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A role and no content.
    Role,
    /// Tokens of content.
    Content,
    /// Tokens of reasoning.
    Reasoning,
    /// Tokens of a tool call.
    Tool,
    /// The finish reason.
    Finish,
    /// Usage in a chunk of its own.
    Usage,
    /// `[DONE]`.
    Done,
    /// An error object.
    Error,
    /// A comment.
    Comment,
    /// Something that is no valid event.
    Malformed,
    /// A whole reply that is not streamed.
    Whole,
}
