//! One request: made before it is due, sent, waited for.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use plimsoll_ingest::{RequestStatus, RunId};

use super::in_flight::Interrupt;
use crate::load::chat::ChatOptions;
use crate::load::client::{Call, Client, Progress as CallProgress};
use crate::load::clock::RunClock;
use crate::load::reply::Reply;
use crate::load::rows::Measured;
use crate::load::trace::{RequestIdentity, RequestTrace};
use crate::load::workload::Prompt;
use crate::slo::Slo;

/// What all requests of a run have in common.
#[derive(Debug, Clone)]
pub(crate) struct RequestShape {
    pub(crate) run_id: RunId,
    pub(crate) model: String,
    pub(crate) options: ChatOptions,
    pub(crate) timeout: Duration,
    pub(crate) slo: Slo,
}

/// The next request, made before it is due.
pub(super) struct Prepared {
    pub(super) request_id: u64,
    pub(super) prompt: Prompt,
    pub(super) body: Bytes,
}

/// A request that has ended.
pub(super) struct Ended {
    pub(super) measured: Measured,
    /// When its slot fell free: at its end, or later where the server let it wait for the end of
    /// its body in vain.
    pub(super) freed_ns: i64,
}

/// One request on its way.
pub(super) struct Request {
    pub(super) client: Rc<Client>,
    pub(super) clock: Rc<RunClock>,
    pub(super) shape: Rc<RequestShape>,
    pub(super) identity: RequestIdentity,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) body: Bytes,
    pub(super) scheduled_ns: i64,
}

impl Request {
    pub(super) async fn run(self, interrupt: &Interrupt) -> Ended {
        let sent_ns = self.clock.now_ns();
        let mut reply = Reply::asked_as(self.shape.options.transfer);
        let mut progress = CallProgress::default();
        let call = Call {
            path: "/chat/completions",
            body: Some(self.body),
            request_id: format!("{}/{}", self.shape.run_id, self.identity.request_id),
        };
        let exchange = self.client.exchange(&call, &mut reply, &mut progress);
        let end = interrupt.or(exchange).await;
        let end = progress.end(end, self.clock.now_ns());
        let outcome = reply.finish(end.end, self.client.endpoint().redaction());
        // A reply that is whole ended with its last byte, or with the mark of its end, however long
        // its connection stayed; tokens that came after the mark are a part of it.
        let said_ns = outcome.chunks.last().map(|chunk| chunk.at_ns);
        let received_ns = end
            .received_ns
            .max(said_ns)
            .filter(|_| outcome.status == RequestStatus::Ok);
        let trace = RequestTrace {
            identity: self.identity,
            scheduled_ns: self.scheduled_ns,
            sent_ns,
            done_ns: received_ns.unwrap_or(end.over_ns),
            retries: end.retries,
            timestamp_source: end.timestamp_source,
            reply: outcome,
        };
        let measured = Measured::of(
            trace,
            &self.shape.slo,
            self.prompt_tokens,
            self.output_tokens,
        );
        Ended {
            measured,
            freed_ns: end.over_ns,
        }
    }
}
