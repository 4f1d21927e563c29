//! How the requests of a run are made, beside their prompts.

use std::time::Duration;

use crate::load::chat::{LengthField, Transfer};

/// How requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestSettings {
    /// After so long from sending a request is given up; a stage drains as long at most.
    pub timeout: Duration,
    /// Whether replies come token by token or whole.
    pub transfer: Transfer,
    /// The field that bounds the length of the reply.
    pub length_field: LengthField,
    /// Whether models are held from ending their replies early.
    pub ignore_eos: IgnoreEos,
    /// Sampling temperature; left to the server where `None`.
    pub temperature: Option<f64>,
}

/// Whether `ignore_eos` is sent, which holds a model to the length asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreEos {
    /// Where the engine is known to take it.
    WhereKnown,
    /// Always.
    Always,
    /// Never.
    Never,
}
