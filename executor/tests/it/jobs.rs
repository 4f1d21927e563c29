//! Jobs that go well, and what their rows add up to.

use plimsoll_ingest::{ChunksRow, JobRow, RequestRow, RunRow, StageRow, TickRow, Verdict};

use crate::world::{World, config, serve};

#[tokio::test]
async fn a_smoke_run_is_published_and_its_rows_add_up() {
    let world = World::new();
    let address = serve(config());
    let job = world.job(address, "smoke", &["workload.output_tokens=4"]);
    let outcome = world.run(job).await.expect("a run");
    let run = &outcome.runs[0];
    assert_eq!(run.unpublished, None);
    assert_eq!(
        outcome.verdict,
        Verdict::Passed,
        "{}",
        run.run.verdict_reasons
    );

    let runs: Vec<RunRow> = world.rows().await;
    assert_eq!(
        runs,
        std::slice::from_ref(&run.run),
        "the row that was returned is the one in the table"
    );
    let stages: Vec<StageRow> = world.rows().await;
    let requests: Vec<RequestRow> = world.rows().await;
    let chunks: Vec<ChunksRow> = world.rows().await;
    assert_eq!(stages[0].phase, "probe");
    for stage in &stages {
        let own: Vec<_> = requests
            .iter()
            .filter(|row| row.stage == stage.stage)
            .collect();
        let ok = own.iter().filter(|row| row.status == "ok").count() as i64;
        assert_eq!(
            (stage.sent, stage.ok),
            (own.len() as i64, ok),
            "{}",
            stage.name
        );
        assert_eq!(stage.errors, stage.sent - stage.ok);
        let tokens: i64 = own.iter().filter_map(|row| row.output_tokens).sum();
        assert_eq!(stage.output_tokens, tokens);
    }
    let ids: Vec<_> = requests.iter().map(|row| row.request_id).collect();
    assert_eq!(
        ids,
        (0..requests.len() as i64).collect::<Vec<_>>(),
        "numbers have no gaps"
    );
    assert_eq!(chunks.len(), requests.len());
    for row in &requests {
        assert_eq!(row.status, "ok", "{row:?}");
        // The kernel may begin to stamp after the first request.
        assert!(
            row.timestamp_source == "kernel" || row.phase == "probe",
            "{row:?}"
        );
        assert_eq!(row.token_source.as_deref(), Some("usage"));
        let asked = if row.phase == "probe" { 16 } else { 4 };
        assert_eq!(row.output_tokens, Some(asked));
        let ttft = row.ttft_ns.expect("a token came");
        assert!(ttft >= 5_000_000 && ttft <= row.e2e_ns, "{row:?}");
        assert!(row.scheduled_ns <= row.sent_ns && row.sent_ns <= row.done_ns);
    }
    assert_eq!(world.rows::<JobRow>().await[0].verdict, "passed");
    assert!(
        plimsoll_ingest::spool::list(&world.spool)
            .expect("list")
            .is_empty()
    );
}

#[tokio::test]
async fn an_open_loop_sends_what_was_asked_when_it_was_due() {
    let world = World::new();
    let address = serve(config());
    let set = [
        "workload.output_tokens=2",
        "arrivals=constant",
        "rate=50",
        "duration=2s",
        "warm_up=0s",
    ];
    let job = world.job(address, "stability", &set);
    world.run(job).await.expect("a run");
    let stages: Vec<StageRow> = world.rows().await;
    let steady = stages
        .iter()
        .find(|row| row.phase == "steady")
        .expect("a steady stage");
    assert_eq!((steady.sent, steady.missed), (100, 0));
    assert_eq!(steady.offered_rps, Some(50.0));
    let requests: Vec<RequestRow> = world.rows().await;
    let mut due: Vec<_> = requests
        .iter()
        .filter(|row| row.phase == "steady")
        .map(|row| row.scheduled_ns)
        .collect();
    due.sort_unstable();
    let gaps: Vec<_> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.iter().all(|gap| (gap - 20_000_000).abs() <= 1),
        "{gaps:?}"
    );
    let ticks: Vec<TickRow> = world.rows().await;
    let offered: i64 = ticks.iter().map(|tick| tick.offered).sum();
    let completed: i64 = ticks.iter().map(|tick| tick.completed).sum();
    assert_eq!(offered, 100, "{ticks:?}");
    assert_eq!(completed, requests.len() as i64, "{ticks:?}");
}

/// Two slots and a closed loop of four: throughput is what two slots give.
#[tokio::test]
async fn a_closed_loop_levels_off_where_the_slots_are_full() {
    let world = World::new();
    let address = serve(config());
    let set = [
        "workload.output_tokens=16",
        "concurrency=[1,2,4]",
        "duration=1500ms",
        "warm_up=300ms",
    ];
    let outcome = world
        .run(world.job(address, "max_throughput", &set))
        .await
        .expect("a run");
    let stages: Vec<StageRow> = world.rows().await;
    let rates: Vec<_> = stages
        .iter()
        .filter(|row| row.phase == "steady")
        .map(|row| row.throughput_rps)
        .collect();
    let [one, two, four] = rates[..] else {
        panic!("three levels: {rates:?}")
    };
    assert!(two > 1.5 * one, "{rates:?}");
    assert!(four < 1.3 * two, "{rates:?}");
    // 5 ms and 15 gaps of 1 ms: 50 a second and slot on paper; the instrument must not exceed it.
    let on_paper = config().capacity_rps(1, 16);
    assert!(four <= 1.02 * on_paper, "{four} of {on_paper}");
    assert!(outcome.runs[0].run.floor_ttft_ns.is_some());
}

#[tokio::test]
async fn a_stop_ends_the_run_soon_and_what_was_measured_is_kept() {
    let world = World::new();
    let address = serve(config());
    let set = ["workload.output_tokens=2", "rate=20", "duration=60s"];
    let job = world.job(address, "stability", &set);
    let mut progress = world.progress.subscribe();
    let stop = async {
        let busy = |progress: &plimsoll_executor::performance::Progress| match progress {
            plimsoll_executor::performance::Progress::Live(live) => live.ok >= 5,
            _ => false,
        };
        progress.wait_for(busy).await.expect("the run lives");
        world.stop.stop("Ctrl-C");
        std::time::Instant::now()
    };
    let (outcome, stopped) = tokio::join!(world.run(job), stop);
    let took = stopped.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
    let outcome = outcome.expect("a run");
    assert_eq!(outcome.verdict, Verdict::Cancelled);
    let requests: Vec<RequestRow> = world.rows().await;
    assert!(requests.len() >= 5);
    let runs: Vec<RunRow> = world.rows().await;
    assert!(
        runs[0].verdict_reasons.contains("Ctrl-C"),
        "{}",
        runs[0].verdict_reasons
    );
}

#[tokio::test]
async fn a_pause_holds_arrivals_back_and_they_count_as_missed() {
    let world = World::new();
    let address = serve(config());
    let set = [
        "workload.output_tokens=2",
        "arrivals=constant",
        "rate=50",
        "duration=2s",
        "warm_up=0s",
    ];
    let job = world.job(address, "stability", &set);
    world.stop.pause();
    let outcome = world.run(job).await.expect("a run");
    assert_eq!(
        outcome.verdict,
        Verdict::Invalid,
        "{}",
        outcome.runs[0].run.verdict_reasons
    );
    let stages: Vec<StageRow> = world.rows().await;
    let steady = stages
        .iter()
        .find(|row| row.phase == "steady")
        .expect("a steady stage");
    assert_eq!((steady.sent, steady.missed), (0, 100));
}

#[tokio::test]
async fn two_runs_with_one_seed_ask_the_same() {
    let world = World::new();
    let address = serve(config());
    for _ in 0..2 {
        let job = world.job(address, "smoke", &["workload.prompt_tokens=8"]);
        world.run(job).await.expect("a run");
    }
    let runs: Vec<RunRow> = world.rows().await;
    assert_eq!(runs[0].comparable_key, runs[1].comparable_key);
    let asked = |run: &RunRow, requests: &[RequestRow]| {
        let mut asked: Vec<_> = requests
            .iter()
            .filter(|row| row.run_id == run.run_id)
            .map(|row| (row.request_id, row.output_tokens_asked, row.prompt_tokens))
            .collect();
        asked.sort_unstable();
        asked
    };
    let requests: Vec<RequestRow> = world.rows().await;
    assert_eq!(asked(&runs[0], &requests), asked(&runs[1], &requests));
}

/// While the slots of a closed loop open one by one, those that are open are used: nothing waits
/// for the last one to open, to be sent in one burst with a schedule long past.
#[tokio::test]
async fn slots_that_are_open_are_used_while_others_open() {
    let world = World::new();
    let mut config = config();
    config.slots = std::num::NonZeroU32::new(16).expect("sixteen");
    let address = serve(config);
    // A reply takes some 9 ms; eight slots that open evenly over a second send some 450 of them.
    let set = [
        "workload.output_tokens=5",
        "concurrency=[8]",
        "duration=1s",
        "warm_up=1s",
    ];
    let job = world.job(address, "max_throughput", &set);
    world.run(job).await.expect("a run");
    let requests: Vec<RequestRow> = world.rows().await;
    let warming: Vec<_> = requests
        .iter()
        .filter(|row| row.phase == "warm_up")
        .collect();
    assert!(warming.len() > 100, "{}", warming.len());
    let longest = requests.iter().map(|row| row.queue_ns).max();
    assert!(longest < Some(500_000_000), "{longest:?}");
}

/// A stage of an open loop that a number of requests ends is as long as its arrivals: what drains
/// after them neither stretches it nor hides that the subject fell behind.
#[tokio::test]
async fn an_open_loop_that_requests_end_sees_an_overload() {
    let world = World::new();
    let mut config = config();
    // Two slots for 200 ms each: ten requests a second.
    config.ttft = std::time::Duration::from_millis(200);
    let address = serve(config);
    let set = [
        "workload.output_tokens=1",
        "rate=5",
        "steps=3",
        "requests=40",
        "warm_up=0s",
    ];
    let job = world.job(address, "step", &set);
    let outcome = world.run(job).await.expect("a run");
    let stages: Vec<StageRow> = world.rows().await;
    let steady: Vec<_> = stages.iter().filter(|row| row.phase == "steady").collect();
    for (stage, seconds) in steady.iter().zip([8.0, 4.0, 2.0]) {
        let lasted = stage.duration_ns as f64 / 1e9;
        assert!((lasted - seconds).abs() < 0.1, "{}: {lasted} s", stage.name);
        assert_eq!(stage.sent, 40);
    }
    let run = &outcome.runs[0].run;
    assert_eq!(outcome.verdict, Verdict::Passed, "{}", run.verdict_reasons);
    assert_ne!(
        run.headline_stage,
        Some(steady[2].stage),
        "20 of 10 a second"
    );
    assert!(run.peak_goodput_rps < Some(11.0), "{run:?}");
}

/// Somebody who holds the load back measures something else: the run says so, and what waits is
/// not called slow.
#[tokio::test]
async fn a_pause_of_a_closed_loop_makes_the_run_invalid_and_nothing_slow() {
    use plimsoll_executor::performance::Progress;
    let world = World::new();
    let address = serve(config());
    let set = [
        "workload.output_tokens=4",
        "concurrency=[2]",
        "duration=3s",
        "warm_up=0s",
    ];
    let job = world.job(address, "max_throughput", &set);
    let mut progress = world.progress.subscribe();
    let stop = world.stop.clone();
    let hold = async move {
        let mut reached = async |paused: bool, after_ms: u128| {
            let seen = |progress: &Progress| match progress {
                Progress::Live(live) => {
                    live.paused == paused && live.elapsed.as_millis() > after_ms
                }
                _ => false,
            };
            progress.wait_for(seen).await.map(|_| ()).expect("it runs");
        };
        reached(false, 500).await;
        stop.pause();
        reached(true, 1500).await;
        stop.resume();
    };
    let (outcome, ()) = tokio::join!(world.run(job), hold);
    let outcome = outcome.expect("a run");
    let run = &outcome.runs[0].run;
    assert_eq!(outcome.verdict, Verdict::Invalid, "{}", run.verdict_reasons);
    assert!(run.verdict_reasons.contains("held back"), "{run:?}");
    let requests: Vec<RequestRow> = world.rows().await;
    let longest = requests.iter().map(|row| row.queue_ns).max();
    assert!(longest < Some(500_000_000), "{longest:?}");
}

/// Slots open over the time of a request where that is longer than the warm-up, so that replies
/// do not come all at once.
#[tokio::test]
async fn a_warm_up_lasts_as_long_as_a_request_did() {
    let world = World::new();
    let mut config = config();
    config.slots = std::num::NonZeroU32::new(8).expect("eight");
    config.ttft = std::time::Duration::from_millis(600);
    let address = serve(config);
    let set = [
        "workload.output_tokens=1",
        "concurrency=[1,4]",
        "duration=2s",
        "warm_up=100ms",
    ];
    let job = world.job(address, "max_throughput", &set);
    world.run(job).await.expect("a run");
    let stages: Vec<StageRow> = world.rows().await;
    let lasted: Vec<_> = stages
        .iter()
        .filter(|row| row.phase == "warm_up")
        .map(|row| row.duration_ns / 1_000_000)
        .collect();
    // The probe says how long the first level has to take, and each level what the next has to.
    assert!(
        lasted.iter().all(|ms| (600..1200).contains(ms)),
        "{lasted:?}"
    );
}
