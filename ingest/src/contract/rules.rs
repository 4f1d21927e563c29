//! The rules of each table.

use super::Rule::{
    self, AsLong, Difference, Filled, Implies, JsonArray, JsonObject, MomentOfJob, NotNegative,
    Percentiles, Rising, Share, Sketch, Sum, Unique, Word,
};
use crate::table::Table;
use crate::verdict::Verdict;
use crate::vocabulary::{FailureKind, Phase, RequestStatus, TimestampSource, TokenSource, Trigger};

macro_rules! words_of {
    ($set:ident) => {
        || $set::ALL.iter().map(|word| word.as_str()).collect()
    };
}

fn pillars() -> Vec<&'static str> {
    vec!["functional", "benchmark", "performance"]
}

fn capacity_methods() -> Vec<&'static str> {
    vec!["grid", "bisected", "hold"]
}

fn arms() -> Vec<&'static str> {
    vec!["subject", "neighbour", "a", "b"]
}

fn outcomes() -> Vec<&'static str> {
    vec!["passed", "failed", "skipped", "error"]
}

fn fleet_states() -> Vec<&'static str> {
    vec!["idle", "leased", "quarantined", "foreign"]
}

/// The rules of a table, beside those of all: numbers are finite, and rows about a run are of the
/// run that is published, with its key and its day.
pub(super) fn of(table: Table) -> &'static [Rule] {
    match table {
        Table::Jobs => JOBS,
        Table::Runs => RUNS,
        Table::Envelopes => ENVELOPES,
        Table::Stages => STAGES,
        Table::Ticks => TICKS,
        Table::GpuSamples => GPU_SAMPLES,
        Table::Fleet => FLEET,
        Table::Scores => SCORES,
        Table::Requests => REQUESTS,
        Table::Chunks => CHUNKS,
        Table::Cases => CASES,
        Table::Samples => SAMPLES,
        Table::Spans => SPANS,
        Table::Events => EVENTS,
    }
}

const JOBS: &[Rule] = &[
    MomentOfJob("queued_at", "job_id"),
    Word("verdict", words_of!(Verdict)),
    Word("trigger", words_of!(Trigger)),
    JsonObject("spec"),
    JsonObject("change"),
    JsonObject("labels"),
    NotNegative("runs"),
];

const RUNS: &[Rule] = &[
    Filled("suite"),
    Filled("model"),
    Filled("envelope_id"),
    Filled("comparable_key"),
    Word("pillar", pillars),
    Word("trigger", words_of!(Trigger)),
    Word("verdict", words_of!(Verdict)),
    Word("capacity_method", capacity_methods),
    JsonObject("config"),
    JsonObject("labels"),
    JsonArray("verdict_reasons"),
    NotNegative("attempt"),
    NotNegative("floor_ttft_ns"),
    NotNegative("peak_goodput_rps"),
    NotNegative("peak_throughput_rps"),
    NotNegative("sustainable_rps"),
    NotNegative("knee_offered_rps"),
    NotNegative("output_tokens_per_s"),
    NotNegative("gpu_seconds"),
    NotNegative("cost_usd"),
    Share("error_rate"),
    Share("slo_attainment"),
    Rising(&["cases_failed", "cases_total"]),
    Rising(&["ttft_ns_p50", "ttft_ns_p90", "ttft_ns_p95", "ttft_ns_p99"]),
    Rising(&["tpot_ns_p50", "tpot_ns_p90", "tpot_ns_p95", "tpot_ns_p99"]),
    Rising(&["itl_ns_p50", "itl_ns_p90", "itl_ns_p95", "itl_ns_p99"]),
    Rising(&["e2e_ns_p50", "e2e_ns_p90", "e2e_ns_p95", "e2e_ns_p99"]),
    Unique(&["run_id"]),
];

const ENVELOPES: &[Rule] = &[
    Filled("envelope_id"),
    JsonObject("json"),
    NotNegative("gpu_count"),
    Unique(&["run_id"]),
];

const STAGES: &[Rule] = &[
    Word("phase", words_of!(Phase)),
    NotNegative("stage"),
    NotNegative("offered_rps"),
    NotNegative("concurrency"),
    NotNegative("started_ns"),
    NotNegative("duration_ns"),
    NotNegative("missed"),
    NotNegative("throughput_rps"),
    NotNegative("goodput_rps"),
    NotNegative("output_tokens_per_s"),
    NotNegative("prompt_tokens"),
    NotNegative("output_tokens"),
    NotNegative("in_flight_max"),
    NotNegative("good"),
    NotNegative("timeouts"),
    Rising(&["good", "ok", "sent"]),
    Rising(&["timeouts", "errors", "sent"]),
    Sum("sent", ["ok", "errors"]),
    Rising(&["ttft_ns_p50", "ttft_ns_p90", "ttft_ns_p95", "ttft_ns_p99"]),
    Rising(&["tpot_ns_p50", "tpot_ns_p90", "tpot_ns_p95", "tpot_ns_p99"]),
    Rising(&["itl_ns_p50", "itl_ns_p90", "itl_ns_p95", "itl_ns_p99"]),
    Rising(&["e2e_ns_p50", "e2e_ns_p90", "e2e_ns_p95", "e2e_ns_p99"]),
    Rising(&[
        "queue_ns_p50",
        "queue_ns_p90",
        "queue_ns_p95",
        "queue_ns_p99",
    ]),
    Sketch("ttft_sketch"),
    Sketch("tpot_sketch"),
    Sketch("itl_sketch"),
    Sketch("e2e_sketch"),
    Share("achieved_ratio"),
    Unique(&["stage"]),
];

const TICKS: &[Rule] = &[
    NotNegative("at_ns"),
    NotNegative("offered"),
    NotNegative("completed"),
    NotNegative("good"),
    NotNegative("errors"),
    NotNegative("in_flight"),
    NotNegative("backlog"),
    Unique(&["at_ns"]),
];

const GPU_SAMPLES: &[Rule] = &[
    Filled("gpu_uuid"),
    NotNegative("at_ns"),
    Share("utilization"),
    NotNegative("memory_used"),
    Rising(&["memory_used", "memory_total"]),
    NotNegative("power_w"),
    Unique(&["at_ns", "gpu_uuid"]),
];

const FLEET: &[Rule] = &[
    Filled("host"),
    Word("state", fleet_states),
    Share("utilization"),
    NotNegative("memory_used"),
    NotNegative("queued"),
    NotNegative("oldest_queued_s"),
];

const SCORES: &[Rule] = &[
    Filled("benchmark"),
    Filled("metric"),
    Filled("evaluator"),
    Filled("comparable_key"),
    NotNegative("stderr"),
    NotNegative("n"),
    JsonObject("decoding"),
    JsonObject("settings"),
    Unique(&["benchmark", "metric"]),
];

const REQUESTS: &[Rule] = &[
    Word("phase", words_of!(Phase)),
    Word("status", words_of!(RequestStatus)),
    Word("failure_kind", words_of!(FailureKind)),
    Word("arm", arms),
    Word("token_source", words_of!(TokenSource)),
    Word("timestamp_source", words_of!(TimestampSource)),
    NotNegative("stage"),
    NotNegative("request_id"),
    NotNegative("scheduled_ns"),
    NotNegative("retries"),
    NotNegative("prompt_tokens"),
    NotNegative("output_tokens"),
    NotNegative("tpot_ns"),
    NotNegative("ntpot_ns"),
    Percentiles("itl_ns"),
    Rising(&["scheduled_ns", "sent_ns", "done_ns"]),
    Rising(&["first_token_ns", "last_token_ns"]),
    Difference("queue_ns", ["sent_ns", "scheduled_ns"]),
    Difference("e2e_ns", ["done_ns", "scheduled_ns"]),
    Difference("ttft_ns", ["first_token_ns", "scheduled_ns"]),
    Implies("good", ("status", "ok")),
    Unique(&["request_id"]),
];

const CHUNKS: &[Rule] = &[
    NotNegative("request_id"),
    AsLong("tokens", "at_ns"),
    Unique(&["request_id"]),
];

const CASES: &[Rule] = &[
    Filled("case_id"),
    Filled("tier"),
    Filled("marker"),
    Word("outcome", outcomes),
    Word("failure_kind", words_of!(FailureKind)),
    NotNegative("latency_ns"),
    NotNegative("attempts"),
    Unique(&["case_id"]),
];

const SAMPLES: &[Rule] = &[
    Filled("benchmark"),
    Filled("sample_id"),
    NotNegative("output_tokens"),
    NotNegative("latency_ns"),
    Unique(&["benchmark", "sample_id"]),
];

const SPANS: &[Rule] = &[
    Filled("trace_id"),
    Filled("name"),
    NotNegative("start_ns"),
    NotNegative("duration_ns"),
];

const EVENTS: &[Rule] = &[Filled("actor"), Filled("action")];
