//! What one chunk of a reply, or a whole reply, says.

use super::server_error::ServerError;

/// What a chunk brought. Where it brought several things, the first of content, reasoning and
/// tool call that is not empty names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeltaKind {
    /// No choice at all: the usage chunk, or a notice of the server's own.
    NoChoice,
    /// A choice whose delta names the role and brings nothing else: no token.
    RoleOnly,
    /// A choice that brings nothing, as the one that carries only the finish reason: no token.
    Empty,
    /// Text of the answer, or of a refusal.
    Content,
    /// Text of the reasoning before the answer.
    Reasoning,
    /// A part of a tool call: its name or its arguments.
    ToolCall,
}

impl DeltaKind {
    /// Whether the model made at least one token for it.
    pub fn bears_token(self) -> bool {
        matches!(self, Self::Content | Self::Reasoning | Self::ToolCall)
    }

    /// Whether it has a choice, be it empty.
    pub fn has_choice(self) -> bool {
        self != Self::NoChoice
    }
}

/// The server's own count of tokens. A field is `None` where the server left it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the reply, reasoning included.
    pub completion_tokens: Option<i64>,
    /// Tokens of the reply that are reasoning.
    pub reasoning_tokens: Option<i64>,
    /// Tokens of the prompt that came from a cache.
    pub cached_tokens: Option<i64>,
}

/// What one chunk of a reply, or a whole reply, says. Text is kept only as its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatDelta {
    /// What it brought.
    pub kind: DeltaKind,
    /// Bytes of answer (and refusal) text, as UTF-8.
    pub content_bytes: usize,
    /// Bytes of reasoning text, as UTF-8.
    pub reasoning_bytes: usize,
    /// Bytes of tool names and arguments, as UTF-8.
    pub tool_bytes: usize,
    /// Why the reply ended; `None` while it goes on.
    pub finish_reason: Option<String>,
    /// The count of tokens so far, mostly only at the end.
    pub usage: Option<Usage>,
    /// The error in the stream's middle.
    pub error: Option<ServerError>,
}
