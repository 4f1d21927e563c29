//! Alive and ready.

use std::time::Duration;

use hyper::Method;
use plimsoll_query_api::api::ApiOptions;

use crate::place::{Place, run};
use crate::server::{Server, until};

fn often() -> ApiOptions {
    ApiOptions {
        refresh_every: Duration::from_millis(20),
        ..ApiOptions::default()
    }
}

async fn ready(server: &Server) {
    until("ready", async || server.get("/readyz").await.status == 200).await;
}

#[tokio::test]
async fn a_place_without_a_warehouse_is_ready_and_stays_empty() {
    let place = Place::empty();
    let server = Server::start(place.open().await, often()).await;
    let alive = server.get("/healthz").await;
    assert_eq!(
        (alive.status, alive.json()["status"].clone()),
        (200, "alive".into())
    );
    ready(&server).await;
    let answer = server.get("/readyz").await.json();
    assert_eq!(answer["exists"], false);
    assert_eq!(
        answer["warehouse"],
        place.warehouse_folder().to_str().expect("text")
    );
    assert_eq!(
        server.get("/api/v1/runs").await.json()["runs"],
        serde_json::json!([])
    );
    assert!(!place.warehouse_folder().exists(), "nothing was created");
}

#[tokio::test]
async fn what_cannot_be_read_is_said_until_it_can() {
    let place = Place::with(&[run(0, 1, "m")]).await;
    let server = Server::start(place.open().await, often()).await;
    ready(&server).await;
    assert_eq!(server.get("/readyz").await.json()["exists"], true);

    place.break_runs();
    until("not ready", async || {
        server.get("/readyz").await.status == 503
    })
    .await;
    let problem = server.get("/readyz").await.json();
    assert_eq!(problem["code"], "warehouse_unreadable");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("reports.runs"), "{detail}");
    assert_eq!(
        server.get("/healthz").await.status,
        200,
        "the process is alive all the same"
    );
    let runs = server.get("/api/v1/runs").await.json();
    assert_eq!(
        runs["runs"].as_array().map(Vec::len),
        Some(1),
        "what was read stays"
    );

    place.mend_runs();
    ready(&server).await;
}

#[tokio::test]
async fn a_run_that_is_published_meanwhile_appears() {
    let place = Place::with(&[run(0, 1, "m")]).await;
    let server = Server::start(place.open().await, ApiOptions::default()).await;
    ready(&server).await;
    place.publish(&run(1, 2, "m")).await;
    until("the second run is visible", async || {
        let runs = server.get("/api/v1/runs").await.json();
        runs["runs"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    assert_eq!(server.get("/api/v1/runs/latest/report").await.status, 200);
}

#[tokio::test]
async fn the_document_lists_every_route() {
    let server = Server::start(Place::empty().open().await, ApiOptions::default()).await;
    let paths = server.document()["paths"].as_object().expect("paths");
    let routes: Vec<&str> = paths.keys().map(String::as_str).collect();
    let expected = [
        "/api/v1/jobs",
        "/api/v1/jobs/{job}",
        "/api/v1/jobs/{job}/events",
        "/api/v1/openapi.json",
        "/api/v1/pause",
        "/api/v1/resume",
        "/api/v1/runs",
        "/api/v1/runs/{run}",
        "/api/v1/runs/{run}/report",
        "/api/v1/schedules",
        "/api/v1/schedules/{schedule}",
        "/api/v1/schedules/{schedule}/pause",
        "/api/v1/schedules/{schedule}/resume",
        "/api/v1/sql",
        "/healthz",
        "/metrics",
        "/readyz",
    ];
    assert_eq!(routes, expected);
    for route in expected {
        let method = match route {
            "/api/v1/schedules/{schedule}" => Method::DELETE,
            "/api/v1/sql" => Method::POST,
            route if route.ends_with("/pause") || route.ends_with("/resume") => Method::POST,
            _ => Method::GET,
        };
        let path = route
            .replace("{run}", "latest")
            .replace("{job}", "latest")
            .replace("{schedule}", "nightly");
        let answer = server.send(method, &path, &[], "").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let unknown = text.contains("\"code\":\"unknown_route\"");
        assert!(!unknown, "{route} is served");
        assert_ne!(answer.status, 405, "{route} is served by that method");
    }
    assert!(
        server.document()["openapi"]
            .as_str()
            .is_some_and(|v| v.starts_with("3.1"))
    );
}
