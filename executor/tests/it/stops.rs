//! Jobs that are stopped, held back or given up at an awkward moment.

use std::time::{Duration, Instant};

use plimsoll_executor::performance::Progress;
use plimsoll_executor::simulate::SimulatorConfig;
use plimsoll_ingest::{JobRow, RequestRow, RunRow, Verdict};

use crate::world::{World, config, serve};

/// The job has its row, and the run that was to follow says why it measured nothing.
#[tokio::test]
async fn a_stop_between_two_runs_ends_the_job_as_cancelled() {
    let world = World::new();
    let address = serve(config());
    let short = ["workload.output_tokens=2"];
    let mut job = world.job(address, "smoke", &short);
    job.suites
        .extend(world.job(address, "stability", &short).suites);
    let mut progress = world.progress.subscribe();
    let stop = async {
        let written = |progress: &Progress| matches!(progress, Progress::Publishing);
        progress.wait_for(written).await.expect("the job lives");
        world.stop.stop("the user");
    };
    let (outcome, ()) = tokio::join!(world.run(job), stop);
    let outcome = outcome.expect("two runs");
    assert_eq!(outcome.verdict, Verdict::Cancelled, "{outcome:?}");
    let [_, stopped] = &outcome.runs[..] else {
        panic!("two runs: {outcome:?}")
    };
    let stopped = &stopped.run;
    assert_eq!(stopped.verdict, "cancelled");
    assert!(
        stopped.verdict_reasons.contains("the user"),
        "{}",
        stopped.verdict_reasons
    );
    assert_eq!(world.rows::<RunRow>().await.len(), 2);
    let requests: Vec<RequestRow> = world.rows().await;
    let late = |row: &&RequestRow| row.run_id == stopped.run_id && row.phase != "probe";
    assert_eq!(requests.iter().filter(late).count(), 0);
    let jobs: Vec<JobRow> = world.rows().await;
    assert_eq!((jobs[0].verdict.as_str(), jobs[0].runs), ("cancelled", 2));
}

/// Nothing is left to be held back once the last arrival was sent.
#[tokio::test]
async fn a_pause_while_requests_drain_changes_nothing() {
    let world = World::new();
    let address = serve(SimulatorConfig {
        ttft: Duration::from_secs(1),
        ..config()
    });
    let set = [
        "workload.output_tokens=2",
        "arrivals=constant",
        "rate=2",
        "duration=1s",
        "warm_up=0s",
    ];
    let job = world.job(address, "stability", &set);
    let mut progress = world.progress.subscribe();
    let hold = async {
        let draining = |progress: &Progress| matches!(progress, Progress::Draining { .. });
        progress.wait_for(draining).await.expect("the run lives");
        world.stop.pause();
    };
    let (outcome, ()) = tokio::join!(world.run(job), hold);
    let run = &outcome.expect("a run").runs[0].run;
    assert!(!run.verdict_reasons.contains("held back"), "{run:?}");
}

/// Requests that hang do not keep a run that was given up: they have a short grace, not the
/// minutes that a request may take.
#[tokio::test]
async fn an_aborted_run_does_not_wait_for_what_hangs() {
    let world = World::new();
    let mut config = config();
    config.faults = vec!["hang:every=2".parse().expect("a fault")];
    let address = serve(config);
    let set = [
        "workload.output_tokens=2",
        "rate=50",
        "duration=60s",
        "warm_up=0s",
        "request.timeout=120s",
    ];
    let mut job = world.job(address, "stability", &set);
    job.suites[0].abort = "in_flight=10".parse().expect("rules");
    let began = Instant::now();
    let outcome = world.run(job).await.expect("a run");
    assert_eq!(outcome.verdict, Verdict::Cancelled);
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    let requests: Vec<RequestRow> = world.rows().await;
    let given_up = requests.iter().filter(|row| row.status == "cancelled");
    assert!(given_up.count() >= 10, "{requests:?}");
}
