//! Parameters of table functions.
//!
//! A table function is called while the statement is planned, before the
//! engine binds values. So its placeholders are replaced in the syntax tree,
//! by literals: what is in a literal cannot become anything else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, TableFactor, VisitMut, VisitorMut,
};
use serde_json::Value;

use super::{miscounted, number};
use crate::error::QueryError;

/// Gives table functions their values, and tells which numbers those were.
pub(super) fn bind(
    statement: &mut Statement,
    values: &[Value],
) -> Result<BTreeSet<usize>, QueryError> {
    let mut statement = statement;
    while let Statement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    let mut functions = BindFunctions {
        values,
        used: BTreeSet::new(),
    };
    if let Statement::Statement(statement) = statement
        && let ControlFlow::Break(error) = statement.as_mut().visit(&mut functions)
    {
        return Err(error);
    }
    Ok(functions.used)
}

struct BindFunctions<'a> {
    values: &'a [Value],
    used: BTreeSet<usize>,
}

impl BindFunctions<'_> {
    fn bind(&mut self, argument: &mut FunctionArg) -> Result<(), QueryError> {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = argument else {
            return Ok(());
        };
        let ast::Value::Placeholder(name) = &value.value else {
            return Ok(());
        };
        let number = number(name)?;
        let given = self.values.get(number - 1);
        value.value = literal(given.ok_or_else(|| miscounted(number, self.values.len()))?);
        self.used.insert(number);
        Ok(())
    }
}

impl VisitorMut for BindFunctions<'_> {
    type Break = QueryError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        if let TableFactor::Table {
            args: Some(arguments),
            ..
        } = factor
        {
            for argument in &mut arguments.args {
                if let Err(error) = self.bind(argument) {
                    return ControlFlow::Break(error);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn literal(value: &Value) -> ast::Value {
    match value {
        Value::Bool(value) => ast::Value::Boolean(*value),
        Value::Number(number) => ast::Value::Number(number.to_string(), false),
        Value::String(text) => ast::Value::SingleQuotedString(text.clone()),
        // Lists and objects were refused before.
        Value::Null | Value::Array(_) | Value::Object(_) => ast::Value::Null,
    }
}
