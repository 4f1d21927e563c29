//! What is demanded of a subject.
//!
//! An [`Slo`] bounds percentiles of latencies and the share of errors, and may name the rate that
//! is needed. It judges one request ([`Slo::request_meets`]) and one stage ([`Slo::stage_check`]);
//! what follows for the run is [`crate::verdict`]'s affair. Pure: values in, values out.

mod grammar;
pub(crate) mod reading;

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::load::arrivals::OfferedRate;
use crate::load::percentile::{Percentile, Percentiles};
use crate::load::stage::StageStats;

pub use grammar::SloError;
pub(crate) use grammar::percentage;

/// Bounds on latencies and errors, and the rate that is needed.
///
/// Written `ttft_p99=500ms,error_rate=1%,demand=10`. Where nothing is said of errors, 1 % of the
/// requests may fail.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// By metric and percentile, each at most once.
    latency: Vec<LatencyBound>,
    /// In percent, as written, so that it reads back.
    error_percent: f64,
    demand: Option<OfferedRate>,
}

impl Default for Slo {
    fn default() -> Self {
        Self {
            latency: Vec::new(),
            error_percent: 1.0,
            demand: None,
        }
    }
}

/// A latency that an SLO can bound. Each counts as its column does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LatencyMetric {
    /// Scheduled to first token.
    Ttft,
    /// Time per output token, the first left out.
    Tpot,
    /// Gaps between chunks.
    Itl,
    /// Scheduled to done.
    E2e,
}

impl LatencyMetric {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Itl, Self::E2e];

    /// The name as columns and rules write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::Itl => "itl",
            Self::E2e => "e2e",
        }
    }
}

impl fmt::Display for LatencyMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A bound on one percentile of one latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyBound {
    /// The latency.
    pub metric: LatencyMetric,
    /// The percentile.
    pub percentile: Percentile,
    /// The highest value that meets it.
    pub limit: Duration,
}

impl LatencyBound {
    /// The rule's name: `ttft_p99`.
    pub fn rule(&self) -> String {
        format!("{}_{}", self.metric, self.percentile)
    }

    fn is_of(&self, other: &Self) -> bool {
        (self.metric, self.percentile) == (other.metric, other.percentile)
    }

    fn allows(&self, ns: i64) -> bool {
        i128::from(ns) <= self.limit.as_nanos() as i128
    }
}

/// The latencies of one request, each `None` where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestLatencies {
    /// Scheduled to first token, in ns.
    pub ttft_ns: Option<i64>,
    /// Time per output token, the first left out, in ns; none below two tokens.
    pub tpot_ns: Option<i64>,
    /// Percentiles of its own gaps between chunks, in ns; none below two chunks.
    pub itl_ns: Option<Percentiles>,
    /// Scheduled to done, in ns.
    pub e2e_ns: Option<i64>,
}

/// What one rule says of what was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleResult {
    /// The rule's name: an objective such as `ttft_p99` or `error_rate`.
    pub rule: String,
    /// What was measured, for people; `nothing` where there was no sample.
    pub measured: String,
    /// The bound, for people.
    pub required: String,
    /// Whether what was measured meets it. What was not measured does not.
    pub met: bool,
}

/// What is said of a rule that found no sample.
const NOTHING: &str = "nothing";

impl Slo {
    /// Whether one request's own latencies meet the bounds, each as it stands: `ttft_p99=500ms`
    /// asks its first token within 500 ms, `itl_p99=50ms` the 99th percentile of its own gaps.
    ///
    /// `None` where no bound can be judged: there is none, or the request lacks what they bound. A
    /// bound on what a request lacks (the gaps of a one-chunk reply) says nothing of it.
    pub fn request_meets(&self, request: &RequestLatencies) -> Option<bool> {
        self.latency
            .iter()
            .filter_map(|bound| {
                let measured = match bound.metric {
                    LatencyMetric::Ttft => request.ttft_ns,
                    LatencyMetric::Tpot => request.tpot_ns,
                    LatencyMetric::Itl => request.itl_ns.map(|own| own.get(bound.percentile)),
                    LatencyMetric::E2e => request.e2e_ns,
                };
                measured.map(|ns| bound.allows(ns))
            })
            .reduce(|all, this| all && this)
    }

    /// What each rule says of a stage: one result per latency bound and one for the error rate.
    ///
    /// The stage meets the SLO if every result is met. `demand` is no rule of a stage.
    pub fn stage_check(&self, stage: &StageStats) -> Vec<RuleResult> {
        let latencies = self.latency.iter().map(|bound| {
            let measured = stage
                .latencies
                .of(bound.metric)
                .map(|percentiles| percentiles.get(bound.percentile));
            RuleResult {
                rule: bound.rule(),
                measured: measured.map_or_else(|| NOTHING.to_string(), reading::latency),
                required: reading::limit(bound.limit, " "),
                met: measured.is_some_and(|ns| bound.allows(ns)),
            }
        });
        let error_rate = stage.error_rate();
        let errors = RuleResult {
            rule: "error_rate".to_string(),
            measured: error_rate.map_or_else(|| NOTHING.to_string(), reading::share_below),
            required: reading::percent(self.error_percent, " "),
            met: error_rate.is_some_and(|share| share <= self.error_rate()),
        };
        latencies.chain([errors]).collect()
    }

    /// The bounds on latencies, by metric and percentile.
    pub fn latency_bounds(&self) -> &[LatencyBound] {
        &self.latency
    }

    /// The share of requests that may fail, from 0 to 1.
    pub fn error_rate(&self) -> f64 {
        self.error_percent / 100.0
    }

    /// Requests a second that are needed; `None` where nothing was said.
    pub const fn demand(&self) -> Option<OfferedRate> {
        self.demand
    }

    /// The bounds alone: what a capacity holds for, whatever rate was needed.
    #[must_use]
    pub fn without_demand(&self) -> Self {
        Self {
            demand: None,
            ..self.clone()
        }
    }
}

impl Serialize for Slo {
    /// The canonical text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::stage::StageStats;

    fn slo(text: &str) -> Slo {
        text.parse().expect("an SLO")
    }

    const fn ms(ms: i64) -> i64 {
        ms * 1_000_000
    }

    #[test]
    fn a_request_meets_each_bound_as_it_stands() {
        let bounds = slo("ttft_p99=500ms,tpot_p50=40ms,itl_p90=50ms,e2e_p99=10s");
        let good = RequestLatencies {
            ttft_ns: Some(ms(500)),
            tpot_ns: Some(ms(40)),
            itl_ns: Some([ms(900), ms(50), ms(900), ms(900)].into()),
            e2e_ns: Some(ms(10_000)),
        };
        assert_eq!(bounds.request_meets(&good), Some(true));
        for bad in [
            RequestLatencies {
                ttft_ns: Some(ms(500) + 1),
                ..good
            },
            RequestLatencies {
                tpot_ns: Some(ms(40) + 1),
                ..good
            },
            RequestLatencies {
                itl_ns: Some([0, ms(50) + 1, 0, 0].into()),
                ..good
            },
            RequestLatencies {
                e2e_ns: Some(ms(10_000) + 1),
                ..good
            },
        ] {
            assert_eq!(bounds.request_meets(&bad), Some(false), "{bad:?}");
        }
    }

    #[test]
    fn what_a_request_lacks_is_not_judged() {
        let one_chunk = RequestLatencies {
            ttft_ns: Some(ms(100)),
            ..RequestLatencies::default()
        };
        assert_eq!(
            slo("ttft_p99=500ms,itl_p99=1ms").request_meets(&one_chunk),
            Some(true)
        );
        assert_eq!(slo("itl_p99=1ms").request_meets(&one_chunk), None);
        assert_eq!(Slo::default().request_meets(&one_chunk), None);
    }

    #[test]
    fn a_stage_is_held_to_its_percentiles_and_errors() {
        let mut stage = StageStats::of_nothing(2);
        stage.sent = 100;
        stage.ok = 98;
        stage.errors = 2;
        stage.latencies.ttft = Some([ms(100), ms(200), ms(300), ms(6_200)].into());
        let results = slo("ttft_p99=500ms,ttft_p95=500ms,error_rate=1%").stage_check(&stage);
        let expected = [
            ("ttft_p95", "300 ms", "500 ms", true),
            ("ttft_p99", "6.2 s", "500 ms", false),
            ("error_rate", "2 %", "1 %", false),
        ];
        let found: Vec<_> = results
            .iter()
            .map(|result| {
                (
                    result.rule.as_str(),
                    result.measured.as_str(),
                    result.required.as_str(),
                    result.met,
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_stage_without_samples_meets_nothing() {
        let results = slo("ttft_p99=500ms").stage_check(&StageStats::of_nothing(0));
        assert_eq!(results.len(), 2);
        for result in results {
            assert_eq!((result.measured.as_str(), result.met), ("nothing", false));
        }
    }

    #[test]
    fn it_serialises_as_its_text() {
        let json = serde_json::to_string(&slo("demand=3")).expect("it is text");
        assert_eq!(json, "\"error_rate=1%,demand=3\"");
    }
}
