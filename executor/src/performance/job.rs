//! One job: the subject first, then its profiles, one run each.

use plimsoll_ingest::{JobId, Timestamp, Verdict};
use serde_json::{Value, json};

use super::measure::{Found, Measurement, OwnJob, Standing};
use super::{JobError, JobOutcome, JobRequest, Place, RunOutcome};

/// A job and where it works.
pub(super) struct Job {
    pub(super) request: JobRequest,
    pub(super) place: Place,
    pub(super) queued_at: Timestamp,
}

impl Job {
    pub(super) async fn run(self) -> Result<JobOutcome, JobError> {
        let JobRequest {
            target,
            origin,
            suites,
        } = &self.request;
        for suite in suites {
            self.place.check_sockets(&suite.profile)?;
        }
        let job_id = JobId::new(self.queued_at);
        let (addresses, subject) = self.place.find_subject(target).await?;
        let store = self.place.open_warehouse().await?;
        let spec = spec(&self.request);
        let mut runs: Vec<RunOutcome> = Vec::new();
        let last = suites.len().saturating_sub(1);
        for (index, suite) in suites.iter().enumerate() {
            let so_far = runs
                .iter()
                .filter_map(|run| run.run.verdict.parse().ok())
                .collect();
            let standing = OwnJob {
                job_id,
                queued_at: self.queued_at,
                started_at: runs.first().map(|first| first.run.started_at),
                spec: spec.clone(),
                earlier: so_far,
                is_last: index == last,
            };
            let measurement = Measurement {
                place: &self.place,
                target,
                origin,
                suite,
                standing: Standing::OwnJob(Box::new(standing)),
            };
            let found = Found {
                addresses: &addresses,
                subject: &subject,
            };
            let stopped = measurement.run(found).await?;
            let ends_job = stopped.ends_job;
            runs.push(self.place.publish(stopped, &store).await);
            if ends_job {
                break;
            }
        }
        let verdicts = runs.iter().filter_map(|run| run.run.verdict.parse().ok());
        let verdict = Verdict::worst(verdicts).unwrap_or(Verdict::Error);
        Ok(JobOutcome {
            job_id,
            verdict,
            runs,
        })
    }
}

/// What was asked for, as `jobs.spec` has it.
fn spec(request: &JobRequest) -> Value {
    let JobRequest { target, suites, .. } = request;
    let profiles = suites
        .iter()
        .map(|suite| suite.profile.effective_settings());
    let profiles: Vec<Value> = profiles.collect();
    // `run` asks the same of all.
    let first = suites.first();
    let abort_if = first.filter(|suite| !suite.abort.is_empty());
    json!({
        "subject": {
            "model": target.model,
            "endpoint": target.endpoint.url(),
            "api_key_env": target.api_key_env,
        },
        "suites": profiles,
        "slo": first.map(|suite| suite.slo.to_string()),
        "abort_if": abort_if.map(|suite| suite.abort.to_string()),
    })
}
