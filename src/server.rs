//! A `plimsoll serve` that commands talk to.

pub(crate) mod follow;
pub(crate) mod job;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::failure::{Failure, chain};
use crate::terminal::say;

/// How long the server may take to accept a connection, and to answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// A server, and who talks to it.
#[derive(Debug)]
pub(crate) struct Server {
    base: Url,
    user: String,
    client: reqwest::Client,
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody answered; it may be worth another try.
    Unreachable(Failure),
    /// It was refused.
    Refused(Failure),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable(failure) | CallError::Refused(failure) => failure,
        }
    }
}

impl Server {
    /// The server at this URL; nothing is sent yet.
    ///
    /// # Errors
    /// This system cannot make connections.
    pub(crate) fn at(base: &Url, user: String) -> Result<Self, Failure> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(|error| {
            Failure::failed(
                format_args!("cannot make connections: {}", chain(&error)),
                "are the system's certificates there (ca-certificates)?",
            )
        })?;
        Ok(Self {
            base: base.clone(),
            user,
            client,
        })
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// A call of a path below `/api/v1`.
    pub(crate) fn call(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        self.client
            .request(method, url)
            .header("plimsoll-user", &self.user)
    }

    /// Makes a call and reads its answer.
    ///
    /// # Errors
    /// Nobody answers, or what answers refuses.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        call: RequestBuilder,
    ) -> Result<T, CallError> {
        let (status, text) = self.answer(call).await?;
        serde_json::from_str(&text).map_err(|_| self.no_plimsoll(status))
    }

    /// Makes a call whose answer says nothing.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub(crate) async fn tell(&self, call: RequestBuilder) -> Result<(), CallError> {
        self.answer(call).await?;
        Ok(())
    }

    async fn answer(&self, call: RequestBuilder) -> Result<(StatusCode, String), CallError> {
        let unreachable = |error: reqwest::Error| {
            CallError::Unreachable(Failure::failed(
                format_args!("no server answers at {}: {}", self.base, reason(&error)),
                "start one with `plimsoll serve`, or name it: --server URL",
            ))
        };
        let answer = call.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok((status, text));
        }
        Err(match serde_json::from_str::<Value>(&text) {
            Ok(problem) if problem["code"].is_string() => {
                let failure = self.refused(&problem);
                match status {
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                        CallError::Unreachable(failure)
                    }
                    _ => CallError::Refused(failure),
                }
            }
            _ => self.no_plimsoll(status),
        })
    }

    fn no_plimsoll(&self, status: StatusCode) -> CallError {
        CallError::Refused(Failure::failed(
            format_args!(
                "{} answered {status}, and not as `plimsoll serve` does",
                self.base
            ),
            "is it the right address? --server URL",
        ))
    }

    /// What the server says is wrong; all faults of a job are said, a line each.
    fn refused(&self, problem: &Value) -> Failure {
        let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
        let faults = problem["faults"].as_array();
        for fault in faults.into_iter().flatten() {
            let path = fault["path"].as_str().filter(|path| !path.is_empty());
            let message = fault["message"].as_str().unwrap_or_default();
            match path {
                Some(path) => say(&format!("  {path}: {message}")),
                None => say(&format!("  {message}")),
            }
        }
        let matches = problem["matches"].as_array();
        for one in matches.into_iter().flatten().filter_map(Value::as_str) {
            say(&format!("  {one}"));
        }
        let help = match text("help") {
            help if help.is_empty() => "see the server's log (`plimsoll serve -v`)".to_owned(),
            help => help,
        };
        match text("code").as_str() {
            "invalid_job" | "invalid_schedule" => {
                Failure::usage(text("detail"), "correct the file and hand it in again")
            }
            "invalid_job_reference" | "ambiguous_job" | "invalid_parameter" => {
                Failure::usage(text("detail"), help)
            }
            _ => Failure::failed(text("detail"), help),
        }
    }
}

/// The last of an error's causes: what a person can act on.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
