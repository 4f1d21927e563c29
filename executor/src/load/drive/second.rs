//! What the loop counts and shows second by second.

use std::time::Duration;

use plimsoll_ingest::{Phase, TickRow};

use super::due::Due;
use super::{Current, Generator, SECOND_NS};
use crate::load::live::{LiveSnapshot, Progress};
use crate::load::stop::Brake;

impl Generator {
    pub(super) fn push_tick(&mut self, stage: Option<&Current>) {
        let tick = std::mem::take(&mut self.tick);
        let run_id = self.shape.run_id;
        let backlog = match stage {
            Some(Current {
                due: Due::Open(_),
                arrivals,
                started_ns,
                ..
            }) => {
                // What was due and has not ended, over what the load alone keeps in flight.
                let begun = self.next_tick_ns > *started_ns && arrivals.offered_rate().is_some();
                if begun {
                    self.in_flight.count() as i64
                } else {
                    0
                }
            }
            _ => 0,
        };
        let row = TickRow {
            run_id,
            run_key: run_id.run_key(),
            date: run_id.date(),
            at_ns: self.next_tick_ns,
            offered: tick.offered,
            completed: tick.completed,
            good: tick.good,
            errors: tick.errors,
            in_flight: self.in_flight.count() as i64,
            backlog,
            server_running: None,
            server_waiting: None,
            kv_cache_usage: None,
            prefix_cache_hit_rate: None,
            spec_accept_rate: None,
        };
        self.recorder.waiting().ticks.push(row);
        self.next_tick_ns += SECOND_NS;
    }

    pub(super) fn show(&mut self, stage: Option<&Current>, now_ns: i64) {
        let Some(stage) = stage else {
            let in_flight = self.in_flight.count();
            self.outside
                .progress
                .send_replace(Progress::Draining { in_flight });
            return;
        };
        let (completed_rps, ttft_p50, ttft_p99) = self.recent.figures(now_ns);
        let elapsed = Duration::from_nanos(u64::try_from(now_ns).unwrap_or(0));
        let warming = usize::from(stage.phase == Phase::WarmUp);
        let snapshot = LiveSnapshot {
            profile: self.outside.profile.clone(),
            stage: (self.steady_begun + warming).max(1),
            stages: self.outside.steady_stages,
            stage_name: stage.name.clone(),
            offered_rps: stage.arrivals.offered_rate().map(|rate| rate.per_second()),
            concurrency: stage.arrivals.concurrency().map(|slots| slots.get()),
            in_flight: self.in_flight.count(),
            completed_rps,
            sent: self.sent,
            ok: self.ok,
            errors: self.errors,
            missed: self.missed,
            ttft_p50,
            ttft_p99,
            elapsed,
            left: self.outside.expected.saturating_sub(elapsed),
            paused: *self.brake.borrow() == Brake::Paused,
        };
        self.outside.progress.send_replace(Progress::Live(snapshot));
    }
}
