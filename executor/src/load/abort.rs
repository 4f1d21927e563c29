//! Rules that end a run before its time: the brake.
//!
//! Written `error_rate=50%@10s,in_flight=4000`: stop when half of the requests that ended in the
//! last 10 s did not end ok, or when 4000 requests are in flight. [`AbortRules`] are what was
//! asked; an [`AbortWatch`] holds them against a run as it goes. Must not know clocks: whoever
//! calls says what time it is.

mod grammar;

use std::time::Duration;

use crate::slo::reading;

pub use grammar::AbortRuleError;

/// Fewer requests than this that ended within the window say nothing: at the start of a run, two
/// errors of three requests are no reason to stop.
pub const FEWEST_REQUESTS: u64 = 10;

/// When a run is to be ended early. The default has no rule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AbortRules {
    error_rate: Option<ErrorRateRule>,
    in_flight: Option<u64>,
}

/// Ends the run when too many of the requests that ended lately did not end ok.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ErrorRateRule {
    /// In percent, above 0.
    percent: f64,
    /// Whole seconds, at least one.
    window_s: u64,
}

impl AbortRules {
    /// Whether there is no rule.
    pub const fn is_empty(&self) -> bool {
        self.error_rate.is_none() && self.in_flight.is_none()
    }
}

/// Why a run was ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortReason {
    /// The rule: `error_rate` or `in_flight`.
    pub rule: &'static str,
    /// What it saw, for people.
    pub measured: String,
    /// Where it speaks, as it was written.
    pub required: String,
}

/// Holds [`AbortRules`] against a run as it goes.
///
/// Requests are counted in buckets of whole seconds, so that one costs a few additions. The window
/// is the current second and those before it, as many as the rule says.
#[derive(Debug, Clone)]
pub struct AbortWatch {
    rules: AbortRules,
    /// A ring, by second modulo its length; empty where no rule needs it.
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// The second since the run's start that the counts are of.
    second: u64,
    ended: u64,
    errors: u64,
}

impl AbortWatch {
    /// A watch that has seen nothing.
    pub fn new(rules: AbortRules) -> Self {
        let seconds = rules.error_rate.map_or(0, |rule| rule.window_s);
        Self {
            rules,
            buckets: vec![Bucket::default(); seconds as usize],
        }
    }

    /// Counts a request that ended `at` after the run's start, ok or not.
    pub fn ended(&mut self, at: Duration, ok: bool) {
        let second = at.as_secs();
        let Some(slot) = (second as usize).checked_rem(self.buckets.len()) else {
            return;
        };
        let bucket = &mut self.buckets[slot];
        if bucket.second < second {
            *bucket = Bucket {
                second,
                ..Bucket::default()
            };
        }
        // A straggler of a second whose bucket is in use again is out of the window too.
        if bucket.second == second {
            bucket.ended += 1;
            bucket.errors += u64::from(!ok);
        }
    }

    /// The rule that says stop at `at` after the run's start, with so many requests in flight;
    /// `None` while all is well.
    pub fn check(&self, at: Duration, in_flight: usize) -> Option<AbortReason> {
        self.too_many_errors(at.as_secs())
            .or_else(|| self.too_many_in_flight(in_flight as u64))
    }

    fn too_many_errors(&self, now: u64) -> Option<AbortReason> {
        let rule = self.rules.error_rate?;
        let within = |bucket: &&Bucket| bucket.second <= now && now - bucket.second < rule.window_s;
        let (ended, errors) = self
            .buckets
            .iter()
            .filter(within)
            .fold((0, 0), |(ended, errors), bucket| {
                (ended + bucket.ended, errors + bucket.errors)
            });
        if ended < FEWEST_REQUESTS {
            return None;
        }
        let share = errors as f64 / ended as f64;
        (share * 100.0 >= rule.percent).then(|| AbortReason {
            rule: "error_rate",
            measured: format!(
                "{} of {ended} requests within {} s",
                reading::share_below(share),
                rule.window_s
            ),
            required: format!("below {}", reading::percent(rule.percent, " ")),
        })
    }

    fn too_many_in_flight(&self, in_flight: u64) -> Option<AbortReason> {
        let most = self.rules.in_flight?;
        (in_flight >= most).then(|| AbortReason {
            rule: "in_flight",
            measured: in_flight.to_string(),
            required: format!("below {most}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watch(rules: &str) -> AbortWatch {
        AbortWatch::new(rules.parse().expect("rules"))
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn speaks_when_the_share_of_errors_reaches_the_bound() {
        let mut watch = watch("error_rate=50%@10s");
        for i in 0..6 {
            watch.ended(at(i * 100), true);
        }
        for i in 0..5 {
            watch.ended(at(i * 100), false);
        }
        assert_eq!(watch.check(at(900), 0), None, "5 of 11");
        watch.ended(at(950), false);
        let reason = watch.check(at(950), 0).expect("6 of 12");
        assert_eq!(reason.rule, "error_rate");
        assert_eq!(reason.measured, "50 % of 12 requests within 10 s");
        assert_eq!(reason.required, "below 50 %");
    }

    #[test]
    fn says_nothing_of_a_handful() {
        let mut watch = watch("error_rate=1%@10s");
        for _ in 1..FEWEST_REQUESTS {
            watch.ended(at(10), false);
        }
        assert_eq!(watch.check(at(10), 0), None);
        watch.ended(at(10), false);
        assert!(watch.check(at(10), 0).is_some());
    }

    #[test]
    fn forgets_what_is_older_than_the_window() {
        let mut watch = watch("error_rate=50%@3s");
        for _ in 0..20 {
            watch.ended(at(500), false);
        }
        assert!(watch.check(at(2_999), 0).is_some());
        assert_eq!(watch.check(at(3_000), 0), None, "second 0 is out");
        for _ in 0..20 {
            watch.ended(at(3_100), true);
        }
        assert_eq!(watch.check(at(3_100), 0), None, "its bucket is used again");
        watch.ended(at(600), false);
        assert_eq!(watch.check(at(3_100), 0), None, "a straggler is out too");
    }

    #[test]
    fn speaks_when_too_many_are_in_flight() {
        let watch = watch("in_flight=4000");
        assert_eq!(watch.check(at(0), 3_999), None);
        let reason = watch.check(at(0), 4_000).expect("at the bound");
        assert_eq!(
            (
                reason.rule,
                reason.measured.as_str(),
                reason.required.as_str()
            ),
            ("in_flight", "4000", "below 4000")
        );
    }

    #[test]
    fn without_rules_nothing_is_ever_said() {
        let mut watch = AbortWatch::new(AbortRules::default());
        for i in 0..100 {
            watch.ended(at(i), false);
        }
        assert_eq!(watch.check(at(100), usize::MAX), None);
        assert!(AbortRules::default().is_empty());
    }

    proptest! {
        /// The ring says what a list of all requests says.
        #[test]
        fn equals_counting_all_requests(
            mut ended in prop::collection::vec((0u64..30_000, any::<bool>()), 0..200),
            now in 0u64..30_000,
        ) {
            ended.sort_unstable();
            ended.retain(|(ms, _)| *ms <= now);
            let mut watch = watch("error_rate=50%@5s");
            for (ms, ok) in &ended {
                watch.ended(at(*ms), *ok);
            }
            let recent = ended.iter().filter(|(ms, _)| now / 1000 - ms / 1000 < 5);
            let (all, errors) = recent.fold((0u64, 0u64), |(all, errors), (_, ok)| {
                (all + 1, errors + u64::from(!ok))
            });
            let speaks = all >= FEWEST_REQUESTS && 2 * errors >= all;
            prop_assert_eq!(watch.check(at(now), 0).is_some(), speaks);
        }
    }
}
