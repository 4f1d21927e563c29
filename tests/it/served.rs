//! `plimsoll serve` as a process: what it answers, and that it ends when told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::between::{Between, Passing, Rules};
use crate::buckets::{answer, at, in_environment};
use crate::peers::Bucket;
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
    serving_from(place, &[], flags)
}

/// The same with storage that these variables name.
fn serving_from(
    place: &Place,
    variables: &[(&str, String)],
    flags: &[&str],
) -> (Running, SocketAddr) {
    let server = nobody();
    let listen = server.to_string();
    let flags = [&["serve", "--listen", &listen], flags].concat();
    let mut command = in_environment(place, variables, &flags);
    let mut serving = Running::start(&mut command, Listen::ToResults);
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

/// It says so while storage refuses or does not answer, goes on with what it has read, and is well
/// again when storage is.
#[test]
fn the_service_outlives_the_failures_of_its_storage() {
    let bucket = Bucket::s3();
    let place = Place::new();
    let simulated = Simulated::quick(&place);
    let there = ["--warehouse", bucket.warehouse];
    let measure = || {
        let run = [&simulated.run(&["--requests", "4"])[..], &there].concat();
        let done = answer(&place, &bucket.variables, &run);
        assert!(matches!(done.code, Some(0 | 5)), "{done:?}");
    };
    measure();
    let fate = Arc::new(Mutex::new(Passing::Whole));
    let set = |passing| *fate.lock().expect("nobody fails with it") = passing;
    let of_request = Arc::clone(&fate);
    let rules = Rules::of(move |_| *of_request.lock().expect("nobody fails with it"));
    let between = Between::before(&bucket.url, rules);
    let mut variables = at(&bucket, between.url());
    variables.push(("AWS_TIMEOUT", "1s".to_owned()));
    let (serving, server) = serving_from(&place, &variables, &there);
    let sql = |statement: &str| {
        let body = format!(r#"{{"sql": "{statement}"}}"#);
        ask(server, "POST", "/api/v1/sql", &body)
    };
    // Asked in other words each time, so that no answer is kept.
    let runs = |name: &str| sql(&format!("select count(*) as {name} from runs"));
    assert!(runs("before").contains(r#""before":1"#));
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what} never came about");
        }
    };
    let ready = || ask(server, "GET", "/readyz", "");
    for (round, (passing, said, help, unread)) in [
        (
            Passing::Expired,
            "has expired",
            "renew the credentials",
            "ticks",
        ),
        (
            Passing::Held,
            "no answer in time",
            "try it again later",
            "requests",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let measured = round + 1;
        set(passing);
        until(said, &|| {
            let reply = ready();
            reply.starts_with("HTTP/1.1 503") && reply.contains(said) && reply.contains(help)
        });
        assert!(ask(server, "GET", "/healthz", "").starts_with("HTTP/1.1 200"));
        let reply = runs(&format!("meanwhile_{round}"));
        assert!(reply.contains(&format!(r#":{measured}}}"#)), "{reply}");
        let reply = sql(&format!("select * from {unread}"));
        assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
        assert!(reply.contains(said) && reply.contains(help), "{reply}");
        set(Passing::Whole);
        until("health", &|| ready().starts_with("HTTP/1.1 200"));
        measure();
        let seen = format!(r#":{}}}"#, measured + 1);
        until("the next run", &|| {
            runs(&format!("after_{round}")).contains(&seen)
        });
        assert!(sql(&format!("select * from {unread}")).starts_with("HTTP/1.1 200"));
    }
    serving.signal(Signal::SIGTERM);
    let ended = serving.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// To look for what is new each second costs as little as a bucket asks for.
#[test]
fn a_service_lists_nothing_while_nothing_is_published() {
    let bucket = Bucket::s3();
    let place = Place::new();
    let there = ["--warehouse", bucket.warehouse];
    let init = [&["warehouse", "init"], &there[..]].concat();
    let made = answer(&place, &bucket.variables, &init);
    assert_eq!(made.code, Some(0), "{made:?}");
    let (sent, asked) = mpsc::channel();
    let rules = Rules::of(move |request| {
        // Nobody listens any more when the test is over.
        drop(sent.send(request[0].clone()));
        Passing::Whole
    });
    let between = Between::before(&bucket.url, rules);
    let flags = [&["--maintain", "off"], &there[..]].concat();
    let (_serving, _) = serving_from(&place, &at(&bucket, between.url()), &flags);
    while asked.try_recv().is_ok() {}
    // The refresh that made it ready may still be under way.
    let each = 14;
    let next = || asked.recv_timeout(Duration::from_secs(20));
    let requests: Vec<String> = (0..3 * each).map(|_| next().expect("it looks")).collect();
    for request in &requests[each..] {
        let (method, path) = request.split_once(' ').expect("a request");
        assert_eq!(method, "HEAD", "{requests:?}");
        assert!(
            path.contains("/_delta_log/00000000000000000001.json"),
            "{path}"
        );
    }
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
