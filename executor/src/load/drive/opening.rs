//! How a stage begins.

use std::time::Duration;

use plimsoll_ingest::Phase;

use super::Generator;
use super::due::{Due, Slots, nanos};
use crate::load::profile::{StageEnd, StagePlan};

/// A slot opens so long after the one before, at least: to make a request and its connection takes
/// a part of it, and slots that opened all at once would be late by their number.
const FASTEST_OPENING: Duration = Duration::from_micros(200);

impl Generator {
    /// Over how long the slots of a closed loop open: over its warm-up, and at least as long as a
    /// request took at the load before. Were they to open faster, all replies would come at once.
    pub(super) fn opening(&self, plan: &StagePlan) -> Duration {
        let warm_up = match (plan.phase, plan.end) {
            (Phase::WarmUp, StageEnd::After(duration)) => duration,
            _ => return Duration::ZERO,
        };
        if plan.arrivals.concurrency().is_none() {
            return warm_up;
        }
        let (sum_ns, requests) = self.e2e_ns;
        let request = Duration::from_nanos(u64::try_from(sum_ns / requests.max(1)).unwrap_or(0));
        warm_up.max(request).max(self.fastest_opening(plan))
    }

    /// How long a stage that did not warm up opens its slots before its window begins: in it, all of
    /// them are in use. A stage that a number of requests ends is as long as these take.
    pub(super) fn before_window(&self, plan: &StagePlan) -> Duration {
        match (plan.phase, plan.end) {
            (Phase::WarmUp, _) | (_, StageEnd::Requests(_)) => Duration::ZERO,
            (_, StageEnd::After(_)) => self.fastest_opening(plan),
        }
    }

    /// The least time in which the slots that a stage does not take over can open.
    fn fastest_opening(&self, plan: &StagePlan) -> Duration {
        let slots = plan.arrivals.concurrency().map_or(0, |slots| slots.get());
        let taken_over = u32::try_from(self.in_flight.count()).unwrap_or(u32::MAX);
        FASTEST_OPENING * slots.saturating_sub(taken_over)
    }

    pub(super) fn due(&self, plan: &StagePlan, started_ns: i64, opening: Duration) -> Due {
        if let Some(deadlines) = plan.deadlines() {
            let absolute = deadlines.map(move |offset| started_ns + nanos(offset));
            let absolute: Box<dyn Iterator<Item = i64>> = Box::new(absolute);
            return Due::Open(absolute.peekable());
        }
        let concurrency = plan
            .arrivals
            .concurrency()
            .map_or(1, |slots| slots.get() as usize);
        let slots = plan
            .arrivals
            .slot_openings(opening)
            .skip(self.in_flight.count())
            .zip(0..)
            .map(|(offset, slot)| started_ns + nanos(offset.max(FASTEST_OPENING * slot)));
        Due::Closed(Slots::new(slots, concurrency))
    }
}
