//! Whether the generator did its part.
//!
//! A run whose generator was late measured the generator. The bounds are wide enough for a busy
//! machine and narrow enough that no verdict hangs on them: late by no more than 10 ms, or 5 % of
//! the median time to first token where that is more; one arrival in a thousand not sent. Where a
//! closed loop looks for a limit, a tenth of its slots' time may pass unused: short replies let more
//! pass unseen by the first bound.

use crate::slo::{RuleResult, reading};

/// Lag that is always allowed, in ns.
const LAG_FLOOR_NS: i64 = 10_000_000;
/// One part in so many of the median TTFT may be lag: 5 %.
const TTFT_PARTS: i64 = 20;
/// Share of the arrivals that may stay unsent.
const MISSED_SHARE: f64 = 0.001;
/// Share of the slots' time that may pass until the generator uses them again.
const IDLE_SHARE: f64 = 0.1;
/// Lag that on average is always allowed, in ns: no server of models answers so fast that it matters.
const IDLE_FLOOR_NS: f64 = 1e6;

/// How a closed loop used its slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdleSlots {
    /// Share of their time in which they were free and not yet used again, from 0 to 1.
    pub share: f64,
    /// Mean of how late they were used again, in ns.
    pub lag_ns_mean: f64,
}

impl IdleSlots {
    fn is_allowed(self) -> bool {
        self.share <= IDLE_SHARE || self.lag_ns_mean <= IDLE_FLOOR_NS
    }
}

/// What the generator reports of a stage, or of all steady stages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GeneratorReport {
    /// p99 of scheduled to sent over all requests, in ns; `None` where nothing was sent.
    pub schedule_lag_ns_p99: Option<i64>,
    /// p50 of the time to first token over ok requests, in ns; `None` where none was ok.
    pub ttft_ns_p50: Option<i64>,
    /// Requests that were sent.
    pub sent: i64,
    /// Arrivals that could not be sent.
    pub missed: i64,
    /// How the slots of one stage were used; `None` in an open loop, and of a whole run.
    pub idle_slots: Option<IdleSlots>,
}

impl GeneratorReport {
    /// Whether it stayed within its bounds.
    pub fn is_valid(&self) -> bool {
        self.check().iter().all(|rule| rule.met)
    }

    /// What its rules say: `schedule_lag_p99`, `missed`, and in a closed loop `idle_slots`.
    pub fn check(&self) -> Vec<RuleResult> {
        let bound = self
            .ttft_ns_p50
            .map_or(LAG_FLOOR_NS, |ttft| LAG_FLOOR_NS.max(ttft / TTFT_PARTS));
        // A generator that sent nothing has no lag; what it owes counts as missed.
        let lag = self.schedule_lag_ns_p99.unwrap_or(0);
        let missed_share = self.missed_share();
        let idle_slots = self.idle_slots.map(|idle| RuleResult {
            rule: "idle_slots".to_string(),
            measured: reading::share_below(idle.share),
            required: reading::percent(IDLE_SHARE * 100.0, " "),
            met: idle.is_allowed(),
        });
        let on_time = [
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
        ];
        on_time.into_iter().chain(idle_slots).collect()
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
        idle_slots: None,
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
    fn a_tenth_of_the_slots_time_may_pass_or_a_millisecond_each() {
        let idle = |share, lag_ns_mean| GeneratorReport {
            idle_slots: Some(IdleSlots { share, lag_ns_mean }),
            ..ON_TIME
        };
        check(idle(0.1, 5e6), true);
        check(idle(0.101, 5e6), false);
        check(idle(0.5, 1e6), true);
        let rule = idle(0.2345, 5e6).check().pop().expect("three rules");
        let said = (rule.measured.as_str(), rule.required.as_str());
        assert_eq!(
            (rule.rule.as_str(), said),
            ("idle_slots", ("23.5 %", "10 %"))
        );
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
