//! The result of a query, batch by batch, under its limits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::error::QueryError;
use crate::runtime::Work;

/// How the work behind a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkEnd {
    /// It sent all that there was to send.
    Done,
    /// Its time was up first; the batches that were sent are not all.
    OutOfTime,
}

/// The batches of a result, in order.
///
/// Dropping it stops the query. It must be polled on a Tokio runtime with
/// timers, and the time limit counts while the reader is slow, too.
#[derive(Debug)]
pub struct QueryStream {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, QueryError>>,
    work: Work<WorkEnd>,
    deadline: Pin<Box<Sleep>>,
    timeout: Duration,
    /// Rows that may still be given; `None` for all.
    rows_left: Option<usize>,
    truncated: bool,
    ended: bool,
    /// What [`QueryStream::ready`] waited for and nobody has read yet.
    first: Option<Result<RecordBatch, QueryError>>,
}

impl QueryStream {
    pub(crate) fn new(
        schema: SchemaRef,
        batches: mpsc::Receiver<Result<RecordBatch, QueryError>>,
        work: Work<WorkEnd>,
        deadline: Pin<Box<Sleep>>,
        timeout: Duration,
        max_rows: Option<usize>,
    ) -> Self {
        Self {
            schema,
            batches,
            work,
            deadline,
            timeout,
            rows_left: max_rows,
            truncated: false,
            ended: false,
            first: None,
        }
    }

    /// Waits until there is something to read: rows, an error or the end. Nothing of it is lost.
    pub async fn ready(&mut self) {
        if self.first.is_none() {
            self.first = self.next().await;
        }
    }

    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// When the query is stopped, whether or not its result was read.
    pub fn deadline(&self) -> Instant {
        self.deadline.deadline()
    }

    /// After the end: whether rows beyond the row limit were cut off.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Cuts the batch at the row limit; `None` where no row may be given.
    fn within_limit(&mut self, batch: RecordBatch) -> Option<RecordBatch> {
        let Some(left) = self.rows_left else {
            return Some(batch);
        };
        if batch.num_rows() <= left {
            self.rows_left = Some(left - batch.num_rows());
            return Some(batch);
        }
        self.truncated = true;
        self.rows_left = Some(0);
        self.end();
        (left > 0).then(|| batch.slice(0, left))
    }

    fn end(&mut self) {
        self.ended = true;
        self.batches.close();
        self.work.stop();
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            // The limit is looked at first: a query whose rows never end is
            // always ready, and must be stopped all the same.
            if this.deadline.as_mut().poll(context).is_ready() {
                this.end();
                let limit = this.timeout;
                return Poll::Ready(Some(Err(QueryError::TimedOut { limit })));
            }
            match ready!(this.batches.poll_recv(context)) {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    if let Some(batch) = this.within_limit(batch) {
                        return Poll::Ready(Some(Ok(batch)));
                    }
                }
                Some(Err(error)) => {
                    this.end();
                    return Poll::Ready(Some(Err(error)));
                }
                // The sender is gone: the work ended, or it panicked.
                None => {
                    let outcome = ready!(Pin::new(&mut this.work.handle).poll(context));
                    this.end();
                    let error = match outcome {
                        Ok(WorkEnd::Done) => continue,
                        // The work has a clock of its own, which may be first.
                        Ok(WorkEnd::OutOfTime) => QueryError::TimedOut {
                            limit: this.timeout,
                        },
                        Err(panic) => QueryError::Internal {
                            message: panic.to_string(),
                        },
                    };
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use futures::StreamExt;

    use super::*;
    use crate::runtime::QueryRuntime;

    fn batch(values: &[i64]) -> RecordBatch {
        let column = Int64Array::from(values.to_vec());
        RecordBatch::try_from_iter([("a", Arc::new(column) as _)]).expect("one column")
    }

    /// A stream of `batches`, after which `then` is awaited; there is time enough for it.
    fn stream(
        runtime: &QueryRuntime,
        batches: Vec<RecordBatch>,
        then: impl Future<Output = WorkEnd> + Send + 'static,
        max_rows: Option<usize>,
    ) -> QueryStream {
        stream_within(Duration::from_secs(60), runtime, batches, then, max_rows)
    }

    /// As [`stream`], with a limit.
    fn stream_within(
        timeout: Duration,
        runtime: &QueryRuntime,
        batches: Vec<RecordBatch>,
        then: impl Future<Output = WorkEnd> + Send + 'static,
        max_rows: Option<usize>,
    ) -> QueryStream {
        let (sender, receiver) = mpsc::channel(1);
        let work = runtime.spawn(async move {
            for batch in batches {
                if sender.send(Ok(batch)).await.is_err() {
                    return WorkEnd::Done;
                }
            }
            then.await
        });
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        let deadline = Box::pin(tokio::time::sleep(timeout));
        QueryStream::new(
            Arc::new(schema),
            receiver,
            work,
            deadline,
            timeout,
            max_rows,
        )
    }

    async fn rows(stream: &mut QueryStream) -> usize {
        stream
            .map(|batch| batch.expect("no error").num_rows())
            .fold(0, async |a, b| a + b)
            .await
    }

    #[tokio::test]
    async fn the_row_limit_cuts_within_a_batch_and_says_so() {
        let runtime = QueryRuntime::start(1).expect("threads start");
        for (max_rows, given, truncated) in [
            (None, 5, false),
            (Some(5), 5, false),
            (Some(4), 4, true),
            (Some(3), 3, true),
            (Some(0), 0, true),
        ] {
            let batches = vec![batch(&[1, 2, 3]), batch(&[]), batch(&[4, 5])];
            let mut stream = stream(&runtime, batches, async { WorkEnd::Done }, max_rows);
            assert_eq!(rows(&mut stream).await, given, "{max_rows:?}");
            assert_eq!(stream.truncated(), truncated, "{max_rows:?}");
        }
    }

    #[tokio::test]
    async fn what_is_waited_for_is_read_all_the_same() {
        let runtime = QueryRuntime::start(1).expect("threads start");
        let batches = vec![batch(&[]), batch(&[1, 2]), batch(&[3])];
        let mut stream = stream(&runtime, batches, async { WorkEnd::Done }, Some(2));
        stream.ready().await;
        stream.ready().await;
        assert_eq!(rows(&mut stream).await, 2);
        assert!(stream.truncated());
        stream.ready().await;
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn work_that_never_yields_is_left_behind_at_the_deadline() {
        let runtime = QueryRuntime::start(1).expect("threads start");
        let (release, held) = std::sync::mpsc::channel::<()>();
        let mut stream = stream_within(
            Duration::from_millis(200),
            &runtime,
            vec![batch(&[1])],
            async move {
                assert!(held.recv().is_err(), "released when the test ends");
                WorkEnd::Done
            },
            None,
        );
        assert!(matches!(stream.next().await, Some(Ok(_))));
        let error = stream
            .next()
            .await
            .expect("an end")
            .expect_err("the deadline");
        assert_eq!(
            error.to_string(),
            "the query was stopped after its limit of 200 ms"
        );
        assert!(stream.next().await.is_none());
        drop(release);
    }

    #[tokio::test]
    async fn work_that_ran_out_of_time_is_an_error_and_not_a_short_result() {
        let runtime = QueryRuntime::start(1).expect("threads start");
        let late = async { WorkEnd::OutOfTime };
        let mut stream = stream(&runtime, vec![batch(&[1])], late, None);
        assert!(matches!(stream.next().await, Some(Ok(_))));
        let error = stream.next().await.expect("an end").expect_err("the time");
        assert!(matches!(error, QueryError::TimedOut { .. }), "{error}");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_panic_in_the_engine_is_an_error_and_not_a_short_result() {
        let runtime = QueryRuntime::start(1).expect("threads start");
        let broken = async { panic!("broken operator") };
        let mut stream = stream(&runtime, vec![batch(&[1])], broken, None);
        assert!(matches!(stream.next().await, Some(Ok(_))));
        let error = stream.next().await.expect("an end").expect_err("the panic");
        assert!(matches!(error, QueryError::Internal { .. }), "{error}");
        assert!(error.to_string().contains("broken operator"), "{error}");
    }
}
