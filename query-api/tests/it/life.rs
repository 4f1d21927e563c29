//! Callers that leave, and a server that ends.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use plimsoll_query_api::api::ApiOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Answer, Connection, request};
use crate::place::Place;
use crate::server::{ENDLESS_ROWS, ENDLESS_WAIT, PATIENCE, Server, until};

/// One query at a time, and no limit on how long it may take.
fn one_at_a_time() -> ApiOptions {
    ApiOptions {
        concurrent_queries: 1,
        query_timeout: Duration::from_secs(600),
        ..ApiOptions::default()
    }
}

async fn server(options: ApiOptions) -> Server {
    Server::start(Place::empty().open().await, options).await
}

fn post(sql: &str) -> hyper::Request<http_body_util::Full<hyper::body::Bytes>> {
    let headers = [(CONTENT_TYPE, "application/json"), (ACCEPT, "text/csv")];
    request(
        Method::POST,
        "/api/v1/sql",
        &headers,
        json!({ "sql": sql }).to_string(),
    )
}

async fn busy(server: &Server) -> bool {
    server.sql("select 1").await.status == 429
}

#[tokio::test]
async fn a_query_ends_when_its_caller_leaves_before_the_first_row() {
    let server = server(one_at_a_time()).await;
    let mut caller = TcpStream::connect(server.address).await.expect("connected");
    let body = json!({ "sql": ENDLESS_WAIT }).to_string();
    let request = format!(
        "POST /api/v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    caller.write_all(request.as_bytes()).await.expect("written");
    until("the query runs", async || busy(&server).await).await;
    drop(caller);
    until("its place is free again", async || !busy(&server).await).await;
}

#[tokio::test]
async fn a_query_ends_when_its_caller_leaves_amid_the_rows() {
    let server = server(one_at_a_time()).await;
    let mut caller = Connection::open(server.address).await;
    let mut response = caller.send(post(ENDLESS_ROWS)).await;
    assert_eq!(response.status(), 200);
    let first = response
        .body_mut()
        .frame()
        .await
        .expect("a frame")
        .expect("bytes");
    assert!(
        first
            .into_data()
            .is_ok_and(|bytes| bytes.starts_with(b"n\n1\n"))
    );
    assert!(busy(&server).await);
    drop((response, caller));
    until("its place is free again", async || !busy(&server).await).await;
}

#[tokio::test]
async fn a_caller_that_reads_no_more_loses_its_place_at_the_time_limit() {
    let server = server(ApiOptions {
        query_timeout: Duration::from_secs(2),
        ..one_at_a_time()
    })
    .await;
    // Little fits between the two, so that the server soon has to wait.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(128 << 10)
        .expect("a small buffer");
    let mut caller = socket.connect(server.address).await.expect("connected");
    let wide = "x".repeat(400);
    let sql = format!("select '{wide}' as t from generate_series(1, 1000000000)");
    let body = json!({ "sql": sql }).to_string();
    let request = format!(
        "POST /api/v1/sql HTTP/1.1\r\nhost: localhost\r\naccept: text/csv\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    caller.write_all(request.as_bytes()).await.expect("written");
    let mut head = [0; 12];
    caller.read_exact(&mut head).await.expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(busy(&server).await);
    until("its place is free again", async || !busy(&server).await).await;
    assert_eq!(server.sql("select 1").await.status, 200);
    let mut rest = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, caller.read_to_end(&mut rest));
    // A connection that is reset was not ended as if the result were whole.
    reading.await.expect("in time").ok();
    assert!(
        !rest.ends_with(b"\r\n0\r\n\r\n"),
        "a result that was cut must not look whole"
    );
}

#[tokio::test]
async fn a_result_that_was_read_frees_its_place() {
    let server = server(one_at_a_time()).await;
    for _ in 0..20 {
        assert_eq!(server.sql("select 1").await.status, 200);
    }
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let mut server = server(ApiOptions::default()).await;
    // A connection that is kept open and asks nothing.
    let idle = Connection::open(server.address).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop();
    server.ended().await;
    drop(idle);
}

#[tokio::test]
async fn requests_that_run_may_end_within_the_grace() {
    let options = ApiOptions {
        shutdown_grace: PATIENCE,
        ..ApiOptions::default()
    };
    let mut server = server(options).await;
    let mut caller = Connection::open(server.address).await;
    let many = "select value from generate_series(1, 200000)";
    let response = caller.send(post(many)).await;
    server.stop();
    let answer = Answer::read(response).await;
    assert_eq!(answer.text().lines().count(), 200_001);
    server.ended().await;
}

#[tokio::test]
async fn requests_that_do_not_end_are_ended() {
    let options = ApiOptions {
        query_timeout: Duration::from_secs(600),
        shutdown_grace: Duration::from_millis(50),
        ..ApiOptions::default()
    };
    let mut server = server(ApiOptions {
        concurrent_queries: 2,
        ..options
    })
    .await;
    let mut waiting = Connection::open(server.address).await;
    let mut reading = Connection::open(server.address).await;
    let mut rows = reading.send(post(ENDLESS_ROWS)).await;
    let waiting = tokio::spawn(async move {
        let answer = Answer::read(waiting.send(post(ENDLESS_WAIT)).await).await;
        (waiting, answer)
    });
    until("both run", async || busy(&server).await).await;
    server.stop();
    let (_connection, answer) = tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (503, "shutting_down".into())
    );
    server.check_documented(&Method::POST, "/api/v1/sql", &answer);
    let rest = async {
        while let Some(frame) = rows.body_mut().frame().await {
            if frame.is_err() {
                return true;
            }
        }
        false
    };
    let broke_off = tokio::time::timeout(PATIENCE, rest).await.expect("in time");
    assert!(broke_off, "a result that was cut must not look whole");
    server.ended().await;
}
