//! Window functions that stop when they are told to.
//!
//! A window function has its value worked out once for each row, and gives none of them before it is
//! done with a partition, or with a batch. That may take hours where a value is worked out of all rows
//! before it, such as a running median, or looked for among them, as by `nth_value` beside nulls.

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};

use super::{Heed, Stop};

mod aggregates;
mod partitions;

/// The plan, whose window functions end soon after `stop`. It is not to be optimised any more.
pub(crate) fn windows_heeding(plan: LogicalPlan, stop: &Stop) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(_) => plan.map_expressions(|expression| {
            expression.transform_up(|expression| Ok(heeding(expression, stop)))
        }),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn heeding(mut expression: Expr, stop: &Stop) -> Transformed<Expr> {
    let Expr::WindowFunction(window) = &mut expression else {
        return Transformed::no(expression);
    };
    let heed = Heed::of(stop);
    match &mut window.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            *function = aggregates::around(function, &heed);
        }
        WindowFunctionDefinition::WindowUDF(function) => {
            *function = partitions::around(function, &heed);
        }
    }
    Transformed::yes(expression)
}
