//! Values of settings, with what to say where they will not do.

use std::time::Duration;

use toml::Value;

use super::ProfileError;
use crate::slo::reading;

const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// One of some words, by `read`.
pub(super) fn one_of<T>(
    key: &'static str,
    value: Option<&Value>,
    allowed: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ProfileError> {
    let Some(value) = value else { return Ok(None) };
    match value.as_str().and_then(read) {
        Some(word) => Ok(Some(word)),
        None => Err(ProfileError::bad_value(key, value, allowed)),
    }
}

/// A number, whole or not, that `check` lets pass.
pub(super) fn number<T>(
    key: &'static str,
    value: Option<&Value>,
    allowed: &str,
    check: impl Fn(f64) -> Option<T>,
) -> Result<Option<T>, ProfileError> {
    let Some(value) = value else { return Ok(None) };
    let number = match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    };
    match number.and_then(check) {
        Some(number) => Ok(Some(number)),
        None => Err(ProfileError::bad_value(key, value, allowed)),
    }
}

/// A whole number from `least` to `most`.
pub(super) fn whole(
    key: &'static str,
    value: Option<&Value>,
    least: u64,
    most: u64,
) -> Result<Option<u64>, ProfileError> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_integer().and_then(|n| u64::try_from(n).ok());
    match number.filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let allowed = format!("a whole number from {least} to {most}");
            Err(ProfileError::bad_value(key, value, &allowed))
        }
    }
}

/// A whole number, or a list of at least one.
pub(super) fn whole_list(value: &Value, least: u64, most: u64) -> Option<Vec<u64>> {
    let one = |value: &Value| {
        let number = u64::try_from(value.as_integer()?).ok()?;
        (least..=most).contains(&number).then_some(number)
    };
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(one).collect(),
        Value::Array(_) => None,
        single => one(single).map(|single| vec![single]),
    }
}

/// A duration of 30 days at most.
pub(super) fn length_of_time(value: &Value) -> Option<Duration> {
    let duration = humantime::parse_duration(value.as_str()?).ok()?;
    (duration <= LONGEST).then_some(duration)
}

/// A duration as settings write it, so that it reads back as the same.
pub(super) fn duration_text(duration: Duration) -> String {
    if duration.is_zero() {
        "0s".to_string()
    } else {
        reading::limit(duration, "")
    }
}
