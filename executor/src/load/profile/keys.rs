//! The keys of a profile, and what to say of others.

use toml::{Table, Value};

use super::ProfileError;
use crate::spelling::nearest;

/// Keys that say what a profile is and that no run can set otherwise.
const FIXED: [&str; 3] = ["name", "answers", "judgement"];

/// Keys that a run can set, with dots.
pub(super) const SETTABLE: [&str; 18] = [
    "arrivals",
    "rate",
    "steps",
    "factor",
    "concurrency",
    "duration",
    "requests",
    "warm_up",
    "warm_up_share",
    "seed",
    "workload.mix",
    "workload.prompt_tokens",
    "workload.output_tokens",
    "request.timeout",
    "request.stream",
    "request.length_field",
    "request.ignore_eos",
    "request.temperature",
];

/// The error of a key that a run cannot set.
pub(super) fn not_settable(key: &str) -> ProfileError {
    unknown(key, SETTABLE)
}

/// The first key of a profile's table that means nothing.
pub(super) fn find_unknown(table: &Table) -> Option<ProfileError> {
    let known = || FIXED.into_iter().chain(SETTABLE);
    paths(table)
        .into_iter()
        .find(|path| !known().any(|key| key == path))
        .map(|path| unknown(&path, known()))
}

fn unknown(key: &str, keys: impl IntoIterator<Item = &'static str>) -> ProfileError {
    ProfileError::UnknownKey {
        key: key.to_string(),
        nearest: nearest(key, keys).expect("a profile has keys"),
    }
}

/// The keys of a table and of the tables in it, with dots.
fn paths(table: &Table) -> Vec<String> {
    let mut paths = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                paths.extend(
                    self::paths(inner)
                        .iter()
                        .map(|path| format!("{key}.{path}")),
                );
            }
            _ => paths.push(key.clone()),
        }
    }
    paths
}
