//! Tables of samples as they were taken.

use crate::id::RunId;
use crate::row::table_row;
use crate::time::Date;

table_row! {
    /// One row per request that was sent, probes and warm-up included.
    Requests => RequestRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// The stage.
        stage: i64,
        /// The stage's phase.
        phase: String,
        /// Number of the request in schedule order, from 0.
        request_id: i64,
        /// The conversation it belongs to; null for single requests.
        session_id: Option<i64>,
        /// Its turn in the conversation, from 0.
        turn: Option<i64>,
        /// subject, neighbour, a or b; null where there is one arm.
        arm: Option<String>,
        /// Class of the workload.
        workload_class: Option<String>,
        /// The tenant; null where there are none.
        tenant: Option<String>,
        /// The adapter; null where there are none.
        adapter: Option<String>,
        /// When it was due; in a closed loop when its slot fell free, in ns since the run's
        /// start.
        scheduled_ns: i64,
        /// When the generator acted on it, in ns since the run's start: from here on a connection
        /// is made, where none is idle, and the request is written.
        sent_ns: i64,
        /// When the first byte of the answer arrived; null where none did.
        first_byte_ns: Option<i64>,
        /// When the first non-empty content, reasoning or tool delta arrived, in ns since the
        /// run's start.
        first_token_ns: Option<i64>,
        /// When the last such delta arrived, in ns since the run's start.
        last_token_ns: Option<i64>,
        /// When it ended, however it ended, in ns since the run's start.
        done_ns: i64,
        /// ok, shed, http_error, connection, timeout, incomplete, protocol or cancelled.
        status: String,
        /// content, contract, overload, dependency, timeout or harness; null where it did not
        /// fail.
        failure_kind: Option<String>,
        /// HTTP status; null where no answer came.
        http_status: Option<i64>,
        /// What went wrong, in words; null where nothing did.
        error: Option<String>,
        /// The finish reason; null where none came.
        finish_reason: Option<String>,
        /// Times that it was sent again.
        retries: i64,
        /// Prompt tokens, by the server's usage.
        prompt_tokens: Option<i64>,
        /// Output tokens, reasoning included.
        output_tokens: Option<i64>,
        /// Of these, reasoning tokens; null where the server does not say.
        reasoning_tokens: Option<i64>,
        /// Prompt tokens that came from a cache; null where the server does not say.
        cached_tokens: Option<i64>,
        /// Prompt tokens that the workload asked for; null where lengths are not set.
        prompt_tokens_asked: Option<i64>,
        /// Output tokens that the workload asked for; null where lengths are not set.
        output_tokens_asked: Option<i64>,
        /// Where output_tokens comes from: usage, tokenizer or chunks.
        token_source: Option<String>,
        /// Chunks that bore a token; null where the reply did not come in chunks.
        token_chunks: Option<i64>,
        /// Of these, chunks that one read brought along with the one before: they carry its
        /// time, and the gap between the two is unknown and counts as zero.
        bundled_chunks: Option<i64>,
        /// Scheduled time to the first non-empty content, reasoning or tool delta, in ns.
        ttft_ns: Option<i64>,
        /// Scheduled time to the first chunk of any kind, in ns.
        ttft_any_ns: Option<i64>,
        /// Time per output token, in ns, those left out that came with the first chunk or that the
        /// server counts and does not send; null where none is left.
        tpot_ns: Option<i64>,
        /// Time per output token, the first included, in ns.
        ntpot_ns: Option<i64>,
        /// p50, p90, p95 and p99 of its own gaps between chunks; null below two chunks, in ns.
        itl_ns: Option<Vec<i64>>,
        /// Scheduled time to the end, in ns.
        e2e_ns: i64,
        /// Sent less scheduled: the wait in the generator, in ns.
        queue_ns: i64,
        /// Whether its own latencies meet the SLO; null where they cannot be judged.
        slo_met: Option<bool>,
        /// Whether its content was checked and right; null where nothing checks it.
        correct: Option<bool>,
        /// ok, and slo_met is not false, and correct is not false.
        good: bool,
        /// Who took the receive times: kernel or user.
        timestamp_source: String,
        /// The trace; null where tracing is off.
        trace_id: Option<String>,
    }
}

table_row! {
    /// One row per request whose answer came in chunks.
    Chunks => ChunksRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// The request.
        request_id: i64,
        /// Arrival of each chunk: the first in ns after sent_ns, the others in ns after the one
        /// before.
        at_ns: Vec<i64>,
        /// Tokens of each chunk; null where they are not known.
        tokens: Option<Vec<i64>>,
    }
}

table_row! {
    /// One row per functional case and run.
    Cases => CaseRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// The case.
        case_id: String,
        /// Digest of the case.
        case_digest: String,
        /// The tier that asked for it.
        tier: String,
        /// What it checks.
        marker: String,
        /// passed, failed, skipped or error.
        outcome: String,
        /// Whose failure it was; null where it passed.
        failure_kind: Option<String>,
        /// What was expected.
        expected: Option<String>,
        /// What came.
        actual: Option<String>,
        /// Why it did not pass, in words.
        message: Option<String>,
        /// The request, without credentials.
        request: Option<String>,
        /// The response.
        response: Option<String>,
        /// End-to-end latency, in ns.
        latency_ns: i64,
        /// How many times it was tried.
        attempts: i64,
    }
}

table_row! {
    /// One row per benchmark item and run.
    Samples => SampleRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// The benchmark.
        benchmark: String,
        /// The item of it.
        sample_id: String,
        /// Score of the item, 0 to 1; null where it was not scored.
        correct: Option<f64>,
        /// The prompt.
        prompt: Option<String>,
        /// The response.
        response: Option<String>,
        /// The right answer.
        target: Option<String>,
        /// Output tokens.
        output_tokens: Option<i64>,
        /// End-to-end latency, in ns.
        latency_ns: Option<i64>,
    }
}

table_row! {
    /// One row per traced step around the model.
    Spans => SpanRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// UTC day of the run's start; the partition.
        date: Date,
        /// The request; null for steps outside requests.
        request_id: Option<i64>,
        /// The trace.
        trace_id: String,
        /// The step.
        name: String,
        /// What kind of step.
        kind: String,
        /// Begin, in ns since the run's start.
        start_ns: i64,
        /// Length, in ns.
        duration_ns: i64,
    }
}
