//! A run's report in each form.

use plimsoll_query_api::api::ApiOptions;
use plimsoll_query_api::report::{Report, TerminalStyle};

use crate::place::{Place, id, run};
use crate::server::Server;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[tokio::test]
async fn the_form_follows_the_caller() {
    let place = Place::with(&[run(0, 1, "llama <70b>")]).await;
    let server = Server::start(place.open().await, ApiOptions::default()).await;
    let path = format!("/api/v1/runs/{}/report", id(0, 1));

    let json = server.get(&path).await;
    assert_eq!(json.header("content-type"), "application/json");
    let report = json.json();
    assert_eq!(report["verdict"], "passed");
    assert_eq!(report["run_id"], id(0, 1).to_string());
    assert_eq!(report["stages"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["environment"]["engine"], "vllm");
    assert_eq!(
        report["headline"],
        "llama <70b> holds its SLO up to 8 req/s, the heaviest load tried"
    );

    let page = server.get_as(&path, BROWSER).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(
        page.text().contains("<h1>llama &lt;70b&gt; holds its SLO"),
        "{}",
        page.text()
    );

    let markdown = server.get_as(&path, "text/markdown").await;
    assert_eq!(
        markdown.header("content-type"),
        "text/markdown; charset=utf-8"
    );
    assert!(
        markdown
            .text()
            .starts_with("# PASSED: llama &lt;70b&gt; holds")
    );

    for (format, media_type) in [
        ("json", "application/json"),
        ("markdown", "text/markdown; charset=utf-8"),
        ("html", "text/html; charset=utf-8"),
    ] {
        let answer = server
            .get_as(&format!("{path}?format={format}"), "image/png")
            .await;
        assert_eq!(
            answer.header("content-type"),
            media_type,
            "the query goes before the header"
        );
    }
}

#[tokio::test]
async fn the_terminal_shows_what_the_warehouse_holds() {
    let place = Place::with(&[run(0, 1, "m")]).await;
    let warehouse = place.open().await;
    let report = Report::load(&warehouse, id(0, 1)).await.expect("a report");
    let text = report.terminal(&TerminalStyle {
        width: 80,
        colour: false,
    });
    assert!(
        text.starts_with("  PASSED  m holds its SLO up to 8 req/s"),
        "{text}"
    );
    assert!(text.contains("98.0 ms"), "{text}");
    let missing = Report::load(&warehouse, id(9, 9))
        .await
        .expect_err("no such run");
    assert!(missing.to_string().contains("there is no run"), "{missing}");
}
