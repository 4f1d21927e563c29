//! `latency_matrix(run)`: how latency differs between short and long requests.

use plimsoll_ingest::ColumnKind::{Float64, Int64, Utf8};

use super::of_run::{OfRun, TAKES};
use super::{Column, Definition};

const SQL: &str = include_str!("latency_matrix.sql");

/// The function.
pub(super) const DEFINITION: Definition = Definition {
    name: "latency_matrix",
    takes: TAKES,
    columns: COLUMNS,
    call: |arguments| OfRun::call(arguments, SQL),
};

/// The columns of [`SQL`], with their meaning.
const COLUMNS: &[Column] = &[
    ("stage", Int64, "Number of the stage, from 0."),
    ("name", Utf8, "Its name."),
    (
        "offered_rps",
        Float64,
        "Rate asked for, in requests a second; null in a closed loop.",
    ),
    (
        "concurrency",
        Int64,
        "Requests kept in flight; null in an open loop.",
    ),
    (
        "arm",
        Utf8,
        "Whose requests: subject, neighbour, a or b; null where the run has one kind.",
    ),
    (
        "workload_class",
        Utf8,
        "Class of the requests; null where the workload has none.",
    ),
    ("sent", Int64, "Requests sent."),
    ("ok", Int64, "Requests that ended ok."),
    (
        "good",
        Int64,
        "Requests that are ok, correct as far as checked, and within the SLO.",
    ),
    ("errors", Int64, "Requests that did not end ok."),
    (
        "prompt_tokens",
        Float64,
        "Mean prompt tokens of ok requests; null where unknown.",
    ),
    (
        "output_tokens",
        Float64,
        "Mean output tokens of ok requests; null where unknown.",
    ),
    (
        "output_tokens_asked",
        Float64,
        "Mean output tokens that ok requests asked for; null where none was asked.",
    ),
    ("ttft_p50_ms", Float64, "p50 of the time to first token."),
    ("ttft_p99_ms", Float64, "p99 of the time to first token."),
    (
        "tpot_p50_ms",
        Float64,
        "p50 of the time per output token, the first excluded.",
    ),
    (
        "tpot_p99_ms",
        Float64,
        "p99 of the time per output token, the first excluded.",
    ),
    ("e2e_p50_ms", Float64, "p50 of the end-to-end latency."),
    ("e2e_p99_ms", Float64, "p99 of the end-to-end latency."),
    (
        "run_verdict",
        Utf8,
        "The verdict of the whole run: only passed, degraded and blocked say how the subject did.",
    ),
    ("run_id", Utf8, "The run."),
];
