//! A simulated model server whose truth is known.
//!
//! It speaks the OpenAI API (`POST /v1/chat/completions`, streamed or not,
//! `GET /v1/models`) and has `/health`, `/version` and a `/metrics` page with
//! vLLM's names. Behind it is no model but a queueing system with known
//! numbers, which makes it the instrument that the load generator is held
//! against:
//!
//! - **Slots and a queue.** So many requests are served at once, so many may
//!   wait, in the order of arrival; one more is answered 429 or 503.
//! - **Known service times.** The first token is due `ttft` and `prompt_token`
//!   times the prompt's length after the request got its slot, every other one
//!   `itl` after the one before. A token of the prompt is a word of its
//!   messages, between blanks; a token of the output is a word too, and
//!   `max_completion_tokens` or `max_tokens` is exactly their number. So its
//!   capacity is known on paper: [`SimulatorConfig::capacity_rps`].
//! - **Absolute deadlines.** Each token has its moment from the start; a late
//!   machine delays single tokens and never shifts the rest, nor the next
//!   request in the queue.
//! - **A truth log.** What left when, each moment taken right before the system
//!   call that carried it: [`RequestTruth`].
//! - **Faults**, on demand and by ordinal: [`Fault`]. Whatever a client must
//!   survive can be had.
//!
//! Jitter and everything else that is random comes from the seed and the
//! request's ordinal alone. Requests are numbered from 0 in the order in which
//! they were read to their end, those only that ask for a chat completion and
//! got past the key.
//!
//! The module knows nothing of the load generator. Start at
//! [`Simulator::bind`].

mod answer;
mod body;
mod call;
mod config;
mod event;
mod fate;
mod fault;
mod frame;
mod meters;
mod pace;
mod plan;
mod script;
mod server;
mod service;
mod slots;
mod stamp;
mod truth;
mod wording;

#[cfg(test)]
mod loopback;

pub use config::{AccessKey, ConfigError, ItlGrowth, Jitter, Overflow, SimulatorConfig};
pub use fault::{
    Abort, BundledChunks, FAULT_TABLE, Fault, FaultError, Malformed, NotReady, ReasoningField,
    ReplyFault, UsagePlace,
};
pub use server::{Simulator, SimulatorEnd, SimulatorError, SimulatorTotals};
pub use truth::{Ending, EventKind, RequestTruth};
