//! `GET /metrics`: the queue, for Prometheus.
//!
//! Everything is read from the control store when it is asked for, so that each replica says the same:
//! scrape one, or take the maximum.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use plimsoll_executor::control::{Priority, TaskState};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Api;
use super::openapi::MetricsProblems;
use super::problem::{Code, Problem};

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, &'static str)>;

/// The queue, for Prometheus.
///
/// OpenMetrics text: tasks by state and class, the age of the oldest that waits, whether everything is held
/// back, and what waits to be brought to the warehouse.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses(
        (status = 200, description = "Gauges.", body = String, content_type = "application/openmetrics-text"),
        MetricsProblems
    )
)]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("plimsoll");
    let now = api.jobs.now().await?;
    let depths = api.jobs.depths().await?;
    let tasks = Family::<Labels, Gauge>::default();
    let ages = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    let open = TaskState::ALL.iter().filter(|state| !state.is_over());
    for state in open {
        for priority in Priority::ALL {
            let of = |depth: &&_| is_of(depth, *state, *priority);
            let count = depths.iter().find(of).map_or(0, |depth| depth.tasks);
            let labels = vec![("state", state.as_str()), ("priority", priority.as_str())];
            tasks.get_or_create(&labels).set(count);
        }
    }
    for priority in Priority::ALL {
        let waiting = depths.iter().filter(|depth| {
            depth.priority == *priority
                && matches!(depth.state, TaskState::Queued | TaskState::Waiting)
        });
        let oldest = waiting.map(|depth| depth.oldest).min();
        let age = oldest.map_or(0.0, |oldest| (now.micros() - oldest.micros()) as f64 / 1e6);
        ages.get_or_create(&vec![("priority", priority.as_str())])
            .set(age.max(0.0));
    }
    registry.register("tasks", "Tasks that have not ended", tasks);
    registry.register(
        "oldest_task_age_seconds",
        "How long ago the oldest job was accepted of which a task waits; 0 where none does",
        ages,
    );
    let gauge = |value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        gauge
    };
    let paused = i64::from(api.jobs.paused_by().await?.is_some());
    registry.register("paused", "1 while everything is held back", gauge(paused));
    let unbrought = api.jobs.unbrought().await?;
    registry.register(
        "unpublished_jobs",
        "Jobs that have ended and whose row is not in the warehouse yet",
        gauge(unbrought.jobs),
    );
    registry.register(
        "unpublished_events",
        "Audit events that are not in the warehouse yet",
        gauge(unbrought.events),
    );
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

fn is_of(depth: &plimsoll_executor::control::Depth, state: TaskState, priority: Priority) -> bool {
    depth.state == state && depth.priority == priority
}
