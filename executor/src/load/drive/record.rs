//! Stages as the spool keeps them, and the probe, which is one.

use plimsoll_ingest::{Phase, StageRow};

use super::{Current, Generator};
use crate::load::rows::Measured;
use crate::load::stop::Brake;
use crate::load::workload::PromptSource;

/// A stage as it went, beside its requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StageRun {
    pub(super) stage: i64,
    pub(super) started_ns: i64,
    pub(super) duration_ns: i64,
    pub(super) missed: i64,
}

impl Generator {
    /// Sends one request by itself, as a stage of its own, and waits for it.
    pub(crate) async fn probe(&mut self, prompts: &PromptSource, output_tokens: u32) -> Measured {
        let started_ns = self.clock.now_ns();
        let stage = self.next_stage;
        self.next_stage += 1;
        let request_id = self.take_request_id();
        let mut prompt = prompts.next(request_id);
        prompt.output_tokens_asked = output_tokens;
        let prepared = self.prepare(request_id, prompt);
        self.dispatch(stage, Phase::Probe, started_ns, prepared);
        let mut brake = self.brake.clone();
        let stopped = brake.wait_for(|brake| matches!(brake, Brake::Stopped { .. }));
        let mut stopped = std::pin::pin!(stopped);
        let mut stopping = false;
        let measured = loop {
            let until_ns = self.in_flight.next_deadline_ns().unwrap_or(i64::MAX);
            tokio::select! {
                biased;
                ended = self.ended.recv() => {
                    let measured = ended.expect("the loop holds a sender").measured;
                    self.count_end(&measured);
                    break measured;
                }
                _ = &mut stopped, if !stopping => {
                    stopping = true;
                    self.in_flight.cancel();
                }
                () = self.timer.sleep_until(self.clock.instant(until_ns)) => {
                    self.in_flight.expire(self.clock.now_ns());
                }
            }
        };
        self.recorder.waiting().ended.push(measured.clone());
        let run = StageRun {
            stage,
            started_ns,
            duration_ns: self.clock.now_ns() - started_ns,
            missed: 0,
        };
        self.record_stage(&run, "probe", Phase::Probe, None, Some(1));
        measured
    }

    pub(super) fn record(&mut self, stage: &Current, duration_ns: i64) {
        let run = StageRun {
            stage: stage.number,
            started_ns: stage.started_ns,
            duration_ns,
            missed: stage.missed,
        };
        let offered = stage.arrivals.offered_rate().map(|rate| rate.per_second());
        let concurrency = stage
            .arrivals
            .concurrency()
            .map(|slots| i64::from(slots.get()));
        self.record_stage(&run, &stage.name, stage.phase, offered, concurrency);
    }

    /// Spools how a stage stands; the last row of a stage counts.
    fn record_stage(
        &mut self,
        run: &StageRun,
        name: &str,
        phase: Phase,
        offered_rps: Option<f64>,
        concurrency: Option<i64>,
    ) {
        let row = StageRow {
            name: name.to_string(),
            phase: phase.to_string(),
            offered_rps,
            concurrency,
            started_ns: run.started_ns,
            duration_ns: run.duration_ns,
            missed: run.missed,
            ..StageRow::blank(self.shape.run_id, run.stage)
        };
        self.recorder.waiting().stages.push(row);
    }
}
