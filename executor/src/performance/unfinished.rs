//! Requests of a run whose process died before they ended.

use plimsoll_ingest::spool::{SendRow, SpoolContents, Tag};
use plimsoll_ingest::{
    FailureKind, Phase, RequestRow, RequestStatus, RunRow, StageRow, Table, TimestampSource,
};

use super::columns::{ReadError, for_each_request};

/// What a spool holds of requests whose end is not in it.
pub(super) struct Open {
    /// Their rows.
    pub(super) requests: Vec<RequestRow>,
    /// The last moment that the spool knows of.
    pub(super) last_ns: i64,
}

/// Rows of requests that were sent and whose end is not in the spool.
pub(super) fn unfinished(
    contents: &SpoolContents,
    run: &RunRow,
    stages: &[StageRow],
) -> Result<Open, ReadError> {
    let mut ended: Vec<bool> = Vec::new();
    let mut last_ns = 0;
    for_each_request(contents, |request_id, facts| {
        let index = usize::try_from(request_id).unwrap_or(0);
        if index >= ended.len() {
            ended.resize(index + 1, false);
        }
        ended[index] = true;
        last_ns = last_ns.max(facts.done_ns);
    })?;
    let mut open: Vec<SendRow> = Vec::new();
    for batch in contents.batches(Tag::Sends) {
        let batch = batch?;
        let rows = SendRow::from_batch(&batch).ok_or(ReadError::Column {
            table: Table::Requests,
            column: "request_id",
        })?;
        for row in rows {
            last_ns = last_ns.max(row.sent_ns);
            let index = usize::try_from(row.request_id).unwrap_or(usize::MAX);
            if !ended.get(index).copied().unwrap_or(false) {
                open.push(row);
            }
        }
    }
    let phase_of = |stage: i64| {
        let row = stages.iter().find(|row| row.stage == stage);
        row.map_or_else(|| Phase::Steady.to_string(), |row| row.phase.clone())
    };
    let cancelled = open.iter().map(|send| RequestRow {
        stage: send.stage,
        phase: phase_of(send.stage),
        scheduled_ns: send.scheduled_ns,
        sent_ns: send.sent_ns,
        done_ns: last_ns,
        status: RequestStatus::Cancelled.to_string(),
        failure_kind: Some(FailureKind::Harness.to_string()),
        e2e_ns: last_ns - send.scheduled_ns,
        queue_ns: send.sent_ns - send.scheduled_ns,
        timestamp_source: TimestampSource::User.to_string(),
        ..RequestRow::blank(run.run_id, send.request_id)
    });
    Ok(Open {
        requests: cancelled.collect(),
        last_ns,
    })
}
