//! One run: its spool, its probe, its stages, its seal.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use plimsoll_ingest::spool::{Spool, SpoolError};
use plimsoll_ingest::storage::chain;
use plimsoll_ingest::{JobId, RunId, RunRow, TaskId, Timestamp, Verdict};
use serde_json::Value;

use super::seal::{FinishedAt, JobEnd, RunEnd, seal};
use super::subject::{self, Subject, SubjectError};
use super::{Brake, JobError, Origin, PerformanceSuite, Place, Progress, Target, TaskRight};
use crate::load::chat::{ChatOptions, EndOfSequence, UsageReport};
use crate::load::client::Client;
use crate::load::clock::RunClock;
use crate::load::drive::{Generator, HeldUp, Outside, RequestShape};
use crate::load::profile::IgnoreEos;
use crate::load::recorder::Recorder;
use crate::timer::PreciseTimer;
use crate::verdict::Ending;

/// Output tokens that a probe asks for: enough that most models have begun to say something.
const PROBE_TOKENS: u32 = 16;
/// Requests in flight past which arrivals are missed: each needs a socket.
const IN_FLIGHT_LIMIT: usize = 20_000;
/// Engines that are known to heed `ignore_eos`, as they name themselves.
const HEEDS_IGNORE_EOS: [&str; 4] = ["vllm", "sglang", "llamacpp", "llama.cpp"];

/// A run that is to be made.
pub(super) struct Measurement<'a> {
    pub(super) place: &'a Place,
    pub(super) target: &'a Target,
    pub(super) origin: &'a Origin,
    pub(super) suite: &'a PerformanceSuite,
    pub(super) standing: Standing,
}

/// What a run belongs to.
pub(super) enum Standing {
    /// A job of this process alone; each of its runs is a task that nobody else takes up.
    OwnJob(Box<OwnJob>),
    /// A task that was leased.
    Task(TaskRight),
}

/// The job that a run of this process alone belongs to, as it stands.
pub(super) struct OwnJob {
    pub(super) job_id: JobId,
    pub(super) queued_at: Timestamp,
    /// When the job's first run began; `None` if that is this one.
    pub(super) started_at: Option<Timestamp>,
    /// What was asked for, as `jobs.spec` has it.
    pub(super) spec: Value,
    /// Verdicts of the job's earlier runs.
    pub(super) earlier: Vec<Verdict>,
    pub(super) is_last: bool,
}

/// The server that a run measures, as it was found.
pub(super) struct Found<'a> {
    pub(super) addresses: &'a [SocketAddr],
    pub(super) subject: &'a Subject,
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

impl Stopped {
    /// Has the run end its task, whatever its verdict is.
    pub(super) fn end_task(&mut self) {
        if let Ok(spool) = &mut self.spool
            && let Err(error) = spool.end_task()
        {
            let folder = spool.folder().display();
            self.spool = Err(format!(
                "{}; what was measured stays in {folder}",
                chain(&error)
            ));
        }
    }
}

impl Measurement<'_> {
    pub(super) async fn run(self, found: Found<'_>) -> Result<Stopped, JobError> {
        let clock = Rc::new(RunClock::start());
        let (run_id, spool, draft) = self.begin(&clock, found.subject.engine.as_deref())?;
        let recorder = Recorder::start(spool, run_id).map_err(generator_error)?;
        let timer = PreciseTimer::start().map_err(generator_error)?;
        let target = self.target;
        let client = Client::new(
            target.endpoint.clone(),
            found.addresses.to_vec(),
            target.stamping,
            clock.clone(),
        );
        let profile = &self.suite.profile;
        let settings = *profile.request();
        let shape = RequestShape {
            run_id,
            model: target.model.clone(),
            options: self.options(found.subject),
            timeout: settings.timeout,
            slo: self.suite.slo.clone(),
        };
        let outside = Outside {
            profile: profile.name().to_string(),
            steady_stages: profile.steady_stages(),
            expected: profile.expected_duration(),
            progress: self.place.progress.clone(),
            stop: self.place.stop.clone(),
            abort: self.suite.abort,
            in_flight_limit: IN_FLIGHT_LIMIT.min(self.place.sockets),
        };
        let mut generator = Generator::new(
            Rc::new(client),
            clock.clone(),
            timer,
            shape,
            outside,
            recorder,
        );
        self.place.progress.send_replace(Progress::Probing);
        let failure = match self.place.stop.brake() {
            // Stopped while the job's run before was written: this one is its end, and says so.
            Brake::Stopped { .. } => None,
            _ => {
                self.probe(&mut generator, settings.timeout, found.subject)
                    .await
            }
        };
        let ending = match (&failure, self.place.stop.brake()) {
            (_, Brake::Stopped { by }) => Ending::Stopped(by),
            (Some(failure), _) => Ending::Failed(failure.to_string()),
            (None, _) => {
                self.place.progress.send_replace(Progress::Serving {
                    engine: found.subject.engine.clone(),
                    models: found.subject.models.clone(),
                    profile: profile.name().to_string(),
                    stages: profile.steady_stages(),
                    expected: profile.expected_duration(),
                });
                generator.run(&profile.plan()).await
            }
        };
        Ok(self.close(generator, ending, failure, &clock, draft))
    }

    /// Ends without a request: what there is to say is why.
    pub(super) fn end_unmeasured(self, ending: Ending) -> Result<Stopped, JobError> {
        let clock = RunClock::start();
        let (_, spool, draft) = self.begin(&clock, None)?;
        let end = self.end(ending, None);
        Ok(sealed(spool, end, draft, None))
    }

    /// Begins the spool with the rows that are known by now.
    fn begin(
        &self,
        clock: &RunClock,
        engine: Option<&str>,
    ) -> Result<(RunId, Spool, RunRow), JobError> {
        let started_at = Timestamp::now();
        let run_id = RunId::new(started_at);
        let task_id = match &self.standing {
            Standing::OwnJob(_) => TaskId::new(started_at),
            Standing::Task(right) => right.task_id,
        };
        let drafts = self.drafts(run_id, task_id, clock, engine);
        let spool = self.begin_spool(run_id, task_id, &drafts);
        let spool = spool.map_err(|error| self.spool_error(&error))?;
        Ok((run_id, spool, drafts.run))
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
        let (spool, recorded) = generator.into_recorder().finish();
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
        let end = self.end(ending, environment_change);
        let stopped = sealed(spool, end, draft, failure);
        Stopped {
            ends_job: ends_job || stopped.ends_job,
            ..stopped
        }
    }

    fn end(&self, ending: Ending, environment_change: Option<String>) -> RunEnd<'_> {
        let ends_job = ending != Ending::Finished;
        let job = match &self.standing {
            Standing::OwnJob(job) if job.is_last || ends_job => JobEnd::After(&job.earlier),
            Standing::OwnJob(_) | Standing::Task(_) => JobEnd::GoesOn,
        };
        RunEnd {
            ending,
            environment_change,
            finished_at: FinishedAt::Moment(Timestamp::now()),
            job,
        }
    }

    fn spool_error(&self, error: &SpoolError) -> JobError {
        JobError::Spool {
            path: self.place.spool_root.clone(),
            reason: chain(error),
        }
    }

    fn options(&self, subject: &Subject) -> ChatOptions {
        let settings = self.suite.profile.request();
        let engine = subject.engine.as_deref().unwrap_or_default().to_lowercase();
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
    async fn probe(
        &self,
        generator: &mut Generator,
        timeout: Duration,
        subject: &Subject,
    ) -> Option<SubjectError> {
        let prompts = self.suite.profile.prompts();
        let first = generator.probe(prompts, PROBE_TOKENS).await;
        // Servers that check what they are sent against a schema answer 422.
        let refused = matches!(first.trace.reply.http_status, Some(400 | 422));
        let probe = match refused {
            false => first,
            true => {
                let plain = ChatOptions {
                    usage_report: UsageReport::NotAsked,
                    ..self.options(subject)
                };
                generator.set_options(plain);
                let second = generator.probe(prompts, PROBE_TOKENS).await;
                if second.is_ok() { second } else { first }
            }
        };
        let Target {
            endpoint, model, ..
        } = self.target;
        subject::fault_in(&probe, endpoint, model, subject, timeout)
    }
}

/// Sums up what was spooled and seals it.
fn sealed(
    mut spool: Spool,
    end: RunEnd<'_>,
    draft: RunRow,
    failure: Option<SubjectError>,
) -> Stopped {
    let ends_job = end.ending != Ending::Finished;
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

fn generator_error(error: impl std::fmt::Display) -> JobError {
    JobError::Generator {
        reason: error.to_string(),
    }
}
