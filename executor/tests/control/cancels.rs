//! Jobs that somebody ends, and the brake for all of them.

use std::time::Duration;

use plimsoll_executor::control::{
    Cancelled, Errand, Held, JobState, LEASE, NewJob, TaskEnd, TaskState,
};
use plimsoll_ingest::Verdict;

use crate::world::{World, ada, job, on_both_stores, passed, task};

on_both_stores!(
    a_cancelled_job_ends_at_once_where_nothing_was_begun,
    a_cancelled_job_whose_task_runs_ends_with_it,
    a_cancelled_task_that_was_begun_before_is_settled,
    nothing_is_begun_while_everything_is_paused,
    jobs_past_their_deadline_are_found,
);

async fn a_cancelled_job_ends_at_once_where_nothing_was_begun(world: World) {
    let id = world
        .submit(NewJob {
            tasks: vec![task("a"), task("a")],
            ..job("a")
        })
        .await;
    let other = world.submit(job("a")).await;
    let cancelled = world
        .store
        .cancel(id, &ada(), Some("wrong model"))
        .await
        .expect("write");
    assert_eq!(cancelled, Cancelled::Ends);
    assert_eq!(world.states(id).await, [TaskState::Cancelled; 2]);
    let job = world
        .store
        .job(id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(
        (job.state, job.verdict),
        (JobState::Done, Some(Verdict::Cancelled))
    );
    assert_eq!(job.cancelled_by.as_deref(), Some("ada"));
    assert_eq!(
        world.claim("h1").await.expect("the lane goes on").job,
        other
    );
    let again = world.store.cancel(id, &ada(), None).await.expect("read");
    assert_eq!(again, Cancelled::HadEnded);
}

async fn a_cancelled_job_whose_task_runs_ends_with_it(world: World) {
    let id = world
        .submit(NewJob {
            tasks: vec![task("a"), task("a")],
            ..job("a")
        })
        .await;
    let lease = world.claim("h1").await.expect("a task");
    let none = world
        .store
        .wishes(&lease)
        .await
        .expect("read")
        .expect("held");
    assert_eq!(none.cancelled_by, None);
    world.store.cancel(id, &ada(), None).await.expect("write");
    assert_eq!(
        world.states(id).await,
        [TaskState::Leased, TaskState::Cancelled]
    );
    let wishes = world
        .store
        .wishes(&lease)
        .await
        .expect("read")
        .expect("held");
    assert_eq!(wishes.cancelled_by.as_deref(), Some("ada"));
    let end = TaskEnd {
        state: TaskState::Cancelled,
        verdict: Verdict::Cancelled,
        ..passed()
    };
    assert_eq!(
        world.store.finish(&lease, &end).await.expect("write"),
        Held::Yes
    );
    let job = world
        .store
        .job(id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(
        (job.state, job.verdict),
        (JobState::Done, Some(Verdict::Cancelled))
    );
}

async fn a_cancelled_task_that_was_begun_before_is_settled(world: World) {
    let id = world.submit(job("a")).await;
    let lease = world.claim("h1").await.expect("a task");
    let held = world
        .store
        .retry(&lease, Duration::from_secs(60), "no")
        .await
        .expect("write");
    assert_eq!(held, Held::Yes);
    world.store.cancel(id, &ada(), None).await.expect("write");
    assert_eq!(world.states(id).await, [TaskState::Settling]);
    assert_eq!(
        world.claim("h1").await.expect("at once").errand,
        Errand::Settle
    );
    // One whose worker is lost after the cancel is settled, too, though attempts are left.
    let other = world.submit(job("b")).await;
    world.claim("h2").await.expect("a task");
    world
        .store
        .cancel(other, &ada(), None)
        .await
        .expect("write");
    world.pass(LEASE + Duration::from_secs(1));
    assert_eq!(world.rescue().await, 1);
    assert_eq!(world.states(other).await, [TaskState::Settling]);
}

async fn nothing_is_begun_while_everything_is_paused(world: World) {
    world.submit(job("a")).await;
    let lease = world.claim("h1").await.expect("a task");
    world.submit(job("b")).await;
    world.store.pause(&ada()).await.expect("write");
    assert_eq!(
        world.store.paused_by().await.expect("read").as_deref(),
        Some("ada")
    );
    assert_eq!(world.claim("h2").await, None);
    let wishes = world
        .store
        .wishes(&lease)
        .await
        .expect("read")
        .expect("held");
    assert_eq!(wishes.paused_by.as_deref(), Some("ada"));
    world.store.resume(&ada()).await.expect("write");
    assert_eq!(world.store.paused_by().await.expect("read"), None);
    assert!(world.claim("h2").await.is_some());
}

async fn jobs_past_their_deadline_are_found(world: World) {
    let deadline = Some(Duration::from_secs(60));
    let id = world
        .submit(NewJob {
            deadline,
            ..job("a")
        })
        .await;
    world.submit(job("b")).await;
    assert!(world.store.past_deadline().await.expect("read").is_empty());
    world.pass(Duration::from_secs(61));
    assert_eq!(world.store.past_deadline().await.expect("read"), [id]);
    world
        .store
        .cancel(id, &ada(), Some("its deadline"))
        .await
        .expect("write");
    assert!(world.store.past_deadline().await.expect("read").is_empty());
}
