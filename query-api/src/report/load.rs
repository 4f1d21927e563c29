//! Fetches the rows of a run from the warehouse.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::error::ArrowError;
use futures::TryStreamExt;
use plimsoll_ingest::{EnvelopeRow, RowError, RunId, RunRow, StageRow, TableRow};
use plimsoll_warehouse::{Access, QueryError, QueryLimits, Warehouse};
use serde_json::Value;

use super::{ContractError, Report};

/// A report is a few rows: what takes longer than this is broken.
const LIMITS: QueryLimits = QueryLimits {
    timeout: Duration::from_secs(30),
    max_rows: None,
    access: Access::Reports,
};

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No such run is visible.
    #[error("there is no run `{run}` in the warehouse; it may not be published yet")]
    Unknown {
        /// The run.
        run: RunId,
    },
    /// Its rows could not be fetched.
    #[error("the rows of run `{run}` could not be fetched")]
    Query {
        /// The run.
        run: RunId,
        /// The reason.
        source: QueryError,
    },
    /// What was fetched are no rows of the table.
    #[error("the rows of run `{run}` could not be read")]
    Rows {
        /// The run.
        run: RunId,
        /// The reason.
        source: RowError,
    },
    /// What was fetched cannot be brought to the table's types.
    #[error("the columns of run `{run}` have types that cannot be read")]
    Types {
        /// The run.
        run: RunId,
        /// The reason.
        source: ArrowError,
    },
    /// The rows are not what the tables' contract says.
    #[error(transparent)]
    Contract(#[from] ContractError),
}

impl ReportError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { .. } => "`plimsoll runs` lists the runs".to_string(),
            Self::Query { source, .. } => source.help(),
            Self::Rows { .. } | Self::Types { .. } | Self::Contract(_) => {
                "a newer release, or another tool, wrote them: install the newest release"
                    .to_string()
            }
        }
    }
}

impl Report {
    /// Builds the report of a run that is in the warehouse.
    ///
    /// # Errors
    /// [`ReportError::Unknown`] where the run is not visible; else that its
    /// rows cannot be fetched, or are not what the contract says.
    pub async fn load(warehouse: &Warehouse, run: RunId) -> Result<Self, ReportError> {
        let runs: Vec<RunRow> = rows(warehouse, run).await?;
        let row = runs.first().ok_or(ReportError::Unknown { run })?;
        let mut stages: Vec<StageRow> = rows(warehouse, run).await?;
        stages.sort_by_key(|stage| stage.stage);
        let envelopes: Vec<EnvelopeRow> = rows(warehouse, run).await?;
        Ok(Self::from_rows(row, &stages, envelopes.first())?)
    }
}

/// The rows of a run in one table.
async fn rows<R: TableRow>(warehouse: &Warehouse, run: RunId) -> Result<Vec<R>, ReportError> {
    let sql = format!(
        "select * from {} where run_key = $1 and run_id = $2",
        R::TABLE
    );
    let parameters = [Value::from(run.run_key()), Value::from(run.to_string())];
    let stream = warehouse
        .query(&sql, &parameters, &LIMITS)
        .await
        .map_err(|source| ReportError::Query { run, source })?;
    let batches: Vec<RecordBatch> = stream
        .try_collect()
        .await
        .map_err(|source| ReportError::Query { run, source })?;
    let mut rows = Vec::new();
    for batch in &batches {
        let batch =
            as_contracted::<R>(batch).map_err(|source| ReportError::Types { run, source })?;
        rows.extend(R::from_batch(&batch).map_err(|source| ReportError::Rows { run, source })?);
    }
    Ok(rows)
}

/// The batch with the table's own types: a reader may hold text in another
/// layout, and a table of an earlier release lacks the newest columns.
fn as_contracted<R: TableRow>(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = R::TABLE.arrow_schema();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type())?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
    }
    RecordBatch::try_new(Arc::clone(&schema), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use arrow::datatypes::DataType;

    #[test]
    fn text_in_another_layout_and_missing_columns_are_read() {
        let (run, _, _) = samples::passed_step();
        let batch = RunRow::to_batch(std::slice::from_ref(&run)).expect("batch");
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let column = match field.data_type() {
                DataType::Utf8 => cast(column, &DataType::Utf8View).expect("views"),
                _ => Arc::clone(column),
            };
            if field.name() != "cost_usd" {
                columns.push((field.name().clone(), column));
            }
        }
        let read = RecordBatch::try_from_iter(columns).expect("batch");
        assert!(
            RunRow::from_batch(&read).is_err(),
            "the layout matters to the row"
        );
        let rows = RunRow::from_batch(&as_contracted::<RunRow>(&read).expect("types"));
        assert_eq!(rows.expect("rows"), [run]);
    }

    #[test]
    fn a_missing_column_that_must_be_there_is_an_error() {
        let (run, _, _) = samples::passed_step();
        let batch = RunRow::to_batch(std::slice::from_ref(&run)).expect("batch");
        let at = batch.schema().index_of("model").expect("column");
        let others: Vec<usize> = (0..batch.num_columns())
            .filter(|column| *column != at)
            .collect();
        let less = batch.project(&others).expect("columns");
        assert!(as_contracted::<RunRow>(&less).is_err());
    }
}
