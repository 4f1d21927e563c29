//! Latencies of one request, each from its raw moments.
//!
//! Every definition that a known tool uses is here under a name of its own, since "TTFT", "TPOT"
//! and "ITL" of two tools are not the same thing. The tools are GuideLLM 0.8, AIPerf 0.13,
//! inference-perf 0.7 and `vllm bench serve`. All of them start the clock when the request is
//! sent; the columns `ttft_ns`, `ttft_any_ns` and `e2e_ns` start it when the request was due, so
//! that waiting in the generator counts. What a tool would have said is the column less
//! `queue_ns`, or the function here with [`Since::Sent`].
//!
//! All values are integer nanoseconds. A quotient is rounded to the nearest integer, halves up.
//! Moments are taken as they are: where clocks disagree, a latency may come out negative, and it
//! is not hidden. Nothing here looks at a clock, and nothing looks at the status: a request that
//! failed after its first token has a time to it.

mod gaps;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod paper;

pub use gaps::{ChunkTimes, all_chunk_gaps, chunk_gaps, chunk_times, token_gaps};

use super::chat::DeltaKind;
use super::percentile::{Percentiles, percentiles};
use super::trace::RequestTrace;

/// Where a latency begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// When the request was due: waiting in the generator counts.
    Scheduled,
    /// When the request was sent, as other tools have it.
    Sent,
}

impl Since {
    fn moment(self, trace: &RequestTrace) -> i64 {
        match self {
            Since::Scheduled => trace.scheduled_ns,
            Since::Sent => trace.sent_ns,
        }
    }
}

/// The derived columns of a request's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestMetrics {
    /// [`queue`].
    pub queue_ns: i64,
    /// [`ttft`] since the schedule.
    pub ttft_ns: Option<i64>,
    /// [`ttft_any`] since the schedule.
    pub ttft_any_ns: Option<i64>,
    /// [`tpot`].
    pub tpot_ns: Option<i64>,
    /// [`ntpot`].
    pub ntpot_ns: Option<i64>,
    /// [`percentiles`] of its own [`chunk_gaps`]; `None` if there is no gap.
    pub itl_ns: Option<Percentiles>,
    /// [`e2e`] since the schedule.
    pub e2e_ns: i64,
}

impl RequestMetrics {
    /// Derives all of them.
    pub fn of(trace: &RequestTrace) -> Self {
        let mut gaps: Vec<i64> = chunk_gaps(trace).collect();
        Self {
            queue_ns: queue(trace),
            ttft_ns: ttft(trace, Since::Scheduled),
            ttft_any_ns: ttft_any(trace, Since::Scheduled),
            tpot_ns: tpot(trace),
            ntpot_ns: ntpot(trace),
            itl_ns: percentiles(&mut gaps),
            e2e_ns: e2e(trace, Since::Scheduled),
        }
    }
}

/// Time that the request waited in the generator: sent - scheduled, ns. Column `queue_ns`.
///
/// inference-perf calls its mean `schedule_delay`; the others do not report it per request.
pub fn queue(trace: &RequestTrace) -> i64 {
    trace.sent_ns - trace.scheduled_ns
}

/// Time to the first token: arrival of the first non-empty content, reasoning or tool delta -
/// `since`, ns. Since the schedule, column `ttft_ns`.
///
/// `None` if no such delta came, or if the reply was asked for as one document, where nobody
/// sees a first token. A document in answer to a request for a stream counts as one delta.
///
/// Since the send, it equals GuideLLM's TTFT, and AIPerf's where there are no tool calls.
pub fn ttft(trace: &RequestTrace, since: Since) -> Option<i64> {
    Some(trace.first_token_ns()? - since.moment(trace))
}

/// Time to the first chunk of any kind, role-only and empty ones included: its arrival -
/// `since`, ns. Since the schedule, column `ttft_any_ns`.
///
/// A chunk without any choice (usage, a filter's notice) and a comment are no such chunk. `None`
/// if none came, or if the reply was asked for as one document.
///
/// Since the send, it equals the TTFT of `vllm bench serve`.
pub fn ttft_any(trace: &RequestTrace, since: Since) -> Option<i64> {
    Some(trace.first_chunk_ns()? - since.moment(trace))
}

/// Time to the first content: arrival of the first non-empty delta of the answer itself,
/// reasoning and tool calls left aside - `since`, ns.
///
/// `None` if no content came, or if the reply was asked for as one document.
///
/// Since the send, it equals inference-perf's TTFT.
pub fn ttft_content(trace: &RequestTrace, since: Since) -> Option<i64> {
    let mut chunks = trace.reply.chunks.iter();
    let content = chunks.find(|chunk| chunk.kind == DeltaKind::Content)?;
    Some(content.at_ns - since.moment(trace))
}

/// Time per output token after the first: (last token - first token) / (n - 1), ns, where n is
/// `output_tokens`. Column `tpot_ns`.
///
/// Tokens that were there with the first or before it are no later ones: where the first chunk is
/// known to bring several, all of them are left out, and so is reasoning that the server counts
/// and does not send.
///
/// `None` if n is unknown, if there is no later token, or if all came at one moment, since then
/// nothing between them was seen.
///
/// It equals inference-perf's TPOT, the ITL of GuideLLM (one value a request), and the ITL of
/// AIPerf (one value a request), as far as the counts of tokens agree. That of `vllm bench serve`
/// is [`tpot_any`].
pub fn tpot(trace: &RequestTrace) -> Option<i64> {
    let first = trace.token_chunks().next()?;
    let before = unseen_tokens(trace) + first.tokens.map_or(1, i64::from);
    per_token_after(trace, before, first.at_ns, trace.last_token_ns()?)
}

/// Reasoning tokens that the server counts and does not send: they came before the first chunk.
fn unseen_tokens(trace: &RequestTrace) -> i64 {
    let seen = trace
        .token_chunks()
        .any(|chunk| chunk.kind == DeltaKind::Reasoning);
    match seen {
        true => 0,
        false => trace.reply.reasoning_tokens.unwrap_or(0),
    }
}

/// Time per output token after the first, by chunks of any kind: (last chunk - first chunk) /
/// (n - 1), ns, where n is `output_tokens`.
///
/// `None` under the same rule as [`tpot`].
///
/// It equals the TPOT of `vllm bench serve`, (E2E - TTFT) / (n - 1) with that tool's TTFT
/// ([`ttft_any`]) and E2E ([`e2e_last_chunk`]), where n > 1; for n <= 1 that tool says 0.
pub fn tpot_any(trace: &RequestTrace) -> Option<i64> {
    per_token_after(trace, 1, trace.first_chunk_ns()?, trace.last_chunk_ns()?)
}

/// The time between two moments over the tokens that came between them: all but the first so
/// many.
fn per_token_after(trace: &RequestTrace, before: i64, first_ns: i64, last_ns: i64) -> Option<i64> {
    let later_tokens = trace.reply.output_tokens? - before;
    (later_tokens > 0 && last_ns > first_ns).then(|| rounded(last_ns - first_ns, later_tokens))
}

/// Time per output token, the first included ("normalised"): (last token - sent) / n, ns, where
/// n is `output_tokens`. Column `ntpot_ns`.
///
/// Counts from the send and not from the schedule, since it is kept to be compared with the tool
/// that it equals. `None` if n is unknown or 0, or if no token's arrival was seen.
///
/// It equals GuideLLM's TPOT, which includes the time to the first token.
pub fn ntpot(trace: &RequestTrace) -> Option<i64> {
    let tokens = trace.reply.output_tokens.filter(|tokens| *tokens > 0)?;
    Some(rounded(trace.last_token_ns()? - trace.sent_ns, tokens))
}

/// Time to the end: done - `since`, ns. Since the schedule, column `e2e_ns`.
///
/// The end is `[DONE]`, else the end of the body, or the failure: what a server does with the
/// connection after its last word is no latency of the reply.
///
/// Since the send, it equals the request latency of inference-perf, and of GuideLLM where the
/// server closes the stream with its last word; since the schedule, GuideLLM's
/// `request_scheduled_latency`.
pub fn e2e(trace: &RequestTrace, since: Since) -> i64 {
    trace.done_ns - since.moment(trace)
}

/// Time to the last token: its arrival - `since`, ns. `None` if none came.
///
/// Since the send, it equals the request latency of AIPerf, which ends at the last response with
/// content.
pub fn e2e_last_token(trace: &RequestTrace, since: Since) -> Option<i64> {
    Some(trace.last_token_ns()? - since.moment(trace))
}

/// Time to the last chunk of any kind: its arrival - `since`, ns. `None` if none came.
///
/// Since the send, it equals the E2E latency of `vllm bench serve`, which ends at the last chunk
/// with `choices`.
pub fn e2e_last_chunk(trace: &RequestTrace, since: Since) -> Option<i64> {
    Some(trace.last_chunk_ns()? - since.moment(trace))
}

/// `total / parts`, rounded to the nearest integer, halves up. `parts` is positive.
fn rounded(total: i64, parts: i64) -> i64 {
    let quotient = (2 * i128::from(total) + i128::from(parts)).div_euclid(2 * i128::from(parts));
    i64::try_from(quotient).expect("a quotient by at least 1 is no larger than what is divided")
}
