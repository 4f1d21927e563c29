//! The list of runs, and one of them.

use hyper::Method;
use plimsoll_ingest::RunRow;
use plimsoll_query_api::api::ApiOptions;
use serde_json::{Value, json};

use crate::place::{Place, id, run};
use crate::server::Server;

async fn server(runs: &[RunRow]) -> Server {
    let place = Place::with(runs).await;
    Server::start(place.open().await, ApiOptions::default())
        .await
        .keeping(place)
}

async fn models(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/api/v1/runs{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = answer.json();
    let runs = page["runs"].as_array().expect("runs").clone();
    runs.iter()
        .filter_map(|run| run["model"].as_str())
        .map(str::to_string)
        .collect()
}

#[tokio::test]
async fn runs_come_newest_first_and_filtered() {
    let mut runs = [
        run(0, 1, "a"),
        run(1, 2, "b"),
        run(2, 3, "a"),
        run(3, 4, "c d"),
    ];
    runs[1].verdict = "blocked".to_string();
    runs[2].profile = Some("smoke".to_string());
    let server = server(&runs).await;
    assert_eq!(models(&server, "").await, ["c d", "a", "b", "a"]);
    assert_eq!(models(&server, "?model=c%20d").await, ["c d"]);
    assert_eq!(models(&server, "?model=nobody").await, [""; 0]);
    assert_eq!(models(&server, "?verdict=blocked").await, ["b"]);
    assert_eq!(models(&server, "?profile=smoke&model=a").await, ["a"]);
    assert_eq!(
        models(&server, "?since=2026-02-25T06:15:20Z").await,
        ["c d", "a"]
    );
    assert_eq!(
        models(&server, "?since=2026-02-25T07:15:20%2B01:00").await,
        ["c d", "a"]
    );
    assert_eq!(models(&server, "?since=2026-02-25").await.len(), 4);
    assert_eq!(models(&server, "?since=2026-02-26").await.len(), 0);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let runs: Vec<RunRow> = (0..5)
        .map(|at| run(at, at as u8, &format!("m{at}")))
        .collect();
    let server = server(&runs).await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server
            .get(&format!("/api/v1/runs?limit=2{cursor}"))
            .await
            .json();
        for run in page["runs"].as_array().expect("runs") {
            seen.push(run["model"].as_str().expect("a model").to_string());
        }
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["m4", "m3", "m2", "m1", "m0"]);
    let last = server.get("/api/v1/runs?limit=5").await.json();
    assert_eq!(
        last["next_cursor"],
        Value::Null,
        "a full last page says that it is the last"
    );
}

#[tokio::test]
async fn a_run_has_every_column_and_its_json_is_json() {
    let row = run(0, 1, "m");
    let server = server(&[row.clone(), run(1, 2, "n")]).await;
    let full = row.run_id.to_string();
    let short = row.run_id.short();
    for reference in [full.as_str(), short.as_str()] {
        let answer = server.get(&format!("/api/v1/runs/{reference}")).await;
        assert_eq!(answer.status, 200, "{reference}: {}", answer.text());
        assert_eq!(answer.json()["run_id"], full);
    }
    let run = server.get(&format!("/api/v1/runs/{full}")).await.json();
    assert_eq!(run["config"]["seed"], 7);
    assert_eq!(run["labels"], json!({"team": "inference"}));
    assert_eq!(run["verdict_reasons"][0]["rule"], "error_rate");
    assert_eq!(run["cost_usd"], Value::Null);
    assert_eq!(run["started_at"], "2026-02-25T06:13:20Z");
    let columns = plimsoll_ingest::Table::Runs.columns();
    for column in columns {
        assert!(
            run.get(column.name).is_some(),
            "`{}` is missing",
            column.name
        );
    }
    assert_eq!(server.get("/api/v1/runs/latest").await.json()["model"], "n");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = server(&[run(0, 1, "m")]).await;
    let path = format!("/api/v1/runs/{}", id(0, 1));
    let answer = server.send(Method::HEAD, &path, &[], "").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), "application/json");
}
