//! Sums, differences, products and quotients that their types hold.
//!
//! The engine's `+`, `-` and `*` of integers begin anew at the other end of the type where a value passes
//! one, and say nothing: the square of a latency of four seconds in nanoseconds passes BIGINT. So does the
//! `-` before the least integer. And decimals come to more digits than their type has, of which the last
//! are left out where they are shown: a tenth of the number. Here these are errors.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Datum};
use arrow::compute::kernels::numeric::{add, div, mul, sub};
use arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType as _, Field,
    FieldRef, i256,
};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
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
    let (does, left, right) = match &expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match Does::of(*op) {
            Some(does) => (does, left.as_ref().clone(), right.as_ref().clone()),
            None => return Ok(Transformed::no(expression)),
        },
        Expr::Negative(of) => {
            let kind = of.get_type(schema)?;
            if !kind.is_signed_integer() {
                return Ok(Transformed::no(expression));
            }
            let zero = lit(ScalarValue::new_zero(&kind)?);
            (Does::Subtract, zero, of.as_ref().clone())
        }
        _ => return Ok(Transformed::no(expression)),
    };
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    if does.gives(&types.0, &types.1)?.is_none() {
        return Ok(Transformed::no(expression));
    }
    let function = ScalarUDF::new_from_impl(Checked {
        does,
        signature: Signature::any(2, Volatility::Immutable),
    });
    let call = ScalarFunction::new_udf(Arc::new(function), vec![left, right]);
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Add,
    Subtract,
    Multiply,
    Divide,
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

impl Does {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            Operator::Divide => Some(Self::Divide),
            _ => None,
        }
    }

    /// What computes it, and the operator.
    fn known(self) -> (Kernel, Operator) {
        match self {
            Self::Add => (add, Operator::Plus),
            Self::Subtract => (sub, Operator::Minus),
            Self::Multiply => (mul, Operator::Multiply),
            Self::Divide => (div, Operator::Divide),
        }
    }

    /// What it gives of two types; nothing where the engine's own does as well.
    fn gives(self, left: &DataType, right: &DataType) -> Result<Option<DataType>> {
        if left.is_integer() && left == right && self != Self::Divide {
            return Ok(Some(left.clone()));
        }
        if !is_decimal(left) || !is_decimal(right) {
            return Ok(None);
        }
        let (_, operator) = self.known();
        let given = BinaryTypeCoercer::new(left, &operator, right).get_result_type()?;
        Ok(is_decimal(&given).then_some(given))
    }
}

fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// The first of the values that has more digits than their type.
fn too_long(values: &dyn Array) -> Option<String> {
    match values.data_type() {
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            let mut values = values.as_primitive::<Decimal128Type>().iter().flatten();
            let holds = |value| Decimal128Type::validate_decimal_precision(value, precision, scale);
            let value = values.find(|value| holds(*value).is_err())?;
            // Its own format shows no more digits than there may be.
            let value = i256::from_i128(value);
            Some(Decimal256Type::format_decimal(
                value,
                DECIMAL256_MAX_PRECISION,
                scale,
            ))
        }
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            let mut values = values.as_primitive::<Decimal256Type>().iter().flatten();
            let holds = |value| Decimal256Type::validate_decimal_precision(value, precision, scale);
            values
                .find(|value| holds(*value).is_err())
                .map(|_| "a number".to_string())
        }
        _ => None,
    }
}

/// An operator of two integers of one type, or of two decimals, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    does: Does,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.does {
            Does::Add => "+",
            Does::Subtract => "-",
            Does::Multiply => "*",
            Does::Divide => "/",
        }
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        let [left, right] = take_function_args(self.name(), arguments)?;
        Ok(format!("({left} {} {right})", self.name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = take_function_args(self.name(), types)?;
        let given = self.does.gives(left, right)?;
        given.ok_or_else(|| internal_datafusion_err!("`{}` of {left} and {right}", self.name()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [left, right] = take_function_args(self.name(), arguments.arg_fields)?;
        let nullable = left.is_nullable() || right.is_nullable();
        let kind = self.return_type(&[left.data_type().clone(), right.data_type().clone()])?;
        Ok(Arc::new(Field::new(self.name(), kind, nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = arguments.return_field.data_type().clone();
        let [left, right] = take_function_args(self.name(), arguments.args)?;
        let (kernel, _) = self.does.known();
        let given = apply(&left, &right, kernel).map_err(|error| match error {
            DataFusionError::ArrowError(cause, at) => match *cause {
                // It says the operands.
                ArrowError::ArithmeticOverflow(said) => {
                    let operands = said.rsplit(": ").next().unwrap_or_default();
                    let what = format!("{operands} comes to a number");
                    let kind = kind.clone();
                    DoesNotHold { what, kind }.into()
                }
                cause => DataFusionError::ArrowError(Box::new(cause), at),
            },
            other => other,
        })?;
        let too_long = match &given {
            ColumnarValue::Array(values) => too_long(values),
            ColumnarValue::Scalar(value) => too_long(&value.to_array()?),
        };
        match too_long {
            Some(value) => {
                let what = format!("`{}` of decimals comes to {value}", self.name());
                Err(DoesNotHold { what, kind }.into())
            }
            None => Ok(given),
        }
    }
}
