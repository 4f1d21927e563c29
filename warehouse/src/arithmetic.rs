//! Sums, differences and products of integers that do not begin anew.
//!
//! The engine's `+`, `-` and `*` of integers begin anew at the other end of the type where a value passes
//! one, and say nothing: the square of a latency of four seconds in nanoseconds passes BIGINT. Here that is
//! an error.

use std::sync::Arc;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

/// A number that its type does not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}, which {} does not hold", spoken(kind))]
pub(crate) struct DoesNotHold {
    /// What came to it.
    pub(crate) what: String,
    pub(crate) kind: DataType,
}

impl From<DoesNotHold> for DataFusionError {
    fn from(error: DoesNotHold) -> Self {
        Self::External(Box::new(error))
    }
}

/// A type of integers as people write it.
fn spoken(kind: &DataType) -> String {
    let name = match kind {
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        other => return other.to_string(),
    };
    name.to_string()
}

/// Puts operators that check in the place of the engine's own, where both sides are integers. Types have to
/// be known.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &'static str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let inputs = plan.inputs();
            if inputs.is_empty() {
                return Ok(Transformed::no(plan));
            }
            let schema = merge_schema(&inputs);
            // What stands above names columns as they were.
            let names = NamePreserver::new(&plan);
            let rewritten = plan.map_expressions(|expression| {
                let name = names.save(&expression);
                let rewritten = expression.transform_up(|part| checked(part, &schema))?;
                Ok(rewritten.update_data(|expression| name.restore(expression)))
            })?;
            match rewritten.transformed {
                true => rewritten.map_data(LogicalPlan::recompute_schema),
                false => Ok(rewritten),
            }
        })
        .data()
    }
}

fn checked(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expression else {
        return Ok(Transformed::no(expression));
    };
    let Some(does) = Does::of(*op) else {
        return Ok(Transformed::no(expression));
    };
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    if !types.0.is_integer() || types.0 != types.1 {
        return Ok(Transformed::no(expression));
    }
    let function = ScalarUDF::new_from_impl(Checked {
        does,
        signature: Signature::any(2, Volatility::Immutable),
    });
    let arguments = vec![left.as_ref().clone(), right.as_ref().clone()];
    let call = ScalarFunction::new_udf(Arc::new(function), arguments);
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Add,
    Subtract,
    Multiply,
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

impl Does {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }

    /// What computes it, and its sign.
    fn known(self) -> (Kernel, &'static str) {
        match self {
            Self::Add => (add, "+"),
            Self::Subtract => (sub, "-"),
            Self::Multiply => (mul, "*"),
        }
    }
}

/// An operator of two integers of one type, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    does: Does,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        self.does.known().1
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        let [left, right] = take_function_args(self.name(), arguments)?;
        Ok(format!("({left} {} {right})", self.name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, _] = take_function_args(self.name(), types)?;
        Ok(left.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [left, right] = take_function_args(self.name(), arguments.arg_fields)?;
        let nullable = left.is_nullable() || right.is_nullable();
        let kind = left.data_type().clone();
        Ok(Arc::new(Field::new(self.name(), kind, nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = take_function_args(self.name(), arguments.args)?;
        if left.data_type() != right.data_type() {
            return internal_err!("`{}` of two types", self.name());
        }
        let (kernel, _) = self.does.known();
        apply(&left, &right, kernel).map_err(|error| match error {
            DataFusionError::ArrowError(cause, at) => match *cause {
                // It says the operands.
                ArrowError::ArithmeticOverflow(said) => {
                    let operands = said.rsplit(": ").next().unwrap_or_default();
                    let what = format!("{operands} comes to a number");
                    let kind = left.data_type();
                    DoesNotHold { what, kind }.into()
                }
                cause => DataFusionError::ArrowError(Box::new(cause), at),
            },
            other => other,
        })
    }
}
