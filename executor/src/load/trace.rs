//! The raw moments of one request, from which every metric is derived.
//!
//! All moments are integer nanoseconds since the run's start, on one monotonic time line. Kernel
//! and own stamps are brought onto it before they come here.

use std::sync::Arc;

use plimsoll_ingest::{Phase, TimestampSource};

use super::reply::{ChunkMark, ReplyOutcome};

/// Which request it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIdentity {
    /// Number within the run, from 0, in schedule order.
    pub request_id: i64,
    /// Number of the stage within the run, from 0.
    pub stage: i64,
    /// What the stage, or this request, is for.
    pub phase: Phase,
    /// The class of the workload that it was drawn from; `None` where there are no classes.
    pub workload_class: Option<Arc<str>>,
}

/// All raw moments of one request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTrace {
    /// Which request it was.
    pub identity: RequestIdentity,
    /// When it was due. In a closed loop: when its slot fell free.
    pub scheduled_ns: i64,
    /// When the generator acted on it: from here on a connection is made, where none is idle, and
    /// the request is written. What that takes is the subject's and the network's.
    pub sent_ns: i64,
    /// When it ended: the end mark of a whole reply or, without one, its last byte; the failure; or
    /// the moment it was given up.
    pub done_ns: i64,
    /// How often it was sent again before this answer.
    pub retries: i64,
    /// Who took the receive times.
    pub timestamp_source: TimestampSource,
    /// What became of it, with the moments of its first byte and its chunks.
    pub reply: ReplyOutcome,
}

impl RequestTrace {
    /// The chunks with at least one token, in the order of arrival.
    pub fn token_chunks(&self) -> impl DoubleEndedIterator<Item = &ChunkMark> {
        let chunks = self.reply.chunks.iter();
        chunks.filter(|chunk| chunk.kind.bears_token())
    }

    /// Arrival of the first non-empty content, reasoning or tool delta; `None` if none came.
    pub fn first_token_ns(&self) -> Option<i64> {
        Some(self.token_chunks().next()?.at_ns)
    }

    /// Arrival of the last non-empty content, reasoning or tool delta; `None` if none came.
    pub fn last_token_ns(&self) -> Option<i64> {
        Some(self.token_chunks().next_back()?.at_ns)
    }

    /// Arrival of the first chunk with a choice, be it role-only or empty; `None` if none came.
    pub fn first_chunk_ns(&self) -> Option<i64> {
        Some(self.reply.chunks.first()?.at_ns)
    }

    /// Arrival of the last chunk with a choice, be it empty; `None` if none came.
    pub fn last_chunk_ns(&self) -> Option<i64> {
        Some(self.reply.chunks.last()?.at_ns)
    }
}
