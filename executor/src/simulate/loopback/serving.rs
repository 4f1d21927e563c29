//! What a sound server does: replies, refusals, slots, the queue.

use serde_json::{Value, json};

use super::super::{AccessKey, Overflow, SimulatorEnd};
use super::client::{Running, quick};

#[tokio::test]
async fn a_streamed_reply() {
    let server = Running::start(quick(2)).await;
    let mut client = server.connect().await;
    let answer = client.chat(6).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(
        answer
            .header("content-type")
            .starts_with("text/event-stream")
    );
    let received = answer.received().await;
    assert_eq!(received.content_events(), 6);
    assert_eq!(received.data().last().map(String::as_str), Some("[DONE]"));
    let chunks = received.chunks();
    let usage = &chunks.last().expect("chunks")["usage"];
    assert_eq!(
        *usage,
        json!({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11})
    );
    // The connection is kept for the next request.
    let mut call = client.call(3);
    call["stream_options"] = Value::Null;
    let again = client.post(&call, &[]).await.expect("an answer");
    let received = again.received().await;
    assert_eq!(received.content_events(), 3);
    assert!(
        received
            .chunks()
            .iter()
            .all(|chunk| chunk["usage"].is_null())
    );

    let totals = server.stop().await;
    assert_eq!(totals.ended, SimulatorEnd::Shutdown);
    assert_eq!((totals.requests, totals.completed), (2, 2));
    assert_eq!((totals.unfinished, totals.refused), (0, 0));
    assert_eq!(totals.output_tokens, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_reply_on_several_threads() {
    let server = Running::start(quick(2)).await;
    let mut client = server.connect().await;
    let mut call = client.call(6);
    call["stream"] = false.into();
    let answer = client.post(&call, &[]).await.expect("an answer");
    assert_eq!(answer.header("content-type"), "application/json");
    let length: usize = answer.header("content-length").parse().expect("a number");
    let text = answer.text().await;
    assert_eq!(text.len(), length);
    let reply: Value = serde_json::from_str(&text).expect("JSON");
    let content = reply["choices"][0]["message"]["content"].as_str();
    assert_eq!(content.expect("text").split(' ').count(), 6);
    assert_eq!(reply["usage"]["completion_tokens"], 6);
    server.stop().await;
}

#[tokio::test]
async fn the_other_pages() {
    let server = Running::start(quick(3)).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/health").await.status(), 200);
    let models = client.get("/v1/models").await.json().await;
    assert_eq!(models["data"][0]["id"], "sim-3");
    let version = client.get("/version").await.json().await;
    assert!(version["version"].is_string());
    let nothing = client.get("/v1/nothing").await;
    assert_eq!(nothing.status(), 404);
    assert!(nothing.json().await["error"]["message"].is_string());
    assert_eq!(client.get("/v1/chat/completions").await.status(), 405);
    assert_eq!(server.metric("vllm:num_requests_running").await, 0.0);
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_refused() {
    let mut config = quick(1);
    config.api_key = Some(AccessKey::new("open"));
    let server = Running::start(config).await;
    let mut client = server.connect().await;
    let call = client.call(2);

    let none = client.post(&call, &[]).await.expect("an answer");
    assert_eq!(none.status(), 401);
    let error = none.json().await;
    assert_eq!(error["error"]["code"], "invalid_api_key");
    let wrong = [("authorization", "Bearer shut")];
    let wrong = client.post(&call, &wrong).await.expect("an answer");
    assert_eq!(wrong.status(), 401);
    assert_eq!(client.get("/v1/models").await.status(), 401);
    assert_eq!(client.get("/health").await.status(), 200);

    let key = [("authorization", "Bearer open")];
    let right = client.post(&call, &key).await.expect("an answer");
    assert_eq!(right.status(), 200);
    right.text().await;
    let mut other = call.clone();
    other["model"] = "sim-99".into();
    let other = client.post(&other, &key).await.expect("an answer");
    assert_eq!(other.status(), 404);
    assert_eq!(other.json().await["error"]["code"], "model_not_found");
    let nonsense = client.post(&json!([1]), &key).await.expect("an answer");
    assert_eq!(nonsense.status(), 400);

    let totals = server.stop().await;
    assert_eq!((totals.completed, totals.refused), (1, 5));
    assert_eq!(totals.requests, 3);
}

#[tokio::test]
async fn one_more_than_slots_and_queue_is_refused() {
    for (overflow, status) in [
        (Overflow::TooManyRequests, 429),
        (Overflow::Unavailable, 503),
    ] {
        let mut config = quick(1);
        config.queue = 1;
        config.overflow = overflow;
        let server = Running::start(config).await;
        let mut first = server.connect().await;
        // Its first token has come, so it has the slot, and keeps it.
        let mut held = first.chat(100_000).await.expect("an answer");
        held.read().await;
        let mut second = server.connect().await;
        let waiting = tokio::spawn(async move {
            let answer = second.chat(2).await.expect("an answer");
            answer.received().await.content_events()
        });
        server.until_metric("vllm:num_requests_waiting", 1.0).await;
        let mut third = server.connect().await;
        let refused = third.chat(2).await.expect("an answer");
        assert_eq!(refused.status(), status);
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.json().await["error"]["code"], "queue_full");
        assert_eq!(server.metric("vllm:num_requests_running").await, 1.0);

        // Leaving frees the slot at once, for the one who waits.
        first.leave().await;
        assert_eq!(waiting.await.expect("no panic"), 2);
        let totals = server.stop().await;
        assert_eq!((totals.completed, totals.unfinished), (1, 1));
    }
}

#[tokio::test]
async fn leaving_the_queue_frees_the_place() {
    let mut config = quick(1);
    config.queue = 1;
    let server = Running::start(config).await;
    let mut first = server.connect().await;
    let mut held = first.chat(100_000).await.expect("an answer");
    held.read().await;
    let mut second = server.connect().await;
    let mut call = Box::pin(second.chat(2));
    tokio::select! {
        answer = &mut call => panic!("nobody waits for {:?}", answer.map(|answer| answer.status())),
        () = server.until_metric("vllm:num_requests_waiting", 1.0) => {}
    }
    drop(call);
    second.leave().await;
    server.until_metric("vllm:num_requests_waiting", 0.0).await;
    assert_eq!(server.metric("vllm:num_requests_running").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn the_default_length_is_used_where_none_is_asked_for() {
    let mut config = quick(1);
    config.default_output_tokens = std::num::NonZeroU32::MIN.saturating_add(2);
    let server = Running::start(config).await;
    let mut client = server.connect().await;
    let mut call = client.call(0);
    call["max_tokens"] = Value::Null;
    let answer = client.post(&call, &[]).await.expect("an answer");
    assert_eq!(answer.received().await.content_events(), 3);
    server.stop().await;
}
