//! Which run somebody means.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::RunId;

use crate::error::QueryError;
use crate::limits::QueryLimits;
use crate::snapshots::Snapshots;
use crate::warehouse::Warehouse;

/// The word for the run that started last.
const LATEST: &str = "latest";

/// The fewest characters that name a run by the end of its id.
const SHORTEST: usize = 6;

const LATEST_RUN: &str =
    "SELECT run_id FROM reports.runs ORDER BY started_at DESC, run_id DESC LIMIT 1";

const RUNS_ENDING_IN: &str = "SELECT run_id FROM reports.runs \
     WHERE ends_with(replace(run_id, '-', ''), $1) \
     ORDER BY started_at DESC, run_id DESC LIMIT 20";

/// Why a reference names no run, or not one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// No run has such an id.
    #[error("there is no run `{reference}`")]
    Unknown {
        /// What was asked for.
        reference: String,
    },
    /// There is no run at all.
    #[error("there is no run yet")]
    NoRuns,
    /// Too short, or with characters that no id has.
    #[error("`{reference}` names no run")]
    NoReference {
        /// What was asked for.
        reference: String,
    },
    /// Several runs end in it.
    #[error("`{reference}` is the end of {} runs: {}", .matches.len(), list(.matches))]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// The runs, the last started first; the first 20 of them.
        matches: Vec<RunId>,
    },
    /// The table of runs could not be read.
    #[error(transparent)]
    Query(Arc<QueryError>),
}

impl ResolveError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { .. } => "`plimsoll runs` lists the runs".into(),
            Self::NoRuns => "`plimsoll run --url URL --model NAME` measures one".into(),
            Self::NoReference { .. } => format!(
                "give a full id, the last {SHORTEST} or more characters of one, or `{LATEST}`"
            ),
            Self::Ambiguous { .. } => "give more characters of the id".into(),
            Self::Query(error) => error.help(),
        }
    }
}

fn list(runs: &[RunId]) -> String {
    runs.iter()
        .map(RunId::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The run that `reference` names: a full id, the last 6 or more characters
/// of one, or `latest` (the run that started last; of those that started at
/// once, the one with the greatest id). Dots in front, as output shows
/// shortened ids, are ignored.
///
/// It may take as long as a query of usual limits.
///
/// # Errors
/// Says whether there is no such run or more than one, and then which.
pub async fn resolve_run(warehouse: &Warehouse, reference: &str) -> Result<RunId, ResolveError> {
    resolve_run_within(warehouse, reference, QueryLimits::default().timeout).await
}

/// [`resolve_run`] for those who wait no longer than `timeout`.
///
/// # Errors
/// As there, and [`QueryError::TimedOut`] after that time.
pub async fn resolve_run_within(
    warehouse: &Warehouse,
    reference: &str,
    timeout: Duration,
) -> Result<RunId, ResolveError> {
    let snapshots = warehouse.snapshots();
    let reference = reference.to_string();
    let mut work = warehouse.spawn(async move { resolve(&snapshots, &reference).await });
    let Ok(outcome) = tokio::time::timeout(timeout, &mut work.handle).await else {
        let late = QueryError::TimedOut { limit: timeout };
        return Err(ResolveError::Query(Arc::new(late)));
    };
    outcome.unwrap_or_else(|panic| {
        let message = panic.to_string();
        Err(ResolveError::Query(Arc::new(QueryError::Internal {
            message,
        })))
    })
}

/// [`resolve_run`] in one set of snapshots.
pub(crate) async fn resolve(
    snapshots: &Arc<Snapshots>,
    reference: &str,
) -> Result<RunId, ResolveError> {
    if reference == LATEST {
        let latest = runs(snapshots, LATEST_RUN, vec![]).await?;
        return latest.first().copied().ok_or(ResolveError::NoRuns);
    }
    let end = reference
        .trim_start_matches('.')
        .replace('-', "")
        .to_ascii_lowercase();
    let reference = reference.to_string();
    if end.len() < SHORTEST || !end.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ResolveError::NoReference { reference });
    }
    let matches = runs(snapshots, RUNS_ENDING_IN, vec![ScalarValue::from(end)]).await?;
    match matches.as_slice() {
        [] => Err(ResolveError::Unknown { reference }),
        [run] => Ok(*run),
        _ => Err(ResolveError::Ambiguous { reference, matches }),
    }
}

async fn runs(
    snapshots: &Arc<Snapshots>,
    sql: &str,
    parameters: Vec<ScalarValue>,
) -> Result<Vec<RunId>, ResolveError> {
    let fail = |error: QueryError| ResolveError::Query(Arc::new(error));
    let batches = snapshots
        .rows(sql, parameters)
        .await
        .map_err(|error| fail(snapshots.error(&error)))?;
    batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten())
        .map(|id| {
            id.parse().map_err(|error: plimsoll_ingest::IdError| {
                fail(QueryError::Storage {
                    message: format!("table `reports.runs`: {error}"),
                    help: None,
                })
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_ingest::WarehouseLocation;

    use super::*;
    use crate::engine::WarehouseOptions;

    #[tokio::test]
    async fn a_search_that_takes_too_long_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let location = WarehouseLocation::parse(&path).expect("a path");
        let options = WarehouseOptions {
            threads: 1,
            ..WarehouseOptions::default()
        };
        let warehouse = Warehouse::open(&location, options)
            .await
            .expect("an open warehouse");
        // The only thread is taken until the test ends.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let _taken = warehouse.spawn(async move { held.recv().is_err() });
        let timeout = Duration::from_millis(50);
        let error = resolve_run_within(&warehouse, LATEST, timeout)
            .await
            .expect_err("the time is up");
        assert_eq!(
            error.to_string(),
            "the query was stopped after its limit of 50 ms"
        );
        drop(release);
    }
}
