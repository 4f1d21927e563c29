//! Rows of runs as they come out of the warehouse, for tests.

use plimsoll_ingest::{EnvelopeRow, RunRow, StageRow, Timestamp};

/// What `from_rows` takes.
pub(crate) type Rows = (RunRow, Vec<StageRow>, EnvelopeRow);

const MS: i64 = 1_000_000;
const STARTED: Timestamp = Timestamp::from_micros(1_772_000_000_000_000);

/// A step run over four stages that breaks at the last.
pub(crate) fn passed_step() -> Rows {
    let stages = vec![
        open_stage(
            0,
            4.0,
            Served {
                good: 4.0,
                all: 4.0,
                ttft_ms: (98, 140),
                tpot_ms: (21, 26),
                in_flight: 9,
            },
        ),
        open_stage(
            1,
            8.0,
            Served {
                good: 8.0,
                all: 8.0,
                ttft_ms: (112, 240),
                tpot_ms: (22, 31),
                in_flight: 19,
            },
        ),
        open_stage(
            2,
            16.0,
            Served {
                good: 15.8,
                all: 15.9,
                ttft_ms: (190, 470),
                tpot_ms: (25, 40),
                in_flight: 44,
            },
        ),
        broken(open_stage(
            3,
            32.0,
            Served {
                good: 6.1,
                all: 24.8,
                ttft_ms: (1_900, 6_200),
                tpot_ms: (33, 71),
                in_flight: 171,
            },
        )),
    ];
    let mut run = run("llama-70b-c50", "step", "passed");
    run.config = config("ttft_p99=500ms,error_rate=1%,demand=10", true);
    run.verdict_reasons = r#"[
        {"rule":"demand","measured":"15.8 req/s","required":"10 req/s","met":true},
        {"rule":"ttft_p99","stage":3,"measured":"6.2 s","required":"500 ms","met":false}
    ]"#
    .to_string();
    run.headline_stage = Some(2);
    run.peak_goodput_rps = Some(15.8);
    run.limit_found = Some(true);
    run.peak_throughput_rps = Some(24.8);
    run.output_tokens_per_s = Some(1_017.6);
    run.ttft_ns_p50 = Some(190 * MS);
    run.schedule_lag_ns_p99 = Some(210_000);
    (run, stages, envelope())
}

/// A step run whose first stage is too slow already.
pub(crate) fn blocked_step() -> Rows {
    let (mut run, stages, envelope) = passed_step();
    run.verdict = "blocked".to_string();
    run.headline_stage = Some(0);
    run.verdict_reasons =
        r#"[{"rule":"ttft_p99","measured":"6.20 s","required":"500 ms","stage":0}]"#.to_string();
    let mut stage = stages[3].clone();
    (stage.stage, stage.name, stage.offered_rps) = (0, "4 req/s".to_string(), Some(4.0));
    (stage.throughput_rps, stage.goodput_rps) = (3.9, 0.9);
    stage.achieved_ratio = Some(0.975);
    (run, vec![stage], envelope)
}

/// A step run that the generator spoiled.
pub(crate) fn invalid() -> Rows {
    let (mut run, mut stages, envelope) = passed_step();
    run.verdict = "invalid".to_string();
    run.verdict_reasons =
        r#"[{"rule":"schedule_lag_p99","measured":"14.2 ms","required":"10 ms"}]"#.to_string();
    run.schedule_lag_ns_p99 = Some(14_200_000);
    stages.truncate(2);
    stages[1].valid = false;
    (run, stages, envelope)
}

/// A handful of requests one at a time, then a few at once.
pub(crate) fn smoke() -> Rows {
    let mut stages = vec![closed_stage(0, 1, 1.43, 50), closed_stage(1, 4, 5.71, 51)];
    stages[0].name = "one at a time".to_string();
    stages[1].name = "four at once".to_string();
    let mut run = run("sim-8", "smoke", "passed");
    run.config = config("error_rate=1%", false);
    run.floor_ttft_ns = Some(50 * MS);
    run.ttft_ns_p50 = Some(50 * MS);
    (run, stages, envelope())
}

/// A closed loop that levels off at eight in flight.
pub(crate) fn max_throughput() -> Rows {
    let stages = vec![
        closed_stage(0, 1, 1.43, 50),
        closed_stage(1, 2, 2.86, 50),
        closed_stage(2, 4, 5.71, 51),
        closed_stage(3, 8, 11.4, 52),
        closed_stage(4, 16, 11.4, 750),
    ];
    let mut run = run("sim-8", "max_throughput", "passed");
    run.config = config("error_rate=1%", true);
    run.headline_stage = Some(4);
    run.peak_throughput_rps = Some(11.4);
    run.peak_goodput_rps = Some(11.4);
    run.limit_found = Some(false);
    run.output_tokens_per_s = Some(729.6);
    (run, stages, envelope())
}

/// A run that was killed before its first stage ended.
pub(crate) fn incomplete() -> Rows {
    let (mut run, _, envelope) = passed_step();
    run.verdict = "incomplete".to_string();
    run.verdict_reasons = r#"[{"rule":"completeness","measured":"the process ended before the run did","required":"all samples"}]"#.to_string();
    run.schedule_lag_ns_p99 = None;
    run.headline_stage = None;
    run.peak_goodput_rps = None;
    (run, Vec::new(), envelope)
}

/// A run that somebody ended in its second stage, after a warm-up.
pub(crate) fn cancelled() -> Rows {
    let (mut run, mut stages, envelope) = passed_step();
    run.verdict = "cancelled".to_string();
    run.verdict_reasons =
        r#"[{"rule":"stopped","measured":"Ctrl-C","required":"to run to the end"}]"#.to_string();
    run.finished_at = Timestamp::from_micros(STARTED.micros() + 41_200_000);
    run.headline_stage = None;
    stages.truncate(2);
    stages[0].phase = "warm_up".to_string();
    (run, stages, envelope)
}

fn run(model: &str, profile: &str, verdict: &str) -> RunRow {
    RunRow {
        run_id: "0195a000-7b11-7abc-8def-01239c2f41d7"
            .parse()
            .expect("run id"),
        run_key: 1,
        job_id: Some("0195a000-7b11-7abc-8def-0123aaaaaaaa".to_string()),
        task_id: None,
        attempt: 1,
        pillar: "performance".to_string(),
        suite: profile.to_string(),
        profile: Some(profile.to_string()),
        tier: None,
        model: model.to_string(),
        model_revision: None,
        deployment: None,
        endpoint: "http://gpu7:8000/v1".to_string(),
        envelope_id: "e1".to_string(),
        comparable_key: "c1".to_string(),
        workload_digest: None,
        workload: None,
        slo: None,
        config: String::new(),
        triggered_by: "ada".to_string(),
        trigger: "manual".to_string(),
        schedule_id: None,
        started_at: STARTED,
        finished_at: Timestamp::from_micros(STARTED.micros() + 180_000_000),
        verdict: verdict.to_string(),
        verdict_reasons: "[]".to_string(),
        limiting_resource: None,
        labels: "{}".to_string(),
        trace_id: None,
        plimsoll_version: "0.1.0".to_string(),
        headline_stage: None,
        floor_ttft_ns: None,
        peak_goodput_rps: None,
        peak_goodput_rps_low: None,
        peak_goodput_rps_high: None,
        peak_throughput_rps: None,
        sustainable_rps: None,
        sustainable_rps_low: None,
        sustainable_rps_high: None,
        capacity_method: None,
        limit_found: None,
        knee_offered_rps: None,
        recovery_ns: None,
        recovery_rps: None,
        output_tokens_per_s: None,
        ttft_ns_p50: None,
        ttft_ns_p90: None,
        ttft_ns_p95: None,
        ttft_ns_p99: None,
        tpot_ns_p50: None,
        tpot_ns_p90: None,
        tpot_ns_p95: None,
        tpot_ns_p99: None,
        itl_ns_p50: None,
        itl_ns_p90: None,
        itl_ns_p95: None,
        itl_ns_p99: None,
        e2e_ns_p50: None,
        e2e_ns_p90: None,
        e2e_ns_p95: None,
        e2e_ns_p99: None,
        error_rate: None,
        slo_attainment: None,
        cases_total: None,
        cases_failed: None,
        schedule_lag_ns_p99: None,
        gpu_seconds: None,
        cost_usd: None,
    }
}

/// Settings as `runs.config` holds them.
pub(crate) fn config(slo: &str, limit_finding: bool) -> String {
    serde_json::json!({
        "slo": slo, "seed": 42, "limit_finding": limit_finding, "workload": {"name": "mix-v1"},
    })
    .to_string()
}

fn envelope() -> EnvelopeRow {
    EnvelopeRow {
        run_id: "0195a000-7b11-7abc-8def-01239c2f41d7"
            .parse()
            .expect("run id"),
        run_key: 1,
        envelope_id: "e1".to_string(),
        gpu_sku: Some("H100".to_string()),
        gpu_count: Some(2),
        topology: None,
        driver: Some("580.65".to_string()),
        engine: Some("vllm".to_string()),
        engine_version: Some("0.33".to_string()),
        engine_args: None,
        model_digest: None,
        tokenizer_digest: None,
        precision: Some("bf16".to_string()),
        workload_digest: None,
        warm_up: None,
        host: Some("bench-1".to_string()),
        plimsoll_version: "0.1.0".to_string(),
        json: r#"{"timestamp_source":"kernel"}"#.to_string(),
    }
}

/// What an open-loop stage served.
struct Served {
    good: f64,
    all: f64,
    /// p50 and p99, in milliseconds.
    ttft_ms: (i64, i64),
    /// p50 and p99, in milliseconds.
    tpot_ms: (i64, i64),
    in_flight: i64,
}

fn open_stage(stage: i64, offered: f64, served: Served) -> StageRow {
    let sent = (offered * 30.0) as i64;
    StageRow {
        name: format!("{offered} req/s"),
        offered_rps: Some(offered),
        concurrency: None,
        sent,
        ok: sent,
        good: sent,
        throughput_rps: served.all,
        goodput_rps: served.good,
        output_tokens_per_s: Some(served.all * 64.0),
        ttft_ns_p50: Some(served.ttft_ms.0 * MS),
        ttft_ns_p99: Some(served.ttft_ms.1 * MS),
        tpot_ns_p50: Some(served.tpot_ms.0 * MS),
        tpot_ns_p99: Some(served.tpot_ms.1 * MS),
        e2e_ns_p50: Some((served.ttft_ms.0 + 63 * served.tpot_ms.0) * MS),
        in_flight_max: served.in_flight,
        achieved_ratio: Some(served.all / offered),
        schedule_lag_ns_p99: Some(210_000),
        ..stage_of(stage, sent)
    }
}

fn closed_stage(stage: i64, concurrency: i64, throughput: f64, ttft_ms: i64) -> StageRow {
    let sent = (throughput * 30.0) as i64;
    StageRow {
        name: format!("{concurrency} in flight"),
        concurrency: Some(concurrency),
        throughput_rps: throughput,
        goodput_rps: throughput,
        output_tokens_per_s: Some(throughput * 64.0),
        ttft_ns_p50: Some(ttft_ms * MS),
        ttft_ns_p99: Some((ttft_ms + 2) * MS),
        tpot_ns_p50: Some(10 * MS),
        tpot_ns_p99: Some(10_400_000),
        e2e_ns_p50: Some((ttft_ms + 630) * MS),
        in_flight_max: concurrency,
        ..stage_of(stage, sent)
    }
}

/// The stage with errors, and most of its requests too late.
fn broken(stage: StageRow) -> StageRow {
    let errors = stage.sent / 240;
    let ok = stage.sent - errors;
    StageRow {
        ok,
        errors,
        good: stage.sent * 24 / 100,
        prompt_tokens: ok * 240,
        output_tokens: ok * 64,
        prompt_tokens_asked: Some(ok * 250),
        output_tokens_asked: Some(ok * 64),
        ..stage
    }
}

fn stage_of(stage: i64, sent: i64) -> StageRow {
    StageRow {
        run_id: "0195a000-7b11-7abc-8def-01239c2f41d7"
            .parse()
            .expect("run id"),
        run_key: 1,
        stage,
        name: String::new(),
        phase: "steady".to_string(),
        workload_class: None,
        offered_rps: None,
        concurrency: None,
        started_ns: stage * 30_000 * MS,
        duration_ns: 30_000 * MS,
        sent,
        missed: 0,
        ok: sent,
        good: sent,
        errors: 0,
        timeouts: 0,
        throughput_rps: 0.0,
        goodput_rps: 0.0,
        output_tokens_per_s: None,
        prompt_tokens: sent * 240,
        output_tokens: sent * 64,
        prompt_tokens_asked: Some(sent * 250),
        output_tokens_asked: Some(sent * 64),
        token_chunks: Some(sent * 64),
        bundled_chunks: Some(0),
        ttft_ns_p50: None,
        ttft_ns_p90: None,
        ttft_ns_p95: None,
        ttft_ns_p99: None,
        tpot_ns_p50: None,
        tpot_ns_p90: None,
        tpot_ns_p95: None,
        tpot_ns_p99: None,
        itl_ns_p50: None,
        itl_ns_p90: None,
        itl_ns_p95: None,
        itl_ns_p99: None,
        e2e_ns_p50: None,
        e2e_ns_p90: None,
        e2e_ns_p95: None,
        e2e_ns_p99: None,
        queue_ns_p50: None,
        queue_ns_p90: None,
        queue_ns_p95: None,
        queue_ns_p99: None,
        ttft_sketch: None,
        tpot_sketch: None,
        itl_sketch: None,
        e2e_sketch: None,
        in_flight_max: 0,
        backlog_slope: None,
        achieved_ratio: None,
        schedule_lag_ns_p99: None,
        valid: true,
    }
}
