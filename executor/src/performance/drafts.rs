//! What is known of a run before it begins: its spool, and the first form of its rows.

use plimsoll_ingest::spool::{Manifest, Spool, SpoolError, Tag};
use plimsoll_ingest::{
    EnvelopeRow, JobId, JobRow, RunId, RunRow, Table, TableRow, TaskId, Verdict,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::measure::{Measurement, Standing};
use crate::comparable::{Question, canonical_json, comparable_key, hex};
use crate::load::clock::RunClock;
use crate::load::stamped::Stamping;

/// Version of what is written into `runs` and the envelope.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is known of a run before it begins.
pub(super) struct Drafts {
    pub(super) run: RunRow,
    envelope: EnvelopeRow,
    /// Only of a job of this process alone.
    job: Option<JobRow>,
}

impl Measurement<'_> {
    pub(super) fn begin_spool(
        &self,
        run_id: RunId,
        task_id: TaskId,
        drafts: &Drafts,
    ) -> Result<Spool, SpoolError> {
        let only = Manifest {
            job_id: Some(self.job_id()),
            task_id: Some(task_id),
            ..Manifest::new(run_id, self.place.warehouse.to_string(), VERSION)
        };
        let manifest = match &self.standing {
            Standing::OwnJob(_) => only,
            Standing::Task(right) => Manifest {
                attempt: right.attempt,
                last_attempt: false,
                fence: Some(right.fence),
                ..only
            },
        };
        let mut spool = Spool::create(&self.place.spool_root, manifest)?;
        let sound = "a row forms a batch";
        let mut batches = vec![
            (
                Table::Runs,
                RunRow::to_batch(std::slice::from_ref(&drafts.run)).expect(sound),
            ),
            (
                Table::Envelopes,
                EnvelopeRow::to_batch(std::slice::from_ref(&drafts.envelope)).expect(sound),
            ),
        ];
        if let Some(job) = &drafts.job {
            let job = JobRow::to_batch(std::slice::from_ref(job)).expect(sound);
            batches.push((Table::Jobs, job));
        }
        for (table, batch) in batches {
            spool.append(Tag::Draft(table), &batch)?;
        }
        spool.sync()?;
        Ok(spool)
    }

    pub(super) fn drafts(
        &self,
        run_id: RunId,
        task_id: TaskId,
        clock: &RunClock,
        engine: Option<&str>,
    ) -> Drafts {
        let Self {
            target,
            origin,
            suite,
            ..
        } = self;
        let profile = &suite.profile;
        let started_at = run_id.created_at();
        let workload_digest = profile.workload().digest();
        let envelope = self.envelope(run_id, &workload_digest, engine);
        let comparable_key = comparable_key(&Question {
            pillar: "performance",
            suite: profile.name(),
            configuration: &profile.comparable_settings(),
            slo: &suite.slo,
            workload_digest: Some(&workload_digest),
            gpu_sku: None,
            gpu_count: None,
        });
        let settings = profile.effective_settings();
        let abort_if = (!suite.abort.is_empty()).then(|| suite.abort.to_string());
        let config = json!({
            "profile": settings,
            "slo": suite.slo.to_string(),
            "seed": profile.seed(),
            "workload": {"name": profile.workload().name(), "digest": workload_digest},
            "limit_finding": profile.limit_finding(),
            "abort_if": abort_if,
            "api_key_env": target.api_key_env,
            "timestamps": stamped_by(target.stamping),
            "clock": {
                "monotonic_start_ns": clock.monotonic_start_ns(),
                "realtime_start_ns": clock.realtime_start_ns(),
            },
        });
        let labels = json!(origin.labels).to_string();
        let run = RunRow {
            job_id: Some(self.job_id().to_string()),
            task_id: Some(task_id.to_string()),
            attempt: match &self.standing {
                Standing::OwnJob(_) => 1,
                Standing::Task(right) => right.attempt,
            },
            pillar: "performance".to_string(),
            suite: profile.name().to_string(),
            profile: Some(profile.name().to_string()),
            model: target.model.clone(),
            model_revision: target.revision.clone(),
            endpoint: target.endpoint.url().to_string(),
            envelope_id: envelope.envelope_id.clone(),
            comparable_key,
            workload_digest: Some(workload_digest),
            workload: Some(profile.workload().in_words()),
            slo: Some(suite.slo.without_demand().to_string()),
            config: config.to_string(),
            triggered_by: origin.triggered_by.clone(),
            trigger: origin.trigger.to_string(),
            schedule_id: origin.schedule_id.clone(),
            trace_id: origin.trace_id.clone(),
            labels: labels.clone(),
            plimsoll_version: VERSION.to_string(),
            ..RunRow::blank(run_id, started_at)
        };
        let own_job = match &self.standing {
            Standing::OwnJob(job) => Some(job),
            Standing::Task(_) => None,
        };
        let job = own_job.map(|job| JobRow {
            job_id: job.job_id.to_string(),
            spec: job.spec.to_string(),
            verdict: Verdict::Incomplete.to_string(),
            triggered_by: origin.triggered_by.clone(),
            trigger: origin.trigger.to_string(),
            schedule_id: origin.schedule_id.clone(),
            change: None,
            labels,
            queued_at: job.queued_at,
            started_at: Some(job.started_at.unwrap_or(started_at)),
            finished_at: started_at,
            runs: job.earlier.len() as i64 + 1,
        });
        Drafts { run, envelope, job }
    }

    fn job_id(&self) -> JobId {
        match &self.standing {
            Standing::OwnJob(job) => job.job_id,
            Standing::Task(right) => right.job_id,
        }
    }

    /// Everything that the result depends on and that is known from here.
    fn envelope(&self, run_id: RunId, workload_digest: &str, engine: Option<&str>) -> EnvelopeRow {
        let host = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        let warm_up = self.suite.profile.effective_settings()["warm_up"]
            .as_str()
            .map(str::to_string);
        let engine = engine.map(str::to_string);
        let document = canonical_json(&json!({
            "endpoint": self.target.endpoint.url(),
            "engine": engine,
            "host": host,
            "model": self.target.model,
            "plimsoll_version": VERSION,
            "timestamp_source": stamped_by(self.target.stamping),
            "warm_up": warm_up,
            "workload_digest": workload_digest,
        }));
        EnvelopeRow {
            envelope_id: hex(&Sha256::digest(document.as_bytes())),
            engine,
            workload_digest: Some(workload_digest.to_string()),
            warm_up,
            host,
            plimsoll_version: VERSION.to_string(),
            json: document,
            ..EnvelopeRow::blank(run_id)
        }
    }
}

fn stamped_by(stamping: Stamping) -> &'static str {
    match stamping {
        Stamping::Kernel => "kernel",
        Stamping::User => "user",
    }
}
