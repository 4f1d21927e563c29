//! What a reply has said so far.

use std::error::Error;

use super::super::chat::{
    ChatDelta, ChunkError, DeltaKind, ServerError, Transfer, Usage, decode_chunk,
};
use super::super::sse::SseEvent;

/// The moment of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMark {
    /// Receive time of the read that completed it, ns since the run's start.
    pub at_ns: i64,
    /// What it brought.
    pub kind: DeltaKind,
    /// How many tokens it brought; `None` where nobody knows, or past 65,535.
    ///
    /// Known where the server counts along with each chunk, or where its final count equals the
    /// number of chunks that bear a token.
    pub tokens: Option<u16>,
}

/// What a reply has said so far.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    chunks: Vec<ChunkMark>,
    /// The server's count after the last chunk that had one.
    counted: i64,
    pub(super) usage: Option<Usage>,
    pub(super) finish_reason: Option<String>,
    pub(super) error: Option<ServerError>,
    /// The first thing that could not be parsed.
    pub(super) fault: Option<String>,
    /// An answer or a reasoning or a tool call, be it in chunks or whole.
    pub(super) has_token: bool,
    pub(super) bundled_chunks: u32,
    is_done: bool,
    token_chunks: usize,
    /// Chunks that were read, and objects that are none.
    read: usize,
    foreign: usize,
    /// The reply came as one document: its only chunk says nothing about the number of tokens.
    is_document: bool,
    /// Receive time of the last chunk that bore a token.
    last_token_ns: Option<i64>,
}

impl Transcript {
    /// Whether `[DONE]` came.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// How many chunks could be read.
    pub(super) fn chunks_read(&self) -> usize {
        self.read
    }

    /// Whether the reply came to its end, as servers mark it.
    pub(super) fn has_end(&self) -> bool {
        self.is_done || self.finish_reason.is_some()
    }

    /// Whether something came that is JSON, but nothing that is of a chat completion.
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign > 0 && self.read == 0
    }

    /// Takes an event of the stream.
    pub(super) fn on_event(&mut self, at_ns: i64, event: SseEvent<'_>) {
        match event {
            // A sign of life without data.
            SseEvent::Data(data) if data.trim_ascii().is_empty() => {}
            SseEvent::Data(data) => match decode_chunk(data) {
                Ok(delta) => self.on_delta(at_ns, delta),
                Err(error) => self.on_chunk_error(&error),
            },
            SseEvent::ServerError(data) => self.on_server_error(data),
            SseEvent::Done => self.is_done = true,
            SseEvent::Malformed(fault) => self.on_fault(fault.to_string()),
        }
    }

    /// Takes an event that the end of the body ended: what cannot be read was cut off, which is
    /// no fault of its form.
    pub(super) fn on_last_event(&mut self, at_ns: i64, event: SseEvent<'_>) {
        match event {
            SseEvent::Data(data) => {
                if let Ok(delta) = decode_chunk(data) {
                    self.on_delta(at_ns, delta);
                }
            }
            other => self.on_event(at_ns, other),
        }
    }

    /// Takes a reply that came as one document, complete at `at_ns`.
    ///
    /// Where a stream was asked for, the document counts as its only chunk: that is when whoever
    /// asked saw the first token. Where a document was asked for, nobody sees a first token.
    pub(super) fn on_document(
        &mut self,
        at_ns: i64,
        document: &[u8],
        asked: Transfer,
        is_cut: bool,
    ) {
        self.is_document = true;
        match decode_chunk(document) {
            Ok(delta) => {
                self.on_delta(at_ns, delta);
                if asked == Transfer::Whole {
                    self.chunks.clear();
                }
            }
            Err(_) if is_cut => {}
            Err(error) => self.on_chunk_error(&error),
        }
    }

    /// Takes note of something that cannot be parsed. The first counts.
    pub(super) fn on_fault(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    fn on_chunk_error(&mut self, error: &ChunkError) {
        match error {
            // A notice of the server's own does no harm among chunks.
            ChunkError::Foreign => self.foreign += 1,
            ChunkError::Unreadable { .. } => {
                let reason = error.source().map(|source| format!(": {source}"));
                self.on_fault(format!("{error}{}", reason.unwrap_or_default()));
            }
        }
    }

    fn on_server_error(&mut self, data: &[u8]) {
        let error = ServerError::from_body(data).unwrap_or_else(|| ServerError {
            message: String::from_utf8_lossy(data).into_owned(),
            code: None,
        });
        self.error.get_or_insert(error);
    }

    fn on_delta(&mut self, at_ns: i64, delta: ChatDelta) {
        self.read += 1;
        let count = delta.usage.and_then(|usage| usage.completion_tokens);
        let tokens = count.map(|count| count - self.counted);
        if delta.kind.bears_token() {
            self.has_token = true;
            self.token_chunks += 1;
            self.bundled_chunks += u32::from(self.last_token_ns == Some(at_ns));
            self.last_token_ns = Some(at_ns);
        }
        if delta.kind.has_choice() {
            self.chunks.push(ChunkMark {
                at_ns,
                kind: delta.kind,
                tokens: tokens.and_then(|tokens| u16::try_from(tokens).ok()),
            });
        }
        self.counted = count.unwrap_or(self.counted);
        if let Some(usage) = delta.usage {
            let known = self.usage.unwrap_or_default();
            self.usage = Some(Usage {
                prompt_tokens: usage.prompt_tokens.or(known.prompt_tokens),
                completion_tokens: usage.completion_tokens.or(known.completion_tokens),
                reasoning_tokens: usage.reasoning_tokens.or(known.reasoning_tokens),
                cached_tokens: usage.cached_tokens.or(known.cached_tokens),
            });
        }
        self.finish_reason = self.finish_reason.take().or(delta.finish_reason);
        self.error = self.error.take().or(delta.error);
    }

    /// The number of tokens that the reply's text shows without a count of the server's: one a
    /// chunk. `None` for a document, whose text came in one piece.
    pub(super) fn tokens_by_chunks(&self) -> Option<i64> {
        let chunks = i64::try_from(self.token_chunks).expect("a count in memory fits");
        (!self.is_document).then_some(chunks)
    }

    /// The moments of all chunks with a choice, in the order of arrival. `output_tokens` is the
    /// server's count.
    pub(super) fn into_chunks(mut self, output_tokens: Option<i64>) -> Vec<ChunkMark> {
        let bearing = || self.chunks.iter().filter(|chunk| chunk.kind.bears_token());
        let is_known = bearing().all(|chunk| chunk.tokens.is_some());
        let one_each = output_tokens.is_some_and(|tokens| {
            usize::try_from(tokens).is_ok_and(|tokens| tokens == self.token_chunks)
        });
        for chunk in &mut self.chunks {
            if !chunk.kind.bears_token() {
                chunk.tokens = Some(0);
            } else if !is_known {
                chunk.tokens = one_each.then_some(1);
            }
        }
        self.chunks.shrink_to_fit();
        self.chunks
    }
}
