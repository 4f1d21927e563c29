//! One job: the subject first, then its profiles, one run each.

use std::path::PathBuf;
use std::rc::Rc;

use plimsoll_ingest::delta::create_missing;
use plimsoll_ingest::publish::publish;
use plimsoll_ingest::spool::Spool;
use plimsoll_ingest::storage::{self, chain};
use plimsoll_ingest::{JobId, RunRow, Timestamp, Verdict, WarehouseLocation, WarehouseStore};
use tokio::sync::watch;

use super::measure::{Measurement, Stopped};
use super::subject::{self, SubjectError};
use super::{
    Brake, JobError, JobOutcome, JobRequest, Progress, RunOutcome, StopSignal, Unpublished,
};
use crate::load::client::Client;
use crate::load::clock::RunClock;

/// A job and where it works.
pub(super) struct Job {
    pub(super) request: JobRequest,
    pub(super) warehouse: WarehouseLocation,
    pub(super) spool_root: PathBuf,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) stop: StopSignal,
    pub(super) queued_at: Timestamp,
    /// Connections that this process may have at once.
    pub(super) sockets: usize,
}

impl Job {
    pub(super) async fn run(self) -> Result<JobOutcome, JobError> {
        self.check_sockets()?;
        let job_id = JobId::new(self.queued_at);
        self.progress.send_replace(Progress::Probing);
        let endpoint = &self.request.endpoint;
        let addresses = endpoint
            .resolve()
            .await
            .map_err(|error| SubjectError::Unreachable {
                url: endpoint.url().to_string(),
                reason: error.to_string(),
            })?;
        let stamping = self.request.stamping;
        let clock = Rc::new(RunClock::start());
        let client = Rc::new(Client::new(
            endpoint.clone(),
            addresses.clone(),
            stamping,
            clock,
        ));
        let subject = tokio::select! {
            subject = subject::look_at(&client, &self.request.model) => subject?,
            by = stopped(&self.stop) => return Err(JobError::Stopped { by }),
        };
        let unusable = |error: &(dyn std::error::Error + 'static)| JobError::Warehouse {
            warehouse: self.warehouse.to_string(),
            reason: cause(error),
            help: storage::help(error),
        };
        let store = WarehouseStore::connect(&self.warehouse).map_err(|e| unusable(&e))?;
        create_missing(&store).await.map_err(|e| unusable(&e))?;
        let mut runs: Vec<RunOutcome> = Vec::new();
        let last = self.request.profiles.len().saturating_sub(1);
        for (index, profile) in self.request.profiles.iter().enumerate() {
            let so_far = runs
                .iter()
                .filter_map(|run| run.run.verdict.parse().ok())
                .collect();
            let measurement = Measurement {
                job: &self,
                job_id,
                job_started_at: runs.first().map(|first| first.run.started_at),
                profile,
                addresses: &addresses,
                subject: &subject,
                earlier: so_far,
                is_last: index == last,
            };
            let Stopped {
                spool,
                run,
                failure,
                ends_job,
            } = measurement.run().await?;
            self.progress.send_replace(Progress::Publishing);
            runs.push(publish_run(spool, &store, run, failure).await);
            if ends_job {
                break;
            }
        }
        let verdicts = runs.iter().filter_map(|run| run.run.verdict.parse().ok());
        let verdict = Verdict::worst(verdicts).unwrap_or(Verdict::Error);
        Ok(JobOutcome {
            job_id,
            verdict,
            runs,
        })
    }

    /// Refuses loads that are sure not to be kept up: a slot without a connection stands empty.
    fn check_sockets(&self) -> Result<(), JobError> {
        for profile in &self.request.profiles {
            let plan = profile.plan();
            let most = plan.iter().filter_map(|stage| stage.arrivals.concurrency());
            let most = most.map(|concurrency| concurrency.get() as usize).max();
            if let Some(concurrency) = most.filter(|most| *most > self.sockets) {
                return Err(JobError::Sockets {
                    profile: profile.name().to_string(),
                    concurrency,
                    sockets: self.sockets,
                });
            }
        }
        Ok(())
    }
}

async fn publish_run(
    spool: Result<Spool, String>,
    store: &WarehouseStore,
    mut run: RunRow,
    failure: Option<SubjectError>,
) -> RunOutcome {
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
async fn stopped(stop: &StopSignal) -> String {
    let mut brake = stop.watch();
    match brake
        .wait_for(|brake| matches!(brake, Brake::Stopped { .. }))
        .await
        .as_deref()
    {
        Ok(Brake::Stopped { by }) => by.clone(),
        _ => "nobody".to_string(),
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
