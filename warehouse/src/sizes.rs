//! Sizes that a statement names, and for which the engine takes memory before it has a row.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{
    Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

/// Functions that keep a digest for each group, and which of their arguments says of how many centroids.
const DIGESTS: [(&str, usize); 2] = [
    ("approx_percentile_cont", 2),
    ("approx_percentile_cont_with_weight", 3),
];

/// The most centroids that are given; the engine has 100 where a statement says nothing.
const CENTROIDS: u64 = 1_000;

/// The most groups among which the best are kept by themselves. Where a statement's limit is larger, all
/// groups are kept, and count, as where it has none.
const BEST_GROUPS: usize = 10_000;

/// Refuses digests that are larger than anybody needs. The plan has been optimised, so that what is
/// constant is a literal.
pub(crate) fn check_digests(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expression| {
            expression.apply(|part| {
                match part {
                    Expr::AggregateFunction(call) => check(call.func.name(), &call.params.args)?,
                    Expr::WindowFunction(call) => check(call.fun.name(), &call.params.args)?,
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

fn check(name: &str, arguments: &[Expr]) -> Result<()> {
    let digest = DIGESTS.iter().find(|(digest, _)| *digest == name);
    let Some(centroids) = digest.and_then(|(_, place)| arguments.get(*place)) else {
        return Ok(());
    };
    let (number, said) = match centroids {
        Expr::Literal(number, _) => (number.cast_to(&DataType::UInt64)?, number.to_string()),
        other => (ScalarValue::UInt64(None), other.to_string()),
    };
    match number {
        ScalarValue::UInt64(Some(1..=CENTROIDS)) => Ok(()),
        _ => Err(DataFusionError::Plan(format!(
            "`{name}` takes a number of centroids from 1 to {CENTROIDS}, and not {said}"
        ))),
    }
}

/// The plan, whose aggregates keep the best groups by themselves only where those are few: the engine
/// makes room for as many as the limit says.
pub(crate) fn few_best_groups(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else {
            return Ok(Transformed::no(plan));
        };
        let many = aggregate
            .limit_options()
            .is_some_and(|options| options.descending().is_some() && options.limit() > BEST_GROUPS);
        if !many {
            return Ok(Transformed::no(plan));
        }
        let all = aggregate.with_new_limit_options(None);
        Ok(Transformed::yes(Arc::new(all) as Arc<dyn ExecutionPlan>))
    })
    .data()
}
