//! A job, as a server shows it.

use plimsoll_executor::control::{JobState, TaskState};
use plimsoll_executor::worker::TaskProgress;
use plimsoll_ingest::Verdict;
use serde::Deserialize;

/// A job; what this release does not know of it is left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Job {
    /// The job.
    pub(crate) job_id: String,
    /// How far it is.
    pub(crate) state: JobState,
    /// The worst verdict of its tasks; `None` until it is done.
    pub(crate) verdict: Option<Verdict>,
    /// The model.
    pub(crate) model: Option<String>,
    /// The base URL.
    pub(crate) endpoint: Option<String>,
    /// The suites, in order.
    pub(crate) suites: Vec<String>,
    /// Its class.
    pub(crate) priority: String,
    /// Who asked for it.
    pub(crate) triggered_by: String,
    /// When it was accepted.
    pub(crate) queued_at: String,
    /// When its last task ended.
    pub(crate) finished_at: Option<String>,
    /// Who cancelled it.
    pub(crate) cancelled_by: Option<String>,
    /// Its tasks; empty in lists.
    #[serde(default)]
    pub(crate) tasks: Vec<Task>,
}

/// A task of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Task {
    /// The suite.
    pub(crate) suite: String,
    /// How far it is.
    pub(crate) state: TaskState,
    /// How often it was begun.
    pub(crate) attempt: i64,
    /// The host of the worker that has it.
    pub(crate) host: Option<String>,
    /// How far its run is.
    pub(crate) progress: Option<TaskProgress>,
    /// Its verdict.
    pub(crate) verdict: Option<Verdict>,
    /// The run that the verdict is of.
    pub(crate) run_id: Option<String>,
    /// Why it ended so, or why it was begun again.
    pub(crate) reason: Option<String>,
}

/// The last 8 characters of an id, as output shows it.
pub(crate) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

impl Job {
    /// What it evaluates: `llama  at http://gpu7:8000/v1`.
    pub(crate) fn subject(&self) -> String {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        format!(
            "{}  at {}",
            or_unknown(&self.model),
            or_unknown(&self.endpoint)
        )
    }

    /// How it stands, in a word: its verdict once it has one.
    pub(crate) fn standing(&self) -> String {
        match self.verdict {
            Some(verdict) => verdict.to_string(),
            None => self.state.to_string(),
        }
    }
}

impl Task {
    /// How it stands, in one line.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{}  ", self.suite);
        match self.verdict {
            Some(verdict) => line.push_str(verdict.as_str()),
            None => line.push_str(match self.state {
                TaskState::Waiting => "waits for the suite before it",
                TaskState::Queued => "waits for a worker",
                TaskState::Settling => "is being settled",
                _ => "runs",
            }),
        }
        if let (TaskState::Leased, Some(host)) = (self.state, &self.host) {
            line.push_str(&format!(" on {host}"));
        }
        if self.attempt > 1 {
            line.push_str(&format!(", attempt {}", self.attempt));
        }
        if let Some(run) = &self.run_id {
            line.push_str(&format!("  run ..{}", short(run)));
        }
        if let Some(reason) = &self.reason {
            line.push_str(&format!("  ({reason})"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_one_line() {
        let task = Task {
            suite: "step".to_owned(),
            state: TaskState::Leased,
            attempt: 2,
            host: Some("gpu7".to_owned()),
            progress: None,
            verdict: None,
            run_id: None,
            reason: Some("worker a on b was lost".to_owned()),
        };
        assert_eq!(
            task.line(),
            "step  runs on gpu7, attempt 2  (worker a on b was lost)"
        );
        let done = Task {
            state: TaskState::Done,
            attempt: 1,
            host: None,
            verdict: Some(Verdict::Passed),
            run_id: Some("01927f1a-5c7e-7d0a-9b1e-3f2a9c41d7e0".to_owned()),
            reason: None,
            ..task
        };
        assert_eq!(done.line(), "step  passed  run ..9c41d7e0");
    }
}
