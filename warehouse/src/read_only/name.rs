//! Names for subqueries that have none.
//!
//! The engine takes two projections for one that stand one upon the other and look the same, and
//! drops one of them: `SELECT a + 1 AS a FROM (SELECT a + 1 AS a FROM t)` gave `a + 1` (DataFusion
//! 55.0 to 55.2; later ones compose them). Under a name of its own a subquery keeps apart.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Ident, TableAlias, TableFactor, VisitMut, VisitorMut};

/// Gives each subquery of a FROM a name, where it has none.
pub(super) fn name_subqueries(statement: &mut Statement) {
    let mut statement = statement;
    while let Statement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    if let Statement::Statement(statement) = statement {
        let _goes_on = statement.as_mut().visit(&mut NameSubqueries { named: 0 });
    }
}

struct NameSubqueries {
    named: usize,
}

impl VisitorMut for NameSubqueries {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived {
            alias: alias @ None,
            ..
        } = factor
        {
            self.named += 1;
            *alias = Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', format!("subquery {}", self.named)),
                columns: Vec::new(),
                at: None,
            });
        }
        ControlFlow::Continue(())
    }
}
