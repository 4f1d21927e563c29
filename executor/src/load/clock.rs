//! The run's time line: nanoseconds since its start, on the monotonic clock.
//!
//! The kernel stamps received bytes with the wall clock. [`RunClock`] keeps the
//! distance between the two clocks, sampled through the run, and notices when
//! somebody sets the wall clock in the middle of it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::timer::{MonotonicAnchor, monotonic_ns, realtime_ns};

/// Between two samples of the distance the clocks may drift apart, not jump.
const STEP: Duration = Duration::from_millis(5);
/// Tries of one sample; the tightest counts.
const TRIES: u32 = 5;

/// Wall clock less monotonic clock, from the tightest of a few readings.
fn distance() -> i64 {
    let sample = |_| {
        let before = monotonic_ns();
        let wall = realtime_ns();
        let after = monotonic_ns();
        (after - before, wall - (before + (after - before) / 2))
    };
    (0..TRIES)
        .map(sample)
        .min()
        .map_or(0, |(_, distance)| distance)
}

/// Moments of one run, in ns since its start.
#[derive(Debug)]
pub struct RunClock {
    anchor: MonotonicAnchor,
    monotonic_start_ns: i64,
    realtime_start_ns: i64,
    distance: Cell<i64>,
    steps: Cell<u32>,
}

impl RunClock {
    /// Begins a run now.
    pub fn start() -> Self {
        let monotonic_start_ns = monotonic_ns();
        let distance = distance();
        Self {
            anchor: MonotonicAnchor::now(),
            monotonic_start_ns,
            realtime_start_ns: monotonic_start_ns + distance,
            distance: Cell::new(distance),
            steps: Cell::new(0),
        }
    }

    /// Now.
    pub fn now_ns(&self) -> i64 {
        monotonic_ns() - self.monotonic_start_ns
    }

    /// The instant of a moment, for timers.
    pub fn instant(&self, at_ns: i64) -> Instant {
        let reading_ns = self.monotonic_start_ns.saturating_add(at_ns.max(0));
        self.anchor.instant_at(reading_ns)
    }

    /// The moment of a wall-clock time that the kernel took.
    pub fn of_realtime(&self, realtime_ns: i64) -> i64 {
        realtime_ns - self.distance.get() - self.monotonic_start_ns
    }

    /// Samples the distance between the clocks anew; call it a few times a
    /// second. Returns whether the wall clock was set since the last sample.
    pub fn resample(&self) -> bool {
        let now = distance();
        let moved = now.abs_diff(self.distance.replace(now));
        let stepped = u128::from(moved) > STEP.as_nanos();
        if stepped {
            self.steps.set(self.steps.get() + 1);
        }
        stepped
    }

    /// How often the wall clock was set during the run.
    pub fn steps(&self) -> u32 {
        self.steps.get()
    }

    /// The start on the system's monotonic clock, in ns.
    pub fn monotonic_start_ns(&self) -> i64 {
        self.monotonic_start_ns
    }

    /// The start on the wall clock, in ns since the Unix epoch.
    pub fn realtime_start_ns(&self) -> i64 {
        self.realtime_start_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_name_the_same_moment() {
        let clock = RunClock::start();
        let before = clock.now_ns();
        let wall = clock.of_realtime(realtime_ns());
        let after = clock.now_ns();
        let slack = 2_000_000;
        assert!(
            before - slack <= wall && wall <= after + slack,
            "{before} {wall} {after}"
        );
        assert!(!clock.resample());
        assert_eq!(clock.steps(), 0);
    }

    #[test]
    fn a_wall_clock_that_was_set_is_noticed_once() {
        let clock = RunClock::start();
        clock.distance.set(clock.distance.get() - 1_000_000_000);
        assert!(clock.resample());
        assert!(!clock.resample());
        assert_eq!(clock.steps(), 1);
    }
}
