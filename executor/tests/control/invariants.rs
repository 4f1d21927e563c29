//! What holds of a store whatever happens in whatever order, with clocks that jump.
//!
//! `PLIMSOLL_FAULT_ROUNDS` sets how many schedules are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_executor::control::{
    Began, Held, JobState, LEASE, Lease, NewJob, NewTask, Priority, Task, TaskEnd, TaskState,
};
use plimsoll_ingest::{JobId, TaskId, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::postgres::Postgres;
use crate::world::{World, ada, job, passed, task};

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Step {
    Submit {
        lane: u8,
        tasks: Vec<(bool, bool)>,
        priority: u8,
        key: Option<u8>,
    },
    Claim {
        host: u8,
    },
    /// Of these, the lease is any that was ever given: most are stale.
    Beat {
        lease: usize,
    },
    Finish {
        lease: usize,
        verdict: u8,
    },
    Retry {
        lease: usize,
        after_s: u64,
    },
    HandBack {
        lease: usize,
        ran: bool,
    },
    Cancel {
        job: usize,
    },
    Rescue,
    Pass {
        ms: u64,
    },
    SetBack {
        ms: u64,
    },
    Pause,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    let lease = || 0..64usize;
    prop_oneof![
        4 => (0..3u8, prop::collection::vec((any::<bool>(), any::<bool>()), 1..3), 0..3u8,
              prop::option::weighted(0.2, 0..3u8))
            .prop_map(|(lane, tasks, priority, key)| Step::Submit { lane, tasks, priority, key }),
        8 => (0..3u8).prop_map(|host| Step::Claim { host }),
        2 => lease().prop_map(|lease| Step::Beat { lease }),
        4 => (lease(), 0..3u8).prop_map(|(lease, verdict)| Step::Finish { lease, verdict }),
        2 => (lease(), 0..20u64).prop_map(|(lease, after_s)| Step::Retry { lease, after_s }),
        1 => (lease(), any::<bool>()).prop_map(|(lease, ran)| Step::HandBack { lease, ran }),
        1 => (0..16usize).prop_map(|job| Step::Cancel { job }),
        2 => Just(Step::Rescue),
        3 => (1..20_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => (1..60_000u64).prop_map(|ms| Step::SetBack { ms }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
    ]
}

fn schedules() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..80)
}

/// All that was promised so far.
#[derive(Default)]
struct Seen {
    jobs: Vec<JobId>,
    keys: BTreeMap<u8, (JobId, String)>,
    leases: Vec<Lease>,
    highest_fence: i64,
    over: BTreeMap<TaskId, Task>,
    shares: BTreeMap<TaskId, (String, bool, bool)>,
}

impl Seen {
    async fn step(&mut self, world: &World, step: &Step) {
        let store = &world.store;
        let lease = |index: &usize| self.leases.get(index % self.leases.len().max(1)).cloned();
        match step {
            Step::Submit {
                lane,
                tasks,
                priority,
                key,
            } => self.submit(world, *lane, tasks, *priority, *key).await,
            Step::Claim { host } => {
                let Some(lease) = world.claim(&format!("h{host}")).await else {
                    return;
                };
                assert!(lease.fence > self.highest_fence, "fences grow: {lease:?}");
                assert!(lease.attempt <= lease.max_attempts, "{lease:?}");
                self.highest_fence = lease.fence;
                self.leases.push(lease);
            }
            Step::Beat { lease: index } => {
                let Some(lease) = lease(index) else { return };
                let expected = self.is_held(world, &lease).await;
                assert_eq!(store.beat(&lease, None).await.expect("write"), expected);
            }
            Step::Finish {
                lease: index,
                verdict,
            } => {
                let Some(lease) = lease(index) else { return };
                let verdict =
                    [Verdict::Passed, Verdict::Blocked, Verdict::Invalid][*verdict as usize];
                let expected = self.is_held(world, &lease).await;
                let end = TaskEnd {
                    verdict,
                    ..passed()
                };
                assert_eq!(store.finish(&lease, &end).await.expect("write"), expected);
            }
            Step::Retry {
                lease: index,
                after_s,
            } => {
                let Some(lease) = lease(index) else { return };
                let expected = self.is_held(world, &lease).await;
                let after = Duration::from_secs(*after_s);
                assert_eq!(
                    store.retry(&lease, after, "again").await.expect("write"),
                    expected
                );
            }
            Step::HandBack { lease: index, ran } => {
                let Some(lease) = lease(index) else { return };
                let expected = self.is_held(world, &lease).await;
                let began = if *ran { Began::ARun } else { Began::Nothing };
                assert_eq!(
                    store
                        .hand_back(&lease, began, Duration::ZERO, "drain")
                        .await
                        .expect("write"),
                    expected
                );
            }
            Step::Cancel { job } => {
                if let Some(job) = self.jobs.get(job % self.jobs.len().max(1)) {
                    store.cancel(*job, &ada(), None).await.expect("write");
                }
            }
            Step::Rescue => {
                world.rescue().await;
            }
            Step::Pass { ms } => world.pass(Duration::from_millis(*ms)),
            Step::SetBack { ms } => world.set_back((ms * 1_000) as i64),
            Step::Pause => store.pause(&ada()).await.expect("write"),
            Step::Resume => store.resume(&ada()).await.expect("write"),
        }
    }

    async fn submit(
        &mut self,
        world: &World,
        lane: u8,
        tasks: &[(bool, bool)],
        priority: u8,
        key: Option<u8>,
    ) {
        let lane = format!("lane {lane}");
        let of = |(exclusive, loads): &(bool, bool)| NewTask {
            exclusive: *exclusive,
            loads: *loads,
            max_attempts: 2,
            ..task(&lane)
        };
        let new = NewJob {
            digest: format!("{lane} {tasks:?} {priority}"),
            tasks: tasks.iter().map(of).collect(),
            priority: Priority::ALL[priority as usize],
            idempotency_key: key.map(|key| format!("key {key}")),
            ..job(&lane)
        };
        let before = key.and_then(|key| self.keys.get(&key).cloned());
        let accepted = world.store.accept(&new, &ada()).await;
        let id = match before {
            Some((id, digest)) if digest == new.digest => {
                assert_eq!(accepted.expect("known").job(), id, "one job a key");
                return;
            }
            Some(_) => {
                accepted.expect_err("the key is another's");
                return;
            }
            None => accepted.expect("accepted").job(),
        };
        assert!(!self.jobs.contains(&id));
        self.jobs.push(id);
        if let Some(key) = key {
            self.keys.insert(key, (id, new.digest));
        }
        let rows = world.store.tasks(id).await.expect("read");
        for (row, (exclusive, loads)) in rows.iter().zip(tasks) {
            self.shares
                .insert(row.id, (lane.clone(), *exclusive, *loads));
        }
    }

    /// Whether a lease is the task's last, and was neither ended nor taken away: told from the rows.
    async fn is_held(&self, world: &World, lease: &Lease) -> Held {
        let latest = self.leases.iter().filter(|other| other.task == lease.task);
        let is_latest = latest.map(|other| other.fence).max() == Some(lease.fence);
        let task = world.task(lease.job, lease.number).await;
        let held = is_latest && task.worker.is_some();
        if held { Held::Yes } else { Held::Lost }
    }

    /// Holds every row to what was promised.
    async fn check(&mut self, world: &World) {
        let mut leased: Vec<(String, bool)> = Vec::new();
        let mut loads = BTreeSet::new();
        for job in &self.jobs {
            let row = world
                .store
                .job(*job)
                .await
                .expect("read")
                .expect("an accepted job is there");
            let tasks = world.store.tasks(*job).await.expect("read");
            for task in &tasks {
                assert!(task.attempt <= task.max_attempts, "{task:?}");
                if let Some(before) = self.over.get(&task.id) {
                    assert_eq!(before, task, "what is over stays as it is");
                }
                if task.state.is_over() {
                    assert!(task.verdict.is_some() && task.worker.is_none(), "{task:?}");
                    self.over.insert(task.id, task.clone());
                }
                if task.state == TaskState::Leased {
                    let (lane, exclusive, load) = self.shares[&task.id].clone();
                    leased.push((lane, exclusive));
                    let host = task.host.clone();
                    assert!(
                        !load || loads.insert(host),
                        "a host with two loads: {task:?}"
                    );
                }
            }
            let active = tasks.iter().filter(|task| !task.state.is_over());
            let active = active
                .filter(|task| task.state != TaskState::Waiting)
                .count();
            let all_over = tasks.iter().all(|task| task.state.is_over());
            assert_eq!(
                active,
                usize::from(!all_over),
                "one suite at a time: {tasks:?}"
            );
            assert_eq!(row.state == JobState::Done, all_over, "{row:?}");
            let worst = Verdict::worst(tasks.iter().filter_map(|task| task.verdict));
            assert_eq!(row.verdict, worst.filter(|_| all_over));
        }
        for (lane, exclusive) in &leased {
            let beside = leased.iter().filter(|(other, _)| other == lane).count();
            assert!(!exclusive || beside == 1, "{lane} is for one: {leased:?}");
        }
    }

    /// Lets workers do what is left: all of it ends.
    async fn drain(&mut self, world: &World) {
        world.store.resume(&ada()).await.expect("write");
        for _ in 0..1_000 {
            world.pass(LEASE + Duration::from_secs(20));
            world.rescue().await;
            while let Some(lease) = world.claim("drain").await {
                assert!(lease.fence > self.highest_fence);
                self.highest_fence = lease.fence;
                assert_eq!(
                    world.store.finish(&lease, &passed()).await.expect("write"),
                    Held::Yes
                );
            }
            if world.store.depths().await.expect("read").is_empty() {
                return;
            }
        }
        panic!("something is stuck");
    }
}

async fn hold(world: World, schedule: &[Step]) {
    let mut seen = Seen::default();
    for step in schedule {
        seen.step(&world, step).await;
        seen.check(&world).await;
    }
    seen.drain(&world).await;
    seen.check(&world).await;
    for job in &seen.jobs {
        let row = world
            .store
            .job(*job)
            .await
            .expect("read")
            .expect("it is there");
        assert_eq!(row.state, JobState::Done, "{row:?}");
    }
}

fn rounds(usual: u32) -> u32 {
    let asked = std::env::var("PLIMSOLL_FAULT_ROUNDS").ok();
    asked
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(usual)
}

fn try_schedules(usual: u32, world: impl Fn(&tokio::runtime::Runtime) -> World) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build();
    let runtime = runtime.expect("runtime");
    let config = Config {
        cases: rounds(usual),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let held = runner.run(&schedules(), |schedule| {
        let world = world(&runtime);
        let held = runtime
            .block_on(async { tokio::spawn(async move { hold(world, &schedule).await }).await });
        match held {
            Ok(()) => Ok(()),
            Err(failed) => {
                let panic = failed.into_panic();
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                Err(TestCaseError::fail(text.unwrap_or_default()))
            }
        }
    });
    held.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn they_hold_on_sqlite() {
    try_schedules(48, |runtime| runtime.block_on(World::sqlite()));
}

#[test]
fn they_hold_on_postgres() {
    let server = Postgres::start();
    try_schedules(16, |runtime| runtime.block_on(World::postgres(&server)));
}
