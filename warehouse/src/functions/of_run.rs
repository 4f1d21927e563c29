//! Functions that take one run.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;

use super::Call;
use crate::resolve::resolve;
use crate::snapshots::Snapshots;

/// What such a function takes.
pub(super) const TAKES: &str =
    "one run, as a text: its id, the last 6 or more characters of it, or 'latest'";

/// A statement about one run, whose key is its first parameter.
#[derive(Debug)]
pub(super) struct OfRun {
    reference: String,
    sql: &'static str,
}

impl OfRun {
    /// The call that asks `sql` about the run that the only argument names.
    pub(super) fn call(arguments: &[ScalarValue], sql: &'static str) -> Option<Arc<dyn Call>> {
        let [run] = arguments else { return None };
        let reference = run.try_as_str().flatten()?.to_string();
        Some(Arc::new(Self { reference, sql }))
    }
}

#[async_trait]
impl Call for OfRun {
    async fn rows(&self, snapshots: &Arc<Snapshots>) -> Result<Vec<RecordBatch>> {
        let run = resolve(snapshots, &self.reference)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let key = ScalarValue::Int64(Some(run.run_key()));
        snapshots.rows(self.sql, vec![key]).await
    }
}
