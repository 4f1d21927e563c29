//! The HTTP API over one warehouse and one control store.
//!
//! Routes read the warehouse, and none writes it; those of jobs hand in and
//! end what workers do. Errors are `application/problem+json`, and
//! the OpenAPI document at `/api/v1/openapi.json` lists every route with every
//! status it answers. Nobody is asked who they are: bind to the loopback
//! address, or put a proxy in front that does.
//!
//! | path | answer |
//! |---|---|
//! | `GET /healthz` | the process is alive |
//! | `GET /readyz` | the warehouse can be read, else 503 and why |
//! | `GET /metrics` | the queue, for Prometheus |
//! | `POST /api/v1/sql` | the result of one statement, in the format of `Accept` |
//! | `GET /api/v1/runs` | runs, newest first |
//! | `GET /api/v1/runs/{run}` | one run with all its columns |
//! | `GET /api/v1/runs/{run}/report` | its report as JSON, Markdown or HTML |
//! | `POST /api/v1/jobs` | a job that was accepted |
//! | `GET /api/v1/jobs` | jobs, newest first |
//! | `GET /api/v1/jobs/{job}` | one job with its tasks |
//! | `DELETE /api/v1/jobs/{job}` | the job, which ends |
//! | `GET /api/v1/jobs/{job}/events` | the job whenever it changes (server-sent events) |
//! | `GET`, `POST /api/v1/schedules` | schedules; one that is made |
//! | `DELETE /api/v1/schedules/{schedule}` | nothing: it is gone |
//! | `POST /api/v1/schedules/{schedule}/pause`, `/resume` | the schedule |
//! | `POST /api/v1/pause`, `POST /api/v1/resume` | the brake for all jobs |
//! | `GET /api/v1/openapi.json` | this API |
//!
//! Start with [`serve`].

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use plimsoll_executor::control::Store;
use plimsoll_ingest::RunId;
use plimsoll_warehouse::{Access, QueryLimits, ResolveError, Warehouse, resolve_run_within};
use tokio::sync::watch;
use tower_http::trace::{DefaultOnRequest, DefaultOnResponse, TraceLayer};

mod accept;
mod answer;
mod health;
mod jobs;
mod metrics;
mod openapi;
mod problem;
mod refresh;
mod reports;
mod runs;
mod schedules;
mod server;
mod slots;
mod sql;

pub use server::serve;

/// What the API allows. Memory is the warehouse's own limit, for all queries
/// together: [`plimsoll_warehouse::WarehouseOptions::memory_limit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOptions {
    /// How long a query may take, the reading of its result included; 60 s.
    pub query_timeout: Duration,
    /// How many rows a result may have; what lies beyond is cut off, and the
    /// answer says so. 1,000,000.
    pub max_rows: usize,
    /// Queries of one role at once, whichever route asks; one more is answered 429. 16.
    pub concurrent_queries: usize,
    /// How long the body of a request may be, in bytes; 1 MiB.
    pub max_body_bytes: usize,
    /// Which schemas a statement may name; `reports` and `raw`.
    pub access: Access,
    /// How often newly published runs are looked for; every second.
    pub refresh_every: Duration,
    /// How long requests may go on after the server was told to end; 10 s.
    pub shutdown_grace: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            query_timeout: Duration::from_secs(60),
            max_rows: 1_000_000,
            concurrent_queries: 16,
            max_body_bytes: 1 << 20,
            access: Access::ReportsAndRaw,
            refresh_every: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// What the routes share.
#[derive(Debug)]
struct Api {
    warehouse: Arc<Warehouse>,
    jobs: Store,
    options: ApiOptions,
    slots: slots::Slots,
    /// How the last refresh went.
    health: watch::Receiver<health::Health>,
    /// True once the requests that still run must end.
    ending: watch::Receiver<bool>,
}

impl Api {
    /// The limits of the API's own queries, which give few rows.
    fn own_limits(&self) -> QueryLimits {
        QueryLimits {
            timeout: self.options.query_timeout,
            max_rows: None,
            access: Access::Reports,
        }
    }

    /// The run that a path names, found within the time of a query.
    async fn resolve(&self, reference: &str) -> Result<RunId, ResolveError> {
        resolve_run_within(&self.warehouse, reference, self.options.query_timeout).await
    }
}

/// Every route. A path that is not here is answered by a problem, too.
fn router(api: Arc<Api>) -> Router {
    let max_body = DefaultBodyLimit::max(api.options.max_body_bytes);
    let log = TraceLayer::new_for_http()
        .on_request(DefaultOnRequest::new().level(tracing::Level::TRACE))
        .on_response(DefaultOnResponse::new().level(tracing::Level::DEBUG))
        .on_failure(());
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/sql", post(sql::query))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{run}", get(runs::one))
        .route("/api/v1/runs/{run}/report", get(reports::report))
        .route("/api/v1/jobs", get(jobs::list).post(jobs::hand_in))
        .route("/api/v1/jobs/{job}", get(jobs::one).delete(jobs::cancel))
        .route("/api/v1/jobs/{job}/events", get(jobs::events))
        .route("/api/v1/pause", post(jobs::pause))
        .route("/api/v1/resume", post(jobs::resume))
        .route(
            "/api/v1/schedules",
            get(schedules::list).post(schedules::put),
        )
        .route("/api/v1/schedules/{schedule}", delete(schedules::remove))
        .route("/api/v1/schedules/{schedule}/pause", post(schedules::pause))
        .route(
            "/api/v1/schedules/{schedule}/resume",
            post(schedules::resume),
        )
        .route("/api/v1/openapi.json", get(openapi::document))
        .fallback(server::unknown_route)
        .method_not_allowed_fallback(server::wrong_method)
        .layer(max_body)
        .layer(log)
        .with_state(api)
}
