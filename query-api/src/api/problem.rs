//! Errors as `application/problem+json` (RFC 9457), with stable codes.
//!
//! One [`Code`] for each thing that can go wrong; its status and its title are
//! said here and nowhere else. Whatever fails in a route becomes a
//! [`Problem`] through one of the conversions below, each an exhaustive match.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection, StringRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_executor::control::StoreError;
use plimsoll_executor::job_spec::Fault;
use plimsoll_warehouse::{QueryError, ResolveError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::report::ReportError;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which a caller that found no free slot may ask again.
const RETRY_AFTER_S: u64 = 1;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong. The words are part of the API and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Code { $($(#[doc = $doc])+ $variant),+ }

        impl Code {
            /// Every code.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that programs compare.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The HTTP status.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// The same for people; it does not change from case to case.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    /// No such path.
    UnknownRoute = "unknown_route", NOT_FOUND, "no such path";
    /// The path takes other methods.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "the path takes other methods";
    /// The body is no JSON.
    InvalidJson = "invalid_json", BAD_REQUEST, "the body is no JSON";
    /// The body is JSON of another shape.
    InvalidBody = "invalid_body", UNPROCESSABLE_ENTITY, "the body has another shape";
    /// The body is not said to be JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "the body must be JSON";
    /// The body is too large.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "the body is too large";
    /// The body could not be read to its end.
    BodyUnreadable = "body_unreadable", BAD_REQUEST, "the body could not be read";
    /// A parameter of the path or the query string is wrong.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "a parameter is wrong";
    /// None of the media types that the caller takes can be had.
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "no such representation";
    /// The statement is no SQL.
    SqlSyntax = "sql_syntax", BAD_REQUEST, "the statement is no SQL";
    /// The statement cannot be planned.
    SqlInvalid = "sql_invalid", BAD_REQUEST, "the statement cannot be planned";
    /// The statement names a table that is not there.
    UnknownTable = "unknown_table", BAD_REQUEST, "no such table";
    /// The statement names a column that is not there.
    UnknownColumn = "unknown_column", BAD_REQUEST, "no such column";
    /// The parameters do not fit the statement.
    SqlParameters = "sql_parameters", BAD_REQUEST, "the parameters do not fit the statement";
    /// A value made the statement fail.
    SqlFailed = "sql_failed", BAD_REQUEST, "a value made the statement fail";
    /// The statement does more than read.
    SqlRefused = "sql_refused", FORBIDDEN, "only statements that read are taken";
    /// The table is not for this caller.
    TableNotAllowed = "table_not_allowed", FORBIDDEN, "the table is not for this role";
    /// The query took longer than its limit.
    QueryTimeout = "query_timeout", GATEWAY_TIMEOUT, "the query took too long";
    /// The query needed more memory than its limit.
    QueryMemory = "query_memory", INSUFFICIENT_STORAGE, "the query needs too much memory";
    /// As many queries run as may run at once.
    TooManyQueries = "too_many_queries", TOO_MANY_REQUESTS, "too many queries at once";
    /// No such run.
    UnknownRun = "unknown_run", NOT_FOUND, "no such run";
    /// The text cannot name a run.
    InvalidRun = "invalid_run", BAD_REQUEST, "that names no run";
    /// Several runs are meant.
    AmbiguousRun = "ambiguous_run", CONFLICT, "several runs are meant";
    /// The job has faults; `faults` lists them all.
    InvalidJob = "invalid_job", UNPROCESSABLE_ENTITY, "the job cannot be used";
    /// The schedule has faults; `faults` lists them all.
    InvalidSchedule = "invalid_schedule", UNPROCESSABLE_ENTITY, "the schedule cannot be used";
    /// No such schedule.
    UnknownSchedule = "unknown_schedule", NOT_FOUND, "no such schedule";
    /// The idempotency key names another job.
    IdempotencyKeyUsed = "idempotency_key_used", CONFLICT, "the idempotency key names another job";
    /// No such job.
    UnknownJob = "unknown_job", NOT_FOUND, "no such job";
    /// The text cannot name a job.
    InvalidJobReference = "invalid_job_reference", BAD_REQUEST, "that names no job";
    /// Several jobs are meant.
    AmbiguousJob = "ambiguous_job", CONFLICT, "several jobs are meant";
    /// The control store cannot be read or written.
    ControlUnavailable = "control_unavailable", SERVICE_UNAVAILABLE, "the control store cannot be used";
    /// The warehouse cannot be read.
    WarehouseUnreadable = "warehouse_unreadable", SERVICE_UNAVAILABLE, "the warehouse cannot be read";
    /// The server is going down.
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, "the server is going down";
    /// Rows in the warehouse are not what the contract says.
    UnreadableRun = "unreadable_run", INTERNAL_SERVER_ERROR, "the run's rows cannot be read";
    /// A defect of Plimsoll.
    Internal = "internal", INTERNAL_SERVER_ERROR, "a defect of this server";
}

/// An error, as the caller gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    help: Option<String>,
    matches: Vec<String>,
    faults: Vec<FaultBody>,
}

/// One thing that is wrong with a job or a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Fault)]
pub(crate) struct FaultBody {
    /// Where in the file; empty for all of it.
    #[schema(example = "suites[0].slo.ttft_p99")]
    path: String,
    /// What is wrong, and what would do.
    message: String,
}

/// An error: RFC 9457 with a stable code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A name for the kind of error: `urn:plimsoll:problem:` and the code.
    r#type: String,
    /// The kind of error for people.
    title: &'static str,
    /// The HTTP status again.
    #[schema(example = 400)]
    status: u16,
    /// The kind of error for programs; it never changes.
    #[schema(example = "unknown_column")]
    code: &'static str,
    /// What happened, with the values that caused it.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// The runs or jobs that are meant, where several are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    matches: Vec<String>,
    /// All that is wrong with a job or a schedule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    faults: Vec<FaultBody>,
}

impl Problem {
    /// A problem with what happened.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            help: None,
            matches: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What happened.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same with those that may be meant.
    pub(crate) fn with_matches(self, matches: Vec<String>) -> Self {
        Self { matches, ..self }
    }

    /// The same with all that is wrong.
    pub(crate) fn with_faults(self, faults: Vec<Fault>) -> Self {
        let faults = faults
            .into_iter()
            .map(|Fault { path, message }| FaultBody { path, message });
        Self {
            faults: faults.collect(),
            ..self
        }
    }

    /// The same with what to do.
    pub(crate) fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self {
            code,
            detail,
            help,
            matches,
            faults,
        } = self;
        if code.status().is_server_error() {
            tracing::debug!(code = code.as_str(), %detail, "a request failed");
        }
        let body = ProblemBody {
            r#type: format!("urn:plimsoll:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            code: code.as_str(),
            detail,
            help,
            matches,
            faults,
        };
        let mut response = (code.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if code == Code::TooManyQueries {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::from(&error)
    }
}

impl From<&QueryError> for Problem {
    fn from(error: &QueryError) -> Self {
        let code = match error {
            QueryError::Refused { .. } => Code::SqlRefused,
            QueryError::NotAllowed { .. } => Code::TableNotAllowed,
            QueryError::Syntax { .. } => Code::SqlSyntax,
            QueryError::UnknownTable { .. } => Code::UnknownTable,
            QueryError::UnknownColumn { .. } => Code::UnknownColumn,
            QueryError::Plan { .. } => Code::SqlInvalid,
            QueryError::Parameters { .. } => Code::SqlParameters,
            QueryError::Execution { .. } | QueryError::DoesNotHold { .. } => Code::SqlFailed,
            QueryError::TimedOut { .. } => Code::QueryTimeout,
            QueryError::Memory { .. } => Code::QueryMemory,
            QueryError::Open(_) | QueryError::Storage { .. } => Code::WarehouseUnreadable,
            QueryError::Run(error) => return Self::from(error.as_ref()),
            QueryError::Internal { .. } => Code::Internal,
        };
        Self::new(code, in_one_line(error)).with_help(error.help())
    }
}

impl From<&ResolveError> for Problem {
    fn from(error: &ResolveError) -> Self {
        let (code, matches) = match error {
            ResolveError::Unknown { .. } | ResolveError::NoRuns => (Code::UnknownRun, Vec::new()),
            ResolveError::NoReference { .. } => (Code::InvalidRun, Vec::new()),
            ResolveError::Ambiguous { matches, .. } => (
                Code::AmbiguousRun,
                matches.iter().map(ToString::to_string).collect(),
            ),
            ResolveError::Query(error) => return Self::from(error.as_ref()),
        };
        Self::new(code, error.to_string())
            .with_help(error.help())
            .with_matches(matches)
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        Self::from(&error)
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        let code = match &error {
            ReportError::Unknown { .. } => Code::UnknownRun,
            ReportError::Query { source, .. } => return Self::from(source),
            ReportError::Rows { .. } | ReportError::Types { .. } | ReportError::Contract(_) => {
                Code::UnreadableRun
            }
        };
        Self::new(code, in_one_line(&error)).with_help(error.help())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::KeyUsed { .. } => Code::IdempotencyKeyUsed,
            StoreError::Database { .. }
            | StoreError::Silent { .. }
            | StoreError::Folder { .. }
            | StoreError::Newer { .. }
            | StoreError::Foreign { .. }
            | StoreError::Row { .. } => Code::ControlUnavailable,
        };
        Self::new(code, in_one_line(&error)).with_help(error.help())
    }
}

impl From<StringRejection> for Problem {
    fn from(rejection: StringRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
            _ => Code::BodyUnreadable,
        };
        Self::new(code, rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let (code, help) = match &rejection {
            JsonRejection::JsonSyntaxError(_) => (Code::InvalidJson, None),
            JsonRejection::JsonDataError(_) => (
                Code::InvalidBody,
                Some("see /api/v1/openapi.json for the shape"),
            ),
            JsonRejection::MissingJsonContentType(_) => (
                Code::UnsupportedMediaType,
                Some("send the header content-type: application/json"),
            ),
            // The rest says that the body did not come; its status tells
            // whether it was too long. The enum may grow.
            _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => (
                Code::BodyTooLarge,
                Some("send large lists in several statements"),
            ),
            _ => (Code::BodyUnreadable, None),
        };
        let problem = Self::new(code, rejection.body_text());
        match help {
            Some(help) => problem.with_help(help),
            None => problem,
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::InvalidParameter, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::InvalidParameter, rejection.body_text())
    }
}

/// An error with its causes.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_are_errors() {
        let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            let status = code.status();
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{code:?}"
            );
        }
    }

    #[test]
    fn errors_have_the_status_that_is_documented() {
        let limit = std::time::Duration::from_secs(1);
        let cases = [
            (
                QueryError::Refused {
                    what: "`DROP` is".to_string(),
                },
                403,
            ),
            (
                QueryError::NotAllowed {
                    table: "audit.events".to_string(),
                },
                403,
            ),
            (
                QueryError::Syntax {
                    message: String::new(),
                },
                400,
            ),
            (
                QueryError::Execution {
                    message: String::new(),
                },
                400,
            ),
            (
                QueryError::DoesNotHold {
                    message: String::new(),
                },
                400,
            ),
            (QueryError::TimedOut { limit }, 504),
            (
                QueryError::Memory {
                    limit: 1,
                    detail: String::new(),
                },
                507,
            ),
            (
                QueryError::Storage {
                    message: String::new(),
                    help: None,
                },
                503,
            ),
            (
                QueryError::Internal {
                    message: String::new(),
                },
                500,
            ),
        ];
        for (error, status) in cases {
            let text = format!("{error:?}");
            assert_eq!(
                Problem::from(error).code.status().as_u16(),
                status,
                "{text}"
            );
        }
    }

    #[test]
    fn runs_that_are_meant_are_listed() {
        let run: plimsoll_ingest::RunId = "0195a000-7b11-7abc-8def-01239c2f41d7"
            .parse()
            .expect("run id");
        let matches = vec![run, run];
        let error = ResolveError::Ambiguous {
            reference: "9c2f41d7".to_string(),
            matches,
        };
        let problem = Problem::from(error);
        assert_eq!(problem.code, Code::AmbiguousRun);
        assert_eq!(problem.matches, [run.to_string(), run.to_string()]);
    }
}
