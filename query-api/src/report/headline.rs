//! The one sentence that a reader takes home.

use plimsoll_ingest::{RunRow, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use super::reason::Reason;
use super::stage::StageLine;
use super::units;

/// The most load that held, and the least that did not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Limit {
    /// The stage whose load held; null where none did.
    pub holds_stage: Option<i64>,
    /// Its load, with its unit; null where none held.
    pub holds_at: Option<String>,
    /// The first stage whose load did not hold; null where all did.
    pub breaks_stage: Option<i64>,
    /// Its load, with its unit; null where all held.
    pub breaks_at: Option<String>,
    /// Good requests a second at the limit; null where the run has none.
    pub peak_goodput_rps: Option<f64>,
}

impl Limit {
    /// Finds both ends around the stage that the verdict names.
    pub(super) fn find(run: &RunRow, verdict: Verdict, stages: &[StageLine]) -> Self {
        let steady = || stages.iter().filter(|stage| stage.is_steady());
        let headline = steady().find(|stage| Some(stage.stage) == run.headline_stage);
        let (holds, breaks) = match verdict {
            Verdict::Blocked => (None, headline.or_else(|| steady().next())),
            _ => {
                let after = headline.map_or(i64::MIN, |stage| stage.stage);
                let breaks =
                    steady().find(|stage| stage.stage > after && stage.holds == Some(false));
                (headline, breaks)
            }
        };
        Self {
            holds_stage: holds.map(|stage| stage.stage),
            holds_at: holds.map(StageLine::load),
            breaks_stage: breaks.map(|stage| stage.stage),
            breaks_at: breaks.map(StageLine::load),
            peak_goodput_rps: run.peak_goodput_rps,
        }
    }
}

/// What the sentence is made of.
pub(super) struct Facts<'a> {
    pub(super) run: &'a RunRow,
    pub(super) verdict: Verdict,
    pub(super) stages: &'a [StageLine],
    pub(super) reasons: &'a [Reason],
    /// Present where the profile looks for a limit.
    pub(super) limit: Option<&'a Limit>,
    /// The rate that is needed, in requests a second.
    pub(super) demand: Option<f64>,
}

/// The sentence: subject first, no full stop.
pub(super) fn sentence(facts: &Facts<'_>) -> String {
    let model = &facts.run.model;
    match (facts.verdict, facts.limit) {
        (Verdict::Passed | Verdict::Degraded | Verdict::Blocked, _)
            if facts.run.pillar != "performance" =>
        {
            cases(facts)
        }
        (Verdict::Passed | Verdict::Degraded, Some(limit)) => at_the_limit(facts, limit),
        (Verdict::Blocked, Some(limit)) => match &limit.breaks_at {
            Some(load) => format!("{model} breaks its SLO at {load}, the lightest load tried"),
            None => format!("{model} holds its SLO at no load tried"),
        },
        (Verdict::Passed, None) => format!("{model} holds its SLO{}", at_the_load(facts)),
        (Verdict::Degraded, None) => {
            format!(
                "{model} falls short of its SLO{}{}",
                at_the_load(facts),
                attained(facts.run)
            )
        }
        (Verdict::Blocked, None) => {
            format!(
                "{model} breaks its SLO{}{}",
                at_the_load(facts),
                attained(facts.run)
            )
        }
        (Verdict::Invalid, _) => format!("no valid measurement of {model}{}", because(facts)),
        (Verdict::Incomplete, _) => format!(
            "the measurement of {model} did not finish{}",
            because(facts)
        ),
        (Verdict::Error, _) => format!("{model} could not be measured{}", because(facts)),
        (Verdict::Cancelled, _) => {
            let micros = facts.run.finished_at.micros() - facts.run.started_at.micros();
            let after = units::duration(micros.max(0).saturating_mul(1_000));
            format!(
                "the measurement of {model} was cancelled after {after}{}",
                because(facts)
            )
        }
    }
}

fn at_the_limit(facts: &Facts<'_>, limit: &Limit) -> String {
    let model = &facts.run.model;
    let Some(holds) = &limit.holds_at else {
        return format!("{model} holds its SLO");
    };
    let reach =
        most_served(facts).map_or(String::new(), |served| format!("reaches {served}, and "));
    let mut text = match &limit.breaks_at {
        Some(breaks) => {
            format!("{model} {reach}holds its SLO at {holds} and breaks it at {breaks}")
        }
        None => format!("{model} {reach}holds its SLO up to {holds}, the heaviest load tried"),
    };
    match (facts.demand, facts.run.peak_goodput_rps) {
        (Some(demand), Some(peak)) if facts.verdict == Verdict::Degraded => {
            let peak = units::requests_per_second(peak);
            text.push_str(&format!(
                " ({peak} good, {} needed)",
                units::setting(demand)
            ));
        }
        (Some(demand), _) => text.push_str(&format!(" (needed: {})", units::setting(demand))),
        (None, _) => {}
    }
    text
}

/// What a closed loop served at most, and with how many in flight: the first
/// stage within 2 % of the best, since more in flight only wait longer.
fn most_served(facts: &Facts<'_>) -> Option<String> {
    let steady = || facts.stages.iter().filter(|stage| stage.is_steady());
    if steady().any(|stage| stage.offered_rps.is_some()) {
        return None;
    }
    let best = steady()
        .map(|stage| stage.throughput_rps)
        .fold(0.0, f64::max);
    let first = steady().find(|stage| stage.throughput_rps >= best * 0.98)?;
    let requests = units::requests_per_second(first.throughput_rps);
    let tokens = first.output_tokens_per_s.map(units::tokens_per_second);
    let tokens = tokens.map_or(String::new(), |tokens| format!(" ({tokens})"));
    Some(format!("{requests}{tokens} at {}", first.load()))
}

/// The load of a fixed-load run where it had one load: ` at 8 req/s for 1 min`;
/// of several the latency without queueing.
fn at_the_load(facts: &Facts<'_>) -> String {
    let mut steady = facts.stages.iter().filter(|stage| stage.is_steady());
    match (steady.next(), steady.next()) {
        (Some(only), None) => {
            format!(
                " at {} for {}",
                only.load(),
                units::duration_setting(only.duration_ns)
            )
        }
        _ => match facts.run.floor_ttft_ns {
            Some(floor) => format!(", with a floor TTFT of {}", units::duration(floor)),
            None => String::new(),
        },
    }
}

fn attained(run: &RunRow) -> String {
    match run.slo_attainment {
        Some(share) => format!(": {} of requests are good", units::percent(share)),
        None => String::new(),
    }
}

fn cases(facts: &Facts<'_>) -> String {
    let run = facts.run;
    let suite = format!("{} suite {}", run.pillar, run.suite);
    match (run.cases_total, run.cases_failed) {
        (Some(total), Some(0)) => {
            format!(
                "{} passes all {} cases of the {suite}",
                run.model,
                units::count(total)
            )
        }
        (Some(total), Some(failed)) => {
            let (failed, total) = (units::count(failed), units::count(total));
            format!(
                "{} fails {failed} of {total} cases of the {suite}",
                run.model
            )
        }
        _ => format!("{} in the {suite}: {}", run.model, facts.verdict),
    }
}

/// What broke the measurement, or ended it.
fn because(facts: &Facts<'_>) -> String {
    let broken: Vec<&str> = facts
        .reasons
        .iter()
        .filter(|reason| !reason.met)
        .map(|reason| reason.text.as_str())
        .collect();
    if broken.is_empty() {
        String::new()
    } else {
        format!(": {}", broken.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, samples};
    use plimsoll_ingest::{EnvelopeRow, StageRow};

    type Rows = (RunRow, Vec<StageRow>, EnvelopeRow);

    #[track_caller]
    fn check((run, stages, envelope): Rows, expected: &str) {
        let report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        assert_eq!(report.headline, expected);
    }

    fn changed(mut rows: Rows, change: impl FnOnce(&mut Rows)) -> Rows {
        change(&mut rows);
        rows
    }

    #[test]
    fn a_limit_has_two_ends() {
        check(
            samples::passed_step(),
            "llama-70b-c50 holds its SLO at 16 req/s and breaks it at 32 req/s (needed: 10)",
        );
        check(
            changed(samples::passed_step(), |(_, stages, _)| drop(stages.pop())),
            "llama-70b-c50 holds its SLO up to 16 req/s, the heaviest load tried (needed: 10)",
        );
        check(
            changed(samples::passed_step(), |(run, _, _)| {
                run.verdict = "degraded".to_string()
            }),
            "llama-70b-c50 holds its SLO at 16 req/s and breaks it at 32 req/s \
             (15.8 req/s good, 10 needed)",
        );
        check(
            samples::blocked_step(),
            "llama-70b-c50 breaks its SLO at 4 req/s, the lightest load tried",
        );
        check(
            samples::max_throughput(),
            "sim-8 reaches 11.4 req/s (730 tok/s) at 8 in flight, \
             and holds its SLO up to 16 in flight, the heaviest load tried",
        );
    }

    #[test]
    fn a_fixed_load_names_it() {
        check(
            samples::smoke(),
            "sim-8 holds its SLO, with a floor TTFT of 50.0 ms",
        );
        let one_stage = |verdict: &str| {
            changed(samples::passed_step(), |(run, stages, _)| {
                run.suite = "stability".to_string();
                run.profile = Some("stability".to_string());
                run.verdict = verdict.to_string();
                run.slo_attainment = Some(0.94);
                run.config = samples::config("error_rate=1%", false);
                stages.truncate(1);
            })
        };
        check(
            one_stage("passed"),
            "llama-70b-c50 holds its SLO at 4 req/s for 30 s",
        );
        check(
            one_stage("degraded"),
            "llama-70b-c50 falls short of its SLO at 4 req/s for 30 s: 94 % of requests are good",
        );
        check(
            one_stage("blocked"),
            "llama-70b-c50 breaks its SLO at 4 req/s for 30 s: 94 % of requests are good",
        );
    }

    #[test]
    fn no_measurement_says_why() {
        check(
            samples::invalid(),
            "no valid measurement of llama-70b-c50: \
             schedule lag p99 14.2 ms, at most 10 ms",
        );
        check(
            samples::incomplete(),
            "the measurement of llama-70b-c50 did not finish: the process ended before the run did",
        );
        check(
            samples::cancelled(),
            "the measurement of llama-70b-c50 was cancelled after 41.2 s: stopped by Ctrl-C",
        );
        check(
            changed(samples::cancelled(), |(run, _, _)| {
                run.verdict = "error".to_string();
                run.verdict_reasons = "[]".to_string();
            }),
            "llama-70b-c50 could not be measured",
        );
    }

    #[test]
    fn functional_runs_count_cases() {
        let functional = |failed| {
            changed(samples::passed_step(), |(run, stages, _)| {
                run.pillar = "functional".to_string();
                run.suite = "standard".to_string();
                run.profile = None;
                run.cases_total = Some(40);
                run.cases_failed = failed;
                stages.clear();
            })
        };
        check(
            functional(Some(0)),
            "llama-70b-c50 passes all 40 cases of the functional suite standard",
        );
        check(
            functional(Some(2)),
            "llama-70b-c50 fails 2 of 40 cases of the functional suite standard",
        );
        check(
            functional(None),
            "llama-70b-c50 in the functional suite standard: passed",
        );
    }
}
