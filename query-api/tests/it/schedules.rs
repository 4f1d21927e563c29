//! Schedules over HTTP.

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName};
use plimsoll_query_api::api::ApiOptions;
use serde_json::json;

use crate::client::Answer;
use crate::place::Place;
use crate::server::Server;

const NIGHTLY: &str = "
name: nightly
cron: 30 2 * * *
time_zone: Europe/Berlin
jitter: 5m
job:
  subject: {model: llama, endpoint: \"http://gpu7:8000/v1?key=hunter2\"}
  suites: [{performance: smoke}]
";

async fn server() -> Server {
    Server::start(Place::empty().open().await, ApiOptions::default()).await
}

async fn put(server: &Server, body: &str) -> Answer {
    let user = HeaderName::from_static("plimsoll-user");
    let headers = [(CONTENT_TYPE, "application/yaml"), (user, "ada")];
    server
        .send(Method::POST, "/api/v1/schedules", &headers, body)
        .await
}

#[tokio::test]
async fn a_schedule_is_made_listed_held_back_and_removed() {
    let server = server().await;
    let made = put(&server, NIGHTLY).await;
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.json()["created_by"], "ada");
    assert_eq!(
        (
            made.json()["overlap"].clone(),
            made.json()["jitter"].clone()
        ),
        (json!("skip"), json!("5m"))
    );
    assert!(!made.json().to_string().contains("hunter2"));
    assert!(made.json()["next_at"].is_string());
    let changed = put(&server, &NIGHTLY.replace("30 2", "0 3")).await;
    assert_eq!(
        (changed.status, changed.json()["cron"].clone()),
        (200, json!("0 3 * * *"))
    );
    let list = server.get("/api/v1/schedules").await.json();
    assert_eq!(list["schedules"].as_array().map(Vec::len), Some(1));
    let paused = server
        .send(Method::POST, "/api/v1/schedules/nightly/pause", &[], "")
        .await;
    assert_eq!(
        (paused.status, paused.json()["paused_by"].clone()),
        (200, json!("unknown"))
    );
    let resumed = server
        .send(Method::POST, "/api/v1/schedules/nightly/resume", &[], "")
        .await;
    assert_eq!(
        (resumed.status, resumed.json()["paused_by"].clone()),
        (200, json!(null))
    );
    let gone = server
        .send(Method::DELETE, "/api/v1/schedules/nightly", &[], "")
        .await;
    assert_eq!(gone.status, 204);
    for (method, path) in [
        (Method::DELETE, "/api/v1/schedules/nightly"),
        (Method::POST, "/api/v1/schedules/nightly/pause"),
        (Method::POST, "/api/v1/schedules/nightly/resume"),
    ] {
        let answer = server.send(method, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (404, json!("unknown_schedule"))
        );
    }
}

#[tokio::test]
async fn a_schedule_that_never_fires_is_refused() {
    let server = server().await;
    let answer = put(
        &server,
        &NIGHTLY
            .replace("30 2 * * *", "0 0 30 2 *")
            .replace("smoke", "smke"),
    )
    .await;
    let problem = answer.json();
    assert_eq!(
        (answer.status, problem["code"].clone()),
        (422, json!("invalid_schedule"))
    );
    assert_eq!(problem["faults"][0]["message"], "`0 0 30 2 *` never fires");
    assert_eq!(problem["faults"][1]["path"], "job.suites[0].performance");
    assert_eq!(
        server.get("/api/v1/schedules").await.json(),
        json!({"schedules": []})
    );
    let answer = put(&server, "[1").await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (422, json!("invalid_schedule"))
    );
}
