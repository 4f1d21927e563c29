//! How many queries within queries a statement may have.
//!
//! The engine plans a query with all that is in it, over and over, and puts the body of a WITH wherever
//! its name stands: its work doubles with each level, or more, and looks at no time limit. Chains of
//! named queries count as if they were written out.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement, Visit as _, Visitor};

/// How deep queries may be in each other.
const LEVEL_LIMIT: usize = 12;

/// How many tables a statement may read, those of named queries once for each use of the name. A query
/// that reads none counts for one.
const READ_LIMIT: usize = 1_000;

/// Says what is too much; `None` where nothing is.
pub(super) fn too_many(statement: &Statement) -> Option<String> {
    let mut levels = Levels::default();
    match statement.visit(&mut levels) {
        ControlFlow::Break(said) => Some(said),
        ControlFlow::Continue(()) => None,
    }
}

/// What a query costs to write out.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    levels: usize,
    reads: usize,
}

/// A query that is being looked at.
#[derive(Debug, Default)]
struct Open {
    cost: Cost,
    /// Names of its WITH, in the order in which their queries come.
    names: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Levels {
    open: Vec<Open>,
    named: HashMap<String, Cost>,
}

impl Levels {
    /// Adds what a part costs to the query that it stands in.
    fn add(&mut self, part: Cost) {
        if let Some(around) = self.open.last_mut() {
            around.cost.levels = around.cost.levels.max(part.levels);
            around.cost.reads = around.cost.reads.saturating_add(part.reads);
        }
    }
}

impl Visitor for Levels {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = named.map(|named| named.alias.name.value.to_lowercase());
        self.open.push(Open {
            cost: Cost::default(),
            names: names.collect(),
        });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<String> {
        let read = Cost {
            levels: 0,
            reads: 1,
        };
        let named = self.named.get(&name.to_string().to_lowercase());
        self.add(named.copied().unwrap_or(read));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        let Some(Open { mut cost, .. }) = self.open.pop() else {
            return ControlFlow::Continue(());
        };
        cost.levels += 1;
        cost.reads = cost.reads.max(1);
        if cost.levels > LEVEL_LIMIT {
            return ControlFlow::Break(format!(
                "the statement has queries within queries on more than {LEVEL_LIMIT} levels, those \
                 of WITH counted; ask in several statements"
            ));
        }
        if cost.reads > READ_LIMIT {
            return ControlFlow::Break(format!(
                "the statement reads more than {READ_LIMIT} tables, those of a WITH once for each \
                 use of its name; ask in several statements"
            ));
        }
        let around = self.open.last_mut();
        match around.and_then(|around| around.names.pop_front()) {
            Some(name) => {
                self.named.insert(name, cost);
            }
            None => self.add(cost),
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::read_only::check_read_only;

    fn refused(sql: &str) -> Option<String> {
        check_read_only(sql).err().map(|error| error.to_string())
    }

    fn nested(begin: &str, levels: usize, end: &str, innermost: &str) -> String {
        format!(
            "select {}{innermost}{}",
            begin.repeat(levels),
            end.repeat(levels)
        )
    }

    #[test]
    fn queries_within_queries_have_a_limit() {
        for (begin, end, innermost) in [
            ("(select ", ")", "1"),
            ("* from (select ", ")", "1"),
            ("1 where exists (select ", ")", "1"),
            ("1 where 1 in (select ", ")", "1"),
        ] {
            assert_eq!(refused(&nested(begin, 11, end, innermost)), None, "{begin}");
            let said = refused(&nested(begin, 12, end, innermost)).expect(begin);
            assert!(said.contains("more than 12 levels"), "{said}");
        }
    }

    fn chain(names: usize, body: impl Fn(usize) -> String) -> String {
        let first = "with t0 as (select 1 as a)".to_string();
        let rest = (1..names).map(|number| format!(", t{number} as ({})", body(number - 1)));
        let last = format!(" select a from T{}", names - 1);
        std::iter::once(first).chain(rest).chain([last]).collect()
    }

    #[test]
    fn named_queries_count_as_if_they_were_written_out() {
        let one_by_one = |names| chain(names, |before| format!("select a from t{before}"));
        assert_eq!(refused(&one_by_one(11)), None);
        let said = refused(&one_by_one(12)).expect("too deep");
        assert!(said.contains("more than 12 levels"), "{said}");
        let thrice = |names| {
            chain(names, |before| {
                format!("select l.a from t{before} l, t{before} m, t{before} r")
            })
        };
        assert_eq!(refused(&thrice(6)), None);
        let said = refused(&thrice(9)).expect("too many");
        assert!(said.contains("more than 1000 tables"), "{said}");
    }

    #[test]
    fn side_by_side_is_no_level() {
        let side_by_side = vec!["(select 1)"; 100].join(", ");
        assert_eq!(refused(&format!("select {side_by_side}")), None);
        let many = (0..50).map(|number| format!("t{number} as (select 1 as a)"));
        let many: Vec<_> = many.collect();
        assert_eq!(
            refused(&format!("with {} select a from t49", many.join(", "))),
            None
        );
    }
}
