//! Takes a job in: checks it, splits it into tasks, and answers once they are durable.

use plimsoll_ingest::Trigger;
use serde_json::Value;
use url::Url;

use crate::comparable::{canonical_json, digest};
use crate::control::{Accepted, Caller, NewJob, NewTask, Store, StoreError};
use crate::job_spec::{InvalidJob, JobSpec};
use crate::performance::fresh_seed;

/// A job as it was handed in.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The job file, as a document.
    pub document: Value,
    /// Who hands it in.
    pub caller: Caller,
    /// What hands it in.
    pub trigger: Trigger,
    /// By which the same call, made again, is known.
    pub idempotency_key: Option<String>,
    /// The trace that the call belongs to, as in W3C's `traceparent`.
    pub traceparent: Option<String>,
}

/// Why a job was not taken in. It has left no trace but the event.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It is not in order.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes a job in. Once this has answered, no crash loses it.
///
/// # Errors
/// All that is wrong with the job, or why the store does not take it.
pub async fn submit(store: &Store, submission: Submission) -> Result<Accepted, SubmitError> {
    let Submission {
        document,
        caller,
        trigger,
        idempotency_key,
        traceparent,
    } = submission;
    let spec = match JobSpec::read(&document, fresh_seed()) {
        Ok(spec) => spec,
        Err(invalid) => {
            store
                .record_refusal(&caller, "job_refused", &invalid.to_string())
                .await?;
            return Err(invalid.into());
        }
    };
    let job = NewJob {
        traceparent,
        idempotency_key,
        ..new_job(&document, &spec, trigger)
    };
    Ok(store.accept(&job, &caller).await?)
}

/// A job and its tasks, as the store takes them in.
pub(crate) fn new_job(document: &Value, spec: &JobSpec, trigger: Trigger) -> NewJob {
    let lane = lane(spec);
    let tasks = spec.suites.iter().map(|suite| NewTask {
        pillar: "performance".to_string(),
        suite: suite.profile.name().to_string(),
        lane: lane.clone(),
        exclusive: !spec.shared,
        loads: true,
        max_attempts: spec.max_attempts,
    });
    NewJob {
        spec: spec.to_json().to_string(),
        digest: digest(canonical_json(document).as_bytes()),
        tasks: tasks.collect(),
        priority: spec.priority,
        deadline: spec.deadline,
        trigger,
        traceparent: None,
        idempotency_key: None,
        tick: None,
        not_before: None,
    }
}

/// What tasks of a job may have to themselves: the endpoint's scheme, host and port.
fn lane(spec: &JobSpec) -> String {
    // Without TLS, whose certificates differ from host to host.
    match Url::parse(&spec.subject.endpoint) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => spec.subject.endpoint.clone(),
    }
}
