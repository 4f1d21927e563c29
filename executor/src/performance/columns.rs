//! Facts of requests, read back from a spool batch by batch.

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use plimsoll_ingest::spool::{SpoolContents, SpoolError, Tag};
use plimsoll_ingest::{FailureKind, Phase, RequestStatus, Table};

use crate::load::stage::RequestFacts;

/// Why rows that were spooled cannot be read back.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the spool's rows of `{table}` have no usable column `{column}`")]
    Column { table: Table, column: &'static str },
    #[error(transparent)]
    Row(#[from] plimsoll_ingest::RowError),
    #[error("the run's settings in the spool cannot be used: {reason}")]
    Settings { reason: String },
}

fn integers<'a>(
    batch: &'a RecordBatch,
    table: Table,
    column: &'static str,
) -> Result<&'a Int64Array, ReadError> {
    let found = batch
        .column_by_name(column)
        .and_then(|array| array.as_primitive_opt::<Int64Type>());
    found.ok_or(ReadError::Column { table, column })
}

fn texts<'a>(
    batch: &'a RecordBatch,
    table: Table,
    column: &'static str,
) -> Result<&'a StringArray, ReadError> {
    let found = batch
        .column_by_name(column)
        .and_then(|array| array.as_string_opt::<i32>());
    found.ok_or(ReadError::Column { table, column })
}

fn value(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// Calls `each` with the number and the facts of every request of the spool.
pub(super) fn for_each_request(
    contents: &SpoolContents,
    mut each: impl FnMut(i64, &RequestFacts),
) -> Result<(), ReadError> {
    let table = Table::Requests;
    for batch in contents.batches(Tag::Facts(table)) {
        let batch = batch?;
        let integers = |column| integers(&batch, table, column);
        let (id, stage) = (integers("request_id")?, integers("stage")?);
        let (scheduled, sent) = (integers("scheduled_ns")?, integers("sent_ns")?);
        let (done, ttft, tpot) = (
            integers("done_ns")?,
            integers("ttft_ns")?,
            integers("tpot_ns")?,
        );
        let (prompt, output) = (integers("prompt_tokens")?, integers("output_tokens")?);
        let prompt_asked = integers("prompt_tokens_asked")?;
        let output_asked = integers("output_tokens_asked")?;
        let (chunks, bundled) = (integers("token_chunks")?, integers("bundled_chunks")?);
        let (phase, status) = (
            texts(&batch, table, "phase")?,
            texts(&batch, table, "status")?,
        );
        let kind = texts(&batch, table, "failure_kind")?;
        let good: &BooleanArray = batch
            .column_by_name("good")
            .and_then(|array| array.as_boolean_opt())
            .ok_or(ReadError::Column {
                table,
                column: "good",
            })?;
        for row in 0..batch.num_rows() {
            let facts = RequestFacts {
                stage: stage.value(row),
                phase: phase.value(row).parse::<Phase>().unwrap_or(Phase::Steady),
                scheduled_ns: scheduled.value(row),
                sent_ns: sent.value(row),
                done_ns: done.value(row),
                status: status.value(row).parse().unwrap_or(RequestStatus::Protocol),
                good: good.value(row),
                unsent: kind.is_valid(row)
                    && kind.value(row) == FailureKind::Harness.as_str()
                    && status.value(row) == RequestStatus::Connection.as_str(),
                ttft_ns: value(ttft, row),
                tpot_ns: value(tpot, row),
                prompt_tokens: value(prompt, row),
                output_tokens: value(output, row),
                prompt_tokens_asked: value(prompt_asked, row),
                output_tokens_asked: value(output_asked, row),
                token_chunks: value(chunks, row),
                bundled_chunks: value(bundled, row),
            };
            each(id.value(row), &facts);
        }
    }
    Ok(())
}

/// Calls `each` with the request's number and every gap between its chunks.
pub(super) fn for_each_gap(
    contents: &SpoolContents,
    mut each: impl FnMut(i64, i64),
) -> Result<(), ReadError> {
    let table = Table::Chunks;
    for batch in contents.batches(Tag::Facts(table)) {
        let batch = batch?;
        let id = integers(&batch, table, "request_id")?;
        let at: &ListArray = batch
            .column_by_name("at_ns")
            .and_then(|array| array.as_list_opt())
            .ok_or(ReadError::Column {
                table,
                column: "at_ns",
            })?;
        for row in 0..batch.num_rows() {
            let times = at.value(row);
            let times = times
                .as_primitive_opt::<Int64Type>()
                .ok_or(ReadError::Column {
                    table,
                    column: "at_ns",
                })?;
            // The first counts from the send; gaps follow.
            for gap in times.values().iter().skip(1) {
                each(id.value(row), *gap);
            }
        }
    }
    Ok(())
}
