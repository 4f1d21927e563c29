//! Sorting where no value is null.
//!
//! `ORDER BY x DESC` puts nulls first. The first rows of such an order are looked for with what the
//! log and the files know of their least and greatest values, and a file in which any value is null
//! can then never be left out, although no null gets as far as the sort: a filter above the file took
//! them out. So the sort is told that there are none.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Puts nulls last in the first rows of an order where there are no nulls.
#[derive(Debug)]
pub(crate) struct WithoutNulls;

impl OptimizerRule for WithoutNulls {
    fn name(&self) -> &'static str {
        "sort_without_nulls"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(mut sort) = plan else {
            return Ok(Transformed::no(plan));
        };
        let mut changed = false;
        for by in &mut sort.expr {
            if let Expr::Column(column) = &by.expr
                && by.nulls_first
                && sort.fetch.is_some()
                && is_never_null(&sort.input, column)
            {
                by.nulls_first = false;
                changed = true;
            }
        }
        let plan = LogicalPlan::Sort(sort);
        Ok(match changed {
            true => Transformed::yes(plan),
            false => Transformed::no(plan),
        })
    }
}

/// Whether no row of a plan has a null in the column.
fn is_never_null(plan: &LogicalPlan, column: &Column) -> bool {
    let schema = plan.schema();
    let Some(place) = schema.maybe_index_of_column(column) else {
        return false;
    };
    if !schema.field(place).is_nullable() {
        return true;
    }
    let is_in = |input: &LogicalPlan, expression: &Expr| match expression {
        Expr::Column(column) => is_never_null(input, column),
        _ => false,
    };
    match plan {
        LogicalPlan::Filter(filter) => {
            split_conjunction(&filter.predicate)
                .into_iter()
                .any(|part| is_true_of_no_null(part, column))
                || is_never_null(&filter.input, column)
        }
        LogicalPlan::Projection(projection) => {
            let expression = projection.expr[place].clone().unalias_nested().data;
            is_in(&projection.input, &expression)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = Column::from(alias.input.schema().qualified_field(place));
            is_never_null(&alias.input, &inner)
        }
        _ => false,
    }
}

/// Whether a condition is never true where the column is null.
fn is_true_of_no_null(condition: &Expr, column: &Column) -> bool {
    let is_column = |side: &Expr| matches!(side, Expr::Column(other) if other == column);
    match condition {
        Expr::IsNotNull(of) => is_column(of),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let compares = matches!(
                op,
                Operator::Eq
                    | Operator::NotEq
                    | Operator::Lt
                    | Operator::LtEq
                    | Operator::Gt
                    | Operator::GtEq
            );
            compares && (is_column(left) || is_column(right))
        }
        _ => false,
    }
}
