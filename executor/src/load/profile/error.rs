//! What can be wrong with a profile.

use toml::Value;

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// No profile has this name.
    #[error("no profile is named `{name}`; the nearest is `{nearest}`. There are {known}")]
    UnknownProfile {
        /// What was asked for.
        name: String,
        /// The profile most like it.
        nearest: &'static str,
        /// All profiles.
        known: String,
    },
    /// A key means nothing to a profile.
    #[error("`{key}` is no key of a profile; the nearest is `{nearest}`")]
    UnknownKey {
        /// The key, with dots.
        key: String,
        /// The key most like it.
        nearest: &'static str,
    },
    /// A setting is no `path=value`.
    #[error("`{text}` is no setting; write path=value, such as rate=4 or concurrency=[1,2,4]")]
    NoPair {
        /// What was written.
        text: String,
    },
    /// A value cannot be used.
    #[error("`{key}` is `{value}`; it must be {allowed}")]
    BadValue {
        /// The key, with dots.
        key: &'static str,
        /// What was written.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// A key is needed and not there.
    #[error("`{key}` is missing; it must be {allowed}")]
    Missing {
        /// The key, with dots.
        key: &'static str,
        /// What would do.
        allowed: &'static str,
    },
    /// A key means nothing beside these arrivals.
    #[error("`{key}` has no effect where arrivals are {arrivals}; {instead}")]
    NoEffect {
        /// The key.
        key: &'static str,
        /// The arrivals.
        arrivals: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// Two keys say when a stage ends.
    #[error("`duration` and `requests` both say when a stage ends; give one of them")]
    TwoEnds,
    /// As many numbers of requests as levels are needed.
    #[error(
        "`requests` has {requests} values for {levels} levels of `concurrency`; give one, or one a \
         level"
    )]
    UnevenLists {
        /// Values of `requests`.
        requests: usize,
        /// Values of `concurrency`.
        levels: usize,
    },
    /// The last of growing rates is past all bounds.
    #[error(
        "`rate` {rate} grown {steps} times by `factor` {factor} goes past {} req/s; lower one of \
         the three",
        crate::load::arrivals::OfferedRate::MAX
    )]
    GrowsTooHigh {
        /// The first rate.
        rate: f64,
        /// How often it grows.
        steps: u32,
        /// By what.
        factor: f64,
    },
    /// The workload cannot be made.
    #[error(transparent)]
    Workload(#[from] crate::load::workload::WorkloadError),
    /// The text is no TOML, or a key that must be a table is none.
    #[error("a profile that cannot be read: {message}")]
    Shape {
        /// What the parser says.
        message: String,
    },
}

impl ProfileError {
    pub(super) fn bad_value(key: &'static str, value: &Value, allowed: &str) -> Self {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self::BadValue {
            key,
            value,
            allowed: allowed.to_string(),
        }
    }
}
