//! Model servers that speak HTTP and the protocol in ways of their own.

use std::net::SocketAddr;

use serde_json::json;

use crate::program::Place;
use crate::simulated::server_that_answers;

/// An answer whose body ends with its connection.
fn until_closed(status: &str, content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{body}")
}

/// Two tokens as a stream, with a count of them or without.
fn two_tokens(counted: bool) -> String {
    let token = r#"data: {"choices":[{"index":0,"delta":{"content":"word "}}]}"#;
    let finish = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;
    let end = match counted {
        true => format!("{finish}\n\n{usage}"),
        false => finish.to_owned(),
    };
    let stream = format!("{token}\n\n{token}\n\n{end}\n\ndata: [DONE]\n\n");
    until_closed("200 OK", "text/event-stream", &stream)
}

fn measure(place: &Place, server: SocketAddr) {
    let url = format!("http://{server}/v1");
    let closed_loop = ["--profile", "max_throughput", "--concurrency", "1"];
    let subject = [
        "run",
        "--url",
        &url,
        "--model",
        "m",
        "--requests",
        "40",
        "--json",
    ];
    let answer = place.answer(&[&subject[..], &closed_loop].concat());
    assert!(answer.json()["runs"][0]["run_id"].is_string(), "{answer:?}");
}

#[test]
fn a_body_that_ends_with_its_connection_has_the_kernels_times() {
    let place = Place::new();
    measure(&place, server_that_answers(|_| two_tokens(true)));
    // Only the first replies of a system come before the kernel stamps.
    let replies = place.rows(
        "select status, output_tokens, count(*) > 20 as many from raw.requests \
         where timestamp_source = 'kernel' and phase <> 'probe' group by all",
    );
    assert_eq!(
        replies,
        [json!({"status": "ok", "output_tokens": 2, "many": true})]
    );
}

/// Servers that check requests against a schema do not know how to count along.
#[test]
fn a_server_that_refuses_to_count_is_asked_without() {
    let place = Place::new();
    let server = server_that_answers(|request| match request.contains("stream_options") {
        true => until_closed(
            "422 Unprocessable Entity",
            "application/json",
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#,
        ),
        false => two_tokens(false),
    });
    measure(&place, server);
    assert_eq!(
        place.rows("select phase, http_status, status, count(*) as n from raw.requests where phase <> 'warm_up' group by all order by phase, http_status"),
        [
            json!({"phase": "probe", "http_status": 200, "status": "ok", "n": 1}),
            json!({"phase": "probe", "http_status": 422, "status": "http_error", "n": 1}),
            json!({"phase": "steady", "http_status": 200, "status": "ok", "n": 40}),
        ]
    );
}
