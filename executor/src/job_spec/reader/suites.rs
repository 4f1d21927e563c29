//! The suites of a job: profiles with their settings, SLOs and abort rules.

use serde_json::{Map, Value};

use super::{Reader, kind};
use crate::load::abort::AbortRules;
use crate::load::profile::{Overrides, Profile, ProfileError};
use crate::performance::PerformanceSuite;
use crate::slo::Slo;

const SUITE_KEYS: [&str; 6] = [
    "performance",
    "functional",
    "benchmark",
    "set",
    "slo",
    "abort_if",
];
/// Suites of one job.
const MOST_SUITES: usize = 100;

impl Reader {
    pub(super) fn suites(
        &mut self,
        value: &Value,
        fresh_seed: u64,
    ) -> Option<Vec<PerformanceSuite>> {
        let Value::Array(suites) = value else {
            self.fault(
                "suites",
                format!("it is {}; it must be a list", kind(value)),
            );
            return None;
        };
        if suites.is_empty() || suites.len() > MOST_SUITES {
            let count = suites.len();
            self.fault(
                "suites",
                format!("it has {count} entries; it must have 1 to {MOST_SUITES}"),
            );
            return None;
        }
        let read: Vec<_> = suites
            .iter()
            .enumerate()
            .map(|(index, suite)| self.suite(&format!("suites[{index}]"), suite, fresh_seed))
            .collect();
        read.into_iter().collect()
    }

    fn suite(&mut self, path: &str, value: &Value, fresh_seed: u64) -> Option<PerformanceSuite> {
        let suite = self.object(path, value, &SUITE_KEYS)?;
        for pillar in ["functional", "benchmark"] {
            if suite.contains_key(pillar) {
                let known: Vec<&str> = Profile::names().collect();
                self.fault(
                    format!("{path}.{pillar}"),
                    format!(
                        "this release has performance suites alone: {}",
                        known.join(", ")
                    ),
                );
                return None;
            }
        }
        let Some(name) = suite.get("performance") else {
            self.fault(
                path,
                "it names no suite: give `performance: smoke` or another profile",
            );
            return None;
        };
        let name = self.text(&format!("{path}.performance"), name);
        let overrides = match suite.get("set") {
            Some(set) => self.overrides(&format!("{path}.set"), set),
            None => Some(Overrides::default()),
        };
        let slo = match suite.get("slo") {
            Some(slo) => self.rules::<Slo>(&format!("{path}.slo"), slo),
            None => Some(Slo::default()),
        };
        let abort = match suite.get("abort_if") {
            Some(abort) => self.rules::<AbortRules>(&format!("{path}.abort_if"), abort),
            None => Some(AbortRules::default()),
        };
        let (name, overrides) = (name?, overrides?);
        let profile = match Profile::load(&name, &overrides, fresh_seed) {
            Ok(profile) => Some(profile),
            Err(error) => {
                let at = match Profile::load(&name, &Overrides::default(), fresh_seed) {
                    Ok(_) => format!("{path}.set"),
                    Err(_) => format!("{path}.performance"),
                };
                self.fault(at, error.to_string());
                None
            }
        };
        Some(PerformanceSuite {
            profile: profile?,
            slo: slo?,
            abort: abort?,
        })
    }

    /// Settings of a profile: keys with dots, or objects in objects.
    fn overrides(&mut self, path: &str, value: &Value) -> Option<Overrides> {
        let Value::Object(settings) = value else {
            self.fault(
                path,
                format!("it is {}; it must be an object of settings", kind(value)),
            );
            return None;
        };
        let before = self.faults.len();
        let mut others = Vec::new();
        for (key, value) in flat(settings) {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null | Value::Object(_) => {
                    self.fault(
                        format!("{path}.{key}"),
                        format!("it is {}; give a value", kind(value)),
                    );
                    continue;
                }
                value => value.to_string(),
            };
            match format!("{key}={text}").parse() {
                Ok(setting) => others.push(setting),
                Err(error) => {
                    let error: ProfileError = error;
                    self.fault(format!("{path}.{key}"), error.to_string());
                }
            }
        }
        (self.faults.len() == before).then(|| Overrides {
            others,
            ..Overrides::default()
        })
    }

    /// Rules as an object of names and values, or as one text with commas.
    fn rules<T>(&mut self, path: &str, value: &Value) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let pairs = match value {
            Value::String(text) => {
                return match text.parse() {
                    Ok(rules) => Some(rules),
                    Err(error) => {
                        self.fault(path, error.to_string());
                        None
                    }
                };
            }
            Value::Object(pairs) => pairs,
            other => {
                let what = kind(other);
                self.fault(
                    path,
                    format!("it is {what}; write it as {{ttft_p99: 500ms}} or as text"),
                );
                return None;
            }
        };
        let before = self.faults.len();
        let mut texts = Vec::new();
        for (name, value) in pairs {
            let at = format!("{path}.{name}");
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => {
                    self.fault(at, format!("it is {}; give a value", kind(other)));
                    continue;
                }
            };
            let text = format!("{name}={value}");
            if let Err(error) = text.parse::<T>() {
                self.fault(at, error.to_string());
            }
            texts.push(text);
        }
        if self.faults.len() > before {
            return None;
        }
        if texts.is_empty() {
            self.fault(path, "it is empty: leave it out for the usual rules");
            return None;
        }
        match texts.join(",").parse() {
            Ok(rules) => Some(rules),
            Err(error) => {
                self.fault(path, error.to_string());
                None
            }
        }
    }
}

/// Settings with their full keys.
fn flat(settings: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut all = Vec::new();
    for (key, value) in settings {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                let inner = flat(inner).into_iter();
                all.extend(inner.map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => all.push((key.clone(), value)),
        }
    }
    all
}
