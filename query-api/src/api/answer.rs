//! A result as the body of an answer, batch by batch.

use std::io;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use plimsoll_warehouse::format::column_names;
use plimsoll_warehouse::format::{Encoder, FormatError};
use plimsoll_warehouse::{Format, QueryStream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;
use utoipa::ToSchema;

use super::problem::{Code, Problem, in_one_line};

/// Pieces of a body that wait for the connection; the query waits beyond that.
const PIECES_AHEAD: usize = 1;

/// A result as JSON.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SqlResult {
    /// The columns, in the statement's order.
    columns: Vec<SqlColumn>,
    /// The rows: objects whose keys are the columns' names.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<serde_json::Map<String, serde_json::Value>>,
    /// How many rows there are here.
    row_count: u64,
    /// True where rows beyond the limit were cut off.
    truncated: bool,
    /// How long it took, to the end of the rows, in milliseconds.
    elapsed_ms: f64,
}

/// A column of a result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SqlColumn {
    /// Its name; of two that share one, the second has `_2` after it.
    name: String,
    /// Its type: boolean, int64, float64, string, binary, timestamp, date,
    /// list, struct, or Arrow's own name for it in lower case.
    r#type: String,
}

/// Waits for the first rows, then answers with all of them as they come.
///
/// # Errors
/// What fails before the first row, or has no place in the format; so that
/// most failures have a status of their own.
pub(super) async fn begin(
    mut result: QueryStream,
    format: Format,
    begun: Instant,
    slot: OwnedSemaphorePermit,
    ending: watch::Receiver<bool>,
) -> Result<Response, Problem> {
    let first = result.next().await.transpose()?;
    let schema = result.schema();
    let encoder = Encoder::new(format, &schema).map_err(|error| unfit(&error))?;
    let mut writer = Writer {
        format,
        encoder,
        schema,
        begun,
        rows: 0,
    };
    let mut head = writer.head().map_err(|error| unfit(&error))?;
    if let Some(batch) = &first {
        head.extend(writer.batch(batch).map_err(|error| unfit(&error))?);
    }
    let parts = Parts {
        writer,
        result,
        ending,
        slot,
    };
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let pump = tokio::spawn(parts.pump(sender));
    let head = futures::stream::once(async move { Ok(Bytes::from(head)) });
    let stream = head.chain(rest(pieces, pump));
    let mut response = Body::from_stream(stream).into_response();
    let media_type = HeaderValue::from_static(format.media_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

/// What the rest of a body is made from.
struct Parts {
    writer: Writer,
    result: QueryStream,
    ending: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
}

impl Parts {
    /// Sends what comes after the first batch, as fast as the caller takes it.
    ///
    /// A task of its own does it, not the body: a body is not polled while its
    /// caller reads nothing, and would hold the slot and the query for ever.
    ///
    /// # Errors
    /// Why the result is not whole. One that nobody wants any more is no error.
    async fn pump(self, sender: mpsc::Sender<Bytes>) -> io::Result<()> {
        let Self {
            writer,
            result,
            mut ending,
            slot,
        } = self;
        let deadline = result.deadline();
        let outcome = tokio::select! {
            biased;
            sent = send(writer, result, &sender) => sent.map_err(io::Error::other),
            () = sender.closed() => Ok(()),
            () = ended(&mut ending) => Err(io::Error::other("the server is going down")),
            () = tokio::time::sleep_until(deadline) => {
                Err(io::Error::other("its caller did not read it within the query's time limit"))
            }
        };
        if let Err(error) = &outcome {
            tracing::debug!("a result broke off: {}", in_one_line(error));
        }
        drop(slot);
        outcome
    }
}

/// Sends the batches after the first, then the end.
async fn send(
    mut writer: Writer,
    mut result: QueryStream,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), FormatError> {
    while let Some(batch) = result.next().await {
        let bytes = writer.batch(&batch?)?;
        if sender.send(Bytes::from(bytes)).await.is_err() {
            return Ok(());
        }
    }
    let bytes = writer.tail(result.truncated())?;
    // Where nobody listens any more, nobody misses the end.
    sender.send(Bytes::from(bytes)).await.ok();
    Ok(())
}

/// The pieces that `pump` sends. Its error ends the body early, which breaks
/// off the connection: the caller sees that bytes are missing. Dropping this
/// ends the pump, and with it the query.
fn rest(
    pieces: mpsc::Receiver<Bytes>,
    pump: JoinHandle<io::Result<()>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::unfold(Some((pieces, pump)), |state| async {
        let (mut pieces, pump) = state?;
        if let Some(bytes) = pieces.recv().await {
            return Some((Ok(bytes), Some((pieces, pump))));
        }
        // The slot is free once the pump has ended: whoever has read the whole
        // body can ask again.
        let error = match pump.await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(panic) => io::Error::other(panic),
        };
        Some((Err(error), None))
    })
}

/// Writes a result in one format, with what JSON has around the rows.
struct Writer {
    format: Format,
    encoder: Encoder,
    schema: SchemaRef,
    begun: Instant,
    rows: u64,
}

impl Writer {
    fn head(&self) -> Result<Vec<u8>, FormatError> {
        if self.format != Format::Json {
            return Ok(Vec::new());
        }
        let columns: Vec<SqlColumn> = column_names(&self.schema)
            .into_iter()
            .zip(self.schema.fields())
            .map(|(name, field)| SqlColumn {
                name,
                r#type: type_name(field.data_type()),
            })
            .collect();
        let columns = serde_json::to_string(&columns).map_err(io::Error::from)?;
        Ok(format!("{{\"columns\":{columns},\n\"rows\":").into_bytes())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, FormatError> {
        self.rows += batch.num_rows() as u64;
        self.encoder.encode(batch)
    }

    fn tail(self, truncated: bool) -> Result<Vec<u8>, FormatError> {
        let mut bytes = self.encoder.finish()?;
        if self.format == Format::Json {
            let elapsed = self.begun.elapsed().as_micros() as f64 / 1_000.0;
            let rows = self.rows;
            let end = format!(
                ",\"row_count\":{rows},\"truncated\":{truncated},\"elapsed_ms\":{elapsed}}}\n"
            );
            bytes.extend_from_slice(end.as_bytes());
        }
        Ok(bytes)
    }
}

/// Done once the requests that still run must end.
pub(super) async fn ended(ending: &mut watch::Receiver<bool>) {
    if ending.wait_for(|ending| *ending).await.is_err() {
        // The server that would say so is gone; it said nothing.
        std::future::pending().await
    }
}

/// The answer to a request that must end.
pub(super) fn going_down() -> Problem {
    Problem::new(
        Code::ShuttingDown,
        "the server is going down and did not wait for this query",
    )
    .with_help("ask again when it is back")
}

fn unfit(error: &FormatError) -> Problem {
    match error {
        FormatError::Query(error) => Problem::from(error),
        FormatError::Write(_) => Problem::new(Code::Internal, in_one_line(error)),
        FormatError::Encode { .. } => Problem::new(Code::NotAcceptable, in_one_line(error))
            .with_help("ask for another format, or cast the column"),
    }
}

/// The name of a column's type.
fn type_name(kind: &DataType) -> String {
    let name = match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::List(_) | DataType::LargeList(_) | DataType::ListView(_) => "list",
        DataType::Struct(_) => "struct",
        DataType::Dictionary(_, values) => return type_name(values),
        other => return other.to_string().to_lowercase(),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_plain_names() {
        let dictionary =
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
        let moment =
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        for (kind, name) in [
            (DataType::Int64, "int64"),
            (DataType::Float64, "float64"),
            (DataType::Boolean, "boolean"),
            (DataType::Null, "null"),
            (dictionary, "string"),
            (moment, "timestamp"),
        ] {
            assert_eq!(type_name(&kind), name);
        }
    }
}
