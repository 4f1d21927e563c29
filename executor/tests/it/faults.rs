//! Subjects that fail, and generators that are killed.

use std::net::SocketAddr;

use plimsoll_executor::performance::{Endpoint, JobError, SubjectError, recover};
use plimsoll_executor::simulate::AccessKey;
use plimsoll_ingest::{RequestRow, RunRow, StageRow, Verdict};

use crate::world::{World, config, serve};

fn subject_error(error: JobError) -> SubjectError {
    match error {
        JobError::Subject(error) => error,
        other => panic!("a fault of the subject: {other}"),
    }
}

#[tokio::test]
async fn an_unreachable_host_is_said_and_nothing_is_made() {
    let world = World::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = closed.local_addr().expect("address");
    drop(closed);
    let error = subject_error(
        world
            .run(world.job(address, "smoke", &[]))
            .await
            .expect_err("down"),
    );
    assert!(matches!(error, SubjectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!world.warehouse.local_folder().expect("local").exists());
}

#[tokio::test]
async fn a_wrong_key_is_said_without_showing_it() {
    let world = World::new();
    let mut config = config();
    config.api_key = Some(AccessKey::new("right-key-123"));
    let address = serve(config);
    let mut job = world.job(address, "smoke", &[]);
    let key = plimsoll_executor::performance::ApiKey::new("wrong-key-456").expect("a key");
    job.target.endpoint =
        Endpoint::new(&format!("http://{address}/v1"), Some(&key)).expect("a URL");
    let outcome = world.run(job).await.expect("a run that could not run");
    assert_eq!(outcome.verdict, Verdict::Error);
    let error = outcome.runs[0].failure.as_ref();
    let error = error.expect("the subject is the cause");
    assert!(error.to_string().contains("401"), "{error}");
    assert!(
        error.to_string().contains("the API key is refused"),
        "{error}"
    );
    let said = format!("{error} {error:?}");
    assert!(!said.contains("wrong-key"), "{said}");
}

#[tokio::test]
async fn a_wrong_model_names_those_that_are_served() {
    let world = World::new();
    let address = serve(config());
    let mut job = world.job(address, "smoke", &[]);
    job.target.model = "llama".to_string();
    let outcome = world.run(job).await.expect("a run that could not run");
    assert_eq!(outcome.verdict, Verdict::Error);
    let failure = outcome.runs[0]
        .failure
        .as_ref()
        .expect("the subject is the cause");
    assert!(
        matches!(failure, SubjectError::NoSuchModel { .. }),
        "{failure}"
    );
    assert_eq!(failure.help().as_deref(), Some("it serves: sim"));
    let requests: Vec<RequestRow> = world.rows().await;
    assert_eq!(requests.len(), 1, "the probe that was sent is a row");
    assert_eq!(requests[0].http_status, Some(404));
}

#[tokio::test]
async fn a_base_without_its_version_gets_the_hint() {
    let world = World::new();
    let address = serve(config());
    let mut job = world.job(address, "smoke", &[]);
    job.target.endpoint = Endpoint::new(&format!("http://{address}"), None).expect("a URL");
    let outcome = world.run(job).await.expect("a run that could not run");
    let failure = outcome.runs[0]
        .failure
        .as_ref()
        .expect("the subject is the cause");
    let help = failure.help().expect("help");
    assert!(
        help.contains(&format!("try --url http://{address}/v1")),
        "{failure}: {help}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_the_timeout() {
    let world = World::new();
    let mut config = config();
    config.faults = vec!["hang".parse().expect("a fault")];
    let address = serve(config);
    let job = world.job(address, "smoke", &["request.timeout=1s"]);
    let outcome = world.run(job).await.expect("a run that could not run");
    let failure = outcome.runs[0]
        .failure
        .as_ref()
        .expect("the subject is the cause");
    assert!(matches!(failure, SubjectError::Hangs { .. }), "{failure}");
    let requests: Vec<RequestRow> = world.rows().await;
    assert_eq!(requests[0].status, "timeout");
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_leaves_rows_by_kind() {
    let world = World::new();
    let mut config = config();
    config.faults = vec!["crash:after=10".parse().expect("a fault")];
    let address = serve(config);
    let set = [
        "workload.output_tokens=2",
        "arrivals=constant",
        "rate=20",
        "duration=2s",
        "warm_up=0s",
    ];
    let outcome = world
        .run(world.job(address, "stability", &set))
        .await
        .expect("a run");
    assert!(
        outcome.verdict > Verdict::Degraded,
        "{}",
        outcome.runs[0].run.verdict_reasons
    );
    let requests: Vec<RequestRow> = world.rows().await;
    let failed = requests
        .iter()
        .filter(|row| row.status == "connection")
        .count();
    assert!(failed >= 20, "{failed} of {}", requests.len());
    let stages: Vec<StageRow> = world.rows().await;
    let steady = stages
        .iter()
        .find(|row| row.phase == "steady")
        .expect("a steady stage");
    assert_eq!(steady.sent, steady.ok + steady.errors);
    assert_eq!(steady.sent, 40);
}

#[tokio::test]
async fn a_server_that_refuses_to_count_tokens_is_asked_without() {
    let world = World::new();
    let mut config = config();
    config.faults = vec!["usage-refused".parse().expect("a fault")];
    let address = serve(config);
    let outcome = world
        .run(world.job(address, "smoke", &[]))
        .await
        .expect("a run");
    assert_eq!(
        outcome.verdict,
        Verdict::Passed,
        "{}",
        outcome.runs[0].run.verdict_reasons
    );
    let requests: Vec<RequestRow> = world.rows().await;
    assert_eq!(requests[0].http_status, Some(400));
    assert!(
        requests[1..]
            .iter()
            .all(|row| row.token_source.as_deref() == Some("chunks"))
    );
}

/// `[DONE]` ends a reply, whatever the server does with the connection after it; and the time
/// that it keeps the client waiting is no latency of the request that comes next.
#[tokio::test]
async fn a_body_that_stays_open_after_its_last_mark_is_left() {
    let world = World::new();
    let mut config = config();
    config.faults = vec![
        "late-usage:at=after-done,delay=30s"
            .parse()
            .expect("a fault"),
    ];
    let address = serve(config);
    let set = [
        "workload.output_tokens=4",
        "concurrency=[1]",
        "requests=[4]",
    ];
    let outcome = world
        .run(world.job(address, "smoke", &set))
        .await
        .expect("a run");
    assert_eq!(
        outcome.verdict,
        Verdict::Passed,
        "{}",
        outcome.runs[0].run.verdict_reasons
    );
    let requests: Vec<RequestRow> = world.rows().await;
    for row in requests.iter().filter(|row| row.phase == "steady") {
        assert_eq!(row.status, "ok", "{row:?}");
        assert_eq!(row.token_source.as_deref(), Some("chunks"));
        assert_eq!(row.done_ns, row.last_token_ns.expect("a token"), "{row:?}");
        assert!(row.queue_ns < 200_000_000, "{row:?}");
    }
    let starts: Vec<i64> = requests.iter().map(|row| row.scheduled_ns).collect();
    let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.into_iter().all(|gap| gap >= 250_000_000), "{starts:?}");
}

/// A connection that breaks in use is a failure of the subject, and is not tried again: the second
/// try would hide it, and would give the server the work twice.
#[tokio::test]
async fn connections_that_break_in_use_are_failures() {
    let world = World::new();
    let address = breaking_at_the_second();
    let set = ["concurrency=[1]", "requests=[20]"];
    let outcome = world
        .run(world.job(address, "smoke", &set))
        .await
        .expect("a run");
    assert_eq!(outcome.verdict, Verdict::Blocked);
    let requests: Vec<RequestRow> = world.rows().await;
    let failed = requests.iter().filter(|row| row.status == "connection");
    assert!((9..=11).contains(&failed.count()), "{requests:?}");
    assert!(requests.iter().all(|row| row.retries == 0));
}

/// A server may close a connection after a reply without a word of it. A request that crosses that
/// end never came before the server's eyes.
#[tokio::test]
async fn requests_that_cross_the_end_of_their_connection_are_sent_again() {
    let world = World::new();
    let set = ["concurrency=[1]", "requests=[200]"];
    let outcome = world
        .run(world.job(closing_after_each(), "smoke", &set))
        .await
        .expect("a run");
    assert_eq!(outcome.verdict, Verdict::Passed, "{outcome:?}");
    let requests: Vec<RequestRow> = world.rows().await;
    assert!(requests.iter().all(|row| row.status == "ok"));
    assert!(requests.iter().any(|row| row.retries == 1), "{requests:?}");
}

/// A server that closes each connection after a reply, which does not say so; not before the next
/// request is on its way, so that the two always cross.
fn closing_after_each() -> SocketAddr {
    answering_once(|stream, _| {
        // A client may leave at any time.
        let _comes = stream.peek(&mut [0]);
        drop(stream);
    })
}

/// A server that answers the first request of each connection, works on the second for a while, and
/// breaks off.
fn breaking_at_the_second() -> SocketAddr {
    answering_once(|mut stream, room| {
        use std::io::Read as _;
        // A client may leave at any time. The second read takes as long as the work would.
        let _came = stream.read(room);
        let work = std::time::Duration::from_millis(300);
        stream.set_read_timeout(Some(work)).expect("a timeout");
        let _nothing = stream.read(room);
    })
}

/// A server that answers the first request of each connection, and then leaves it to `then`.
fn answering_once(then: fn(std::net::TcpStream, &mut [u8])) -> SocketAddr {
    use std::io::{Read as _, Write as _};
    let body = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\
                \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("loopback works");
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut room = [0u8; 65_536];
                // A client may leave at any time.
                if stream.read(&mut room).is_ok() && stream.write_all(answer.as_bytes()).is_ok() {
                    then(stream, &mut room);
                }
            });
        }
    });
    address
}

/// A probe that gets no token was answered all the same: what the load shows decides.
#[tokio::test]
async fn replies_without_a_token_are_measured_as_failures_of_content() {
    let world = World::new();
    let address = silent();
    let outcome = world
        .run(world.job(address, "smoke", &[]))
        .await
        .expect("a run");
    assert_eq!(outcome.verdict, Verdict::Blocked);
    assert!(outcome.runs[0].failure.is_none());
    let requests: Vec<RequestRow> = world.rows().await;
    assert_eq!(requests.len(), 14);
    for row in requests {
        assert_eq!(row.status, "incomplete", "{row:?}");
        assert_eq!(row.failure_kind.as_deref(), Some("content"), "{row:?}");
    }
}

/// A server whose model has nothing to say.
fn silent() -> SocketAddr {
    let body = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                data: [DONE]\n\n";
    saying("text/event-stream", body)
}

#[tokio::test]
async fn a_redirect_is_told_with_the_address_that_it_names() {
    let world = World::new();
    let address = answering(
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://gpu7/v1/chat/completions\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
            .to_string(),
    );
    let outcome = world
        .run(world.job(address, "smoke", &[]))
        .await
        .expect("a run that could not run");
    let failure = outcome.runs[0].failure.as_ref().expect("a fault");
    let text = failure.to_string();
    assert!(text.contains("answered 308"), "{text}");
    assert!(text.contains("https://gpu7/v1/chat/completions"), "{text}");
    let help = failure.help().expect("help");
    assert!(help.contains("--url"), "{help}");
}

#[tokio::test]
async fn something_that_is_no_openai_server_is_told_from_one() {
    let world = World::new();
    let address = saying("text/html", "<html><body>It works!</body></html>");
    let outcome = world
        .run(world.job(address, "smoke", &[]))
        .await
        .expect("a run");
    let failure = outcome.runs[0]
        .failure
        .as_ref()
        .expect("the subject is the cause");
    assert!(
        matches!(failure, SubjectError::NotOpenAi { .. }),
        "{failure}"
    );
}

#[tokio::test]
async fn an_abort_rule_ends_the_run_and_says_so() {
    let world = World::new();
    let mut config = config();
    config.faults = vec!["http-error:status=500,every=2".parse().expect("a fault")];
    let address = serve(config);
    let set = [
        "workload.output_tokens=2",
        "rate=50",
        "duration=60s",
        "warm_up=0s",
    ];
    let mut job = world.job(address, "stability", &set);
    job.suites[0].abort = "error_rate=20%@2s".parse().expect("rules");
    let outcome = world.run(job).await.expect("a run");
    assert_eq!(outcome.verdict, Verdict::Cancelled);
    let runs: Vec<RunRow> = world.rows().await;
    assert!(
        runs[0].verdict_reasons.contains("abort_error_rate"),
        "{}",
        runs[0].verdict_reasons
    );
}

/// What a killed process leaves is published as incomplete, its unfinished
/// requests as cancelled.
#[tokio::test]
async fn an_abandoned_spool_is_sealed_and_published_once() {
    let world = World::new();
    let address = serve(config());
    let set = [
        "workload.output_tokens=2",
        "rate=20",
        "duration=2s",
        "warm_up=0s",
    ];
    let job = world.job(address, "stability", &set);
    let copy = world.folder.path().join("copies");
    let kept = copy.clone();
    let mut progress = world.progress.subscribe();
    let spool_root = world.spool.clone();
    // A copy of the spool in the middle of the run is what kill -9 would leave.
    let steal = async move {
        use plimsoll_executor::performance::Progress;
        let busy = |progress: &Progress| match progress {
            Progress::Live(live) => live.elapsed.as_millis() > 1200 && live.ok >= 5,
            _ => false,
        };
        progress.wait_for(busy).await.expect("the run lives");
        let spool = plimsoll_ingest::spool::list(&spool_root)
            .expect("list")
            .remove(0);
        let target = kept.join(spool.file_name().expect("a name"));
        std::fs::create_dir_all(&target).expect("folder");
        for entry in spool.read_dir().expect("list") {
            let entry = entry.expect("entry");
            std::fs::copy(entry.path(), target.join(entry.file_name())).expect("copy");
        }
    };
    let other = World::new();
    let (outcome, ()) = tokio::join!(world.run(job), steal);
    let verdict = outcome.expect("a run").verdict;
    // The copy is of the same warehouse, where the run is complete: nothing changes.
    let recovered = recover(&copy, &world.warehouse).await.expect("recovered");
    assert_eq!(recovered.published.len(), 1, "{recovered:?}");
    assert_eq!(recovered.published[0].1, verdict);
    assert_eq!(world.rows::<RunRow>().await.len(), 1);
    assert!(
        recover(&copy, &other.warehouse)
            .await
            .expect("none")
            .published
            .is_empty()
    );
}

/// What cannot be read says nothing of the rest: only a spool that holds nothing goes.
#[tokio::test]
async fn a_spool_whose_first_row_cannot_be_read_stays() {
    use plimsoll_ingest::spool::{Manifest, Spool, Tag, list};
    use plimsoll_ingest::{RunId, Table, TableRow as _, Timestamp};
    let world = World::new();
    let root = world.folder.path().join("abandoned");
    let warehouse = world.warehouse.to_string();
    let run_id = RunId::new(Timestamp::now());
    let manifest = Manifest::new(run_id, warehouse, "0.1.0");
    let mut spool = Spool::create(&root, manifest).expect("create");
    let row = RunRow::blank(run_id, Timestamp::now());
    let row = RunRow::to_batch(&[row]).expect("batch");
    spool.append(Tag::Draft(Table::Runs), &row).expect("append");
    let segment = spool.folder().join("segment-000000.plsf");
    drop(spool);
    let whole = std::fs::read(&segment).expect("segment");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&segment, flipped).expect("write");
    let recovered = recover(&root, &world.warehouse).await.expect("looked for");
    assert!(recovered.published.is_empty());
    let [(_, reason)] = &recovered.failed[..] else {
        panic!("{recovered:?}");
    };
    assert!(reason.contains("its folder stays as it is"), "{reason}");
    assert_eq!(list(&root).expect("list").len(), 1);

    // Killed while it wrote its first row: nothing was measured.
    std::fs::write(&segment, &whole[..whole.len() / 2]).expect("write");
    let recovered = recover(&root, &world.warehouse).await.expect("looked for");
    assert!(recovered.failed.is_empty(), "{recovered:?}");
    assert_eq!(recovered.empty, [run_id]);
    assert_eq!(list(&root).expect("list").len(), 0);
}

/// A server that answers everything with this body, until the test's process ends.
fn saying(kind: &str, body: &str) -> SocketAddr {
    answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// A server that answers everything with these bytes, until the test's process ends.
fn answering(answer: String) -> SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("loopback works");
            // A client may leave at any time.
            if stream.read(&mut [0u8; 65_536]).is_ok() {
                stream.write_all(answer.as_bytes()).ok();
            }
        }
    });
    address
}
