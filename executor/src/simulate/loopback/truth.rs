//! The truth log against what a client saw.

use std::time::Duration;

use super::super::{Ending, EventKind, Jitter, RequestTruth};
use super::client::{Running, TruthFile, quick, quick_with};
use crate::timer::monotonic_ns;

#[tokio::test]
async fn the_log_has_what_was_sent_before_the_client_had_it() {
    let truth = TruthFile::new();
    let mut config = quick(2);
    config.truth = Some(truth.path());
    let server = Running::start(config).await;
    let mut client = server.connect().await;
    let call = client.call(8);
    let before_ns = monotonic_ns();
    let id = [("x-request-id", "voyage-1")];
    let answer = client.post(&call, &id).await.expect("an answer");
    assert_eq!(answer.header("x-request-id"), "voyage-1");
    let received = answer.received().await;
    let mut whole = client.call(3);
    whole["stream"] = false.into();
    let answer = client.post(&whole, &[]).await.expect("an answer");
    answer.text().await;
    let totals = server.stop().await;
    assert_eq!(totals.truth_lost, 0);

    let lines = truth.lines();
    assert_eq!(lines.len(), 2);
    let line = &lines[0];
    assert_eq!((line.request_id.as_str(), line.ordinal), ("voyage-1", 0));
    assert_eq!(line.ending, Ending::Completed);
    assert_eq!((line.stream, line.status), (Some(true), Some(200)));
    assert_eq!((line.prompt_tokens, line.asked_tokens), (Some(5), Some(8)));
    assert_eq!(line.kinds.len(), received.data().len());
    let content = line
        .kinds
        .iter()
        .filter(|kind| **kind == EventKind::Content);
    assert_eq!(content.count(), received.content_events());
    assert_eq!(line.tokens.iter().sum::<u32>(), 8);
    assert_eq!(
        line.kinds[8..],
        [EventKind::Finish, EventKind::Usage, EventKind::Done]
    );
    check_moments(line);
    assert!(line.arrived_ns >= before_ns);
    assert_eq!(line.released_ns, Some(line.due_ns[7]));
    // Nothing is read before it was sent.
    assert!(received.reads[0].0 >= line.mono_ns[0]);
    let last_read = received.reads.last().expect("reads").0;
    assert!(last_read >= *line.mono_ns.last().expect("events"));

    let line = &lines[1];
    assert_eq!(
        (line.request_id.as_str(), line.stream),
        ("chatcmpl-1", Some(false))
    );
    assert_eq!(
        (&line.kinds[..], &line.tokens[..]),
        (&[EventKind::Whole][..], &[3][..])
    );
    check_moments(line);
}

/// Deadlines as on paper, nothing early, lists of one length.
fn check_moments(line: &RequestTruth) {
    let slot_ns = line.slot_ns.expect("it was served");
    assert!(slot_ns >= line.arrived_ns);
    for list in [&line.due_ns, &line.mono_ns, &line.real_ns] {
        assert_eq!(list.len(), line.kinds.len());
        assert!(list.is_sorted());
    }
    assert_eq!(line.tokens.len(), line.kinds.len());
    let mut sent = 0;
    for event in 0..line.kinds.len() {
        sent += line.tokens[event];
        let due_ns = slot_ns + 5_000_000 + i64::from(sent - 1) * 2_000_000;
        assert_eq!(line.due_ns[event], due_ns);
        assert!(line.mono_ns[event] >= due_ns);
    }
    // The two clocks were read together.
    let offset = line.real_ns[0] - line.mono_ns[0];
    for (mono, real) in line.mono_ns.iter().zip(&line.real_ns) {
        assert!((real - mono - offset).abs() < 1_000_000_000);
    }
}

/// Runs so many requests at once and returns the lines by ordinal.
async fn crowd(requests: u32, seed: u64, jitter: f64) -> Vec<RequestTruth> {
    let truth = TruthFile::new();
    let mut config = quick(3);
    config.seed = seed;
    config.jitter = Jitter::new(jitter).expect("in range");
    config.truth = Some(truth.path());
    let server = Running::start(config).await;
    let mut clients = Vec::new();
    for _ in 0..requests {
        let mut client = server.connect().await;
        clients.push(tokio::spawn(async move {
            let answer = client.chat(5).await.expect("an answer");
            assert_eq!(answer.received().await.content_events(), 5);
        }));
    }
    for client in clients {
        client.await.expect("no panic");
    }
    server.stop().await;
    let mut lines = truth.lines();
    lines.sort_by_key(|line| line.ordinal);
    lines
}

#[tokio::test]
async fn slots_and_service_times_on_one_thread() {
    slots_are_never_exceeded_and_service_is_exactly_as_long_as_on_paper().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_and_service_times_on_several_threads() {
    slots_are_never_exceeded_and_service_is_exactly_as_long_as_on_paper().await;
}

async fn slots_are_never_exceeded_and_service_is_exactly_as_long_as_on_paper() {
    let lines = crowd(20, 0, 0.0).await;
    assert_eq!(lines.len(), 20);
    let mut changes: Vec<(i64, i32)> = Vec::new();
    for line in &lines {
        check_moments(line);
        let slot_ns = line.slot_ns.expect("served");
        let released_ns = line.released_ns.expect("served");
        // 5 ms and four gaps of 2 ms, though the machine be late.
        assert_eq!(released_ns - slot_ns, 13_000_000);
        changes.push((slot_ns, 1));
        changes.push((released_ns, -1));
    }
    // A slot is free before it is taken at the same moment.
    changes.sort_unstable();
    let mut busy = 0;
    let mut most = 0;
    for (_, change) in changes {
        busy += change;
        most = most.max(busy);
    }
    assert_eq!((busy, most), (0, 3));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_intervals() {
    let intervals = |lines: Vec<RequestTruth>| -> Vec<Vec<i64>> {
        lines
            .iter()
            .map(|line| {
                let slot_ns = line.slot_ns.expect("served");
                line.due_ns.iter().map(|due_ns| due_ns - slot_ns).collect()
            })
            .collect()
    };
    let first = intervals(crowd(6, 7, 0.3).await);
    assert_eq!(first, intervals(crowd(6, 7, 0.3).await));
    assert_ne!(first, intervals(crowd(6, 8, 0.3).await));
}

#[tokio::test]
async fn requests_without_a_reply_are_logged_too() {
    let truth = TruthFile::new();
    let mut config = quick_with(
        1,
        &["http-error:every=2,status=502", "abort:every=3,after=1"],
    );
    config.truth = Some(truth.path());
    config.ttft = Duration::from_millis(1);
    let server = Running::start(config).await;

    let mut client = server.connect().await;
    let mut left = client.chat(100_000).await.expect("an answer");
    left.read().await;
    client.leave().await;
    server.until_metric("vllm:num_requests_running", 0.0).await;

    let mut client = server.connect().await;
    let answer = client.chat(4).await.expect("an answer");
    assert_eq!(answer.status(), 502);
    answer.text().await;
    let broken = client.chat(4).await.expect("an answer").received().await;
    assert!(broken.error.is_some());

    let mut client = server.connect().await;
    assert_eq!(client.chat(4).await.expect("an answer").status(), 502);
    let mut client = server.connect().await;
    let mut cut = client.chat(100_000).await.expect("an answer");
    cut.read().await;
    server.stop().await;

    let mut lines = truth.lines();
    lines.sort_by_key(|line| line.ordinal);
    let endings: Vec<Ending> = lines.iter().map(|line| line.ending).collect();
    assert_eq!(
        endings,
        [
            Ending::Disconnected,
            Ending::Refused,
            Ending::Broken,
            Ending::Refused,
            Ending::Stopped,
        ]
    );
    assert_eq!((lines[1].status, lines[1].slot_ns), (Some(502), None));
    assert_eq!(lines[2].kinds, [EventKind::Content]);
    for served in [0, 2, 4] {
        assert!(lines[served].released_ns >= lines[served].slot_ns);
        assert!(!lines[served].mono_ns.is_empty());
    }
}
