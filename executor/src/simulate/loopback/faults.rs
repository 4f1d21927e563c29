//! Each fault gives a client what the table says.

use std::time::{Duration, Instant};

use super::super::SimulatorEnd;
use super::client::{Received, Running, quick_with};

/// One streamed reply of five tokens under these faults.
async fn under(faults: &[&str]) -> Received {
    let server = Running::start(quick_with(2, faults)).await;
    let mut client = server.connect().await;
    let received = match client.chat(5).await {
        Ok(answer) => answer.received().await,
        Err(error) => Received {
            reads: vec![],
            error: Some(error),
        },
    };
    server.stop().await;
    received
}

#[tokio::test]
async fn a_role_alone_comes_before_the_first_token() {
    let received = under(&["role-only"]).await;
    assert_eq!(received.content_events(), 5);
    let first = &received.chunks()[0]["choices"][0]["delta"];
    assert_eq!(
        (&first["role"], &first["content"]),
        (&"assistant".into(), &"".into())
    );
    // It has a read of its own, well before the first token.
    let (role_ns, token_ns) = (received.reads[0].0, received.reads[1].0);
    assert!(token_ns > role_ns);
}

#[tokio::test]
async fn bundles_of_tokens() {
    let received = under(&["bundle:tokens=4"]).await;
    assert_eq!(received.content_events(), 2);
    let text = &received.chunks()[0]["choices"][0]["delta"]["content"];
    assert_eq!(text.as_str().expect("text").split(' ').count(), 4);
}

#[tokio::test]
async fn reasoning_and_tool_calls() {
    for field in ["reasoning_content", "reasoning"] {
        let fault = format!("reasoning:tokens=2,field={field}");
        let received = under(&[&fault]).await;
        assert_eq!(received.content_events(), 3);
        let thought = &received.chunks()[1]["choices"][0]["delta"][field];
        assert!(thought.is_string());
    }
    let received = under(&["tool-call"]).await;
    assert_eq!(received.content_events(), 0);
    let arguments: String = received
        .chunks()
        .iter()
        .filter_map(|chunk| {
            let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
            Some(call["function"]["arguments"].as_str()?.to_owned())
        })
        .collect();
    serde_json::from_str::<serde_json::Value>(&arguments).expect(&arguments);
}

#[tokio::test]
async fn usage_missing_late_or_early() {
    let usages = |received: &Received| {
        let chunks = received.chunks();
        chunks
            .iter()
            .filter(|chunk| !chunk["usage"].is_null())
            .count()
    };
    let missing = under(&["no-usage"]).await;
    assert_eq!((usages(&missing), missing.content_events()), (0, 5));
    let content = under(&["late-usage:at=content"]).await;
    assert_eq!(usages(&content), 1);
    assert!(!content.chunks()[4]["usage"].is_null());
    let after = under(&["late-usage:at=after-done,delay=5ms"]).await;
    assert_eq!(usages(&after), 1);
    let data = after.data();
    assert_eq!(data[data.len() - 2], "[DONE]");
}

#[tokio::test]
async fn no_done() {
    let received = under(&["no-done"]).await;
    assert!(received.error.is_none());
    assert!(!received.data().contains(&"[DONE]".to_owned()));
    assert_eq!(received.content_events(), 5);
}

#[tokio::test]
async fn three_ways_to_break_off() {
    let reset = under(&["abort:after=2,how=reset"]).await;
    assert_eq!(reset.content_events(), 2);
    assert_eq!(io_error(&reset), Some(std::io::ErrorKind::ConnectionReset));

    let close = under(&["abort:after=2,how=close"]).await;
    assert_eq!(close.content_events(), 2);
    assert!(close.error.is_some());
    assert_eq!(io_error(&close), Some(std::io::ErrorKind::UnexpectedEof));

    let end = under(&["abort:after=2,how=end"]).await;
    assert_eq!(end.content_events(), 2);
    assert!(end.error.is_none());
    assert!(!end.data().contains(&"[DONE]".to_owned()));
}

#[tokio::test]
async fn what_comes_before_the_break_is_sent_however_late_the_server_is() {
    for how in ["reset", "close", "end"] {
        let fault = format!("abort:after=2,how={how}");
        let mut config = quick_with(1, &[&fault]);
        // All steps are due at once, as they are for a server that is late.
        config.ttft = Duration::ZERO;
        config.itl = Duration::ZERO;
        let server = Running::start(config).await;
        let mut client = server.connect().await;
        let received = client.chat(5).await.expect("a head").received().await;
        assert_eq!(received.content_events(), 2, "{how}");
        assert_eq!(received.error.is_none(), how == "end");
        server.stop().await;
    }
}

fn io_error(received: &Received) -> Option<std::io::ErrorKind> {
    let error: &dyn std::error::Error = received.error.as_ref()?;
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        error = cause.source();
    }
    None
}

#[tokio::test]
async fn a_stall() {
    let received = under(&["stall:after=2,pause=100ms"]).await;
    assert_eq!(received.content_events(), 5);
    let gaps = received.reads.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.max().expect("gaps") >= 90_000_000);
}

#[tokio::test]
async fn malformed_events() {
    let json = under(&["malformed:after=2,how=json"]).await;
    assert_eq!(json.content_events(), 5);
    assert_eq!(json.chunks().len() + 2, json.data().len());
    let utf8 = under(&["malformed:after=2,how=utf8"]).await;
    assert!(std::str::from_utf8(&utf8.bytes()).is_err());
    let line = under(&["malformed:after=2,how=line"]).await;
    assert!(line.text().contains("\n\nthis line is no field\n\n"));
}

#[tokio::test]
async fn writes_that_are_split() {
    let received = under(&["split-writes:pieces=3,gap=1ms"]).await;
    assert_eq!(received.content_events(), 5);
    let broken = received
        .reads
        .iter()
        .filter(|(_, bytes)| std::str::from_utf8(bytes).is_err());
    assert!(broken.count() > 0, "no read ended within a character");
}

#[tokio::test]
async fn an_error_in_the_middle() {
    let received = under(&["error-event:after=2"]).await;
    assert!(received.error.is_none());
    assert_eq!(received.content_events(), 2);
    let chunks = received.chunks();
    assert!(chunks[2]["error"]["message"].is_string());
}

#[tokio::test]
async fn comments_and_line_ends() {
    let text = under(&["pings", "crlf"]).await.text();
    assert_eq!(text.matches(": ping\r\n\r\n").count(), 6);
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
}

#[tokio::test]
async fn every_nth_request_fails() {
    let server = Running::start(quick_with(2, &["http-error:every=3"])).await;
    let mut client = server.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let answer = client.chat(1).await.expect("an answer");
        statuses.push(answer.status());
        answer.text().await;
    }
    assert_eq!(statuses, [200, 200, 500, 200, 200, 500]);
    server.stop().await;
}

#[tokio::test]
async fn usage_may_be_refused() {
    let server = Running::start(quick_with(2, &["usage-refused"])).await;
    let mut client = server.connect().await;
    let asked = client.chat(2).await.expect("an answer");
    assert_eq!(asked.status(), 400);
    assert_eq!(asked.json().await["error"]["param"], "stream_options");
    let mut call = client.call(2);
    call.as_object_mut()
        .expect("an object")
        .remove("stream_options");
    let answer = client.post(&call, &[]).await.expect("an answer");
    assert_eq!(answer.received().await.content_events(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_hangs_takes_no_slot() {
    let server = Running::start(quick_with(1, &["hang:every=2"])).await;
    let mut client = server.connect().await;
    client.chat(1).await.expect("an answer").text().await;
    let mut hanging = server.connect().await;
    let mut call = Box::pin(hanging.chat(1));
    let mut other = server.connect().await;
    tokio::select! {
        biased;
        answer = &mut call => panic!("it answered {:?}", answer.map(|answer| answer.status())),
        served = async {
            // Asked after the one that hangs has come.
            while server.metric("vllm:num_requests_running").await > 0.0 {}
            other.get("/health").await.status()
        } => assert_eq!(served, 200),
    }
    assert_eq!(other.chat(1).await.expect("an answer").status(), 200);
    drop(call);
    let totals = server.stop().await;
    assert_eq!((totals.requests, totals.completed), (3, 2));
}

#[tokio::test]
async fn a_slow_start() {
    let start = Instant::now();
    let server = Running::start(quick_with(1, &["slow-start:time=150ms"])).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/health").await.status(), 503);
    assert_eq!(client.chat(1).await.expect("an answer").status(), 503);
    while client.get("/health").await.status() != 200 {}
    assert!(start.elapsed().as_millis() >= 150);
    assert_eq!(client.chat(1).await.expect("an answer").status(), 200);
    server.stop().await;

    let start = Instant::now();
    let faults = ["slow-start:time=150ms,how=refuse"];
    let server = Running::start(quick_with(1, &faults)).await;
    let mut refused = 0;
    loop {
        let mut client = server.connect().await;
        match client.chat(1).await {
            Ok(answer) => break assert_eq!(answer.status(), 200),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0 && start.elapsed().as_millis() >= 150);
    server.stop().await;
}

#[tokio::test]
async fn a_crash_takes_everything_with_it() {
    let server = Running::start(quick_with(4, &["crash:after=2"])).await;
    let addr = server.addr;
    let mut first = server.connect().await;
    first.chat(1).await.expect("an answer").text().await;
    let mut second = server.connect().await;
    let mut streaming = second.chat(100_000).await.expect("an answer");
    streaming.read().await;
    let mut third = server.connect().await;
    assert!(third.chat(1).await.is_err());
    let cut = streaming.received().await;
    assert_eq!(io_error(&cut), Some(std::io::ErrorKind::ConnectionReset));
    let totals = server.ended().await;
    assert_eq!(totals.ended, SimulatorEnd::Crashed);
    assert_eq!(totals.requests, 3);
    let gone = tokio::net::TcpStream::connect(addr).await;
    assert!(gone.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_reply_that_stops_early() {
    let received = under(&["stop-early:tokens=2"]).await;
    assert_eq!(received.content_events(), 2);
    assert_eq!(received.chunks()[2]["choices"][0]["finish_reason"], "stop");
}
