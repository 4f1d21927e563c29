//! Schedules: made, listed, held back and removed.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, StringRejection};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use plimsoll_executor::control::Schedule;
use plimsoll_executor::job_spec::{Format, parse_document};
use plimsoll_executor::schedule::{InvalidSchedule, ScheduleSpec};
use plimsoll_ingest::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::jobs::{caller, format_of};
use super::openapi::{MakeScheduleProblems, ScheduleListProblems, ScheduleProblems};
use super::problem::{Code, Problem};

/// All schedules.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Schedules {
    /// By name.
    schedules: Vec<ScheduleBody>,
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(super) struct ScheduleBody {
    /// Its name.
    name: String,
    /// The cron pattern: minute, hour, day, month, weekday.
    cron: String,
    /// In which the pattern is meant.
    time_zone: String,
    /// A job begins up to so much later than its tick.
    jitter: String,
    /// skip, queue or cancel: what happens while an earlier job has not ended.
    overlap: String,
    /// none, last or all: which ticks are made up for at which no scheduler ran.
    catch_up: String,
    /// Who made it.
    created_by: String,
    /// Who holds it back; null where nobody does.
    paused_by: Option<String>,
    /// The last tick that was handled; null before the first.
    last_tick_at: Option<String>,
    /// The next one; null where there is none any more.
    next_at: Option<String>,
    /// The job as it is understood now; null where this release cannot read it.
    #[schema(value_type = Option<Object>)]
    job: Option<Value>,
}

impl ScheduleBody {
    fn of(schedule: &Schedule) -> Self {
        let Schedule {
            spec,
            created_by,
            paused_by,
            last_tick_at,
            next_at,
        } = schedule;
        let text = |moment: &Option<Timestamp>| moment.map(|moment| moment.to_string());
        Self {
            name: spec.name.clone(),
            cron: spec.cron.clone(),
            time_zone: spec.time_zone.clone(),
            jitter: spec.jitter_text(),
            overlap: spec.overlap.to_string(),
            catch_up: spec.catch_up.to_string(),
            created_by: created_by.clone(),
            paused_by: paused_by.clone(),
            last_tick_at: text(last_tick_at),
            next_at: text(next_at),
            job: spec.public_job(),
        }
    }
}

/// Lists schedules.
#[utoipa::path(
    get,
    path = "/api/v1/schedules",
    tag = "schedules",
    responses((status = 200, description = "All of them, by name.", body = Schedules), ScheduleListProblems)
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Schedules>, Problem> {
    let schedules = api.jobs.schedules().await?;
    let schedules = schedules.iter().map(ScheduleBody::of).collect();
    Ok(Json(Schedules { schedules }))
}

/// Makes a schedule, or has the one of that name say something else.
#[utoipa::path(
    post,
    path = "/api/v1/schedules",
    tag = "schedules",
    params(("Plimsoll-User" = Option<String>, Header, description = "Who asks, and whom its jobs are triggered by.")),
    request_body(content(
        (Object = "application/json", example = json!({
            "name": "nightly", "cron": "30 2 * * *", "time_zone": "Europe/Berlin",
            "job": {
                "subject": {"model": "llama", "endpoint": "http://gpu7:8000/v1"},
                "suites": [{"performance": "smoke"}]
            }
        })),
        (String = "application/yaml")
    ), description = "A schedule file."),
    responses(
        (status = 201, description = "The schedule, new.", body = ScheduleBody),
        (status = 200, description = "The schedule, changed.", body = ScheduleBody),
        MakeScheduleProblems
    )
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<String, StringRejection>,
) -> Result<(StatusCode, Json<ScheduleBody>), Problem> {
    let format = format_of(&headers)?;
    let body = body?;
    let document = parse_document(&body, format).map_err(|error| {
        let code = match format {
            Format::Json => Code::InvalidJson,
            Format::Yaml => Code::InvalidSchedule,
        };
        Problem::new(code, error.to_string())
    })?;
    let caller = caller(&headers, peer)?;
    let now = api.jobs.now().await?;
    let spec = match ScheduleSpec::read(&document, now) {
        Ok(spec) => spec,
        Err(invalid) => {
            let reason = invalid.to_string();
            api.jobs
                .record_refusal(&caller, "schedule_refused", &reason)
                .await?;
            return Err(invalid.into());
        }
    };
    let next = spec
        .cadence(now)
        .ok()
        .and_then(|cadence| cadence.next_after(now));
    let status = match api.jobs.put_schedule(&spec, next, &caller).await? {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(one(&api, &spec.name).await?)))
}

/// Removes a schedule.
///
/// Its jobs stay as they are.
#[utoipa::path(
    delete,
    path = "/api/v1/schedules/{schedule}",
    tag = "schedules",
    params(
        ("schedule" = String, Path, description = "A schedule's name."),
        ("Plimsoll-User" = Option<String>, Header, description = "Who asks.")
    ),
    responses((status = 204, description = "It is gone."), ScheduleProblems)
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(name) = name?;
    match api
        .jobs
        .remove_schedule(&name, &caller(&headers, peer)?)
        .await?
    {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&name)),
    }
}

/// Holds a schedule back: its ticks pass without a job.
#[utoipa::path(
    post,
    path = "/api/v1/schedules/{schedule}/pause",
    tag = "schedules",
    params(
        ("schedule" = String, Path, description = "A schedule's name."),
        ("Plimsoll-User" = Option<String>, Header, description = "Who asks.")
    ),
    responses((status = 200, description = "The schedule.", body = ScheduleBody), ScheduleProblems)
)]
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ScheduleBody>, Problem> {
    let Path(name) = name?;
    match api
        .jobs
        .pause_schedule(&name, &caller(&headers, peer)?)
        .await?
    {
        true => Ok(Json(one(&api, &name).await?)),
        false => Err(unknown(&name)),
    }
}

/// Lets a schedule go on, from its next tick.
#[utoipa::path(
    post,
    path = "/api/v1/schedules/{schedule}/resume",
    tag = "schedules",
    params(
        ("schedule" = String, Path, description = "A schedule's name."),
        ("Plimsoll-User" = Option<String>, Header, description = "Who asks.")
    ),
    responses((status = 200, description = "The schedule.", body = ScheduleBody), ScheduleProblems)
)]
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ScheduleBody>, Problem> {
    let Path(name) = name?;
    let now = api.jobs.now().await?;
    let schedule = find(&api, &name).await?;
    let next = schedule
        .spec
        .cadence(now)
        .ok()
        .and_then(|cadence| cadence.next_after(now));
    match api
        .jobs
        .resume_schedule(&name, next, &caller(&headers, peer)?)
        .await?
    {
        true => Ok(Json(one(&api, &name).await?)),
        false => Err(unknown(&name)),
    }
}

async fn one(api: &Api, name: &str) -> Result<ScheduleBody, Problem> {
    Ok(ScheduleBody::of(&find(api, name).await?))
}

async fn find(api: &Api, name: &str) -> Result<Schedule, Problem> {
    let all = api.jobs.schedules().await?;
    let found = all.into_iter().find(|schedule| schedule.spec.name == name);
    found.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Problem {
    Problem::new(
        Code::UnknownSchedule,
        format!("there is no schedule `{name}`"),
    )
    .with_help("GET /api/v1/schedules lists all")
}

impl From<InvalidSchedule> for Problem {
    fn from(invalid: InvalidSchedule) -> Self {
        let count = invalid.faults.len();
        let things = if count == 1 {
            "one thing is".to_string()
        } else {
            format!("{count} things are")
        };
        Self::new(
            Code::InvalidSchedule,
            format!("{things} wrong with the schedule; nothing was changed"),
        )
        .with_help("see /api/v1/openapi.json, or docs/jobs.md for the file")
        .with_faults(invalid.faults)
    }
}
