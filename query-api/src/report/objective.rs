//! The SLO against a stage: which rule it breaks, and by how much.

use std::time::Duration;

use plimsoll_executor::load::percentile::Percentile;
use plimsoll_executor::slo::{LatencyBound, LatencyMetric, Slo};
use plimsoll_executor::verdict::ACHIEVED_RATIO;
use plimsoll_ingest::StageRow;

use super::stage::per;
use super::{reason, units};

/// What is demanded of each stage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Objectives {
    /// `None` where the run names no SLO.
    pub(super) slo: Option<Slo>,
    /// True where a stage must serve what it is offered, as profiles that
    /// look for a limit demand.
    pub(super) must_keep_up: bool,
}

impl Objectives {
    /// Why a stage does not hold: each rule it breaks, else that it falls
    /// behind what was offered. `None` where it holds.
    pub(super) fn remark(&self, stage: &StageRow) -> Option<String> {
        let broken = self.broken_by(stage);
        if !broken.is_empty() {
            return Some(broken.join("; "));
        }
        let (achieved, offered) = (stage.achieved_ratio?, stage.offered_rps?);
        (self.must_keep_up && achieved < ACHIEVED_RATIO).then(|| {
            let served = units::quantity(stage.throughput_rps);
            format!(
                "served {served} of {} req/s offered",
                units::setting(offered)
            )
        })
    }

    fn broken_by(&self, stage: &StageRow) -> Vec<String> {
        let Some(slo) = &self.slo else {
            return Vec::new();
        };
        let latencies = slo
            .latency_bounds()
            .iter()
            .filter_map(|bound| late(stage, bound));
        let failed = per(stage.errors, stage.sent).filter(|share| *share > slo.error_rate());
        let errors = failed.map(|share| {
            format!(
                "errors {}, limit {}",
                units::percent(share),
                units::percent(slo.error_rate())
            )
        });
        latencies.chain(errors).collect()
    }
}

/// How a stage misses a bound; `None` where it meets it.
fn late(stage: &StageRow, bound: &LatencyBound) -> Option<String> {
    let name = reason::name(&bound.rule());
    let limit_ns = nanoseconds(bound.limit);
    let limit = units::duration_setting(limit_ns);
    let Some(measured) = percentile(stage, bound) else {
        return Some(format!("no {name}, limit {limit}"));
    };
    if measured <= limit_ns {
        return None;
    }
    let rounded = units::duration(measured);
    // What is over the limit must not read as if it were on it.
    let is_on_the_limit = rounded == units::duration(limit_ns);
    let measured = if is_on_the_limit {
        units::duration_setting(measured)
    } else {
        rounded
    };
    Some(format!("{name} {measured}, limit {limit}"))
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The percentile of a stage that a bound speaks of; `None` where nothing was ok.
fn percentile(stage: &StageRow, bound: &LatencyBound) -> Option<i64> {
    use Percentile::{P50, P90, P95, P99};
    match (bound.metric, bound.percentile) {
        (LatencyMetric::Ttft, P50) => stage.ttft_ns_p50,
        (LatencyMetric::Ttft, P90) => stage.ttft_ns_p90,
        (LatencyMetric::Ttft, P95) => stage.ttft_ns_p95,
        (LatencyMetric::Ttft, P99) => stage.ttft_ns_p99,
        (LatencyMetric::Tpot, P50) => stage.tpot_ns_p50,
        (LatencyMetric::Tpot, P90) => stage.tpot_ns_p90,
        (LatencyMetric::Tpot, P95) => stage.tpot_ns_p95,
        (LatencyMetric::Tpot, P99) => stage.tpot_ns_p99,
        (LatencyMetric::Itl, P50) => stage.itl_ns_p50,
        (LatencyMetric::Itl, P90) => stage.itl_ns_p90,
        (LatencyMetric::Itl, P95) => stage.itl_ns_p95,
        (LatencyMetric::Itl, P99) => stage.itl_ns_p99,
        (LatencyMetric::E2e, P50) => stage.e2e_ns_p50,
        (LatencyMetric::E2e, P90) => stage.e2e_ns_p90,
        (LatencyMetric::E2e, P95) => stage.e2e_ns_p95,
        (LatencyMetric::E2e, P99) => stage.e2e_ns_p99,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[track_caller]
    fn check(slo: &str, stage: usize, expected: Option<&str>) {
        let (_, stages, _) = samples::passed_step();
        let slo = Some(slo.parse().expect("slo"));
        let objectives = Objectives {
            slo,
            must_keep_up: true,
        };
        assert_eq!(objectives.remark(&stages[stage]).as_deref(), expected);
    }

    #[test]
    fn a_broken_rule_says_measured_and_limit() {
        check("ttft_p99=500ms", 3, Some("TTFT p99 6.20 s, limit 500 ms"));
        check("ttft_p99=500ms", 2, None);
        check("ttft_p99=470ms", 2, None);
        check("error_rate=0.1%", 3, Some("errors 0.42 %, limit 0.1 %"));
        check(
            "ttft_p99=500ms,tpot_p50=30ms,error_rate=1%",
            3,
            Some("TTFT p99 6.20 s, limit 500 ms; TPOT p50 33.0 ms, limit 30 ms"),
        );
    }

    #[test]
    fn just_over_the_limit_does_not_read_as_on_it() {
        check(
            "ttft_p99=469.9ms",
            2,
            Some("TTFT p99 470 ms, limit 469.9 ms"),
        );
        let (_, mut stages, _) = samples::passed_step();
        stages[2].ttft_ns_p99 = Some(470_200_000);
        let slo = Some("ttft_p99=470ms".parse().expect("slo"));
        let objectives = Objectives {
            slo,
            must_keep_up: true,
        };
        let remark = objectives.remark(&stages[2]);
        assert_eq!(remark.as_deref(), Some("TTFT p99 470.2 ms, limit 470 ms"));
    }

    #[test]
    fn only_where_a_limit_is_sought_a_stage_must_keep_up() {
        check("error_rate=1%", 3, Some("served 24.8 of 32 req/s offered"));
        check("error_rate=1%,demand=10", 2, None);
        let (_, stages, _) = samples::passed_step();
        let objectives = Objectives {
            slo: None,
            must_keep_up: false,
        };
        assert_eq!(objectives.remark(&stages[3]), None);
    }

    #[test]
    fn a_bound_on_what_never_came_is_missed() {
        check("itl_p99=1ms", 2, Some("no ITL p99, limit 1 ms"));
    }
}
