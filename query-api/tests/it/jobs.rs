//! Jobs over HTTP: handed in, listed, watched, ended. Nobody works on them here but the tests.

use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName};
use plimsoll_executor::control::{Held, TaskEnd, TaskState, Worker};
use plimsoll_ingest::Verdict;
use plimsoll_query_api::api::ApiOptions;
use serde_json::{Value, json};

use crate::client::{Answer, Connection, request};
use crate::place::Place;
use crate::server::{PATIENCE, Server};

const JOB: &str = "
subject: {model: llama, endpoint: \"http://gpu7:8000/v1?key=hunter2\", api_key_env: LLAMA_KEY}
suites: [{performance: smoke}, {performance: step, set: {rate: 4}}]
labels: {team: inference}
";

const YAML: &str = "application/yaml";

fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

impl Server {
    async fn here() -> Self {
        Self::start(Place::empty().open().await, ApiOptions::default()).await
    }

    async fn submit(&self, body: &str, language: &str) -> Answer {
        let headers = [(CONTENT_TYPE, language), (named("plimsoll-user"), "ada")];
        self.send(Method::POST, "/api/v1/jobs", &headers, body)
            .await
    }

    /// Ends the next task with this verdict.
    async fn work(&self, verdict: Verdict) {
        let worker = Worker {
            name: "w".to_string(),
            host: "h".to_string(),
        };
        let lease = self
            .jobs
            .claim(&worker)
            .await
            .expect("claim")
            .expect("a task");
        let end = TaskEnd {
            state: TaskState::Done,
            verdict,
            run: None,
            reason: None,
        };
        assert_eq!(
            self.jobs.finish(&lease, &end).await.expect("finish"),
            Held::Yes
        );
    }
}

#[tokio::test]
async fn a_job_is_handed_in_and_found_again() {
    let server = Server::here().await;
    let answer = server.submit(JOB, YAML).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let job = answer.json();
    let id = job["job_id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/api/v1/jobs/{id}"));
    assert_eq!(job["state"], "queued");
    assert_eq!(job["triggered_by"], "ada");
    assert_eq!(job["suites"], json!(["smoke", "step"]));
    assert_eq!(job["tasks"][1]["state"], "waiting");
    assert_eq!(
        job["spec"]["suites"][1]["settings"]["rate"].as_f64(),
        Some(4.0)
    );
    assert!(
        !job.to_string().contains("hunter2"),
        "the query may hold a key: {job}"
    );
    let short = &id[id.len() - 8..];
    for reference in [id, short, &format!("..{short}"), "latest"] {
        let found = server.get(&format!("/api/v1/jobs/{reference}")).await;
        assert_eq!(
            (found.status, found.json()["job_id"].clone()),
            (200, json!(id)),
            "{reference}"
        );
    }
    let list = server.get("/api/v1/jobs?state=queued&limit=5").await.json();
    assert_eq!(list["jobs"][0]["job_id"], id);
    assert_eq!(list["jobs"][0].get("tasks"), None);
    assert_eq!(list["paused_by"], Value::Null);
    let none = server.get("/api/v1/jobs?state=done").await.json();
    assert_eq!(none["jobs"], json!([]));
    let as_json = json!({"subject": {"model": "m", "endpoint": "http://h/v1"},
        "suites": [{"performance": "smoke"}]});
    let answer = server
        .submit(&as_json.to_string(), "application/json")
        .await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_job_with_faults_is_refused_with_all_of_them() {
    let server = Server::here().await;
    let answer = server
        .submit("{subject: {modle: m}, suites: [{performance: stpe}]}", YAML)
        .await;
    let problem = answer.json();
    assert_eq!(
        (answer.status, problem["code"].clone()),
        (422, json!("invalid_job"))
    );
    let paths: Vec<&str> = problem["faults"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| fault["path"].as_str().expect("a path"))
        .collect();
    let expected = [
        "subject.modle",
        "subject.model",
        "subject.endpoint",
        "suites[0].performance",
    ];
    assert_eq!(paths, expected);
    assert_eq!(server.get("/api/v1/jobs").await.json()["jobs"], json!([]));
    for (body, language, status, code) in [
        ("{", "application/json", 400, "invalid_json"),
        ("[1, 2", YAML, 422, "invalid_job"),
        ("{}", "text/plain", 415, "unsupported_media_type"),
    ] {
        let answer = server.submit(body, language).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (status, json!(code)),
            "{body}"
        );
    }
    let long = "x".repeat(2 << 20);
    let answer = server.submit(&long, YAML).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (413, json!("body_too_large"))
    );
    let events = server.jobs.pending_events(10).await.expect("read");
    assert!(
        events
            .iter()
            .all(|(_, event)| event.action == "job_refused"),
        "{events:?}"
    );
    assert_eq!(events[0].1.actor, "ada");
    assert_eq!(events[0].1.source.as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn the_same_call_made_again_is_the_same_job() {
    let server = Server::here().await;
    let headers = [
        (CONTENT_TYPE, YAML),
        (named("idempotency-key"), "nightly-1"),
    ];
    let again = async |body: &str| {
        server
            .send(Method::POST, "/api/v1/jobs", &headers, body)
            .await
    };
    let first = again(JOB).await;
    let second = again(JOB).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json()["job_id"], second.json()["job_id"]);
    let other = again(&JOB.replace("llama", "other")).await;
    assert_eq!(
        (other.status, other.json()["code"].clone()),
        (409, json!("idempotency_key_used"))
    );
    let empty = [(CONTENT_TYPE, YAML), (named("idempotency-key"), " ")];
    let refused = server.send(Method::POST, "/api/v1/jobs", &empty, JOB).await;
    assert_eq!(
        (refused.status, refused.json()["code"].clone()),
        (400, json!("invalid_parameter"))
    );
}

#[tokio::test]
async fn what_names_no_job_is_told_apart() {
    let server = Server::here().await;
    server.submit(JOB, YAML).await;
    for (path, status, code) in [
        ("/api/v1/jobs/abcdef012345", 404, "unknown_job"),
        ("/api/v1/jobs/abc", 400, "invalid_job_reference"),
        ("/api/v1/jobs/abc/events", 400, "invalid_job_reference"),
        ("/api/v1/jobs?state=asleep", 400, "invalid_parameter"),
        ("/api/v1/jobs?limit=0", 400, "invalid_parameter"),
        ("/api/v1/jobs?colour=red", 400, "invalid_parameter"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (status, json!(code)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_job_is_ended_once() {
    let server = Server::here().await;
    let id = server.submit(JOB, YAML).await.json()["job_id"].clone();
    let path = format!("/api/v1/jobs/{}", id.as_str().expect("an id"));
    let headers = [(named("plimsoll-user"), "grace")];
    let answer = server.send(Method::DELETE, &path, &headers, "").await;
    assert_eq!(
        (answer.status, answer.json()["verdict"].clone()),
        (202, json!("cancelled"))
    );
    assert_eq!(answer.json()["cancelled_by"], "grace");
    let again = server.send(Method::DELETE, &path, &headers, "").await;
    assert_eq!(again.status, 200);
}

#[tokio::test]
async fn the_brake_is_set_and_released() {
    let server = Server::here().await;
    let headers = [(named("plimsoll-user"), "ada")];
    let paused = server
        .send(Method::POST, "/api/v1/pause", &headers, "")
        .await
        .json();
    assert_eq!(paused, json!({"paused": true, "paused_by": "ada"}));
    assert_eq!(server.get("/api/v1/jobs").await.json()["paused_by"], "ada");
    let resumed = server
        .send(Method::POST, "/api/v1/resume", &headers, "")
        .await
        .json();
    assert_eq!(resumed, json!({"paused": false, "paused_by": null}));
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let server = Server::here().await;
    let id = server.submit(JOB, YAML).await.json()["job_id"].clone();
    let path = format!("/api/v1/jobs/{}/events", id.as_str().expect("an id"));
    let follow = async {
        let mut connection = Connection::open(server.address).await;
        Answer::read(
            connection
                .send(request(Method::GET, &path, &[], String::new()))
                .await,
        )
        .await
    };
    let work = async {
        for verdict in [Verdict::Passed, Verdict::Degraded] {
            tokio::time::sleep(Duration::from_millis(400)).await;
            server.work(verdict).await;
        }
    };
    let both = async { tokio::join!(follow, work) };
    let (answer, ()) = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("it ends with the job");
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(names, ["job", "job", "end"], "{text}");
    let last = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .next_back();
    let last: Value = serde_json::from_str(last.expect("data")).expect("JSON");
    assert_eq!(
        (last["state"].clone(), last["verdict"].clone()),
        (json!("done"), json!("degraded"))
    );
}

#[tokio::test]
async fn the_queue_is_there_for_prometheus() {
    let server = Server::here().await;
    server.submit(JOB, YAML).await;
    server.submit(&format!("{JOB}priority: high\n"), YAML).await;
    server
        .jobs
        .claim(&Worker {
            name: "w".to_string(),
            host: "h".to_string(),
        })
        .await
        .expect("claim")
        .expect("a task");
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    for line in [
        "plimsoll_tasks{state=\"leased\",priority=\"high\"} 1",
        "plimsoll_tasks{state=\"queued\",priority=\"normal\"} 1",
        "plimsoll_tasks{state=\"queued\",priority=\"low\"} 0",
        "plimsoll_tasks{state=\"waiting\",priority=\"normal\"} 1",
        "plimsoll_paused 0",
        "plimsoll_unpublished_events 2",
        "plimsoll_unpublished_jobs 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    assert!(
        text.contains("plimsoll_oldest_task_age_seconds{priority=\"normal\"}"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}
