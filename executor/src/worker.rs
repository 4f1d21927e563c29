//! Workers: they lease tasks, execute them, and keep their leases meanwhile.
//!
//! [`Workers::work`] has any number of places, each of which works on one task at a time; [`rescue_always`]
//! puts tasks back whose worker was lost. Workers share nothing but the store, so that they may be on
//! any host. Must not know who handed a job in or how.
//!
//! Whatever goes wrong with a task is in one of three classes: the subject will never do (it ends), it
//! may do later (it is begun again after a while, as often as it may be), or this host or the warehouse
//! cannot do its part (it is put back, and no attempt is lost).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_ingest::WarehouseLocation;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control::{Lease, Store, StoreError, Worker};

mod attempt;
mod conclusion;
mod keeper;
mod progress;
mod rescuer;

pub use progress::TaskProgress;
pub use rescuer::rescue_always;

/// How often the store is asked where nobody says that it changed: others may have changed it.
const POLL: Duration = Duration::from_millis(250);
/// After a failure of the store it is asked again after this time, and after at most the other.
const STORE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What a variable holds that a job names for its API key.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Who is told what goes wrong with the store and the warehouse, one line each.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Where and how workers work.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Where results go.
    pub warehouse: WarehouseLocation,
    /// Where runs are written while they are measured.
    pub spool: PathBuf,
    /// How many tasks are worked on at once.
    pub places: usize,
    /// How long tasks may go on after the workers were told to end.
    pub grace: Duration,
    /// What a variable holds that a job names for its API key.
    pub variables: Variables,
    /// Who is told what goes wrong with the store and the warehouse, one line each.
    pub warn: Warn,
}

impl std::fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            warehouse,
            spool,
            places,
            grace,
            ..
        } = self;
        let mut shown = f.debug_struct("WorkerOptions");
        shown.field("warehouse", warehouse).field("spool", spool);
        shown
            .field("places", places)
            .field("grace", grace)
            .finish_non_exhaustive()
    }
}

/// How long workers go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// For as long as there is work.
    No,
    /// Nothing new is begun.
    Begun,
    /// What runs is broken off and put back.
    Over,
}

/// The workers of this process.
#[derive(Debug, Clone)]
pub struct Workers {
    store: Store,
    options: WorkerOptions,
}

impl Workers {
    /// Workers over a store.
    pub fn new(store: Store, options: WorkerOptions) -> Self {
        Self { store, options }
    }

    /// Works until `end` is done, and then until every task that was begun has ended or was put back:
    /// at the latest some seconds after [`WorkerOptions::grace`].
    pub async fn work(&self, end: impl Future<Output = ()>) {
        let (drain, draining) = watch::channel(Drain::No);
        let mut places = JoinSet::new();
        let (host, process) = (this_host(), std::process::id());
        for place in 0..self.options.places {
            let worker = Worker {
                name: format!("{host}-{process}-{place}"),
                host: host.clone(),
            };
            let place = Place {
                store: self.store.clone(),
                options: self.options.clone(),
                worker,
                draining: draining.clone(),
            };
            places.spawn(place.work());
        }
        end.await;
        drain.send_replace(Drain::Begun);
        let all_ended = async { while places.join_next().await.is_some() {} };
        let mut all_ended = std::pin::pin!(all_ended);
        tokio::select! {
            () = &mut all_ended => return,
            () = tokio::time::sleep(self.options.grace) => {}
        }
        drain.send_replace(Drain::Over);
        all_ended.await;
    }
}

/// The name of this host.
pub fn this_host() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "unknown".to_string())
}

/// One place for a task.
struct Place {
    store: Store,
    options: WorkerOptions,
    worker: Worker,
    draining: watch::Receiver<Drain>,
}

impl Place {
    async fn work(mut self) {
        let mut changes = self.store.changes();
        let mut failures = Failures::default();
        while *self.draining.borrow() == Drain::No {
            changes.borrow_and_update();
            let wait = match self.store.claim(&self.worker).await {
                Ok(Some(lease)) => {
                    failures = Failures::default();
                    self.execute(lease).await;
                    continue;
                }
                Ok(None) => {
                    failures = Failures::default();
                    POLL
                }
                Err(error) => failures.next(&error, &self.options),
            };
            tokio::select! {
                _ = changes.changed(), if wait == POLL => {}
                _ = self.draining.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn execute(&self, lease: Lease) {
        tracing::info!(task = %lease.task, attempt = lease.attempt, fence = lease.fence, "leased");
        attempt::Attempt {
            store: &self.store,
            options: &self.options,
            worker: &self.worker,
            draining: self.draining.clone(),
            lease,
        }
        .execute()
        .await;
    }
}

/// Failures of the store in a row.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: u32,
    said: Option<String>,
}

impl Failures {
    /// One more; says it, unless it was said before, and for how long to wait.
    pub(crate) fn next(&mut self, error: &StoreError, options: &WorkerOptions) -> Duration {
        self.next_of(error, &options.warn)
    }

    pub(crate) fn next_of(
        &mut self,
        error: &(dyn std::error::Error + 'static),
        warn: &Warn,
    ) -> Duration {
        let text = plimsoll_ingest::storage::chain(error);
        if self.said.as_ref() != Some(&text) {
            warn(&text);
            self.said = Some(text);
        }
        let (least, most) = STORE_BACKOFF;
        let wait = least.saturating_mul(1 << self.count.min(10)).min(most);
        self.count += 1;
        wait
    }
}
