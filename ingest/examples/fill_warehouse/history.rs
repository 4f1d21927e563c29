//! What draws the rows of months of nightly runs.

use plimsoll_ingest::{
    CaseRow, Date, EnvelopeRow, EventRow, FleetRow, RequestRow, RunId, RunRow, ScoreRow, Sketch,
    StageRow, TickRow, Timestamp, Verdict,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const MODELS: usize = 9;
const PROFILES: [&str; 3] = ["step", "soak", "smoke"];
const STAGES: i64 = 5;
const DAY_US: i64 = 86_400_000_000;

const HOUR_US: i64 = DAY_US / 24;

fn sku_of(model: usize) -> &'static str {
    ["H100", "A100", "L40S"][model % 3]
}

fn gpus_of(model: usize) -> i64 {
    1 << (model % 3)
}

/// Runs that each night has: a benchmark and a functional one for each model, too.
pub(super) const RUNS_A_NIGHT: usize = MODELS * (PROFILES.len() + 2);

/// Rows on their way into files.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) runs: Vec<RunRow>,
    pub(super) envelopes: Vec<EnvelopeRow>,
    pub(super) stages: Vec<StageRow>,
    pub(super) scores: Vec<ScoreRow>,
    pub(super) cases: Vec<CaseRow>,
    pub(super) ticks: Vec<TickRow>,
    pub(super) requests: Vec<RequestRow>,
}

impl Rows {
    /// Keeps the rows of partitioned tables, and gives the others on.
    pub(super) fn take_big(&mut self, rows: Self, small: &mut Self) {
        self.cases.extend(rows.cases);
        self.ticks.extend(rows.ticks);
        self.requests.extend(rows.requests);
        small.runs.extend(rows.runs);
        small.envelopes.extend(rows.envelopes);
        small.stages.extend(rows.stages);
        small.scores.extend(rows.scores);
    }
}

/// What a table is sorted by.
pub(super) trait Keyed {
    fn key(&self) -> (i64, i64);
    fn date(&self) -> Date;
}

macro_rules! keyed {
    ($($row:ident by $within:expr;)+) => {
        $(impl Keyed for $row {
            fn key(&self) -> (i64, i64) {
                let within: fn(&Self) -> i64 = $within;
                (self.run_key, within(self))
            }
            fn date(&self) -> Date {
                self.run_id.date()
            }
        })+
    };
}

macro_rules! keyed_by_time {
    ($($row:ident),+) => {
        $(impl Keyed for $row {
            fn key(&self) -> (i64, i64) {
                (self.at.micros(), 0)
            }
            fn date(&self) -> Date {
                self.at.date()
            }
        })+
    };
}

keyed_by_time!(FleetRow, EventRow);

keyed! {
    RunRow by |_| 0;
    EnvelopeRow by |_| 0;
    StageRow by |row| row.stage;
    ScoreRow by |_| 0;
    CaseRow by |_| 0;
    TickRow by |row| row.at_ns;
    RequestRow by |row| row.request_id;
}

/// What draws the rows.
pub(super) struct History {
    rng: ChaCha8Rng,
    requests: i64,
    nights: usize,
    today_us: i64,
}

impl History {
    /// A history of so many nights, the last of them yesterday's.
    pub(super) fn new(seed: u64, nights: usize, requests: i64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            requests,
            nights,
            today_us: Timestamp::now().micros() / DAY_US * DAY_US,
        }
    }

    fn share(&mut self) -> f64 {
        self.rng.random()
    }

    /// A long-tailed value around 1.
    fn tail(&mut self) -> f64 {
        let uniform = self.share().max(1e-9);
        0.5 + 0.5 * (-uniform.ln()).powf(1.3)
    }

    /// When a night's day began.
    fn day_us(&self, night: usize) -> i64 {
        self.today_us - (self.nights - night) as i64 * DAY_US
    }

    /// What the hosts said in an hour of a night's day: a row each minute for each of them, and for
    /// each of its GPUs.
    pub(super) fn fleet(&self, night: usize, hour: i64) -> Vec<FleetRow> {
        let from_us = self.day_us(night) + hour * HOUR_US;
        let mut rows = Vec::new();
        for minute in 0..60 {
            let at = Timestamp::from_micros(from_us + minute * HOUR_US / 60);
            for model in 0..MODELS {
                let host = || format!("gpu{model}");
                let queued = (hour + minute / 20 + model as i64) % 5;
                rows.push(FleetRow {
                    at,
                    host: host(),
                    gpu_uuid: None,
                    sku: None,
                    state: "leased".to_string(),
                    utilization: None,
                    memory_used: None,
                    deployment: None,
                    queued: Some(queued),
                    oldest_queued_s: (queued > 0).then(|| (queued * 60 + minute) as f64),
                });
                for gpu in 0..gpus_of(model) {
                    let spread = night as i64 * 31 + hour * 7 + minute / 15 + gpu * 3;
                    let state = match (spread + model as i64) % 16 {
                        0..=1 => "idle",
                        2 if model == 4 => "foreign",
                        3 if model == 7 && night.is_multiple_of(9) => "quarantined",
                        _ => "leased",
                    };
                    let leased = state == "leased";
                    rows.push(FleetRow {
                        at,
                        host: host(),
                        gpu_uuid: Some(format!("GPU-{model:08x}-0000-4000-8000-{gpu:012x}")),
                        sku: Some(sku_of(model).to_string()),
                        state: state.to_string(),
                        utilization: Some(if leased { 0.9 } else { 0.0 }),
                        memory_used: Some(if leased { 70 << 30 } else { 0 }),
                        deployment: leased.then(|| format!("model-{model}-r1")),
                        queued: None,
                        oldest_queued_s: None,
                    });
                }
            }
        }
        rows
    }

    /// What people and the machinery did in a night.
    pub(super) fn events(&self, night: usize) -> Vec<EventRow> {
        let from_us = self.day_us(night);
        let mut rows = Vec::new();
        for number in 0..RUNS_A_NIGHT {
            let model = number % MODELS;
            let at_us = from_us + number as i64 * 1_200_000_000;
            let mut event = |after_s: i64, actor: &str, action: &str, reason: Option<&str>| {
                rows.push(EventRow {
                    at: Timestamp::from_micros(at_us + after_s * 1_000_000),
                    actor: actor.to_string(),
                    action: action.to_string(),
                    source: None,
                    job_id: None,
                    task_id: None,
                    run_id: None,
                    model: Some(format!("model-{model}")),
                    deployment: Some(format!("model-{model}-r1")),
                    host: Some(format!("gpu{model}")),
                    reason: reason.map(str::to_string),
                    detail: "{}".to_string(),
                });
            };
            event(0, "nightly", "job_submitted", None);
            event(5, "model_manager", "deployment_started", None);
            if (night + number).is_multiple_of(40) {
                let reason = "exited with status 1 before it was ready";
                event(60, "model_manager", "deployment_failed", Some(reason));
            }
            event(900, "model_manager", "deployment_stopped", Some("idle"));
        }
        rows
    }

    /// The rows of one run.
    pub(super) fn run(&mut self, night: usize, number: usize) -> Rows {
        let (model, suite) = (number % MODELS, number / MODELS);
        let start = self.day_us(night) + number as i64 * 1_200_000_000;
        let run_id = RunId::new(Timestamp::from_micros(start / 1_000 * 1_000));
        match suite {
            3 => self.benchmark(run_id, model),
            4 => self.functional(run_id, model),
            suite => self.performance(run_id, model, PROFILES[suite], night),
        }
    }

    fn row(&mut self, run_id: RunId, model: usize, pillar: &str, suite: &str) -> RunRow {
        RunRow {
            pillar: pillar.to_string(),
            suite: suite.to_string(),
            profile: (pillar == "performance").then(|| suite.to_string()),
            model: format!("model-{model}"),
            model_revision: Some("r1".to_string()),
            endpoint: format!("http://gpu{model}:8000/v1"),
            envelope_id: format!("{:064x}", model),
            comparable_key: format!(
                "{:064x}",
                model % 3 + suite.bytes().map(usize::from).sum::<usize>() * 8
            ),
            workload: Some("mixed-v1".to_string()),
            workload_digest: Some(format!("{:064x}", 1)),
            slo: Some("ttft_p99=2s,error_rate=1%".to_string()),
            config:
                r#"{"slo": "ttft_p99=2s,error_rate=1%", "seed": 1, "profile": {"duration": "30s"}}"#
                    .to_string(),
            triggered_by: "nightly".to_string(),
            verdict: Verdict::Passed.to_string(),
            plimsoll_version: "0.1.0".to_string(),
            ..RunRow::blank(run_id, run_id.created_at())
        }
    }

    fn envelope(run_id: RunId, model: usize, driver: &str) -> EnvelopeRow {
        EnvelopeRow {
            envelope_id: format!("{model:064x}"),
            gpu_sku: Some(sku_of(model).to_string()),
            gpu_count: Some(gpus_of(model)),
            driver: Some(driver.to_string()),
            engine: Some("vllm".to_string()),
            engine_version: Some("0.11.0".to_string()),
            model_digest: Some(format!("{model:064x}")),
            precision: Some("bf16".to_string()),
            workload_digest: Some(format!("{:064x}", 1)),
            warm_up: Some("1s".to_string()),
            host: Some(format!("gpu{model}")),
            plimsoll_version: "0.1.0".to_string(),
            json: r#"{"timestamp_source": "kernel"}"#.to_string(),
            ..EnvelopeRow::blank(run_id)
        }
    }

    fn performance(&mut self, run_id: RunId, model: usize, profile: &str, night: usize) -> Rows {
        // The driver of the first model changed half way, and its latency with it.
        let changed = model == 0 && night * 2 > self.nights;
        let slow = if changed { 1.15 } else { 1.0 } * (0.98 + 0.04 * self.share());
        let base_ns = 40e6 * (1.0 + model as f64 / 4.0) * slow;
        let each = self.requests / STAGES;
        let mut rows = Rows::default();
        let mut id = 0;
        for stage in 0..STAGES {
            let started_ns = stage * 30_000_000_000;
            let mut ttft = Vec::new();
            let (mut ok, mut good, mut output) = (0, 0, 0);
            for number in 0..each {
                let scheduled_ns = started_ns + number * (30_000_000_000 / each.max(1));
                let row = self.request(
                    run_id,
                    stage,
                    id,
                    scheduled_ns,
                    base_ns * (1.0 + stage as f64 / 3.0),
                );
                if let Some(ns) = row.ttft_ns {
                    ttft.push(ns);
                    ok += 1;
                    output += row.output_tokens.unwrap_or(0);
                }
                good += i64::from(row.good);
                rows.requests.push(row);
                id += 1;
            }
            ttft.sort_unstable();
            let at = |q: f64| ttft.get((q * ttft.len() as f64) as usize).copied();
            let sketch: Sketch = ttft.iter().map(|ns| *ns as f64).collect();
            rows.stages.push(StageRow {
                name: format!("{} req/s", 4 << stage),
                phase: "steady".to_string(),
                offered_rps: Some((4 << stage) as f64),
                started_ns,
                duration_ns: 30_000_000_000,
                sent: each,
                ok,
                good,
                errors: each - ok,
                throughput_rps: ok as f64 / 30.0,
                goodput_rps: good as f64 / 30.0,
                output_tokens_per_s: Some(output as f64 / 30.0),
                output_tokens: output,
                ttft_ns_p50: at(0.5),
                ttft_ns_p90: at(0.9),
                ttft_ns_p95: at(0.95),
                ttft_ns_p99: at(0.99),
                ttft_sketch: (ok > 0).then(|| sketch.to_bytes()),
                in_flight_max: 64,
                achieved_ratio: Some(1.0),
                valid: true,
                ..StageRow::blank(run_id, stage)
            });
        }
        for second in 0..STAGES * 30 {
            rows.ticks.push(TickRow {
                run_id,
                run_key: run_id.run_key(),
                date: run_id.date(),
                at_ns: second * 1_000_000_000,
                offered: each / 30,
                completed: each / 30,
                good: each / 30,
                errors: 0,
                in_flight: 20 + second % 9,
                backlog: 0,
                server_running: Some(16.0),
                server_waiting: Some(0.0),
                kv_cache_usage: Some(0.4),
                prefix_cache_hit_rate: None,
                spec_accept_rate: None,
            });
        }
        let last = rows.stages.last().expect("there are stages").clone();
        let mut row = self.row(run_id, model, "performance", profile);
        let rate = 30.0 / (1.0 + model as f64 / 4.0) / slow;
        row.peak_goodput_rps = (profile == "step").then_some(rate);
        row.capacity_method = row.peak_goodput_rps.map(|_| "grid".to_string());
        row.limit_found = row.peak_goodput_rps.map(|_| true);
        row.sustainable_rps = (profile == "soak").then_some(rate * 0.8);
        row.floor_ttft_ns = (profile == "smoke").then_some(base_ns as i64 / 2);
        row.ttft_ns_p50 = last.ttft_ns_p50;
        row.ttft_ns_p90 = last.ttft_ns_p90;
        row.ttft_ns_p95 = last.ttft_ns_p95;
        row.ttft_ns_p99 = last.ttft_ns_p99;
        row.output_tokens_per_s = Some(last.output_tokens as f64 / 30.0);
        row.error_rate = Some(last.errors as f64 / last.sent.max(1) as f64);
        rows.runs.push(row);
        let driver = if changed { "570.86" } else { "560.35" };
        rows.envelopes.push(Self::envelope(run_id, model, driver));
        rows
    }

    fn request(
        &mut self,
        run_id: RunId,
        stage: i64,
        request_id: i64,
        scheduled_ns: i64,
        base_ns: f64,
    ) -> RequestRow {
        let ok = self.share() < 0.995;
        let class = (self.share() * 4.0) as usize;
        let (prompt, output) = [(128, 64), (128, 512), (2_048, 64), (2_048, 512)][class];
        let prompt = prompt + (self.share() * f64::from(prompt) / 4.0) as i32;
        let output = (self.tail() * f64::from(output)) as i64 + 1;
        let sent_ns = scheduled_ns + (self.share() * 60_000.0) as i64;
        let ttft_ns = (base_ns * self.tail()) as i64 + sent_ns - scheduled_ns;
        let tpot_ns = (9e6 + 2e6 * self.share()) as i64;
        let e2e_ns = ttft_ns + tpot_ns * (output - 1);
        RequestRow {
            stage,
            phase: "steady".to_string(),
            workload_class: Some(
                ["short-short", "short-long", "long-short", "long-long"][class].to_string(),
            ),
            scheduled_ns,
            sent_ns,
            first_byte_ns: ok.then_some(scheduled_ns + ttft_ns - 20_000),
            first_token_ns: ok.then_some(scheduled_ns + ttft_ns),
            last_token_ns: ok.then_some(scheduled_ns + e2e_ns),
            done_ns: scheduled_ns + e2e_ns,
            status: if ok { "ok" } else { "timeout" }.to_string(),
            failure_kind: (!ok).then(|| "timeout".to_string()),
            http_status: Some(200),
            finish_reason: ok.then(|| "length".to_string()),
            prompt_tokens: Some(i64::from(prompt)),
            prompt_tokens_asked: Some(i64::from(prompt)),
            output_tokens: ok.then_some(output),
            output_tokens_asked: Some(output),
            token_source: Some("usage".to_string()),
            ttft_ns: ok.then_some(ttft_ns),
            ttft_any_ns: ok.then_some(ttft_ns),
            tpot_ns: ok.then_some(tpot_ns),
            ntpot_ns: ok.then_some(e2e_ns / output),
            e2e_ns,
            queue_ns: sent_ns - scheduled_ns,
            slo_met: ok.then_some(ttft_ns < 2_000_000_000),
            good: ok && ttft_ns < 2_000_000_000,
            timestamp_source: "kernel".to_string(),
            ..RequestRow::blank(run_id, request_id)
        }
    }

    fn benchmark(&mut self, run_id: RunId, model: usize) -> Rows {
        let mut rows = Rows::default();
        let mut score = |metric: &str| ScoreRow {
            run_id,
            run_key: run_id.run_key(),
            benchmark: "arithmetic".to_string(),
            metric: metric.to_string(),
            value: 0.7 + 0.02 * self.rng.random::<f64>(),
            stderr: Some(0.01),
            n: 1_000,
            higher_is_better: true,
            benchmark_version: None,
            dataset_digest: None,
            evaluator: "lm-eval".to_string(),
            evaluator_version: "1".to_string(),
            prompt_digest: None,
            decoding: "{}".to_string(),
            settings: "{}".to_string(),
            comparable_key: format!("{:064x}", 99),
        };
        rows.scores.extend([score("acc"), score("acc_norm")]);
        rows.runs
            .push(self.row(run_id, model, "benchmark", "arithmetic"));
        rows.envelopes.push(Self::envelope(run_id, model, "560.35"));
        rows
    }

    fn functional(&mut self, run_id: RunId, model: usize) -> Rows {
        let mut rows = Rows::default();
        for number in 0..24 {
            let passed = self.share() < 0.97;
            rows.cases.push(CaseRow {
                run_id,
                run_key: run_id.run_key(),
                date: run_id.date(),
                case_id: format!("case-{number:02}"),
                case_digest: "d".to_string(),
                tier: "standard".to_string(),
                marker: ["tools", "stream", "json", "stop"][number % 4].to_string(),
                outcome: if passed { "passed" } else { "failed" }.to_string(),
                failure_kind: None,
                expected: None,
                actual: None,
                message: None,
                request: None,
                response: None,
                latency_ns: 5_000_000,
                attempts: 1,
            });
        }
        rows.runs
            .push(self.row(run_id, model, "functional", "standard"));
        rows.envelopes.push(Self::envelope(run_id, model, "560.35"));
        rows
    }
}
