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

/// A service with flags of its own, once it is ready.
fn serving(place: &Place, flags: &[&str]) -> (Running, SocketAddr) {
    let server = nobody();
    let listen = server.to_string();
    let flags = [&["serve", "--listen", &listen], flags].concat();
    let mut serving = Running::start(&mut place.command(&flags), Listen::ToResults);
    serving.wait_for(&listen);
    // It listens before it has opened the warehouse, and says so.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask(server, "GET", "/readyz", "").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "it never became ready");
    }
    (serving, server)
}

#[test]
fn the_service_answers_what_was_measured_and_ends_when_told() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    place.done(&simulated.run(&["--profile", "smoke"]));
    let (serving, server) = serving(&place, &[]);
    assert!(ask(server, "GET", "/healthz", "").starts_with("HTTP/1.1 200"));
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

    // What is published is seen within two seconds, though the answer before it is kept.
    let statement = r#"{"sql": "select count(*) as runs from runs"}"#;
    let count = || ask(server, "POST", "/api/v1/sql", statement);
    assert!(count().contains(r#""runs":1"#), "{}", count());
    place.done(&simulated.run(&["--profile", "smoke"]));
    let published = Instant::now();
    while !count().contains(r#""runs":2"#) {
        assert!(published.elapsed() < Duration::from_secs(2), "{}", count());
    }

    serving.signal(Signal::SIGTERM);
    let answer = serving.end();
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn the_service_has_the_limits_that_it_was_given() {
    let place = Place::new();
    let (_serving, server) = serving(&place, &["--max-rows", "2", "--timeout", "300ms"]);
    let sql = |statement: &str| {
        let body = format!(r#"{{"sql": "{statement}"}}"#);
        ask(server, "POST", "/api/v1/sql", &body)
    };
    let reply = sql("select value from generate_series(1, 5)");
    assert!(
        reply.contains(r#""row_count":2,"truncated":true"#),
        "{reply}"
    );
    let endless = "with recursive n as (select 1 as i union all select i + 1 from n) \
                   select count(*) from n";
    let reply = sql(endless);
    assert!(reply.contains("limit of 300 ms"), "{reply}");
    // A statement of a megabyte and more is no question.
    let reply = sql(&format!("select '{}'", "x".repeat(1 << 20)));
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    let reply = sql(&format!("select '{}'", "x".repeat((1 << 20) - 100)));
    assert!(reply.starts_with("HTTP/1.1 200"), "{}", &reply[..200]);
}

/// A service that starts after a crash publishes what the crash left behind.
#[test]
fn the_service_publishes_what_was_left_in_the_spool() {
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let load = [
        "--profile",
        "stability",
        "--rate",
        "50",
        "--duration",
        "20s",
    ];
    let mut command = place.command(&simulated.run(&load));
    let mut running = Running::start(&mut command, Listen::ToProgress);
    running.wait_for("stability 50 req/s:");
    running.signal(Signal::SIGKILL);
    running.end();
    assert_eq!(place.spooled().len(), 1);
    // It serves meanwhile.
    let (_serving, server) = serving(&place, &[]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask(server, "GET", "/api/v1/runs", "").contains("incomplete") {
        assert!(Instant::now() < deadline, "it was never published");
    }
    assert_eq!(place.spooled(), [""; 0]);
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
