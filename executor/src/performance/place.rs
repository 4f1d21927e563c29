//! Where a run works: warehouse, spool, the sockets it may have, and who may end it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use plimsoll_ingest::delta::create_missing;
use plimsoll_ingest::publish::publish;
use plimsoll_ingest::storage::{self, chain};
use plimsoll_ingest::{WarehouseLocation, WarehouseStore};
use tokio::sync::watch;

use super::measure::Stopped;
use super::subject::{self, Subject, SubjectError};
use super::{Brake, JobError, Progress, RunOutcome, StopSignal, Target, Unpublished};
use crate::load::client::Client;
use crate::load::clock::RunClock;
use crate::load::profile::Profile;

/// Where a run works.
pub(super) struct Place {
    pub(super) warehouse: WarehouseLocation,
    pub(super) spool_root: PathBuf,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) stop: StopSignal,
    /// Connections that this process may have at once.
    pub(super) sockets: usize,
}

impl Place {
    /// Looks for the server and the model.
    pub(super) async fn find_subject(
        &self,
        target: &Target,
    ) -> Result<(Vec<SocketAddr>, Subject), JobError> {
        self.progress.send_replace(Progress::Probing);
        let endpoint = &target.endpoint;
        let addresses = endpoint
            .resolve()
            .await
            .map_err(|error| SubjectError::Unreachable {
                url: endpoint.url().to_string(),
                reason: error.to_string(),
            })?;
        let clock = Rc::new(RunClock::start());
        let client = Rc::new(Client::new(
            endpoint.clone(),
            addresses.clone(),
            target.stamping,
            clock,
        ));
        let subject = tokio::select! {
            subject = subject::look_at(&client, &target.model) => subject?,
            by = self.stopped() => return Err(JobError::Stopped { by }),
        };
        Ok((addresses, subject))
    }

    /// Finds out whether the warehouse takes results, before anything is measured.
    pub(super) async fn open_warehouse(&self) -> Result<WarehouseStore, JobError> {
        let unusable = |error: &(dyn std::error::Error + 'static)| JobError::Warehouse {
            warehouse: self.warehouse.to_string(),
            reason: cause(error),
            help: storage::help(error),
        };
        let store = WarehouseStore::connect(&self.warehouse).map_err(|e| unusable(&e))?;
        create_missing(&store).await.map_err(|e| unusable(&e))?;
        Ok(store)
    }

    /// Refuses loads that are sure not to be kept up: a slot without a connection stands empty.
    pub(super) fn check_sockets(&self, profile: &Profile) -> Result<(), JobError> {
        let plan = profile.plan();
        let most = plan.iter().filter_map(|stage| stage.arrivals.concurrency());
        let most = most.map(|concurrency| concurrency.get() as usize).max();
        match most.filter(|most| *most > self.sockets) {
            None => Ok(()),
            Some(concurrency) => Err(JobError::Sockets {
                profile: profile.name().to_string(),
                concurrency,
                sockets: self.sockets,
            }),
        }
    }

    /// Publishes a run that is sealed.
    pub(super) async fn publish(&self, stopped: Stopped, store: &WarehouseStore) -> RunOutcome {
        self.progress.send_replace(Progress::Publishing);
        let Stopped {
            spool,
            mut run,
            failure,
            ends_job: _,
        } = stopped;
        let unpublished = match spool {
            Ok(spool) => match publish(spool, store).await {
                Ok(published) => {
                    run.verdict = published.verdict.to_string();
                    None
                }
                Err(error) => Some(Unpublished {
                    reason: chain(&error),
                    help: storage::help(&error),
                }),
            },
            Err(reason) => Some(Unpublished { reason, help: None }),
        };
        RunOutcome {
            run,
            unpublished,
            failure,
        }
    }

    /// Ready when the brake says stop.
    async fn stopped(&self) -> String {
        let mut brake = self.stop.watch();
        match brake
            .wait_for(|brake| matches!(brake, Brake::Stopped { .. }))
            .await
            .as_deref()
        {
            Ok(Brake::Stopped { by }) => by.clone(),
            _ => "nobody".to_string(),
        }
    }
}

/// The last of an error's causes: what a person can act on.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
