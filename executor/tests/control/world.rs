//! A store with a clock that stands still, and what tests hand in.

use std::time::Duration;

use plimsoll_executor::control::{
    Accepted, Caller, Clock, ControlUrl, Lease, NewJob, NewTask, Priority, SetClock, Store, Task,
    TaskEnd, TaskState, Worker,
};
use plimsoll_ingest::{JobId, Timestamp, Trigger, Verdict};

use crate::postgres::Postgres;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: SetClock,
    pub(crate) url: ControlUrl,
    _folder: Option<tempfile::TempDir>,
}

/// Where the tests' clock begins.
const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

impl World {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = ControlUrl::file(&folder.path().join("control.db"));
        Self::at(url, Some(folder)).await
    }

    pub(crate) async fn postgres(server: &Postgres) -> Self {
        Self::at(server.database(), None).await
    }

    async fn at(url: ControlUrl, folder: Option<tempfile::TempDir>) -> Self {
        let clock = SetClock::at(BEGIN);
        let store = Store::open(&url, Clock::Set(clock.clone()))
            .await
            .expect("a store");
        Self {
            store,
            clock,
            url,
            _folder: folder,
        }
    }

    /// Another process's view of the same store, with the same clock.
    pub(crate) async fn other(&self) -> Store {
        let clock = Clock::Set(self.clock.clone());
        Store::open(&self.url, clock).await.expect("the same store")
    }

    pub(crate) fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).expect("a short time");
        self.set_back(-micros);
    }

    /// Sets the clock back by so many microseconds; forth where they are negative.
    pub(crate) fn set_back(&self, micros: i64) {
        self.clock
            .set(Timestamp::from_micros(self.clock.now().micros() - micros));
    }

    pub(crate) async fn submit(&self, job: NewJob) -> JobId {
        match self.store.accept(&job, &ada()).await.expect("accepted") {
            Accepted::New(job) => job,
            Accepted::Before(job) => panic!("{job} was there before"),
        }
    }

    pub(crate) async fn claim(&self, host: &str) -> Option<Lease> {
        self.store
            .claim(&worker(host))
            .await
            .expect("the store answers")
    }

    pub(crate) async fn task(&self, job: JobId, number: usize) -> Task {
        self.store.tasks(job).await.expect("tasks").remove(number)
    }

    pub(crate) async fn states(&self, job: JobId) -> Vec<TaskState> {
        self.store
            .tasks(job)
            .await
            .expect("tasks")
            .iter()
            .map(|task| task.state)
            .collect()
    }

    /// Looks for lost workers, as the rescuer does.
    pub(crate) async fn rescue(&self) -> usize {
        let mut rescued = 0;
        for expired in self.store.expired().await.expect("the store answers") {
            rescued += usize::from(
                self.store
                    .rescue(&expired)
                    .await
                    .expect("the store answers"),
            );
        }
        rescued
    }
}

pub(crate) fn ada() -> Caller {
    Caller {
        actor: "ada".to_string(),
        source: Some("192.0.2.1".to_string()),
    }
}

pub(crate) fn worker(host: &str) -> Worker {
    Worker {
        name: format!("{host}-1"),
        host: host.to_string(),
    }
}

/// A job of one task, which has its lane to itself.
pub(crate) fn job(lane: &str) -> NewJob {
    NewJob {
        spec: "{}".to_string(),
        digest: lane.to_string(),
        tasks: vec![task(lane)],
        priority: Priority::Normal,
        deadline: None,
        trigger: Trigger::Api,
        traceparent: None,
        idempotency_key: None,
        tick: None,
        not_before: None,
    }
}

pub(crate) fn task(lane: &str) -> NewTask {
    NewTask {
        pillar: "performance".to_string(),
        suite: "smoke".to_string(),
        lane: lane.to_string(),
        exclusive: true,
        loads: true,
        max_attempts: 3,
    }
}

/// A task that others of its lane may run beside, and that makes no load.
pub(crate) fn light(lane: &str) -> NewTask {
    NewTask {
        exclusive: false,
        loads: false,
        ..task(lane)
    }
}

pub(crate) fn passed() -> TaskEnd {
    TaskEnd {
        state: TaskState::Done,
        verdict: Verdict::Passed,
        run: None,
        reason: None,
    }
}

/// Makes each case a test of its own on SQLite, and one test of all of them on PostgreSQL.
macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(crate::world::World::sqlite().await).await;
                }
            )+
        }

        #[tokio::test]
        async fn all_on_postgres() {
            let server = crate::postgres::Postgres::start();
            $(
                eprintln!("{}", stringify!($case));
                $case(crate::world::World::postgres(&server).await).await;
            )+
        }
    };
}
pub(crate) use on_both_stores;
