//! The OpenAI chat completions format: the body of a request and what comes back.
//!
//! Start at [`ChatRequest::body`] for what is sent and at [`decode_chunk`] for what comes back.
//! This module knows nothing of HTTP, of event streams or of time.

mod decode;
mod delta;
mod request;
mod server_error;
mod wire;

pub use decode::{ChunkError, decode_chunk};
pub use delta::{ChatDelta, DeltaKind, Usage};
pub use request::{
    ChatOptions, ChatRequest, EndOfSequence, LengthField, Message, Role, Transfer, UsageReport,
};
pub use server_error::ServerError;
