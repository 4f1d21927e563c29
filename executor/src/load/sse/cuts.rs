//! What the reader makes of streams, however they are cut.

use proptest::prelude::*;

use super::{SseEvent, SseFault, SseReader};

/// An event that owns its bytes, to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Data(Vec<u8>),
    ServerError(Vec<u8>),
    Done,
    Malformed(SseFault),
}

impl From<SseEvent<'_>> for Seen {
    fn from(event: SseEvent<'_>) -> Self {
        match event {
            SseEvent::Data(data) => Seen::Data(data.to_vec()),
            SseEvent::ServerError(data) => Seen::ServerError(data.to_vec()),
            SseEvent::Done => Seen::Done,
            SseEvent::Malformed(fault) => Seen::Malformed(fault),
        }
    }
}

/// Reads `pieces` in order with lines bounded by `limit`.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Seen> {
    let mut reader = SseReader::with_limit(limit);
    let mut seen = Vec::new();
    for piece in pieces {
        reader.feed(piece, |event| seen.push(event.into()));
    }
    reader.end(|event| seen.push(event.into()));
    seen
}

/// Reads `stream` whole and byte by byte, and expects `wanted` from both.
fn check(stream: &[u8], wanted: &[Seen]) {
    assert_eq!(read([stream], 1024), wanted, "in one piece");
    assert_eq!(read(stream.chunks(1), 1024), wanted, "byte by byte");
}

fn data(text: &str) -> Seen {
    Seen::Data(text.as_bytes().to_vec())
}

#[test]
fn each_line_end_and_each_spelling_of_data() {
    check(b"data: a\n\ndata: b\n\n", &[data("a"), data("b")]);
    check(b"data: a\r\n\r\ndata: b\r\n\r\n", &[data("a"), data("b")]);
    check(b"data: a\r\rdata: b\r\r", &[data("a"), data("b")]);
    check(b"data:a\n\ndata:  b\n\n", &[data("a"), data(" b")]);
    check(b"data\n\n", &[data("")]);
    check(b"data:\n\n", &[data("")]);
}

#[test]
fn lines_of_one_event_are_joined() {
    check(b"data: a\ndata: b\n\n", &[data("a\nb")]);
    check(b"data:\ndata:\ndata: c\n\n", &[data("\n\nc")]);
    check(b"data: a\r\ndata: b\r\n\r\n", &[data("a\nb")]);
}

#[test]
fn comments_and_other_fields_say_nothing() {
    check(
        b": ping\n\nid: 7\nretry: 3\ndata: a\nfoo: bar\n\n:\n\n",
        &[data("a")],
    );
    check(b"event: message\n\n", &[]);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    check(b"\xEF\xBB\xBFdata: a\n\n", &[data("a")]);
    check(b"\xEF\xBB\xBF\ndata: a\n\n", &[data("a")]);
    check(b"data: a\n\n\xEF\xBB\xBFdata: b\n\n", &[data("a")]);
}

#[test]
fn done_is_told_from_data_that_contain_it() {
    check(b"data: [DONE]\n\n", &[Seen::Done]);
    check(b"data:[DONE] \n\n", &[Seen::Done]);
    check(b"data: \"[DONE]\"\n\n", &[data("\"[DONE]\"")]);
}

#[test]
fn an_event_that_calls_itself_an_error_is_one() {
    let boom = Seen::ServerError(b"boom".to_vec());
    check(
        b"event: error\ndata: boom\n\ndata: a\n\n",
        &[boom.clone(), data("a")],
    );
    check(b"error: boom\n\ndata: a\n\n", &[boom, data("a")]);
    check(b"event: error\n\ndata: a\n\n", &[data("a")]);
}

#[test]
fn the_end_of_the_body_ends_the_last_event() {
    check(b"data: a\n\ndata: [DONE]", &[data("a"), Seen::Done]);
    check(b"data: a\n\ndata: [DONE]\n", &[data("a"), Seen::Done]);
    check(b"data: a\n\ndata: {\"cu", &[data("a"), data("{\"cu")]);
    check(b"", &[]);
}

#[test]
fn a_long_line_costs_its_event_and_no_other() {
    let fault = Seen::Malformed(SseFault::LineTooLong { limit: 16 });
    let stream = b"data: a\n\ndata: x\ndata: 0123456789abcdef\ndata: y\n\ndata: b\n\n";
    let wanted = [data("a"), fault, data("b")];
    assert_eq!(read([&stream[..]], 16), wanted);
    assert_eq!(read(stream.chunks(1), 16), wanted);
    assert_eq!(read(stream.chunks(20), 16), wanted);
}

#[test]
fn many_lines_of_one_event_are_bounded_too() {
    let fault = Seen::Malformed(SseFault::EventTooLong { limit: 16 });
    let stream = b"data: 01234567\ndata: 01234567\ndata: x\n\ndata: b\n\n";
    let wanted = [fault, data("b")];
    assert_eq!(read([&stream[..]], 16), wanted);
    assert_eq!(read(stream.chunks(1), 16), wanted);
}

/// Pieces of streams, of which any sequence is a stream.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"data: {\"a\": \"gr\xC3\xBC\xC3\x9F\xF0\x9F\x9A\xA2\"}".to_vec()),
        Just(b"data:x".to_vec()),
        Just(b"data".to_vec()),
        Just(b"data: [DONE]".to_vec()),
        Just(b"event: error".to_vec()),
        Just(b"error: {}".to_vec()),
        Just(b": comment".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(
        fragments in proptest::collection::vec(fragment(), 0..40),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        limit in prop_oneof![Just(12_usize), Just(24), Just(4096)],
    ) {
        let stream = fragments.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&stream[start..cut]);
            start = cut;
        }
        pieces.push(&stream[start..]);
        let whole = read([&stream[..]], limit);
        prop_assert_eq!(&read(pieces, limit), &whole);
        prop_assert_eq!(&read(stream.chunks(1), limit), &whole);
    }
}
