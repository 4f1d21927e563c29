//! Values for `$1`, `$2`, ..: bound as values, never written into the text.

use std::collections::BTreeSet;

use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use serde_json::Value;

use crate::error::QueryError;

mod functions;

/// The values for one statement.
#[derive(Debug)]
pub(crate) struct Parameters {
    values: Vec<ScalarValue>,
    /// The numbers that the statement uses, as far as they are known.
    used: BTreeSet<usize>,
}

impl Parameters {
    /// Takes the values for a statement, and gives those to its table
    /// functions that they want.
    ///
    /// Whole numbers become 64-bit integers and other numbers 64-bit floats;
    /// the engine converts text to a moment or a date where it is compared
    /// with one.
    ///
    /// # Errors
    /// [`QueryError::Parameters`] for lists and objects, and for whole numbers
    /// beyond 64 bits.
    pub(crate) fn take(statement: &mut Statement, values: &[Value]) -> Result<Self, QueryError> {
        let scalars = values.iter().enumerate();
        let scalars = scalars.map(|(index, value)| scalar(index + 1, value));
        Ok(Self {
            values: scalars.collect::<Result<_, _>>()?,
            used: functions::bind(statement, values)?,
        })
    }

    /// The plan with its placeholders replaced.
    ///
    /// # Errors
    /// [`QueryError::Parameters`] where a placeholder has no value, or a value
    /// no placeholder.
    pub(crate) fn bind(
        mut self,
        plan: LogicalPlan,
        memory_limit: usize,
    ) -> Result<LogicalPlan, QueryError> {
        let fail = |error| QueryError::from_engine(&error, memory_limit);
        for name in plan.get_parameter_names().map_err(fail)? {
            self.used.insert(number(&name)?);
        }
        let highest = self.used.last().copied().unwrap_or(0);
        if highest != self.values.len() {
            return Err(miscounted(highest, self.values.len()));
        }
        if self.values.is_empty() {
            return Ok(plan);
        }
        let values = ParamValues::from(self.values);
        plan.with_param_values(values).map_err(fail)
    }
}

fn miscounted(used: usize, given: usize) -> QueryError {
    let message = format!("the statement uses {used}, and {given} were given");
    QueryError::Parameters { message }
}

/// The number in a placeholder's name.
fn number(name: &str) -> Result<usize, QueryError> {
    let digits = name.strip_prefix('$').unwrap_or(name);
    match digits.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            let message = format!("`{name}` is no number; only $1, $2, .. are taken");
            Err(QueryError::Parameters { message })
        }
    }
}

fn scalar(number: usize, value: &Value) -> Result<ScalarValue, QueryError> {
    let refuse = |what: &str| {
        let message = format!("${number} is {what}; a number, a text, a boolean or null is taken");
        Err(QueryError::Parameters { message })
    };
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(value) => Ok(ScalarValue::Boolean(Some(*value))),
        Value::String(text) => Ok(ScalarValue::Utf8(Some(text.clone()))),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(ScalarValue::Int64(Some(whole))),
            (None, Some(float)) if !number.is_u64() => Ok(ScalarValue::Float64(Some(float))),
            _ => refuse("a number beyond 64 bits"),
        },
        Value::Array(_) => refuse("a list"),
        Value::Object(_) => refuse("an object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(values: &[Value]) -> Result<Vec<ScalarValue>, QueryError> {
        let mut statement = crate::read_only::parse("SELECT 1").expect("a statement");
        Parameters::take(&mut statement, values).map(|parameters| parameters.values)
    }

    #[test]
    fn json_values_keep_their_kind() {
        let values = [
            json!(7),
            json!(0.5),
            json!("it's"),
            json!(true),
            json!(null),
        ];
        assert_eq!(
            taken(&values).expect("all are scalars"),
            [
                ScalarValue::Int64(Some(7)),
                ScalarValue::Float64(Some(0.5)),
                ScalarValue::Utf8(Some("it's".into())),
                ScalarValue::Boolean(Some(true)),
                ScalarValue::Null,
            ]
        );
    }

    #[test]
    fn what_cannot_be_bound_is_refused_by_number() {
        for (value, says) in [
            (json!([1]), "$2 is a list"),
            (json!({"a": 1}), "$2 is an object"),
            (json!(u64::MAX), "$2 is a number beyond 64 bits"),
        ] {
            let error = taken(&[json!(1), value]).expect_err(says);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
