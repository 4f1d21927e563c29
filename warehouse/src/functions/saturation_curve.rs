//! `saturation_curve(run)`: how a run behaves as its load grows.

use plimsoll_ingest::ColumnKind::{Boolean, Float64, Int64, Utf8};

use super::of_run::{OfRun, TAKES};
use super::{Column, Definition};

const SQL: &str = include_str!("saturation_curve.sql");

/// The function.
pub(super) const DEFINITION: Definition = Definition {
    name: "saturation_curve",
    takes: TAKES,
    columns: COLUMNS,
    call: |arguments| OfRun::call(arguments, SQL),
};

/// The columns of [`SQL`], with their meaning.
const COLUMNS: &[Column] = &[
    ("stage", Int64, "Number of the stage, from 0."),
    ("name", Utf8, "Its name."),
    (
        "workload_class",
        Utf8,
        "Class of the workload; null where classes are mixed.",
    ),
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
    ("duration_ms", Float64, "Length of the stage's window."),
    (
        "throughput_rps",
        Float64,
        "Requests that ended ok inside the window, a second.",
    ),
    (
        "goodput_rps",
        Float64,
        "Good requests that ended inside the window, a second.",
    ),
    (
        "output_tokens_per_s",
        Float64,
        "Output tokens of the requests that throughput_rps counts, a second; null in runs of \
         releases that did not keep it.",
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
    ("itl_p50_ms", Float64, "p50 of the gap between chunks."),
    ("itl_p99_ms", Float64, "p99 of the gap between chunks."),
    ("e2e_p50_ms", Float64, "p50 of the end-to-end latency."),
    ("e2e_p99_ms", Float64, "p99 of the end-to-end latency."),
    ("sent", Int64, "Requests sent."),
    ("missed", Int64, "Arrivals that could not be sent."),
    ("ok", Int64, "Requests that ended ok."),
    (
        "good",
        Int64,
        "Requests that are ok, correct as far as checked, and within the SLO.",
    ),
    ("errors", Int64, "Requests that did not end ok."),
    (
        "error_rate",
        Float64,
        "errors over sent; null where none was sent.",
    ),
    (
        "slo_attainment",
        Float64,
        "good over sent; null where none was sent.",
    ),
    ("in_flight_max", Int64, "Most requests in flight at once."),
    (
        "achieved_ratio",
        Float64,
        "Share of the arrivals that were served without letting the backlog grow, 0 to 1; null in a \
         closed loop or where nothing was due.",
    ),
    (
        "backlog_slope",
        Float64,
        "Growth of the backlog, in requests a second; null in a closed loop.",
    ),
    (
        "schedule_lag_p99_ms",
        Float64,
        "p99 of how late the generator sent: after a request was due, in a closed loop after its slot \
         fell free; null where nothing was sent.",
    ),
    ("valid", Boolean, "Whether the generator kept its schedule."),
    (
        "run_verdict",
        Utf8,
        "The verdict of the whole run: only passed, degraded and blocked say how the subject did.",
    ),
    ("run_id", Utf8, "The run."),
];
