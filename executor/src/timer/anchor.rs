//! Which reading of `CLOCK_MONOTONIC` an [`Instant`] is.

use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// A pair of readings of one clock: as [`Instant`], which hides its value, and
/// in nanoseconds of `CLOCK_MONOTONIC`, which other processes share.
///
/// On Linux both are the same clock, so that one pair converts for ever.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicAnchor {
    instant: Instant,
    reading_ns: i64,
}

impl MonotonicAnchor {
    /// How many pairs are taken, of which the tightest is kept: the process
    /// may lose the processor between two readings, but not every time.
    const TRIES: usize = 16;

    /// Takes a pair of readings; off by no more than some 100 ns, and never
    /// early: an instant is given the reading that it had or a later one.
    pub fn now() -> Self {
        let mut best = Self::take();
        for _ in 1..Self::TRIES {
            let pair = Self::take();
            if pair.0 < best.0 {
                best = pair;
            }
        }
        best.1
    }

    /// A pair, and what is the most that it can be off.
    fn take() -> (Duration, Self) {
        let instant = Instant::now();
        let reading_ns = monotonic_ns();
        let error = instant.elapsed();
        let anchor = Self {
            instant,
            reading_ns,
        };
        (error, anchor)
    }

    /// The reading of `CLOCK_MONOTONIC` at `instant`, in nanoseconds.
    pub fn reading_at(&self, instant: Instant) -> i64 {
        match instant.checked_duration_since(self.instant) {
            Some(after) => self.reading_ns.saturating_add(nanoseconds(after)),
            None => self.reading_ns - nanoseconds(self.instant - instant),
        }
    }

    /// The instant at which `CLOCK_MONOTONIC` reads `reading_ns`.
    pub fn instant_at(&self, reading_ns: i64) -> Instant {
        let away = Duration::from_nanos(reading_ns.abs_diff(self.reading_ns));
        if reading_ns >= self.reading_ns {
            self.instant + away
        } else {
            self.instant.checked_sub(away).unwrap_or(self.instant)
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds, as every process of this machine reads it.
pub fn monotonic_ns() -> i64 {
    reading(ClockId::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME` in nanoseconds since 1970; it may step.
pub fn realtime_ns() -> i64 {
    reading(ClockId::CLOCK_REALTIME)
}

fn reading(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("Linux always has this clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

pub(super) fn time_spec(ns: i64) -> TimeSpec {
    TimeSpec::new(ns / 1_000_000_000, ns % 1_000_000_000)
}

/// More than 292 years are as good as for ever.
fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_and_its_reading_convert_both_ways() {
        let anchor = MonotonicAnchor::now();
        let instant = Instant::now();
        let reading = anchor.reading_at(instant);
        assert_eq!(anchor.instant_at(reading), instant);
        assert_eq!(
            anchor.reading_at(instant + Duration::from_millis(5)),
            reading + 5_000_000
        );
    }

    #[test]
    fn readings_before_the_anchor_are_not_lost() {
        let earlier = Instant::now();
        let anchor = MonotonicAnchor::now();
        let reading = anchor.reading_at(earlier);
        assert!(reading <= monotonic_ns());
        assert_eq!(anchor.instant_at(reading), earlier);
    }

    #[test]
    fn a_converted_instant_is_not_before_its_true_reading() {
        let anchor = MonotonicAnchor::now();
        let before = monotonic_ns();
        let instant = Instant::now();
        assert!(anchor.reading_at(instant) >= before);
    }
}
