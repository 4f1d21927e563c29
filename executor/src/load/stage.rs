//! The figures of a stage, from the facts of its requests.
//!
//! Small stages go through [`StageStats::of`]. Long runs count in one pass with [`StageTally`] and
//! take percentiles of one [`RequestColumn`] at a time, so that memory holds one column and no
//! more. Pure: facts in, figures out; the rows of `raw.requests` give the same figures at any time.

mod backlog;
mod facts;
mod generator;
mod tally;

use plimsoll_ingest::Phase;

use super::percentile::{Percentiles, percentiles};
use crate::slo::LatencyMetric;

pub use backlog::BacklogTrend;
pub use facts::{RequestColumn, RequestFacts};
pub use generator::{GeneratorReport, IdleSlots};
pub use tally::StageTally;

/// A stage as it was run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageWindow {
    /// Number of the stage.
    pub stage: i64,
    /// Its phase.
    pub phase: Phase,
    /// Begin of its window, in ns since the run's start.
    pub started_ns: i64,
    /// Length of its window, in ns; the drain is outside.
    pub duration_ns: i64,
    /// Rate asked for, in requests a second; `None` in a closed loop.
    pub offered_rps: Option<f64>,
    /// How long before its begin requests came at its rate: its warm-up, in ns.
    pub warmed_ns: i64,
    /// Arrivals that could not be sent.
    pub missed: i64,
}

impl StageWindow {
    /// Whether a request ended inside: after the begin, and at the end at the latest.
    fn holds_end_of(&self, request: &RequestFacts) -> bool {
        request.done_ns > self.started_ns && request.done_ns <= self.end_ns()
    }

    /// Whether a request is the stage's own, or of another and reaches into its window.
    fn touches(&self, request: &RequestFacts) -> bool {
        let reaches_in = request.done_ns > self.started_ns && request.scheduled_ns < self.end_ns();
        request.stage == self.stage || reaches_in
    }

    const fn end_ns(&self) -> i64 {
        self.started_ns + self.duration_ns
    }
}

/// Percentiles of a stage's ok requests, in ns; each `None` where there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageLatencies {
    /// Scheduled to first token.
    pub ttft: Option<Percentiles>,
    /// Time per output token, the first left out.
    pub tpot: Option<Percentiles>,
    /// Gaps between chunks, pooled over requests.
    pub itl: Option<Percentiles>,
    /// Scheduled to done.
    pub e2e: Option<Percentiles>,
    /// Scheduled to sent.
    pub queue: Option<Percentiles>,
}

impl StageLatencies {
    /// The percentiles of a latency that an SLO can bound.
    pub const fn of(&self, metric: LatencyMetric) -> Option<Percentiles> {
        match metric {
            LatencyMetric::Ttft => self.ttft,
            LatencyMetric::Tpot => self.tpot,
            LatencyMetric::Itl => self.itl,
            LatencyMetric::E2e => self.e2e,
        }
    }
}

/// The figures of a stage: a row of `reports.stages`, less names and sketches. The names are those
/// of the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageStats {
    /// Number of the stage.
    pub stage: i64,
    /// Its phase.
    pub phase: Phase,
    /// Rate asked for, in requests a second; `None` in a closed loop.
    pub offered_rps: Option<f64>,
    /// Begin of its window, in ns since the run's start.
    pub started_ns: i64,
    /// Length of its window, in ns.
    pub duration_ns: i64,
    /// Requests sent, drained ones too.
    pub sent: i64,
    /// Arrivals that could not be sent.
    pub missed: i64,
    /// Of those sent, requests that the generator had no connection for: rows, and missed all the
    /// same.
    pub unsent: i64,
    /// Requests that ended ok, drained ones too.
    pub ok: i64,
    /// Requests that are good, drained ones too.
    pub good: i64,
    /// Requests that did not end ok: sent less ok.
    pub errors: i64,
    /// Of these, timeouts.
    pub timeouts: i64,
    /// Requests that ended ok inside the window, a second, those of the warm-up before too.
    pub throughput_rps: f64,
    /// Good requests that ended inside the window, a second, those of the warm-up before too.
    pub goodput_rps: f64,
    /// Output tokens of the requests that throughput counts, a second.
    pub output_tokens_per_s: f64,
    /// Prompt tokens of ok requests.
    pub prompt_tokens: i64,
    /// Output tokens of ok requests.
    pub output_tokens: i64,
    /// Prompt tokens asked of ok requests; `None` where lengths are not set.
    pub prompt_tokens_asked: Option<i64>,
    /// Output tokens asked of ok requests; `None` where lengths are not set.
    pub output_tokens_asked: Option<i64>,
    /// Chunks of ok requests that bore a token; `None` where no reply came in chunks.
    pub token_chunks: Option<i64>,
    /// Of these, chunks that one read brought along with the one before; `None` as there.
    pub bundled_chunks: Option<i64>,
    /// Percentiles over ok requests.
    pub latencies: StageLatencies,
    /// Most requests in flight at once.
    pub in_flight_max: i64,
    /// Growth of the backlog; `None` in a closed loop, or with fewer than ten arrivals.
    pub backlog: Option<BacklogTrend>,
    /// Share of the offered rate that was served without letting the backlog grow; `None` in a
    /// closed loop, or where nothing was due.
    pub achieved_ratio: Option<f64>,
    /// p99 of scheduled to sent over all requests, in ns; `None` where nothing was sent.
    pub schedule_lag_ns_p99: Option<i64>,
    /// How its slots were used; `None` in an open loop, or where nothing was sent.
    pub idle_slots: Option<IdleSlots>,
}

impl StageStats {
    /// The figures of one stage. `requests` may hold those of the stage before, whose rest is
    /// counted where it reaches in; `itl` are the percentiles of the pooled chunk gaps, which the
    /// facts do not hold.
    ///
    /// Walks over the requests once for the counts and once a column.
    pub fn of<I>(window: StageWindow, requests: I, itl: Option<Percentiles>) -> Self
    where
        I: Iterator<Item = RequestFacts> + Clone,
    {
        let mut tally = StageTally::new(window);
        requests.clone().for_each(|request| tally.add(&request));
        let own = requests
            .clone()
            .filter(|request| request.stage == window.stage);
        let mut values = Vec::new();
        let mut fill = |column: RequestColumn| {
            values.clear();
            values.extend(own.clone().filter_map(|request| column.value(&request)));
            percentiles(&mut values)
        };
        let latencies = StageLatencies {
            ttft: fill(RequestColumn::Ttft),
            tpot: fill(RequestColumn::Tpot),
            itl,
            e2e: fill(RequestColumn::E2e),
            queue: fill(RequestColumn::Queue),
        };
        let schedule_lag_ns_p99 = fill(RequestColumn::Lag).map(|lag| lag.p99);
        let here = requests.filter(|request| window.touches(request));
        let mut sent: Vec<i64> = here.clone().map(|request| request.sent_ns).collect();
        let mut done: Vec<i64> = here.map(|request| request.done_ns).collect();
        tally.finish(
            latencies,
            schedule_lag_ns_p99,
            in_flight_max(&mut sent, &mut done),
        )
    }

    /// Share of the requests that did not end ok, from 0 to 1; `None` where none was sent.
    pub fn error_rate(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.errors as f64 / self.sent as f64)
    }

    /// What the generator reports of this stage.
    pub fn generator(&self) -> GeneratorReport {
        GeneratorReport {
            schedule_lag_ns_p99: self.schedule_lag_ns_p99,
            ttft_ns_p50: self.latencies.ttft.map(|ttft| ttft.p50),
            sent: self.sent - self.unsent,
            missed: self.missed + self.unsent,
            idle_slots: self.idle_slots,
        }
    }

    /// Whether the generator did its part, so that the stage measured the subject.
    pub fn is_valid(&self) -> bool {
        self.generator().is_valid()
    }
}

/// Most requests in flight at once, from the moments of sending and ending in any order. One that
/// ends when another is sent makes room for it.
pub fn in_flight_max(sent_ns: &mut [i64], done_ns: &mut [i64]) -> i64 {
    sent_ns.sort_unstable();
    done_ns.sort_unstable();
    let mut done = done_ns.iter().peekable();
    let (mut in_flight, mut max) = (0, 0);
    for sent in sent_ns {
        in_flight += 1;
        while done.next_if(|done| *done <= sent).is_some() {
            in_flight -= 1;
        }
        max = max.max(in_flight);
    }
    max
}

#[cfg(test)]
impl StageStats {
    /// A steady stage in which nothing happened, for tests to fill.
    pub(crate) fn of_nothing(stage: i64) -> Self {
        let window = StageWindow {
            stage,
            phase: Phase::Steady,
            started_ns: 0,
            duration_ns: 1_000_000_000,
            offered_rps: None,
            warmed_ns: 0,
            missed: 0,
        };
        StageTally::new(window).finish(StageLatencies::default(), None, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_ingest::RequestStatus;

    const SECOND: i64 = 1_000_000_000;
    const MS: i64 = 1_000_000;

    const WINDOW: StageWindow = StageWindow {
        stage: 1,
        phase: Phase::Steady,
        started_ns: 10 * SECOND,
        duration_ns: 10 * SECOND,
        offered_rps: Some(1.0),
        warmed_ns: 0,
        missed: 0,
    };

    /// Request `i` of ten: due a second after the one before, sent 1 ms late, done after 500 ms.
    fn request(i: i64) -> RequestFacts {
        let scheduled_ns = WINDOW.started_ns + i * SECOND;
        RequestFacts {
            stage: 1,
            phase: Phase::Steady,
            scheduled_ns,
            sent_ns: scheduled_ns + MS,
            done_ns: scheduled_ns + 500 * MS,
            status: RequestStatus::Ok,
            good: true,
            unsent: false,
            ttft_ns: Some((i + 1) * 10 * MS),
            tpot_ns: Some(20 * MS),
            prompt_tokens: Some(100),
            output_tokens: Some(20),
            prompt_tokens_asked: Some(90),
            output_tokens_asked: Some(25),
            token_chunks: Some(20),
            bundled_chunks: Some(i),
        }
    }

    fn stats(requests: &[RequestFacts]) -> StageStats {
        StageStats::of(WINDOW, requests.iter().copied(), None)
    }

    #[test]
    fn ten_even_requests_on_paper() {
        let requests: Vec<_> = (0..10).map(request).collect();
        let found = stats(&requests);
        assert_eq!(
            (found.sent, found.ok, found.good, found.errors),
            (10, 10, 10, 0)
        );
        assert_eq!(found.throughput_rps, 1.0);
        assert_eq!(found.goodput_rps, 1.0);
        assert_eq!(found.output_tokens_per_s, 20.0);
        assert_eq!((found.prompt_tokens, found.output_tokens), (1000, 200));
        assert_eq!(found.prompt_tokens_asked, Some(900));
        assert_eq!(found.output_tokens_asked, Some(250));
        assert_eq!(
            (found.token_chunks, found.bundled_chunks),
            (Some(200), Some(45))
        );
        let ttft = found.latencies.ttft.expect("ten values");
        // Ranks 4.5, 8.1, 8.55 and 8.91 of 10 to 100 ms; in floating point 8.1 and 8.55 lie a bit
        // below, so that their weights are cut to 0.099999 and 0.549999.
        assert_eq!(
            ttft.to_array(),
            [55_000_000, 90_999_990, 95_499_990, 99_100_000]
        );
        assert_eq!(found.latencies.e2e, Some([500 * MS; 4].into()));
        assert_eq!(found.latencies.queue, Some([MS; 4].into()));
        assert_eq!(found.latencies.itl, None);
        assert_eq!(found.schedule_lag_ns_p99, Some(MS));
        assert_eq!(found.in_flight_max, 1);
        assert_eq!(found.achieved_ratio, Some(1.0));
        assert_eq!(found.error_rate(), Some(0.0));
        assert!(found.is_valid());
    }

    #[test]
    fn rates_count_the_window_and_counts_the_drain_too() {
        let mut requests: Vec<_> = (0..10).map(request).collect();
        requests[8].done_ns = 20 * SECOND;
        requests[9].done_ns = 20 * SECOND + 1;
        let found = stats(&requests);
        assert_eq!((found.sent, found.ok), (10, 10));
        assert_eq!(found.throughput_rps, 0.9, "the end of the window is inside");
    }

    #[test]
    fn failures_are_kept_and_stay_out_of_the_percentiles() {
        let mut requests: Vec<_> = (0..10).map(request).collect();
        for (i, status) in [
            (7, RequestStatus::Timeout),
            (8, RequestStatus::Shed),
            (9, RequestStatus::Cancelled),
        ] {
            requests[i].status = status;
            requests[i].good = false;
        }
        requests[0].good = false;
        let found = stats(&requests);
        assert_eq!(
            (
                found.sent,
                found.ok,
                found.good,
                found.errors,
                found.timeouts
            ),
            (10, 7, 6, 3, 1)
        );
        assert_eq!(found.throughput_rps, 0.7);
        assert_eq!(found.goodput_rps, 0.6);
        assert_eq!(found.error_rate(), Some(0.3));
        assert_eq!(found.prompt_tokens, 700);
        assert_eq!(found.latencies.ttft.expect("seven values").p50, 40 * MS);
    }

    #[test]
    fn what_a_warm_up_left_in_flight_counts_in_the_rates_alone() {
        let requests: Vec<_> = (0..10).map(request).collect();
        let warm_up = RequestFacts {
            stage: 0,
            phase: Phase::WarmUp,
            sent_ns: 9 * SECOND,
            scheduled_ns: 9 * SECOND,
            ..request(0)
        };
        let over_before = RequestFacts {
            done_ns: 10 * SECOND,
            ..warm_up
        };
        let with_rest: Vec<_> = [warm_up, over_before]
            .into_iter()
            .chain(requests.iter().copied())
            .collect();
        let (found, alone) = (stats(&with_rest), stats(&requests));
        assert_eq!(found.throughput_rps, 1.1);
        assert_eq!(found.in_flight_max, 2);
        assert_eq!(
            StageStats {
                throughput_rps: alone.throughput_rps,
                goodput_rps: alone.goodput_rps,
                output_tokens_per_s: alone.output_tokens_per_s,
                in_flight_max: alone.in_flight_max,
                backlog: alone.backlog,
                ..found
            },
            alone
        );
    }

    #[test]
    fn missed_arrivals_were_not_achieved() {
        let requests: Vec<_> = (0..9).map(request).collect();
        let window = StageWindow {
            missed: 1,
            ..WINDOW
        };
        let found = StageStats::of(window, requests.iter().copied(), None);
        assert_eq!(found.achieved_ratio, Some(0.9));
        assert!(!found.is_valid());
    }

    #[test]
    fn requests_without_a_connection_were_missed() {
        let mut requests: Vec<_> = (0..10).map(request).collect();
        requests[3].unsent = true;
        let found = stats(&requests);
        assert_eq!((found.sent, found.missed, found.unsent), (10, 0, 1));
        assert_eq!((found.generator().sent, found.generator().missed), (9, 1));
        assert!(!found.is_valid());
    }

    #[test]
    fn a_closed_loop_has_no_backlog_and_no_ratio() {
        let requests: Vec<_> = (0..30).map(request).collect();
        let window = StageWindow {
            offered_rps: None,
            ..WINDOW
        };
        let found = StageStats::of(window, requests.iter().copied(), None);
        assert_eq!((found.backlog, found.achieved_ratio), (None, None));
    }

    #[test]
    fn a_late_generator_makes_the_stage_invalid() {
        let mut requests: Vec<_> = (0..10).map(request).collect();
        for request in &mut requests {
            request.sent_ns = request.scheduled_ns + 11 * MS;
        }
        assert!(!stats(&requests).is_valid());
    }

    #[test]
    fn the_time_of_slots_on_paper() {
        // Of the half second from one use of a slot to the end of the next, 1 ms passed unused.
        let closed = StageWindow {
            offered_rps: None,
            ..WINDOW
        };
        let mut requests: Vec<_> = (0..10).map(request).collect();
        let idle = |requests: &[RequestFacts]| {
            let found = StageStats::of(closed, requests.iter().copied(), None);
            (found.idle_slots.expect("requests"), found.is_valid())
        };
        let (found, valid) = idle(&requests);
        assert_eq!((found.share, found.lag_ns_mean, valid), (0.002, 1e6, true));
        assert_eq!(
            stats(&requests).idle_slots,
            None,
            "nothing is owed to slots"
        );
        // Late by a few milliseconds is much for replies that take no longer.
        for request in &mut requests {
            request.sent_ns = request.scheduled_ns + 3 * MS;
            request.done_ns = request.sent_ns + 9 * MS;
        }
        let (found, valid) = idle(&requests);
        assert_eq!((found.share, found.lag_ns_mean, valid), (0.25, 3e6, false));
        assert_eq!(
            StageStats::of(closed, [].into_iter(), None).idle_slots,
            None
        );
    }

    #[test]
    fn the_most_in_flight_on_paper() {
        let most = |spans: &[(i64, i64)]| {
            let (mut sent, mut done): (Vec<_>, Vec<_>) = spans.iter().copied().unzip();
            in_flight_max(&mut sent, &mut done)
        };
        assert_eq!(most(&[]), 0);
        assert_eq!(most(&[(0, 10), (1, 2), (3, 4)]), 2);
        assert_eq!(most(&[(0, 10), (10, 20)]), 1, "the slot is used again");
        assert_eq!(most(&[(0, 4), (1, 5), (2, 6), (7, 8)]), 3);
    }

    #[test]
    fn the_same_figures_in_any_order() {
        let requests: Vec<_> = (0..10).map(request).collect();
        let reversed: Vec<_> = requests.iter().rev().copied().collect();
        assert_eq!(stats(&requests), stats(&reversed));
    }
}
