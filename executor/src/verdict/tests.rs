//! Known answers and laws of the verdict.

use super::*;
use crate::load::stage::{BacklogTrend, IdleSlots, RequestFacts, StageWindow};
use crate::slo::RequestLatencies;
use plimsoll_ingest::RequestStatus;
use proptest::prelude::*;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

fn slo(text: &str) -> Slo {
    text.parse().expect("an SLO")
}

/// A stage of 100 good requests at a rate, each with its first token after 100 ms.
fn stage(number: i64, offered_rps: f64) -> StageStats {
    StageStats {
        offered_rps: Some(offered_rps),
        sent: 100,
        ok: 100,
        good: 100,
        throughput_rps: offered_rps,
        goodput_rps: offered_rps,
        achieved_ratio: Some(1.0),
        backlog: Some(BacklogTrend {
            slope_rps: 0.0,
            grows: false,
        }),
        schedule_lag_ns_p99: Some(MS),
        latencies: crate::load::stage::StageLatencies {
            ttft: Some([100 * MS; 4].into()),
            ..Default::default()
        },
        ..StageStats::of_nothing(number)
    }
}

fn ladder() -> Vec<StageStats> {
    (0..5).map(|i| stage(i, f64::from(1 << i))).collect()
}

fn failing(stage: StageStats) -> StageStats {
    StageStats {
        ok: 90,
        good: 80,
        errors: 10,
        goodput_rps: stage.goodput_rps * 0.8,
        ..stage
    }
}

fn facts<'a>(judgement: Judgement, slo: &'a Slo, stages: &'a [StageStats]) -> RunFacts<'a> {
    RunFacts {
        judgement,
        slo,
        stages,
        generator: GeneratorReport {
            schedule_lag_ns_p99: Some(MS),
            ttft_ns_p50: Some(100 * MS),
            sent: stages.iter().map(|stage| stage.sent).sum(),
            missed: 0,
            idle_slots: None,
        },
        ending: Ending::Finished,
        environment_change: None,
    }
}

fn judged(judgement: Judgement, objectives: &str, stages: &[StageStats]) -> Judged {
    judge(&facts(judgement, &slo(objectives), stages))
}

fn rules(judged: &Judged) -> Vec<(&str, Option<i64>, bool)> {
    judged
        .reasons
        .iter()
        .map(|reason| (reason.rule.as_str(), reason.stage, reason.met))
        .collect()
}

#[test]
fn a_fixed_load_passes_if_every_steady_stage_meets_the_slo() {
    let stages = [stage(0, 1.0), stage(1, 1.0)];
    let passed = judged(Judgement::FixedLoad, "ttft_p99=500ms", &stages);
    assert_eq!(passed.verdict, Verdict::Passed);
    assert_eq!(
        rules(&passed),
        [
            ("ttft_p99", Some(0), true),
            ("error_rate", Some(0), true),
            ("ttft_p99", Some(1), true),
            ("error_rate", Some(1), true),
        ]
    );
    assert_eq!(
        (
            passed.headline_stage,
            passed.peak_goodput_rps,
            passed.limit_found,
            passed.peak_throughput_rps
        ),
        (None, None, None, None)
    );
}

#[test]
fn a_fixed_load_is_degraded_with_90_percent_good_and_blocked_below() {
    // 100 of 100 and 80 of 100 are good: 90 %.
    let stages = [stage(0, 1.0), failing(stage(1, 1.0))];
    let degraded = judged(Judgement::FixedLoad, "error_rate=1%", &stages);
    assert_eq!(degraded.verdict, Verdict::Degraded);
    assert_eq!(
        rules(&degraded),
        [("error_rate", Some(1), false), ("good", None, true)]
    );
    assert_eq!(degraded.reasons[0].measured, "10 %");
    assert_eq!(degraded.reasons[1].measured, "90 %");
    let mut worse = stages;
    worse[1].good = 79;
    let blocked = judged(Judgement::FixedLoad, "error_rate=1%", &worse);
    assert_eq!(blocked.verdict, Verdict::Blocked);
    assert_eq!(blocked.reasons[1].measured, "89.5 %");
}

#[test]
fn warm_up_is_not_judged() {
    let warm_up = StageStats {
        phase: Phase::WarmUp,
        ..failing(stage(0, 1.0))
    };
    let stages = [warm_up, stage(1, 1.0)];
    for judgement in [Judgement::FixedLoad, Judgement::LimitFinding] {
        let found = judged(judgement, "error_rate=1%", &stages);
        assert_eq!(found.verdict, Verdict::Passed);
    }
    assert_eq!(
        judged(Judgement::LimitFinding, "error_rate=1%", &stages).headline_stage,
        Some(1)
    );
}

#[test]
fn the_limit_is_the_last_stage_before_the_first_failing_one() {
    let mut stages = ladder();
    stages[3] = failing(stages[3]);
    // A later stage that passes by luck changes nothing.
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.verdict, Verdict::Passed);
    assert_eq!(found.headline_stage, Some(2));
    assert_eq!(found.peak_goodput_rps, Some(4.0));
    assert_eq!(found.limit_found, Some(true));
    assert_eq!(found.peak_throughput_rps, Some(16.0));
    assert_eq!(rules(&found), [("error_rate", Some(3), false)]);
}

#[test]
fn a_stage_fails_by_its_rate_and_by_its_backlog_too() {
    let mut stages = ladder();
    stages[2].achieved_ratio = Some(0.9799);
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.headline_stage, Some(1));
    assert_eq!(rules(&found), [("achieved_ratio", Some(2), false)]);
    assert_eq!(
        (
            found.reasons[0].measured.as_str(),
            found.reasons[0].required.as_str()
        ),
        ("97.9 %", "98 %")
    );
    stages[2].achieved_ratio = Some(0.98);
    assert_eq!(
        judged(Judgement::LimitFinding, "error_rate=1%", &stages).headline_stage,
        Some(4)
    );
    stages[1].backlog = Some(BacklogTrend {
        slope_rps: 0.5,
        grows: true,
    });
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.headline_stage, Some(0));
    assert_eq!(
        (
            found.reasons[0].rule.as_str(),
            found.reasons[0].measured.as_str()
        ),
        ("backlog_slope", "+0.50 req/s")
    );
}

#[test]
fn blocked_if_the_first_stage_fails() {
    let mut stages = ladder();
    stages[0].latencies.ttft = Some([100 * MS, 200 * MS, 300 * MS, 501 * MS].into());
    let found = judged(Judgement::LimitFinding, "ttft_p99=500ms,demand=1", &stages);
    assert_eq!(found.verdict, Verdict::Blocked);
    assert_eq!(found.headline_stage, Some(0), "the first where none passes");
    assert_eq!(found.peak_goodput_rps, None);
    assert_eq!(found.limit_found, Some(true));
    assert_eq!(found.peak_throughput_rps, Some(16.0));
    assert_eq!(rules(&found), [("ttft_p99", Some(0), false)]);
    assert_eq!(found.reasons[0].measured, "501 ms");
}

/// A slot may be in use by one long reply from before a stage's window until after it.
#[test]
fn a_stage_that_was_asked_nothing_says_nothing() {
    let mut stages = ladder();
    stages[0] = StageStats::of_nothing(0);
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.verdict, Verdict::Passed);
    assert_eq!(found.headline_stage, Some(4));
    assert_eq!(found.limit_found, Some(false), "no load was too much");
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &[stages[0]]);
    assert_eq!(found.verdict, Verdict::Incomplete, "nothing is known");
}

#[test]
fn degraded_if_the_limit_is_below_the_demand() {
    let mut stages = ladder();
    stages[4] = failing(stages[4]);
    let at = |demand: &str| judged(Judgement::LimitFinding, demand, &stages);
    let enough = at("demand=8");
    assert_eq!(enough.verdict, Verdict::Passed);
    assert_eq!(
        rules(&enough),
        [("demand", None, true), ("error_rate", Some(4), false)]
    );
    let short = at("demand=8.1");
    assert_eq!(short.verdict, Verdict::Degraded);
    assert_eq!(
        (
            short.reasons[0].measured.as_str(),
            short.reasons[0].required.as_str()
        ),
        ("8 req/s", "8.1 req/s")
    );
    assert_eq!(short.peak_goodput_rps, Some(8.0));
}

#[test]
fn a_request_that_ended_after_the_window_takes_no_demand_away() {
    let verdict = |offered_rps, goodput_rps| {
        let mut stages = ladder();
        stages[4] = failing(stages[4]);
        stages[3].offered_rps = offered_rps;
        stages[3].goodput_rps = goodput_rps;
        judged(Judgement::LimitFinding, "demand=8", &stages).verdict
    };
    assert_eq!(verdict(Some(8.0), 7.967), Verdict::Passed);
    assert_eq!(verdict(Some(8.0), 7.83), Verdict::Degraded);
    assert_eq!(
        verdict(None, 7.967),
        Verdict::Degraded,
        "nothing was offered"
    );
}

#[test]
fn where_nothing_fails_the_last_stage_is_the_limit() {
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &ladder());
    assert_eq!(found.verdict, Verdict::Passed);
    assert_eq!(found.headline_stage, Some(4));
    assert!(
        found
            .reasons
            .iter()
            .all(|reason| reason.met && reason.stage == Some(4))
    );
}

#[test]
fn a_closed_loop_is_held_to_the_slo_alone() {
    let stages: Vec<_> = ladder()
        .into_iter()
        .map(|stage| StageStats {
            offered_rps: None,
            achieved_ratio: None,
            backlog: None,
            ..stage
        })
        .collect();
    let found = judged(Judgement::LimitFinding, "ttft_p99=500ms", &stages);
    assert_eq!(found.headline_stage, Some(4));
    assert_eq!(
        rules(&found),
        [("ttft_p99", Some(4), true), ("error_rate", Some(4), true)]
    );
}

#[test]
fn a_late_generator_makes_the_run_invalid_and_says_by_how_much() {
    let objectives = slo("error_rate=1%");
    let stages = ladder();
    for judgement in [Judgement::FixedLoad, Judgement::LimitFinding] {
        let mut run = facts(judgement, &objectives, &stages);
        run.generator.schedule_lag_ns_p99 = Some(12_345_678);
        run.generator.missed = 10;
        let found = judge(&run);
        assert_eq!(found.verdict, Verdict::Invalid);
        assert_eq!(
            rules(&found),
            [("schedule_lag_p99", None, false), ("missed", None, false)]
        );
        assert_eq!(
            (
                found.reasons[0].measured.as_str(),
                found.reasons[0].required.as_str()
            ),
            ("12.4 ms", "10 ms")
        );
        assert_eq!(found.reasons[1].measured, "1.97 %");
        assert_eq!(
            (
                found.peak_goodput_rps,
                found.limit_found,
                found.peak_throughput_rps
            ),
            (None, None, None)
        );
    }
}

#[test]
fn a_generator_that_was_late_where_the_limit_lies_spoils_the_finding() {
    let mut stages = ladder();
    stages[3] = failing(stages[3]);
    stages[3].schedule_lag_ns_p99 = Some(20 * MS);
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.verdict, Verdict::Invalid);
    assert_eq!(rules(&found), [("schedule_lag_p99", Some(3), false)]);
    // Late and yet within the SLO is within the SLO; late past the limit is of no matter.
    stages[3].schedule_lag_ns_p99 = Some(MS);
    stages[2].schedule_lag_ns_p99 = Some(20 * MS);
    stages[4].schedule_lag_ns_p99 = Some(20 * MS);
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.verdict, Verdict::Passed);
    // Never sent is another matter.
    stages[2].missed = 1;
    assert_eq!(
        rules(&judged(Judgement::LimitFinding, "error_rate=1%", &stages)),
        [("missed", Some(2), false)]
    );
}

/// A slot that stood empty made the load lighter than the stage says.
#[test]
fn a_closed_loop_whose_slots_stood_empty_spoils_the_finding() {
    let closed = |stage: StageStats| StageStats {
        offered_rps: None,
        achieved_ratio: None,
        backlog: None,
        ..stage
    };
    let mut stages: Vec<_> = ladder().into_iter().map(closed).collect();
    stages[3] = failing(stages[3]);
    stages[2].schedule_lag_ns_p99 = Some(20 * MS);
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.verdict, Verdict::Invalid);
    assert_eq!(rules(&found), [("schedule_lag_p99", Some(2), false)]);
    stages[2].schedule_lag_ns_p99 = Some(MS);
    stages[1].schedule_lag_ns_p99 = Some(20 * MS);
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(found.verdict, Verdict::Passed, "below the limit");
    stages[2].idle_slots = Some(IdleSlots {
        share: 0.12,
        lag_ns_mean: 2e6,
    });
    let found = judged(Judgement::LimitFinding, "error_rate=1%", &stages);
    assert_eq!(rules(&found), [("idle_slots", Some(2), false)]);
}

#[test]
fn a_changed_environment_makes_the_run_invalid() {
    let (objectives, stages) = (slo("error_rate=1%"), ladder());
    let mut run = facts(Judgement::LimitFinding, &objectives, &stages);
    run.environment_change = Some("clock stepped by 2 s".to_string());
    let found = judge(&run);
    assert_eq!(found.verdict, Verdict::Invalid);
    assert_eq!(rules(&found), [("environment", None, false)]);
    assert_eq!(found.reasons[0].measured, "clock stepped by 2 s");
}

#[test]
fn an_ending_before_time_decides_whatever_was_measured() {
    let (objectives, stages) = (slo("error_rate=1%"), ladder());
    let abort = AbortReason {
        rule: "error_rate",
        measured: "83 % of 40 requests within 10 s".to_string(),
        required: "below 50 %".to_string(),
    };
    for (ending, verdict, rule) in [
        (
            Ending::Aborted(abort),
            Verdict::Cancelled,
            "abort_error_rate",
        ),
        (
            Ending::Stopped("Ctrl-C".into()),
            Verdict::Cancelled,
            "stopped",
        ),
        (
            Ending::Incomplete("the last second".into()),
            Verdict::Incomplete,
            "completeness",
        ),
        (Ending::Failed("no socket".into()), Verdict::Error, "failed"),
    ] {
        let run = RunFacts {
            ending,
            environment_change: Some("it changed".into()),
            ..facts(Judgement::LimitFinding, &objectives, &stages)
        };
        let found = judge(&run);
        assert_eq!(found.verdict, verdict);
        assert_eq!(rules(&found), [(rule, None, false)]);
        assert_eq!(found.peak_goodput_rps, None);
        assert_eq!(
            found.headline_stage,
            Some(4),
            "what was measured can be read"
        );
    }
}

#[test]
fn without_a_steady_request_there_is_no_measurement() {
    for judgement in [Judgement::FixedLoad, Judgement::LimitFinding] {
        for stages in [vec![], vec![StageStats::of_nothing(0)]] {
            let found = judged(judgement, "error_rate=1%", &stages);
            assert_eq!(found.verdict, Verdict::Incomplete);
            assert_eq!(rules(&found), [("steady_requests", None, false)]);
        }
    }
}

/// Requests of three stages of doubling rates, whose first tokens come after `ttft_ms`.
fn requests(ttft_ms: &[i64], ok: &[bool], objectives: &Slo) -> Vec<Vec<RequestFacts>> {
    let mut next = ttft_ms.iter().copied().zip(ok.iter().copied());
    (0..3)
        .map(|stage| {
            let n = 20 << stage;
            (0..n)
                .map(|i| {
                    let (ttft_ms, ok) = next.next().expect("140 of each");
                    let scheduled_ns = stage * 10 * SECOND + i * 10 * SECOND / n;
                    let met = objectives.request_meets(&RequestLatencies {
                        ttft_ns: Some(ttft_ms * MS),
                        ..RequestLatencies::default()
                    });
                    RequestFacts {
                        stage,
                        phase: Phase::Steady,
                        scheduled_ns,
                        sent_ns: scheduled_ns,
                        done_ns: scheduled_ns + SECOND / 10,
                        status: if ok {
                            RequestStatus::Ok
                        } else {
                            RequestStatus::Shed
                        },
                        good: ok && met != Some(false),
                        ttft_ns: Some(ttft_ms * MS),
                        tpot_ns: None,
                        unsent: false,
                        prompt_tokens: None,
                        output_tokens: None,
                        prompt_tokens_asked: None,
                        output_tokens_asked: None,
                        token_chunks: None,
                        bundled_chunks: None,
                    }
                })
                .collect()
        })
        .collect()
}

fn verdict_of(judgement: Judgement, objectives: &Slo, ttft_ms: &[i64], ok: &[bool]) -> Verdict {
    let stages: Vec<StageStats> = requests(ttft_ms, ok, objectives)
        .into_iter()
        .enumerate()
        .map(|(stage, requests)| {
            let window = StageWindow {
                stage: stage as i64,
                phase: Phase::Steady,
                started_ns: stage as i64 * 10 * SECOND,
                duration_ns: 10 * SECOND,
                offered_rps: Some(f64::from(2 << stage)),
                warmed_ns: 0,
                missed: 0,
            };
            StageStats::of(window, requests.into_iter(), None)
        })
        .collect();
    judge(&facts(judgement, objectives, &stages)).verdict
}

fn judgements() -> impl Strategy<Value = Judgement> {
    prop_oneof![Just(Judgement::FixedLoad), Just(Judgement::LimitFinding)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_verdict_never_improves_when_a_request_gets_slower(
        judgement in judgements(),
        bounds in prop_oneof![
            Just("ttft_p50=300ms"),
            Just("ttft_p90=400ms,error_rate=20%"),
            Just("ttft_p99=500ms,ttft_p50=350ms,error_rate=30%"),
            Just("ttft_p99=500ms,error_rate=30%,demand=3.9"),
        ],
        mut ttft_ms in prop::collection::vec(200i64..420, 140),
        failures in prop::collection::vec(0usize..140, 0..8),
        which in 0usize..140,
        by in 1i64..10_000,
    ) {
        let objectives = slo(bounds);
        let mut ok = vec![true; 140];
        failures.into_iter().for_each(|i| ok[i] = false);
        let before = verdict_of(judgement, &objectives, &ttft_ms, &ok);
        ttft_ms[which] += by;
        let after = verdict_of(judgement, &objectives, &ttft_ms, &ok);
        prop_assert!(after >= before, "{before} became {after}");
    }

    #[test]
    fn a_verdict_never_improves_when_a_request_fails(
        judgement in judgements(),
        failures in prop::collection::vec(0usize..140, 0..30),
        which in 0usize..140,
        demand in prop_oneof![Just(""), Just(",demand=3.9")],
    ) {
        let objectives = slo(&format!("error_rate=5%{demand}"));
        let ttft_ms = vec![100; 140];
        let mut ok = vec![true; 140];
        failures.into_iter().for_each(|i| ok[i] = false);
        let before = verdict_of(judgement, &objectives, &ttft_ms, &ok);
        ok[which] = false;
        let after = verdict_of(judgement, &objectives, &ttft_ms, &ok);
        prop_assert!(after >= before, "{before} became {after}");
    }

    #[test]
    fn a_verdict_never_improves_when_a_figure_gets_worse(
        judgement in judgements(),
        // Of each stage: requests failed, requests past the SLO, p99, ratio, growth.
        figures in prop::collection::vec(
            (0i64..4, 0i64..20, 300i64..600, 0.97..1.0f64, prop::bool::weighted(0.1)),
            5,
        ),
        which in 0usize..5,
        worse in 0usize..5,
        by in 1i64..30,
        demand in prop_oneof![Just(""), Just(",demand=3.5")],
    ) {
        let objectives = slo(&format!("ttft_p99=500ms,error_rate=2%{demand}"));
        let of = |figures: &[(i64, i64, i64, f64, bool)]| {
            let stages: Vec<StageStats> = figures
                .iter()
                .zip(ladder())
                .map(|(&(failed, slow, p99_ms, ratio, grows), stage)| {
                    let good = 100 - failed - slow;
                    StageStats {
                        ok: 100 - failed,
                        errors: failed,
                        good,
                        goodput_rps: stage.goodput_rps * good as f64 / 100.0,
                        achieved_ratio: Some(ratio),
                        backlog: Some(BacklogTrend { slope_rps: 0.0, grows }),
                        latencies: crate::load::stage::StageLatencies {
                            ttft: Some([100 * MS, 100 * MS, 100 * MS, p99_ms * MS].into()),
                            ..Default::default()
                        },
                        ..stage
                    }
                })
                .collect();
            judge(&facts(judgement, &objectives, &stages)).verdict
        };
        let before = of(&figures);
        let mut after = figures.clone();
        let stage = &mut after[which];
        match worse {
            0 => stage.0 += by,
            1 => stage.1 += by,
            2 => stage.2 += by * 10,
            3 => stage.3 -= by as f64 / 100.0,
            _ => stage.4 = true,
        }
        let after = of(&after);
        prop_assert!(after >= before, "{before} became {after}");
    }
}
