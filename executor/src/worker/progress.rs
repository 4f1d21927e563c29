//! How far a run is, in the words of the store.

use serde::Serialize;

use crate::performance::Progress;

/// How far the run of a task is; one JSON object in `task.progress`. Rates are in requests a second,
/// latencies in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
pub enum TaskProgress {
    /// The subject is asked whether it answers.
    Probing,
    /// Load is on.
    Measuring {
        /// Number of the steady stage that runs or comes next, from 1.
        stage: usize,
        /// How many there are.
        stages: usize,
        /// The stage's name.
        stage_name: String,
        /// Requests in flight.
        in_flight: usize,
        /// Requests that ended ok a second, lately.
        completed_rps: f64,
        /// Requests sent so far.
        sent: u64,
        /// Of these, failed.
        errors: u64,
        /// Median time to first token, lately; null before the first.
        ttft_ns_p50: Option<u64>,
        /// p99 of it.
        ttft_ns_p99: Option<u64>,
        /// Seconds until the run's end, as far as can be told.
        left_s: u64,
        /// Whether requests are held back.
        paused: bool,
    },
    /// Requests in flight may end.
    Draining {
        /// How many there are.
        in_flight: usize,
    },
    /// The rows are on their way to the warehouse.
    Publishing,
}

impl From<&Progress> for TaskProgress {
    fn from(progress: &Progress) -> Self {
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match progress {
            Progress::Probing | Progress::Serving { .. } => Self::Probing,
            Progress::Draining { in_flight } => Self::Draining {
                in_flight: *in_flight,
            },
            Progress::Publishing => Self::Publishing,
            Progress::Live(live) => Self::Measuring {
                stage: live.stage,
                stages: live.stages,
                stage_name: live.stage_name.clone(),
                in_flight: live.in_flight,
                completed_rps: (live.completed_rps * 10.0).round() / 10.0,
                sent: live.sent,
                errors: live.errors,
                ttft_ns_p50: live.ttft_p50.map(nanos),
                ttft_ns_p99: live.ttft_p99.map(nanos),
                left_s: live.left.as_secs(),
                paused: live.paused,
            },
        }
    }
}

impl TaskProgress {
    /// As the store has it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}
