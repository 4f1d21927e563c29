//! How an SLO is written: `ttft_p99=500ms,error_rate=1%,demand=10`.

use std::fmt;
use std::str::FromStr;

use super::{LatencyBound, LatencyMetric, Slo, reading};
use crate::load::arrivals::OfferedRate;
use crate::load::percentile::Percentile;
use crate::spelling::nearest;

/// Text that is no SLO.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SloError {
    /// A part between commas is no `name=value`.
    #[error("`{part}` is no part of an SLO; write parts as name=value, such as ttft_p99=500ms")]
    NoPair {
        /// The part.
        part: String,
    },
    /// No objective has this name.
    #[error(
        "`{name}` is no objective; the nearest is `{nearest}`. There are ttft, tpot, itl and e2e \
         with _p50, _p90, _p95 or _p99, and error_rate and demand"
    )]
    UnknownObjective {
        /// What was written.
        name: String,
        /// The objective most like it.
        nearest: String,
    },
    /// An objective is there twice.
    #[error("`{name}` is there twice; give one value")]
    Twice {
        /// The objective.
        name: String,
    },
    /// A latency's limit is no duration above zero.
    #[error("`{value}` is no limit for `{name}`; use a duration above 0 such as 500ms or 1.5s")]
    BadLimit {
        /// The objective.
        name: String,
        /// What was written.
        value: String,
    },
    /// An error rate is no percentage.
    #[error("`{value}` is no limit for `error_rate`; use a percentage from 0% to 100%, such as 1%")]
    BadErrorRate {
        /// What was written.
        value: String,
    },
    /// A demand is no rate.
    #[error("`{value}` is no `demand`; use requests a second above 0 and up to 1000000")]
    BadDemand {
        /// What was written.
        value: String,
    },
}

impl FromStr for Slo {
    type Err = SloError;

    /// Reads parts in any order. What is not written keeps its default: no latency bounds, an
    /// error rate of 1 %, no demand.
    fn from_str(text: &str) -> Result<Self, SloError> {
        let mut latency: Vec<LatencyBound> = Vec::new();
        let (mut error_rate, mut demand) = (None, None);
        for part in text.split(',').map(str::trim) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(SloError::NoPair {
                    part: part.to_string(),
                });
            };
            let (name, value) = (name.trim(), value.trim());
            let twice = match name {
                "error_rate" => error_rate.replace(error_percent(value)?).is_some(),
                "demand" => demand.replace(rate(value)?).is_some(),
                _ => {
                    let bound = latency_bound(name, value)?;
                    let twice = latency.iter().any(|other| other.is_of(&bound));
                    latency.push(bound);
                    twice
                }
            };
            if twice {
                return Err(SloError::Twice {
                    name: name.to_string(),
                });
            }
        }
        latency.sort_unstable_by_key(|bound| (bound.metric, bound.percentile));
        let default = Self::default();
        Ok(Self {
            latency,
            error_percent: error_rate.unwrap_or(default.error_percent),
            demand,
        })
    }
}

fn latency_bound(name: &str, value: &str) -> Result<LatencyBound, SloError> {
    let (metric, percentile) = objectives()
        .find(|(metric, percentile)| objective(*metric, *percentile) == name)
        .ok_or_else(|| unknown(name))?;
    match humantime::parse_duration(value) {
        // Latencies are 64-bit nanoseconds, 292 years.
        Ok(limit) if !limit.is_zero() && i64::try_from(limit.as_nanos()).is_ok() => {
            Ok(LatencyBound {
                metric,
                percentile,
                limit,
            })
        }
        _ => Err(SloError::BadLimit {
            name: name.to_string(),
            value: value.to_string(),
        }),
    }
}

fn error_percent(value: &str) -> Result<f64, SloError> {
    percentage(value).ok_or_else(|| SloError::BadErrorRate {
        value: value.to_string(),
    })
}

fn rate(value: &str) -> Result<OfferedRate, SloError> {
    let rate = value
        .parse()
        .ok()
        .and_then(|rate| OfferedRate::new(rate).ok());
    rate.ok_or_else(|| SloError::BadDemand {
        value: value.to_string(),
    })
}

/// Reads `1%`, `0.5 %`: a number from 0 to 100 with a percent sign; `None` of all else.
pub(crate) fn percentage(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

fn objectives() -> impl Iterator<Item = (LatencyMetric, Percentile)> {
    LatencyMetric::ALL
        .into_iter()
        .flat_map(|metric| Percentile::ALL.map(|percentile| (metric, percentile)))
}

fn objective(metric: LatencyMetric, percentile: Percentile) -> String {
    format!("{metric}_{percentile}")
}

fn unknown(name: &str) -> SloError {
    let mut names: Vec<String> = objectives()
        .map(|(metric, percentile)| objective(metric, percentile))
        .collect();
    names.extend(["error_rate".to_string(), "demand".to_string()]);
    let nearest = nearest(name, names.iter().map(String::as_str));
    SloError::UnknownObjective {
        name: name.to_string(),
        nearest: nearest.unwrap_or_default().to_string(),
    }
}

impl fmt::Display for Slo {
    /// The canonical text: latency bounds by metric and percentile, error rate, demand. Equal SLOs
    /// give equal text, and the text reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bound in &self.latency {
            write!(f, "{}={},", bound.rule(), reading::limit(bound.limit, ""))?;
        }
        write!(f, "error_rate={}", reading::percent(self.error_percent, ""))?;
        match self.demand {
            Some(demand) => write!(f, ",demand={}", demand.per_second()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        let slo: Slo = text.parse().expect("an SLO");
        assert_eq!(slo.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(slo));
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        let error = text.parse::<Slo>().expect_err("no SLO");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn what_is_written_reads_back_in_canonical_order() {
        check("error_rate=1%", "error_rate=1%");
        check("ttft_p99=500ms", "ttft_p99=500ms,error_rate=1%");
        check(
            "demand=10,error_rate=0.5%,e2e_p50=1m 30s,ttft_p99=1.5s,ttft_p50=200us",
            "ttft_p50=200us,ttft_p99=1.5s,e2e_p50=90s,error_rate=0.5%,demand=10",
        );
        check(
            " itl_p90 = 50ms , tpot_p95 = 40ms , demand = 0.25 ",
            "tpot_p95=40ms,itl_p90=50ms,error_rate=1%,demand=0.25",
        );
        assert_eq!(Slo::default().to_string(), "error_rate=1%");
    }

    #[test]
    fn what_is_no_slo_is_refused_with_the_value_and_what_is_allowed() {
        check_refused(
            "",
            "`` is no part of an SLO; write parts as name=value, such as ttft_p99=500ms",
        );
        check_refused(
            "error_rate=1%,",
            "`` is no part of an SLO; write parts as name=value, such as ttft_p99=500ms",
        );
        check_refused(
            "ttft_p99",
            "`ttft_p99` is no part of an SLO; write parts as name=value, such as ttft_p99=500ms",
        );
        check_refused(
            "ttft_99=500ms",
            "`ttft_99` is no objective; the nearest is `ttft_p99`. There are ttft, tpot, itl and \
             e2e with _p50, _p90, _p95 or _p99, and error_rate and demand",
        );
        check_refused(
            "errors=1%",
            "`errors` is no objective; the nearest is `error_rate`. There are ttft, tpot, itl and \
             e2e with _p50, _p90, _p95 or _p99, and error_rate and demand",
        );
        check_refused(
            "ttft_p99=1s,ttft_p99=2s",
            "`ttft_p99` is there twice; give one value",
        );
        check_refused(
            "error_rate=1%,error_rate=2%",
            "`error_rate` is there twice; give one value",
        );
        for value in ["500", "0s", "fast", "", "-1s", "1000years"] {
            check_refused(
                &format!("ttft_p99={value}"),
                &format!(
                    "`{value}` is no limit for `ttft_p99`; use a duration above 0 such as 500ms \
                     or 1.5s"
                ),
            );
        }
        for value in ["1", "101%", "-1%", "one%", "NaN%"] {
            check_refused(
                &format!("error_rate={value}"),
                &format!(
                    "`{value}` is no limit for `error_rate`; use a percentage from 0% to 100%, \
                     such as 1%"
                ),
            );
        }
        for value in ["0", "-1", "inf", "many", "10/s"] {
            check_refused(
                &format!("demand={value}"),
                &format!(
                    "`{value}` is no `demand`; use requests a second above 0 and up to 1000000"
                ),
            );
        }
    }

    proptest! {
        #[test]
        fn the_canonical_text_reads_back(
            bounds in prop::collection::btree_map((0..4usize, 0..4usize), 1u64..10_000_000_000_000, 0..6),
            error_percent in 0.0..=100.0f64,
            demand in prop::option::of(0.001..1000.0f64),
        ) {
            let slo = Slo {
                latency: bounds
                    .into_iter()
                    .map(|((metric, percentile), ns)| LatencyBound {
                        metric: LatencyMetric::ALL[metric],
                        percentile: Percentile::ALL[percentile],
                        limit: std::time::Duration::from_nanos(ns),
                    })
                    .collect(),
                error_percent,
                demand: demand.and_then(|rate| OfferedRate::new(rate).ok()),
            };
            prop_assert_eq!(slo.to_string().parse(), Ok(slo));
        }
    }
}
