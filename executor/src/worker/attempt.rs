//! One attempt at a task, from its lease to what is written of it.

use std::time::Duration;

use plimsoll_ingest::publish::{TaskRun, run_that_ended};
use plimsoll_ingest::storage::chain;
use plimsoll_ingest::{Verdict, WarehouseStore};
use tokio::sync::watch;

use super::conclusion::{self, Conclusion, Why};
use super::keeper::{Keeper, Told};
use super::{Drain, Failures, WorkerOptions};
use crate::control::{
    Began, Errand, Held, Job, Lease, Store, StoreError, TaskEnd, TaskState, Worker,
};
use crate::job_spec::JobSpec;
use crate::load::endpoint::{ApiKey, Endpoint};
use crate::load::stamped::Stamping;
use crate::performance::{
    self, EndsTask, JobError, Origin, Progress, RunOutcome, StopSignal, Target, TaskRequest,
    TaskRight, Unmeasured, end_task, run_task,
};

/// How long a run that could not be published waits for the next try.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);
/// A run that the warehouse refuses so often, though it answers, is given up; its spool stays.
const REFUSALS: u32 = 24;
/// How long the end of a task is tried to be written; then its lease runs out, and another worker finds
/// its run.
const WRITE_FOR: Duration = Duration::from_secs(60);

pub(super) struct Attempt<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a WorkerOptions,
    pub(super) worker: &'a Worker,
    pub(super) draining: watch::Receiver<Drain>,
    pub(super) lease: Lease,
}

impl Attempt<'_> {
    pub(super) async fn execute(&self) {
        let progress = watch::Sender::new(Progress::Probing);
        let stop = StopSignal::default();
        let keeper = Keeper {
            store: self.store,
            options: self.options,
            lease: &self.lease,
            draining: self.draining.clone(),
        };
        let watched = progress.subscribe();
        let told = watch::Sender::new(None);
        let reason = || told.borrow().clone();
        let work = match self.lease.errand {
            Errand::Settle => {
                let work = self.settle();
                keeper.during(work, &watched, &stop, &told).await
            }
            Errand::Run => {
                let work = self.run(progress, &stop, told.subscribe());
                keeper.during(work, &watched, &stop, &told).await
            }
        };
        let mut conclusion = match work {
            Work::Ran(outcome) if outcome.unpublished.is_none() => {
                conclusion::of_run(&outcome, reason().as_ref(), &self.lease)
            }
            Work::Ran(outcome) => {
                let publishing = self.publish(&outcome, told.subscribe());
                match keeper.during(publishing, &watched, &stop, &told).await {
                    Ok(outcome) => conclusion::of_run(&outcome, reason().as_ref(), &self.lease),
                    Err(conclusion) => conclusion,
                }
            }
            Work::NoRun(error) => conclusion::of_no_run(&error, reason().as_ref(), &self.lease),
            Work::Concluded(conclusion) => conclusion,
        };
        if conclusion == Conclusion::Ask {
            let asking = self.ask();
            conclusion = keeper.during(asking, &watched, &stop, &told).await;
        }
        if let Conclusion::EndWithoutRun { why, reason } = conclusion {
            let ending = self.end_without_run(why, &reason);
            conclusion = keeper.during(ending, &watched, &stop, &told).await;
        }
        self.write(&conclusion).await;
    }

    /// Makes the run of the task, if none has ended it.
    async fn run(
        &self,
        progress: watch::Sender<Progress>,
        stop: &StopSignal,
        told: watch::Receiver<Option<Told>>,
    ) -> Work {
        let request = match self.request().await {
            Ok(request) => request,
            Err(conclusion) => return Work::Concluded(conclusion),
        };
        if self.lease.attempt > 1 {
            match self.known_end().await {
                Ok(None) => {}
                Ok(Some(conclusion)) => return Work::Concluded(conclusion),
                Err(conclusion) => return Work::Concluded(conclusion),
            }
        }
        let Some(request) = request.resolved(self.options) else {
            let reason =
                "the variable that the job names for its API key is not set where the worker \
                          runs"
                    .to_string();
            return Work::Concluded(match self.lease.is_last_attempt() {
                true => Conclusion::EndWithoutRun {
                    why: Why::Failed,
                    reason,
                },
                false => conclusion::again(&self.lease, reason),
            });
        };
        let (warehouse, spool) = (&self.options.warehouse, &self.options.spool);
        let last = self.lease.is_last_attempt();
        let ends_task: EndsTask = Box::new(move |verdict, failure| {
            conclusion::ends_task(verdict, failure, told.borrow().as_ref(), last)
        });
        match run_task(request, warehouse, spool, progress, stop.clone(), ends_task).await {
            Ok(outcome) => Work::Ran(Box::new(outcome)),
            Err(error) => Work::NoRun(error),
        }
    }

    /// Finds out whether the task has a run that ended it, and ends it in any case.
    async fn settle(&self) -> Work {
        let job = match self.job().await {
            Ok(job) => job,
            Err(conclusion) => return Work::Concluded(conclusion),
        };
        let readable = JobSpec::from_json(&job.spec).map(|_| ());
        Work::Concluded(match self.known_end().await {
            Ok(Some(conclusion)) => conclusion,
            Err(conclusion) => conclusion,
            // No run can say what it would have been; the task ends all the same.
            Ok(None) if readable.is_err() => {
                let (state, verdict) = match job.cancelled_by {
                    Some(_) => (TaskState::Cancelled, Verdict::Cancelled),
                    None => (TaskState::Dead, Verdict::Error),
                };
                let reason = readable.err().map(|error| error.to_string());
                Conclusion::Ended(TaskEnd {
                    state,
                    verdict,
                    run: None,
                    reason,
                })
            }
            Ok(None) => match job.cancelled_by {
                Some(by) => Conclusion::EndWithoutRun {
                    why: Why::Cancelled,
                    reason: by,
                },
                None => match self.last_reason().await {
                    Ok(reason) => Conclusion::EndWithoutRun {
                        why: Why::Failed,
                        reason,
                    },
                    // What is published stays: it waits until it can say why.
                    Err(error) => Conclusion::PutBack {
                        ran: false,
                        after: Duration::ZERO,
                        reason: chain(&error),
                    },
                },
            },
        })
    }

    /// Why the task did not end otherwise.
    async fn last_reason(&self) -> Result<String, StoreError> {
        let tasks = self.store.tasks(self.lease.job).await?;
        let task = tasks.into_iter().find(|task| task.id == self.lease.task);
        let reason = task.and_then(|task| task.reason);
        let attempts = self.lease.attempt;
        Ok(match reason {
            Some(reason) => format!("no attempt of {attempts} made a run: {reason}"),
            None => format!("no attempt of {attempts} made a run"),
        })
    }

    async fn job(&self) -> Result<Job, Conclusion> {
        let job = self.store.job(self.lease.job).await;
        let put_back = |reason: String| Conclusion::PutBack {
            ran: false,
            after: Duration::ZERO,
            reason,
        };
        let job = job.map_err(|error| put_back(chain(&error)))?;
        job.ok_or_else(|| put_back("its job is not in the store".to_string()))
    }

    /// What is to be executed, without the API key.
    async fn request(&self) -> Result<Unresolved, Conclusion> {
        let job = self.job().await?;
        let unreadable = |reason: String| Conclusion::PutBack {
            ran: false,
            after: Duration::from_secs(60),
            reason,
        };
        let spec = JobSpec::from_json(&job.spec).map_err(|error| unreadable(error.to_string()))?;
        let suite = spec.suites.get(self.lease.number).cloned();
        let suite = suite.ok_or_else(|| unreadable("its job has no such suite".to_string()))?;
        Ok(Unresolved {
            subject: spec.subject,
            origin: Origin {
                labels: spec.labels,
                triggered_by: job.triggered_by,
                trigger: job.trigger,
                schedule_id: job.schedule_id,
                trace_id: job.traceparent.as_deref().and_then(trace_id),
            },
            suite,
            right: TaskRight {
                job_id: self.lease.job,
                task_id: self.lease.task,
                attempt: self.lease.attempt,
                fence: self.lease.fence,
            },
        })
    }

    /// How the task ended, where the warehouse knows it. What a crash of this host left in its spool is
    /// published first: it may be the run.
    async fn known_end(&self) -> Result<Option<Conclusion>, Conclusion> {
        let put_back = |reason: String| Conclusion::PutBack {
            ran: false,
            after: Duration::from_secs(10),
            reason,
        };
        let recovered = performance::recover(&self.options.spool, &self.options.warehouse).await;
        recovered.map_err(|error| put_back(chain(&error)))?;
        match self.ended_by().await {
            Ok(Some(TaskRun { run_id, verdict })) => Ok(Some(Conclusion::Ended(conclusion::end(
                verdict, run_id, None,
            )))),
            Ok(None) => Ok(None),
            Err(reason) => Err(put_back(reason)),
        }
    }

    async fn ended_by(&self) -> Result<Option<TaskRun>, String> {
        let store =
            WarehouseStore::connect(&self.options.warehouse).map_err(|error| chain(&error))?;
        run_that_ended(&store, self.lease.task)
            .await
            .map_err(|error| chain(&error))
    }

    /// What becomes of a task whose run is incomplete.
    async fn ask(&self) -> Conclusion {
        let reason = "its run is incomplete".to_string();
        match self.ended_by().await {
            Ok(Some(TaskRun { run_id, verdict })) => {
                Conclusion::Ended(conclusion::end(verdict, run_id, None))
            }
            Ok(None) if self.lease.is_last_attempt() => Conclusion::EndWithoutRun {
                why: Why::Failed,
                reason,
            },
            Ok(None) => conclusion::again(&self.lease, reason),
            Err(reason) => Conclusion::PutBack {
                ran: true,
                after: Duration::from_secs(10),
                reason,
            },
        }
    }

    /// Waits until a run that was measured is in the warehouse: measuring it anew would cost more. What
    /// becomes of the task otherwise, where it is cancelled or lost, this worker ends, or the run cannot be
    /// published though the warehouse answers.
    async fn publish(
        &self,
        outcome: &RunOutcome,
        mut told: watch::Receiver<Option<Told>>,
    ) -> Result<RunOutcome, Conclusion> {
        let mut why = match &outcome.unpublished {
            Some(unpublished) => unpublished.reason.clone(),
            None => String::new(),
        };
        (self.options.warn)(&format!("a run waits to be published: {why}"));
        let put_back = |reason: &str| Conclusion::PutBack {
            ran: true,
            after: Duration::ZERO,
            reason: format!("its run is not published: {reason}"),
        };
        let run = outcome.run.run_id.to_string();
        let mut failures = Failures::default();
        let mut refused = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PUBLISH_AGAIN) => {}
                told = told.wait_for(Option::is_some) => {
                    let lost = told.is_ok_and(|told| *told == Some(Told::Lost));
                    return Err(if lost { Conclusion::NotOurs } else { put_back(&why) });
                }
            }
            let (spool, warehouse) = (&self.options.spool, &self.options.warehouse);
            let recovered = match performance::recover(spool, warehouse).await {
                Ok(recovered) => recovered,
                Err(error) => {
                    failures.next_of(&error, &self.options.warn);
                    continue;
                }
            };
            match self.verdict_of(outcome).await {
                Ok(Some(verdict)) => {
                    let mut outcome = outcome.clone();
                    outcome.run.verdict = verdict.to_string();
                    outcome.unpublished = None;
                    return Ok(outcome);
                }
                Ok(None) => {}
                Err(_) => continue,
            }
            let ours = recovered.failed.into_iter().find(|(folder, _)| {
                folder.file_name().and_then(|name| name.to_str()) == Some(&run)
            });
            if let Some((_, reason)) = ours {
                why = reason;
                refused += 1;
            }
            if refused == REFUSALS {
                let reason = format!("its run cannot be published: {why}");
                return Err(Conclusion::EndWithoutRun {
                    why: Why::Failed,
                    reason,
                });
            }
        }
    }

    async fn verdict_of(&self, outcome: &RunOutcome) -> Result<Option<Verdict>, String> {
        let store =
            WarehouseStore::connect(&self.options.warehouse).map_err(|error| chain(&error))?;
        let verdict = plimsoll_ingest::publish::verdict_of(&store, outcome.run.run_id).await;
        verdict.map_err(|error| chain(&error))
    }

    /// Publishes a run that says why there is no measurement.
    async fn end_without_run(&self, why: Why, reason: &str) -> Conclusion {
        let put_back = |reason: String| Conclusion::PutBack {
            // There may be a spool that says so.
            ran: true,
            after: Duration::from_secs(10),
            reason,
        };
        let request = match self.request().await {
            Ok(request) => request.for_the_record(),
            Err(conclusion) => return conclusion,
        };
        let request = match request {
            Ok(request) => request,
            Err(reason) => return put_back(reason),
        };
        let unmeasured = match why {
            Why::Failed => Unmeasured::Failed(reason.to_string()),
            Why::Cancelled => Unmeasured::Cancelled(reason.to_string()),
        };
        let (warehouse, spool) = (&self.options.warehouse, &self.options.spool);
        let outcome = match end_task(request, warehouse, spool, unmeasured).await {
            Ok(outcome) => outcome,
            Err(error) => return put_back(error.to_string()),
        };
        if let Some(why) = outcome.unpublished {
            return put_back(why.reason);
        }
        match self.ended_by().await {
            Ok(Some(TaskRun { run_id, verdict })) => {
                let reason = match why {
                    Why::Failed => reason.to_string(),
                    Why::Cancelled => format!("cancelled by {reason}"),
                };
                let reason = (run_id == outcome.run.run_id).then_some(reason);
                Conclusion::Ended(conclusion::end(verdict, run_id, reason))
            }
            Ok(None) => put_back("its end is not in the warehouse".to_string()),
            Err(reason) => put_back(reason),
        }
    }

    /// Writes what became of the task; tries for a while where the store is away.
    async fn write(&self, conclusion: &Conclusion) {
        let begun = std::time::Instant::now();
        let mut failures = Failures::default();
        loop {
            match self.try_write(conclusion).await {
                Ok(held) => {
                    let (task, held) = (self.lease.task, held == Held::Yes);
                    tracing::info!(%task, held, conclusion = ?conclusion, "an attempt has ended");
                    return;
                }
                Err(error) => {
                    let wait = failures.next(&error, self.options);
                    if begun.elapsed() > WRITE_FOR || *self.draining.borrow() == Drain::Over {
                        let worker = &self.worker.name;
                        tracing::warn!(worker, task = %self.lease.task, "an end is not written");
                        return;
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn try_write(&self, conclusion: &Conclusion) -> Result<Held, StoreError> {
        let (store, lease) = (self.store, &self.lease);
        match conclusion {
            Conclusion::Ended(end) => store.finish(lease, end).await,
            Conclusion::Again { after, reason } => store.retry(lease, *after, reason).await,
            Conclusion::PutBack { ran, after, reason } => {
                let began = if *ran { Began::ARun } else { Began::Nothing };
                store.hand_back(lease, began, *after, reason).await
            }
            // Neither is left after what was done about them.
            Conclusion::Ask | Conclusion::EndWithoutRun { .. } => {
                store
                    .retry(lease, Duration::ZERO, "its end is not known")
                    .await
            }
            Conclusion::NotOurs => Ok(Held::Lost),
        }
    }
}

/// What came of the work itself.
enum Work {
    Ran(Box<RunOutcome>),
    NoRun(JobError),
    Concluded(Conclusion),
}

/// A request whose API key is not looked up yet.
struct Unresolved {
    subject: crate::job_spec::Subject,
    origin: Origin,
    suite: crate::performance::PerformanceSuite,
    right: TaskRight,
}

impl Unresolved {
    /// With its key; `None` where it is not to be had.
    fn resolved(self, options: &WorkerOptions) -> Option<TaskRequest> {
        let key = match &self.subject.api_key_env {
            Some(variable) => Some(ApiKey::new(&(options.variables)(variable)?)?),
            None => None,
        };
        self.with_key(key.as_ref()).ok()
    }

    /// Without a key: for a run that sends nothing.
    fn for_the_record(self) -> Result<TaskRequest, String> {
        self.with_key(None)
    }

    fn with_key(self, key: Option<&ApiKey>) -> Result<TaskRequest, String> {
        let endpoint = Endpoint::new(&self.subject.endpoint, key).map_err(|error| chain(&error))?;
        Ok(TaskRequest {
            target: Target {
                endpoint,
                api_key_env: self.subject.api_key_env,
                model: self.subject.model,
                revision: self.subject.revision,
                stamping: Stamping::default(),
            },
            origin: self.origin,
            suite: self.suite,
            right: self.right,
        })
    }
}

/// The trace id of a `traceparent` header.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let sound = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit());
    sound.then(|| id.to_ascii_lowercase())
}
