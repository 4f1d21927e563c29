//! When requests are due.
//!
//! Arrivals are data: the load loop asks them for deadlines and knows nothing of rates. Deadlines
//! are offsets from the stage's start that are fixed before the stage begins, so that a late server
//! or a late generator moves none of them. Must not know clocks, sockets or tasks.

use std::fmt;
use std::time::Duration;

use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::Exp1;

const NANOS_PER_SECOND: f64 = 1e9;

/// How a stage's requests come to be due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Closed loop: so many requests are kept in flight; the next is due when one ends.
    Closed {
        /// Requests in flight.
        concurrency: Concurrency,
    },
    /// Open loop with equal gaps: request i is due at `i / rate`.
    Constant {
        /// Requests a second.
        rate: OfferedRate,
    },
    /// Open loop with independent, exponentially distributed gaps.
    Poisson {
        /// Requests a second, in the mean.
        rate: OfferedRate,
        /// The seed of the gaps: the same seed, the same deadlines.
        seed: u64,
    },
}

impl Arrivals {
    /// The deadlines before `window`, as offsets from the stage's start, ascending; `None` in a
    /// closed loop, where requests are due as others end.
    pub fn deadlines(&self, window: Duration) -> Option<Deadlines> {
        let gaps = match *self {
            Self::Closed { .. } => return None,
            Self::Constant { rate } => Gaps::Constant { rate, next: 0 },
            Self::Poisson { rate, seed } => Gaps::Poisson {
                rate,
                rng: Box::new(ChaCha8Rng::seed_from_u64(seed)),
                at_s: 0.0,
            },
        };
        Some(Deadlines { gaps, window })
    }

    /// When each slot of a closed loop opens if they open evenly over `over`, the first at once;
    /// none in an open loop.
    pub fn slot_openings(&self, over: Duration) -> impl Iterator<Item = Duration> + use<> {
        let slots = self.concurrency().map_or(0, Concurrency::get);
        (0..slots).map(move |slot| over.mul_f64(f64::from(slot) / f64::from(slots)))
    }

    /// Requests a second that are asked for; `None` in a closed loop.
    pub const fn offered_rate(&self) -> Option<OfferedRate> {
        match *self {
            Self::Closed { .. } => None,
            Self::Constant { rate } | Self::Poisson { rate, .. } => Some(rate),
        }
    }

    /// Requests kept in flight; `None` in an open loop.
    pub const fn concurrency(&self) -> Option<Concurrency> {
        match *self {
            Self::Closed { concurrency } => Some(concurrency),
            Self::Constant { .. } | Self::Poisson { .. } => None,
        }
    }
}

/// The deadlines of an open loop, from [`Arrivals::deadlines`].
#[derive(Debug, Clone)]
pub struct Deadlines {
    gaps: Gaps,
    window: Duration,
}

#[derive(Debug, Clone)]
enum Gaps {
    Constant {
        rate: OfferedRate,
        next: u64,
    },
    Poisson {
        rate: OfferedRate,
        rng: Box<ChaCha8Rng>,
        at_s: f64,
    },
}

impl Iterator for Deadlines {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at_s = match &mut self.gaps {
            // From the index and not from the deadline before: no error adds up.
            Gaps::Constant { rate, next } => {
                let at_s = *next as f64 / rate.per_second();
                *next += 1;
                at_s
            }
            Gaps::Poisson { rate, rng, at_s } => {
                let unit_gap: f64 = Exp1.sample(rng);
                *at_s += unit_gap / rate.per_second();
                *at_s
            }
        };
        // A float cast saturates, so a deadline past all time ends the stage too.
        let deadline = Duration::from_nanos((at_s * NANOS_PER_SECOND).round() as u64);
        (deadline < self.window).then_some(deadline)
    }
}

/// Requests a second that are offered: more than 0, at most a million.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct OfferedRate(f64);

impl OfferedRate {
    /// The highest rate that can be asked for.
    pub const MAX: f64 = 1_000_000.0;

    /// A rate in requests a second.
    ///
    /// # Errors
    /// If it is not a number, not above 0, or above [`OfferedRate::MAX`].
    pub fn new(per_second: f64) -> Result<Self, RateError> {
        // Below one request in 30 years the deadlines would leave the range of nanoseconds.
        if (1e-9..=Self::MAX).contains(&per_second) {
            Ok(Self(per_second))
        } else {
            Err(RateError(per_second))
        }
    }

    /// Requests a second.
    pub const fn per_second(self) -> f64 {
        self.0
    }

    /// So many times this rate; `None` where that is out of range.
    pub fn grown(self, factor: f64) -> Option<Self> {
        Self::new(self.0 * factor).ok()
    }
}

impl fmt::Display for OfferedRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} req/s", self.0)
    }
}

/// A rate that cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a rate of {0} req/s cannot be offered; use a number above 0 and up to 1000000")]
pub struct RateError(pub f64);

/// Requests kept in flight: from 1 to 20000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concurrency(u32);

impl Concurrency {
    /// The most requests that can be kept in flight.
    pub const MAX: u32 = 20_000;

    /// A number of requests in flight.
    ///
    /// # Errors
    /// If it is 0 or above [`Concurrency::MAX`].
    pub fn new(requests: u32) -> Result<Self, ConcurrencyError> {
        if (1..=Self::MAX).contains(&requests) {
            Ok(Self(requests))
        } else {
            Err(ConcurrencyError(requests))
        }
    }

    /// Requests in flight.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A concurrency that cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a concurrency of {0} cannot be held; use a whole number from 1 to 20000")]
pub struct ConcurrencyError(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: f64) -> OfferedRate {
        OfferedRate::new(per_second).expect("a rate")
    }

    fn deadlines(arrivals: Arrivals, window_s: u64) -> Vec<f64> {
        arrivals
            .deadlines(Duration::from_secs(window_s))
            .expect("an open loop")
            .map(|deadline| deadline.as_secs_f64())
            .collect()
    }

    fn gaps(deadlines: &[f64]) -> Vec<f64> {
        deadlines.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn constant_arrivals_have_equal_gaps_that_never_drift() {
        let arrivals = Arrivals::Constant { rate: rate(3.0) };
        let all: Vec<Duration> = arrivals
            .deadlines(Duration::from_secs(10_000))
            .expect("an open loop")
            .collect();
        assert_eq!(all.len(), 30_000);
        assert_eq!(all[0], Duration::ZERO);
        assert_eq!(all[1], Duration::from_nanos(333_333_333));
        assert_eq!(all[29_999], Duration::from_nanos(9_999_666_666_667));
        for pair in all.windows(2) {
            let gap = (pair[1] - pair[0]).as_nanos();
            assert!((333_333_332..=333_333_335).contains(&gap), "{gap}");
        }
    }

    #[test]
    fn a_deadline_at_the_end_of_the_window_is_outside() {
        let arrivals = Arrivals::Constant { rate: rate(4.0) };
        assert_eq!(deadlines(arrivals, 1), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(deadlines(arrivals, 0), [0.0; 0]);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let all = deadlines(
            Arrivals::Poisson {
                rate: rate(100.0),
                seed: 7,
            },
            1000,
        );
        // The count of a Poisson process of mean 100000 lies within 4 deviations.
        assert!(
            (all.len() as f64 - 100_000.0).abs() < 4.0 * 316.3,
            "{}",
            all.len()
        );
        let mut gaps = gaps(&all);
        let n = gaps.len() as f64;
        gaps.sort_unstable_by(f64::total_cmp);
        // Kolmogorov-Smirnov against 1 - exp(-rate * gap), at 0.1 %: 1.95 / sqrt(n).
        let distance = gaps
            .iter()
            .enumerate()
            .map(|(i, gap)| {
                let law = 1.0 - (-100.0 * gap).exp();
                (law - i as f64 / n)
                    .abs()
                    .max((law - (i + 1) as f64 / n).abs())
            })
            .fold(0.0, f64::max);
        assert!(distance < 1.95 / n.sqrt(), "{distance}");
    }

    #[test]
    fn poisson_gaps_are_independent_of_the_one_before() {
        let gaps = gaps(&deadlines(
            Arrivals::Poisson {
                rate: rate(50.0),
                seed: 11,
            },
            1000,
        ));
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance: f64 = gaps.iter().map(|gap| (gap - mean).powi(2)).sum();
        let covariance: f64 = gaps
            .windows(2)
            .map(|pair| (pair[0] - mean) * (pair[1] - mean))
            .sum();
        // 4 deviations of the lag-1 autocorrelation of white noise, 1 / sqrt(n).
        let bound = 4.0 / (gaps.len() as f64).sqrt();
        assert!((covariance / variance).abs() < bound);
    }

    #[test]
    fn the_seed_decides_the_deadlines() {
        let of = |seed| {
            deadlines(
                Arrivals::Poisson {
                    rate: rate(20.0),
                    seed,
                },
                10,
            )
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_closed_loop_has_slots_and_no_deadlines() {
        let arrivals = Arrivals::Closed {
            concurrency: Concurrency::new(4).expect("a concurrency"),
        };
        assert!(arrivals.deadlines(Duration::from_secs(1)).is_none());
        let openings: Vec<u128> = arrivals
            .slot_openings(Duration::from_secs(2))
            .map(|at| at.as_millis())
            .collect();
        assert_eq!(openings, [0, 500, 1000, 1500]);
        assert!(
            arrivals
                .slot_openings(Duration::ZERO)
                .all(|at| at.is_zero())
        );
        let open = Arrivals::Constant { rate: rate(1.0) };
        assert_eq!(open.slot_openings(Duration::from_secs(2)).count(), 0);
    }

    #[test]
    fn rates_and_concurrencies_out_of_range_are_refused_with_the_value() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7, 1e-12] {
            let message = OfferedRate::new(bad).expect_err("out of range").to_string();
            assert_eq!(
                message,
                format!(
                    "a rate of {bad} req/s cannot be offered; use a number above 0 and up to 1000000"
                )
            );
        }
        for bad in [0, 100_001] {
            let message = Concurrency::new(bad).expect_err("out of range");
            assert_eq!(
                message.to_string(),
                format!(
                    "a concurrency of {bad} cannot be held; use a whole number from 1 to 20000"
                )
            );
        }
    }
}
