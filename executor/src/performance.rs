//! The performance pillar: from a job to published runs.
//!
//! [`run_job`] asks the subject whether it answers, then runs each profile:
//! spool, probe, stages, seal, publish. Whatever ends a run, what was measured
//! is sealed and published with a verdict that says so. [`run_task`] does the
//! same for one task of a job that was leased, and [`end_task`] says that there
//! is no measurement of it. [`recover`] does the rest for runs whose process
//! died.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plimsoll_ingest::{JobId, RunRow, Timestamp, Trigger, Verdict, WarehouseLocation};
use tokio::runtime::LocalOptions;
use tokio::sync::{oneshot, watch};

mod columns;
mod drafts;
mod job;
mod measure;
mod place;
mod recovery;
mod seal;
mod subject;
mod task;
mod unfinished;

pub use crate::load::endpoint::{ApiKey, Endpoint, EndpointError};
pub use crate::load::live::{LiveSnapshot, Progress};
pub use crate::load::stop::{Brake, StopSignal};
pub use recovery::{RecoverError, Recovered, recover};
pub use subject::SubjectError;
pub use task::{EndsTask, TaskRequest, TaskRight, Unmeasured, end_task, run_task};

use place::Place;

use crate::load::abort::AbortRules;
use crate::load::profile::Profile;
use crate::load::stamped::Stamping;
use crate::slo::Slo;

/// A job of this process alone: one endpoint, by one or more suites in this order.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// What is measured.
    pub target: Target,
    /// Who asks for it.
    pub origin: Origin,
    /// How it is measured; `run` asks the same SLO of all.
    pub suites: Vec<PerformanceSuite>,
}

/// The server and the model that are measured.
#[derive(Debug, Clone)]
pub struct Target {
    /// The endpoint that serves the model.
    pub endpoint: Endpoint,
    /// Name of the environment variable that the endpoint's API key came from, never the key;
    /// `None` without one.
    pub api_key_env: Option<String>,
    /// The model, as requests name it.
    pub model: String,
    /// Its revision; `None` where nobody said.
    pub revision: Option<String>,
    /// Who takes the receive times.
    pub stamping: Stamping,
}

/// Who asks for a measurement, and why.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Labels of the runs.
    pub labels: BTreeMap<String, String>,
    /// Who asks.
    pub triggered_by: String,
    /// What asks.
    pub trigger: Trigger,
    /// The schedule that asks.
    pub schedule_id: Option<String>,
    /// The trace that the runs belong to.
    pub trace_id: Option<String>,
}

/// One way of measuring.
#[derive(Debug, Clone)]
pub struct PerformanceSuite {
    /// The profile, its settings resolved.
    pub profile: Profile,
    /// What is demanded.
    pub slo: Slo,
    /// When to end the run early.
    pub abort: AbortRules,
}

/// One run of a job, as it ended.
#[derive(Debug, Clone)]
pub struct RunOutcome {
    /// The run's row, as it is in the warehouse or in the spool.
    pub run: RunRow,
    /// Why it is not in the warehouse yet; its spool stays. `None` where it is.
    pub unpublished: Option<Unpublished>,
    /// Why its verdict is `error`, where the subject is the cause.
    pub failure: Option<SubjectError>,
}

/// A job, as it ended.
#[derive(Debug, Clone)]
pub struct JobOutcome {
    /// The job.
    pub job_id: JobId,
    /// The worst verdict of its runs.
    pub verdict: Verdict,
    /// Its runs, in order; fewer than its profiles where one ended the job.
    pub runs: Vec<RunOutcome>,
}

/// Why a run is not in the warehouse yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpublished {
    /// What failed.
    pub reason: String,
    /// What to do about it, where the cause lies in object storage.
    pub help: Option<&'static str>,
}

/// Why a job came to no run at all.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The subject does not answer as it should.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The warehouse cannot take the results.
    #[error("the warehouse `{warehouse}` cannot be written: {reason}")]
    Warehouse {
        /// The warehouse.
        warehouse: String,
        /// Why.
        reason: String,
        /// What to do about it, where the cause lies in object storage.
        help: Option<&'static str>,
    },
    /// The spool cannot hold them on the way.
    #[error("the spool `{path}` cannot be written: {reason}")]
    Spool {
        /// The spool's folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A profile keeps more requests in flight than this process may have connections.
    #[error(
        "{profile} keeps {concurrency} requests in flight, and this process may have {sockets} \
         connections"
    )]
    Sockets {
        /// The profile.
        profile: String,
        /// The most requests that it keeps in flight.
        concurrency: usize,
        /// The connections that there may be.
        sockets: usize,
    },
    /// This host refuses what the generator needs.
    #[error("the load generator cannot start: {reason}")]
    Generator {
        /// Why.
        reason: String,
    },
    /// It was stopped before anything was sent.
    #[error("stopped by {by} before anything was measured")]
    Stopped {
        /// Who or what stopped it.
        by: String,
    },
}

impl JobError {
    /// What to do about it; `None` where the message says it all.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Subject(error) => error.help(),
            Self::Warehouse { help, .. } => Some(
                help.unwrap_or("choose a place that this user may write: --warehouse DIR")
                    .to_string(),
            ),
            Self::Spool { .. } => {
                Some("choose a folder with room that this user may write: --spool DIR".to_string())
            }
            Self::Sockets { .. } => Some(
                "raise the limit of open files (`ulimit -n`), or lower --concurrency".to_string(),
            ),
            Self::Generator { .. } => {
                Some("see `ulimit -a`, and run fewer things here".to_string())
            }
            Self::Stopped { .. } => None,
        }
    }
}

/// A seed that no run had before, for runs that set none.
pub fn fresh_seed() -> u64 {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u64::from(u32::from_le_bytes(bytes))
}

/// Lets this process open as many files as the system allows it.
///
/// # Errors
/// The system refuses; the limit stays as it was.
pub fn raise_open_files() -> std::io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Files that a run needs beside its connections.
const OTHER_FILES: u64 = 64;

/// How many connections this process may have, once it has asked for as many files as it may.
fn sockets() -> usize {
    let files = raise_open_files().unwrap_or(OTHER_FILES + 256);
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
}

/// Measures a job and publishes its runs.
///
/// Works on a thread of its own with a runtime of its own, so that nothing
/// else of the process delays what it measures.
///
/// # Errors
/// Only where there is no run at all. A run that failed on the way is in the
/// outcome, with its verdict and what was measured.
pub async fn run_job(
    job: JobRequest,
    warehouse: &WarehouseLocation,
    spool_root: &Path,
    progress: watch::Sender<Progress>,
    stop: StopSignal,
) -> Result<JobOutcome, JobError> {
    let (warehouse, spool_root) = (warehouse.clone(), spool_root.to_path_buf());
    on_own_thread(async move || {
        let job = job::Job {
            request: job,
            queued_at: Timestamp::now(),
            place: Place {
                warehouse,
                spool_root,
                progress,
                stop,
                sockets: sockets(),
            },
        };
        job.run().await
    })
    .await
}

/// Does work on a thread of its own with a runtime of its own.
async fn on_own_thread<T: Send + 'static>(
    work: impl AsyncFnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    let generator = |reason: String| JobError::Generator { reason };
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("load".to_string())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let outcome = match runtime {
                Ok(runtime) => runtime.block_on(work()),
                Err(error) => Err(JobError::Generator {
                    reason: error.to_string(),
                }),
            };
            // Nobody waits any more where the caller was dropped.
            sender.send(outcome).ok();
        });
    let thread = thread.map_err(|error| generator(error.to_string()))?;
    let outcome = receiver.await;
    // It ends now; let go of meanwhile, it could take the process with it in glibc before 2.39.
    let ended = thread.join();
    match (outcome, ended) {
        (Ok(outcome), Ok(())) => outcome,
        _ => Err(generator("its thread ended early".to_string())),
    }
}
