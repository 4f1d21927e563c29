//! Noticing that a closed loop itself stood still.
//!
//! A process that is stopped, starved or suspended reads what came meanwhile with times that look
//! well, and its slots stand empty: the load was lighter than the stage says. Of a thousand short
//! replies one was late then, which no percentile tells. The loop knows when it meant to be back.
//! An open loop needs no such rule: its latencies count from the schedule, and all that fell due
//! meanwhile is late.

use std::time::Duration;

use plimsoll_ingest::Phase;

use super::due::Due;
use super::{Current, Generator};

/// To come later by no more than this is what a busy machine does.
const NEVER_MIND_NS: i64 = 10_000_000;
/// A stage of which the loop stood still for more than one part in so many measured something else:
/// 5 %.
const PARTS: i64 = 20;
/// In a short stage that is little; how late requests were sent says more of it.
const FLOOR_NS: i64 = 250_000_000;

/// A steady stage of which the loop stood still for too large a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldUp {
    /// Its name.
    pub(crate) stage: String,
    /// For how long.
    pub(crate) time: Duration,
    /// Of how long.
    pub(crate) of: Duration,
}

impl Generator {
    /// The steady stage of which the loop stood still for the largest part, where that was too much.
    pub(crate) fn held_up(&self) -> Option<&HeldUp> {
        self.held_up.as_ref()
    }

    /// Adds to a stage how much of it the loop came later than it meant to, where that is much. From
    /// now on it means to be back at once.
    pub(super) fn note_late(&mut self, stage: &mut Current) {
        let now_ns = self.clock.now_ns();
        let late_ns = now_ns.saturating_sub(self.back_by_ns);
        if late_ns > NEVER_MIND_NS {
            let in_stage_ns = stage.ends_ns.map_or(now_ns, |ends_ns| ends_ns.min(now_ns));
            stage.held_up_ns += in_stage_ns.saturating_sub(self.back_by_ns).max(0);
        }
        self.back_by_ns = now_ns;
    }

    /// Remembers a steady stage of a closed loop that was held up for too large a part, until its end or later.
    pub(super) fn note_held_up(&mut self, stage: &Current, until_ns: i64) {
        let of_ns = until_ns - stage.started_ns;
        let closed = matches!(stage.due, Due::Closed(_));
        if !closed
            || stage.phase != Phase::Steady
            || stage.held_up_ns <= FLOOR_NS.max(of_ns / PARTS)
        {
            return;
        }
        let time = |ns: i64| Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
        let this = HeldUp {
            stage: stage.name.clone(),
            time: time(stage.held_up_ns),
            of: time(of_ns),
        };
        let part = |held_up: &HeldUp| held_up.time.as_secs_f64() / held_up.of.as_secs_f64();
        if self
            .held_up
            .as_ref()
            .is_none_or(|other| part(other) < part(&this))
        {
            self.held_up = Some(this);
        }
    }
}
