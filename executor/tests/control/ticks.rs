//! Schedules: each tick has one job, whoever looks and whatever the clock does.

use std::time::Duration;

use plimsoll_executor::control::{Cancelled, Job, JobState, NewJob};
use plimsoll_executor::schedule::{ScheduleSpec, fire_due};
use plimsoll_ingest::{Timestamp, Trigger};
use serde_json::{Value, json};

use crate::world::{World, ada, job, on_both_stores};

on_both_stores!(
    a_tick_hands_in_a_job_like_any_other,
    many_schedulers_hand_in_one_job_a_tick,
    a_clock_that_jumps_makes_no_tick_twice,
    ticks_that_were_missed_are_made_up_for,
    an_earlier_job_that_goes_on_is_heeded,
    a_schedule_is_held_back_changed_and_removed,
    jitter_holds_the_job_back_and_not_the_tick,
    a_schedule_that_is_put_back_to_a_tick_holds_nobody_up,
);

const HOUR: Duration = Duration::from_secs(3600);

fn hourly(more: &Value) -> Value {
    let mut document = json!({
        "name": "hourly", "cron": "0 * * * *",
        "job": {"subject": {"model": "m", "endpoint": "http://h/v1"},
            "suites": [{"performance": "smoke"}]},
    });
    for (key, value) in more.as_object().expect("an object") {
        document[key] = value.clone();
    }
    document
}

impl World {
    async fn schedule(&self, more: Value) -> ScheduleSpec {
        let now = self.clock.now();
        let spec = ScheduleSpec::read(&hourly(&more), now).expect("a schedule");
        let next = spec.cadence(now).expect("ticks").next_after(now);
        self.store
            .put_schedule(&spec, next, &ada())
            .await
            .expect("write");
        spec
    }

    async fn all(&self) -> Vec<Job> {
        let mut jobs = self.store.jobs(None, 1000).await.expect("read");
        jobs.reverse();
        jobs
    }

    async fn actions(&self) -> Vec<String> {
        let events = self.store.pending_events(1000).await.expect("read");
        events.into_iter().map(|(_, event)| event.action).collect()
    }
}

async fn a_tick_hands_in_a_job_like_any_other(world: World) {
    world.schedule(json!({})).await;
    fire_due(&world.store).await.expect("nothing is due");
    assert!(world.all().await.is_empty());
    world.pass(HOUR);
    fire_due(&world.store).await.expect("one tick");
    let jobs = world.all().await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (jobs[0].trigger, jobs[0].triggered_by.as_str()),
        (Trigger::Schedule, "ada")
    );
    assert_eq!(jobs[0].schedule_id.as_deref(), Some("hourly"));
    assert_eq!(jobs[0].state, JobState::Queued);
    let lease = world.claim("h1").await.expect("it may be begun");
    assert_eq!(lease.job, jobs[0].id);
    let schedule = world.store.schedules().await.expect("read").remove(0);
    assert!(schedule.last_tick_at <= Some(world.clock.now()));
    assert!(schedule.next_at > Some(world.clock.now()));
}

async fn many_schedulers_hand_in_one_job_a_tick(world: World) {
    world.schedule(json!({"overlap": "queue"})).await;
    let mut stores = Vec::new();
    for _ in 0..6 {
        stores.push(world.other().await);
    }
    for tick in 1..=5 {
        world.pass(HOUR);
        let all = stores.iter().map(fire_due);
        for fired in futures::future::join_all(all).await {
            fired.expect("the store answers");
        }
        assert_eq!(world.all().await.len(), tick);
    }
}

async fn a_clock_that_jumps_makes_no_tick_twice(world: World) {
    world.schedule(json!({"overlap": "queue"})).await;
    for _ in 0..3 {
        world.pass(HOUR);
        fire_due(&world.store).await.expect("a tick");
    }
    assert_eq!(world.all().await.len(), 3);
    // Two hours back, and forth again in steps.
    world.set_back(2 * 3_600_000_000);
    for _ in 0..4 {
        fire_due(&world.store).await.expect("nothing");
        world.pass(HOUR / 2);
    }
    assert_eq!(world.all().await.len(), 3, "they were");
    world.pass(HOUR);
    fire_due(&world.store).await.expect("the next");
    assert_eq!(world.all().await.len(), 4);
}

async fn ticks_that_were_missed_are_made_up_for(world: World) {
    world.schedule(json!({"overlap": "queue"})).await;
    world
        .schedule(json!({"name": "all", "catch_up": "all", "overlap": "queue"}))
        .await;
    world
        .schedule(json!({"name": "none", "catch_up": "none", "overlap": "queue"}))
        .await;
    // Whole hours are 30 minutes away from what the tests' clock shows at first, or less.
    world.pass(5 * HOUR + HOUR / 2);
    let now = world.clock.now().micros();
    world.clock.set(Timestamp::from_micros(
        now - now % 3_600_000_000 + 1_800_000_000,
    ));
    fire_due(&world.store).await.expect("late ticks");
    let of = |jobs: &[Job], name: &str| {
        jobs.iter()
            .filter(|job| job.schedule_id.as_deref() == Some(name))
            .count()
    };
    let jobs = world.all().await;
    assert_eq!((of(&jobs, "hourly"), of(&jobs, "none")), (1, 0));
    assert!(of(&jobs, "all") >= 5, "{}", of(&jobs, "all"));
    let missed = world
        .actions()
        .await
        .into_iter()
        .filter(|action| action == "schedule_missed");
    assert_eq!(missed.count(), 2);
}

async fn an_earlier_job_that_goes_on_is_heeded(world: World) {
    world.schedule(json!({})).await;
    world
        .schedule(json!({"name": "instead", "overlap": "cancel"}))
        .await;
    for _ in 0..2 {
        world.pass(HOUR);
        fire_due(&world.store).await.expect("a tick");
    }
    let jobs = world.all().await;
    let of = |name: &str| -> Vec<&Job> {
        jobs.iter()
            .filter(|job| job.schedule_id.as_deref() == Some(name))
            .collect()
    };
    assert_eq!(of("hourly").len(), 1, "the second is passed over");
    assert!(
        world
            .actions()
            .await
            .contains(&"schedule_skipped".to_string())
    );
    let instead = of("instead");
    assert_eq!(instead.len(), 2);
    let states: Vec<JobState> = instead.iter().map(|job| job.state).collect();
    assert!(
        states.contains(&JobState::Done) && states.contains(&JobState::Queued),
        "{states:?}"
    );
    let ended = of("hourly")[0].id;
    let cancelled = world
        .store
        .cancel(ended, &ada(), None)
        .await
        .expect("write");
    assert_eq!(cancelled, Cancelled::Ends);
    world.pass(HOUR);
    fire_due(&world.store).await.expect("a tick");
    let jobs = world.all().await;
    let hourly = jobs
        .iter()
        .filter(|job| job.schedule_id.as_deref() == Some("hourly"));
    assert_eq!(hourly.count(), 2, "it has ended");
}

async fn a_schedule_is_held_back_changed_and_removed(world: World) {
    let spec = world.schedule(json!({"overlap": "queue"})).await;
    assert!(
        world
            .store
            .pause_schedule("hourly", &ada())
            .await
            .expect("write")
    );
    world.pass(3 * HOUR);
    fire_due(&world.store).await.expect("nothing");
    assert!(world.all().await.is_empty());
    let now = world.clock.now();
    let next = spec.cadence(now).expect("ticks").next_after(now);
    assert!(
        world
            .store
            .resume_schedule("hourly", next, &ada())
            .await
            .expect("write")
    );
    fire_due(&world.store).await.expect("nothing");
    assert!(
        world.all().await.is_empty(),
        "what it missed while it was held back is no miss"
    );
    world.pass(HOUR);
    fire_due(&world.store).await.expect("a tick");
    assert_eq!(world.all().await.len(), 1);
    world.schedule(json!({"cron": "0 0 1 1 *"})).await;
    world.pass(2 * HOUR);
    fire_due(&world.store).await.expect("nothing");
    assert_eq!(world.all().await.len(), 1, "once a year");
    assert_eq!(world.store.schedules().await.expect("read").len(), 1);
    assert!(
        world
            .store
            .remove_schedule("hourly", &ada())
            .await
            .expect("write")
    );
    assert!(
        !world
            .store
            .remove_schedule("hourly", &ada())
            .await
            .expect("write")
    );
    assert!(
        !world
            .store
            .pause_schedule("hourly", &ada())
            .await
            .expect("write")
    );
    let actions = world.actions().await;
    let expected = [
        "schedule_created",
        "schedule_paused",
        "schedule_resumed",
        "job_submitted",
        "schedule_changed",
        "schedule_removed",
    ];
    assert_eq!(actions, expected);
}

async fn jitter_holds_the_job_back_and_not_the_tick(world: World) {
    world.schedule(json!({"jitter": "30m"})).await;
    world.pass(HOUR);
    fire_due(&world.store).await.expect("a tick");
    let handed_in = world.all().await;
    assert_eq!(handed_in.len(), 1);
    let task = world.task(handed_in[0].id, 0).await;
    let tick = world.store.schedules().await.expect("read")[0]
        .last_tick_at
        .expect("a tick");
    let begins = task.not_before.expect("a time of its own");
    let wait = begins.micros() - tick.micros();
    assert!((0..1_800_000_000).contains(&wait), "{wait}");
    // A job that waits for its time keeps nobody from the lane.
    let other = world.submit(NewJob { ..job("http://h") }).await;
    world.clock.set(tick);
    assert_eq!(world.claim("h1").await.map(|lease| lease.job), Some(other));
}

async fn a_schedule_that_is_put_back_to_a_tick_holds_nobody_up(world: World) {
    let before = world.clock.now();
    let spec = world.schedule(json!({"overlap": "queue"})).await;
    world.pass(HOUR);
    fire_due(&world.store).await.expect("a tick");
    let first = spec.cadence(before).expect("ticks").next_after(before);
    world
        .store
        .put_schedule(&spec, first, &ada())
        .await
        .expect("write");
    world
        .schedule(json!({"name": "other", "overlap": "queue"}))
        .await;
    world.pass(HOUR);
    fire_due(&world.store).await.expect("ticks");
    let jobs = world.all().await;
    let of = |name: &str| {
        jobs.iter()
            .filter(|job| job.schedule_id.as_deref() == Some(name))
            .count()
    };
    assert_eq!((of("hourly"), of("other")), (2, 1));
}
