//! The load that the clients of one comparison send alike.

use std::time::Duration;

/// A closed loop: so many requests in flight, a new one for each that ends.
pub(crate) struct Load {
    /// How many requests are in flight at once.
    pub(crate) streams: usize,
    /// The first requests are spread over this time, which is not measured.
    pub(crate) ramp: Duration,
    /// How long to measure after the ramp.
    pub(crate) duration: Duration,
    /// Tokens asked of each reply.
    pub(crate) output_tokens: u32,
}

/// Which moment of a first token a client calls its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamps {
    /// When the kernel had the bytes.
    Kernel,
    /// When the client had them.
    User,
}

impl Stamps {
    /// As in the column `timestamp_source`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

/// What one client measured of one load.
pub(crate) struct Measured {
    /// Every measured request that got a token.
    pub(crate) first_tokens: Vec<FirstToken>,
    /// Requests that ended within the measured time, each second.
    pub(crate) requests_per_second: f64,
    /// Processor time of the client within the measured time, each second; `None` where it could
    /// not be seen.
    pub(crate) cpu_share: Option<f64>,
    /// The most memory that the client held at once, in MB; `None` where it is not a process of
    /// its own.
    pub(crate) peak_mb: Option<f64>,
}

/// When a request's first token arrived.
pub(crate) struct FirstToken {
    /// What the request carried in `x-request-id`.
    pub(crate) request_id: String,
    /// Nanoseconds of the monotonic clock.
    pub(crate) at_ns: i64,
}
