//! Tables of jobs, runs, their envelopes and scores.

use crate::id::RunId;
use crate::row::table_row;
use crate::time::Timestamp;

table_row! {
    /// One row per finished job.
    Jobs => JobRow {
        /// The job (UUIDv7).
        job_id: String,
        /// The job as it was submitted: JSON, secrets by name only.
        spec: String,
        /// The worst verdict of its tasks.
        verdict: String,
        /// Who asked for it.
        triggered_by: String,
        /// What asked for it: manual, api, schedule, import.
        trigger: String,
        /// The schedule; null unless one asked.
        schedule_id: Option<String>,
        /// What is being tested, as JSON {ref, kind, summary}; null where nobody said.
        change: Option<String>,
        /// Labels, as a JSON object.
        labels: String,
        /// When it was accepted.
        queued_at: Timestamp,
        /// When its first run began; null where none did.
        started_at: Option<Timestamp>,
        /// When its last task ended.
        finished_at: Timestamp,
        /// How many runs it had.
        runs: i64,
    }
}

table_row! {
    /// One row per finished run, written last: a run that has no row here is not visible.
    /// Headline figures are null where they do not apply.
    Runs => RunRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// The job; null where there was none.
        job_id: Option<String>,
        /// The task; null where there was none.
        task_id: Option<String>,
        /// Which attempt at the task it is, from 1.
        attempt: i64,
        /// functional, benchmark or performance.
        pillar: String,
        /// The suite; of performance runs the profile.
        suite: String,
        /// The profile of a performance run.
        profile: Option<String>,
        /// The tier of a functional run.
        tier: Option<String>,
        /// The model, as requests name it.
        model: String,
        /// Its revision; null where unknown.
        model_revision: Option<String>,
        /// The deployment that served it; null for an endpoint that others run.
        deployment: Option<String>,
        /// The base URL that was measured, without credentials.
        endpoint: String,
        /// Digest of everything that the result depends on.
        envelope_id: String,
        /// Runs with the same key asked the same question.
        comparable_key: String,
        /// Digest of the workload, its seed excluded.
        workload_digest: Option<String>,
        /// The workload in words: the name of its mix, and lengths that are fixed; null where there is
        /// none.
        workload: Option<String>,
        /// The SLO's bounds, in canonical order, without the demand; null where there is none.
        slo: Option<String>,
        /// Effective settings, SLO, workload and seed, as JSON: what a rerun needs.
        config: String,
        /// Who asked for it.
        triggered_by: String,
        /// What asked for it: manual, api, schedule, import.
        trigger: String,
        /// The schedule; null unless one asked.
        schedule_id: Option<String>,
        /// When it began; `_ns` moments count from here.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// passed, degraded, blocked, invalid, incomplete, error or cancelled.
        verdict: String,
        /// Each rule that spoke, as a JSON array of {rule, measured, required}.
        verdict_reasons: String,
        /// What gave out first; null where unknown.
        limiting_resource: Option<String>,
        /// Labels, as a JSON object.
        labels: String,
        /// The trace; null where tracing is off.
        trace_id: Option<String>,
        /// The version of Plimsoll that measured.
        plimsoll_version: String,
        /// The stage that the headline figures describe; null where they describe all steady
        /// stages.
        headline_stage: Option<i64>,
        /// Median time to first token without queueing, in ns.
        floor_ttft_ns: Option<i64>,
        /// Goodput of the limit's stage, in good requests a second.
        peak_goodput_rps: Option<f64>,
        /// Lower bound of its interval.
        peak_goodput_rps_low: Option<f64>,
        /// Upper bound of its interval.
        peak_goodput_rps_high: Option<f64>,
        /// Highest throughput of a steady stage, in completed requests a second.
        peak_throughput_rps: Option<f64>,
        /// Rate that holds for long, in requests a second.
        sustainable_rps: Option<f64>,
        /// Lower bound of its interval.
        sustainable_rps_low: Option<f64>,
        /// Upper bound of its interval.
        sustainable_rps_high: Option<f64>,
        /// How the limit was found: grid, bisected or hold.
        capacity_method: Option<String>,
        /// Whether a load that was tried was too much. Where false, the peak is that of the heaviest
        /// load tried, and the limit lies there or above. Null of profiles that look for no limit,
        /// of runs that are no measurement, and in runs of releases that did not keep it.
        limit_found: Option<bool>,
        /// Offered rate at the knee, in requests a second.
        knee_offered_rps: Option<f64>,
        /// Time after an overload until it serves as before, in ns.
        recovery_ns: Option<i64>,
        /// Rate that still holds when one replica is lost, in requests a second.
        recovery_rps: Option<f64>,
        /// Output tokens a second over the headline's window.
        output_tokens_per_s: Option<f64>,
        /// p50 of the time to first token, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        ttft_ns_p50: Option<i64>,
        /// p90 of the time to first token, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        ttft_ns_p90: Option<i64>,
        /// p95 of the time to first token, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        ttft_ns_p95: Option<i64>,
        /// p99 of the time to first token, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        ttft_ns_p99: Option<i64>,
        /// p50 of the time per output token, the first excluded, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        tpot_ns_p50: Option<i64>,
        /// p90 of the time per output token, the first excluded, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        tpot_ns_p90: Option<i64>,
        /// p95 of the time per output token, the first excluded, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        tpot_ns_p95: Option<i64>,
        /// p99 of the time per output token, the first excluded, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        tpot_ns_p99: Option<i64>,
        /// p50 of the gap between chunks, pooled over requests, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        itl_ns_p50: Option<i64>,
        /// p90 of the gap between chunks, pooled over requests, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        itl_ns_p90: Option<i64>,
        /// p95 of the gap between chunks, pooled over requests, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        itl_ns_p95: Option<i64>,
        /// p99 of the gap between chunks, pooled over requests, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        itl_ns_p99: Option<i64>,
        /// p50 of the end-to-end latency, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        e2e_ns_p50: Option<i64>,
        /// p90 of the end-to-end latency, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        e2e_ns_p90: Option<i64>,
        /// p95 of the end-to-end latency, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        e2e_ns_p95: Option<i64>,
        /// p99 of the end-to-end latency, from the scheduled time, in ns, over ok rows of the
        /// headline's stages; null where there is none.
        e2e_ns_p99: Option<i64>,
        /// Share of requests that are not ok, 0 to 1, over the headline's stages.
        error_rate: Option<f64>,
        /// Share of requests that are good, 0 to 1, over the headline's stages.
        slo_attainment: Option<f64>,
        /// Functional cases; null for other pillars.
        cases_total: Option<i64>,
        /// Functional cases that failed; null for other pillars.
        cases_failed: Option<i64>,
        /// p99 of how late the generator sent, in ns, over the steady stages; null where nothing
        /// was sent.
        schedule_lag_ns_p99: Option<i64>,
        /// GPU seconds that the run held.
        gpu_seconds: Option<f64>,
        /// What they cost, in US dollars; null without a price.
        cost_usd: Option<f64>,
    }
}

table_row! {
    /// One row per run: everything that its result depends on.
    Envelopes => EnvelopeRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// SHA-256 of the canonical JSON in `json`.
        envelope_id: String,
        /// GPU model; null where unknown.
        gpu_sku: Option<String>,
        /// Number of GPUs; null where unknown.
        gpu_count: Option<i64>,
        /// How the GPUs are connected; null where unknown.
        topology: Option<String>,
        /// GPU driver version; null where unknown.
        driver: Option<String>,
        /// Serving engine, such as vllm; null where it does not say.
        engine: Option<String>,
        /// Its version; null where it does not say.
        engine_version: Option<String>,
        /// Its arguments, as JSON; null where unknown.
        engine_args: Option<String>,
        /// Digest of the weights; null where unknown.
        model_digest: Option<String>,
        /// Digest of the tokenizer; null where unknown.
        tokenizer_digest: Option<String>,
        /// Numeric precision; null where unknown.
        precision: Option<String>,
        /// Digest of the workload, its seed excluded.
        workload_digest: Option<String>,
        /// Warm-up policy, in words.
        warm_up: Option<String>,
        /// The host that generated the load.
        host: Option<String>,
        /// The version of Plimsoll that measured.
        plimsoll_version: String,
        /// All of it, as canonical JSON.
        json: String,
    }
}

table_row! {
    /// One row per run, benchmark and metric.
    Scores => ScoreRow {
        /// The run (UUIDv7).
        run_id: RunId,
        /// The run as an integer; joins use it.
        run_key: i64,
        /// The benchmark.
        benchmark: String,
        /// The metric of it.
        metric: String,
        /// The score, in the metric's own unit.
        value: f64,
        /// Standard error of the score; null where the evaluator gives none.
        stderr: Option<f64>,
        /// Samples behind it.
        n: i64,
        /// Direction of the metric.
        higher_is_better: bool,
        /// Version of the benchmark.
        benchmark_version: Option<String>,
        /// Digest of the dataset.
        dataset_digest: Option<String>,
        /// The evaluation library.
        evaluator: String,
        /// Its version.
        evaluator_version: String,
        /// Digest of the prompt template.
        prompt_digest: Option<String>,
        /// Decoding parameters, as JSON.
        decoding: String,
        /// All that the key digests, batch size and flags, as JSON.
        settings: String,
        /// Scores with the same key answer the same question.
        comparable_key: String,
    }
}
