//! What became of a request.

use plimsoll_ingest::{FailureKind, RequestStatus, TokenSource};

use super::super::chat::ServerError;
use super::error_text::{Redaction, page_title};
use super::transcript::{ChunkMark, Transcript};

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEnd {
    /// The body ended as HTTP says that it should.
    Complete,
    /// The connection could not be made, or broke, or closed too early.
    Failed {
        /// What the system says.
        error: String,
    },
    /// The connection was there, but TLS could not be agreed on.
    TlsFailed {
        /// What the TLS client says.
        error: String,
        /// Of which kind it is.
        fault: TlsFault,
    },
    /// What came is no HTTP.
    Unparsable {
        /// What the HTTP client says.
        error: String,
    },
    /// The request's time ran out.
    TimedOut,
    /// The generator gave the request up: a stop, or the end of a stage's drain.
    Cancelled,
    /// The generator failed: no socket or no port left, or the like.
    OwnFailure {
        /// What the system says.
        error: String,
    },
}

/// Why TLS could not be agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The server's certificate is not trusted, or is for another name or time.
    Certificate,
    /// What answered does not speak TLS.
    NoTls,
    /// Anything else, such as no common version.
    Other,
}

/// What became of a request.
///
/// The status follows from the first rule that applies:
///
/// | rule | status | failure kind |
/// |---|---|---|
/// | HTTP status 429 or 503 | `shed` | overload |
/// | another HTTP status that is not 2xx | `http_error` | see below |
/// | a part of the answer cannot be parsed, or is of no OpenAI server | `protocol` | contract |
/// | an error came in the middle of a 2xx body, or the finish reason is `error` or `abort` | `incomplete` | by its code; dependency without one |
/// | at least one token, and a finish reason or `[DONE]` | `ok` | none |
/// | a finish reason or `[DONE]`, but no token | `incomplete` | content |
/// | the time ran out | `timeout` | timeout |
/// | given up by the generator | `cancelled` | harness |
/// | the generator failed or the connection did, before the first byte | `connection` | harness or dependency |
/// | the same after the first byte | `incomplete` | harness or dependency |
/// | the body ended as it should, without a finish reason | `incomplete` | contract |
///
/// A code tells the failure kind: 429, 503 and 529 overload; 408 and 504 timeout; other 4xx, and
/// what is no HTTP error at all, contract, since one side does not keep to the API; other 5xx
/// dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyOutcome {
    /// How the request ended.
    pub status: RequestStatus,
    /// Whose failure it was; `None` where the status is `ok`.
    pub failure_kind: Option<FailureKind>,
    /// The HTTP status; `None` where no answer began.
    pub http_status: Option<u16>,
    /// What went wrong, on one line of at most 500 characters, without the key; `None` where the
    /// status is `ok` or `cancelled`.
    pub error: Option<String>,
    /// The server's finish reason; `None` where none came.
    pub finish_reason: Option<String>,
    /// Tokens of the prompt by the server's count; `None` without one.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the reply, reasoning included: the server's count, else one a chunk that bears
    /// a token. A count of zero is not believed where text came. `None` where there is neither:
    /// no answer, or one document without a count.
    pub output_tokens: Option<i64>,
    /// Tokens of reasoning by the server's count; `None` without one.
    pub reasoning_tokens: Option<i64>,
    /// Tokens of the prompt that came from a cache, by the server's count; `None` without one.
    pub cached_tokens: Option<i64>,
    /// Where `output_tokens` comes from; `None` where that is.
    pub token_source: Option<TokenSource>,
    /// Receive time of the answer's first byte, ns since the run's start; `None` where none came.
    pub first_byte_ns: Option<i64>,
    /// The chunks that have a choice, in the order of arrival. Empty where the reply was asked
    /// for, and came, as one document.
    pub chunks: Vec<ChunkMark>,
    /// Chunks with a token that one read brought along with the one before: the gaps between
    /// are unknown and count as zero.
    pub bundled_chunks: u32,
}

/// How the answer began.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) first_byte_ns: i64,
    pub(super) http_status: u16,
    /// The body is a web page.
    pub(super) is_page: bool,
    /// Where else the answer lies; `None` where the head names nothing.
    pub(super) location: Option<String>,
}

impl Head {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.http_status)
    }
}

/// A status with what explains it.
struct Judgement {
    status: RequestStatus,
    kind: Option<FailureKind>,
    error: Option<String>,
}

impl Judgement {
    fn failed(status: RequestStatus, kind: FailureKind, error: impl Into<String>) -> Self {
        Self {
            status,
            kind: Some(kind),
            error: Some(error.into()),
        }
    }
}

/// Puts the outcome together. `text` is the body where it is no reply.
pub(super) fn judge(
    head: Option<Head>,
    transcript: Transcript,
    text: &[u8],
    end: BodyEnd,
    redaction: &Redaction,
) -> ReplyOutcome {
    let judgement = judgement(head.as_ref(), &transcript, text, end);
    let usage = transcript.usage.unwrap_or_default();
    let counted = usage
        .completion_tokens
        .filter(|tokens| *tokens > 0 || !transcript.has_token)
        .map(|tokens| (tokens, TokenSource::Usage));
    let by_chunks = transcript
        .tokens_by_chunks()
        .filter(|_| transcript.chunks_read() > 0)
        .map(|tokens| (tokens, TokenSource::Chunks));
    let tokens = counted.or(by_chunks);
    ReplyOutcome {
        status: judgement.status,
        failure_kind: judgement.kind,
        http_status: head.as_ref().map(|head| head.http_status),
        error: judgement.error.map(|raw| redaction.error_text(&raw)),
        finish_reason: transcript.finish_reason.clone(),
        prompt_tokens: usage.prompt_tokens,
        output_tokens: tokens.map(|(tokens, _)| tokens),
        reasoning_tokens: usage.reasoning_tokens,
        cached_tokens: usage.cached_tokens,
        token_source: tokens.map(|(_, source)| source),
        first_byte_ns: head.map(|head| head.first_byte_ns),
        bundled_chunks: transcript.bundled_chunks,
        chunks: transcript.into_chunks(counted.map(|(tokens, _)| tokens)),
    }
}

/// The rules of [`ReplyOutcome`], in their order.
fn judgement(head: Option<&Head>, transcript: &Transcript, text: &[u8], end: BodyEnd) -> Judgement {
    use FailureKind::{Content, Contract, Dependency, Harness, Timeout};
    use RequestStatus::{Incomplete, Protocol};

    if let Some(head) = head {
        if !head.is_success() {
            return refused(head, text);
        }
        if head.is_page {
            let page = String::from_utf8_lossy(text);
            let title = page_title(&page).map_or_else(String::new, |title| format!(" (`{title}`)"));
            let error = format!("answered with a web page{title}: this is no OpenAI server");
            return Judgement::failed(Protocol, Contract, error);
        }
    }
    if let Some(fault) = &transcript.fault {
        return Judgement::failed(Protocol, Contract, fault.clone());
    }
    if transcript.is_foreign() {
        let error = "answered with JSON that is no chat completion: this is no OpenAI server";
        return Judgement::failed(Protocol, Contract, error);
    }
    if let Some(ServerError { message, code }) = &transcript.error {
        let kind = code.map_or(Dependency, kind_of_code);
        return Judgement::failed(Incomplete, kind, message.clone());
    }
    if transcript.has_end() {
        let reason = transcript.finish_reason.as_deref();
        if let Some(reason @ ("error" | "abort")) = reason {
            let error = format!("the server ended the reply with finish reason `{reason}`");
            return Judgement::failed(Incomplete, Dependency, error);
        }
        if transcript.has_token {
            return Judgement {
                status: RequestStatus::Ok,
                kind: None,
                error: None,
            };
        }
        let reason = reason.unwrap_or("none");
        let error = format!("the reply ended without a token (finish reason {reason})");
        return Judgement::failed(Incomplete, Content, error);
    }
    let so_far = match head {
        None => "before the first byte".to_string(),
        Some(_) => format!("after {} chunks", transcript.chunks_read()),
    };
    let broken = match head {
        None => RequestStatus::Connection,
        Some(_) => Incomplete,
    };
    match end {
        BodyEnd::Complete => {
            let error = format!("the body ended {so_far} without finish_reason or [DONE]");
            Judgement::failed(Incomplete, Contract, error)
        }
        BodyEnd::Failed { error } | BodyEnd::TlsFailed { error, .. } => {
            Judgement::failed(broken, Dependency, format!("{error} ({so_far})"))
        }
        BodyEnd::OwnFailure { error } => Judgement::failed(broken, Harness, error),
        BodyEnd::Unparsable { error } => Judgement::failed(Protocol, Contract, error),
        BodyEnd::TimedOut => {
            let error = format!("timed out {so_far}");
            Judgement::failed(RequestStatus::Timeout, Timeout, error)
        }
        BodyEnd::Cancelled => Judgement {
            status: RequestStatus::Cancelled,
            kind: Some(Harness),
            error: None,
        },
    }
}

/// An answer that is not 2xx.
fn refused(head: &Head, text: &[u8]) -> Judgement {
    let code = i64::from(head.http_status);
    let status = match code {
        429 | 503 => RequestStatus::Shed,
        _ => RequestStatus::HttpError,
    };
    let text = String::from_utf8_lossy(text);
    let error = match (&head.location, ServerError::from_body(text.as_bytes())) {
        (Some(location), _) => format!("it sends its clients to {location}"),
        (None, Some(error)) => error.message,
        (None, None) if text.trim().is_empty() => format!("HTTP {code} without a text"),
        (None, None) => page_title(&text).unwrap_or(&text).to_string(),
    };
    Judgement::failed(status, kind_of_code(code), error)
}

fn kind_of_code(code: i64) -> FailureKind {
    match code {
        429 | 503 | 529 => FailureKind::Overload,
        408 | 504 => FailureKind::Timeout,
        500.. => FailureKind::Dependency,
        _ => FailureKind::Contract,
    }
}
