//! From a document to a job, with all that is wrong with it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Change, Fault, JobSpec, Notify, Subject, USUAL_ATTEMPTS};
use crate::control::Priority;
use crate::load::endpoint::{Endpoint, EndpointError};
use crate::spelling::nearest;

mod suites;

const JOB_KEYS: [&str; 9] = [
    "subject",
    "suites",
    "change",
    "shared",
    "priority",
    "labels",
    "notify",
    "deadline",
    "max_attempts",
];
const SUBJECT_KEYS: [&str; 6] = [
    "model",
    "revision",
    "endpoint",
    "endpoints",
    "serve",
    "api_key_env",
];
const CHANGE_KEYS: [&str; 3] = ["ref", "kind", "summary"];
const MOST_ATTEMPTS: i64 = 20;

/// What the document describes, as far as it can be told, and its faults. There is no job only where
/// there are faults.
pub(super) fn read(document: &Value, fresh_seed: u64) -> (Option<JobSpec>, Vec<Fault>) {
    let mut reader = Reader::default();
    let spec = reader.job(document, fresh_seed);
    (spec, reader.faults)
}

/// Reads documents, and keeps all that is wrong with them.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) faults: Vec<Fault>,
}

impl Reader {
    pub(crate) fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault {
            path: path.into(),
            message: message.into(),
        });
    }

    fn job(&mut self, document: &Value, fresh_seed: u64) -> Option<JobSpec> {
        let job = self.object("", document, &JOB_KEYS)?;
        let subject = match job.get("subject") {
            Some(subject) => self.subject(subject),
            None => {
                self.fault(
                    "subject",
                    "it is missing: what is to be evaluated, with model and endpoint",
                );
                None
            }
        };
        let suites = match job.get("suites") {
            Some(suites) => self.suites(suites, fresh_seed),
            None => {
                self.fault(
                    "suites",
                    "it is missing: a list such as [{performance: smoke}]",
                );
                None
            }
        };
        let change = job.get("change").map(|change| self.change(change));
        let shared = job
            .get("shared")
            .map(|shared| self.boolean("shared", shared));
        let priority = job.get("priority").map(|priority| self.priority(priority));
        let labels = job.get("labels").map(|labels| self.labels(labels));
        let notify = job.get("notify").map(|notify| self.notify(notify));
        let deadline = job
            .get("deadline")
            .map(|deadline| self.time("deadline", deadline));
        let attempts = job
            .get("max_attempts")
            .map(|attempts| self.attempts(attempts));
        Some(JobSpec {
            subject: subject?,
            suites: suites?,
            change: change.unwrap_or(Some(None))?,
            shared: shared.unwrap_or(Some(false))?,
            priority: priority.unwrap_or(Some(Priority::Normal))?,
            labels: labels.unwrap_or(Some(BTreeMap::new()))?,
            notify: notify.unwrap_or(Some(Notify::default()))?,
            deadline: deadline.map_or(Some(None), |deadline| deadline.map(Some))?,
            max_attempts: attempts.unwrap_or(Some(USUAL_ATTEMPTS))?,
        })
    }

    fn subject(&mut self, value: &Value) -> Option<Subject> {
        let subject = self.object("subject", value, &SUBJECT_KEYS)?;
        let model = match subject.get("model") {
            Some(model) => self.text("subject.model", model),
            None => {
                self.fault(
                    "subject.model",
                    "it is missing: the model's name, as requests give it",
                );
                None
            }
        };
        let revision = subject
            .get("revision")
            .map(|value| self.text("subject.revision", value));
        let variable = subject
            .get("api_key_env")
            .map(|value| self.variable("subject.api_key_env", value));
        for key in ["endpoints", "serve"] {
            if subject.contains_key(key) {
                self.fault(
                    format!("subject.{key}"),
                    "this release evaluates one endpoint that serves already: give `endpoint`",
                );
            }
        }
        let endpoint = match subject.get("endpoint") {
            Some(endpoint) => self.endpoint(endpoint),
            None if subject.contains_key("endpoints") || subject.contains_key("serve") => None,
            None => {
                self.fault(
                    "subject.endpoint",
                    "it is missing: the base URL, such as http://gpu7:8000/v1",
                );
                None
            }
        };
        Some(Subject {
            model: model?,
            revision: revision.map_or(Some(None), |revision| revision.map(Some))?,
            endpoint: endpoint?,
            api_key_env: variable.map_or(Some(None), |variable| variable.map(Some))?,
        })
    }

    fn endpoint(&mut self, value: &Value) -> Option<String> {
        let path = "subject.endpoint";
        let text = self.text(path, value)?;
        match Endpoint::new(&text, None) {
            // Certificates are this host's affair; the worker's may have them.
            Ok(_) | Err(EndpointError::Certificates { .. }) => Some(text),
            Err(EndpointError::Credentials) => {
                self.fault(
                    path,
                    "it holds a user or a password: name the key's variable in subject.api_key_env",
                );
                None
            }
            Err(error) => {
                self.fault(path, error.to_string());
                None
            }
        }
    }

    fn change(&mut self, value: &Value) -> Option<Option<Change>> {
        let change = self.object("change", value, &CHANGE_KEYS)?;
        let mut text = |key: &str| match change.get(key) {
            Some(value) => self.text(&format!("change.{key}"), value).map(Some),
            None => Some(None),
        };
        let (reference, kind, summary) = (text("ref"), text("kind"), text("summary"));
        Some(Some(Change {
            reference: reference?,
            kind: kind?,
            summary: summary?,
        }))
    }

    fn boolean(&mut self, path: &str, value: &Value) -> Option<bool> {
        let Value::Bool(truth) = value else {
            self.fault(
                path,
                format!("it is {}; it must be true or false", kind(value)),
            );
            return None;
        };
        Some(*truth)
    }

    fn priority(&mut self, value: &Value) -> Option<Priority> {
        let priority = value.as_str().and_then(|word| word.parse().ok());
        if priority.is_none() {
            self.fault(
                "priority",
                format!("it is {}; it must be high, normal or low", shown(value)),
            );
        }
        priority
    }

    fn labels(&mut self, value: &Value) -> Option<BTreeMap<String, String>> {
        let Value::Object(labels) = value else {
            self.fault(
                "labels",
                format!("it is {}; write it as {{team: inference}}", kind(value)),
            );
            return None;
        };
        let before = self.faults.len();
        let mut read = BTreeMap::new();
        for (name, value) in labels {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                other => {
                    self.fault(
                        format!("labels.{name}"),
                        format!("it is {}; it must be text", kind(other)),
                    );
                    continue;
                }
            };
            if name.trim().is_empty() {
                self.fault("labels", "a label has no name");
            }
            read.insert(name.trim().to_string(), text);
        }
        (self.faults.len() == before).then_some(read)
    }

    fn notify(&mut self, value: &Value) -> Option<Notify> {
        let notify = self.object("notify", value, &["slack"])?;
        let slack = match notify.get("slack") {
            Some(channel) => Some(self.text("notify.slack", channel)?),
            None => None,
        };
        Some(Notify { slack })
    }

    /// A length of time above 0.
    pub(crate) fn time(&mut self, path: &str, value: &Value) -> Option<Duration> {
        let text = value.as_str();
        let time = text.and_then(|text| humantime::parse_duration(text).ok());
        let time = time.filter(|time| !time.is_zero());
        if time.is_none() {
            let what = shown(value);
            self.fault(
                path,
                format!("it is {what}; it must be a time above 0, such as 2h"),
            );
        }
        time
    }

    fn attempts(&mut self, value: &Value) -> Option<i64> {
        let attempts = value
            .as_i64()
            .filter(|attempts| (1..=MOST_ATTEMPTS).contains(attempts));
        if attempts.is_none() {
            let what = shown(value);
            self.fault(
                "max_attempts",
                format!("it is {what}; it must be a whole number from 1 to {MOST_ATTEMPTS}"),
            );
        }
        attempts
    }

    /// The fields of an object; says which of them mean nothing.
    pub(crate) fn object<'v>(
        &mut self,
        path: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Value::Object(fields) = value else {
            self.fault(path, format!("it is {}; it must be an object", kind(value)));
            return None;
        };
        let known_set: HashSet<&str> = known.iter().copied().collect();
        for key in fields
            .keys()
            .filter(|key| !known_set.contains(key.as_str()))
        {
            let at = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            let message = match nearest(key, known.iter().copied()) {
                Some(nearest) => format!("it means nothing; the nearest is `{nearest}`"),
                None => "it means nothing".to_string(),
            };
            self.fault(at, message);
        }
        Some(fields)
    }

    pub(crate) fn text(&mut self, path: &str, value: &Value) -> Option<String> {
        let text = match value {
            Value::String(text) => text.trim().to_string(),
            // A revision such as 3219 is a number to YAML.
            Value::Number(number) => number.to_string(),
            other => {
                self.fault(path, format!("it is {}; it must be text", kind(other)));
                return None;
            }
        };
        if text.is_empty() {
            self.fault(path, "it is empty");
            return None;
        }
        Some(text)
    }

    fn variable(&mut self, path: &str, value: &Value) -> Option<String> {
        let name = self.text(path, value)?;
        let mut letters = name.chars();
        let first = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let sound = first && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !sound {
            // It may be the key itself.
            self.fault(
                path,
                "it is no name of a variable; the key itself is never written down",
            );
            return None;
        }
        Some(name)
    }
}

/// A value as it was written, where it is short.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => kind(value).to_string(),
        Value::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
