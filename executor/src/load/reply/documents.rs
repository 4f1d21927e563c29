//! Replies that come as one JSON document, and what was not asked for.

use plimsoll_ingest::FailureKind::Contract;
use plimsoll_ingest::RequestStatus::{Ok, Protocol};
use plimsoll_ingest::TokenSource;

use super::super::chat::DeltaKind;
use super::faults::{DONE, JSON, STREAM, TOKEN, check, verdict};
use super::{BodyEnd, Redaction, Reply};

const DOCUMENT: &str = r#"
{ "id": "x", "object": "chat.completion", "choices": [ { "index": 0,
  "message": { "role": "assistant", "content": "Hi!" }, "finish_reason": "stop" } ],
  "usage": { "prompt_tokens": 4, "completion_tokens": 3 } }
"#;

#[test]
fn a_document_in_answer_to_a_stream_is_its_only_chunk() {
    let (start, end) = DOCUMENT.split_at(60);
    for answer in [JSON, (200, "text/plain"), STREAM] {
        let outcome = check(answer, &["\n", start, end], (Ok, None, ""));
        let [chunk] = outcome.chunks[..] else {
            panic!("{:?}", outcome.chunks)
        };
        assert_eq!((chunk.at_ns, chunk.kind), (12, DeltaKind::Content));
        assert_eq!(chunk.tokens, Some(3));
        assert_eq!(outcome.output_tokens, Some(3));
        assert_eq!(outcome.prompt_tokens, Some(4));
    }
}

#[test]
fn a_document_that_was_asked_for_shows_no_first_token() {
    let mut reply = Reply::whole();
    reply.on_head(5, 200, Some("application/json"));
    reply.on_chunk(9, format!("\u{FEFF}{DOCUMENT}").as_bytes());
    let outcome = reply.finish(BodyEnd::Complete, &Redaction::none());
    assert_eq!(outcome.status, Ok);
    assert_eq!((outcome.chunks.len(), outcome.output_tokens), (0, Some(3)));
    assert_eq!(outcome.token_source, Some(TokenSource::Usage));
}

#[test]
fn a_document_without_usage_counts_no_tokens() {
    let document = r#"{"choices":[{"message":{"content":"Hi!"},"finish_reason":"stop"}]}"#;
    let outcome = check(JSON, &[document], (Ok, None, ""));
    assert_eq!((outcome.output_tokens, outcome.token_source), (None, None));
}

#[test]
fn a_stream_in_answer_to_a_request_for_a_document_is_read_too() {
    let mut reply = Reply::whole();
    reply.on_head(5, 200, Some("application/json"));
    reply.on_chunk(9, [TOKEN, DONE].concat().as_bytes());
    let outcome = reply.finish(BodyEnd::Complete, &Redaction::none());
    assert_eq!((outcome.status, outcome.chunks.len()), (Ok, 1));
}

#[test]
fn a_document_without_end_is_bounded() {
    let mut reply = Reply::whole();
    reply.on_head(0, 200, None);
    reply.on_chunk(1, b"{");
    for _ in 0..17 {
        reply.on_chunk(2, &vec![b' '; 1 << 20]);
    }
    let outcome = reply.finish(BodyEnd::TimedOut, &Redaction::none());
    let text = "the reply is a document of more than 16777216 bytes";
    assert_eq!(verdict(&outcome), (Protocol, Some(Contract), text));
}
