//! Answers that are known at once: errors, lists, pages.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::body::AnswerBody;
use super::call::CallError;

/// What a request gets instead of a reply, as OpenAI words it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the server is still loading its model")]
    NotReady,
    #[error("the API key is missing or wrong")]
    Key,
    #[error("there is nothing at {path}")]
    Path { path: String },
    #[error("{path} does not take {method}")]
    Method { path: String, method: String },
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the body could not be read: {0}")]
    Body(String),
    #[error("the model `{asked}` does not exist; this server has `{served}`")]
    Model { asked: String, served: String },
    #[error("stream_options is not supported by this server")]
    StreamOptions,
    #[error("all slots are busy and the queue is full")]
    QueueFull { status: u16 },
    #[error("the simulated engine failed")]
    Fault { status: u16 },
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::Path { .. } | Self::Model { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Call(_) | Self::Body(_) | Self::StreamOptions => StatusCode::BAD_REQUEST,
            Self::QueueFull { status } | Self::Fault { status } => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Key => "invalid_api_key",
            Self::Path { .. } => "not_found",
            Self::Method { .. } => "method_not_allowed",
            Self::Call(_) | Self::Body(_) => "invalid_body",
            Self::Model { .. } => "model_not_found",
            Self::StreamOptions => "unsupported_parameter",
            Self::QueueFull { .. } => "queue_full",
            Self::Fault { .. } => "engine_failed",
        }
    }

    fn kind(&self, status: StatusCode) -> &'static str {
        match self {
            Self::Key => "authentication_error",
            Self::QueueFull { .. } => "rate_limit_error",
            _ if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    pub(crate) fn response(&self) -> Response<AnswerBody> {
        let status = self.status();
        let body = json!({"error": {
            "message": self.to_string(),
            "type": self.kind(status),
            "param": match self {
                Self::Model { .. } => Some("model"),
                Self::StreamOptions => Some("stream_options"),
                _ => None,
            },
            "code": self.code(),
        }});
        let mut response = json_answer(&body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match self {
            Self::NotReady | Self::QueueFull { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Key => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

pub(crate) fn json_answer(body: &serde_json::Value) -> Response<AnswerBody> {
    answer("application/json", body.to_string().into())
}

pub(crate) fn text_answer(text: String) -> Response<AnswerBody> {
    answer("text/plain; version=0.0.4; charset=utf-8", text.into())
}

pub(crate) fn empty_answer() -> Response<AnswerBody> {
    Response::new(AnswerBody::Whole(None))
}

fn answer(content_type: &'static str, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(Some(body)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
