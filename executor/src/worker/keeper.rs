//! Keeps a lease while its task is worked on, and hears what others want of it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::progress::TaskProgress;
use super::{Drain, Failures, WorkerOptions};
use crate::control::{Held, LEASE, Lease, Store};
use crate::performance::{Progress, StopSignal};

/// How often the lease is renewed.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often others' wishes are looked for: a pause stops every arrival within a second.
const LISTEN_EVERY: Duration = Duration::from_millis(250);

/// Why a run was told to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Somebody cancelled the job.
    Cancelled(String),
    /// Another worker may have the task by now.
    Lost,
    /// This worker ends.
    Drained,
}

pub(super) struct Keeper<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a WorkerOptions,
    pub(super) lease: &'a Lease,
    pub(super) draining: watch::Receiver<Drain>,
}

impl Keeper<'_> {
    /// Does `work` and keeps the lease meanwhile; passes on to `stop` what others want. Also says for
    /// which reason the work was told to end, if it was.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = T>,
        progress: &watch::Receiver<Progress>,
        stop: &StopSignal,
    ) -> (T, Option<Told>) {
        let mut told = None;
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(LISTEN_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let mut beaten: Option<Instant> = None;
        let mut failures = Failures::default();
        let mut draining = self.draining.clone();
        loop {
            tokio::select! {
                done = &mut work => return (done, told),
                changed = draining.changed() => {
                    // Where nobody can say more, this process is at its end.
                    if changed.is_err() {
                        draining = watch::channel(Drain::No).1;
                    }
                }
                _ = tick.tick() => {}
            }
            if *self.draining.borrow() == Drain::Over && told.is_none() {
                told = Some(Told::Drained);
                stop.stop("a worker that ends");
            }
            let beat_due = beaten.is_none_or(|at| at.elapsed() >= BEAT_EVERY);
            if beat_due && told != Some(Told::Lost) {
                let text = TaskProgress::from(&*progress.borrow()).to_json();
                let begun = Instant::now();
                match self.store.beat(self.lease, Some(&text)).await {
                    Ok(Held::Yes) => renewed = begun,
                    Ok(Held::Lost) => {
                        told = Some(Told::Lost);
                        stop.stop("the loss of its lease");
                    }
                    Err(error) => {
                        failures.next(&error, self.options);
                    }
                }
                beaten = Some(Instant::now());
            }
            // The store may be away. Past the lease's end another worker may begin the same.
            if renewed.elapsed() >= LEASE && told != Some(Told::Lost) {
                told = Some(Told::Lost);
                stop.stop("the loss of its lease");
            }
            if told.is_some() {
                continue;
            }
            match self.store.wishes(self.lease).await {
                Ok(Some(wishes)) => {
                    if let Some(by) = wishes.cancelled_by {
                        stop.stop(&by);
                        told = Some(Told::Cancelled(by));
                    } else if wishes.paused_by.is_some() {
                        stop.pause();
                    } else {
                        stop.resume();
                    }
                }
                Ok(None) => {
                    told = Some(Told::Lost);
                    stop.stop("the loss of its lease");
                }
                Err(error) => {
                    failures.next(&error, self.options);
                }
            }
        }
    }
}
