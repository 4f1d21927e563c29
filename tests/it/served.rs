//! `plimsoll serve` as a process: what it answers, and that it ends when told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::program::{Listen, Place, Running};
use crate::simulated::{Simulated, nobody};

/// The reply to one request, status line and all.
fn ask(server: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("it listens");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut reply = String::new();
    stream
        .read_to_string(&mut reply)
        .expect("it answers in UTF-8");
    reply
}

#[test]
fn the_service_answers_what_was_measured_and_ends_when_told() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    place.done(&simulated.run(&["--profile", "smoke"]));
    let server = nobody();
    let listen = server.to_string();
    let mut serving = Running::start(
        &mut place.command(&["serve", "--listen", &listen]),
        Listen::ToResults,
    );
    serving.wait_for(&listen);

    assert!(ask(server, "GET", "/healthz", "").starts_with("HTTP/1.1 200"));
    // It listens before it has opened the warehouse, and says so.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask(server, "GET", "/readyz", "").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "it never became ready");
    }
    let reply = ask(
        server,
        "POST",
        "/api/v1/sql",
        r#"{"sql": "select verdict from runs"}"#,
    );
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.contains("passed"),
        "{reply}"
    );
    let reply = ask(
        server,
        "POST",
        "/api/v1/sql",
        r#"{"sql": "drop table runs"}"#,
    );
    assert!(reply.contains("application/problem+json"), "{reply}");
    let reply = ask(server, "GET", "/api/v1/runs", "");
    assert!(reply.contains("smoke"), "{reply}");
    let reply = ask(server, "GET", "/api/v1/openapi.json", "");
    assert!(reply.contains("/api/v1/sql"), "{reply}");

    serving.signal(Signal::SIGTERM);
    let answer = serving.end();
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn a_taken_port_that_was_asked_for_is_an_error() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let listen = taken.local_addr().expect("it is bound").to_string();
    place
        .answer(&["serve", "--listen", &listen])
        .refuses(1, &listen, "--listen");
}
