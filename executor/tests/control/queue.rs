//! How jobs come in, and tasks go out.

use std::time::Duration;

use plimsoll_executor::control::{
    Accepted, BYPASSES, Errand, FindJobError, Held, JobState, NewJob, Priority, StoreError,
    TaskEnd, TaskState,
};
use plimsoll_ingest::Verdict;

use crate::world::{World, ada, job, light, on_both_stores, passed, task, worker};

on_both_stores!(
    a_job_goes_from_its_submission_to_its_end,
    suites_of_a_job_follow_one_another,
    a_lane_is_for_one_task_unless_they_share_it,
    a_host_makes_one_load_at_a_time,
    the_highest_class_goes_first_and_nobody_starves,
    an_idempotency_key_names_one_job,
    jobs_are_found_by_the_end_of_their_ids,
    events_are_numbered_without_gaps,
    many_workers_never_take_one_task_twice,
);

async fn a_job_goes_from_its_submission_to_its_end(world: World) {
    let id = world.submit(job("a")).await;
    let queued = world
        .store
        .job(id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(queued.state, JobState::Queued);
    assert_eq!(
        (queued.triggered_by.as_str(), queued.queued_at),
        ("ada", world.clock.now())
    );
    world.pass(Duration::from_secs(1));
    let lease = world.claim("h1").await.expect("a task");
    assert_eq!(
        (lease.job, lease.attempt, lease.errand),
        (id, 1, Errand::Run)
    );
    let leased = world.task(id, 0).await;
    assert_eq!(
        (leased.state, leased.host.as_deref()),
        (TaskState::Leased, Some("h1"))
    );
    let running = world
        .store
        .job(id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(
        (running.state, running.started_at),
        (JobState::Running, Some(world.clock.now()))
    );
    assert_eq!(
        world.store.finish(&lease, &passed()).await.expect("write"),
        Held::Yes
    );
    let done = world
        .store
        .job(id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(
        (done.state, done.verdict),
        (JobState::Done, Some(Verdict::Passed))
    );
    assert_eq!(done.finished_at, Some(world.clock.now()));
    assert_eq!(world.claim("h1").await, None);
    let unpublished = world.store.unpublished_jobs(10).await.expect("read");
    assert_eq!(
        unpublished.iter().map(|job| job.id).collect::<Vec<_>>(),
        [id]
    );
    world.store.job_is_published(id).await.expect("write");
    assert!(
        world
            .store
            .unpublished_jobs(10)
            .await
            .expect("read")
            .is_empty()
    );
}

async fn suites_of_a_job_follow_one_another(world: World) {
    let tasks = vec![task("a"), task("a"), task("b")];
    let id = world.submit(NewJob { tasks, ..job("a") }).await;
    let verdicts = [Verdict::Passed, Verdict::Blocked, Verdict::Degraded];
    for (number, verdict) in verdicts.into_iter().enumerate() {
        let lease = world.claim("h1").await.expect("the next suite");
        assert_eq!(lease.number, number);
        assert_eq!(world.claim("h2").await, None, "one suite at a time");
        let end = TaskEnd {
            verdict,
            ..passed()
        };
        assert_eq!(
            world.store.finish(&lease, &end).await.expect("write"),
            Held::Yes
        );
    }
    let done = world
        .store
        .job(id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(done.verdict, Some(Verdict::Blocked), "the worst");
}

async fn a_lane_is_for_one_task_unless_they_share_it(world: World) {
    for tasks in [
        vec![task("a")],
        vec![task("a")],
        vec![light("a")],
        vec![light("a")],
    ] {
        world.submit(NewJob { tasks, ..job("a") }).await;
    }
    let first = world.claim("h1").await.expect("the lane is free");
    assert_eq!(world.claim("h2").await, None);
    assert_eq!(
        world.store.finish(&first, &passed()).await.expect("write"),
        Held::Yes
    );
    let second = world.claim("h1").await.expect("the next");
    assert_eq!(world.claim("h2").await, None);
    assert_eq!(
        world.store.finish(&second, &passed()).await.expect("write"),
        Held::Yes
    );
    let third = world.claim("h1").await.expect("a light one");
    let fourth = world.claim("h2").await.expect("another beside it");
    let heavy = world.submit(job("a")).await;
    let late = world
        .submit(NewJob {
            tasks: vec![light("a")],
            ..job("a")
        })
        .await;
    assert_eq!(
        world.claim("h3").await,
        None,
        "the heavy one is next, and waits for both"
    );
    assert_eq!(
        world.store.finish(&third, &passed()).await.expect("write"),
        Held::Yes
    );
    assert_eq!(world.claim("h3").await, None);
    assert_eq!(
        world.store.finish(&fourth, &passed()).await.expect("write"),
        Held::Yes
    );
    let heavy_lease = world.claim("h3").await.expect("alone now");
    assert_eq!(heavy_lease.job, heavy);
    assert_eq!(
        world
            .store
            .finish(&heavy_lease, &passed())
            .await
            .expect("write"),
        Held::Yes
    );
    assert_eq!(world.claim("h3").await.expect("the last").job, late);
}

async fn a_host_makes_one_load_at_a_time(world: World) {
    world.submit(job("a")).await;
    world.submit(job("b")).await;
    let other = world
        .submit(NewJob {
            tasks: vec![light("c")],
            ..job("c")
        })
        .await;
    let first = world.claim("h1").await.expect("a load");
    assert_eq!(world.claim("h1").await.expect("no load").job, other);
    assert_eq!(world.claim("h1").await, None);
    assert!(
        world.claim("h2").await.is_some(),
        "another host has its own"
    );
    assert_eq!(
        world.store.finish(&first, &passed()).await.expect("write"),
        Held::Yes
    );
}

async fn the_highest_class_goes_first_and_nobody_starves(world: World) {
    let of = |lane: &str, priority| NewJob {
        priority,
        tasks: vec![light(lane)],
        ..job(lane)
    };
    let low = world.submit(of("low", Priority::Low)).await;
    let normal = world.submit(of("normal", Priority::Normal)).await;
    let high = world.submit(of("high", Priority::High)).await;
    for expected in [high, normal] {
        let lease = world.claim("h").await.expect("a task");
        assert_eq!(lease.job, expected);
        assert_eq!(
            world.store.finish(&lease, &passed()).await.expect("write"),
            Held::Yes
        );
    }
    // One of a higher class comes in whenever one goes out, in its own lane and in the same one.
    let same_lane = world.submit(of("crowded", Priority::Low)).await;
    let mut passed_over = 0;
    let mut ended = Vec::new();
    while ended.len() < 2 {
        world.submit(of("crowded", Priority::High)).await;
        let lease = world.claim("h").await.expect("a task");
        match lease.job == low || lease.job == same_lane {
            true => ended.push(lease.job),
            false => passed_over += 1,
        }
        assert_eq!(
            world.store.finish(&lease, &passed()).await.expect("write"),
            Held::Yes
        );
        assert!(
            passed_over <= BYPASSES + 2,
            "passed over {passed_over} times"
        );
    }
    assert_eq!(ended, [low, same_lane], "the older first");
    assert!(
        passed_over > BYPASSES / 2,
        "the class counts: {passed_over}"
    );
}

async fn an_idempotency_key_names_one_job(world: World) {
    let keyed = NewJob {
        idempotency_key: Some("k1".to_string()),
        ..job("a")
    };
    let id = world.submit(keyed.clone()).await;
    let before = world.store.accept(&keyed, &ada()).await.expect("accepted");
    assert_eq!(before, Accepted::Before(id));
    let other = NewJob {
        digest: "other".to_string(),
        ..keyed.clone()
    };
    let refused = world
        .store
        .accept(&other, &ada())
        .await
        .expect_err("another job");
    assert!(
        matches!(refused, StoreError::KeyUsed { job, .. } if job == id),
        "{refused}"
    );
    // Many at once: one job.
    let racing = NewJob {
        idempotency_key: Some("k2".to_string()),
        ..job("a")
    };
    let stores = [
        world.other().await,
        world.other().await,
        world.other().await,
    ];
    let caller = ada();
    let all = stores.iter().map(|store| store.accept(&racing, &caller));
    let mut ids = Vec::new();
    for accepted in futures::future::join_all(all).await {
        ids.push(accepted.expect("accepted").job());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

async fn jobs_are_found_by_the_end_of_their_ids(world: World) {
    let first = world.submit(job("a")).await;
    world.pass(Duration::from_secs(1));
    let second = world.submit(job("a")).await;
    let store = &world.store;
    assert_eq!(
        store.find_job(&first.to_string()).await.expect("found"),
        first
    );
    assert_eq!(
        store
            .find_job(&format!("..{}", first.short()))
            .await
            .expect("found"),
        first
    );
    assert_eq!(store.find_job("latest").await.expect("found"), second);
    let refused = store.find_job("12345").await.expect_err("too short");
    assert!(
        matches!(refused, FindJobError::NoReference { .. }),
        "{refused}"
    );
    let refused = store.find_job("%%%%%%").await.expect_err("no id");
    assert!(
        matches!(refused, FindJobError::NoReference { .. }),
        "{refused}"
    );
    let refused = store.find_job("0000000000").await.expect_err("nobody");
    assert!(matches!(refused, FindJobError::Unknown { .. }), "{refused}");
    let listed = store.jobs(None, 10).await.expect("read");
    assert_eq!(
        listed.iter().map(|job| job.id).collect::<Vec<_>>(),
        [second, first]
    );
    let done = store.jobs(Some(JobState::Done), 10).await.expect("read");
    assert!(done.is_empty());
}

async fn events_are_numbered_without_gaps(world: World) {
    let id = world.submit(job("a")).await;
    world
        .store
        .record_refusal(&ada(), "job_refused", "no suites")
        .await
        .expect("write");
    let numbers = async || {
        let events = world.store.pending_events(2).await.expect("read");
        events
            .into_iter()
            .map(|(number, event)| (number, event.action))
            .collect::<Vec<_>>()
    };
    let named = |number, action: &str| (number, action.to_string());
    let first = [named(1, "job_submitted"), named(2, "job_refused")];
    assert_eq!(numbers().await, first);
    world
        .store
        .cancel(id, &ada(), Some("why"))
        .await
        .expect("write");
    assert_eq!(numbers().await, first, "until they are forgotten");
    world.store.forget_events(1).await.expect("write");
    assert_eq!(
        numbers().await,
        [named(2, "job_refused"), named(3, "job_cancelled")]
    );
    world.store.forget_events(3).await.expect("write");
    assert!(numbers().await.is_empty());
    world.store.pause(&ada()).await.expect("write");
    assert_eq!(numbers().await, [named(4, "paused")]);
    let id_of_store = world.store.id().await.expect("read");
    assert_eq!(world.other().await.id().await.expect("read"), id_of_store);
}

async fn many_workers_never_take_one_task_twice(world: World) {
    const TASKS: usize = 60;
    for number in 0..TASKS {
        let lane = format!("lane {}", number % 20);
        world
            .submit(NewJob {
                tasks: vec![light(&lane)],
                ..job(&lane)
            })
            .await;
    }
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(world.other().await);
    }
    let work = stores.iter().enumerate().map(|(number, store)| async move {
        let me = worker(&format!("h{number}"));
        let mut fences = Vec::new();
        let mut idle = 0;
        while idle < 20 {
            match store.claim(&me).await.expect("the store answers") {
                Some(lease) => {
                    fences.push(lease.fence);
                    let held = store.finish(&lease, &passed()).await.expect("write");
                    assert_eq!(held, Held::Yes);
                    idle = 0;
                }
                None => {
                    idle += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        fences
    });
    let mut fences: Vec<i64> = futures::future::join_all(work).await.concat();
    assert_eq!(fences.len(), TASKS);
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), TASKS, "no fence twice");
    assert!(world.store.unpublished_jobs(100).await.expect("read").len() == TASKS);
}
