//! `bit_count(x)`: how many bits of an integer are set; null of null. By it and `bit_or` a view counts
//! the different minutes of an hour without a set of them for each.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::common::utils::take_function_args;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{Volatility, create_udf};

const NAME: &str = "bit_count";

/// Makes the function known to a session.
///
/// # Errors
/// The registry takes none.
pub(crate) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let function = create_udf(
        NAME,
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(make_scalar_function(count, Vec::new())),
    );
    registry.register_udf(function.into())?;
    Ok(())
}

fn count(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let [numbers] = take_function_args(NAME, arguments)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let counts: Int64Array = numbers.unary(|number| i64::from(number.count_ones()));
    Ok(Arc::new(counts))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn bits_of_values_columns_and_nulls_are_counted() {
        let mut state = SessionContext::new().state();
        register(&mut state).expect("registered");
        let context = SessionContext::new_with_state(state);
        let sql = "SELECT bit_count(x) AS bits FROM (VALUES (0), (7), (-1), (NULL)) AS t (x)";
        let rows = context.sql(sql).await.expect("planned").collect().await;
        let bits = rows.expect("rows")[0].column(0).clone();
        let bits: Vec<_> = bits.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(bits, [Some(0), Some(3), Some(64), None]);
        let sql = "SELECT bit_count(1 << 3)";
        let rows = context.sql(sql).await.expect("planned").collect().await;
        let bits = rows.expect("rows")[0].column(0).clone();
        assert_eq!(bits.as_primitive::<Int64Type>().value(0), 1);
    }
}
