//! From a request to its answer.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use serde_json::json;

use super::answer::{Refusal, empty_answer, json_answer, text_answer};
use super::body::{AnswerBody, ReplyBody, ReplyParts, Steps};
use super::call::Call;
use super::config::SimulatorConfig;
use super::fate::Fate;
use super::fault::{Fault, NotReady};
use super::meters::{Meters, count};
use super::plan::{Plan, ReplyPlan};
use super::script::{ReplyTo, Script, whole_reply};
use super::slots::{Admission, Slot, Slots};
use super::stamp::{RequestLog, Tap};
use super::truth::{Ending, TruthSender};
use crate::timer::{MonotonicAnchor, PreciseTimer, monotonic_ns, realtime_ns};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest body that is read: some ten million words.
const BODY_LIMIT: usize = 64 << 20;

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: SimulatorConfig,
    pub(crate) timer: PreciseTimer,
    pub(crate) anchor: MonotonicAnchor,
    pub(crate) slots: Arc<Slots>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) truth: Option<TruthSender>,
    /// Chat completions read so far.
    requests: AtomicU64,
    created_s: i64,
    not_ready: Option<(Instant, NotReady)>,
    crash_after: Option<u64>,
}

impl Server {
    pub(crate) fn new(
        config: SimulatorConfig,
        timer: PreciseTimer,
        truth: Option<TruthSender>,
    ) -> Self {
        let mut not_ready = None;
        let mut crash_after: Option<u64> = None;
        for fault in &config.faults {
            match *fault {
                Fault::SlowStart { time, how } => not_ready = Some((Instant::now() + time, how)),
                Fault::Crash { after } => {
                    crash_after = Some(crash_after.map_or(after, |earlier| earlier.min(after)));
                }
                Fault::Reply { .. } => {}
            }
        }
        Self {
            slots: Slots::new(config.slots.get(), config.queue),
            config,
            timer,
            anchor: MonotonicAnchor::now(),
            meters: Arc::default(),
            fate: Arc::default(),
            truth,
            requests: AtomicU64::new(0),
            created_s: realtime_ns() / 1_000_000_000,
            not_ready,
            crash_after,
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What it does now because it is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Option<NotReady> {
        let (until, how) = self.not_ready?;
        (Instant::now() < until).then_some(how)
    }

    /// Answers one request of the connection that `tap` belongs to.
    pub(crate) async fn answer(
        &self,
        tap: &Arc<Tap>,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        match self.route(tap, request).await {
            Ok(response) => response,
            Err(refusal) => {
                count(&self.meters.refused, 1);
                refusal.response()
            }
        }
    }

    async fn route(
        &self,
        tap: &Arc<Tap>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if self.not_ready().is_some() {
            return Err(Refusal::NotReady);
        }
        let path = request.uri().path();
        let method = match path {
            "/v1/chat/completions" => Method::POST,
            "/health" | "/metrics" | "/version" | "/v1/models" => Method::GET,
            _ => {
                let path = path.to_owned();
                return Err(Refusal::Path { path });
            }
        };
        if request.method() != method {
            return Err(Refusal::Method {
                path: path.to_owned(),
                method: request.method().to_string(),
            });
        }
        if path.starts_with("/v1/") {
            self.check_key(&request)?;
        }
        Ok(match path {
            "/v1/chat/completions" => self.chat(tap, request).await?,
            "/v1/models" => json_answer(&json!({"object": "list", "data": [{
                "id": self.config.model, "object": "model", "created": self.created_s,
                "owned_by": "plimsoll",
            }]})),
            "/version" => json_answer(&json!({"version": env!("CARGO_PKG_VERSION")})),
            "/metrics" => text_answer(self.meters.exposition(
                &self.config.model,
                self.config.slots.get(),
                self.slots.occupancy(),
                self.truth.as_ref().map_or(0, TruthSender::lost),
            )),
            _ => empty_answer(),
        })
    }

    fn check_key(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let Some(key) = &self.config.api_key else {
            return Ok(());
        };
        let given = request.headers().get(AUTHORIZATION);
        match given.and_then(|given| given.to_str().ok()) {
            Some(given) if key.opens(given) => Ok(()),
            _ => Err(Refusal::Key),
        }
    }

    async fn chat(
        &self,
        tap: &Arc<Tap>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let arrived_ns = monotonic_ns();
        let id = request.headers().get(REQUEST_ID).cloned();
        let body = Limited::new(request.into_body(), BODY_LIMIT)
            .collect()
            .await;
        let body = body
            .map_err(|error| Refusal::Body(error.to_string()))?
            .to_bytes();
        // From here to its place in the queue nothing waits, so that requests
        // are served in the order of their ordinals.
        let ordinal = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut log = RequestLog::begin(tap, ordinal, arrived_ns, || {
            let given = id.as_ref().and_then(|id| id.to_str().ok());
            given.map_or_else(|| format!("chatcmpl-{ordinal}"), str::to_owned)
        });
        if self.crash_after.is_some_and(|after| ordinal >= after) {
            self.fate.crash();
            return pending().await;
        }
        let mut response = match self.admit(&log, ordinal, body).await {
            Ok(admitted) => self.reply(admitted, log, ordinal, arrived_ns).await,
            Err(refusal) => {
                let response = refusal.response();
                count(&self.meters.refused, 1);
                log.note(|truth| truth.status = Some(response.status().as_u16()));
                log.end(Ending::Refused, None);
                response
            }
        };
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(response)
    }

    /// Understands the request, decides its fate and waits for its slot.
    async fn admit(
        &self,
        log: &RequestLog,
        ordinal: u64,
        body: Bytes,
    ) -> Result<Admitted, Refusal> {
        let call = Call::parse(&body)?;
        drop(body);
        let asked = call
            .output_tokens
            .unwrap_or(self.config.default_output_tokens);
        log.note(|truth| {
            truth.stream = Some(call.stream);
            truth.prompt_tokens = Some(call.prompt_tokens);
            truth.asked_tokens = Some(asked.get());
        });
        if call.model != self.config.model {
            return Err(Refusal::Model {
                asked: call.model,
                served: self.config.model.clone(),
            });
        }
        let plan = match Plan::new(&self.config, &call, ordinal) {
            Plan::Reply(plan) => plan,
            Plan::Fail(status) => return Err(Refusal::Fault { status }),
            Plan::RefuseUsage => return Err(Refusal::StreamOptions),
            Plan::Hang => pending().await,
        };
        let slot = match self.slots.admit(monotonic_ns()) {
            Admission::Served(slot) => slot,
            Admission::Queued(ticket) => ticket.slot().await,
            Admission::Full => {
                let status = self.config.overflow.status();
                return Err(Refusal::QueueFull { status });
            }
        };
        Ok(Admitted { call, plan, slot })
    }

    async fn reply(
        &self,
        admitted: Admitted,
        log: RequestLog,
        ordinal: u64,
        arrived_ns: i64,
    ) -> Response<AnswerBody> {
        let Admitted { call, plan, slot } = admitted;
        let start_ns = slot.start_ns();
        count(&self.meters.prompt_tokens, call.prompt_tokens.into());
        self.meters.observe_queue(start_ns - arrived_ns);
        log.note(|truth| {
            truth.status = Some(200);
            truth.slot_ns = Some(start_ns);
        });
        // Tokens, a role, and what follows the last token.
        log.expect_events(plan.tokens as usize + 4);
        let to = ReplyTo {
            config: &self.config,
            created_s: self.created_s,
            ordinal,
            prompt_tokens: call.prompt_tokens,
            start_ns,
        };
        let by_length = plan.finish_reason == "length";
        let steps = if call.stream {
            Steps::Stream(Box::new(Script::new(&to, plan)))
        } else {
            Steps::Whole(Some(whole_reply(&to, &plan, slot.busy())))
        };
        let parts = ReplyParts {
            arrived_ns,
            by_length,
            slot,
            log,
            meters: Arc::clone(&self.meters),
        };
        let mut body = Box::new(ReplyBody::new(steps, parts, &self.timer, self.anchor));
        body.until_due().await;
        let mut response = Response::new(AnswerBody::Reply(body));
        let headers = response.headers_mut();
        if call.stream {
            let stream = HeaderValue::from_static("text/event-stream; charset=utf-8");
            headers.insert(CONTENT_TYPE, stream);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}

/// A request that has its slot.
struct Admitted {
    call: Call,
    plan: ReplyPlan,
    slot: Slot,
}
