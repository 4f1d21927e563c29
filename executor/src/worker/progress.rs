//! How far a run is, in the words of the store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::performance::{LiveSnapshot, Progress};

/// How far the run of a task is: one JSON object in `task.progress`. Rates are in requests a second,
/// latencies in nanoseconds, other times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
pub enum TaskProgress {
    /// The subject is asked whether it answers.
    Probing,
    /// Load is on.
    Measuring(Measuring),
    /// Requests in flight may end.
    Draining {
        /// How many there are.
        in_flight: usize,
    },
    /// The rows are on their way to the warehouse.
    Publishing,
}

/// A run whose load is on; see [`LiveSnapshot`] for the meanings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measuring {
    profile: String,
    stage: usize,
    stages: usize,
    stage_name: String,
    offered_rps: Option<f64>,
    concurrency: Option<u32>,
    in_flight: usize,
    completed_rps: f64,
    sent: u64,
    ok: u64,
    errors: u64,
    missed: u64,
    ttft_ns_p50: Option<u64>,
    ttft_ns_p99: Option<u64>,
    elapsed_ms: u64,
    left_ms: u64,
    paused: bool,
}

impl From<&Progress> for TaskProgress {
    fn from(progress: &Progress) -> Self {
        match progress {
            Progress::Probing | Progress::Serving { .. } => Self::Probing,
            Progress::Draining { in_flight } => Self::Draining {
                in_flight: *in_flight,
            },
            Progress::Publishing => Self::Publishing,
            Progress::Live(live) => Self::Measuring(Measuring::from(live)),
        }
    }
}

impl From<&LiveSnapshot> for Measuring {
    fn from(live: &LiveSnapshot) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            profile: live.profile.clone(),
            stage: live.stage,
            stages: live.stages,
            stage_name: live.stage_name.clone(),
            offered_rps: live.offered_rps,
            concurrency: live.concurrency,
            in_flight: live.in_flight,
            completed_rps: live.completed_rps,
            sent: live.sent,
            ok: live.ok,
            errors: live.errors,
            missed: live.missed,
            ttft_ns_p50: live.ttft_p50.map(nanos),
            ttft_ns_p99: live.ttft_p99.map(nanos),
            elapsed_ms: millis(live.elapsed),
            left_ms: millis(live.left),
            paused: live.paused,
        }
    }
}

impl From<TaskProgress> for Progress {
    /// As somebody watches it who is not there.
    fn from(progress: TaskProgress) -> Self {
        match progress {
            TaskProgress::Probing => Self::Probing,
            TaskProgress::Draining { in_flight } => Self::Draining { in_flight },
            TaskProgress::Publishing => Self::Publishing,
            TaskProgress::Measuring(run) => Self::Live(LiveSnapshot {
                profile: run.profile,
                stage: run.stage,
                stages: run.stages,
                stage_name: run.stage_name,
                offered_rps: run.offered_rps,
                concurrency: run.concurrency,
                in_flight: run.in_flight,
                completed_rps: run.completed_rps,
                sent: run.sent,
                ok: run.ok,
                errors: run.errors,
                missed: run.missed,
                ttft_p50: run.ttft_ns_p50.map(Duration::from_nanos),
                ttft_p99: run.ttft_ns_p99.map(Duration::from_nanos),
                elapsed: Duration::from_millis(run.elapsed_ms),
                left: Duration::from_millis(run.left_ms),
                paused: run.paused,
            }),
        }
    }
}

impl TaskProgress {
    /// As the store has it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}
