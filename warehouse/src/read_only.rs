//! Which statements are taken: one at a time, and only such as read.
//!
//! The check works on the syntax tree, so it needs neither storage nor
//! schemas and runs before either is touched. A plan is checked once more
//! (`SQLOptions`) before it runs.

use std::fmt::{self, Write};
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{Visit, Visitor};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use crate::error::QueryError;

mod levels;
mod name;
mod patient;
mod size;

use patient::Patient;

/// How deep expressions and subqueries may nest.
const NESTING_LIMIT: usize = 64;

/// Checks that `sql` is one statement and that it only reads.
///
/// # Errors
/// [`QueryError::Syntax`] where it cannot be parsed or is too large,
/// [`QueryError::Refused`] where it writes, changes settings, or holds several
/// statements.
pub fn check_read_only(sql: &str) -> Result<(), QueryError> {
    parse(sql).map(|_| ())
}

/// Parses one statement that only reads.
pub(crate) fn parse(sql: &str) -> Result<Statement, QueryError> {
    let syntax = |error: DataFusionError| QueryError::syntax(&error);
    let tokens = Tokenizer::new(&Patient::for_tokens(0), sql)
        .tokenize_with_location()
        .map_err(|error| syntax(ParserError::from(error).into()))?;
    size::check_tokens(&tokens)?;
    let dialect = Patient::for_tokens(tokens.len());
    let parsed = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(NESTING_LIMIT)
        .build()
        .and_then(|mut parser| parser.parse_statements());
    if dialect.is_out() {
        return Err(QueryError::Syntax {
            message: "it nests too deeply, with a mistake somewhere inside".to_string(),
        });
    }
    let mut statements = parsed.map_err(syntax)?;
    if statements.len() > 1 {
        let what = format!("{} statements at once are", statements.len());
        return Err(QueryError::Refused { what });
    }
    let mut statement = statements.pop_front().ok_or_else(|| QueryError::Syntax {
        message: "there is no statement".to_string(),
    })?;
    match first_write(&statement) {
        Some(what) => Err(QueryError::Refused {
            what: format!("`{what}` is"),
        }),
        None => {
            size::check_relations(&statement)?;
            name::name_subqueries(&mut statement);
            Ok(statement)
        }
    }
}

/// The first part of the statement that does more than read; `None` where
/// there is none.
fn first_write(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Statement(inner) => match inner.as_ref().visit(&mut FindWrite) {
            ControlFlow::Break(what) => Some(what),
            ControlFlow::Continue(()) => None,
        },
        Statement::Explain(explain) => first_write(&explain.statement),
        Statement::CreateExternalTable(_) => Some("CREATE EXTERNAL TABLE".to_string()),
        Statement::CopyTo(_) => Some("COPY".to_string()),
        Statement::Reset(_) => Some("RESET".to_string()),
    }
}

/// Walks the whole tree: an INSERT may hide in a WITH.
struct FindWrite;

impl Visitor for FindWrite {
    type Break = String;

    fn pre_visit_statement(&mut self, statement: &ast::Statement) -> ControlFlow<String> {
        use ast::Statement::{
            Explain, ExplainTable, Query, ShowColumns, ShowFunctions, ShowTables, ShowVariable,
        };
        match statement {
            Query(_) | Explain { .. } | ExplainTable { .. } => ControlFlow::Continue(()),
            ShowTables { .. } | ShowColumns { .. } | ShowFunctions { .. } | ShowVariable { .. } => {
                ControlFlow::Continue(())
            }
            other => ControlFlow::Break(leading_keyword(other)),
        }
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<String> {
        match &select.into {
            Some(_) => ControlFlow::Break("SELECT INTO".to_string()),
            None => ControlFlow::Continue(()),
        }
    }
}

fn leading_keyword(statement: &ast::Statement) -> String {
    let mut word = FirstWord(String::new());
    // An error is the wish to hear no more: the text may be long, and writing
    // all of it goes as deep as the tree.
    write!(word, "{statement}").ok();
    match word.0.as_str() {
        "" => "THE STATEMENT".to_string(),
        word => word.to_uppercase(),
    }
}

/// Takes a text up to the first space.
struct FirstWord(String);

impl Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match (character.is_whitespace(), self.0.is_empty()) {
                (false, _) => self.0.push(character),
                (true, true) => {}
                (true, false) => return Err(fmt::Error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_taken() {
        for sql in [
            "select 1",
            "SELECT 1;",
            "with t as (select 1 as a) select * from t union all select 2",
            "values (1), (2)",
            "explain select 1",
            "explain analyze select * from runs",
            "show tables",
            "describe runs",
        ] {
            assert!(
                check_read_only(sql).is_ok(),
                "{sql}: {:?}",
                check_read_only(sql)
            );
        }
    }

    #[test]
    fn writing_is_refused_by_name() {
        for (sql, name) in [
            ("insert into runs values (1)", "INSERT"),
            ("update runs set model = 'x'", "UPDATE"),
            ("delete from runs", "DELETE"),
            (
                "merge into runs using t on true when matched then delete",
                "MERGE",
            ),
            ("drop table runs", "DROP"),
            ("truncate table runs", "TRUNCATE"),
            ("create table t (a int)", "CREATE"),
            ("create table t as select 1", "CREATE"),
            ("create view v as select 1", "CREATE"),
            ("create schema s", "CREATE"),
            (
                "create external table t stored as csv location '/tmp/x'",
                "CREATE EXTERNAL TABLE",
            ),
            ("copy runs to '/tmp/x.csv'", "COPY"),
            ("copy (select 1) to '/tmp/x.csv'", "COPY"),
            ("set datafusion.execution.batch_size = 1", "SET"),
            ("reset datafusion.execution.batch_size", "RESET"),
            ("prepare p as select 1", "PREPARE"),
            ("execute p", "EXECUTE"),
            ("begin", "BEGIN"),
            ("start transaction", "START"),
            ("commit", "COMMIT"),
            ("explain insert into runs values (1)", "INSERT"),
            ("explain analyze insert into runs values (1)", "INSERT"),
            ("explain explain delete from runs", "DELETE"),
            ("explain copy runs to '/tmp/x.csv'", "COPY"),
            (
                "explain create external table t stored as csv location '/x'",
                "CREATE EXTERNAL TABLE",
            ),
            ("select * into t from runs", "SELECT INTO"),
            ("with t as (insert into runs values (1)) select 1", "INSERT"),
            ("select 1; drop table runs", "2 statements"),
        ] {
            match check_read_only(sql) {
                Err(QueryError::Refused { what }) => assert!(what.contains(name), "{sql}: {what}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[test]
    fn nonsense_is_a_syntax_error_that_says_where() {
        for (sql, says) in [
            ("", "no statement"),
            ("selec 1", "selec"),
            ("select (1", "found: EOF"),
            ("select a b c", "Column: 12"),
        ] {
            match check_read_only(sql) {
                Err(QueryError::Syntax { message }) => {
                    assert!(message.contains(says), "{sql}: {message}");
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    /// Each of these levels is tried in two or three ways, and each way tries all that is in it.
    #[test]
    fn a_mistake_deep_inside_special_forms_is_found_in_time() {
        // Queries parse on threads with room; those of tests have less.
        let roomy = std::thread::Builder::new().stack_size(crate::runtime::STACK_BYTES);
        let tried = roomy.spawn(mistakes_deep_inside).expect("a thread");
        tried.join().expect("each was refused in time");
    }

    fn mistakes_deep_inside() {
        let begun = std::time::Instant::now();
        for depth in [14, 20, 30, 60] {
            for open in [
                "position(",
                "cast(",
                "ceil(",
                "floor(",
                "substring(",
                "trim(",
            ] {
                refused_in_time(&format!("select {} 1 x", open.repeat(depth)));
                refused_in_time(&format!(
                    "select {}1 x{}",
                    open.repeat(depth),
                    ")".repeat(depth)
                ));
            }
            refused_in_time(&format!(
                "select 1 from {} 1 x",
                "((select * from ".repeat(depth / 2)
            ));
            refused_in_time(&format!(
                "select {} 1 x",
                "a in ((select ".repeat(depth / 2)
            ));
        }
        assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    }

    #[track_caller]
    fn refused_in_time(sql: &str) {
        let begun = std::time::Instant::now();
        let checked = check_read_only(sql);
        assert!(
            matches!(checked, Err(QueryError::Syntax { .. })),
            "{sql}: {checked:?}"
        );
        assert!(
            begun.elapsed().as_secs() < 10,
            "{sql}: {:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn special_forms_without_a_mistake_may_nest() {
        let nested =
            |open: &str, close: &str| format!("select {}a{}", open.repeat(20), close.repeat(20));
        for sql in [
            nested("floor(", ")"),
            nested("cast(", " as int)"),
            nested("coalesce(1, ", ")"),
            nested("(", ")"),
            nested("case when true then ", " end"),
        ] {
            let checked = check_read_only(&sql);
            assert!(checked.is_ok(), "{sql}: {checked:?}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        for depth in [100, 5_000] {
            for (open, close) in [("(", ")"), ("[", "]"), ("not ", ""), ("- ", "")] {
                let sql = format!("select {}1{}", open.repeat(depth), close.repeat(depth));
                let checked = check_read_only(&sql);
                assert!(
                    matches!(checked, Err(QueryError::Syntax { .. })),
                    "{depth} times `{open}`: {checked:?}"
                );
            }
        }
    }
}
