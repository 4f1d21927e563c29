//! A job as the store keeps it: resolved, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Change, JobSpec, Notify, Subject};
use crate::control::Priority;
use crate::load::abort::AbortRules;
use crate::load::profile::Profile;
use crate::performance::PerformanceSuite;
use crate::slo::Slo;

/// A stored job that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job's stored form cannot be read by this release: {reason}")]
pub struct StoredSpecError {
    reason: String,
}

impl StoredSpecError {
    fn because(error: impl std::fmt::Display) -> Self {
        Self {
            reason: error.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct Stored {
    subject: StoredSubject,
    suites: Vec<StoredSuite>,
    change: Option<StoredChange>,
    shared: bool,
    priority: Priority,
    labels: BTreeMap<String, String>,
    notify: StoredNotify,
    deadline: Option<String>,
    max_attempts: i64,
}

#[derive(Deserialize)]
struct StoredSubject {
    model: String,
    revision: Option<String>,
    endpoint: String,
    api_key_env: Option<String>,
}

#[derive(Deserialize)]
struct StoredSuite {
    settings: Value,
    slo: String,
    abort_if: Option<String>,
}

#[derive(Deserialize)]
struct StoredChange {
    #[serde(rename = "ref")]
    reference: Option<String>,
    kind: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct StoredNotify {
    slack: Option<String>,
}

impl JobSpec {
    /// The job with everything resolved: what [`JobSpec::from_json`] reads.
    pub fn to_json(&self) -> Value {
        let suites = self.suites.iter().map(|suite| {
            json!({
                "performance": suite.profile.name(),
                "settings": suite.profile.effective_settings(),
                "slo": suite.slo.to_string(),
                "abort_if": (!suite.abort.is_empty()).then(|| suite.abort.to_string()),
            })
        });
        let suites: Vec<Value> = suites.collect();
        json!({
            "subject": {
                "model": self.subject.model,
                "revision": self.subject.revision,
                "endpoint": self.subject.endpoint,
                "api_key_env": self.subject.api_key_env,
            },
            "suites": suites,
            "change": self.change.as_ref().map(Change::to_json),
            "shared": self.shared,
            "priority": self.priority,
            "labels": self.labels,
            "notify": {"slack": self.notify.slack},
            "deadline": self.deadline.map(|deadline| humantime::format_duration(deadline).to_string()),
            "max_attempts": self.max_attempts,
        })
    }

    /// Reads what [`JobSpec::to_json`] gave.
    ///
    /// # Errors
    /// This release cannot read it: another wrote it.
    pub fn from_json(text: &str) -> Result<Self, StoredSpecError> {
        let stored: Stored = serde_json::from_str(text).map_err(StoredSpecError::because)?;
        let suites = stored.suites.into_iter().map(|suite| {
            let profile =
                Profile::from_settings(&suite.settings).map_err(StoredSpecError::because)?;
            let slo: Slo = suite.slo.parse().map_err(StoredSpecError::because)?;
            let abort: Option<AbortRules> = suite
                .abort_if
                .map(|rules| rules.parse())
                .transpose()
                .map_err(StoredSpecError::because)?;
            Ok(PerformanceSuite {
                profile,
                slo,
                abort: abort.unwrap_or_default(),
            })
        });
        let deadline = stored
            .deadline
            .map(|text| humantime::parse_duration(&text))
            .transpose();
        let deadline: Option<Duration> = deadline.map_err(StoredSpecError::because)?;
        Ok(Self {
            subject: Subject {
                model: stored.subject.model,
                revision: stored.subject.revision,
                endpoint: stored.subject.endpoint,
                api_key_env: stored.subject.api_key_env,
            },
            suites: suites.collect::<Result<_, _>>()?,
            change: stored.change.map(|change| Change {
                reference: change.reference,
                kind: change.kind,
                summary: change.summary,
            }),
            shared: stored.shared,
            priority: stored.priority,
            labels: stored.labels,
            notify: Notify {
                slack: stored.notify.slack,
            },
            deadline,
            max_attempts: stored.max_attempts,
        })
    }
}

impl Change {
    /// As the tables hold it.
    pub fn to_json(&self) -> Value {
        json!({"ref": self.reference, "kind": self.kind, "summary": self.summary})
    }
}
