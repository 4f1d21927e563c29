//! One line of the table of stages.

use plimsoll_ingest::{Phase, StageRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::objective::Objectives;
use super::reason::Reason;
use super::units;

/// What one stage was asked, and what it served. Durations are in ns, rates
/// in requests or tokens a second, shares between 0 and 1; a value that does
/// not exist is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StageLine {
    /// Number of the stage, from 0.
    pub stage: i64,
    /// Its name.
    pub name: String,
    /// probe, warm_up, steady, cool_down or recovery; only steady is judged.
    pub phase: String,
    /// Rate asked for; null in a closed loop.
    pub offered_rps: Option<f64>,
    /// Requests kept in flight; null in an open loop.
    pub concurrency: Option<i64>,
    /// Length of its window.
    pub duration_ns: i64,
    /// Requests sent.
    pub sent: i64,
    /// Requests that ended ok.
    pub ok: i64,
    /// Requests that were good: ok, correct as far as checked, within the SLO.
    pub good: i64,
    /// Requests that did not end ok.
    pub errors: i64,
    /// Arrivals that could not be sent.
    pub missed: i64,
    /// Good requests a second, inside the window.
    pub goodput_rps: f64,
    /// Ok requests a second, inside the window.
    pub throughput_rps: f64,
    /// Output tokens a second of the requests that the throughput counts;
    /// null in runs of releases that did not keep it.
    pub output_tokens_per_s: Option<f64>,
    /// Median time to first token.
    pub ttft_ns_p50: Option<i64>,
    /// p99 of the time to first token.
    pub ttft_ns_p99: Option<i64>,
    /// Median time per output token.
    pub tpot_ns_p50: Option<i64>,
    /// p99 of the time per output token.
    pub tpot_ns_p99: Option<i64>,
    /// Median end-to-end latency.
    pub e2e_ns_p50: Option<i64>,
    /// p99 of the end-to-end latency.
    pub e2e_ns_p99: Option<i64>,
    /// Most requests in flight at once.
    pub in_flight_max: i64,
    /// Errors over sent.
    pub error_rate: Option<f64>,
    /// Good over sent.
    pub slo_attainment: Option<f64>,
    /// True where the stage met its SLO and kept up with what was offered;
    /// null where it is not judged.
    pub holds: Option<bool>,
    /// Why it does not hold, in plain words; null where it does.
    pub remark: Option<String>,
}

impl StageLine {
    /// Reads a stage's row against the SLO. What a row alone cannot show (a
    /// backlog that grows) is taken from what the verdict said of the stage.
    pub(super) fn read(row: &StageRow, objectives: &Objectives, reasons: &[Reason]) -> Self {
        let is_judged = row.phase == Phase::Steady.as_str();
        let said = || {
            let mut broken = reasons
                .iter()
                .filter(|reason| reason.stage == Some(row.stage) && !reason.met);
            broken.next().map(|reason| reason.text.clone())
        };
        let remark = is_judged
            .then(|| objectives.remark(row).or_else(said))
            .flatten();
        Self {
            stage: row.stage,
            name: row.name.clone(),
            phase: row.phase.clone(),
            offered_rps: row.offered_rps,
            concurrency: row.concurrency,
            duration_ns: row.duration_ns,
            sent: row.sent,
            ok: row.ok,
            good: row.good,
            errors: row.errors,
            missed: row.missed,
            goodput_rps: row.goodput_rps,
            throughput_rps: row.throughput_rps,
            output_tokens_per_s: row.output_tokens_per_s,
            ttft_ns_p50: row.ttft_ns_p50,
            ttft_ns_p99: row.ttft_ns_p99,
            tpot_ns_p50: row.tpot_ns_p50,
            tpot_ns_p99: row.tpot_ns_p99,
            e2e_ns_p50: row.e2e_ns_p50,
            e2e_ns_p99: row.e2e_ns_p99,
            in_flight_max: row.in_flight_max,
            error_rate: per(row.errors, row.sent),
            slo_attainment: per(row.good, row.sent),
            holds: is_judged.then_some(remark.is_none()),
            remark,
        }
    }

    /// True where the stage counts towards the verdict.
    pub fn is_steady(&self) -> bool {
        self.phase == Phase::Steady.as_str()
    }

    /// The load asked for, with its unit: `16 req/s`, `8 in flight`.
    pub(super) fn load(&self) -> String {
        load_of(self.offered_rps, self.concurrency, &self.name)
    }

    /// The load asked for as a bare number: `16`.
    pub(super) fn load_number(&self) -> String {
        match (self.offered_rps, self.concurrency) {
            (Some(rate), _) => units::setting(rate),
            (None, Some(concurrency)) => units::count(concurrency),
            (None, None) => self.name.clone(),
        }
    }
}

/// The load that a row's stage was asked for, with its unit.
pub(super) fn load(row: &StageRow) -> String {
    load_of(row.offered_rps, row.concurrency, &row.name)
}

fn load_of(offered_rps: Option<f64>, concurrency: Option<i64>, name: &str) -> String {
    match (offered_rps, concurrency) {
        (Some(rate), _) => format!("{} req/s", units::setting(rate)),
        (None, Some(concurrency)) => format!("{} in flight", units::count(concurrency)),
        (None, None) => name.to_string(),
    }
}

/// A share or a mean; `None` of nothing.
pub(super) fn per(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{reason, samples};

    const NONE: Objectives = Objectives {
        slo: None,
        must_keep_up: false,
    };

    #[test]
    fn shares_come_from_the_counts() {
        let (_, stages, _) = samples::passed_step();
        let line = StageLine::read(&stages[2], &NONE, &[]);
        assert_eq!(line.load(), "16 req/s");
        assert_eq!(line.error_rate, Some(0.0));
        assert_eq!(line.holds, Some(true));
    }

    #[test]
    fn nothing_sent_has_no_shares() {
        let (_, mut stages, _) = samples::passed_step();
        (stages[0].sent, stages[0].ok, stages[0].errors) = (0, 0, 0);
        let line = StageLine::read(&stages[0], &NONE, &[]);
        assert_eq!((line.error_rate, line.slo_attainment), (None, None));
    }

    #[test]
    fn a_backlog_is_told_as_the_verdict_told_it() {
        let (_, stages, _) = samples::passed_step();
        let column = r#"[
            {"rule": "error_rate", "stage": 2, "measured": "0 %", "required": "1 %", "met": true},
            {"rule": "backlog_slope", "stage": 2, "measured": "+0.50 req/s", "required": "no growth"}
        ]"#;
        let reasons = reason::read(column, &stages).expect("reasons");
        let line = StageLine::read(&stages[2], &NONE, &reasons);
        assert_eq!(line.holds, Some(false));
        let remark = line.remark.expect("a remark");
        assert_eq!(
            remark,
            "at 16 req/s: backlog slope +0.50 req/s, required no growth"
        );
        assert_eq!(StageLine::read(&stages[1], &NONE, &reasons).remark, None);
    }

    #[test]
    fn warm_up_is_not_judged() {
        let (_, mut stages, _) = samples::blocked_step();
        stages[0].phase = "warm_up".to_string();
        let line = StageLine::read(&stages[0], &NONE, &[]);
        assert_eq!((line.holds, line.remark), (None, None));
    }
}
