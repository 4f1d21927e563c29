//! Jobs that go by the store: handed in, worked on, published, their own rows included.

use std::time::Duration;

use plimsoll_executor::control::{TaskState, Worker};
use plimsoll_ingest::{EventRow, JobRow, RequestRow, RunRow, Verdict};

use crate::orchestra::{Orchestra, ada, long, short};
use crate::world::{World, config, serve};

#[tokio::test]
async fn a_job_goes_from_its_file_to_the_warehouse() {
    let orchestra = Orchestra::new().await;
    let job = orchestra.submit(&short(serve(config()))).await;
    let ended = orchestra
        .work(async {
            let ended = orchestra.ends(job).await;
            orchestra.published(job).await;
            ended
        })
        .await;
    let mut runs: Vec<RunRow> = orchestra.world.rows().await;
    runs.sort_by_key(|run| run.started_at);
    assert_eq!(ended.verdict, Some(Verdict::Passed), "{runs:?}");
    let tasks = orchestra.store.tasks(job).await.expect("read");
    assert_eq!(runs.len(), 2);
    for (run, task) in runs.iter().zip(&tasks) {
        assert_eq!(run.job_id, Some(job.to_string()));
        assert_eq!(
            (run.task_id.clone(), run.attempt),
            (Some(task.id.to_string()), 1)
        );
        assert_eq!(task.run, Some(run.run_id));
        assert_eq!(
            (run.triggered_by.as_str(), run.trigger.as_str()),
            ("ada", "api")
        );
        assert_eq!(run.model_revision.as_deref(), Some("r7"));
        assert_eq!(
            run.trace_id.as_deref(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        assert_eq!(run.labels, r#"{"team":"inference"}"#);
    }
    let jobs: Vec<JobRow> = orchestra.world.rows().await;
    assert_eq!(jobs.len(), 1, "the job's row comes from the store alone");
    assert_eq!((jobs[0].verdict.as_str(), jobs[0].runs), ("passed", 2));
    assert!(
        jobs[0]
            .change
            .as_deref()
            .expect("a change")
            .contains("PR-1")
    );
    assert!(jobs[0].spec.contains("SIM_KEY") && !jobs[0].spec.contains("sk-sim"));
    let events: Vec<EventRow> = orchestra.world.rows().await;
    let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["job_submitted"]);
    assert_eq!(events[0].job_id, Some(job.to_string()));
    assert!(orchestra.warnings.lock().expect("sound").is_empty());
}

#[tokio::test]
async fn a_job_that_is_wrong_leaves_an_event_and_nothing_else() {
    let orchestra = Orchestra::new().await;
    let refused = orchestra.try_submit("suites: [{performance: stpe}]").await;
    let refused = refused.expect_err("no subject").to_string();
    assert!(refused.contains("subject: it is missing"), "{refused}");
    assert!(refused.contains("suites[0].performance"), "{refused}");
    assert!(
        orchestra
            .store
            .jobs(None, 10)
            .await
            .expect("read")
            .is_empty()
    );
    let events = orchestra.store.pending_events(10).await.expect("read");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].1.action, "job_refused");
}

#[tokio::test]
async fn a_cancel_reaches_the_requests_and_keeps_what_was_measured() {
    let orchestra = Orchestra::new().await;
    let job = orchestra.submit(&long(serve(config()))).await;
    let took = orchestra
        .work(async {
            orchestra.measures(job).await;
            let begun = std::time::Instant::now();
            orchestra
                .store
                .cancel(job, &ada(), None)
                .await
                .expect("write");
            orchestra.ends(job).await;
            begun.elapsed()
        })
        .await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].verdict, "cancelled");
    assert!(
        runs[0].verdict_reasons.contains("ada"),
        "{}",
        runs[0].verdict_reasons
    );
    assert!(!orchestra.world.rows::<RequestRow>().await.is_empty());
    let task = &orchestra.store.tasks(job).await.expect("read")[0];
    assert_eq!(task.state, TaskState::Cancelled);
    assert_eq!(task.reason.as_deref(), Some("cancelled by ada"));
}

#[tokio::test]
async fn a_pause_stops_every_arrival_within_a_second() {
    let orchestra = Orchestra::new().await;
    let job = orchestra.submit(&long(serve(config()))).await;
    let (paused_ms, resumed_ms) = orchestra
        .work(async {
            orchestra.measures(job).await;
            let paused = wall_ms();
            orchestra.store.pause(&ada()).await.expect("write");
            let held = |text: &str| text.contains("\"paused\":true");
            orchestra.progress(job, held).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let resumed = wall_ms();
            orchestra.store.resume(&ada()).await.expect("write");
            orchestra
                .progress(job, |text| text.contains("\"paused\":false"))
                .await;
            orchestra
                .store
                .cancel(job, &ada(), None)
                .await
                .expect("write");
            orchestra.ends(job).await;
            (paused, resumed)
        })
        .await;
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    let config: serde_json::Value = serde_json::from_str(&runs[0].config).expect("JSON");
    let start_ns = config["clock"]["realtime_start_ns"]
        .as_i64()
        .expect("a start");
    let requests: Vec<RequestRow> = orchestra.world.rows().await;
    let sent_ms = requests
        .iter()
        .map(|row| (start_ns + row.sent_ns) / 1_000_000);
    let while_paused: Vec<i64> = sent_ms
        .filter(|at| (paused_ms + 1_000..resumed_ms).contains(at))
        .collect();
    assert!(
        while_paused.is_empty(),
        "paused at {paused_ms}: {while_paused:?}"
    );
}

fn wall_ms() -> i64 {
    plimsoll_ingest::Timestamp::now().millis()
}

#[tokio::test]
async fn a_worker_that_ends_puts_its_task_back_and_another_goes_on() {
    let orchestra = Orchestra::new().await;
    let job = orchestra.submit(&long(serve(config()))).await;
    orchestra.work(orchestra.measures(job)).await;
    let task = &orchestra.store.tasks(job).await.expect("read")[0];
    assert_eq!(
        (task.state, task.attempt, task.max_attempts),
        (TaskState::Queued, 1, 4)
    );
    assert_eq!(task.reason.as_deref(), Some("its worker ended"));
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    assert_eq!(runs[0].verdict, "cancelled");
    orchestra
        .work(async {
            orchestra.measures(job).await;
            orchestra
                .store
                .cancel(job, &ada(), None)
                .await
                .expect("write");
            orchestra.ends(job).await
        })
        .await;
    let mut runs: Vec<RunRow> = orchestra.world.rows().await;
    runs.sort_by_key(|run| run.attempt);
    assert_eq!(
        runs.iter().map(|run| run.attempt).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn what_will_never_do_ends_at_once_and_what_may_is_tried_again() {
    let orchestra = Orchestra::new().await;
    let address = serve(config());
    let hopeless = short(address).replace("model: sim", "model: llama");
    let hopeless = orchestra.submit(&hopeless).await;
    // Nobody listens on this port.
    let gone = orchestra.submit(
        "{subject: {model: sim, endpoint: \"http://127.0.0.1:1/v1\"}, max_attempts: 2, \
         suites: [{performance: smoke}]}",
    );
    let gone = gone.await;
    let unkeyed = short(address).replace("SIM_KEY", "OTHER_KEY");
    let unkeyed = orchestra
        .submit(&format!("{unkeyed}max_attempts: 1\n"))
        .await;
    let verdicts = orchestra
        .work(async {
            let ended = [
                orchestra.ends(hopeless).await,
                orchestra.ends(gone).await,
                orchestra.ends(unkeyed).await,
            ];
            ended.map(|job| job.verdict)
        })
        .await;
    assert_eq!(verdicts, [Some(Verdict::Error); 3]);
    let task = async |job, number: usize| {
        orchestra
            .store
            .tasks(job)
            .await
            .expect("read")
            .swap_remove(number)
    };
    let first = task(hopeless, 0).await;
    assert_eq!((first.state, first.attempt), (TaskState::Dead, 1));
    assert!(
        first.reason.as_deref().expect("why").contains("llama"),
        "{first:?}"
    );
    let second = task(gone, 0).await;
    assert_eq!((second.state, second.attempt), (TaskState::Dead, 2));
    assert!(
        second
            .reason
            .as_deref()
            .expect("why")
            .contains("cannot be reached"),
        "{second:?}"
    );
    let third = task(unkeyed, 0).await;
    assert!(
        third.reason.as_deref().expect("why").contains("variable"),
        "{third:?}"
    );
    // Each task has the run that ended it, which says why.
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    for ended in [&first, &second, &third] {
        let run = runs
            .iter()
            .find(|run| Some(run.run_id) == ended.run)
            .expect("its run");
        assert_eq!(
            (run.verdict.as_str(), run.task_id.clone()),
            ("error", Some(ended.id.to_string()))
        );
    }
}

/// A worker publishes its run and dies before it says so: the next finds the run, and makes none.
#[tokio::test]
async fn a_run_that_was_published_is_not_made_again() {
    let orchestra = Orchestra::new().await;
    let text = short(serve(config()));
    let job = orchestra.submit(&text).await;
    let lost = Worker {
        name: "lost".to_string(),
        host: "elsewhere".to_string(),
    };
    let lease = orchestra
        .store
        .claim(&lost)
        .await
        .expect("claim")
        .expect("a task");
    let spec = orchestra
        .store
        .job(job)
        .await
        .expect("read")
        .expect("there")
        .spec;
    let spec = plimsoll_executor::job_spec::JobSpec::from_json(&spec).expect("ours");
    let mut request = orchestra
        .world
        .job(serve(config()), "smoke", &["workload.output_tokens=4"]);
    request.target.revision = spec.subject.revision;
    let task = plimsoll_executor::performance::TaskRequest {
        target: request.target,
        origin: request.origin,
        suite: spec.suites[0].clone(),
        right: plimsoll_executor::performance::TaskRight {
            job_id: lease.job,
            task_id: lease.task,
            attempt: lease.attempt,
            fence: lease.fence,
        },
    };
    let World {
        warehouse,
        spool,
        progress,
        stop,
        ..
    } = &orchestra.world;
    let outcome = plimsoll_executor::performance::run_task(
        task,
        warehouse,
        spool,
        progress.clone(),
        stop.clone(),
        Box::new(|_, _| false),
    );
    let first = outcome.await.expect("a run").run;
    orchestra.work(orchestra.ends(job)).await;
    let task = &orchestra.store.tasks(job).await.expect("read")[0];
    assert_eq!(task.run, Some(first.run_id), "{task:?}");
    assert_eq!(task.attempt, 2);
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    let of_task = runs
        .iter()
        .filter(|run| run.task_id == Some(task.id.to_string()));
    assert_eq!(of_task.count(), 1);
}

/// No attempt is left: whoever settles the task says so in a run, and that is the task's end.
#[tokio::test]
async fn a_task_whose_workers_were_all_lost_ends_with_a_run_that_says_so() {
    let orchestra = Orchestra::new().await;
    let text = format!("{}max_attempts: 1\n", long(serve(config())));
    let job = orchestra.submit(&text).await;
    let lost = Worker {
        name: "lost".to_string(),
        host: "elsewhere".to_string(),
    };
    orchestra
        .store
        .claim(&lost)
        .await
        .expect("claim")
        .expect("a task");
    let ended = orchestra
        .work(async {
            orchestra.task_reaches(job, TaskState::Dead).await;
            orchestra.ends(job).await
        })
        .await;
    assert_eq!(ended.verdict, Some(Verdict::Error));
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    assert_eq!(runs.len(), 1);
    assert!(
        runs[0]
            .verdict_reasons
            .contains("worker lost on elsewhere was lost"),
        "{runs:?}"
    );
}

/// Its first attempt has failed, and the second is not yet due: whoever settles it says so in a run, and
/// that is its end.
#[tokio::test]
async fn a_job_that_waits_for_its_retry_ends_when_it_is_cancelled() {
    let orchestra = Orchestra::new().await;
    let nobody = "127.0.0.1:1".parse().expect("an address");
    let job = orchestra.submit(&long(nobody)).await;
    let took = orchestra
        .work(async {
            orchestra.task_reaches(job, TaskState::Leased).await;
            orchestra.task_reaches(job, TaskState::Queued).await;
            let begun = std::time::Instant::now();
            let cancelled = orchestra.store.cancel(job, &ada(), None).await;
            cancelled.expect("write");
            orchestra.ends(job).await;
            begun.elapsed()
        })
        .await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let task = &orchestra.store.tasks(job).await.expect("read")[0];
    assert_eq!(task.state, TaskState::Cancelled, "{task:?}");
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    let verdicts: Vec<&str> = runs.iter().map(|run| run.verdict.as_str()).collect();
    assert_eq!(verdicts, ["cancelled"]);
    assert_eq!(task.run, Some(runs[0].run_id));
}

#[tokio::test]
async fn what_is_no_model_server_ends_the_task_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        use std::io::Write as _;
        for stream in listener.incoming() {
            // The other side may have gone.
            stream
                .and_then(|mut stream| stream.write_all(b"220 mail.example ESMTP\r\n"))
                .ok();
        }
    });
    let orchestra = Orchestra::new().await;
    let job = orchestra.submit(&long(address)).await;
    let ended = orchestra.work(orchestra.ends(job)).await;
    assert_eq!(ended.verdict, Some(Verdict::Error));
    let task = &orchestra.store.tasks(job).await.expect("read")[0];
    assert_eq!((task.state, task.attempt), (TaskState::Dead, 1), "{task:?}");
    assert_eq!(orchestra.world.rows::<RunRow>().await.len(), 1);
}

/// The worker ends, and nobody cancelled the job: its only attempt is made good.
#[tokio::test]
async fn a_worker_that_ends_does_not_end_a_last_attempt() {
    let orchestra = Orchestra::new().await;
    let text = format!("{}max_attempts: 1\n", long(serve(config())));
    let job = orchestra.submit(&text).await;
    orchestra.work(orchestra.measures(job)).await;
    let task = &orchestra.store.tasks(job).await.expect("read")[0];
    assert_eq!(
        (task.state, task.attempt, task.max_attempts),
        (TaskState::Queued, 1, 2)
    );
    orchestra
        .work(async {
            orchestra.measures(job).await;
            let cancelled = orchestra.store.cancel(job, &ada(), None).await;
            cancelled.expect("write");
            orchestra.ends(job).await;
        })
        .await;
}

/// The warehouse is away when a run has been measured: it is published once the warehouse is back, and
/// not measured again.
#[tokio::test]
async fn a_run_waits_for_the_warehouse() {
    let orchestra = Orchestra::new().await;
    let text = long(serve(config())).replace("60s", "4s");
    let job = orchestra.submit(&text).await;
    let warehouse = orchestra.world.folder.path().join("warehouse");
    let aside = orchestra.world.folder.path().join("aside");
    let ended = orchestra
        .work(async {
            orchestra.measures(job).await;
            std::fs::rename(&warehouse, &aside).expect("renamed");
            std::fs::write(&warehouse, "no folder").expect("written");
            let waits = |text: &String| text.contains("waits to be published");
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while !orchestra.warnings.lock().expect("sound").iter().any(waits) {
                tick.tick().await;
            }
            std::fs::remove_file(&warehouse).expect("removed");
            std::fs::rename(&aside, &warehouse).expect("renamed");
            orchestra.ends(job).await
        })
        .await;
    assert_eq!(ended.verdict, Some(Verdict::Passed));
    let runs: Vec<RunRow> = orchestra.world.rows().await;
    let attempts: Vec<i64> = runs.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1], "it is not measured again");
}
