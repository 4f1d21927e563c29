//! From a statement to a plan that may run.

use std::sync::Arc;

use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::common::TableReference;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;

use crate::catalog::Relation;
use crate::engine::CATALOG;
use crate::error::{QueryError, nearest};
use crate::limits::Access;
use crate::metered;
use crate::parameters::Parameters;
use crate::plain;
use crate::sizes;
use crate::snapshots::Snapshots;
use crate::stopping::{Stop, heeding, windows_heeding};
use crate::wide::{self, Attempt, Room};

/// Plans one statement over one set of snapshots; its joins and windows heed `stop`, and it may ask to be
/// attempted again in smaller batches.
pub(crate) async fn plan(
    snapshots: &Arc<Snapshots>,
    statement: Statement,
    parameters: Parameters,
    access: Access,
    attempt: &Attempt,
    stop: &Stop,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>), QueryError> {
    let mut session = snapshots.session(access);
    let config = session.config().clone();
    let rows = attempt.batches().rows(config.batch_size());
    *session.config_mut() = config.with_batch_size(rows);
    let fail = |error| snapshots.error(&error);
    for reference in session.resolve_table_references(&statement).map_err(fail)? {
        check_reference(&session, &reference, access)?;
    }
    let plan = session.statement_to_plan(statement).await.map_err(fail)?;
    let reads_only = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    reads_only
        .verify_plan(&plan)
        .map_err(|error| QueryError::Refused {
            what: format!("{} is", error.message()),
        })?;
    let logical = parameters.bind(plan, snapshots.memory_limit())?;
    let logical = session.optimize(&logical).map_err(fail)?;
    sizes::check_digests(&logical).map_err(fail)?;
    let logical = windows_heeding(logical, stop).map_err(fail)?;
    let planner = session.query_planner();
    let plan = planner.create_physical_plan(&logical, &session).await;
    let plan = plan.map_err(fail)?;
    wide::check_windows(&plan).map_err(fail)?;
    let plan = sizes::few_best_groups(plan).map_err(fail)?;
    let plan = plain::texts(plan).map_err(fail)?;
    let room = Room::of(session.config(), snapshots.memory_limit(), attempt);
    let plan = metered::bounded(plan, &room).map_err(fail)?;
    let plan = heeding(plan, stop, &room).map_err(fail)?;
    Ok((plan, session.task_ctx()))
}

/// Says early, and with the nearest name, that a table is not there.
fn check_reference(
    session: &SessionState,
    reference: &TableReference,
    access: Access,
) -> Result<(), QueryError> {
    let (catalog, schema, name) = (reference.catalog(), reference.schema(), reference.table());
    if schema == Some(INFORMATION_SCHEMA) {
        return Ok(());
    }
    let functions = session.table_functions();
    if schema.is_none() && functions.contains_key(name) {
        return Ok(());
    }
    let found = Relation::all().find(|relation| {
        relation.name() == name
            && schema.is_none_or(|schema| schema == relation.schema().as_str())
            && catalog.is_none_or(|catalog| catalog == CATALOG)
    });
    match found {
        Some(relation) if access.allows(relation.schema()) => Ok(()),
        Some(relation) => {
            let table = format!("{}.{name}", relation.schema().as_str());
            Err(QueryError::NotAllowed { table })
        }
        None => {
            let visible = Relation::all().filter(|relation| access.allows(relation.schema()));
            let mut names: Vec<&str> = visible.map(Relation::name).collect();
            names.extend(functions.keys().map(String::as_str));
            let nearest = nearest(name, names).map(str::to_string);
            Err(QueryError::UnknownTable {
                name: reference.to_string(),
                nearest,
            })
        }
    }
}
