//! The figures of runs that are followed over time and compared.

/// What a figure is measured in, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Metric {
    /// The name, as the view `performance_summary` has it.
    pub(super) name: &'static str,
    /// The column that holds it.
    pub(super) column: &'static str,
    /// What the column's values are divided by.
    pub(super) divisor: f64,
    /// The unit of what comes of it.
    pub(super) unit: &'static str,
    /// The direction.
    pub(super) higher_is_better: bool,
}

/// Figures of a whole run; all others of a run are those of its headline's stage.
const OF_WHOLE_RUNS: [&str; 7] = [
    "peak_goodput_rps",
    "peak_throughput_rps",
    "sustainable_rps",
    "floor_ttft_ms",
    "recovery_ms",
    "recovery_rps",
    "cost_usd",
];

/// A run that met the SLO at no rate that it tried has no peak; followed over time it is none at all,
/// since else the worst change of all would leave the series.
const PEAK: &str = "CASE WHEN r.verdict = 'blocked' \
     AND r.profile IN ('step', 'ramp', 'peak', 'max_throughput') \
     THEN COALESCE(r.peak_goodput_rps, 0.0) ELSE r.peak_goodput_rps END";

/// Cases that say something of the subject: the harness, and what it depends on, did not fail.
pub(super) const JUDGED: &str = "(outcome IN ('passed', 'failed') OR outcome = 'error' \
     AND failure_kind IN ('content', 'contract', 'overload', 'timeout'))";

impl Metric {
    /// Whether it describes the load at which a run's headline lies: where that is another one, two
    /// values say nothing of each other.
    pub(super) fn is_of_headline(&self) -> bool {
        !OF_WHOLE_RUNS.contains(&self.name)
    }

    const fn rate(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            column: name,
            divisor: 1.0,
            unit,
            higher_is_better: true,
        }
    }

    const fn lower(name: &'static str, unit: &'static str) -> Self {
        Self {
            higher_is_better: false,
            ..Self::rate(name, unit)
        }
    }

    const fn ms(name: &'static str, column: &'static str) -> Self {
        Self {
            name,
            column,
            divisor: 1e6,
            unit: "ms",
            higher_is_better: false,
        }
    }

    /// The SELECT items that give these figures, in their order and units.
    pub(super) fn select(metrics: &[Self], table: &str) -> String {
        let items = metrics.iter().map(|metric| {
            let Self {
                column, divisor, ..
            } = metric;
            if *column == "peak_goodput_rps" {
                PEAK.to_string()
            } else if *divisor == 1.0 {
                format!("{table}.{column}")
            } else {
                format!("{table}.{column} / {divisor:e}")
            }
        });
        items.collect::<Vec<_>>().join(", ")
    }
}

/// The headline figures of a performance run.
pub(super) const OF_RUNS: &[Metric] = &[
    Metric::rate("peak_goodput_rps", "req/s"),
    Metric::rate("peak_throughput_rps", "req/s"),
    Metric::rate("sustainable_rps", "req/s"),
    Metric::rate("output_tokens_per_s", "tokens/s"),
    Metric::rate("slo_attainment", "share"),
    Metric::lower("error_rate", "share"),
    Metric::ms("floor_ttft_ms", "floor_ttft_ns"),
    Metric::ms("ttft_p50_ms", "ttft_ns_p50"),
    Metric::ms("ttft_p90_ms", "ttft_ns_p90"),
    Metric::ms("ttft_p95_ms", "ttft_ns_p95"),
    Metric::ms("ttft_p99_ms", "ttft_ns_p99"),
    Metric::ms("tpot_p50_ms", "tpot_ns_p50"),
    Metric::ms("tpot_p90_ms", "tpot_ns_p90"),
    Metric::ms("tpot_p95_ms", "tpot_ns_p95"),
    Metric::ms("tpot_p99_ms", "tpot_ns_p99"),
    Metric::ms("itl_p50_ms", "itl_ns_p50"),
    Metric::ms("itl_p90_ms", "itl_ns_p90"),
    Metric::ms("itl_p95_ms", "itl_ns_p95"),
    Metric::ms("itl_p99_ms", "itl_ns_p99"),
    Metric::ms("e2e_p50_ms", "e2e_ns_p50"),
    Metric::ms("e2e_p90_ms", "e2e_ns_p90"),
    Metric::ms("e2e_p95_ms", "e2e_ns_p95"),
    Metric::ms("e2e_p99_ms", "e2e_ns_p99"),
    Metric::ms("recovery_ms", "recovery_ns"),
    Metric::rate("recovery_rps", "req/s"),
    Metric::lower("cost_usd", "USD"),
];

/// The figures of a stage.
pub(super) const OF_STAGES: &[Metric] = &[
    Metric::rate("throughput_rps", "req/s"),
    Metric::rate("goodput_rps", "req/s"),
    Metric::ms("ttft_p50_ms", "ttft_ns_p50"),
    Metric::ms("ttft_p99_ms", "ttft_ns_p99"),
    Metric::ms("tpot_p50_ms", "tpot_ns_p50"),
    Metric::ms("tpot_p99_ms", "tpot_ns_p99"),
    Metric::ms("itl_p50_ms", "itl_ns_p50"),
    Metric::ms("itl_p99_ms", "itl_ns_p99"),
    Metric::ms("e2e_p50_ms", "e2e_ns_p50"),
    Metric::ms("e2e_p99_ms", "e2e_ns_p99"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::View;

    /// A figure that is summed up is followed, too, and the other way round.
    #[test]
    fn the_summary_has_the_same_figures() {
        let sql = View::PerformanceSummary.sql();
        for metric in OF_RUNS {
            let Metric {
                name,
                unit,
                higher_is_better,
                ..
            } = metric;
            let flag = |flag: bool| flag.to_string().to_uppercase();
            let (better, of_headline) = (flag(*higher_is_better), flag(metric.is_of_headline()));
            let entry = format!("('{name}', '{unit}', {better}, {of_headline})");
            assert!(sql.contains(&entry), "{entry}");
        }
        assert_eq!(
            sql.matches("TRUE)").count() + sql.matches("FALSE)").count(),
            OF_RUNS.len()
        );
        assert!(
            OF_WHOLE_RUNS
                .iter()
                .all(|name| sql.contains(&format!("('{name}', ")))
        );
    }
}
