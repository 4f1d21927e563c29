//! Warehouses of lawful rows drawn at random.

use std::path::Path;

use deltalake_core::writer::{DeltaWriter as _, RecordBatchWriter};
use plimsoll_ingest::spool::{Manifest, Spool, Tag};
use plimsoll_ingest::{
    CaseRow, EnvelopeRow, EventRow, FleetRow, RequestRow, RunId, RunRow, ScoreRow, Sketch,
    StageRow, Table, TableRow, Timestamp, Verdict, WarehouseLocation, WarehouseStore, delta,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const MINUTE_US: i64 = 60_000_000;
const DAY_MINUTES: i64 = 1_440;

/// Days over which runs are spread; some of them are older than a capacity may be.
const DAYS: i64 = 45;

/// What draws the rows.
pub(super) struct Random {
    rng: ChaCha8Rng,
    now: Timestamp,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Timestamp::now(),
        }
    }

    fn below(&mut self, limit: i64) -> i64 {
        self.rng.random_range(0..limit)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.rng.random_range(0..choices.len())]
    }

    fn maybe<T>(&mut self, share: f64, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(share).then(|| value(self))
    }

    fn float(&mut self, limit: f64) -> f64 {
        self.rng.random_range(0.0..limit)
    }

    /// A moment of the last weeks, to the minute or not, so that some runs begin at once.
    fn moment(&mut self) -> Timestamp {
        let minutes = self.below(DAYS * DAY_MINUTES);
        let within = if self.chance(0.5) {
            0
        } else {
            self.below(MINUTE_US)
        };
        let minute = self.now.micros() / MINUTE_US - minutes;
        Timestamp::from_micros((minute * MINUTE_US - within) / 1_000 * 1_000)
    }

    /// Four latencies that rise, in ns.
    fn latencies(&mut self) -> [Option<i64>; 4] {
        let mut all = [0; 4].map(|_: i64| self.below(900_000_000) + 1_000_000);
        all.sort_unstable();
        if self.chance(0.2) {
            [None; 4]
        } else {
            all.map(Some)
        }
    }

    /// The sealed spools of so many runs.
    pub(super) fn spools(&mut self, root: &Path, warehouse: &str, runs: usize) {
        for _ in 0..runs {
            self.run(root, warehouse);
        }
    }

    fn run(&mut self, root: &Path, warehouse: &str) {
        let run_id = RunId::new(self.moment());
        let manifest = Manifest::new(run_id, warehouse, "");
        let mut spool = Spool::create(root, manifest).expect("a spool");
        let mut run = self.run_row(run_id);
        let mut finals = Vec::new();
        if self.chance(0.9) {
            finals.push((Table::Envelopes, batch(&[self.envelope(run_id)])));
        }
        match run.pillar.as_str() {
            "performance" => {
                let stages = self.below(4) + 1;
                let mut rows = Vec::new();
                let mut requests = Vec::new();
                for stage in 0..stages {
                    let row = self.stage(run_id, stage);
                    let of_stage = self.requests(&row);
                    rows.push(StageRow {
                        ttft_sketch: sketch_of_ttft(&of_stage),
                        ..row
                    });
                    requests.extend(of_stage);
                }
                finals.push((Table::Stages, batch(&rows)));
                // Most lie at one load, and some at another.
                run.headline_stage = match run.profile.as_deref() {
                    Some("step") => Some(i64::from(stages > 1 && self.chance(0.2))),
                    _ => self.maybe(0.5, |r| r.below(stages)),
                };
                let requests: Vec<_> = (0..).zip(requests).map(numbered).collect();
                spool
                    .append(Tag::Facts(Table::Requests), &batch(&requests))
                    .expect("appended");
            }
            "benchmark" => {
                let scores = self.scores(run_id, &run.model);
                finals.push((Table::Scores, batch(&scores)));
            }
            _ => spool
                .append(Tag::Facts(Table::Cases), &batch(&self.cases(run_id)))
                .expect("appended"),
        }
        finals.push((Table::Runs, batch(&[run])));
        spool.seal(&finals).expect("sealed");
    }

    fn run_row(&mut self, run_id: RunId) -> RunRow {
        let pillar = self.one_of(&[
            "performance",
            "performance",
            "performance",
            "benchmark",
            "benchmark",
            "benchmark",
            "benchmark",
            "functional",
            "functional",
        ]);
        // One question is asked more often than the others, so that some runs have many before them.
        let profile = self.one_of(&[
            "step",
            "step",
            "step",
            "smoke",
            "soak",
            "spike",
            "max_throughput",
        ]);
        let suite = match pillar {
            "performance" => profile,
            _ => "standard",
        };
        let verdict = self.one_of(&[
            &Verdict::Passed,
            &Verdict::Passed,
            &Verdict::Degraded,
            &Verdict::Blocked,
            &Verdict::Blocked,
            &Verdict::Invalid,
            &Verdict::Incomplete,
        ]);
        let limit_finding =
            ["step", "max_throughput"].contains(&profile) && *verdict != Verdict::Blocked;
        let peak = if limit_finding {
            self.maybe(0.9, |r| (r.float(40.0) * 4.0).round() / 4.0)
        } else {
            None
        };
        let [ttft, tpot, e2e] = [(); 3].map(|()| self.latencies());
        let mut row = RunRow {
            pillar: pillar.to_string(),
            suite: suite.to_string(),
            profile: (pillar == "performance").then(|| profile.to_string()),
            model: self.one_of(&["alpha", "beta"]).to_string(),
            model_revision: self.maybe(0.6, |r| format!("r{}", r.below(2))),
            envelope_id: "e".to_string(),
            comparable_key: format!("key-{suite}-{}", u8::from(self.chance(0.2))),
            config: self.config(),
            workload_digest: self.maybe(0.9, |_| "w".to_string()),
            workload: self.maybe(0.9, |r| format!("mixed-v{}", r.below(2))),
            slo: self.maybe(0.9, |r| {
                r.one_of(&["error_rate=1%", "ttft_p99=500ms,error_rate=1%"])
                    .to_string()
            }),
            verdict: verdict.to_string(),
            peak_goodput_rps: peak,
            peak_goodput_rps_low: peak.filter(|_| self.chance(0.5)).map(|peak| peak * 0.9),
            capacity_method: peak.map(|_| "grid".to_string()),
            limit_found: peak.filter(|_| self.chance(0.9)).map(|_| self.chance(0.5)),
            endpoint: self.one_of(&["http://one", "http://two"]).to_string(),
            ..RunRow::blank(run_id, run_id.created_at())
        };
        row.peak_throughput_rps = self.maybe(0.5, |r| r.float(50.0));
        row.sustainable_rps = (profile == "soak").then(|| self.float(20.0));
        row.sustainable_rps_low = row
            .sustainable_rps
            .filter(|_| self.chance(0.5))
            .map(|rate| rate * 0.8);
        row.floor_ttft_ns = (profile == "smoke").then(|| self.below(90_000_000));
        row.recovery_ns = (profile == "spike").then(|| self.below(9_000_000_000));
        row.recovery_rps = row
            .recovery_ns
            .filter(|_| self.chance(0.5))
            .map(|_| self.float(9.0));
        row.output_tokens_per_s = self.maybe(0.8, |r| r.float(4_000.0));
        row.error_rate = self.maybe(0.8, |r| if r.chance(0.5) { 0.0 } else { r.float(1.0) });
        row.slo_attainment = self.maybe(0.8, |r| r.float(1.0));
        [
            row.ttft_ns_p50,
            row.ttft_ns_p90,
            row.ttft_ns_p95,
            row.ttft_ns_p99,
        ] = ttft;
        [
            row.tpot_ns_p50,
            row.tpot_ns_p90,
            row.tpot_ns_p95,
            row.tpot_ns_p99,
        ] = tpot;
        [
            row.e2e_ns_p50,
            row.e2e_ns_p90,
            row.e2e_ns_p95,
            row.e2e_ns_p99,
        ] = e2e;
        row
    }

    fn envelope(&mut self, run_id: RunId) -> EnvelopeRow {
        let gpu = self.maybe(0.8, |r| r.one_of(&["H100", "A100"]).to_string());
        EnvelopeRow {
            envelope_id: "e".to_string(),
            gpu_count: gpu
                .as_ref()
                .and_then(|_| self.maybe(0.8, |r| r.below(2) + 1)),
            gpu_sku: gpu,
            driver: self.maybe(0.5, |_| "570".to_string()),
            engine: self.maybe(0.8, |_| "vllm".to_string()),
            engine_version: self.maybe(0.8, |_| "0.11".to_string()),
            plimsoll_version: "1".to_string(),
            json: format!(
                r#"{{"kernel": {{"release": "6.{}"}}, "driver": "none", "model": "{}", "cores": [{}]}}"#,
                self.below(3),
                self.below(9),
                self.below(2)
            ),
            ..EnvelopeRow::blank(run_id)
        }
    }

    /// Settings, some of which say nothing of what was asked.
    fn config(&mut self) -> String {
        let temperature = self.maybe(0.5, |r| format!(r#", "temperature": {}"#, r.below(2)));
        format!(
            r#"{{"clock": {{"began": {}}}, "load": {{"rate": "{}", "ends": null}}{}}}"#,
            self.below(1 << 40),
            self.below(2),
            temperature.unwrap_or_default()
        )
    }

    fn stage(&mut self, run_id: RunId, stage: i64) -> StageRow {
        let open = self.chance(0.5);
        let sent = self.below(60);
        let ok = self.below(sent + 1);
        let (good, timeouts) = (self.below(ok + 1), self.below(sent - ok + 1));
        let [ttft, e2e] = [(); 2].map(|()| self.latencies());
        let mut row = StageRow {
            name: format!("stage {}", if self.chance(0.1) { 0 } else { stage }),
            phase: self.one_of(&["steady", "steady", "warm_up"]).to_string(),
            offered_rps: open.then(|| self.float(32.0)),
            concurrency: (!open).then(|| self.below(64)),
            duration_ns: self.below(30_000_000_000) + 1,
            sent,
            ok,
            good,
            errors: sent - ok,
            timeouts,
            missed: self.below(5),
            throughput_rps: self.float(30.0),
            goodput_rps: self.float(30.0),
            output_tokens_per_s: self.maybe(0.9, |r| r.float(4_000.0)),
            output_tokens: self.below(9_000),
            in_flight_max: self.below(99),
            valid: self.chance(0.9),
            ..StageRow::blank(run_id, stage)
        };
        [
            row.ttft_ns_p50,
            row.ttft_ns_p90,
            row.ttft_ns_p95,
            row.ttft_ns_p99,
        ] = ttft;
        [
            row.e2e_ns_p50,
            row.e2e_ns_p90,
            row.e2e_ns_p95,
            row.e2e_ns_p99,
        ] = e2e;
        row
    }

    fn requests(&mut self, stage: &StageRow) -> Vec<RequestRow> {
        (0..stage.sent)
            .map(|_| {
                let ok = self.chance(0.8);
                let (scheduled_ns, waits, takes) = (
                    self.below(1 << 40),
                    self.below(1 << 20),
                    self.below(1 << 30),
                );
                let tokens = self.maybe(0.8, |r| r.below(400));
                RequestRow {
                    stage: stage.stage,
                    phase: stage.phase.clone(),
                    arm: self.maybe(0.5, |r| r.one_of(&["a", "b"]).to_string()),
                    workload_class: self.maybe(0.9, |r| {
                        r.one_of(&["short-short", "short-long", "long-long"])
                            .to_string()
                    }),
                    status: if ok {
                        "ok"
                    } else {
                        self.one_of(&["timeout", "shed", "connection"])
                    }
                    .to_string(),
                    scheduled_ns,
                    sent_ns: scheduled_ns + waits,
                    done_ns: scheduled_ns + waits + takes,
                    first_token_ns: ok.then_some(scheduled_ns + waits + takes / 3),
                    last_token_ns: ok.then_some(scheduled_ns + waits + takes),
                    ttft_ns: ok.then_some(waits + takes / 3),
                    tpot_ns: tokens.filter(|_| ok).map(|tokens| takes / (tokens + 1)),
                    e2e_ns: waits + takes,
                    queue_ns: waits,
                    good: ok && self.chance(0.7),
                    prompt_tokens: self.maybe(0.8, |r| r.below(2_000)),
                    output_tokens: tokens,
                    output_tokens_asked: self.maybe(0.8, |r| r.below(400)),
                    ..RequestRow::blank(stage.run_id, 0)
                }
            })
            .collect()
    }

    fn scores(&mut self, run_id: RunId, model: &str) -> Vec<ScoreRow> {
        let stderr = self.maybe(0.7, |r| r.float(0.02));
        // One step in each series, most of which have enough scores before it: up or down.
        let days_ago = (self.now.micros() - run_id.created_at().micros()) / MINUTE_US / DAY_MINUTES;
        let stepped = (days_ago < DAYS / 2) == (model == "beta");
        let level = if stepped { 0.7 } else { 0.5 };
        let other_question = self.chance(0.05);
        ["acc", "acc_norm"]
            .map(|metric| ScoreRow {
                run_id,
                run_key: run_id.run_key(),
                benchmark: "gsm8k".to_string(),
                metric: metric.to_string(),
                value: level + self.float(0.02),
                stderr: stderr.filter(|_| metric == "acc"),
                n: self.below(400),
                // So that a step is worse by one and better by the other.
                higher_is_better: metric == "acc",
                benchmark_version: None,
                dataset_digest: None,
                evaluator: "e".to_string(),
                evaluator_version: "1".to_string(),
                prompt_digest: None,
                decoding: "{}".to_string(),
                settings: "{}".to_string(),
                comparable_key: if other_question { "t" } else { "s" }.to_string(),
            })
            .into()
    }

    fn cases(&mut self, run_id: RunId) -> Vec<CaseRow> {
        (0..=self.below(12))
            .map(|number| CaseRow {
                run_id,
                run_key: run_id.run_key(),
                date: run_id.date(),
                case_id: number.to_string(),
                case_digest: "d".to_string(),
                tier: self.one_of(&["quick", "standard"]).to_string(),
                marker: self.one_of(&["tools", "stream", "json"]).to_string(),
                outcome: self
                    .one_of(&["passed", "failed", "skipped", "error"])
                    .to_string(),
                failure_kind: self.maybe(0.6, |r| {
                    r.one_of(&["content", "harness", "overload", "dependency"])
                        .to_string()
                }),
                expected: None,
                actual: None,
                message: None,
                request: None,
                response: None,
                latency_ns: self.below(1 << 30),
                attempts: 1,
            })
            .collect()
    }

    /// What is no run's: the fleet's samples, and what happened.
    pub(super) async fn others(&mut self, location: &WarehouseLocation) {
        let store = WarehouseStore::connect(location).expect("local files");
        let first = self.moment();
        let fleet: Vec<FleetRow> = (0..300)
            .map(|_| {
                let gpu = self.maybe(0.9, |r| format!("gpu-{}", r.below(3)));
                FleetRow {
                    at: Timestamp::from_micros(
                        first.micros() + self.below(180) * MINUTE_US + self.below(MINUTE_US),
                    ),
                    host: self.one_of(&["h1", "h2"]).to_string(),
                    sku: gpu
                        .as_ref()
                        .and_then(|_| self.maybe(0.8, |_| "H100".to_string())),
                    gpu_uuid: gpu,
                    state: self
                        .one_of(&["idle", "leased", "quarantined", "foreign"])
                        .to_string(),
                    utilization: None,
                    memory_used: None,
                    deployment: None,
                    queued: None,
                    oldest_queued_s: None,
                }
            })
            .collect();
        append(&store, &fleet).await;
        let events: Vec<EventRow> = (0..40)
            .map(|_| EventRow {
                at: self.moment(),
                actor: "ada".to_string(),
                action: self
                    .one_of(&[
                        "deployment_started",
                        "deployment_failed",
                        "gpu_quarantined",
                        "job_submitted",
                        "token_made",
                    ])
                    .to_string(),
                source: None,
                job_id: None,
                task_id: None,
                run_id: None,
                model: self.maybe(0.5, |_| "alpha".to_string()),
                deployment: self.maybe(0.5, |_| "d".to_string()),
                host: self.maybe(0.5, |_| "h1".to_string()),
                reason: self.maybe(0.5, |_| "it's gone".to_string()),
                detail: "{}".to_string(),
            })
            .collect();
        append(&store, &events).await;
    }
}

fn numbered((number, row): (i64, RequestRow)) -> RequestRow {
    RequestRow {
        request_id: number,
        ..row
    }
}

/// What is stored of the requests of a stage that were answered.
fn sketch_of_ttft(requests: &[RequestRow]) -> Option<Vec<u8>> {
    let answered = requests.iter().filter(|request| request.status == "ok");
    let sketch: Sketch = answered.filter_map(|r| Some(r.ttft_ns? as f64)).collect();
    (sketch.count() > 0).then(|| sketch.to_bytes())
}

fn batch<R: TableRow>(rows: &[R]) -> arrow::array::RecordBatch {
    R::to_batch(rows).expect("rows make a batch")
}

async fn append<R: TableRow>(store: &WarehouseStore, rows: &[R]) {
    let mut table = delta::open_or_create(store, R::TABLE)
        .await
        .expect("a table");
    let mut writer = RecordBatchWriter::for_table(&table).expect("a writer");
    writer.write(batch(rows)).await.expect("rows that fit");
    writer.flush_and_commit(&mut table).await.expect("a commit");
}
