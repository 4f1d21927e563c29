//! What `serve` does about jobs: workers, the rescue of lost ones, and the books.

use std::convert::Infallible;
use std::sync::Arc;

use plimsoll_executor::bookkeeping::bring_always;
use plimsoll_executor::control::{Clock, ControlUrl, Store};
use plimsoll_executor::schedule::schedule_always;
use plimsoll_executor::worker::{Warn, WorkerOptions, Workers, rescue_always};

use crate::failure::{Failure, chain};
use crate::settings::Settings;
use crate::terminal::say;

/// Opens the control store.
///
/// # Errors
/// It cannot be used.
pub(super) async fn open(url: &ControlUrl) -> Result<Store, Failure> {
    let opened = Store::open(url, Clock::Database).await;
    opened.map_err(|error| Failure::failed(chain(&error), error.help()))
}

/// Works on tasks until it is told to end, and then until they have ended or were put back.
pub(super) async fn work(store: &Store, settings: &Settings, end: impl Future<Output = ()>) {
    let options = WorkerOptions {
        warehouse: settings.warehouse.clone(),
        spool: settings.spool.clone(),
        places: settings.serve.tasks,
        grace: settings.serve.grace,
        variables: Arc::new(|name| std::env::var(name).ok()),
        warn: warn(),
    };
    Workers::new(store.clone(), options).work(end).await;
}

/// Puts back what lost workers had, and brings to the warehouse what the store knows for good.
pub(super) async fn keep_books(store: &Store, settings: &Settings) -> Infallible {
    let warn = warn();
    let (rescued, _) = tokio::join!(
        rescue_always(store, &warn),
        bring_always(store, &settings.warehouse, &warn)
    );
    rescued
}

/// Hands in the jobs of schedules, where that is among the roles.
pub(super) async fn schedule(store: &Store, settings: &Settings) -> Infallible {
    match settings.serve.roles.scheduler {
        true => schedule_always(store, &warn()).await,
        false => std::future::pending().await,
    }
}

fn warn() -> Warn {
    Arc::new(|text| say(&format!("warning: {text}")))
}
