//! A server to be asked, which checks every answer against its own document.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use plimsoll_executor::control::{Clock, ControlUrl, Store};
use plimsoll_query_api::api::{ApiOptions, serve};
use plimsoll_warehouse::Warehouse;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Answer, Connection, request};
use crate::place::Place;

/// Nothing in these tests takes longer than this, unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A statement whose rows never end.
pub(crate) const ENDLESS_ROWS: &str =
    "with recursive t(n) as (select 1 union all select n + 1 from t) select n from t";

/// A statement that never gives a row.
pub(crate) const ENDLESS_WAIT: &str =
    "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t";

/// A server on the loopback address.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    document: Value,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<io::Result<()>>,
    /// Where its jobs are.
    pub(crate) jobs: Store,
    _control: TempDir,
    /// The folder that it reads lasts as long as it does.
    place: Option<Place>,
}

impl Server {
    pub(crate) async fn start(warehouse: Arc<Warehouse>, options: ApiOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            // A server that is dropped without a word ends as well.
            stopped.await.ok();
        };
        let control = TempDir::new().expect("a folder");
        let url = ControlUrl::file(&control.path().join("control.db"));
        let jobs = Store::open(&url, Clock::Database).await.expect("a store");
        let served = serve(listener, warehouse, jobs.clone(), options, shutdown);
        let served = tokio::spawn(served);
        let request = request(Method::GET, "/api/v1/openapi.json", &[], "");
        let answer = Answer::read(Connection::open(address).await.send(request).await).await;
        Self {
            address,
            document: answer.json(),
            stop: Some(stop),
            served,
            jobs,
            _control: control,
            place: None,
        }
    }

    /// Keeps the folder that it reads.
    pub(crate) fn keeping(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Tells the server to end, without waiting for it.
    pub(crate) fn stop(&mut self) {
        self.stop
            .take()
            .expect("stopped once")
            .send(())
            .expect("the server runs");
    }

    /// Waits for the end of the server.
    pub(crate) async fn ended(self) {
        let served = tokio::time::timeout(PATIENCE, self.served)
            .await
            .expect("it ends in time");
        served.expect("no panic").expect("no error");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[(ACCEPT, accept)], "").await
    }

    /// Posts a statement.
    pub(crate) async fn sql(&self, sql: &str) -> Answer {
        self.post_sql(&json!({ "sql": sql }).to_string(), "application/json")
            .await
    }

    /// Posts a statement whose result is wanted in a format.
    pub(crate) async fn sql_as(&self, sql: &str, accept: &str) -> Answer {
        self.post_sql(&json!({ "sql": sql }).to_string(), accept)
            .await
    }

    /// Posts any JSON to the route for statements.
    pub(crate) async fn post_sql(&self, body: &str, accept: &str) -> Answer {
        let headers = [(CONTENT_TYPE, "application/json"), (ACCEPT, accept)];
        self.send(Method::POST, "/api/v1/sql", &headers, body).await
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: &str,
    ) -> Answer {
        let request = request(method.clone(), path, headers, body.to_string());
        let exchange =
            async { Answer::read(Connection::open(self.address).await.send(request).await).await };
        let answer = tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time");
        self.check_documented(&method, path, &answer);
        answer
    }

    /// Holds an answer against the document: the status, the media type, and
    /// of an error its code.
    #[track_caller]
    pub(crate) fn check_documented(&self, method: &Method, path: &str, answer: &Answer) {
        let Some(route) = route(path) else { return };
        let method = method.as_str().to_lowercase().replace("head", "get");
        let operation = &self.document["paths"][route][&method];
        if operation.is_null() {
            return;
        }
        let response = &operation["responses"][answer.status.to_string()];
        assert!(
            !response.is_null(),
            "{method} {route} answers {} unsaid",
            answer.status
        );
        if answer.status == 204 {
            assert!(answer.body.is_empty(), "{method} {route}");
            return;
        }
        let media_type = answer
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default();
        let content = &response["content"][media_type];
        assert!(
            !content.is_null(),
            "{method} {route}: {media_type} unsaid in {response}"
        );
        if answer.status >= 400 {
            let code = answer.json()["code"]
                .as_str()
                .unwrap_or_default()
                .to_string();
            let said = response["description"].as_str().unwrap_or_default();
            assert!(
                said.contains(&format!("`{code}`")),
                "{method} {route}: `{code}` unsaid"
            );
        }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }
}

/// The route of a path, as the document names it; `None` where there is none.
fn route(path: &str) -> Option<&'static str> {
    let path = path.split('?').next()?;
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    Some(match segments.as_slice() {
        ["healthz"] => "/healthz",
        ["readyz"] => "/readyz",
        ["metrics"] => "/metrics",
        ["api", "v1", "sql"] => "/api/v1/sql",
        ["api", "v1", "runs"] => "/api/v1/runs",
        ["api", "v1", "runs", _] => "/api/v1/runs/{run}",
        ["api", "v1", "runs", _, "report"] => "/api/v1/runs/{run}/report",
        ["api", "v1", "jobs"] => "/api/v1/jobs",
        ["api", "v1", "jobs", _] => "/api/v1/jobs/{job}",
        ["api", "v1", "jobs", _, "events"] => "/api/v1/jobs/{job}/events",
        ["api", "v1", "schedules"] => "/api/v1/schedules",
        ["api", "v1", "schedules", _] => "/api/v1/schedules/{schedule}",
        ["api", "v1", "schedules", _, "pause"] => "/api/v1/schedules/{schedule}/pause",
        ["api", "v1", "schedules", _, "resume"] => "/api/v1/schedules/{schedule}/resume",
        ["api", "v1", "pause"] => "/api/v1/pause",
        ["api", "v1", "resume"] => "/api/v1/resume",
        ["api", "v1", "openapi.json"] => "/api/v1/openapi.json",
        _ => return None,
    })
}

/// Asks again and again until it is true, at most as long as patience lasts.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asking = async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, asking).await;
    outcome.unwrap_or_else(|_| panic!("not in time: {what}"));
}
