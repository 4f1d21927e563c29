//! Why a run got its verdict.

use serde::{Deserialize, Serialize};

use crate::slo::RuleResult;

/// A rule that spoke: an entry of `runs.verdict_reasons`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictReason {
    /// The rule's name. Of a stage: an objective (`ttft_p99`, `error_rate`), `achieved_ratio` or
    /// `backlog_slope`. Of the generator: `schedule_lag_p99`, `missed`, `idle_slots`. Of the run: `good`,
    /// `demand`, `environment`, `steady_requests`, `completeness`, `stopped`, `failed`, or
    /// `abort_error_rate` and `abort_in_flight`.
    pub rule: String,
    /// The stage that it speaks of; `None` where it speaks of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<i64>,
    /// What was measured, for people.
    pub measured: String,
    /// What was required, for people.
    pub required: String,
    /// Whether what was measured meets it.
    pub met: bool,
}

impl VerdictReason {
    /// What a rule said of one stage.
    pub(super) fn of_stage(stage: i64, result: RuleResult) -> Self {
        Self {
            stage: Some(stage),
            ..Self::of_run(result)
        }
    }

    /// What a rule said of the run.
    pub(super) fn of_run(result: RuleResult) -> Self {
        Self {
            rule: result.rule,
            stage: None,
            measured: result.measured,
            required: result.required,
            met: result.met,
        }
    }

    /// A rule of the run that is not met.
    pub(super) fn broken(rule: &str, measured: &str, required: &str) -> Self {
        Self {
            rule: rule.to_string(),
            stage: None,
            measured: measured.to_string(),
            required: required.to_string(),
            met: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_the_stage_where_there_is_one() {
        let of_run = VerdictReason::broken("demand", "15.8 req/s", "20 req/s");
        let json = serde_json::to_string(&of_run).expect("plain data");
        assert_eq!(
            json,
            r#"{"rule":"demand","measured":"15.8 req/s","required":"20 req/s","met":false}"#
        );
        assert_eq!(
            serde_json::from_str::<VerdictReason>(&json).expect("it reads back"),
            of_run
        );
        let of_stage = VerdictReason {
            stage: Some(4),
            ..of_run
        };
        let json = serde_json::to_value(&of_stage).expect("plain data");
        assert_eq!(json["stage"], 4);
    }
}
