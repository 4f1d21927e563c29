//! The table of stages.

use crate::id::RunId;
use crate::row::table_row;

table_row! {
    /// One row per stage of a run.
    Stages => StageRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// Number of the stage, from 0.
        stage: i64,
        /// Its name.
        name: String,
        /// probe, warm_up, steady, cool_down or recovery.
        phase: String,
        /// Class of the workload; null where classes are mixed.
        workload_class: Option<String>,
        /// Rate asked for, in requests a second; null in a closed loop.
        offered_rps: Option<f64>,
        /// Requests kept in flight; null in an open loop.
        concurrency: Option<i64>,
        /// Begin of its window, in ns since the run's start.
        started_ns: i64,
        /// Length of its window, in ns; the drain is outside.
        duration_ns: i64,
        /// Requests sent: its rows in raw.requests.
        sent: i64,
        /// Arrivals that could not be sent; they have no row.
        missed: i64,
        /// Requests that ended ok.
        ok: i64,
        /// Requests that are ok, correct as far as checked, and within the SLO.
        good: i64,
        /// Requests that did not end ok: sent less ok.
        errors: i64,
        /// Of these, timeouts.
        timeouts: i64,
        /// Requests that ended ok inside the window, a second.
        throughput_rps: f64,
        /// Good requests that ended inside the window, a second.
        goodput_rps: f64,
        /// Output tokens of the requests that throughput counts, a second; null in runs of releases
        /// that did not keep it.
        output_tokens_per_s: Option<f64>,
        /// Prompt tokens of ok requests.
        prompt_tokens: i64,
        /// Output tokens of ok requests.
        output_tokens: i64,
        /// Prompt tokens that were asked of the ok requests; null where lengths are not set.
        prompt_tokens_asked: Option<i64>,
        /// Output tokens that were asked of the ok requests; null where lengths are not set.
        output_tokens_asked: Option<i64>,
        /// Chunks of ok requests that bore a token; null where no reply came in chunks.
        token_chunks: Option<i64>,
        /// Of these, chunks that one read brought along with the one before: they carry its
        /// time, and the gap between the two is unknown and counts as zero.
        bundled_chunks: Option<i64>,
        /// p50 of the time to first token, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        ttft_ns_p50: Option<i64>,
        /// p90 of the time to first token, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        ttft_ns_p90: Option<i64>,
        /// p95 of the time to first token, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        ttft_ns_p95: Option<i64>,
        /// p99 of the time to first token, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        ttft_ns_p99: Option<i64>,
        /// p50 of the time per output token, the first excluded, in ns, over its ok rows; null
        /// where there is none.
        tpot_ns_p50: Option<i64>,
        /// p90 of the time per output token, the first excluded, in ns, over its ok rows; null
        /// where there is none.
        tpot_ns_p90: Option<i64>,
        /// p95 of the time per output token, the first excluded, in ns, over its ok rows; null
        /// where there is none.
        tpot_ns_p95: Option<i64>,
        /// p99 of the time per output token, the first excluded, in ns, over its ok rows; null
        /// where there is none.
        tpot_ns_p99: Option<i64>,
        /// p50 of the gap between chunks, pooled over requests, in ns, over its ok rows; null
        /// where there is none.
        itl_ns_p50: Option<i64>,
        /// p90 of the gap between chunks, pooled over requests, in ns, over its ok rows; null
        /// where there is none.
        itl_ns_p90: Option<i64>,
        /// p95 of the gap between chunks, pooled over requests, in ns, over its ok rows; null
        /// where there is none.
        itl_ns_p95: Option<i64>,
        /// p99 of the gap between chunks, pooled over requests, in ns, over its ok rows; null
        /// where there is none.
        itl_ns_p99: Option<i64>,
        /// p50 of the end-to-end latency, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        e2e_ns_p50: Option<i64>,
        /// p90 of the end-to-end latency, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        e2e_ns_p90: Option<i64>,
        /// p95 of the end-to-end latency, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        e2e_ns_p95: Option<i64>,
        /// p99 of the end-to-end latency, from the scheduled time, in ns, over its ok rows;
        /// null where there is none.
        e2e_ns_p99: Option<i64>,
        /// p50 of the wait in the generator, scheduled to sent, in ns, over its ok rows; null
        /// where there is none.
        queue_ns_p50: Option<i64>,
        /// p90 of the wait in the generator, scheduled to sent, in ns, over its ok rows; null
        /// where there is none.
        queue_ns_p90: Option<i64>,
        /// p95 of the wait in the generator, scheduled to sent, in ns, over its ok rows; null
        /// where there is none.
        queue_ns_p95: Option<i64>,
        /// p99 of the wait in the generator, scheduled to sent, in ns, over its ok rows; null
        /// where there is none.
        queue_ns_p99: Option<i64>,
        /// Mergeable sketch of the time to first token, from the scheduled time, in ns; null
        /// where there is none.
        ttft_sketch: Option<Vec<u8>>,
        /// Mergeable sketch of the time per output token, the first excluded, in ns; null where
        /// there is none.
        tpot_sketch: Option<Vec<u8>>,
        /// Mergeable sketch of the gap between chunks, pooled over requests, in ns; null where
        /// there is none.
        itl_sketch: Option<Vec<u8>>,
        /// Mergeable sketch of the end-to-end latency, from the scheduled time, in ns; null
        /// where there is none.
        e2e_sketch: Option<Vec<u8>>,
        /// Most requests in flight at once.
        in_flight_max: i64,
        /// Growth of the backlog, in requests a second; null in a closed loop or where the
        /// window is too short.
        backlog_slope: Option<f64>,
        /// Share of the arrivals that were served without letting the backlog grow, 0 to 1;
        /// null in a closed loop or where nothing was due.
        achieved_ratio: Option<f64>,
        /// p99 of how late the generator sent, in ns: after a request was due, in a closed loop after
        /// its slot fell free; null where nothing was sent.
        schedule_lag_ns_p99: Option<i64>,
        /// Whether the generator kept its schedule.
        valid: bool,
    }
}
