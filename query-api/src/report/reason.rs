//! Why a verdict is what it is: rule, measured, required, and the same in words.

use plimsoll_ingest::StageRow;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::stage;

/// One rule that spoke, for the subject or against it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Reason {
    /// The rule, as the verdict names it: `ttft_p99`, `error_rate`, `demand`.
    pub rule: String,
    /// The stage it spoke of; null where it spoke of the run.
    pub stage: Option<i64>,
    /// What was measured, as the run recorded it.
    pub measured: Value,
    /// What the rule required, as the run recorded it.
    pub required: Value,
    /// Whether what was measured meets it.
    pub met: bool,
    /// All of it in plain words.
    pub text: String,
}

/// Rules that tell what happened, not what was required.
const EVENTS: [&str; 4] = ["stopped", "failed", "completeness", "environment"];

impl Reason {
    /// The words, and whether the rule was met; an event is told alone.
    pub(super) fn in_full(&self) -> String {
        match (EVENTS.contains(&self.rule.as_str()), self.met) {
            (true, _) => self.text.clone(),
            (false, true) => format!("{}: met", self.text),
            (false, false) => format!("{}: not met", self.text),
        }
    }
}

/// Reads the reasons of a run from its column of JSON; its stages lend the
/// names of their loads.
///
/// # Errors
/// Hands back the reader's message where the column is no array of objects.
pub(super) fn read(column: &str, stages: &[StageRow]) -> Result<Vec<Reason>, serde_json::Error> {
    let recorded: Vec<Recorded> = serde_json::from_str(column)?;
    Ok(recorded
        .into_iter()
        .map(|recorded| recorded.told(stages))
        .collect())
}

/// A reason as `runs.verdict_reasons` holds it.
#[derive(Deserialize)]
struct Recorded {
    rule: String,
    #[serde(default)]
    stage: Option<i64>,
    #[serde(default)]
    measured: Value,
    #[serde(default)]
    required: Value,
    #[serde(default)]
    met: bool,
}

impl Recorded {
    fn told(self, stages: &[StageRow]) -> Reason {
        let place = stages
            .iter()
            .find(|row| Some(row.stage) == self.stage)
            .map(stage::load);
        let text = match place {
            Some(load) => format!("at {load}: {}", self.in_words()),
            None => self.in_words(),
        };
        let Self {
            rule,
            stage,
            measured,
            required,
            met,
        } = self;
        Reason {
            rule,
            stage,
            measured,
            required,
            met,
            text,
        }
    }

    fn in_words(&self) -> String {
        let measured = shown(&self.measured);
        let lead = match (self.rule.as_str(), &measured) {
            ("stopped", Some(by)) => return format!("stopped by {by}"),
            ("failed" | "completeness", Some(what)) => return what.clone(),
            ("environment", Some(change)) => return format!("the environment changed: {change}"),
            ("idle_slots", _) => "slots stood empty for".to_string(),
            ("demand", _) => "goodput at the limit".to_string(),
            (rule, _) => name(rule),
        };
        let mut text = lead;
        if let Some(measured) = measured {
            text.push(' ');
            text.push_str(&measured);
        }
        if let Some(required) = shown(&self.required) {
            text.push_str(&format!(", {} {required}", bound(&self.rule)));
        }
        text
    }
}

/// How what a rule requires is related to what was measured.
fn bound(rule: &str) -> &'static str {
    const MOST: [&str; 8] = [
        "ttft_",
        "tpot_",
        "itl_",
        "e2e_",
        "error_rate",
        "missed",
        "schedule_lag_",
        "idle_slots",
    ];
    const LEAST: [&str; 3] = ["good", "demand", "achieved_ratio"];
    if MOST.iter().any(|most| rule.starts_with(most)) {
        "at most"
    } else if LEAST.contains(&rule) {
        "at least"
    } else {
        "required"
    }
}

/// The value as text; `None` where there is none.
pub(super) fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A rule's name as people say it: `ttft_p99` is `TTFT p99`.
pub(super) fn name(rule: &str) -> String {
    let words = rule.split('_').map(|word| match word {
        "ttft" => "TTFT",
        "tpot" => "TPOT",
        "itl" => "ITL",
        "e2e" => "end to end",
        "slo" => "SLO",
        other => other,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[track_caller]
    fn check(reason: Value, expected: &str) {
        let (_, stages, _) = samples::passed_step();
        let reasons = read(&Value::from(vec![reason]).to_string(), &stages).expect("reasons");
        assert_eq!(reasons[0].text, expected);
    }

    fn of(rule: &str, measured: &str, required: &str) -> Value {
        serde_json::json!({"rule": rule, "measured": measured, "required": required})
    }

    #[test]
    fn rules_are_told_with_both_values() {
        check(
            of("ttft_p99", "6.21 s", "500 ms"),
            "TTFT p99 6.21 s, at most 500 ms",
        );
        check(
            of("e2e_p50", "2 s", "1 s"),
            "end to end p50 2 s, at most 1 s",
        );
        check(
            of("error_rate", "2 %", "1 %"),
            "error rate 2 %, at most 1 %",
        );
        check(of("good", "89.5 %", "90 %"), "good 89.5 %, at least 90 %");
        check(
            of("demand", "15.8 req/s", "20 req/s"),
            "goodput at the limit 15.8 req/s, at least 20 req/s",
        );
        check(
            of("backlog_slope", "+0.50 req/s", "no growth"),
            "backlog slope +0.50 req/s, required no growth",
        );
        check(
            of("schedule_lag_p99", "14.2 ms", "10 ms"),
            "schedule lag p99 14.2 ms, at most 10 ms",
        );
        check(
            of("idle_slots", "11.5 %", "10 %"),
            "slots stood empty for 11.5 %, at most 10 %",
        );
    }

    #[test]
    fn what_ended_a_run_is_told_plainly() {
        check(
            of("stopped", "Ctrl-C", "to run to the end"),
            "stopped by Ctrl-C",
        );
        check(
            of("failed", "no answer within 30 s", "to run"),
            "no answer within 30 s",
        );
        check(
            of("completeness", "the process died", "all samples"),
            "the process died",
        );
        check(
            of("environment", "driver 580 to 590", "no change"),
            "the environment changed: driver 580 to 590",
        );
        check(serde_json::json!({"rule": "killed"}), "killed");
    }

    #[test]
    fn a_stage_is_named_by_its_load() {
        let mut reason = of("ttft_p99", "6.21 s", "500 ms");
        reason["stage"] = Value::from(3);
        check(
            reason.clone(),
            "at 32 req/s: TTFT p99 6.21 s, at most 500 ms",
        );
        reason["stage"] = Value::from(99);
        check(reason, "TTFT p99 6.21 s, at most 500 ms");
    }

    #[test]
    fn other_json_is_refused() {
        for column in ["{}", "", r#"[{"measured":1}]"#] {
            assert!(read(column, &[]).is_err(), "{column}");
        }
    }
}
