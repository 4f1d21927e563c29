//! What one run sets otherwise than the profile's file.

use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::keys::{SETTABLE, not_settable};
use super::values::duration_text;
use super::{ProfileError, read};

/// Settings of one run that take the place of the file's.
///
/// The named ones are the flags of a command line; [`Overrides::others`] are any, and win where
/// both set the same.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// The fixed rate, or the first stage's, in requests a second.
    pub rate: Option<f64>,
    /// One level of concurrency alone.
    pub concurrency: Option<u32>,
    /// The length of each steady stage.
    pub duration: Option<Duration>,
    /// Requests of each steady stage.
    pub requests: Option<u64>,
    /// The length of all prompts.
    pub prompt_tokens: Option<u32>,
    /// The length asked of all answers.
    pub output_tokens: Option<u32>,
    /// The seed of arrivals, lengths and prompts.
    pub seed: Option<u64>,
    /// Any settings by their paths; of two with the same the later wins.
    pub others: Vec<Setting>,
}

/// One setting by its path, written `path=value`.
///
/// The value is TOML (`4`, `[1, 2, 4]`, `true`, `"x"`), or text where it is none (`30s`, `1%`,
/// `closed`). Whether it will do is seen when the profile is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    key: &'static str,
    value: Value,
}

impl FromStr for Setting {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let Some((path, value)) = text.split_once('=') else {
            return Err(ProfileError::NoPair {
                text: text.to_string(),
            });
        };
        let (path, value) = (path.trim(), value.trim());
        let key = SETTABLE.into_iter().find(|key| *key == path);
        Ok(Self {
            key: key.ok_or_else(|| not_settable(path))?,
            value: value
                .parse()
                .unwrap_or_else(|_| Value::String(value.to_string())),
        })
    }
}

impl Overrides {
    /// Puts the settings into the table of a profile's file.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), ProfileError> {
        let settings = self.settings();
        let is_set = |key: &str| settings.iter().any(|(set, _)| *set == key);
        if is_set("duration") && is_set("requests") {
            return Err(ProfileError::TwoEnds);
        }
        if is_set("duration") {
            table.remove("requests");
        } else if is_set("requests") {
            table.remove("duration");
        } else if self.concurrency.is_some() {
            // One level alone takes the number of requests of the file's highest level.
            if let Some(Value::Array(requests)) = table.get_mut("requests") {
                requests.drain(..requests.len().saturating_sub(1));
            }
        }
        for (key, value) in &settings {
            insert(table, key, value.clone());
        }
        if is_set("arrivals") {
            // The file's keys for its own kind of arrivals make way; those that this run set stay
            // and are refused where they have no effect.
            for key in read::without_effect(table) {
                if !is_set(key) {
                    table.remove(*key);
                }
            }
        }
        Ok(())
    }

    /// All settings, the later ones winning.
    fn settings(&self) -> Vec<(&'static str, Value)> {
        let integer = |value: u64| {
            // What TOML cannot hold is far out of every range; the largest will be refused too.
            Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
        };
        let duration = |value: Duration| Value::String(duration_text(value));
        let named = [
            ("rate", self.rate.map(Value::Float)),
            ("concurrency", self.concurrency.map(|n| integer(n.into()))),
            ("duration", self.duration.map(duration)),
            ("requests", self.requests.map(integer)),
            (
                "workload.prompt_tokens",
                self.prompt_tokens.map(|n| integer(n.into())),
            ),
            (
                "workload.output_tokens",
                self.output_tokens.map(|n| integer(n.into())),
            ),
            ("seed", self.seed.map(integer)),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let others = self
            .others
            .iter()
            .map(|setting| (setting.key, setting.value.clone()));
        named.chain(others).collect()
    }
}

/// Puts a value under a key with at most one dot.
fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_string(), value);
        }
        Some((outer, inner)) => {
            let entry = table
                .entry(outer)
                .or_insert_with(|| Value::Table(Table::new()));
            // What should be a table and is none is left as it is, for the reader to refuse.
            if let Value::Table(inner_table) = entry {
                inner_table.insert(inner.to_string(), value);
            }
        }
    }
}
