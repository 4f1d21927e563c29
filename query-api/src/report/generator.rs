//! The generator's judgement of itself: did it send when it had to?
//!
//! The bounds are the verdict's affair; what it said of them is in the run's
//! reasons, and is told here beside what was measured.

use plimsoll_ingest::{Phase, RunRow, StageRow, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use super::reason::{self, Reason};
use super::{stage, units};

/// How well the generator kept its schedule, over the steady stages.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Generator {
    /// True where the measurement stands.
    pub valid: bool,
    /// p99 of how late it sent, in ns; null where it sent nothing.
    pub schedule_lag_ns_p99: Option<i64>,
    /// Requests sent.
    pub sent: i64,
    /// Arrivals that could not be sent.
    pub missed: i64,
    /// Missed over all arrivals, 0 to 1; null where there were none.
    pub missed_share: Option<f64>,
    /// Stages in which it was too late; a limit that lies elsewhere stands all
    /// the same.
    pub late_stages: Vec<i64>,
    /// Who took the receive times, `kernel` or `user`; null where unknown.
    pub timestamp_source: Option<String>,
    /// Share of the chunks that one read brought along with the one before, 0 to 1: they carry
    /// its time. Null where no chunk came.
    pub bundled_share: Option<f64>,
    /// All of it in plain words.
    pub text: String,
}

/// From which share on the words tell of bundled chunks: below, no percentile that people look at
/// hangs on them.
const BUNDLED_WORTH_TELLING: f64 = 0.01;

impl Generator {
    /// Reads it from the rows of a run.
    pub(super) fn read(
        run: &RunRow,
        verdict: Verdict,
        reasons: &[Reason],
        stages: &[StageRow],
        timestamp_source: Option<String>,
    ) -> Self {
        let steady: Vec<&StageRow> = stages
            .iter()
            .filter(|stage| stage.phase == Phase::Steady.as_str())
            .collect();
        let sent = steady.iter().map(|stage| stage.sent).sum::<i64>();
        let missed = steady.iter().map(|stage| stage.missed).sum::<i64>();
        let chunks = steady.iter().filter_map(|stage| stage.token_chunks).sum();
        let bundled = steady.iter().filter_map(|stage| stage.bundled_chunks).sum();
        let late: Vec<&StageRow> = steady.into_iter().filter(|stage| !stage.valid).collect();
        let valid = match verdict {
            Verdict::Invalid => false,
            verdict if verdict.describes_subject() => true,
            _ => late.is_empty(),
        };
        let mut generator = Self {
            valid,
            schedule_lag_ns_p99: run.schedule_lag_ns_p99,
            sent,
            missed,
            missed_share: stage::per(missed, sent + missed),
            late_stages: late.iter().map(|stage| stage.stage).collect(),
            timestamp_source,
            bundled_share: stage::per(bundled, chunks),
            text: String::new(),
        };
        let late: Vec<String> = late.into_iter().map(stage::load).collect();
        generator.text = generator.in_words(reasons, &late);
        generator
    }

    fn in_words(&self, reasons: &[Reason], late: &[String]) -> String {
        if self.sent + self.missed == 0 {
            return "sent nothing that counts".to_string();
        }
        let broken = |rule: &str| {
            let mut broken = reasons
                .iter()
                .filter(|reason| !reason.met && reason.stage.is_none());
            broken.find(|reason| reason.rule == rule)
        };
        let allowed =
            |reason: &Reason| Some(format!("{} allowed", reason::shown(&reason.required)?));
        let mut parts = Vec::new();
        parts.extend(self.schedule_lag_ns_p99.map(|lag| {
            let lag = format!("schedule lag p99 {}", units::duration(lag));
            match broken("schedule_lag_p99").and_then(allowed) {
                Some(allowed) => format!("{lag} ({allowed})"),
                None => lag,
            }
        }));
        // The rule also counts requests for which the generator had no socket.
        let unsent = broken("missed").and_then(|reason| {
            let measured = reason::shown(&reason.measured)?;
            Some(format!(
                "{measured} of the arrivals not sent ({})",
                allowed(reason)?
            ))
        });
        parts.push(unsent.unwrap_or_else(|| self.missed_in_words()));
        if !late.is_empty() {
            parts.push(format!("not on time at {}", late.join(" and ")));
        }
        parts.extend(
            self.timestamp_source
                .as_ref()
                .map(|source| format!("{source} timestamps")),
        );
        parts.extend(
            self.bundled_share
                .filter(|share| *share >= BUNDLED_WORTH_TELLING)
                .map(|share| {
                    let share = units::percent(share);
                    format!("{share} of chunks read along with the one before")
                }),
        );
        format!(
            "{}: {}",
            parts.join(", "),
            if self.valid { "valid" } else { "invalid" }
        )
    }

    fn missed_in_words(&self) -> String {
        match self.missed_share {
            Some(share) if self.missed > 0 => format!(
                "{} of {} missed ({})",
                units::count(self.missed),
                units::count(self.sent + self.missed),
                units::percent(share)
            ),
            _ => "none missed".to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[track_caller]
    fn check(change: impl FnOnce(&mut RunRow, &mut Vec<StageRow>), expected: &str) {
        let (mut run, mut stages, _) = samples::passed_step();
        change(&mut run, &mut stages);
        let verdict = run.verdict.parse().expect("verdict");
        let reasons = reason::read(&run.verdict_reasons, &stages).expect("reasons");
        let source = Some("kernel".to_string());
        assert_eq!(
            Generator::read(&run, verdict, &reasons, &stages, source).text,
            expected
        );
    }

    #[test]
    fn a_kept_schedule_is_valid() {
        check(
            |_, _| {},
            "schedule lag p99 210 us, none missed, kernel timestamps: valid",
        );
        check(
            |run, _| run.schedule_lag_ns_p99 = None,
            "none missed, kernel timestamps: valid",
        );
    }

    #[test]
    fn what_is_over_stands_beside_what_is_allowed() {
        check(
            |run, stages| {
                run.verdict = "invalid".to_string();
                run.verdict_reasons = serde_json::json!([
                    {"rule": "schedule_lag_p99", "measured": "14.2 ms", "required": "10 ms"},
                    {"rule": "missed", "measured": "2.18 %", "required": "0.1 %"},
                ])
                .to_string();
                run.schedule_lag_ns_p99 = Some(14_200_000);
                stages[1].missed = 40;
            },
            "schedule lag p99 14.2 ms (10 ms allowed), 2.18 % of the arrivals not sent (0.1 % allowed), \
             kernel timestamps: invalid",
        );
    }

    #[test]
    fn a_few_that_were_missed_are_counted() {
        check(
            |_, stages| stages[1].missed = 1,
            "schedule lag p99 210 us, 1 of 1801 missed (0.06 %), kernel timestamps: valid",
        );
    }

    #[test]
    fn a_late_stage_beside_the_limit_spoils_nothing_but_is_told() {
        check(
            |_, stages| stages[0].valid = false,
            "schedule lag p99 210 us, none missed, not on time at 4 req/s, kernel timestamps: valid",
        );
        check(
            |run, stages| {
                run.verdict = "cancelled".to_string();
                stages[0].valid = false;
            },
            "schedule lag p99 210 us, none missed, not on time at 4 req/s, kernel timestamps: invalid",
        );
    }

    #[test]
    fn chunks_without_a_time_of_their_own_are_told_from_one_in_a_hundred_on() {
        let bundled = |count| {
            move |_: &mut RunRow, stages: &mut Vec<StageRow>| {
                stages
                    .iter_mut()
                    .for_each(|stage| stage.token_chunks = None);
                stages[0].token_chunks = Some(10_000);
                stages[0].bundled_chunks = Some(count);
            }
        };
        check(
            bundled(99),
            "schedule lag p99 210 us, none missed, kernel timestamps: valid",
        );
        check(
            bundled(1_200),
            "schedule lag p99 210 us, none missed, kernel timestamps, \
             12 % of chunks read along with the one before: valid",
        );
    }

    #[test]
    fn no_stages_claim_nothing() {
        check(|_, stages| stages.clear(), "sent nothing that counts");
    }
}
