//! Each error with its status and its code.

use std::time::Duration;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use plimsoll_ingest::RunRow;
use plimsoll_query_api::api::ApiOptions;
use plimsoll_warehouse::{Access, WarehouseOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Answer;
use crate::place::{Place, id, run};
use crate::server::{ENDLESS_ROWS, ENDLESS_WAIT, Server};

#[track_caller]
fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["type"], format!("urn:plimsoll:problem:{code}"));
    assert_eq!(problem["status"], status);
    for text in ["title", "detail"] {
        assert!(
            problem[text].as_str().is_some_and(|text| !text.is_empty()),
            "{problem}"
        );
    }
}

async fn server_with(runs: &[RunRow], options: ApiOptions) -> Server {
    let place = Place::with(runs).await;
    Server::start(place.open().await, options)
        .await
        .keeping(place)
}

async fn server() -> Server {
    server_with(&[run(0, 1, "m")], ApiOptions::default()).await
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let server = server().await;
    for path in [
        "/",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v1/runs/latest/nothing",
        "/healthz/",
    ] {
        check(&server.get(path).await, 404, "unknown_route");
    }
    let wrong = server.send(Method::DELETE, "/api/v1/runs", &[], "").await;
    check(&wrong, 405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "GET,HEAD");
    let wrong = server.get("/api/v1/sql").await;
    check(&wrong, 405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "POST");
}

#[tokio::test]
async fn bodies_that_are_no_statement() {
    let options = ApiOptions {
        max_body_bytes: 200,
        ..ApiOptions::default()
    };
    let server = server_with(&[], options).await;
    check(
        &server.post_sql("{\"sql\": ", "*/*").await,
        400,
        "invalid_json",
    );
    for body in [
        "{}",
        "[]",
        r#"{"sql":1}"#,
        r#"{"sql":"select 1","limit":3}"#,
    ] {
        check(&server.post_sql(body, "*/*").await, 422, "invalid_body");
    }
    let large = json!({"sql": format!("select '{}'", "x".repeat(200))}).to_string();
    check(&server.post_sql(&large, "*/*").await, 413, "body_too_large");
    let plain = server
        .send(
            Method::POST,
            "/api/v1/sql",
            &[(CONTENT_TYPE, "text/plain")],
            "{}",
        )
        .await;
    check(&plain, 415, "unsupported_media_type");
    let none = server
        .send(Method::POST, "/api/v1/sql", &[], "{\"sql\":\"select 1\"}")
        .await;
    check(&none, 415, "unsupported_media_type");
    assert!(
        none.json()["help"]
            .as_str()
            .is_some_and(|help| help.contains("application/json"))
    );
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let request = "POST /api/v1/sql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert!(text.contains("\"code\":\"body_unreadable\""), "{text}");
}

#[tokio::test]
async fn representations_that_cannot_be_had() {
    let server = server().await;
    let answer = server.sql_as("select 1", "image/png").await;
    check(&answer, 406, "not_acceptable");
    assert!(
        answer.json()["help"]
            .as_str()
            .is_some_and(|help| help.contains("text/csv"))
    );
    let path = "/api/v1/runs/latest/report";
    check(
        &server.get_as(path, "application/pdf").await,
        406,
        "not_acceptable",
    );
    check(
        &server.get(&format!("{path}?format=pdf")).await,
        400,
        "invalid_parameter",
    );
}

#[tokio::test]
async fn statements_that_are_wrong() {
    let server = server().await;
    let cases = [
        ("selec 1", 400, "sql_syntax"),
        ("", 400, "sql_syntax"),
        ("select * from rums", 400, "unknown_table"),
        ("select modle from runs", 400, "unknown_column"),
        ("select nofunction(1)", 400, "sql_invalid"),
        ("select $1", 400, "sql_parameters"),
        (
            "select attempt / (attempt - 1) from runs",
            400,
            "sql_failed",
        ),
        ("drop table runs", 403, "sql_refused"),
        ("insert into runs select * from runs", 403, "sql_refused"),
        ("select 1; select 2", 403, "sql_refused"),
        (
            "set datafusion.execution.batch_size = 1",
            403,
            "sql_refused",
        ),
        ("copy runs to '/tmp/x.csv'", 403, "sql_refused"),
        ("select * from audit.events", 403, "table_not_allowed"),
        (
            "select * from saturation_curve('abcdef01')",
            404,
            "unknown_run",
        ),
        ("select * from saturation_curve('x')", 400, "invalid_run"),
    ];
    for (sql, status, code) in cases {
        println!("{sql}");
        check(&server.sql(sql).await, status, code);
    }
    let near = server.sql("select modle from runs").await.json();
    assert_eq!(near["help"], "did you mean `model`?");
    let list = json!({"sql": "select $1", "params": [[1]]}).to_string();
    check(&server.post_sql(&list, "*/*").await, 400, "sql_parameters");
}

#[tokio::test]
async fn access_says_which_schemas_there_are() {
    let place = Place::with(&[run(0, 1, "m")]).await;
    let options = ApiOptions {
        access: Access::Reports,
        ..ApiOptions::default()
    };
    let server = Server::start(place.open().await, options).await;
    check(
        &server.sql("select * from raw.requests").await,
        403,
        "table_not_allowed",
    );
    let options = ApiOptions {
        access: Access::All,
        ..ApiOptions::default()
    };
    let server = Server::start(place.open().await, options).await;
    assert_eq!(server.sql("select * from audit.events").await.status, 200);
}

#[tokio::test]
async fn a_query_that_takes_too_long() {
    let options = ApiOptions {
        query_timeout: Duration::from_millis(100),
        ..ApiOptions::default()
    };
    let server = server_with(&[], options).await;
    let answer = server.sql(ENDLESS_WAIT).await;
    check(&answer, 504, "query_timeout");
    assert!(
        answer.json()["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("100 ms"))
    );
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory() {
    let options = WarehouseOptions {
        memory_limit: 1 << 20,
        spill_limit: 0,
        threads: 1,
        ..WarehouseOptions::default()
    };
    let warehouse = Place::empty().open_with(options).await;
    let server = Server::start(warehouse, ApiOptions::default()).await;
    let sql = "select 'x' || value as t from generate_series(1, 1000000) order by t desc";
    check(&server.sql(sql).await, 507, "query_memory");
}

#[tokio::test]
async fn one_query_more_than_may_run() {
    let options = ApiOptions {
        concurrent_queries: 0,
        ..ApiOptions::default()
    };
    let server = server_with(&[run(0, 1, "m")], options).await;
    for answer in [
        server.sql("select 1").await,
        server.get("/api/v1/runs").await,
        server.get("/api/v1/runs/latest").await,
        server.get("/api/v1/runs/latest/report").await,
    ] {
        check(&answer, 429, "too_many_queries");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn runs_that_are_not_meant_by_one_name() {
    let twins = [run(0, 7, "a"), run(1, 7, "b")];
    let server = server_with(&twins, ApiOptions::default()).await;
    let short = id(0, 7).short();
    for tail in ["", "/report"] {
        let unknown = server
            .get(&format!("/api/v1/runs/{}{tail}", id(5, 5)))
            .await;
        check(&unknown, 404, "unknown_run");
        check(
            &server.get(&format!("/api/v1/runs/abc{tail}")).await,
            400,
            "invalid_run",
        );
        check(
            &server.get(&format!("/api/v1/runs/%ff{tail}")).await,
            400,
            "invalid_parameter",
        );
        let ambiguous = server.get(&format!("/api/v1/runs/{short}{tail}")).await;
        check(&ambiguous, 409, "ambiguous_run");
        let matches = json!([id(1, 7).to_string(), id(0, 7).to_string()]);
        assert_eq!(ambiguous.json()["matches"], matches);
    }
    let curve = format!("select * from saturation_curve('{short}')");
    check(&server.sql(&curve).await, 409, "ambiguous_run");
}

#[tokio::test]
async fn filters_that_are_wrong() {
    let server = server().await;
    for query in [
        "limit=0",
        "limit=x",
        "verdict=good",
        "since=now",
        "cursor=1",
        "color=red",
    ] {
        check(
            &server.get(&format!("/api/v1/runs?{query}")).await,
            400,
            "invalid_parameter",
        );
    }
}

#[tokio::test]
async fn a_run_whose_rows_break_the_contract() {
    let place = Place::with(&[run(0, 1, "m")]).await;
    place.rewrite_run(&RunRow {
        config: "no json".to_string(),
        ..run(0, 1, "m")
    });
    let server = Server::start(place.open().await, ApiOptions::default()).await;
    check(
        &server.get("/api/v1/runs/latest").await,
        500,
        "unreadable_run",
    );
    check(
        &server.get("/api/v1/runs/latest/report").await,
        500,
        "unreadable_run",
    );
    assert_eq!(
        server.get("/api/v1/runs").await.status,
        200,
        "the list shows it all the same"
    );
}

#[tokio::test]
async fn a_warehouse_that_cannot_be_read() {
    let place = Place::with(&[run(0, 1, "m")]).await;
    place.break_runs();
    let server = Server::start(place.open().await, ApiOptions::default()).await;
    check(
        &server.sql("select * from runs").await,
        503,
        "warehouse_unreadable",
    );
    check(
        &server.get("/api/v1/runs").await,
        503,
        "warehouse_unreadable",
    );
    check(
        &server.get("/api/v1/runs/latest").await,
        503,
        "warehouse_unreadable",
    );
    check(
        &server.get("/api/v1/runs/latest/report").await,
        503,
        "warehouse_unreadable",
    );
}

#[tokio::test]
async fn what_fails_after_the_first_rows_breaks_off() {
    let options = ApiOptions {
        query_timeout: Duration::from_millis(500),
        ..ApiOptions::default()
    };
    let server = server_with(&[], options).await;
    let body = json!({"sql": ENDLESS_ROWS}).to_string();
    let headers = [(CONTENT_TYPE, "application/json"), (ACCEPT, "text/csv")];
    let request = crate::client::request(Method::POST, "/api/v1/sql", &headers, body);
    let mut connection = crate::client::Connection::open(server.address).await;
    let response = connection.send(request).await;
    assert_eq!(response.status(), 200);
    let whole = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(whole.is_err(), "a cut result must not look whole");
}
