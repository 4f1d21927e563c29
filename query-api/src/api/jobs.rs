//! Jobs: handed in, listed, watched and ended; and the brake for all of them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use plimsoll_executor::control::{Accepted, Caller, Cancelled, FindJobError, JobState};
use plimsoll_executor::dispatch::{Submission, SubmitError, submit};
use plimsoll_executor::job_spec::{Format, parse_document};
use plimsoll_ingest::{JobId, Trigger};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::openapi::{JobListProblems, JobProblems, PauseProblems, SubmitProblems};
use super::problem::{Code, Problem};

mod body;

use body::JobBody;

const USUAL_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 1_000;
/// How often a job that is watched is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// By which the same submission, made again, is known.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Who calls, by their own word.
const USER: &str = "plimsoll-user";
const TRACEPARENT: &str = "traceparent";
/// A header's value may be no longer, in bytes.
const LONGEST_HEADER: usize = 256;

/// Which jobs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsFilter {
    /// Only jobs in this state: queued, running or done.
    state: Option<String>,
    /// The most jobs in an answer, 1 to 1000; 50 without it.
    limit: Option<usize>,
}

/// The latest jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobsPage {
    /// Newest first; without their tasks.
    jobs: Vec<JobBody>,
    /// Who holds everything back; null where nobody does.
    paused_by: Option<String>,
}

/// Whether everything is held back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Brake {
    /// Whether no task is begun, and runs send nothing.
    paused: bool,
    /// Who asked for it; null where it is not.
    paused_by: Option<String>,
}

/// Hands a job in.
///
/// The body is a job file, as JSON or as YAML. Once this is answered the job is durable. With an
/// `Idempotency-Key` the same call may be made again: it answers the job that there is. `Plimsoll-User`
/// says who asks, `traceparent` to which trace the runs belong.
#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    tag = "jobs",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Names this submission; at most 256 bytes."),
        ("Plimsoll-User" = Option<String>, Header, description = "Who asks."),
        ("traceparent" = Option<String>, Header, description = "The trace, as W3C has it.")
    ),
    request_body(content(
        (Object = "application/json", example = json!({
            "subject": {"model": "llama", "endpoint": "http://gpu7:8000/v1"},
            "suites": [{"performance": "smoke"}]
        })),
        (String = "application/yaml")
    ), description = "A job file."),
    responses(
        (status = 201, description = "The job, new.", body = JobBody),
        (status = 200, description = "The job, which was handed in before under the same key.", body = JobBody),
        SubmitProblems
    )
)]
pub(super) async fn hand_in(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<String, axum::extract::rejection::StringRejection>,
) -> Result<Response, Problem> {
    let format = format_of(&headers)?;
    let body = body?;
    let document = parse_document(&body, format).map_err(|error| {
        let code = match format {
            Format::Json => Code::InvalidJson,
            Format::Yaml => Code::InvalidJob,
        };
        Problem::new(code, error.to_string())
    })?;
    let submission = Submission {
        document,
        caller: caller(&headers, peer)?,
        trigger: Trigger::Api,
        idempotency_key: text_of(&headers, IDEMPOTENCY_KEY)?,
        traceparent: text_of(&headers, TRACEPARENT)?,
    };
    let accepted = submit(&api.jobs, submission).await?;
    let body = JobBody::load(&api, accepted.job()).await?;
    let status = match accepted {
        Accepted::New(_) => StatusCode::CREATED,
        Accepted::Before(_) => StatusCode::OK,
    };
    let mut response = (status, Json(body)).into_response();
    let location = format!("/api/v1/jobs/{}", accepted.job());
    let location = HeaderValue::from_str(&location).expect("an id is plain text");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Lists the latest jobs, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "jobs",
    params(JobsFilter),
    responses((status = 200, description = "Jobs, newest first.", body = JobsPage), JobListProblems)
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    filter: Result<Query<JobsFilter>, QueryRejection>,
) -> Result<Json<JobsPage>, Problem> {
    let Query(filter) = filter?;
    let limit = filter.limit.unwrap_or(USUAL_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Problem::new(
            Code::InvalidParameter,
            format!("limit is `{limit}`; it must be a number from 1 to {LARGEST_LIMIT}"),
        ));
    }
    let state = filter
        .state
        .map(|word| word.parse::<JobState>())
        .transpose();
    let state =
        state.map_err(|error| Problem::new(Code::InvalidParameter, format!("state: {error}")))?;
    let jobs = api.jobs.jobs(state, limit as i64).await?;
    let paused_by = api.jobs.paused_by().await?;
    let jobs = jobs.iter().map(|job| JobBody::of(job, None)).collect();
    Ok(Json(JobsPage { jobs, paused_by }))
}

/// Shows one job with its tasks.
///
/// `job` is a full id, at least 6 of its last characters, or `latest`.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}",
    tag = "jobs",
    params(("job" = String, Path, description = "A job's id, a unique end of it, or latest.")),
    responses((status = 200, description = "The job.", body = JobBody), JobProblems)
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    reference: Result<Path<String>, PathRejection>,
) -> Result<Json<JobBody>, Problem> {
    let job = find(&api, reference).await?;
    Ok(Json(JobBody::load(&api, job).await?))
}

/// Ends a job.
///
/// What was not begun is cancelled at once; a run that is under way ends within seconds, and what it
/// measured is kept. A job that had ended is answered as it is.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{job}",
    tag = "jobs",
    params(
        ("job" = String, Path, description = "A job's id, a unique end of it, or latest."),
        ("Plimsoll-User" = Option<String>, Header, description = "Who asks.")
    ),
    responses(
        (status = 202, description = "The job, which ends.", body = JobBody),
        (status = 200, description = "The job, which had ended.", body = JobBody),
        JobProblems
    )
)]
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    reference: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Json<JobBody>), Problem> {
    let caller = caller(&headers, peer)?;
    let job = find(&api, reference).await?;
    let status = match api.jobs.cancel(job, &caller, None).await? {
        Cancelled::Ends => StatusCode::ACCEPTED,
        Cancelled::HadEnded => StatusCode::OK,
    };
    Ok((status, Json(JobBody::load(&api, job).await?)))
}

/// Follows a job until it has ended.
///
/// Server-sent events: `job` whenever something of it has changed, `end` once it has ended, `gone` where
/// it cannot be followed any longer. The data of the first two is the job as `/jobs/{job}` shows it.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/events",
    tag = "jobs",
    params(("job" = String, Path, description = "A job's id, a unique end of it, or latest.")),
    responses(
        (status = 200, description = "Events until the job has ended.", body = String, content_type = "text/event-stream"),
        JobProblems
    )
)]
pub(super) async fn events(
    State(api): State<Arc<Api>>,
    reference: Result<Path<String>, PathRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let job = find(&api, reference).await?;
    let follower = Follower {
        api,
        job,
        last: String::new(),
        ended: false,
    };
    let events = futures::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Holds everything back.
///
/// No task is begun, and runs that are under way send nothing within a second; they count what they
/// missed.
#[utoipa::path(
    post,
    path = "/api/v1/pause",
    tag = "jobs",
    params(("Plimsoll-User" = Option<String>, Header, description = "Who asks.")),
    responses((status = 200, description = "Everything is held back.", body = Brake), PauseProblems)
)]
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Brake>, Problem> {
    api.jobs.pause(&caller(&headers, peer)?).await?;
    brake(&api).await
}

/// Lets everything go on.
#[utoipa::path(
    post,
    path = "/api/v1/resume",
    tag = "jobs",
    params(("Plimsoll-User" = Option<String>, Header, description = "Who asks.")),
    responses((status = 200, description = "Everything goes on.", body = Brake), PauseProblems)
)]
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Brake>, Problem> {
    api.jobs.resume(&caller(&headers, peer)?).await?;
    brake(&api).await
}

async fn brake(api: &Api) -> Result<Json<Brake>, Problem> {
    let paused_by = api.jobs.paused_by().await?;
    Ok(Json(Brake {
        paused: paused_by.is_some(),
        paused_by,
    }))
}

async fn find(api: &Api, reference: Result<Path<String>, PathRejection>) -> Result<JobId, Problem> {
    let Path(reference) = reference?;
    Ok(api.jobs.find_job(&reference).await?)
}

/// The language that the body is said to be in; JSON where nothing is said.
pub(super) fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Format::Json);
    };
    let text = value.to_str().unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim() {
        "application/json" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Ok(Format::Yaml),
        other => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("a job file is JSON or YAML, and the body is `{other}`"),
        )
        .with_help("send the header content-type: application/json or application/yaml")),
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().ok().map(str::trim);
    match text.filter(|text| !text.is_empty() && text.len() <= LONGEST_HEADER) {
        Some(text) => Ok(Some(text.to_string())),
        None => Err(Problem::new(
            Code::InvalidParameter,
            format!(
                "the header `{name}` is empty, is longer than {LONGEST_HEADER} bytes, or no text"
            ),
        )),
    }
}

pub(super) fn caller(headers: &HeaderMap, peer: SocketAddr) -> Result<Caller, Problem> {
    let actor = text_of(headers, USER)?;
    Ok(Caller {
        actor: actor.unwrap_or_else(|| "unknown".to_string()),
        source: Some(peer.ip().to_string()),
    })
}

/// Somebody who watches a job.
struct Follower {
    api: Arc<Api>,
    job: JobId,
    /// What was said last.
    last: String,
    ended: bool,
}

impl Follower {
    /// The next change; `None` after the end.
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let mut ending = self.api.ending.clone();
        loop {
            let body = match JobBody::load(&self.api, self.job).await {
                Ok(body) => body,
                Err(problem) => {
                    self.ended = true;
                    return Some(Event::default().event("gone").data(problem.detail()));
                }
            };
            let text = serde_json::to_string(&body).expect("plain data");
            if text != self.last {
                self.ended = body.has_ended();
                let name = if self.ended { "end" } else { "job" };
                let event = Event::default().event(name).data(&text);
                self.last = text;
                return Some(event);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                ended = ending.wait_for(|ending| *ending) => {
                    // Where nobody can say more, the server has ended.
                    ended.ok();
                    return None;
                }
            }
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(invalid) => {
                let help = "see /api/v1/openapi.json, or docs/jobs.md for the file";
                let count = invalid.faults.len();
                let things = if count == 1 {
                    "one thing is".to_string()
                } else {
                    format!("{count} things are")
                };
                Self::new(
                    Code::InvalidJob,
                    format!("{things} wrong with the job; nothing was accepted"),
                )
                .with_help(help)
                .with_faults(invalid.faults)
            }
            SubmitError::Store(error) => Self::from(error),
        }
    }
}

impl From<FindJobError> for Problem {
    fn from(error: FindJobError) -> Self {
        let text = error.to_string();
        match error {
            FindJobError::NoReference { .. } => Self::new(Code::InvalidJobReference, text),
            FindJobError::Unknown { .. } => {
                Self::new(Code::UnknownJob, text).with_help("GET /api/v1/jobs lists the latest")
            }
            FindJobError::Ambiguous { matches, .. } => Self::new(Code::AmbiguousJob, text)
                .with_help("give more of its last characters")
                .with_matches(matches.iter().map(ToString::to_string).collect()),
            FindJobError::Store(error) => Self::from(error),
        }
    }
}
