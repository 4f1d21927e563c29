//! One run: its spool, its probe, its stages, its seal.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use plimsoll_ingest::spool::{Manifest, Spool, SpoolError, Tag};
use plimsoll_ingest::storage::chain;
use plimsoll_ingest::{
    EnvelopeRow, JobId, JobRow, RunId, RunRow, Table, TableRow, TaskId, Timestamp, Verdict,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::job::Job;
use super::seal::{FinishedAt, JobEnd, RunEnd, seal};
use super::subject::{self, Subject, SubjectError};
use super::{Brake, JobError, Progress};
use crate::comparable::{Question, canonical_json, comparable_key, hex};
use crate::load::chat::{ChatOptions, EndOfSequence, UsageReport};
use crate::load::client::Client;
use crate::load::clock::RunClock;
use crate::load::drive::{Generator, HeldUp, Outside, RequestShape};
use crate::load::profile::{IgnoreEos, Profile};
use crate::load::recorder::Recorder;
use crate::load::stamped::Stamping;
use crate::timer::PreciseTimer;
use crate::verdict::Ending;

/// Version of what is written into `runs` and the envelope.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Output tokens that a probe asks for: enough that most models have begun to say something.
const PROBE_TOKENS: u32 = 16;
/// Requests in flight past which arrivals are missed: each needs a socket.
const IN_FLIGHT_LIMIT: usize = 20_000;
/// Engines that are known to heed `ignore_eos`, as they name themselves.
const HEEDS_IGNORE_EOS: [&str; 4] = ["vllm", "sglang", "llamacpp", "llama.cpp"];

/// A run that is to be made.
pub(super) struct Measurement<'a> {
    pub(super) job: &'a Job,
    pub(super) job_id: JobId,
    /// When the job's first run began; `None` if that is this one.
    pub(super) job_started_at: Option<Timestamp>,
    pub(super) profile: &'a Profile,
    pub(super) addresses: &'a [SocketAddr],
    pub(super) subject: &'a Subject,
    /// Verdicts of the job's earlier runs.
    pub(super) earlier: Vec<Verdict>,
    pub(super) is_last: bool,
}

/// A run that has ended and is sealed.
pub(super) struct Stopped {
    /// The spool, or why it could not be sealed.
    pub(super) spool: Result<Spool, String>,
    pub(super) run: RunRow,
    pub(super) failure: Option<SubjectError>,
    /// Whether the job's other runs are pointless or unwanted.
    pub(super) ends_job: bool,
}

impl Measurement<'_> {
    pub(super) async fn run(self) -> Result<Stopped, JobError> {
        let started_at = Timestamp::now();
        let clock = Rc::new(RunClock::start());
        let run_id = RunId::new(started_at);
        let task_id = TaskId::new(started_at);
        let drafts = self.drafts(run_id, task_id, &clock);
        let spool = self
            .begin_spool(run_id, task_id, &drafts)
            .map_err(|error| self.spool_error(&error))?;
        let recorder = Recorder::start(spool, run_id).map_err(generator_error)?;
        let timer = PreciseTimer::start().map_err(generator_error)?;
        let request = &self.job.request;
        let client = Client::new(
            request.endpoint.clone(),
            self.addresses.to_vec(),
            request.stamping,
            clock.clone(),
        );
        let settings = *self.profile.request();
        let shape = RequestShape {
            run_id,
            model: request.model.clone(),
            options: self.options(),
            timeout: settings.timeout,
            slo: request.slo.clone(),
        };
        let outside = Outside {
            profile: self.profile.name().to_string(),
            steady_stages: self.profile.steady_stages(),
            expected: self.profile.expected_duration(),
            progress: self.job.progress.clone(),
            stop: self.job.stop.clone(),
            abort: request.abort,
            in_flight_limit: IN_FLIGHT_LIMIT.min(self.job.sockets),
        };
        let mut generator = Generator::new(
            Rc::new(client),
            clock.clone(),
            timer,
            shape,
            outside,
            recorder,
        );
        self.job.progress.send_replace(Progress::Probing);
        let failure = match self.job.stop.brake() {
            // Stopped while the job's run before was written: this one is its end, and says so.
            Brake::Stopped { .. } => None,
            _ => self.probe(&mut generator, settings.timeout).await,
        };
        let ending = match (&failure, self.job.stop.brake()) {
            (_, Brake::Stopped { by }) => Ending::Stopped(by),
            (Some(failure), _) => Ending::Failed(failure.to_string()),
            (None, _) => {
                self.job.progress.send_replace(Progress::Serving {
                    engine: self.subject.engine.clone(),
                    models: self.subject.models.clone(),
                    profile: self.profile.name().to_string(),
                    stages: self.profile.steady_stages(),
                    expected: self.profile.expected_duration(),
                });
                generator.run(&self.profile.plan()).await
            }
        };
        Ok(self.close(generator, ending, failure, &clock, drafts.run))
    }

    fn close(
        self,
        generator: Generator,
        ending: Ending,
        failure: Option<SubjectError>,
        clock: &RunClock,
        draft: RunRow,
    ) -> Stopped {
        let held_back = generator.held_back();
        let held_up = generator.held_up().cloned();
        let (mut spool, recorded) = generator.into_recorder().finish();
        let ending = match recorded {
            Ok(()) => ending,
            Err(error) => Ending::Incomplete(error.to_string()),
        };
        let ends_job = ending != Ending::Finished;
        let steps = clock.steps();
        let clock_set =
            (steps > 0).then(|| format!("the wall clock was set {steps} times during the run"));
        let held_back = held_back.map(|held| {
            let seconds = held.as_secs_f64();
            format!("requests were held back for {seconds:.1} s during the run")
        });
        let held_up = held_up.map(|HeldUp { stage, time, of }| {
            let (time, of) = (time.as_secs_f64(), of.as_secs_f64());
            format!("the generator stood still for {time:.2} s of the {of:.1} s of stage {stage}")
        });
        let environment_change = clock_set.or(held_back).or(held_up);
        let job = match self.is_last || ends_job {
            true => JobEnd::After(&self.earlier),
            false => JobEnd::GoesOn,
        };
        let end = RunEnd {
            ending,
            environment_change,
            finished_at: FinishedAt::Moment(Timestamp::now()),
            job,
        };
        match seal(&mut spool, end) {
            Ok(run) => Stopped {
                spool: Ok(spool),
                run,
                failure,
                ends_job,
            },
            Err(error) => {
                let folder = spool.folder().display().to_string();
                let reason = format!("{}; what was measured stays in {folder}", chain(&error));
                Stopped {
                    spool: Err(reason),
                    run: draft,
                    failure,
                    ends_job: true,
                }
            }
        }
    }

    fn spool_error(&self, error: &SpoolError) -> JobError {
        JobError::Spool {
            path: self.job.spool_root.clone(),
            reason: chain(error),
        }
    }

    fn options(&self) -> ChatOptions {
        let settings = self.profile.request();
        let engine = self
            .subject
            .engine
            .as_deref()
            .unwrap_or_default()
            .to_lowercase();
        let known = HEEDS_IGNORE_EOS.iter().any(|known| engine.contains(known));
        let ignored = match settings.ignore_eos {
            IgnoreEos::Always => true,
            IgnoreEos::WhereKnown => known,
            IgnoreEos::Never => false,
        };
        ChatOptions {
            transfer: settings.transfer,
            length_field: settings.length_field,
            usage_report: UsageReport::Asked,
            end_of_sequence: if ignored {
                EndOfSequence::Ignored
            } else {
                EndOfSequence::Heeded
            },
            temperature: settings.temperature,
            seed: None,
        }
    }

    /// Asks for one completion. A server that refuses to count tokens is asked
    /// again without, and so are all requests of the run then.
    async fn probe(&self, generator: &mut Generator, timeout: Duration) -> Option<SubjectError> {
        let first = generator.probe(self.profile.prompts(), PROBE_TOKENS).await;
        // Servers that check what they are sent against a schema answer 422.
        let refused = matches!(first.trace.reply.http_status, Some(400 | 422));
        let probe = match refused {
            false => first,
            true => {
                let plain = ChatOptions {
                    usage_report: UsageReport::NotAsked,
                    ..self.options()
                };
                generator.set_options(plain);
                let second = generator.probe(self.profile.prompts(), PROBE_TOKENS).await;
                if second.is_ok() { second } else { first }
            }
        };
        let request = &self.job.request;
        subject::fault_in(
            &probe,
            &request.endpoint,
            &request.model,
            self.subject,
            timeout,
        )
    }

    fn begin_spool(
        &self,
        run_id: RunId,
        task_id: TaskId,
        drafts: &Drafts,
    ) -> Result<Spool, SpoolError> {
        let manifest = Manifest {
            job_id: Some(self.job_id),
            task_id: Some(task_id),
            ..Manifest::new(run_id, self.job.warehouse.to_string(), VERSION)
        };
        let mut spool = Spool::create(&self.job.spool_root, manifest)?;
        let sound = "a row forms a batch";
        let batches = [
            (
                Table::Runs,
                RunRow::to_batch(std::slice::from_ref(&drafts.run)).expect(sound),
            ),
            (
                Table::Envelopes,
                EnvelopeRow::to_batch(std::slice::from_ref(&drafts.envelope)).expect(sound),
            ),
            (
                Table::Jobs,
                JobRow::to_batch(std::slice::from_ref(&drafts.job)).expect(sound),
            ),
        ];
        for (table, batch) in batches {
            spool.append(Tag::Draft(table), &batch)?;
        }
        spool.sync()?;
        Ok(spool)
    }

    fn drafts(&self, run_id: RunId, task_id: TaskId, clock: &RunClock) -> Drafts {
        let request = &self.job.request;
        let profile = self.profile;
        let started_at = run_id.created_at();
        let workload_digest = profile.workload().digest();
        let envelope = self.envelope(run_id, &workload_digest);
        let comparable_key = comparable_key(&Question {
            pillar: "performance",
            suite: profile.name(),
            configuration: &profile.comparable_settings(),
            slo: &request.slo,
            workload_digest: Some(&workload_digest),
            gpu_sku: None,
            gpu_count: None,
        });
        let settings = profile.effective_settings();
        let abort_if = (!request.abort.is_empty()).then(|| request.abort.to_string());
        let config = json!({
            "profile": settings,
            "slo": request.slo.to_string(),
            "seed": profile.seed(),
            "workload": {"name": profile.workload().name(), "digest": workload_digest},
            "limit_finding": profile.limit_finding(),
            "abort_if": abort_if,
            "api_key_env": request.api_key_env,
            "timestamps": stamped_by(request.stamping),
            "clock": {
                "monotonic_start_ns": clock.monotonic_start_ns(),
                "realtime_start_ns": clock.realtime_start_ns(),
            },
        });
        let labels = json!(request.labels).to_string();
        let run = RunRow {
            job_id: Some(self.job_id.to_string()),
            task_id: Some(task_id.to_string()),
            pillar: "performance".to_string(),
            suite: profile.name().to_string(),
            profile: Some(profile.name().to_string()),
            model: request.model.clone(),
            endpoint: request.endpoint.url().to_string(),
            envelope_id: envelope.envelope_id.clone(),
            comparable_key,
            workload_digest: Some(workload_digest),
            workload: Some(profile.workload().in_words()),
            slo: Some(request.slo.without_demand().to_string()),
            config: config.to_string(),
            triggered_by: request.triggered_by.clone(),
            trigger: request.trigger.to_string(),
            labels: labels.clone(),
            plimsoll_version: VERSION.to_string(),
            ..RunRow::blank(run_id, started_at)
        };
        let profiles: Vec<Value> = request
            .profiles
            .iter()
            .map(Profile::effective_settings)
            .collect();
        let spec = json!({
            "subject": {
                "model": request.model,
                "endpoint": request.endpoint.url(),
                "api_key_env": request.api_key_env,
            },
            "suites": profiles,
            "slo": request.slo.to_string(),
            "abort_if": abort_if,
        });
        let job = JobRow {
            job_id: self.job_id.to_string(),
            spec: spec.to_string(),
            verdict: Verdict::Incomplete.to_string(),
            triggered_by: request.triggered_by.clone(),
            trigger: request.trigger.to_string(),
            schedule_id: None,
            change: None,
            labels,
            queued_at: self.job.queued_at,
            started_at: Some(self.job_started_at.unwrap_or(started_at)),
            finished_at: started_at,
            runs: self.earlier.len() as i64 + 1,
        };
        Drafts { run, envelope, job }
    }

    /// Everything that the result depends on and that is known from here.
    fn envelope(&self, run_id: RunId, workload_digest: &str) -> EnvelopeRow {
        let host = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        let warm_up = self.profile.effective_settings()["warm_up"]
            .as_str()
            .map(str::to_string);
        let engine = self.subject.engine.clone();
        let document = canonical_json(&json!({
            "endpoint": self.job.request.endpoint.url(),
            "engine": engine,
            "host": host,
            "model": self.job.request.model,
            "plimsoll_version": VERSION,
            "timestamp_source": stamped_by(self.job.request.stamping),
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

/// What is known of a run before it begins.
struct Drafts {
    run: RunRow,
    envelope: EnvelopeRow,
    job: JobRow,
}

fn generator_error(error: impl std::fmt::Display) -> JobError {
    JobError::Generator {
        reason: error.to_string(),
    }
}
