//! The limit of a profile that looks for one.

use super::VerdictReason;
use crate::load::stage::StageStats;
use crate::slo::{RuleResult, Slo, reading};

/// Share of the offered rate that a stage must serve to be at or below the limit.
pub const ACHIEVED_RATIO: f64 = 0.98;

/// Where load is carried and where it is not any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit<'a> {
    /// The last stage before the first failing one; `None` where the first fails.
    pub(super) holds: Option<&'a StageStats>,
    /// The first failing stage; `None` where none fails.
    pub(super) breaks: Option<&'a StageStats>,
}

impl<'a> Limit<'a> {
    /// The limit among steady stages, which are in the order of growing load.
    ///
    /// A stage says nothing in which no request was to be sent: its slots were all in use by replies
    /// that began before its window and ended after it.
    pub(super) fn among(stages: &[&'a StageStats], slo: &Slo) -> Self {
        let says_something = |stage: &&&StageStats| stage.sent > 0 || stage.missed > 0;
        let stages: Vec<_> = stages.iter().filter(says_something).copied().collect();
        let passing = stages
            .iter()
            .take_while(|stage| stage_rules(stage, slo).all(|rule| rule.met))
            .count();
        Self {
            holds: passing.checked_sub(1).map(|last| stages[last]),
            breaks: stages.get(passing).copied(),
        }
    }

    /// What spoils the finding: a generator that did not do its part where the answer lies.
    ///
    /// A stage that passed although arrivals were sent late has passed, for latency counts from the
    /// schedule; one that failed may have failed by the generator's fault. Arrivals that were never
    /// sent make a stage easier, so that they spoil both; so do slots of a closed loop that stood
    /// empty.
    pub(super) fn spoiled_by(&self) -> Vec<VerdictReason> {
        let broken = |stage: &StageStats| {
            let stage_number = stage.stage;
            stage
                .generator()
                .check()
                .into_iter()
                .filter(|rule| !rule.met)
                .map(move |rule| VerdictReason::of_stage(stage_number, rule))
        };
        let has_schedule = self.holds.is_some_and(|stage| stage.offered_rps.is_some());
        let holds = self.holds.into_iter().flat_map(broken);
        let breaks = self.breaks.into_iter().flat_map(broken);
        holds
            .filter(|reason| !has_schedule || reason.rule == "missed")
            .chain(breaks)
            .collect()
    }
}

/// What every rule says of one stage: those of the SLO, and in an open loop that the offered rate
/// was served and that no backlog grew.
pub(super) fn stage_rules(stage: &StageStats, slo: &Slo) -> impl Iterator<Item = RuleResult> {
    let achieved = stage.achieved_ratio.map(|ratio| RuleResult {
        rule: "achieved_ratio".to_string(),
        measured: reading::share_above(ratio),
        required: reading::percent(ACHIEVED_RATIO * 100.0, " "),
        met: ratio >= ACHIEVED_RATIO,
    });
    let backlog = stage.backlog.map(|backlog| RuleResult {
        rule: "backlog_slope".to_string(),
        measured: format!("{:+.2} req/s", backlog.slope_rps),
        required: "no growth".to_string(),
        met: !backlog.grows,
    });
    slo.stage_check(stage)
        .into_iter()
        .chain(achieved)
        .chain(backlog)
}
