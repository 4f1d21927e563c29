//! Whether the generator did its part.
//!
//! A run whose generator was late measured the generator. The bounds are wide enough for a busy
//! machine and narrow enough that no verdict hangs on them: late by no more than 10 ms, or 5 % of
//! the median time to first token where that is more; one arrival in a thousand not sent.

use crate::slo::{RuleResult, reading};

/// Lag that is always allowed, in ns.
const LAG_FLOOR_NS: i64 = 10_000_000;
/// One part in so many of the median TTFT may be lag: 5 %.
const TTFT_PARTS: i64 = 20;
/// Share of the arrivals that may stay unsent.
const MISSED_SHARE: f64 = 0.001;

/// What the generator reports of a stage, or of all steady stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GeneratorReport {
    /// p99 of scheduled to sent over all requests, in ns; `None` where nothing was sent.
    pub schedule_lag_ns_p99: Option<i64>,
    /// p50 of the time to first token over ok requests, in ns; `None` where none was ok.
    pub ttft_ns_p50: Option<i64>,
    /// Requests that were sent.
    pub sent: i64,
    /// Arrivals that could not be sent.
    pub missed: i64,
}

impl GeneratorReport {
    /// Whether it stayed within its bounds.
    pub fn is_valid(&self) -> bool {
        self.check().iter().all(|rule| rule.met)
    }

    /// What its two rules, `schedule_lag_p99` and `missed`, say.
    pub fn check(&self) -> [RuleResult; 2] {
        let bound = self
            .ttft_ns_p50
            .map_or(LAG_FLOOR_NS, |ttft| LAG_FLOOR_NS.max(ttft / TTFT_PARTS));
        // A generator that sent nothing has no lag; what it owes counts as missed.
        let lag = self.schedule_lag_ns_p99.unwrap_or(0);
        let missed_share = self.missed_share();
        [
            RuleResult {
                rule: "schedule_lag_p99".to_string(),
                measured: reading::latency(lag),
                required: reading::latency(bound),
                met: lag <= bound,
            },
            RuleResult {
                rule: "missed".to_string(),
                measured: reading::share_below(missed_share),
                required: reading::percent(MISSED_SHARE * 100.0, " "),
                met: missed_share <= MISSED_SHARE,
            },
        ]
    }

    /// Share of the arrivals that could not be sent, from 0 to 1; 0 of no arrivals.
    fn missed_share(&self) -> f64 {
        match self.sent + self.missed {
            0 => 0.0,
            arrivals => self.missed as f64 / arrivals as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON_TIME: GeneratorReport = GeneratorReport {
        schedule_lag_ns_p99: Some(200_000),
        ttft_ns_p50: Some(100_000_000),
        sent: 1000,
        missed: 0,
    };

    #[track_caller]
    fn check(report: GeneratorReport, valid: bool) {
        assert_eq!(report.is_valid(), valid, "{report:?}");
    }

    #[test]
    fn ten_milliseconds_are_always_allowed() {
        let late = |lag| GeneratorReport {
            schedule_lag_ns_p99: Some(lag),
            ..ON_TIME
        };
        check(late(10_000_000), true);
        check(late(10_000_001), false);
    }

    #[test]
    fn five_percent_of_a_slow_median_are_allowed() {
        let late = |lag| GeneratorReport {
            schedule_lag_ns_p99: Some(lag),
            ttft_ns_p50: Some(1_000_000_000),
            ..ON_TIME
        };
        check(late(50_000_000), true);
        check(late(50_000_001), false);
    }

    #[test]
    fn one_arrival_in_a_thousand_may_be_missed() {
        let missed = |sent, missed| GeneratorReport {
            sent,
            missed,
            ..ON_TIME
        };
        check(missed(999, 1), true);
        check(missed(998, 1), false);
        check(missed(0, 5), false);
        check(missed(0, 0), true);
    }

    #[test]
    fn it_says_by_how_much() {
        let report = GeneratorReport {
            schedule_lag_ns_p99: Some(14_200_000),
            missed: 4,
            ..ON_TIME
        };
        let said: Vec<_> = report
            .check()
            .into_iter()
            .map(|rule| (rule.rule, rule.measured, rule.required, rule.met))
            .collect();
        let expected = [
            ("schedule_lag_p99", "14.2 ms", "10 ms", false),
            ("missed", "0.399 %", "0.1 %", false),
        ]
        .map(|(rule, measured, required, met)| {
            (
                rule.to_string(),
                measured.to_string(),
                required.to_string(),
                met,
            )
        });
        assert_eq!(said, expected);
    }

    #[test]
    fn without_an_ok_request_the_floor_holds() {
        check(
            GeneratorReport {
                ttft_ns_p50: None,
                schedule_lag_ns_p99: Some(10_000_001),
                ..ON_TIME
            },
            false,
        );
        check(GeneratorReport::default(), true);
    }
}
