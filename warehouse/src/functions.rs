//! Table functions: what takes a run, a model or a moment as its argument.
//!
//! Calling one is synchronous and says only what its columns are; its rows are
//! found when the plan is made, with the owner's rights, and handed on from
//! memory: they are few.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::TableType;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use plimsoll_ingest::ColumnKind;

use crate::snapshots::Snapshots;

mod compare_runs;
mod latency_matrix;
mod metric;
mod of_run;
mod regressions;
mod rows;
mod saturation_curve;
mod series;
mod setup;
mod sizing;

/// A column of a function: its name, its type, and its meaning with unit and null rule.
type Column = (&'static str, ColumnKind, &'static str);

/// What a function is called, what it gives, and how its rows are found.
#[derive(Debug)]
struct Definition {
    /// The name in SQL.
    name: &'static str,
    /// What it takes, as an error says it.
    takes: &'static str,
    /// The columns of its rows, in order.
    columns: &'static [Column],
    /// The call that these arguments make; `None` where they are not what it takes.
    call: fn(&[ScalarValue]) -> Option<Arc<dyn Call>>,
}

/// A function with its arguments.
#[async_trait]
trait Call: Debug + Send + Sync {
    /// The rows, with the columns of the definition in order; names and nullability may differ.
    async fn rows(&self, snapshots: &Arc<Snapshots>) -> Result<Vec<RecordBatch>>;
}

/// Every function.
const ALL: [&Definition; 6] = [
    &saturation_curve::DEFINITION,
    &latency_matrix::DEFINITION,
    &sizing::DEFINITION,
    &compare_runs::DEFINITION,
    &regressions::REGRESSIONS,
    &regressions::CHANGE_POINTS,
];

/// Makes the functions known to a session; they read `snapshots` with their
/// owner's rights.
pub(crate) fn register(session: &mut SessionState, snapshots: &Arc<Snapshots>) {
    for definition in ALL {
        let function = Function {
            definition,
            snapshots: Arc::clone(snapshots),
        };
        session.register_udtf(definition.name, Arc::new(function));
    }
}

/// A function over one set of snapshots.
#[derive(Debug)]
struct Function {
    definition: &'static Definition,
    snapshots: Arc<Snapshots>,
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let literals = args.exprs().iter().map(|argument| match argument {
            Expr::Literal(value, _) => Some(value.clone()),
            _ => None,
        });
        let literals: Option<Vec<ScalarValue>> = literals.collect();
        let Definition { name, takes, .. } = self.definition;
        let Some(call) = literals.and_then(|literals| (self.definition.call)(&literals)) else {
            return plan_err!("{name} takes {takes}");
        };
        Ok(Arc::new(Answer {
            schema: self.definition.schema(),
            snapshots: Arc::clone(&self.snapshots),
            call,
        }))
    }
}

impl Definition {
    /// The schema: known before the rows are.
    fn schema(&self) -> SchemaRef {
        let field = |(name, kind, doc): &Column| {
            let comment = [("comment".to_string(), (*doc).to_string())];
            Field::new(*name, kind.data_type(), true).with_metadata(comment.into())
        };
        let fields: Vec<Field> = self.columns.iter().map(field).collect();
        Arc::new(Schema::new(fields))
    }
}

/// What a call gives, as a table.
#[derive(Debug)]
struct Answer {
    schema: SchemaRef,
    snapshots: Arc<Snapshots>,
    call: Arc<dyn Call>,
}

#[async_trait]
impl TableProvider for Answer {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.call.rows(&self.snapshots).await?;
        let rows = rows.into_iter().map(|batch| {
            let columns = batch.columns().to_vec();
            Ok(RecordBatch::try_new(self.schema(), columns)?)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        Ok(MemorySourceConfig::try_new_exec(
            &[rows],
            self.schema(),
            projection.cloned(),
        )?)
    }
}
