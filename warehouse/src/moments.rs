//! Hours and days of moments, as charts ask for them.
//!
//! `date_trunc` and `date_part` look each moment up in its time zone, one by one, where there is one;
//! in UTC the hours of a whole batch are a division. And a condition on an hour, such as `hour >= x` in a view that
//! groups by it, says nothing to those who leave out files by their least and greatest moments; that
//! the moment itself is not before `x` does.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, make_array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, Filter, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, lit,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

const DATE_TRUNC: &str = "date_trunc";
const DATE_PART: &str = "date_part";

/// Puts quicker functions in the place of the engine's own.
///
/// # Errors
/// One of them is not there.
pub(crate) fn hasten(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for name in [DATE_TRUNC, DATE_PART] {
        let inner = registry.udf(name)?.as_ref().clone();
        registry.register_udf(in_utc(inner).into())?;
    }
    Ok(())
}

/// The function, made quick.
pub(crate) fn in_utc(inner: ScalarUDF) -> ScalarUDF {
    ScalarUDF::new_from_impl(InUtc { inner })
}

/// A function that takes moments in UTC for moments without a time zone: their hours and days are the
/// same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InUtc {
    inner: ScalarUDF,
}

impl ScalarUDFImpl for InUtc {
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
        wanted: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner.inner().preimage(arguments, wanted, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [_, ColumnarValue::Array(moments)] = &mut arguments.args[..] else {
            return self.inner.invoke_with_args(arguments);
        };
        let in_utc = moments.data_type().clone();
        let DataType::Timestamp(unit, Some(zone)) = &in_utc else {
            return self.inner.invoke_with_args(arguments);
        };
        if zone.as_ref() != "UTC" {
            return self.inner.invoke_with_args(arguments);
        }
        *moments = taken_for(moments, DataType::Timestamp(*unit, None))?;
        // Past the check that what comes out is of the type that was planned: it is in the next line.
        Ok(match self.inner.inner().invoke_with_args(arguments)? {
            ColumnarValue::Array(hours) if hours.data_type().is_temporal() => {
                ColumnarValue::Array(taken_for(&hours, in_utc)?)
            }
            part => part,
        })
    }
}

/// The same numbers as moments in another time zone. A cast would look each of them up in it.
fn taken_for(moments: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
    let data = moments.to_data().into_builder().data_type(data_type);
    Ok(make_array(data.build()?))
}

/// Adds what a condition on an hour says of the moment.
#[derive(Debug)]
pub(crate) struct MomentsOfHours;

impl OptimizerRule for MomentsOfHours {
    fn name(&self) -> &'static str {
        "moments_of_hours"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else {
            return Ok(Transformed::no(plan));
        };
        let said = split_conjunction(&filter.predicate);
        let mut all: Vec<Expr> = said.iter().copied().cloned().collect();
        for implied in said.iter().copied().flat_map(implied) {
            if !all.contains(&implied) {
                all.push(implied);
            }
        }
        if all.len() == said.len() {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let Some(predicate) = conjunction(all) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let filter = Filter::try_new(predicate, filter.input)?;
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    }
}

/// What a condition on the hour, the day or the like of a column says of the column itself.
fn implied(condition: &Expr) -> Vec<Expr> {
    let Some((hour, op, limit, zone)) = comparison(condition) else {
        return Vec::new();
    };
    let Some((moment, longest_us)) = truncated(hour) else {
        return Vec::new();
    };
    let literal = |us| lit(ScalarValue::TimestampMicrosecond(Some(us), zone.clone()));
    let (mut not_before, mut before) = (None, None);
    // Before 1970 the engine may round up.
    if matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq) && limit > 0 {
        not_before = Some(moment.clone().gt_eq(literal(limit)));
    }
    if matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq)
        && let Some(limit) = limit.checked_add(longest_us)
    {
        before = Some(moment.lt(literal(limit)));
    }
    not_before.into_iter().chain(before).collect()
}

/// A function compared with a moment in us and its time zone, the function first.
fn comparison(condition: &Expr) -> Option<(&ScalarFunction, Operator, i64, Option<Arc<str>>)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
        return None;
    };
    let (function, op, limit) = match (left.as_ref(), right.as_ref()) {
        (Expr::ScalarFunction(function), Expr::Literal(limit, _)) => (function, *op, limit),
        (Expr::Literal(limit, _), Expr::ScalarFunction(function)) => (function, op.swap()?, limit),
        _ => return None,
    };
    match limit {
        ScalarValue::TimestampMicrosecond(Some(limit), zone) => {
            Some((function, op, *limit, zone.clone()))
        }
        _ => None,
    }
}

/// The column whose hour or day it is, and how long one may be at most, in us.
fn truncated(call: &ScalarFunction) -> Option<(Expr, i64)> {
    let [Expr::Literal(unit, _), moment @ Expr::Column(_)] = &call.args[..] else {
        return None;
    };
    if call.func.name() != DATE_TRUNC {
        return None;
    }
    let longest_s = match unit.try_as_str().flatten()?.to_lowercase().as_str() {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        "month" => 31 * 86_400,
        "quarter" => 92 * 86_400,
        "year" => 366 * 86_400,
        _ => return None,
    };
    Some((moment.clone(), longest_s * 1_000_000))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{RecordBatch, TimestampMicrosecondArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    use super::*;

    const UNITS: [&str; 8] = [
        "second", "minute", "hour", "day", "week", "month", "quarter", "year",
    ];

    /// Moments some hours apart, on both sides of 1970 and on the hour.
    fn moments() -> RecordBatch {
        let spread = (-400..400).map(|n: i64| n * n.abs() * 11_213_000_017);
        let even = (-50..50).map(|n: i64| n * 3_600_000_000);
        let all = spread.chain(even).map(Some).chain([None]);
        let all: TimestampMicrosecondArray = all.collect();
        let named = [("at", Arc::new(all.with_timezone("UTC")) as _)];
        RecordBatch::try_from_iter_with_nullable(named.map(|(name, all)| (name, all, true)))
            .expect("a column")
    }

    /// The engine as it comes, or with what is here.
    fn engine(hastened: bool) -> SessionContext {
        let mut builder = SessionStateBuilder::new_with_default_features();
        if hastened {
            builder = builder.with_optimizer_rules(crate::engine::rules());
        }
        let mut state = builder.build();
        if hastened {
            hasten(&mut state).expect("they are there");
        }
        let context = SessionContext::new_with_state(state);
        let rows = moments();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("a table");
        let registered = context.register_table("t", Arc::new(table));
        registered.expect("registered");
        context
    }

    async fn answer(engine: &SessionContext, sql: &str) -> String {
        let frame = engine.sql(sql).await.expect(sql);
        let rows = frame.collect().await.expect(sql);
        pretty_format_batches(&rows).expect("text").to_string()
    }

    #[tokio::test]
    async fn hours_and_conditions_on_them_are_those_of_the_engine() {
        let (plain, hastened) = (engine(false), engine(true));
        for unit in UNITS {
            let sql = format!("SELECT at, date_trunc('{unit}', at) FROM t ORDER BY at");
            assert_eq!(
                answer(&hastened, &sql).await,
                answer(&plain, &sql).await,
                "{sql}"
            );
            let sql = format!("SELECT at, date_part('{unit}', at) FROM t ORDER BY at");
            assert_eq!(
                answer(&hastened, &sql).await,
                answer(&plain, &sql).await,
                "{sql}"
            );
            for op in ["<", "<=", "=", ">=", ">", "<>"] {
                for moment in [
                    "1969-12-31T22:00:00Z",
                    "1970-01-01T00:00:00Z",
                    "1970-01-01T05:00:00Z",
                    "1998-03-01T00:00:01Z",
                ] {
                    for sql in [
                        format!(
                            "SELECT at FROM t WHERE date_trunc('{unit}', at) {op} TIMESTAMPTZ '{moment}' ORDER BY at"
                        ),
                        format!(
                            "SELECT at FROM t WHERE TIMESTAMPTZ '{moment}' {op} date_trunc('{unit}', at) ORDER BY at"
                        ),
                    ] {
                        assert_eq!(
                            answer(&hastened, &sql).await,
                            answer(&plain, &sql).await,
                            "{sql}"
                        );
                    }
                }
            }
        }
    }

    /// The engine knows which moments a year has.
    #[tokio::test]
    async fn a_condition_on_a_year_is_one_on_moments() {
        let sql = "EXPLAIN SELECT at FROM t WHERE date_part('year', at) = 1972";
        let (plain, hastened) = (engine(false), engine(true));
        let plan = answer(&hastened, sql).await;
        assert!(plan.contains("t.at >= TimestampMicrosecond"), "{plan}");
        assert_eq!(plan, answer(&plain, sql).await);
    }

    #[tokio::test]
    async fn a_condition_on_hours_leaves_out_files_by_their_moments() {
        let engine = engine(true);
        let sql = "EXPLAIN SELECT hour, count(*) FROM (SELECT date_trunc('hour', at) AS hour FROM t) \
                   WHERE hour >= TIMESTAMPTZ '2026-11-26T10:00:00Z' \
                   AND hour < TIMESTAMPTZ '2026-11-26T12:00:00Z' GROUP BY hour";
        let plan = answer(&engine, sql).await;
        let from_us = 1_795_687_200_000_000_i64;
        let until_us = from_us + 3 * 3_600_000_000;
        for part in [
            format!("t.at >= TimestampMicrosecond({from_us}"),
            format!("t.at < TimestampMicrosecond({until_us}"),
        ] {
            let filter = plan.lines().find(|line| line.contains("Filter: "));
            let filter = filter.expect("there is a condition");
            assert_eq!(filter.matches(&part).count(), 1, "{part} in {plan}");
        }
    }
}
