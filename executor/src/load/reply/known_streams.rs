//! Streams as real servers emit them, with what must be read from them.
//!
//! The event of number n arrives at n milliseconds; the head at 0.

use plimsoll_ingest::{RequestStatus, TokenSource};
use proptest::prelude::*;

use super::super::chat::DeltaKind::{self, Content, Empty, Reasoning, RoleOnly, ToolCall};
use super::{BodyEnd, Redaction, Reply, ReplyOutcome};

const MS: i64 = 1_000_000;

const OPENAI: &str = include_str!("streams/openai.sse");

const VLLM: &str = include_str!("streams/vllm.sse");

/// With `continuous_usage_stats`, and speculative decoding that brings three tokens at once.
const VLLM_COUNTING: &str = include_str!("streams/vllm_counting.sse");

const LLAMA_CPP: &str = include_str!("streams/llama_cpp.sse");

/// A model that thinks first, behind a server that sends signs of life and counts late.
const REASONING: &str = include_str!("streams/reasoning.sse");

const TOOLS: &str = include_str!("streams/tools.sse");

/// No space after `data:`, no usage, no [DONE].
const TERSE: &str = "data:{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\r\n\r\ndata:{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\" you\"},\"finish_reason\":\"eos_token\"}],\"usage\":null}\r\n\r\n";

/// A gateway that puts a notice of its filter in front, and pretty JSON over several lines.
const GATEWAY: &str = "\u{FEFF}data: {\"id\":\"\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\ndata: {\ndata:   \"choices\" : [\ndata:     { \"delta\" : { \"content\" : \"Hi\" } }\ndata:   ]\ndata: }\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\ndata: [DONE]\n\n";

/// The events of a stream, each with its end.
fn events(stream: &str) -> Vec<&str> {
    let end = if stream.contains("\r\n\r\n") {
        "\r\n\r\n"
    } else {
        "\n\n"
    };
    stream.split_inclusive(end).collect()
}

/// Reads a stream event by event, and byte by byte, which must make no difference.
fn read(stream: &str) -> ReplyOutcome {
    let by = |size: fn(&str) -> usize| {
        let mut reply = Reply::streaming();
        reply.on_head(0, 200, Some("text/event-stream; charset=utf-8"));
        for (event, at_ns) in events(stream).into_iter().zip((MS..).step_by(MS as usize)) {
            for piece in event.as_bytes().chunks(size(event)) {
                reply.on_chunk(at_ns, piece);
            }
        }
        reply.finish(BodyEnd::Complete, &Redaction::none())
    };
    let outcome = by(|event| event.len());
    assert_eq!(by(|_| 1), outcome);
    assert_eq!(outcome.first_byte_ns, Some(0));
    outcome
}

/// Number of the event, what it brought, its tokens.
type Marks = Vec<(i64, DeltaKind, Option<u16>)>;

fn marks(outcome: &ReplyOutcome) -> Marks {
    let chunks = outcome.chunks.iter();
    chunks
        .map(|chunk| (chunk.at_ns / MS, chunk.kind, chunk.tokens))
        .collect()
}

/// Prompt, output, reasoning and cached tokens, and their source.
fn tokens(outcome: &ReplyOutcome) -> ([Option<i64>; 4], Option<TokenSource>) {
    let counts = [
        outcome.prompt_tokens,
        outcome.output_tokens,
        outcome.reasoning_tokens,
        outcome.cached_tokens,
    ];
    (counts, outcome.token_source)
}

fn check_ok(outcome: &ReplyOutcome, finish_reason: Option<&str>) {
    assert_eq!(outcome.status, RequestStatus::Ok, "{:?}", outcome.error);
    assert_eq!((outcome.failure_kind, &outcome.error), (None, &None));
    assert_eq!(outcome.finish_reason.as_deref(), finish_reason);
    assert_eq!(outcome.bundled_chunks, 0);
}

#[test]
fn openai() {
    let outcome = read(OPENAI);
    check_ok(&outcome, Some("stop"));
    let counts = [Some(9), Some(5), Some(0), Some(0)];
    assert_eq!(tokens(&outcome), (counts, Some(TokenSource::Usage)));
    let unknown = None;
    assert_eq!(
        marks(&outcome),
        [
            (1, RoleOnly, Some(0)),
            (2, Content, unknown),
            (3, Content, unknown),
            (4, Empty, Some(0))
        ]
    );
}

#[test]
fn vllm() {
    let outcome = read(VLLM);
    check_ok(&outcome, Some("length"));
    let counts = [Some(12), Some(2), None, None];
    assert_eq!(tokens(&outcome), (counts, Some(TokenSource::Usage)));
    // As many chunks as the server counted tokens: one each.
    assert_eq!(
        marks(&outcome),
        [
            (1, RoleOnly, Some(0)),
            (2, Content, Some(1)),
            (3, Content, Some(1))
        ]
    );
}

#[test]
fn vllm_that_counts_with_each_chunk() {
    let outcome = read(VLLM_COUNTING);
    check_ok(&outcome, Some("stop"));
    assert_eq!(outcome.output_tokens, Some(5));
    assert_eq!(
        marks(&outcome),
        [
            (1, RoleOnly, Some(0)),
            (2, Content, Some(1)),
            (3, Content, Some(3)),
            (4, Empty, Some(0))
        ]
    );
}

#[test]
fn llama_cpp() {
    let outcome = read(LLAMA_CPP);
    check_ok(&outcome, Some("length"));
    let counts = [Some(13), Some(2), None, Some(6)];
    assert_eq!(tokens(&outcome), (counts, Some(TokenSource::Usage)));
    assert_eq!(
        marks(&outcome),
        [
            (1, RoleOnly, Some(0)),
            (2, Content, Some(1)),
            (3, Content, Some(1)),
            (4, Empty, Some(0))
        ]
    );
}

#[test]
fn reasoning_with_usage_after_done() {
    let outcome = read(REASONING);
    check_ok(&outcome, Some("stop"));
    let counts = [Some(5), Some(7), Some(6), None];
    assert_eq!(tokens(&outcome), (counts, Some(TokenSource::Usage)));
    let kinds: Vec<_> = marks(&outcome)
        .into_iter()
        .map(|(event, kind, _)| (event, kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (2, RoleOnly),
            (3, Reasoning),
            (5, Reasoning),
            (6, Content),
            (7, Empty)
        ]
    );
}

#[test]
fn tool_calls_are_tokens() {
    let outcome = read(TOOLS);
    check_ok(&outcome, Some("tool_calls"));
    // Nobody counted: one a chunk.
    let counts = [None, Some(3), None, None];
    assert_eq!(tokens(&outcome), (counts, Some(TokenSource::Chunks)));
    assert_eq!(
        marks(&outcome),
        [
            (1, ToolCall, None),
            (2, ToolCall, None),
            (3, ToolCall, None),
            (4, Empty, Some(0))
        ]
    );
}

#[test]
fn no_usage_and_no_done() {
    let outcome = read(TERSE);
    check_ok(&outcome, Some("eos_token"));
    let counts = [None, Some(2), None, None];
    assert_eq!(tokens(&outcome), (counts, Some(TokenSource::Chunks)));
}

#[test]
fn notices_and_pretty_json_do_no_harm() {
    let outcome = read(GATEWAY);
    check_ok(&outcome, None);
    assert_eq!(marks(&outcome), [(2, Content, None)]);
}

#[test]
fn events_of_one_read_share_its_time_and_the_read_is_counted() {
    let mut reply = Reply::streaming();
    reply.on_head(0, 200, Some("text/event-stream"));
    let events = events(LLAMA_CPP);
    reply.on_chunk(MS, events[0].as_bytes());
    // One read, handed on in two pieces.
    reply.on_chunk(2 * MS, events[1].as_bytes());
    reply.on_chunk(2 * MS, events[2].as_bytes());
    reply.on_chunk(3 * MS, events[3..].concat().as_bytes());
    let outcome = reply.finish(BodyEnd::Complete, &Redaction::none());
    assert_eq!(outcome.bundled_chunks, 1);
    let times: Vec<i64> = marks(&outcome).iter().map(|mark| mark.0).collect();
    assert_eq!(times, [1, 2, 2, 3]);
}

#[test]
fn one_read_of_everything_brings_one_chunk_with_a_time_of_its_own() {
    let mut reply = Reply::streaming();
    reply.on_head(0, 200, Some("text/event-stream"));
    reply.on_chunk(MS, REASONING.as_bytes());
    let outcome = reply.finish(BodyEnd::Complete, &Redaction::none());
    let bearing = outcome.chunks.iter().filter(|mark| mark.kind.bears_token());
    assert_eq!(outcome.bundled_chunks, 2);
    assert_eq!(bearing.count(), 3);
}

#[test]
fn the_last_mark_is_seen_when_it_comes() {
    let mut reply = Reply::streaming();
    reply.on_head(0, 200, None);
    let events = events(VLLM);
    reply.on_chunk(MS, events[..3].concat().as_bytes());
    assert!(!reply.is_done());
    reply.on_chunk(MS, events[3..].concat().as_bytes());
    assert!(reply.is_done());
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_outcome(
        stream in prop::sample::select(vec![
            OPENAI, VLLM, VLLM_COUNTING, LLAMA_CPP, REASONING, TOOLS, TERSE, GATEWAY,
        ]),
        kept in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        // A stream that may end anywhere, too.
        let stream = &stream.as_bytes()[..=kept.index(stream.len())];
        let read = |pieces: &[&[u8]]| {
            let mut reply = Reply::streaming();
            reply.on_head(0, 200, Some("text/event-stream"));
            for piece in pieces {
                reply.on_chunk(MS, piece);
            }
            reply.finish(BodyEnd::Complete, &Redaction::none())
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        let whole = read(&[stream]);
        prop_assert_eq!(read(&pieces), whole.clone());
        prop_assert!(
            matches!(whole.status, RequestStatus::Ok | RequestStatus::Incomplete),
            "a cut is no fault of the form: {:?}", whole.error
        );
    }
}
