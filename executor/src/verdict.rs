//! What a run of a performance profile says in the end.
//!
//! [`judge`] takes the figures of the stages and how the run ended, and gives the verdict, the
//! reasons for it and what stands in the run's headline. Pure: the same rows give the same verdict
//! at any time.

mod limit;
mod reason;

use plimsoll_ingest::{Phase, Verdict};

use crate::load::abort::AbortReason;
use crate::load::stage::{GeneratorReport, StageStats};
use crate::slo::{RuleResult, Slo, reading};
use limit::{Limit, stage_rules};

pub use limit::ACHIEVED_RATIO;
pub use reason::VerdictReason;

/// Share of good requests that makes a failing fixed load degraded rather than blocked.
const MOSTLY_GOOD: f64 = 0.9;

/// How the stages of a profile are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// A load that is to be carried: passed if every steady stage meets the SLO, degraded if at
    /// least 90 % of the requests are good, else blocked.
    FixedLoad,
    /// Loads that grow until one is too much: blocked if the first fails, degraded if the limit is
    /// below the demand, else passed.
    LimitFinding,
}

/// How a run came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It ran as planned.
    Finished,
    /// An abort rule ended it.
    Aborted(AbortReason),
    /// Somebody ended it; what or who, in words.
    Stopped(String),
    /// Samples or files are missing; which, in words.
    Incomplete(String),
    /// It could not run; why, in words.
    Failed(String),
}

/// What is known of a run when it has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts<'a> {
    /// How its profile is judged.
    pub judgement: Judgement,
    /// What was demanded.
    pub slo: &'a Slo,
    /// The stages in the order in which they ran, of every phase; steady ones are judged.
    pub stages: &'a [StageStats],
    /// What the generator reports over the rows of all steady stages.
    pub generator: GeneratorReport,
    /// How the run ended.
    pub ending: Ending,
    /// What changed in the environment while it ran, in words; `None` where nothing did.
    pub environment_change: Option<String>,
}

/// What a run says.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Each rule that spoke, the decisive ones first.
    pub reasons: Vec<VerdictReason>,
    /// The stage that the headline percentiles describe: the limit's, or the first where none
    /// passes. `None` where they describe all steady rows (fixed loads) or nothing was measured.
    pub headline_stage: Option<i64>,
    /// Goodput of the limit's stage; `None` where there is no limit, or no judgement.
    pub peak_goodput_rps: Option<f64>,
    /// Whether some stage was too much; `None` of fixed loads, or without judgement.
    pub limit_found: Option<bool>,
    /// Highest throughput of a steady stage; `None` of fixed loads, or without judgement.
    pub peak_throughput_rps: Option<f64>,
}

/// The verdict of a run, with its reasons and its headline.
pub fn judge(run: &RunFacts<'_>) -> Judged {
    let steady: Vec<&StageStats> = run
        .stages
        .iter()
        .filter(|stage| stage.phase == Phase::Steady)
        .collect();
    let limit = match run.judgement {
        Judgement::FixedLoad => None,
        Judgement::LimitFinding => Some(Limit::among(&steady, run.slo)),
    };
    let (verdict, reasons) = not_finished(run)
        .or_else(|| spoiled(run, &steady, limit.as_ref()))
        .unwrap_or_else(|| match &limit {
            None => of_fixed_load(&steady, run.slo),
            Some(limit) => of_limit(limit, run.slo),
        });
    let of_subject = limit.filter(|_| verdict.describes_subject());
    let headline = limit.and_then(|limit| limit.holds.or(limit.breaks));
    Judged {
        verdict,
        reasons,
        headline_stage: headline.map(|stage| stage.stage),
        peak_goodput_rps: of_subject
            .and_then(|limit| limit.holds)
            .map(|stage| stage.goodput_rps),
        limit_found: of_subject.map(|limit| limit.breaks.is_some()),
        peak_throughput_rps: of_subject.and_then(|_| {
            let throughputs = steady.iter().map(|stage| stage.throughput_rps);
            throughputs.reduce(f64::max)
        }),
    }
}

type Said = (Verdict, Vec<VerdictReason>);

/// The verdict of a run that did not come to its end; `None` of one that did.
fn not_finished(run: &RunFacts<'_>) -> Option<Said> {
    let (verdict, reason) = match &run.ending {
        Ending::Finished => return None,
        Ending::Aborted(abort) => {
            let rule = format!("abort_{}", abort.rule);
            let reason = VerdictReason::broken(&rule, &abort.measured, &abort.required);
            (Verdict::Cancelled, reason)
        }
        Ending::Stopped(by) => (
            Verdict::Cancelled,
            VerdictReason::broken("stopped", by, "to run to the end"),
        ),
        Ending::Incomplete(what) => (
            Verdict::Incomplete,
            VerdictReason::broken("completeness", what, "all samples"),
        ),
        Ending::Failed(why) => (
            Verdict::Error,
            VerdictReason::broken("failed", why, "to run"),
        ),
    };
    Some((verdict, vec![reason]))
}

/// The verdict of a run whose figures say nothing of the subject; `None` of one whose do.
fn spoiled(run: &RunFacts<'_>, steady: &[&StageStats], limit: Option<&Limit<'_>>) -> Option<Said> {
    let environment = run
        .environment_change
        .iter()
        .map(|change| VerdictReason::broken("environment", change, "no change"));
    let generator = run.generator.check().into_iter().filter(|rule| !rule.met);
    let mut reasons: Vec<VerdictReason> = environment
        .chain(generator.map(VerdictReason::of_run))
        .collect();
    reasons.extend(limit.map(Limit::spoiled_by).unwrap_or_default());
    if !reasons.is_empty() {
        return Some((Verdict::Invalid, reasons));
    }
    let sent: i64 = steady.iter().map(|stage| stage.sent).sum();
    (sent == 0).then(|| {
        let reason = VerdictReason::broken("steady_requests", "0", "at least 1");
        (Verdict::Incomplete, vec![reason])
    })
}

fn of_fixed_load(steady: &[&StageStats], slo: &Slo) -> Said {
    let said = steady.iter().flat_map(|stage| {
        let number = stage.stage;
        let rules = slo.stage_check(stage).into_iter();
        rules.map(move |rule| VerdictReason::of_stage(number, rule))
    });
    let (met, mut reasons): (Vec<_>, Vec<_>) = said.partition(|reason| reason.met);
    if reasons.is_empty() {
        return (Verdict::Passed, met);
    }
    let total =
        |count: fn(&StageStats) -> i64| -> i64 { steady.iter().map(|stage| count(stage)).sum() };
    // Some request was sent, or the run would be incomplete.
    let good = total(|stage| stage.good) as f64 / total(|stage| stage.sent) as f64;
    let mostly_good = good >= MOSTLY_GOOD;
    reasons.push(VerdictReason::of_run(RuleResult {
        rule: "good".to_string(),
        measured: reading::share_above(good),
        required: reading::percent(MOSTLY_GOOD * 100.0, " "),
        met: mostly_good,
    }));
    let verdict = if mostly_good {
        Verdict::Degraded
    } else {
        Verdict::Blocked
    };
    (verdict, reasons)
}

fn of_limit(limit: &Limit<'_>, slo: &Slo) -> Said {
    let said_of = |stage: &StageStats, met: bool| -> Vec<VerdictReason> {
        stage_rules(stage, slo)
            .filter(|rule| rule.met == met)
            .map(|rule| VerdictReason::of_stage(stage.stage, rule))
            .collect()
    };
    let broken = limit.breaks.map(|stage| said_of(stage, false));
    let Some(holds) = limit.holds else {
        return (Verdict::Blocked, broken.unwrap_or_default());
    };
    let demand = slo.demand().map(|demand| RuleResult {
        rule: "demand".to_string(),
        measured: reading::rate_above(holds.goodput_rps),
        required: demand.to_string(),
        met: carries(holds, demand.per_second()),
    });
    let verdict = match &demand {
        Some(demand) if !demand.met => Verdict::Degraded,
        _ => Verdict::Passed,
    };
    let mut reasons: Vec<_> = demand.map(VerdictReason::of_run).into_iter().collect();
    reasons.extend(broken.unwrap_or_else(|| said_of(holds, true)));
    (verdict, reasons)
}

/// Whether a stage that holds shows that a rate is carried. Of a stage that offered as much, a
/// request or two may end after its window: what makes it hold makes it enough.
fn carries(holds: &StageStats, demand: f64) -> bool {
    let offered = holds.offered_rps.is_some_and(|offered| offered >= demand);
    let enough = if offered {
        ACHIEVED_RATIO * demand
    } else {
        demand
    };
    holds.goodput_rps >= enough
}

#[cfg(test)]
mod tests;
