//! Every way in which a request can fail, and what its row says then.

use plimsoll_ingest::FailureKind::{
    self, Content, Contract, Dependency, Harness, Overload, Timeout,
};
use plimsoll_ingest::RequestStatus::{
    self, Cancelled, Connection, HttpError, Incomplete, Ok, Protocol, Shed,
};
use plimsoll_ingest::{RequestStatus as Status, TokenSource};

use super::{BodyEnd, Redaction, Reply, ReplyOutcome, TlsFault};

pub(super) const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE_1: &str = "data: {\"choices\":[],\"usage\":{\"completion_tokens\":1}}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// What an answer began with.
pub(super) type Answer<'a> = (u16, &'a str);

pub(super) const STREAM: Answer<'static> = (200, "text/event-stream");
pub(super) const JSON: Answer<'static> = (200, "application/json");

fn outcome(answer: Answer<'_>, body: &[&str], end: BodyEnd) -> ReplyOutcome {
    let mut reply = Reply::streaming();
    reply.on_head(5, answer.0, Some(answer.1));
    for (piece, at_ns) in body.iter().zip(10..) {
        reply.on_chunk(at_ns, piece.as_bytes());
    }
    reply.finish(end, &Redaction::of("sk-secret"))
}

pub(super) fn verdict(outcome: &ReplyOutcome) -> (RequestStatus, Option<FailureKind>, &str) {
    let error = outcome.error.as_deref().unwrap_or_default();
    (outcome.status, outcome.failure_kind, error)
}

/// Expects status, kind and error text of an answer whose body came to its end.
pub(super) fn check(
    answer: Answer<'_>,
    body: &[&str],
    wanted: (RequestStatus, Option<FailureKind>, &str),
) -> ReplyOutcome {
    let outcome = outcome(answer, body, BodyEnd::Complete);
    assert_eq!(verdict(&outcome), wanted, "{answer:?} {body:?}");
    assert_eq!(outcome.http_status, Some(answer.0));
    outcome
}

#[test]
fn ok_needs_a_token_and_an_end() {
    check(STREAM, &[TOKEN, STOP], (Ok, None, ""));
    check(STREAM, &[TOKEN, DONE], (Ok, None, ""));
    check(STREAM, &[TOKEN, "data: [DONE]"], (Ok, None, ""));
    check((201, "text/event-stream"), &[TOKEN, DONE], (Ok, None, ""));
    let no_end = "the body ended after 1 chunks without finish_reason or [DONE]";
    check(STREAM, &[TOKEN], (Incomplete, Some(Contract), no_end));
    let no_token = "the reply ended without a token (finish reason stop)";
    let empty = (Incomplete, Some(Content), no_token);
    let outcome = check(STREAM, &[STOP, USAGE_1, DONE], empty);
    assert_eq!(outcome.output_tokens, Some(1));
    let nothing = "the body ended after 0 chunks without finish_reason or [DONE]";
    for body in [&[][..], &[" \n"], &[": ping\n\n"], &["data:\n\n"]] {
        check(STREAM, body, (Incomplete, Some(Contract), nothing));
    }
}

#[test]
fn how_the_body_ended_matters_only_before_the_reply_did() {
    let ends = [
        BodyEnd::Failed {
            error: "connection reset".to_string(),
        },
        BodyEnd::TimedOut,
        BodyEnd::Cancelled,
    ];
    for end in ends {
        let outcome = outcome(STREAM, &[TOKEN, STOP], end);
        assert_eq!(verdict(&outcome), (Ok, None, ""));
    }
}

#[test]
fn refusals_for_load_are_shed() {
    let busy = r#"{"error":{"message":"queue full","type":"overloaded_error"}}"#;
    for status in [429, 503] {
        let outcome = check(
            (status, "application/json"),
            &[busy],
            (Shed, Some(Overload), "queue full"),
        );
        assert_eq!(outcome.output_tokens, None);
        assert_eq!(outcome.first_byte_ns, Some(5));
    }
}

#[test]
fn other_statuses_are_http_errors_of_the_side_that_caused_them() {
    let cases = [
        (302, Contract),
        (400, Contract),
        (401, Contract),
        (404, Contract),
        (408, Timeout),
        (500, Dependency),
        (502, Dependency),
        (504, Timeout),
        (529, Overload),
    ];
    for (status, kind) in cases {
        let text = format!("HTTP {status} without a text");
        check((status, "text/plain"), &[], (HttpError, Some(kind), &text));
    }
    // A stream in a failed answer is no reply.
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]} data: [DONE]";
    let wanted = (HttpError, Some(Dependency), said);
    check((500, "text/event-stream"), &[TOKEN, DONE], wanted);
}

#[test]
fn error_texts_are_found_whatever_their_shape() {
    let no_model = "The model `x` does not exist.";
    for body in [
        r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
        r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}"#,
        r#"{"detail":"The model `x` does not exist."}"#,
        "\r\n The model `x`\ndoes not exist.",
        "<html><head><title>The model `x` does not exist.</title></head></html>",
    ] {
        let wanted = (HttpError, Some(Contract), no_model);
        check((404, "application/json"), &[body], wanted);
        let (start, end) = body.split_at(body.len() / 2);
        check((404, "text/html"), &[start, end], wanted);
    }
}

#[test]
fn the_key_never_comes_back() {
    let body = r#"{"error":"no such key: Bearer sk-secret"}"#;
    let hidden = "no such key: Bearer [redacted]";
    let wanted = (HttpError, Some(Contract), hidden);
    check((401, "application/json"), &[body], wanted);
    let error = "data: {\"error\":{\"message\":\"key sk-secret\"}}\n\n";
    let wanted = (Incomplete, Some(Dependency), "key [redacted]");
    check(STREAM, &[TOKEN, error], wanted);
    // Not by half at the place where a long body is cut, either.
    let long = format!("{}{}sk-secret", "a ".repeat(3), " ".repeat(8 * 1024 - 9));
    let wanted = (HttpError, Some(Contract), "a a a");
    check((401, "text/plain"), &[&long], wanted);
}

#[test]
fn long_error_texts_are_cut() {
    let outcome = outcome(
        (400, "text/plain"),
        &[&"word ".repeat(9000)],
        BodyEnd::Complete,
    );
    let error = outcome.error.expect("an error");
    assert_eq!(error.chars().count(), 500);
}

#[test]
fn a_web_page_is_no_openai_server() {
    let page = "<!doctype html><html><title>Welcome to nginx!</title>";
    let text = "answered with a web page (`Welcome to nginx!`): this is no OpenAI server";
    let wanted = (Protocol, Some(Contract), text);
    check((200, "text/html; charset=utf-8"), &[page], wanted);
    check((200, "text/plain"), &["\n", page], wanted);
    let text = "answered with a web page: this is no OpenAI server";
    check((200, "Text/HTML"), &[], (Protocol, Some(Contract), text));
}

#[test]
fn json_of_another_make_is_no_openai_server() {
    let text = "answered with JSON that is no chat completion: this is no OpenAI server";
    let wanted = (Protocol, Some(Contract), text);
    check(JSON, &[r#"{"hello":"world"}"#], wanted);
    let events = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    check(STREAM, &[events, DONE], wanted);
}

#[test]
fn what_cannot_be_parsed_is_protocol_even_if_an_end_follows() {
    let broken = "data: {\"choices\":[{\"delta\":}]}\n\n";
    for body in [
        &[TOKEN, broken, STOP, DONE][..],
        &[broken],
        &[TOKEN, "data: hello\n\n"],
    ] {
        let outcome = outcome(STREAM, body, BodyEnd::TimedOut);
        let (status, kind, error) = verdict(&outcome);
        assert_eq!((status, kind), (Protocol, Some(Contract)), "{body:?}");
        assert!(error.starts_with("no chat completion that can be read: expected value at line"));
    }
    let outcome = outcome(JSON, &["{\"choices\":[{"], BodyEnd::Complete);
    assert_eq!(outcome.status, Protocol);
}

#[test]
fn what_was_cut_off_is_incomplete_and_no_fault_of_form() {
    let reset = || BodyEnd::Failed {
        error: "connection reset".to_string(),
    };
    let in_event = outcome(STREAM, &[TOKEN, "data: {\"choices\":[{\"del"], reset());
    let wanted = "connection reset (after 1 chunks)";
    assert_eq!(verdict(&in_event), (Incomplete, Some(Dependency), wanted));
    assert_eq!(in_event.token_source, Some(TokenSource::Chunks));
    let in_character = outcome(
        STREAM,
        &[
            TOKEN,
            "data: {\"choices\":[{\"delta\":{\"content\":\"\u{fc}",
        ],
        reset(),
    );
    assert_eq!(in_character.status, Incomplete);
    let in_document = outcome(JSON, &["{\"choices\":[{"], reset());
    assert_eq!(in_document.status, Incomplete);
}

#[test]
fn an_error_in_the_middle_is_incomplete_even_if_done_follows() {
    let plain = "data: {\"error\":{\"message\":\"engine died\"}}\n\n";
    let wanted = (Incomplete, Some(Dependency), "engine died");
    let outcome = check(STREAM, &[TOKEN, plain, DONE], wanted);
    assert_eq!(outcome.output_tokens, Some(1));
    assert_eq!(outcome.http_status, Some(200));
    check(STREAM, &[TOKEN, STOP, plain, DONE], wanted);
    for other in [
        "error: {\"code\":500,\"message\":\"engine died\",\"type\":\"server_error\"}\n\n",
        "event: error\ndata: {\"message\":\"engine died\"}\n\n",
        "event: error\ndata: engine died\n\n",
        "data: {\"error\":\"engine died\",\"error_type\":\"generation\"}\n\n",
        // Cut off behind its line.
        "data: {\"error\":\"engine died\"}",
    ] {
        check(STREAM, &[TOKEN, other], wanted);
    }
    let busy = "data: {\"error\":{\"message\":\"preempted\",\"code\":503}}\n\n";
    check(
        STREAM,
        &[busy, DONE],
        (Incomplete, Some(Overload), "preempted"),
    );
    let whole = r#"{"error":{"message":"engine died","code":500}}"#;
    check(JSON, &[whole], wanted);
}

#[test]
fn a_finish_reason_that_says_it_failed_is_believed() {
    for reason in ["abort", "error"] {
        let end = format!(
            "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n"
        );
        let text = format!("the server ended the reply with finish reason `{reason}`");
        let wanted = (Incomplete, Some(Dependency), text.as_str());
        let outcome = check(STREAM, &[TOKEN, &end, DONE], wanted);
        assert_eq!(outcome.finish_reason.as_deref(), Some(reason));
    }
}

#[test]
fn ends_before_the_first_byte() {
    let finish = |end| Reply::streaming().finish(end, &Redaction::none());
    let text = |error: &str| error.to_string();
    let cases = [
        (
            BodyEnd::Failed {
                error: text("connection refused"),
            },
            (
                Connection,
                Some(Dependency),
                "connection refused (before the first byte)",
            ),
        ),
        (
            BodyEnd::TlsFailed {
                error: text("unknown issuer"),
                fault: TlsFault::Certificate,
            },
            (
                Connection,
                Some(Dependency),
                "unknown issuer (before the first byte)",
            ),
        ),
        (
            BodyEnd::OwnFailure {
                error: text("too many open files"),
            },
            (Connection, Some(Harness), "too many open files"),
        ),
        (
            BodyEnd::Unparsable {
                error: text("invalid HTTP version"),
            },
            (Protocol, Some(Contract), "invalid HTTP version"),
        ),
        (
            BodyEnd::TimedOut,
            (
                Status::Timeout,
                Some(Timeout),
                "timed out before the first byte",
            ),
        ),
        (BodyEnd::Cancelled, (Cancelled, Some(Harness), "")),
    ];
    for (end, wanted) in cases {
        let outcome = finish(end);
        assert_eq!(verdict(&outcome), wanted);
        assert_eq!((outcome.http_status, outcome.first_byte_ns), (None, None));
        assert_eq!((outcome.output_tokens, outcome.token_source), (None, None));
    }
}

#[test]
fn ends_after_the_first_byte() {
    let timed_out = outcome(STREAM, &[TOKEN], BodyEnd::TimedOut);
    let wanted = (Status::Timeout, Some(Timeout), "timed out after 1 chunks");
    assert_eq!(verdict(&timed_out), wanted);
    assert_eq!(timed_out.chunks.len(), 1);
    let cancelled = outcome(STREAM, &[TOKEN], BodyEnd::Cancelled);
    assert_eq!(verdict(&cancelled), (Cancelled, Some(Harness), ""));
    let own = BodyEnd::OwnFailure {
        error: "out of memory".to_string(),
    };
    let own = outcome(STREAM, &[TOKEN], own);
    assert_eq!(verdict(&own), (Incomplete, Some(Harness), "out of memory"));
}

#[test]
fn a_count_of_zero_is_not_believed_where_text_came() {
    let zero = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":0}}\n\n";
    let outcome = check(STREAM, &[TOKEN, STOP, zero], (Ok, None, ""));
    assert_eq!(outcome.output_tokens, Some(1));
    assert_eq!(outcome.token_source, Some(TokenSource::Chunks));
    assert_eq!(outcome.prompt_tokens, Some(2));
}
