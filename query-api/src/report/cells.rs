//! The table of stages as text, the same for every renderer.

use super::stage::StageLine;
use super::table::{Column, Table};
use super::{Report, units};

/// One column: its heading, and how a stage fills it.
struct Source {
    column: Column,
    cell: fn(&StageLine) -> String,
}

const fn source(
    (group, head, title): (&'static str, &'static str, &'static str),
    optional: bool,
    cell: fn(&StageLine) -> String,
) -> Source {
    Source {
        column: Column {
            group,
            head,
            title,
            optional,
        },
        cell,
    }
}

const OFFERED: Source = source(("", "offered", "offered"), false, |stage| {
    match stage.offered_rps {
        Some(rate) => format!("{} /s", units::setting(rate)),
        None => stage.load_number(),
    }
});
const CONCURRENCY: Source = source(("in", "flight", "in flight"), false, StageLine::load_number);
const GOOD: Source = source(("", "good", "good req/s"), false, |stage| {
    units::quantity(stage.goodput_rps)
});
const THROUGHPUT: Source = source(("", "thrpt", "ok req/s"), false, |stage| {
    units::quantity(stage.throughput_rps)
});
const TOKENS: Source = source(("", "tok/s", "output tok/s"), false, |stage| {
    stage
        .output_tokens_per_s
        .map_or_else(absent, units::quantity)
});
const TTFT_P50: Source = source(("TTFT", "p50", "TTFT p50"), false, |stage| {
    latency(stage.ttft_ns_p50)
});
const TTFT_P99: Source = source(("TTFT", "p99", "TTFT p99"), false, |stage| {
    latency(stage.ttft_ns_p99)
});
const TPOT_P50: Source = source(("TPOT", "p50", "TPOT p50"), false, |stage| {
    latency(stage.tpot_ns_p50)
});
const TPOT_P99: Source = source(("TPOT", "p99", "TPOT p99"), true, |stage| {
    latency(stage.tpot_ns_p99)
});
const IN_FLIGHT: Source = source(("in", "flight", "in flight"), true, |stage| {
    units::count(stage.in_flight_max)
});
const ERRORS: Source = source(("", "errors", "errors"), false, |stage| {
    share(stage.error_rate)
});
const SLO: Source = source(("", "SLO", "within SLO"), false, |stage| {
    share(stage.slo_attainment)
});

const OPEN_LOOP: &[Source] = &[
    OFFERED, GOOD, THROUGHPUT, TTFT_P50, TTFT_P99, TPOT_P50, TPOT_P99, IN_FLIGHT, ERRORS, SLO,
];
const CLOSED_LOOP: &[Source] = &[
    CONCURRENCY,
    GOOD,
    THROUGHPUT,
    TOKENS,
    TTFT_P50,
    TTFT_P99,
    TPOT_P50,
    TPOT_P99,
    ERRORS,
    SLO,
];

/// The judged stages of a report as a table, one row a stage.
pub(super) fn stages(report: &Report) -> Table {
    let sources = if report.is_closed_loop() {
        CLOSED_LOOP
    } else {
        OPEN_LOOP
    };
    let cells = |stage| sources.iter().map(|source| (source.cell)(stage)).collect();
    Table {
        columns: sources.iter().map(|source| source.column).collect(),
        rows: report.steady_stages().map(cells).collect(),
    }
}

/// The first stage that does not hold, by its place among the judged ones,
/// and why it does not.
pub(super) fn first_remark(report: &Report) -> Option<(usize, &str)> {
    let mut steady = report.steady_stages().enumerate();
    steady.find_map(|(at, stage)| Some((at, stage.remark.as_deref()?)))
}

/// The stages that are not judged, in plain words: those of one phase and length together; probes
/// are left out.
pub(super) fn unjudged(report: &Report) -> Option<String> {
    let mut kinds: Vec<((String, String), Vec<&StageLine>)> = Vec::new();
    for stage in &report.stages {
        if stage.is_steady() || stage.phase == "probe" {
            continue;
        }
        let kind = (
            stage.phase.replace('_', "-"),
            units::duration_setting(stage.duration_ns),
        );
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, stages)) => stages.push(stage),
            None => kinds.push((kind, vec![stage])),
        }
    }
    let told = kinds
        .iter()
        .map(|((phase, length), stages)| match stages[..] {
            [stage] => format!("{phase} of {length} at {}", stage.load()),
            _ => format!("{} of {length}", units::counted(stages.len(), phase)),
        });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("not judged: {}", told.join(", ")))
}

fn latency(ns: Option<i64>) -> String {
    ns.map_or_else(absent, units::duration)
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(absent, units::percent)
}

fn absent() -> String {
    units::ABSENT.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn stages_of_one_kind_are_told_together() {
        let (run, mut stages, envelope) = samples::passed_step();
        for stage in &mut stages[..3] {
            stage.phase = "warm_up".to_string();
        }
        let report = Report::from_rows(&run, &stages, Some(&envelope)).expect("report");
        let told = unjudged(&report);
        assert_eq!(told.as_deref(), Some("not judged: 3 warm-ups of 30 s"));
    }
}
