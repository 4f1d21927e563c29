//! Parts of spans of time, as PostgreSQL and DuckDB have them.
//!
//! The difference of two timestamps is a span. The engine's `date_part` leaves out what such a one has
//! beyond whole seconds where it is a second or longer, and gives the minutes of two hours as 120: an
//! average over spans of both kinds is a wrong number. Here days, hours, minutes and seconds are those
//! that one would write, milliseconds and the like are those of the seconds, and `epoch` is all of it in
//! seconds.

use std::str::FromStr as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int64Array, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::IntervalUnit;
use arrow::datatypes::{
    DataType, FieldRef, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit as Kind, TimeUnit,
};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions::datetime;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use crate::moments::in_utc;

const SECONDS_OF_A_DAY: i64 = 86_400;

/// In ns.
const MINUTE: i64 = 60_000_000_000;

/// Puts the function that knows spans in the place of the engine's own, of which EXTRACT makes use past
/// all registers of functions.
pub(crate) fn know(sessions: &mut SessionStateBuilder) {
    let knowing = PartOf {
        inner: datetime::date_part(),
    };
    let knowing = ScalarUDF::new_from_impl(knowing);
    let functions = sessions.scalar_functions().get_or_insert_default();
    functions.push(Arc::new(knowing.clone()));
    let planners = sessions.expr_planners().get_or_insert_default();
    planners.insert(0, Arc::new(Extract(Arc::new(in_utc(knowing)))));
}

/// EXTRACT, by this function.
#[derive(Debug)]
struct Extract(Arc<ScalarUDF>);

impl ExprPlanner for Extract {
    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let call = ScalarFunction::new_udf(Arc::clone(&self.0), arguments);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// `date_part`, of spans too.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PartOf {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for PartOf {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn preimage(
        &self,
        arguments: &[Expr],
        value: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner.inner().preimage(arguments, value, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [part, of] = take_function_args(self.name(), &arguments.args)?;
        let (spans, is_scalar) = match of {
            ColumnarValue::Array(of) => (spans(of)?, false),
            ColumnarValue::Scalar(of) => (spans(&of.to_array()?)?, true),
        };
        let Some(spans) = spans else {
            return self.inner.invoke_with_args(arguments);
        };
        let given = |values: ArrayRef| match is_scalar {
            true => ScalarValue::try_from_array(&values, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(values)),
        };
        let parts = match part {
            ColumnarValue::Scalar(part) => part
                .try_as_str()
                .flatten()
                .and_then(|part| of_a_minute(part, &spans)),
            ColumnarValue::Array(_) => None,
        };
        if let Some(parts) = parts {
            return given(parts);
        }
        arguments.args[1] = given(Arc::new(spans))?;
        self.inner.invoke_with_args(arguments)
    }
}

/// The values as months, days and ns, where they are spans.
fn spans(values: &ArrayRef) -> Result<Option<IntervalMonthDayNanoArray>> {
    let a_second = match values.data_type() {
        DataType::Interval(_) => {
            let spans = cast(values, &DataType::Interval(Kind::MonthDayNano))?;
            return Ok(Some(spans.as_primitive().clone()));
        }
        DataType::Duration(TimeUnit::Second) => 1,
        DataType::Duration(TimeUnit::Millisecond) => 1_000,
        DataType::Duration(TimeUnit::Microsecond) => 1_000_000,
        DataType::Duration(TimeUnit::Nanosecond) => 1_000_000_000,
        _ => return Ok(None),
    };
    let a_day = a_second * SECONDS_OF_A_DAY;
    let counts = cast(values, &DataType::Int64)?;
    let counts: &Int64Array = counts.as_primitive::<Int64Type>();
    let spans = counts.try_unary::<_, IntervalMonthDayNanoType, _>(|count| {
        let days = i32::try_from(count / a_day).map_err(|_| {
            DataFusionError::Execution(format!("a span has {} days", count / a_day))
        })?;
        let rest = count % a_day * (1_000_000_000 / a_second);
        Ok::<_, DataFusionError>(IntervalMonthDayNano::new(0, days, rest))
    })?;
    Ok(Some(spans))
}

/// Seconds and smaller parts, which the engine has wrong; nothing of others.
fn of_a_minute(part: &str, spans: &IntervalMonthDayNanoArray) -> Option<ArrayRef> {
    let part = part.trim_matches(['\'', '"']);
    let unit = match IntervalUnit::from_str(part).ok()? {
        IntervalUnit::Second => 1_000_000_000,
        IntervalUnit::Millisecond => 1_000_000,
        IntervalUnit::Microsecond => 1_000,
        IntervalUnit::Nanosecond => {
            let parts = spans.unary::<_, Int64Type>(|span| span.nanoseconds % MINUTE);
            return Some(Arc::new(parts));
        }
        _ => return None,
    };
    // Less than 60 million.
    let parts = spans.unary::<_, Int32Type>(|span| (span.nanoseconds % MINUTE / unit) as i32);
    Some(Arc::new(parts))
}
