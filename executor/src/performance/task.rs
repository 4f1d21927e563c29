//! One leased task: its run, or the word that there is none.

use std::path::Path;

use plimsoll_ingest::{JobId, TaskId, Verdict, WarehouseLocation};
use tokio::sync::watch;

use super::measure::{Found, Measurement, Standing};
use super::{
    JobError, Origin, PerformanceSuite, Place, Progress, RunOutcome, StopSignal, SubjectError,
    Target, on_own_thread, sockets,
};
use crate::verdict::Ending;

/// A task that is to be executed, and by what right.
#[derive(Debug, Clone)]
pub struct TaskRequest {
    /// What is measured.
    pub target: Target,
    /// Who asked for it.
    pub origin: Origin,
    /// How it is measured.
    pub suite: PerformanceSuite,
    /// By what right.
    pub right: TaskRight,
}

/// The lease of a task, as the run's spool and rows name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskRight {
    /// The job.
    pub job_id: JobId,
    /// The task.
    pub task_id: TaskId,
    /// Which attempt it is, from 1.
    pub attempt: i64,
    /// The lease's fence.
    pub fence: i64,
}

/// Whether a run without a measurement ends its task: its verdict, and the fault of the subject that is the
/// cause.
pub type EndsTask = Box<dyn FnOnce(Verdict, Option<&SubjectError>) -> bool + Send>;

/// Why a task ends without a measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmeasured {
    /// It could not be executed.
    Failed(String),
    /// Somebody ended it.
    Cancelled(String),
}

/// Executes a task and publishes its run, on a thread of its own.
///
/// # Errors
/// Where there is no run at all.
pub async fn run_task(
    task: TaskRequest,
    warehouse: &WarehouseLocation,
    spool_root: &Path,
    progress: watch::Sender<Progress>,
    stop: StopSignal,
    ends_task: EndsTask,
) -> Result<RunOutcome, JobError> {
    let (warehouse, spool_root) = (warehouse.clone(), spool_root.to_path_buf());
    on_own_thread(async move || {
        let place = Place {
            warehouse,
            spool_root,
            progress,
            stop,
            sockets: sockets(),
        };
        place.check_sockets(&task.suite.profile)?;
        let (addresses, subject) = place.find_subject(&task.target).await?;
        let store = place.open_warehouse().await?;
        let found = Found {
            addresses: &addresses,
            subject: &subject,
        };
        let mut stopped = measurement(&task, &place).run(found).await?;
        let verdict = stopped.run.verdict.parse().unwrap_or(Verdict::Error);
        if ends_task(verdict, stopped.failure.as_ref()) {
            stopped.end_task();
        }
        Ok(place.publish(stopped, &store).await)
    })
    .await
}

/// Ends a task without a measurement: publishes a run that says why, and that carries the task.
///
/// # Errors
/// The spool or the warehouse cannot be written.
pub async fn end_task(
    task: TaskRequest,
    warehouse: &WarehouseLocation,
    spool_root: &Path,
    why: Unmeasured,
) -> Result<RunOutcome, JobError> {
    let (warehouse, spool_root) = (warehouse.clone(), spool_root.to_path_buf());
    on_own_thread(async move || {
        let place = Place {
            warehouse,
            spool_root,
            progress: watch::Sender::new(Progress::Publishing),
            stop: StopSignal::default(),
            sockets: 0,
        };
        let store = place.open_warehouse().await?;
        let ending = match why {
            Unmeasured::Failed(reason) => Ending::Failed(reason),
            Unmeasured::Cancelled(by) => Ending::Stopped(by),
        };
        let mut stopped = measurement(&task, &place).end_unmeasured(ending)?;
        stopped.end_task();
        Ok(place.publish(stopped, &store).await)
    })
    .await
}

fn measurement<'a>(task: &'a TaskRequest, place: &'a Place) -> Measurement<'a> {
    Measurement {
        place,
        target: &task.target,
        origin: &task.origin,
        suite: &task.suite,
        standing: Standing::Task(task.right),
    }
}
