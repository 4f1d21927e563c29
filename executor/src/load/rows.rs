//! From measured requests to rows of `raw.requests` and `raw.chunks`.

use arrow::array::RecordBatch;
use plimsoll_ingest::{ChunksRow, Date, RequestRow, RequestStatus, RunId, TableRow as _};

use super::metrics::{RequestMetrics, chunk_times};
use super::trace::RequestTrace;
use crate::slo::{RequestLatencies, Slo};

/// A request that ended, with what was derived of it.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Its moments and its reply.
    pub trace: RequestTrace,
    /// Its latencies.
    pub metrics: RequestMetrics,
    /// Whether they meet the SLO; `None` where they cannot be judged.
    pub slo_met: Option<bool>,
    /// Prompt tokens that the workload asked for.
    pub prompt_tokens_asked: i64,
    /// Output tokens that the workload asked for.
    pub output_tokens_asked: i64,
}

impl Measured {
    /// Derives what a request's row needs, beside its trace.
    pub fn of(trace: RequestTrace, slo: &Slo, prompt_tokens: u32, output_tokens: u32) -> Self {
        let metrics = RequestMetrics::of(&trace);
        let latencies = RequestLatencies {
            ttft_ns: metrics.ttft_ns,
            tpot_ns: metrics.tpot_ns,
            itl_ns: metrics.itl_ns,
            e2e_ns: Some(metrics.e2e_ns),
        };
        let is_ok = trace.reply.status == RequestStatus::Ok;
        let slo_met = is_ok.then(|| slo.request_meets(&latencies)).flatten();
        Self {
            trace,
            metrics,
            slo_met,
            prompt_tokens_asked: i64::from(prompt_tokens),
            output_tokens_asked: i64::from(output_tokens),
        }
    }

    /// Whether it ended ok.
    pub fn is_ok(&self) -> bool {
        self.trace.reply.status == RequestStatus::Ok
    }

    /// Ok, and not outside the SLO.
    pub fn is_good(&self) -> bool {
        self.is_ok() && self.slo_met != Some(false)
    }
}

/// Makes rows of one run.
#[derive(Debug, Clone, Copy)]
pub struct RowMaker {
    run_id: RunId,
    run_key: i64,
    date: Date,
}

impl RowMaker {
    /// For a run's requests.
    pub fn new(run_id: RunId) -> Self {
        Self {
            run_id,
            run_key: run_id.run_key(),
            date: run_id.date(),
        }
    }

    /// The rows of `raw.requests`, and those of `raw.chunks` for requests
    /// whose replies came in chunks.
    pub fn batches(&self, ended: &[Measured]) -> (RecordBatch, RecordBatch) {
        let requests: Vec<_> = ended.iter().map(|one| self.request_row(one)).collect();
        let chunks: Vec<_> = ended
            .iter()
            .filter_map(|one| self.chunks_row(one))
            .collect();
        let sound = "rows of one type form a batch";
        let requests = RequestRow::to_batch(&requests).expect(sound);
        (requests, ChunksRow::to_batch(&chunks).expect(sound))
    }

    fn chunks_row(&self, measured: &Measured) -> Option<ChunksRow> {
        let times = chunk_times(&measured.trace)?;
        Some(ChunksRow {
            run_id: self.run_id,
            run_key: self.run_key,
            date: self.date,
            request_id: measured.trace.identity.request_id,
            at_ns: times.at_ns,
            tokens: times.tokens,
        })
    }

    /// The row of `raw.requests`.
    pub fn request_row(&self, measured: &Measured) -> RequestRow {
        let Measured { trace, metrics, .. } = measured;
        let reply = &trace.reply;
        let in_chunks = !reply.chunks.is_empty();
        RequestRow {
            run_id: self.run_id,
            run_key: self.run_key,
            date: self.date,
            stage: trace.identity.stage,
            phase: trace.identity.phase.to_string(),
            request_id: trace.identity.request_id,
            session_id: None,
            turn: None,
            arm: None,
            workload_class: trace.identity.workload_class.as_deref().map(str::to_string),
            tenant: None,
            adapter: None,
            scheduled_ns: trace.scheduled_ns,
            sent_ns: trace.sent_ns,
            first_byte_ns: reply.first_byte_ns,
            first_token_ns: trace.first_token_ns(),
            last_token_ns: trace.last_token_ns(),
            done_ns: trace.done_ns,
            status: reply.status.to_string(),
            failure_kind: reply.failure_kind.map(|kind| kind.to_string()),
            http_status: reply.http_status.map(i64::from),
            error: reply.error.clone(),
            finish_reason: reply.finish_reason.clone(),
            retries: trace.retries,
            prompt_tokens: reply.prompt_tokens,
            output_tokens: reply.output_tokens,
            reasoning_tokens: reply.reasoning_tokens,
            cached_tokens: reply.cached_tokens,
            prompt_tokens_asked: Some(measured.prompt_tokens_asked),
            output_tokens_asked: Some(measured.output_tokens_asked),
            token_source: reply.token_source.map(|source| source.to_string()),
            token_chunks: in_chunks.then(|| trace.token_chunks().count() as i64),
            bundled_chunks: in_chunks.then(|| i64::from(reply.bundled_chunks)),
            ttft_ns: metrics.ttft_ns,
            ttft_any_ns: metrics.ttft_any_ns,
            tpot_ns: metrics.tpot_ns,
            ntpot_ns: metrics.ntpot_ns,
            itl_ns: metrics.itl_ns.map(|itl| itl.to_array().to_vec()),
            e2e_ns: metrics.e2e_ns,
            queue_ns: metrics.queue_ns,
            slo_met: measured.slo_met,
            correct: None,
            good: measured.is_good(),
            timestamp_source: trace.timestamp_source.to_string(),
            trace_id: None,
        }
    }
}
