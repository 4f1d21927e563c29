//! A job as JSON.

use plimsoll_executor::control::{Job, JobState, Task};
use plimsoll_executor::job_spec::{Change, JobSpec};
use plimsoll_ingest::{JobId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::Api;
use super::super::problem::{Code, Problem};

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(in crate::api) struct JobBody {
    /// The job (UUIDv7).
    job_id: String,
    /// queued, running or done.
    state: String,
    /// The worst verdict of its tasks; null until it is done.
    verdict: Option<String>,
    /// The model, as requests name it.
    model: Option<String>,
    /// The base URL that is evaluated, without credentials and query.
    endpoint: Option<String>,
    /// The suites, in order.
    suites: Vec<String>,
    /// high, normal or low.
    priority: String,
    /// Who asked for it.
    triggered_by: String,
    /// What asked for it: manual, api, schedule.
    trigger: String,
    /// The schedule; null unless one asked.
    schedule_id: Option<String>,
    /// What is being tried; null where nobody said.
    #[schema(value_type = Option<Object>)]
    change: Option<Value>,
    /// Labels of its runs.
    #[schema(value_type = Object)]
    labels: Value,
    /// When it was accepted.
    queued_at: String,
    /// When its first task was begun; null before.
    started_at: Option<String>,
    /// When its last task ended; null before.
    finished_at: Option<String>,
    /// When it is cancelled if it has not ended; null for never.
    deadline_at: Option<String>,
    /// Who cancelled it; null where nobody did.
    cancelled_by: Option<String>,
    /// Its tasks, one a suite; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<TaskBody>>,
    /// The job as it was understood, every setting in place; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub(super) struct TaskBody {
    /// The task (UUIDv7).
    task_id: String,
    /// The pillar of its suite.
    pillar: String,
    /// The suite.
    suite: String,
    /// waiting (for an earlier suite), queued, leased, settling, done, dead or cancelled.
    state: String,
    /// How often it was begun.
    attempt: i64,
    /// How often it is begun at most.
    max_attempts: i64,
    /// The worker that has it; null where none has.
    worker: Option<String>,
    /// The host of that worker.
    host: Option<String>,
    /// It is not begun before this; null where nothing holds it.
    not_before: Option<String>,
    /// How far its run is; null where none is under way.
    #[schema(value_type = Option<Object>)]
    progress: Option<Value>,
    /// Its verdict; null until it has ended.
    verdict: Option<String>,
    /// The run that its verdict is of; null where there is none.
    run_id: Option<String>,
    /// Why it ended as it did, or why it was begun again; null where there is nothing to say.
    reason: Option<String>,
    /// When it was begun first; null before.
    started_at: Option<String>,
    /// When it ended; null before.
    finished_at: Option<String>,
}

impl JobBody {
    /// The job with its tasks, as it is now.
    pub(super) async fn load(api: &Api, job: JobId) -> Result<Self, Problem> {
        let found = api.jobs.job(job).await?;
        let found = found
            .ok_or_else(|| Problem::new(Code::UnknownJob, format!("there is no job `{job}`")))?;
        let tasks = api.jobs.tasks(job).await?;
        Ok(Self::of(&found, Some(&tasks)))
    }

    /// A job, with its tasks where they are given.
    pub(super) fn of(job: &Job, tasks: Option<&[Task]>) -> Self {
        // One of another release is shown as far as it can be.
        let spec = JobSpec::from_json(&job.spec).ok();
        let public = spec.as_ref().map(JobSpec::to_public_json);
        let endpoint = public
            .as_ref()
            .and_then(|spec| spec["subject"]["endpoint"].as_str());
        let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let suites = spec.iter().flat_map(|spec| &spec.suites);
        Self {
            job_id: job.id.to_string(),
            state: job.state.to_string(),
            verdict: job.verdict.map(|verdict| verdict.to_string()),
            model: spec.as_ref().map(|spec| spec.subject.model.clone()),
            endpoint: endpoint.map(str::to_string),
            suites: suites
                .map(|suite| suite.profile.name().to_string())
                .collect(),
            priority: job.priority.to_string(),
            triggered_by: job.triggered_by.clone(),
            trigger: job.trigger.to_string(),
            schedule_id: job.schedule_id.clone(),
            change: spec
                .as_ref()
                .and_then(|spec| spec.change.as_ref().map(Change::to_json)),
            labels: spec
                .as_ref()
                .map_or(Value::Null, |spec| serde_json::json!(spec.labels)),
            queued_at: job.queued_at.to_string(),
            started_at: text(job.started_at),
            finished_at: text(job.finished_at),
            deadline_at: text(job.deadline_at),
            cancelled_by: job.cancelled_by.clone(),
            tasks: tasks.map(|tasks| tasks.iter().map(TaskBody::from).collect()),
            spec: tasks.and(public),
        }
    }

    /// Whether nothing more will change.
    pub(super) fn has_ended(&self) -> bool {
        self.state == JobState::Done.as_str()
    }
}

impl From<&Task> for TaskBody {
    fn from(task: &Task) -> Self {
        let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let waits = task.worker.is_none() && !task.state.is_over();
        let progress = task.progress.as_deref();
        Self {
            task_id: task.id.to_string(),
            pillar: task.pillar.clone(),
            suite: task.suite.clone(),
            state: task.state.to_string(),
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            worker: task.worker.clone(),
            host: task.host.clone(),
            not_before: text(task.not_before.filter(|_| waits)),
            progress: progress.and_then(|text| serde_json::from_str(text).ok()),
            verdict: task.verdict.map(|verdict| verdict.to_string()),
            run_id: task.run.map(|run| run.to_string()),
            reason: task.reason.clone(),
            started_at: text(task.started_at),
            finished_at: text(task.finished_at),
        }
    }
}
