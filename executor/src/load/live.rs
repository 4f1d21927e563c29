//! What a run looks like while it is under way.

use std::collections::VecDeque;
use std::time::Duration;

use super::percentile::{Percentile, percentile};

/// Seconds of the past that rates and percentiles on display look back.
const LOOK_BACK_NS: i64 = 10_000_000_000;
/// Requests that they look back at most.
const LOOK_BACK_REQUESTS: usize = 4_096;

/// A run under way, as a person watches it. Nothing of it is kept: what is
/// published comes from the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSnapshot {
    /// The profile.
    pub profile: String,
    /// Number of the steady stage that runs or comes next, from 1.
    pub stage: usize,
    /// How many steady stages there are.
    pub stages: usize,
    /// The stage's name.
    pub stage_name: String,
    /// Rate asked for; `None` in a closed loop.
    pub offered_rps: Option<f64>,
    /// Requests kept in flight; `None` in an open loop.
    pub concurrency: Option<u32>,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that ended ok a second, over the last ten seconds.
    pub completed_rps: f64,
    /// Requests sent so far.
    pub sent: u64,
    /// Of these, ended ok.
    pub ok: u64,
    /// Of these, ended otherwise.
    pub errors: u64,
    /// Arrivals that could not be sent.
    pub missed: u64,
    /// Median time to first token over the last ten seconds.
    pub ttft_p50: Option<Duration>,
    /// p99 of it.
    pub ttft_p99: Option<Duration>,
    /// Since the run's start.
    pub elapsed: Duration,
    /// Until its end, as far as can be told.
    pub left: Duration,
    /// Whether arrivals are held back.
    pub paused: bool,
}

/// What a run does at the moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The subject is asked whether it answers.
    Probing,
    /// It answered.
    Serving {
        /// What serves, where it says so.
        engine: Option<String>,
        /// The models that it lists; empty where it lists none.
        models: Vec<String>,
        /// The profile that begins.
        profile: String,
        /// How many steady stages it has.
        stages: usize,
        /// How long it will take, as far as can be told.
        expected: Duration,
    },
    /// Load is on.
    Live(LiveSnapshot),
    /// Nothing more is sent; requests in flight may end.
    Draining {
        /// How many there are.
        in_flight: usize,
    },
    /// The rows are on their way to the warehouse.
    Publishing,
}

/// Requests that ended lately.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ended: VecDeque<(i64, bool, Option<i64>)>,
}

impl Recent {
    /// Counts a request that ended.
    pub(crate) fn add(&mut self, done_ns: i64, ok: bool, ttft_ns: Option<i64>) {
        if self.ended.len() == LOOK_BACK_REQUESTS {
            self.ended.pop_front();
        }
        self.ended.push_back((done_ns, ok, ttft_ns.filter(|_| ok)));
    }

    /// Ok requests a second, and p50 and p99 of their time to first token.
    pub(crate) fn figures(&mut self, now_ns: i64) -> (f64, Option<Duration>, Option<Duration>) {
        let since = now_ns - LOOK_BACK_NS;
        while self
            .ended
            .front()
            .is_some_and(|(done_ns, ..)| *done_ns < since)
        {
            self.ended.pop_front();
        }
        let ok = self.ended.iter().filter(|(_, ok, _)| *ok).count();
        let begin = match self.ended.len() == LOOK_BACK_REQUESTS {
            true => self.ended.front().map_or(since, |(done_ns, ..)| *done_ns),
            false => since.max(0),
        };
        let seconds = (now_ns - begin).max(1) as f64 / 1e9;
        let mut ttft: Vec<i64> = self.ended.iter().filter_map(|(_, _, ttft)| *ttft).collect();
        let mut of = |which| percentile(&mut ttft, which).map(duration_of);
        let (p50, p99) = (of(Percentile::P50), of(Percentile::P99));
        (ok as f64 / seconds, p50, p99)
    }
}

fn duration_of(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_look_back_ten_seconds() {
        const SECOND: i64 = 1_000_000_000;
        let mut recent = Recent::default();
        recent.add(SECOND, true, Some(7 * SECOND));
        for i in 1..=40 {
            recent.add(20 * SECOND + i, i % 2 == 0, Some(i * 1_000_000));
        }
        let (rps, p50, p99) = recent.figures(25 * SECOND);
        assert_eq!(rps, 2.0);
        assert_eq!(p50, Some(Duration::from_millis(21)));
        assert!(p99 > Some(Duration::from_millis(39)) && p99 <= Some(Duration::from_millis(40)));
        assert_eq!(recent.figures(60 * SECOND), (0.0, None, None));
    }
}
