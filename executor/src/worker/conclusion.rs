//! What the end of an attempt means for its task.

use std::time::Duration;

use plimsoll_ingest::{RunId, Verdict};
use rand::RngExt as _;

use super::keeper::Told;
use crate::control::{Lease, TaskEnd, TaskState};
use crate::performance::{JobError, RunOutcome, SubjectError};

/// The first wait before a task is begun again, and the longest.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Where this host or the warehouse cannot do its part, it may soon.
const PUT_BACK_FOR: Duration = Duration::from_secs(15);

/// What becomes of a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Conclusion {
    /// It has ended.
    Ended(TaskEnd),
    /// A run has to say that there is no measurement, and then it has ended.
    EndWithoutRun { why: Why, reason: String },
    /// It is begun again after a while.
    Again { after: Duration, reason: String },
    /// It is put back, and no attempt is lost.
    PutBack {
        ran: bool,
        after: Duration,
        reason: String,
    },
    /// Whether a run ended it, the warehouse knows.
    Ask,
    /// It is another worker's.
    NotOurs,
}

/// Why there is no measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Failed,
    Cancelled,
}

/// Whether a run without a measurement ends its task. What is decided here is what [`of_run`] says later.
pub(super) fn ends_task(
    verdict: Verdict,
    failure: Option<&SubjectError>,
    told: Option<&Told>,
    last_attempt: bool,
) -> bool {
    if matches!(told, Some(Told::Lost | Told::Drained)) {
        return false;
    }
    match verdict {
        Verdict::Cancelled => true,
        Verdict::Error => last_attempt || failure.is_some_and(is_hopeless),
        _ => false,
    }
}

/// What a run that was published means.
pub(super) fn of_run(outcome: &RunOutcome, told: Option<&Told>, lease: &Lease) -> Conclusion {
    let run = outcome.run.run_id;
    let Ok(verdict) = outcome.run.verdict.parse::<Verdict>() else {
        return Conclusion::Ask;
    };
    if verdict.completes_task() {
        return Conclusion::Ended(end(verdict, run, None));
    }
    match told {
        Some(Told::Lost) => return Conclusion::NotOurs,
        Some(Told::Drained) if verdict == Verdict::Cancelled => {
            let reason = "its worker ended".to_string();
            return Conclusion::PutBack {
                ran: true,
                after: Duration::ZERO,
                reason,
            };
        }
        _ => {}
    }
    match verdict {
        Verdict::Cancelled => {
            let reason = match told {
                Some(Told::Cancelled(by)) => Some(format!("cancelled by {by}")),
                // An abort rule; the run's reasons have it.
                _ => None,
            };
            Conclusion::Ended(end(verdict, run, reason))
        }
        // Another run was there first, or rows are missing.
        Verdict::Incomplete => Conclusion::Ask,
        _ => {
            let reason = outcome.failure.as_ref().map(ToString::to_string);
            let hopeless = outcome.failure.as_ref().is_some_and(is_hopeless);
            match lease.is_last_attempt() || hopeless {
                true => Conclusion::Ended(end(verdict, run, reason)),
                false => again(
                    lease,
                    reason.unwrap_or_else(|| "its run failed".to_string()),
                ),
            }
        }
    }
}

/// What it means that there is no run at all.
pub(super) fn of_no_run(error: &JobError, told: Option<&Told>, lease: &Lease) -> Conclusion {
    let reason = error.to_string();
    match (told, error) {
        (Some(Told::Lost), _) => Conclusion::NotOurs,
        (Some(Told::Cancelled(by)), JobError::Stopped { .. }) => Conclusion::EndWithoutRun {
            why: Why::Cancelled,
            reason: by.clone(),
        },
        (Some(Told::Drained), _) => Conclusion::PutBack {
            ran: false,
            after: Duration::ZERO,
            reason: "its worker ended".to_string(),
        },
        (_, JobError::Warehouse { .. } | JobError::Spool { .. }) => Conclusion::PutBack {
            ran: false,
            after: spread(PUT_BACK_FOR),
            reason,
        },
        (_, JobError::Subject(subject)) if is_hopeless(subject) => failed(reason),
        _ if lease.is_last_attempt() => failed(reason),
        _ => again(lease, reason),
    }
}

fn failed(reason: String) -> Conclusion {
    Conclusion::EndWithoutRun {
        why: Why::Failed,
        reason,
    }
}

/// It is begun again after a wait that grows with the attempts.
pub(super) fn again(lease: &Lease, reason: String) -> Conclusion {
    let (least, most) = RETRY_AFTER;
    let doubled = u32::try_from(lease.attempt.clamp(1, 16) - 1).unwrap_or(0);
    let after = spread(least.saturating_mul(1 << doubled).min(most));
    Conclusion::Again { after, reason }
}

/// Half as much to half as much again, so that what failed together does not come back together.
fn spread(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.5))
}

/// How a task ends with a run.
pub(super) fn end(verdict: Verdict, run: RunId, reason: Option<String>) -> TaskEnd {
    let state = match verdict {
        Verdict::Cancelled => TaskState::Cancelled,
        verdict if verdict.completes_task() => TaskState::Done,
        _ => TaskState::Dead,
    };
    TaskEnd {
        state,
        verdict,
        run: Some(run),
        reason,
    }
}

/// Whether the subject will not do, however often it is tried.
fn is_hopeless(error: &SubjectError) -> bool {
    match error {
        SubjectError::NoSuchModel { .. }
        | SubjectError::Unauthorized { .. }
        | SubjectError::NotOpenAi { .. } => true,
        SubjectError::Refused { http_status, .. } => {
            (300..500).contains(http_status) && !matches!(http_status, 408 | 425 | 429)
        }
        SubjectError::NoTls { .. }
        | SubjectError::Unreachable { .. }
        | SubjectError::Hangs { .. }
        | SubjectError::BrokeOff { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_never_do_is_told_from_what_may() {
        let refused = |http_status| SubjectError::Refused {
            url: "u".to_string(),
            http_status,
            reason: None,
            has_version_path: true,
            base: "b".to_string(),
        };
        for status in [301, 400, 404, 422] {
            assert!(is_hopeless(&refused(status)), "{status}");
        }
        for status in [408, 429, 500, 502, 503] {
            assert!(!is_hopeless(&refused(status)), "{status}");
        }
        let unreachable = SubjectError::Unreachable {
            url: "u".to_string(),
            reason: "r".to_string(),
        };
        assert!(!is_hopeless(&unreachable));
    }

    #[test]
    fn waits_are_spread() {
        let wait = Duration::from_secs(10);
        let waits: Vec<Duration> = (0..100).map(|_| spread(wait)).collect();
        assert!(waits.iter().all(|w| (wait / 2..=wait * 3 / 2).contains(w)));
        assert!(waits.iter().any(|w| *w < wait) && waits.iter().any(|w| *w > wait));
    }
}
