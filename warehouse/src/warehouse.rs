//! The warehouse: opening it, keeping it fresh, asking it.

use std::future::Future;
use std::sync::{Arc, RwLock};

use arrow::array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use plimsoll_ingest::{WarehouseLocation, WarehouseStore, storage};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};

use crate::cache::{Answers, Gathered};
use crate::engine::{Engine, WarehouseOptions};
use crate::error::{OpenError, QueryError};
use crate::limits::{Access, QueryLimits};
use crate::parameters::Parameters;
use crate::runtime::{QueryRuntime, Work};
use crate::snapshots::Snapshots;
use crate::stopping::Stop;
use crate::stream::{QueryStream, WorkEnd};
use crate::wide::{Attempt, Batches};
use crate::{planning, read_only};

/// Batches that may wait for a slow reader; the query waits beyond that.
const BATCHES_AHEAD: usize = 2;

/// A warehouse that is open for reading.
#[derive(Debug)]
pub struct Warehouse {
    location: WarehouseLocation,
    runtime: QueryRuntime,
    current: RwLock<Arc<Snapshots>>,
    /// One refresh at a time: two would only do the same work.
    refreshing: Mutex<()>,
    answers: Answers,
}

impl Warehouse {
    /// Opens the warehouse at `location`.
    ///
    /// Tables are opened when a statement first names them. A place that
    /// holds no warehouse is opened all the same: every table is empty there,
    /// and nothing is created.
    ///
    /// # Errors
    /// Where the engine cannot be set up as `options` ask, or the place cannot
    /// be read.
    pub async fn open(
        location: &WarehouseLocation,
        options: WarehouseOptions,
    ) -> Result<Self, OpenError> {
        let runtime = QueryRuntime::start(options.threads)?;
        let store = WarehouseStore::connect(location).map_err(|error| OpenError::Storage {
            reason: error.to_string(),
            help: storage::help(&error).unwrap_or("check the warehouse's URL"),
        })?;
        let engine = Arc::new(Engine::new(&store, &options)?);
        let answers = Answers::in_bytes(options.answers, engine.template());
        // On the threads for queries, as all that follows.
        let mut looking = runtime.spawn(async move { Snapshots::unopened(&store, &engine).await });
        let snapshots = Arc::new(ended((&mut looking.handle).await)??);
        Ok(Self {
            location: location.clone(),
            runtime,
            current: RwLock::new(snapshots),
            refreshing: Mutex::new(()),
            answers,
        })
    }

    /// Where the warehouse lies.
    pub fn location(&self) -> &WarehouseLocation {
        &self.location
    }

    /// Whether the place held a warehouse when it was opened or last refreshed.
    pub fn exists(&self) -> bool {
        self.snapshots().exists()
    }

    /// Takes in what was published since: `runs` first, then the facts, then
    /// swaps the whole set. Queries that run keep the set they began with.
    ///
    /// From the first call on, every table is open. A process that lives long
    /// must call it now and then, every few seconds say: compaction may merge
    /// files of runs that an old set does not know after an hour.
    ///
    /// # Errors
    /// Where storage does not answer, or `runs` cannot be read; the old set
    /// then stays. Another table that cannot be read is no error here: queries
    /// that name it are told.
    pub async fn refresh(&self) -> Result<(), OpenError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let before = self.snapshots();
        let set = Arc::clone(&before);
        let mut work = self.spawn(async move { set.newest().await });
        let newest = ended((&mut work.handle).await)??;
        // Where nothing was published, what was planned and answered stays good.
        if newest.is_same_as(&before) {
            return Ok(());
        }
        *self
            .current
            .write()
            .expect("nobody panics holding the lock") = Arc::new(newest);
        Ok(())
    }

    /// Runs one statement that reads.
    ///
    /// `parameters` are the values of `$1`, `$2`, ..; they are bound as
    /// values. The whole query sees one set of snapshots. It runs on threads
    /// of its own and stops when the stream is dropped.
    ///
    /// # Errors
    /// Everything that can be said before the first row; the stream gives the
    /// rest. Statements that do more than read are refused before storage is
    /// touched.
    pub async fn query(
        &self,
        sql: &str,
        parameters: &[Value],
        limits: &QueryLimits,
    ) -> Result<QueryStream, QueryError> {
        let mut deadline = Box::pin(tokio::time::sleep(limits.timeout));
        let ends_at = deadline.deadline();
        let (planned, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let (snapshots, access) = (self.snapshots(), limits.access);
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        let answers = self.answers.clone();
        let work = self.runtime.spawn_heeding(|stop| async move {
            let generation = snapshots.generation();
            let question = answers.question(generation, access, &sql, &parameters);
            if let Some(kept) = question.as_ref().and_then(|question| answers.get(question)) {
                if planned.send(Ok(kept.schema)).is_ok() {
                    return within(ends_at, give(&kept.batches, &sender)).await;
                }
                return WorkEnd::Done;
            }
            // Here, since the stack is large, and the caller's thread serves others.
            let plan = async |attempt: &Attempt| {
                planned_from(&snapshots, &sql, &parameters, access, attempt, &stop).await
            };
            let mut attempt = Attempt::with(Batches::USUAL);
            match plan(&attempt).await {
                Ok((usual, context)) => {
                    // Whoever asked may be gone by now; then so is the work.
                    if planned.send(Ok(usual.schema())).is_err() {
                        return WorkEnd::Done;
                    }
                    let gather = |schema| answers.gather(question.as_ref()?, schema);
                    let running = async {
                        let gathered = gather(usual.schema());
                        run(&snapshots, usual, context, &sender, &attempt, gathered).await;
                        while let Some(next) = attempt.next() {
                            attempt = next;
                            match plan(&attempt).await {
                                Ok((smaller, context)) => {
                                    let gathered = gather(smaller.schema());
                                    run(&snapshots, smaller, context, &sender, &attempt, gathered)
                                        .await;
                                }
                                Err(error) => drop(sender.send(Err(error)).await),
                            }
                        }
                    };
                    within(ends_at, running).await
                }
                Err(error) => {
                    drop(planned.send(Err(error)));
                    WorkEnd::Done
                }
            }
        });
        let schema = tokio::select! {
            biased;
            () = deadline.as_mut() => {
                return Err(QueryError::TimedOut { limit: limits.timeout });
            }
            schema = schema => schema,
        };
        let schema = schema.unwrap_or_else(|_| {
            Err(QueryError::Internal {
                message: "planning ended without a plan".to_string(),
            })
        })?;
        let (timeout, max_rows) = (limits.timeout, limits.max_rows);
        Ok(QueryStream::new(
            schema, batches, work, deadline, timeout, max_rows,
        ))
    }

    /// The set of snapshots that a query which begins now sees.
    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        Arc::clone(&self.current.read().expect("nobody panics holding the lock"))
    }

    /// Runs `work` on the threads for queries.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Work<T> {
        self.runtime.spawn(work)
    }
}

/// What work on the threads for queries came to, unless it panicked.
fn ended<T>(outcome: Result<T, JoinError>) -> Result<T, OpenError> {
    outcome.map_err(|panic| OpenError::Engine {
        reason: panic.to_string(),
    })
}

/// The plan of one statement that reads.
async fn planned_from(
    snapshots: &Arc<Snapshots>,
    sql: &str,
    parameters: &[Value],
    access: Access,
    attempt: &Attempt,
    stop: &Stop,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>), QueryError> {
    let mut statement = read_only::parse(sql)?;
    let parameters = Parameters::take(&mut statement, parameters)?;
    planning::plan(snapshots, statement, parameters, access, attempt, stop).await
}

/// Does what gives out batches, until the time is up.
///
/// A reader that reads no more does not poll the stream, and its clock stands
/// still: what the plan holds must be given back in time all the same.
async fn within(ends_at: Instant, giving: impl Future<Output = ()>) -> WorkEnd {
    match timeout_at(ends_at, giving).await {
        Ok(()) => WorkEnd::Done,
        Err(_) => WorkEnd::OutOfTime,
    }
}

type Sender = mpsc::Sender<Result<RecordBatch, QueryError>>;

/// Sends the plan's batches until the plan or the reader ends, or nothing of it where another attempt is
/// to follow; an answer that is whole is kept.
async fn run(
    snapshots: &Snapshots,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    sender: &Sender,
    attempt: &Attempt,
    mut gathered: Option<Gathered>,
) {
    let mut batches = match execute_stream(plan, context) {
        Ok(batches) => batches,
        Err(error) => {
            drop(sender.send(Err(snapshots.error(&error))).await);
            return;
        }
    };
    while let Some(batch) = batches.next().await {
        if batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0) {
            continue;
        }
        if !attempt.begin_reading() {
            return;
        }
        let batch = batch.map_err(|error| snapshots.error(&error));
        gathered = match &batch {
            Ok(batch) => gathered.and_then(|gathered| gathered.with(batch)),
            Err(_) => None,
        };
        // What failed may panic where it is asked again.
        let failed = batch.is_err();
        if sender.send(batch).await.is_err() || failed {
            return;
        }
    }
    if let Some(gathered) = gathered.filter(|_| attempt.begin_reading()) {
        gathered.keep();
    }
}

/// Sends batches that are there until the reader ends.
async fn give(batches: &[RecordBatch], sender: &Sender) {
    for batch in batches {
        if sender.send(Ok(batch.clone())).await.is_err() {
            return;
        }
    }
}
