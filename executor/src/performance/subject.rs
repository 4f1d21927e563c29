//! Whether the subject answers, and in which words to say that it does not.

use std::rc::Rc;
use std::time::Duration;

use plimsoll_ingest::{FailureKind, RequestStatus};
use serde::Deserialize;

use crate::load::client::{Call, Client, Document, Progress};
use crate::load::endpoint::Endpoint;
use crate::load::reply::{BodyEnd, TlsFault};
use crate::load::rows::Measured;

/// How long the subject may take to say which models it serves.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a subject cannot be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// No connection.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// Why.
        reason: String,
    },
    /// TLS could not be agreed on.
    #[error("{url} cannot be reached over TLS: {reason}")]
    NoTls {
        /// The endpoint.
        url: String,
        /// Why.
        reason: String,
        /// Of which kind it is.
        fault: TlsFault,
    },
    /// 401 or 403.
    #[error("{url} answered {http_status}: {}", if *.had_key { "the API key is refused" } else { "it wants an API key" })]
    Unauthorized {
        /// What was called.
        url: String,
        /// 401 or 403.
        http_status: u16,
        /// Whether a key was sent.
        had_key: bool,
    },
    /// The model is not there.
    #[error("{url} does not serve model `{model}`{}", said(.reason))]
    NoSuchModel {
        /// The endpoint.
        url: String,
        /// The model that was asked for.
        model: String,
        /// The models that it lists.
        models: Vec<String>,
        /// What the server says.
        reason: Option<String>,
    },
    /// Another HTTP status.
    #[error("{url} answered {http_status}{}", said(.reason))]
    Refused {
        /// What was called.
        url: String,
        /// The HTTP status.
        http_status: u16,
        /// What the server says.
        reason: Option<String>,
        /// Whether the base URL ends in a version such as `/v1`.
        has_version_path: bool,
        /// The base URL.
        base: String,
    },
    /// What answers does not speak the OpenAI API.
    #[error("{url} is no OpenAI-compatible server: {reason}")]
    NotOpenAi {
        /// What was called.
        url: String,
        /// What it did instead.
        reason: String,
        /// Whether the base URL ends in a version such as `/v1`.
        has_version_path: bool,
        /// The base URL.
        base: String,
    },
    /// No answer in time.
    #[error("{url} did not answer within {} s", .after.as_secs())]
    Hangs {
        /// What was called.
        url: String,
        /// How long it was waited.
        after: Duration,
    },
    /// The answer broke off.
    #[error("{url} broke off in the middle of an answer: {reason}")]
    BrokeOff {
        /// What was called.
        url: String,
        /// What happened.
        reason: String,
    },
}

fn said(reason: &Option<String>) -> String {
    reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"))
}

/// Whether a refusal names the newer field for the length of a reply.
fn wants_other_length_field(reason: Option<&str>) -> bool {
    reason.is_some_and(|text| text.contains("max_completion_tokens"))
}

impl SubjectError {
    /// What to do about it; `None` where the message says it all.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { .. } => {
                "is the server running, and are host and port right?".to_string()
            }
            Self::NoTls {
                fault: TlsFault::Certificate,
                ..
            } => "if it is the right server, name the PEM file of its authority in the variable \
                  SSL_CERT_FILE"
                .to_string(),
            Self::NoTls {
                fault: TlsFault::NoTls,
                url,
                ..
            } => format!(
                "does it serve without TLS? try --url {}",
                url.replacen("https:", "http:", 1)
            ),
            Self::NoTls {
                fault: TlsFault::Other,
                ..
            } => "see the server's own log".to_string(),
            Self::Unauthorized { had_key: false, .. } => {
                "put the key into a variable and name it: --api-key-env VARIABLE".to_string()
            }
            Self::Unauthorized { .. } => {
                "check the key in the variable of --api-key-env".to_string()
            }
            Self::NoSuchModel { models, .. } if !models.is_empty() => {
                format!("it serves: {}", models.join(", "))
            }
            Self::NoSuchModel { .. } => {
                "check --model against the server's configuration".to_string()
            }
            Self::Refused {
                http_status: 404 | 405,
                has_version_path: false,
                base,
                ..
            }
            | Self::NotOpenAi {
                has_version_path: false,
                base,
                ..
            } => {
                format!("OpenAI-compatible servers usually serve under /v1: try --url {base}/v1")
            }
            Self::Refused {
                http_status: 300..400,
                ..
            } => "redirects are not followed: name the address that answers in --url".to_string(),
            Self::Refused { reason, .. } if wants_other_length_field(reason.as_deref()) => {
                "try --set request.length_field=max_completion_tokens".to_string()
            }
            Self::Refused {
                http_status: 404 | 405,
                ..
            }
            | Self::NotOpenAi { .. } => {
                "check --url: it is the base below which /chat/completions lies".to_string()
            }
            Self::Refused {
                http_status: 429 | 503,
                ..
            } => "the server is loaded or still starting: try again later".to_string(),
            Self::Refused { .. } => "see the server's own log".to_string(),
            Self::Hangs { .. } => {
                "the server accepts connections but does not serve: see its log".to_string()
            }
            Self::BrokeOff { .. } => "did the server die? see its log".to_string(),
        })
    }
}

/// A subject that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// What serves, where it says so.
    pub(crate) engine: Option<String>,
    /// The models that it lists.
    pub(crate) models: Vec<String>,
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
    owned_by: Option<String>,
}

/// Asks which models are served. A server that cannot list them may still
/// serve, as may one that lists them to other keys: the probe that follows
/// decides.
pub(crate) async fn look_at(client: &Rc<Client>, model: &str) -> Result<Subject, SubjectError> {
    let endpoint = client.endpoint();
    let url = endpoint.full_url("/models");
    let call = Call {
        path: "/models",
        body: None,
        request_id: "models".to_string(),
    };
    let mut document = Document::default();
    let mut progress = Progress::default();
    let exchange = client.exchange(&call, &mut document, &mut progress);
    let end = tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or(BodyEnd::TimedOut);
    let server = progress.end(end.clone(), 0).server;
    match end {
        BodyEnd::TimedOut => {
            return Err(SubjectError::Hangs {
                url,
                after: PATIENCE,
            });
        }
        BodyEnd::Failed { error } | BodyEnd::OwnFailure { error } if document.http_status == 0 => {
            let url = endpoint.url().to_string();
            return Err(SubjectError::Unreachable { url, reason: error });
        }
        BodyEnd::TlsFailed { error, fault } => {
            return Err(SubjectError::NoTls {
                url: endpoint.url().to_string(),
                reason: error,
                fault,
            });
        }
        BodyEnd::Unparsable { error } => {
            return Err(not_open_ai(
                endpoint,
                url,
                format!("it does not speak HTTP/1.1 ({error})"),
            ));
        }
        _ => {}
    }
    let Ok(list) = serde_json::from_slice::<ModelList>(&document.body) else {
        return Ok(Subject {
            engine: server,
            models: Vec::new(),
        });
    };
    let owner = list
        .data
        .iter()
        .find(|entry| entry.id == model)
        .or(list.data.first());
    let engine = owner.and_then(|entry| entry.owned_by.clone()).or(server);
    let models = list.data.into_iter().map(|entry| entry.id).collect();
    Ok(Subject { engine, models })
}

fn not_open_ai(endpoint: &Endpoint, url: String, reason: String) -> SubjectError {
    SubjectError::NotOpenAi {
        url,
        reason,
        has_version_path: endpoint.has_version_path(),
        base: endpoint.url().to_string(),
    }
}

/// Why a probe shows that load would measure nothing; `None` where it is well.
pub(crate) fn fault_in(
    probe: &Measured,
    endpoint: &Endpoint,
    model: &str,
    subject: &Subject,
    timeout: Duration,
) -> Option<SubjectError> {
    let reply = &probe.trace.reply;
    let url = endpoint.full_url("/chat/completions");
    let reason = reply.error.clone();
    let has_version_path = endpoint.has_version_path();
    let base = endpoint.url().to_string();
    match (reply.status, reply.http_status) {
        (RequestStatus::Ok | RequestStatus::Cancelled, _) => None,
        // It answered as it should, and had nothing to say: the load shows how often.
        _ if reply.failure_kind == Some(FailureKind::Content) => None,
        (_, Some(http_status @ (401 | 403))) => {
            let had_key = endpoint.authorization().is_some();
            Some(SubjectError::Unauthorized {
                url,
                http_status,
                had_key,
            })
        }
        (RequestStatus::HttpError, Some(http_status)) => {
            let listed = subject.models.iter().any(|listed| listed == model);
            let about_model = reason.as_ref().is_some_and(|text| text.contains("model"));
            if matches!(http_status, 400 | 404)
                && !listed
                && (about_model || !subject.models.is_empty())
            {
                let models = subject.models.clone();
                let model = model.to_string();
                return Some(SubjectError::NoSuchModel {
                    url: base,
                    model,
                    models,
                    reason,
                });
            }
            Some(SubjectError::Refused {
                url,
                http_status,
                reason,
                has_version_path,
                base,
            })
        }
        (RequestStatus::Shed, Some(http_status)) => Some(SubjectError::Refused {
            url,
            http_status,
            reason,
            has_version_path,
            base,
        }),
        (RequestStatus::Protocol, _) => Some(not_open_ai(
            endpoint,
            url,
            reason.unwrap_or_else(|| "no completion".to_string()),
        )),
        (RequestStatus::Timeout, _) => Some(SubjectError::Hangs {
            url,
            after: timeout,
        }),
        (RequestStatus::Connection, _) => {
            let reason = reason.unwrap_or_else(|| "no connection".to_string());
            Some(SubjectError::Unreachable { url: base, reason })
        }
        _ => {
            let reason = reason.unwrap_or_else(|| "no whole answer".to_string());
            Some(SubjectError::BrokeOff { url, reason })
        }
    }
}
