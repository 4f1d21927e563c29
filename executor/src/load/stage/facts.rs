//! What a stage's figures are made of.

use plimsoll_ingest::{Phase, RequestStatus};

/// What the figures of a stage need of one request: a row of `raw.requests`, less the rest.
///
/// Moments are ns since the run's start. The names are those of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// Number of the stage that sent it.
    pub stage: i64,
    /// That stage's phase.
    pub phase: Phase,
    /// When it was due.
    pub scheduled_ns: i64,
    /// When it was sent.
    pub sent_ns: i64,
    /// When it ended, however it ended.
    pub done_ns: i64,
    /// How it ended.
    pub status: RequestStatus,
    /// Ok, not outside the SLO and not wrong.
    pub good: bool,
    /// Scheduled to first token; `None` where no token came.
    pub ttft_ns: Option<i64>,
    /// Time per output token, the first left out; `None` below two tokens.
    pub tpot_ns: Option<i64>,
    /// The generator had no connection to send it on: the subject never saw it.
    pub unsent: bool,
    /// Prompt tokens; `None` where not known.
    pub prompt_tokens: Option<i64>,
    /// Output tokens; `None` where not known.
    pub output_tokens: Option<i64>,
    /// Prompt tokens asked for; `None` where lengths are not set.
    pub prompt_tokens_asked: Option<i64>,
    /// Output tokens asked for; `None` where lengths are not set.
    pub output_tokens_asked: Option<i64>,
    /// Chunks that bore a token; `None` of a reply that did not come in chunks.
    pub token_chunks: Option<i64>,
    /// Of these, chunks that carry the time of the one before; `None` as there.
    pub bundled_chunks: Option<i64>,
}

impl RequestFacts {
    /// Whether it ended ok.
    pub fn is_ok(&self) -> bool {
        self.status == RequestStatus::Ok
    }
}

/// A column of requests whose percentiles are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestColumn {
    /// Scheduled to first token, of ok requests.
    Ttft,
    /// Time per output token, of ok requests.
    Tpot,
    /// Scheduled to done, of ok requests.
    E2e,
    /// Scheduled to sent, of ok requests.
    Queue,
    /// Scheduled to sent, of all requests: how late the generator was.
    Lag,
}

impl RequestColumn {
    /// This request's value in ns; `None` where the column leaves the request out.
    pub fn value(self, request: &RequestFacts) -> Option<i64> {
        let counts = request.is_ok() || self == Self::Lag;
        let value = match self {
            Self::Ttft => request.ttft_ns,
            Self::Tpot => request.tpot_ns,
            Self::E2e => Some(request.done_ns - request.scheduled_ns),
            Self::Queue | Self::Lag => Some(request.sent_ns - request.scheduled_ns),
        };
        value.filter(|_| counts)
    }
}
