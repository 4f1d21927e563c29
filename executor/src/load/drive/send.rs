//! Making requests and sending those that are due.

use plimsoll_ingest::Phase;
use plimsoll_ingest::spool::SendRow;

use super::due::{Due, nanos};
use super::request::{Prepared, Request};
use super::{Current, Generator};
use crate::load::chat::{ChatRequest, Message};
use crate::load::stop::Brake;
use crate::load::trace::RequestIdentity;
use crate::load::workload::{Prompt, PromptSource};

/// Requests are sent for so long before replies are read and the brake is looked at again.
const BURST_NS: i64 = 1_000_000;

/// How much of what was due was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    AllOfIt,
    SomeOfIt,
}

impl Generator {
    /// Sends what is due, as much of it as may hold up all else.
    pub(super) fn send_what_is_due(&mut self, stage: &mut Current) -> Sent {
        if self.brake.has_changed().unwrap_or(false) {
            self.heed_brake_in(stage);
        }
        let paused = *self.brake.borrow() == Brake::Paused;
        let began_ns = self.clock.now_ns();
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns - began_ns > BURST_NS {
                return Sent::SomeOfIt;
            }
            let due_ns = stage.due.next_ns();
            let Some(due_ns) = due_ns.filter(|due_ns| *due_ns <= now_ns) else {
                return Sent::AllOfIt;
            };
            let past_end = stage.ends_ns.is_some_and(|ends_ns| due_ns >= ends_ns);
            if past_end || stage.left == Some(0) {
                return Sent::AllOfIt;
            }
            let closed = matches!(stage.due, Due::Closed(_));
            if paused && closed {
                return Sent::AllOfIt;
            }
            stage.due.take();
            self.tick.offered += 1;
            stage.left = stage.left.map(|left| left - 1);
            if paused || self.in_flight.count() >= self.outside.in_flight_limit {
                stage.missed += 1;
                self.missed += 1;
                continue;
            }
            let prepared = stage
                .prepared
                .take()
                .unwrap_or_else(|| self.prepare_next(&stage.prompts));
            self.dispatch(stage.number, stage.phase, due_ns, prepared);
        }
    }

    pub(super) fn take_request_id(&mut self) -> u64 {
        let request_id = self.next_request;
        self.next_request += 1;
        request_id
    }

    pub(super) fn prepare_next(&mut self, prompts: &PromptSource) -> Prepared {
        let request_id = self.take_request_id();
        self.prepare(request_id, prompts.next(request_id))
    }

    pub(super) fn prepare(&self, request_id: u64, prompt: Prompt) -> Prepared {
        let body = ChatRequest {
            model: &self.shape.model,
            messages: &[Message::user(&prompt.text)],
            output_tokens: Some(prompt.output_tokens_asked),
            options: self.shape.options,
        }
        .body();
        Prepared {
            request_id,
            prompt,
            body: body.into(),
        }
    }

    pub(super) fn dispatch(
        &mut self,
        stage: i64,
        phase: Phase,
        scheduled_ns: i64,
        prepared: Prepared,
    ) {
        let begun_ns = self.clock.now_ns();
        let request_id = prepared.request_id as i64;
        let deadline_ns = begun_ns.saturating_add(nanos(self.shape.timeout));
        let interrupt = self.in_flight.begin(prepared.request_id, deadline_ns);
        self.sent += 1;
        self.recorder.waiting().sends.push(SendRow {
            request_id,
            stage,
            scheduled_ns,
            sent_ns: begun_ns,
        });
        let request = Request {
            client: self.client.clone(),
            clock: self.clock.clone(),
            shape: self.shape.clone(),
            identity: RequestIdentity {
                request_id,
                stage,
                phase,
                workload_class: Some(prepared.prompt.class),
            },
            prompt_tokens: prepared.prompt.prompt_tokens_asked,
            output_tokens: prepared.prompt.output_tokens_asked,
            body: prepared.body,
            scheduled_ns,
        };
        let report = self.report.clone();
        tokio::task::spawn_local(async move {
            let ended = request.run(&interrupt).await;
            // The loop is gone only when its run was given up as a whole.
            report.send(ended).ok();
        });
    }
}
