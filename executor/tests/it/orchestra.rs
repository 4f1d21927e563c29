//! A world with a control store, workers, and jobs to hand in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plimsoll_executor::bookkeeping::bring_always;
use plimsoll_executor::control::{Caller, Clock, ControlUrl, Job, JobState, Store, TaskState};
use plimsoll_executor::dispatch::{Submission, SubmitError, submit};
use plimsoll_executor::job_spec::{Format, parse_document};
use plimsoll_executor::worker::{WorkerOptions, Workers, rescue_always};
use plimsoll_ingest::{JobId, Trigger};
use tokio::sync::oneshot;

use crate::world::World;

/// Long enough for anything here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Orchestra {
    pub(crate) world: World,
    pub(crate) store: Store,
    pub(crate) warnings: Arc<Mutex<Vec<String>>>,
}

impl Orchestra {
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let url = ControlUrl::file(&world.folder.path().join("control.db"));
        let store = Store::open(&url, Clock::Database).await.expect("a store");
        Self {
            world,
            store,
            warnings: Arc::default(),
        }
    }

    pub(crate) fn options(&self) -> WorkerOptions {
        let warnings = Arc::clone(&self.warnings);
        WorkerOptions {
            warehouse: self.world.warehouse.clone(),
            spool: self.world.spool.clone(),
            places: 2,
            grace: Duration::from_secs(1),
            variables: Arc::new(|name| (name == "SIM_KEY").then(|| "sk-sim".to_string())),
            warn: Arc::new(move |text| warnings.lock().expect("sound").push(text.to_string())),
        }
    }

    pub(crate) async fn submit(&self, text: &str) -> JobId {
        self.try_submit(text).await.expect("accepted")
    }

    pub(crate) async fn try_submit(&self, text: &str) -> Result<JobId, SubmitError> {
        let submission = Submission {
            document: parse_document(text, Format::Yaml).expect("YAML"),
            caller: ada(),
            trigger: Trigger::Api,
            idempotency_key: None,
            traceparent: Some(TRACE.to_string()),
        };
        Ok(submit(&self.store, submission).await?.job())
    }

    /// Works until `until` is done, as a service does.
    pub(crate) async fn work<T>(&self, until: impl Future<Output = T>) -> T {
        let workers = Workers::new(self.store.clone(), self.options());
        let warn = self.options().warn;
        let (end, ended) = oneshot::channel::<()>();
        let working = workers.work(async {
            ended.await.ok();
        });
        let done = async {
            let done = tokio::time::timeout(PATIENCE, until)
                .await
                .expect("in time");
            end.send(()).ok();
            done
        };
        let others = async {
            tokio::join!(
                rescue_always(&self.store, &warn),
                bring_always(&self.store, &self.world.warehouse, &warn)
            )
        };
        tokio::select! {
            (done, ()) = async { tokio::join!(done, working) } => done,
            _ = others => unreachable!("they never end"),
        }
    }

    pub(crate) async fn ends(&self, job: JobId) -> Job {
        self.reaches(job, |job| job.state == JobState::Done).await
    }

    pub(crate) async fn reaches(&self, job: JobId, there: impl Fn(&Job) -> bool) -> Job {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            let found = self
                .store
                .job(job)
                .await
                .expect("read")
                .expect("it is there");
            if there(&found) {
                return found;
            }
            tick.tick().await;
        }
    }

    pub(crate) async fn task_reaches(&self, job: JobId, state: TaskState) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while self.store.tasks(job).await.expect("read")[0].state != state {
            tick.tick().await;
        }
    }

    /// Until load is on.
    pub(crate) async fn measures(&self, job: JobId) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            let tasks = self.store.tasks(job).await.expect("read");
            let progress = tasks[0].progress.as_deref().unwrap_or_default();
            if progress.contains("\"measuring\"") {
                return;
            }
            tick.tick().await;
        }
    }

    pub(crate) async fn published(&self, job: JobId) {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            let waiting = self.store.unpublished_jobs(10).await.expect("read");
            let events = self.store.pending_events(10).await.expect("read");
            if events.is_empty() && waiting.iter().all(|waits| waits.id != job) {
                return;
            }
            tick.tick().await;
        }
    }
}

pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) fn ada() -> Caller {
    Caller {
        actor: "ada".to_string(),
        source: None,
    }
}

pub(crate) fn short(address: SocketAddr) -> String {
    format!(
        "
subject: {{model: sim, revision: r7, endpoint: \"http://{address}/v1\", api_key_env: SIM_KEY}}
change: {{ref: PR-1, kind: engine-flag}}
suites:
  - performance: smoke
    set: {{workload.output_tokens: 4}}
  - performance: max_throughput
    set: {{concurrency: [1, 2], duration: 500ms, warm_up: 0s, workload.output_tokens: 2}}
labels: {{team: inference}}
"
    )
}

pub(crate) fn long(address: SocketAddr) -> String {
    format!(
        "
subject: {{model: sim, endpoint: \"http://{address}/v1\"}}
suites:
  - performance: stability
    set: {{rate: 20, duration: 60s, warm_up: 0s, workload.output_tokens: 2}}
"
    )
}

impl Orchestra {
    pub(crate) async fn progress(&self, job: JobId, there: impl Fn(&str) -> bool) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            let tasks = self.store.tasks(job).await.expect("read");
            if there(tasks[0].progress.as_deref().unwrap_or_default()) {
                return;
            }
            tick.tick().await;
        }
    }
}
