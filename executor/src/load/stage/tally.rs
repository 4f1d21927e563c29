//! Counting a stage's requests in one pass.

use super::backlog::BacklogCurve;
use super::facts::RequestFacts;
use super::generator::IdleSlots;
use super::{StageLatencies, StageStats, StageWindow};
use plimsoll_ingest::RequestStatus;

/// Counts the requests of one stage, in any order, in a memory that does not grow.
///
/// Percentiles need whole columns and are handed to [`StageTally::finish`].
#[derive(Debug, Clone)]
pub struct StageTally {
    window: StageWindow,
    sent: i64,
    ok: i64,
    good: i64,
    timeouts: i64,
    unsent: i64,
    /// Sums over the requests: due to sent, and due to done.
    lag_ns: i64,
    whole_ns: i64,
    ok_inside: i64,
    good_inside: i64,
    tokens_inside: i64,
    prompt_tokens: i64,
    output_tokens: i64,
    prompt_tokens_asked: Option<i64>,
    output_tokens_asked: Option<i64>,
    token_chunks: Option<i64>,
    bundled_chunks: Option<i64>,
    backlog: BacklogCurve,
}

impl StageTally {
    /// Nothing counted yet.
    pub fn new(window: StageWindow) -> Self {
        Self {
            window,
            sent: 0,
            ok: 0,
            good: 0,
            timeouts: 0,
            unsent: 0,
            lag_ns: 0,
            whole_ns: 0,
            ok_inside: 0,
            good_inside: 0,
            tokens_inside: 0,
            prompt_tokens: 0,
            output_tokens: 0,
            prompt_tokens_asked: None,
            output_tokens_asked: None,
            token_chunks: None,
            bundled_chunks: None,
            backlog: BacklogCurve::new(window),
        }
    }

    /// Counts one request.
    ///
    /// Requests of other stages count only where they reach into the window: a warm-up that hands
    /// over leaves requests in flight, which end inside and are part of the rates and the backlog.
    pub fn add(&mut self, request: &RequestFacts) {
        if !self.window.touches(request) {
            return;
        }
        self.backlog.add(request.scheduled_ns, request.done_ns);
        let ok = request.is_ok();
        let inside = self.window.holds_end_of(request);
        self.ok_inside += i64::from(ok && inside);
        self.good_inside += i64::from(request.good && inside);
        if ok && inside {
            self.tokens_inside += request.output_tokens.unwrap_or(0);
        }
        if request.stage != self.window.stage {
            return;
        }
        self.sent += 1;
        self.ok += i64::from(ok);
        self.good += i64::from(request.good);
        self.timeouts += i64::from(request.status == RequestStatus::Timeout);
        self.unsent += i64::from(request.unsent);
        self.lag_ns += request.sent_ns - request.scheduled_ns;
        self.whole_ns += request.done_ns - request.scheduled_ns;
        if ok {
            let waited_ns = request.ttft_ns.unwrap_or(0);
            let whole_ns = request.done_ns - request.scheduled_ns;
            self.backlog
                .add_served(request.scheduled_ns, whole_ns - waited_ns);
            self.prompt_tokens += request.prompt_tokens.unwrap_or(0);
            self.output_tokens += request.output_tokens.unwrap_or(0);
            add_known(&mut self.prompt_tokens_asked, request.prompt_tokens_asked);
            add_known(&mut self.output_tokens_asked, request.output_tokens_asked);
            add_known(&mut self.token_chunks, request.token_chunks);
            add_known(&mut self.bundled_chunks, request.bundled_chunks);
        }
    }

    /// The stage's figures, with what was worked out of whole columns.
    pub fn finish(
        self,
        latencies: StageLatencies,
        schedule_lag_ns_p99: Option<i64>,
        in_flight_max: i64,
    ) -> StageStats {
        let window = self.window;
        let seconds = window.duration_ns as f64 / 1e9;
        let per_second = |count: i64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        let open_loop = window.offered_rps.is_some();
        let arrivals = self.sent + window.missed;
        let achieved_ratio = (open_loop && arrivals > 0)
            .then(|| self.backlog.kept_up() * self.sent as f64 / arrivals as f64);
        let e2e_ns_p99 = latencies.e2e.map(|e2e| e2e.p99);
        let backlog = self.backlog.trend(e2e_ns_p99).filter(|_| open_loop);
        StageStats {
            stage: window.stage,
            phase: window.phase,
            offered_rps: window.offered_rps,
            started_ns: window.started_ns,
            duration_ns: window.duration_ns,
            sent: self.sent,
            missed: window.missed,
            unsent: self.unsent,
            ok: self.ok,
            good: self.good,
            errors: self.sent - self.ok,
            timeouts: self.timeouts,
            throughput_rps: per_second(self.ok_inside),
            goodput_rps: per_second(self.good_inside),
            output_tokens_per_s: per_second(self.tokens_inside),
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            prompt_tokens_asked: self.prompt_tokens_asked,
            output_tokens_asked: self.output_tokens_asked,
            token_chunks: self.token_chunks,
            bundled_chunks: self.bundled_chunks,
            latencies,
            in_flight_max,
            backlog,
            achieved_ratio,
            schedule_lag_ns_p99,
            idle_slots: (!open_loop && self.whole_ns > 0).then(|| IdleSlots {
                share: self.lag_ns as f64 / self.whole_ns as f64,
                lag_ns_mean: self.lag_ns as f64 / self.sent as f64,
            }),
        }
    }
}

fn add_known(sum: &mut Option<i64>, value: Option<i64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0) + value);
    }
}
