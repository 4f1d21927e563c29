//! Leases that are lost, and tasks that are put back.

use std::time::Duration;

use plimsoll_executor::control::{
    Began, Errand, Held, LEASE, NewJob, Priority, TaskEnd, TaskState,
};
use plimsoll_ingest::Verdict;

use crate::world::{World, job, on_both_stores, passed};

on_both_stores!(
    a_lost_worker_is_replaced_until_no_attempt_is_left,
    a_stale_lease_changes_nothing,
    a_lease_that_ran_out_is_renewed_while_nobody_took_it,
    a_retry_waits_and_keeps_nobody_else_from_the_lane,
    a_worker_that_drains_costs_no_attempt,
    a_clock_that_goes_back_holds_nothing_up,
    a_wait_that_was_set_by_a_clock_ahead_is_over,
    a_lane_does_not_stand_still_where_the_clock_goes_back,
);

async fn a_lost_worker_is_replaced_until_no_attempt_is_left(world: World) {
    let id = world.submit(job("a")).await;
    let waits = world.submit(job("a")).await;
    for attempt in 1..=3 {
        let lease = world.claim("h1").await.expect("a task");
        assert_eq!((lease.job, lease.attempt), (id, attempt));
        assert_eq!(world.rescue().await, 0, "its lease holds");
        world.pass(LEASE + Duration::from_secs(1));
        assert_eq!(world.rescue().await, 1);
        let reason = world.task(id, 0).await.reason;
        assert_eq!(reason.as_deref(), Some("worker h1-1 on h1 was lost"));
    }
    assert_eq!(world.states(id).await, [TaskState::Settling]);
    let settling = world.claim("h2").await.expect("settling comes first");
    assert_eq!((settling.job, settling.errand), (id, Errand::Settle));
    assert_eq!(settling.attempt, 3, "which is no attempt");
    assert_eq!(
        world.claim("h3").await.expect("the lane is free").job,
        waits
    );
    world.pass(LEASE + Duration::from_secs(1));
    let again = world.claim("h2").await.expect("a lost settler is replaced");
    assert!(again.fence > settling.fence);
    let end = TaskEnd {
        state: TaskState::Dead,
        verdict: Verdict::Error,
        ..passed()
    };
    assert_eq!(
        world.store.finish(&settling, &end).await.expect("write"),
        Held::Lost
    );
    assert_eq!(
        world.store.finish(&again, &end).await.expect("write"),
        Held::Yes
    );
    let dead = world.task(id, 0).await;
    assert_eq!(
        dead.reason.as_deref(),
        Some("worker h1-1 on h1 was lost"),
        "it is kept"
    );
}

async fn a_stale_lease_changes_nothing(world: World) {
    let id = world.submit(job("a")).await;
    let stale = world.claim("h1").await.expect("a task");
    world.pass(LEASE + Duration::from_secs(1));
    assert_eq!(world.rescue().await, 1);
    let check = async |when: &str| {
        let before = world.task(id, 0).await;
        let store = &world.store;
        let answers = [
            store.beat(&stale, None).await.expect("write"),
            store.finish(&stale, &passed()).await.expect("write"),
            store
                .retry(&stale, Duration::ZERO, "no")
                .await
                .expect("write"),
            store
                .hand_back(&stale, Began::Nothing, Duration::ZERO, "no")
                .await
                .expect("write"),
        ];
        assert_eq!(answers, [Held::Lost; 4], "{when}");
        assert_eq!(store.wishes(&stale).await.expect("read"), None, "{when}");
        assert_eq!(world.task(id, 0).await, before, "{when}");
    };
    check("queued").await;
    let second = world.claim("h2").await.expect("again");
    assert!(second.fence > stale.fence);
    check("leased to another").await;
    assert_eq!(
        world.store.finish(&second, &passed()).await.expect("write"),
        Held::Yes
    );
    check("done").await;
    assert_eq!(
        world.store.finish(&second, &passed()).await.expect("write"),
        Held::Lost
    );
}

async fn a_lease_that_ran_out_is_renewed_while_nobody_took_it(world: World) {
    world.submit(job("a")).await;
    let lease = world.claim("h1").await.expect("a task");
    world.pass(Duration::from_secs(3600));
    let seen = world.store.expired().await.expect("read");
    assert_eq!(seen.len(), 1);
    assert_eq!(
        world.store.beat(&lease, None).await.expect("write"),
        Held::Yes
    );
    assert!(
        !world.store.rescue(&seen[0]).await.expect("write"),
        "it was renewed since"
    );
    // The clock goes back: a lease lasts longer than one can, and whoever lives renews it.
    world.set_back(7_200_000_000);
    let seen = world.store.expired().await.expect("read");
    assert_eq!(seen.len(), 1);
    assert_eq!(
        world.store.beat(&lease, None).await.expect("write"),
        Held::Yes
    );
    assert!(!world.store.rescue(&seen[0]).await.expect("write"));
    assert_eq!(world.rescue().await, 0);
    assert_eq!(
        world.store.finish(&lease, &passed()).await.expect("write"),
        Held::Yes
    );
}

async fn a_retry_waits_and_keeps_nobody_else_from_the_lane(world: World) {
    let id = world.submit(job("a")).await;
    let other = world.submit(job("a")).await;
    let lease = world.claim("h1").await.expect("a task");
    let wait = Duration::from_secs(30);
    let held = world
        .store
        .retry(&lease, wait, "no connection")
        .await
        .expect("write");
    assert_eq!(held, Held::Yes);
    let between = world.claim("h1").await.expect("the other");
    assert_eq!(between.job, other);
    assert_eq!(
        world
            .store
            .finish(&between, &passed())
            .await
            .expect("write"),
        Held::Yes
    );
    assert_eq!(world.claim("h1").await, None);
    world.pass(wait);
    let again = world.claim("h1").await.expect("its wait is over");
    assert_eq!((again.job, again.attempt), (id, 2));
    assert_eq!(
        world.task(id, 0).await.reason.as_deref(),
        Some("no connection")
    );
    assert_eq!(
        world
            .store
            .retry(&again, Duration::ZERO, "no")
            .await
            .expect("write"),
        Held::Yes
    );
    let last = world.claim("h1").await.expect("the last attempt");
    assert!(last.is_last_attempt());
    assert_eq!(
        world
            .store
            .retry(&last, Duration::ZERO, "no")
            .await
            .expect("write"),
        Held::Yes
    );
    assert_eq!(
        world.states(id).await,
        [TaskState::Settling],
        "no attempt is left"
    );
}

async fn a_worker_that_drains_costs_no_attempt(world: World) {
    let id = world.submit(job("a")).await;
    let lease = world.claim("h1").await.expect("a task");
    let nothing = world
        .store
        .hand_back(&lease, Began::Nothing, Duration::ZERO, "h1 ends")
        .await
        .expect("write");
    assert_eq!(nothing, Held::Yes);
    assert_eq!(
        (
            world.task(id, 0).await.attempt,
            world.task(id, 0).await.max_attempts
        ),
        (0, 3)
    );
    let lease = world.claim("h1").await.expect("again");
    let broken_off = world
        .store
        .hand_back(&lease, Began::ARun, Duration::ZERO, "h1 ends")
        .await
        .expect("write");
    assert_eq!(broken_off, Held::Yes);
    let task = world.task(id, 0).await;
    assert_eq!(
        (task.state, task.attempt, task.max_attempts),
        (TaskState::Queued, 1, 4)
    );
    assert_eq!(
        world.claim("h2").await.expect("at once").attempt,
        2,
        "runs are told apart"
    );
}

/// Two hours forth and back: a wait that was set meanwhile is longer than any, and over.
async fn a_wait_that_was_set_by_a_clock_ahead_is_over(world: World) {
    let id = world.submit(job("a")).await;
    let lease = world.claim("h1").await.expect("a task");
    world.pass(Duration::from_secs(7_200));
    let wait = Duration::from_secs(60);
    let held = world.store.retry(&lease, wait, "no").await.expect("write");
    assert_eq!(held, Held::Yes);
    world.set_back(7_200_000_000);
    assert_eq!(world.claim("h1").await.expect("at once").job, id);
}

/// The turn of a lane goes to one that is ready, where the clock takes the readiness of another.
async fn a_lane_does_not_stand_still_where_the_clock_goes_back(world: World) {
    let urgent = NewJob {
        priority: Priority::High,
        not_before: Some(world.clock.now()),
        ..job("a")
    };
    world.submit(urgent).await;
    let ready = world.submit(job("a")).await;
    world.set_back(60_000_000);
    assert_eq!(world.claim("h1").await, None);
    assert_eq!(world.store.wake_lanes().await.expect("write"), 1);
    assert_eq!(world.claim("h1").await.expect("the other").job, ready);
    assert_eq!(world.store.wake_lanes().await.expect("write"), 0);
}

/// An hour back: what waits is begun, and whoever was lost is replaced.
async fn a_clock_that_goes_back_holds_nothing_up(world: World) {
    let lost = world.submit(job("a")).await;
    world.claim("h1").await.expect("a task");
    let waits = world.submit(job("b")).await;
    world.set_back(3_600_000_000);
    assert_eq!(world.claim("h2").await.expect("at once").job, waits);
    assert_eq!(world.rescue().await, 1);
    assert_eq!(world.claim("h3").await.expect("again").job, lost);
}
