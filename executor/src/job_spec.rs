//! What is to be done: a job file, checked.
//!
//! [`JobSpec::parse`] takes YAML or JSON as people write it and gives every fault at once, each with its
//! path in the document. What comes out is resolved: profiles have all their settings, seeds included,
//! so that a task begun again asks the same. Must not know the store, clocks or the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Priority;
use crate::load::profile::Profile;
use crate::performance::PerformanceSuite;

mod document;
pub(crate) mod reader;
mod stored;

pub use document::{DocumentError, Format, parse as parse_document};
pub use stored::StoredSpecError;

/// How often a task is begun at most, where nobody says.
const USUAL_ATTEMPTS: i64 = 3;

/// A job that is in order.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// What is evaluated.
    pub subject: Subject,
    /// By what, in this order; at least one.
    pub suites: Vec<PerformanceSuite>,
    /// What is being tried; `None` where nobody said.
    pub change: Option<Change>,
    /// Whether others may use the endpoint at the same time.
    pub shared: bool,
    /// Its class.
    pub priority: Priority,
    /// Labels of its runs.
    pub labels: BTreeMap<String, String>,
    /// Who is told of its end.
    pub notify: Notify,
    /// How long it may take from its submission on.
    pub deadline: Option<Duration>,
    /// How often each task is begun at most.
    pub max_attempts: i64,
}

/// A model that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The model, as requests name it.
    pub model: String,
    /// Its revision.
    pub revision: Option<String>,
    /// The base URL, its query included.
    pub endpoint: String,
    /// Name of the variable that holds the API key where the worker runs.
    pub api_key_env: Option<String>,
}

/// What is being tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it is to be found, such as a pull request.
    pub reference: Option<String>,
    /// Of which kind it is, such as `engine-flag`.
    pub kind: Option<String>,
    /// What it is, in words.
    pub summary: Option<String>,
}

/// Who is told of a job's end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// A Slack channel.
    pub slack: Option<String>,
}

/// One thing that is wrong with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, such as `suites[0].slo.ttft_p99`; empty for the document itself.
    pub path: String,
    /// What, and what would do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A document that describes no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job cannot be used: {}", in_one_line(.faults))]
pub struct InvalidJob {
    /// All that is wrong, in the order of the document; at least one.
    pub faults: Vec<Fault>,
}

/// All faults, one after another.
pub(crate) fn in_one_line(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

impl JobSpec {
    /// Checks a document. `fresh_seed` is used where none is set.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(document: &Value, fresh_seed: u64) -> Result<Self, InvalidJob> {
        let (spec, faults) = reader::read(document, fresh_seed);
        match spec {
            Some(mut spec) if faults.is_empty() => {
                spec.set_seeds_apart();
                Ok(spec)
            }
            _ => Err(InvalidJob { faults }),
        }
    }

    /// The same from a text.
    ///
    /// # Errors
    /// The text is no document, or all that is wrong with it.
    pub fn parse(text: &str, format: Format, fresh_seed: u64) -> Result<Self, InvalidJob> {
        let document = document::parse(text, format).map_err(InvalidJob::from)?;
        Self::read(&document, fresh_seed)
    }

    fn set_seeds_apart(&mut self) {
        let profiles = self
            .suites
            .iter()
            .map(|suite| suite.profile.clone())
            .collect();
        let profiles = Profile::with_seeds_apart(profiles);
        for (suite, profile) in self.suites.iter_mut().zip(profiles) {
            suite.profile = profile;
        }
    }

    /// As [`JobSpec::to_json`], for everyone's eyes: without the query of the endpoint's URL, which may
    /// hold a key.
    pub fn to_public_json(&self) -> Value {
        let mut document = self.to_json();
        let endpoint = self.subject.endpoint.split_once('?');
        if let Some((shown, _)) = endpoint {
            document["subject"]["endpoint"] = json!(shown);
        }
        document
    }
}

impl From<DocumentError> for InvalidJob {
    fn from(error: DocumentError) -> Self {
        let fault = Fault {
            path: String::new(),
            message: error.to_string(),
        };
        Self {
            faults: vec![fault],
        }
    }
}

#[cfg(test)]
mod tests;
