//! Keeps a lease while its task is worked on, and hears what others want of it.

use std::convert::Infallible;
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
    /// Does `work` and keeps the lease meanwhile; passes on to `stop` what others want. `told` says for
    /// which reason the work was told to end, if it was.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = T>,
        progress: &watch::Receiver<Progress>,
        stop: &StopSignal,
        told: &watch::Sender<Option<Told>>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let keeping = self.keep(progress, stop, told);
        tokio::select! {
            done = &mut work => done,
            never = keeping => match never {},
        }
    }

    /// Renews the lease and listens, for as long as it is waited for.
    async fn keep(
        &self,
        progress: &watch::Receiver<Progress>,
        stop: &StopSignal,
        told: &watch::Sender<Option<Told>>,
    ) -> Infallible {
        let tell = |why: Told, by: &str| {
            // What was told first stays, but for a loss: then nothing of it counts any more.
            told.send_if_modified(|now| {
                let changes = now.is_none() || (why == Told::Lost && *now != Some(Told::Lost));
                if changes {
                    *now = Some(why);
                }
                changes
            });
            stop.stop(by);
        };
        let over = async {
            let mut draining = self.draining.clone();
            if draining
                .wait_for(|drain| *drain == Drain::Over)
                .await
                .is_err()
            {
                // Where nobody can say more, this process is at its end.
                std::future::pending::<()>().await;
            }
            tell(Told::Drained, "a worker that ends");
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            never = self.renew(progress, &tell) => never,
            never = self.listen(stop, told, &tell) => never,
            never = over => never,
        }
    }

    /// Renews the lease. Past its end, by a clock that does not jump, another worker may begin the same.
    async fn renew(
        &self,
        progress: &watch::Receiver<Progress>,
        tell: &impl Fn(Told, &str),
    ) -> Infallible {
        let mut failures = Failures::default();
        let mut until = Instant::now() + LEASE;
        loop {
            let text = TaskProgress::from(&*progress.borrow()).to_json();
            let begun = Instant::now();
            let beat = self.store.beat(self.lease, Some(&text));
            match tokio::time::timeout_at(until.into(), beat).await {
                Ok(Ok(Held::Yes)) => until = begun + LEASE,
                Ok(Ok(Held::Lost)) | Err(_) => break,
                Ok(Err(error)) => {
                    failures.next(&error, self.options);
                }
            }
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(BEAT_EVERY).await;
        }
        tell(Told::Lost, "the loss of its lease");
        std::future::pending().await
    }

    /// Hears what others want.
    async fn listen(
        &self,
        stop: &StopSignal,
        told: &watch::Sender<Option<Told>>,
        tell: &impl Fn(Told, &str),
    ) -> Infallible {
        let mut failures = Failures::default();
        loop {
            match self.store.wishes(self.lease).await {
                Ok(Some(wishes)) => match (wishes.cancelled_by, wishes.paused_by) {
                    (Some(by), _) => tell(Told::Cancelled(by.clone()), &by),
                    (None, Some(_)) => stop.pause(),
                    (None, None) => stop.resume(),
                },
                Ok(None) => tell(Told::Lost, "the loss of its lease"),
                Err(error) => {
                    failures.next(&error, self.options);
                }
            }
            if told.borrow().is_some() {
                return std::future::pending().await;
            }
            tokio::time::sleep(LISTEN_EVERY).await;
        }
    }
}
