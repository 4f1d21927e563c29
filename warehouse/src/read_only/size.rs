//! How large a statement may be.
//!
//! The parser limits nesting, but not chains: `1 + 1 + ..` and a chain of
//! UNIONs are trees as deep as they are long. Even dropping such a tree calls
//! itself once for each level, and a stack that is full ends the process. So
//! the tokens are counted before there is a tree.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Select, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::levels;
use crate::error::QueryError;

/// How many tokens a statement may have, without spaces and comments.
const TOKEN_LIMIT: usize = 50_000;

/// How many operators a statement may have.
const CHAIN_LIMIT: usize = 500;

/// How deep brackets may nest. The parser's own limit does not count those of
/// types and of joins.
const BRACKET_LIMIT: usize = 256;

/// How many tables and subqueries a statement may have: a plan joins them one
/// by one, so that it is as deep as they are many.
const RELATION_LIMIT: usize = 200;

/// How many grouping sets a SELECT may have: `CUBE` of twenty columns makes a million of them.
const SETS_LIMIT: usize = 1_000;

/// Checks the tokens of a statement, before it is parsed.
pub(super) fn check_tokens(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let tokens: Vec<&Token> = tokens
        .iter()
        .map(|token| &token.token)
        .filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF))
        .collect();
    if tokens.len() > TOKEN_LIMIT {
        return Err(too_large(format!(
            "the statement has {} tokens, and {TOKEN_LIMIT} are the most; ask in several statements",
            tokens.len()
        )));
    }
    let chained = (0..tokens.len()).filter(|at| chains(&tokens[..*at], tokens[*at]));
    if chained.count() > CHAIN_LIMIT {
        return Err(too_large(format!(
            "the statement has more than {CHAIN_LIMIT} operators (+, AND, UNION and others); use IN (..) lists, or several \
             statements"
        )));
    }
    let mut depth = 0_usize;
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BRACKET_LIMIT {
            return Err(too_large("it nests too deeply".to_string()));
        }
    }
    Ok(())
}

/// Checks the tables and subqueries of a statement, before it is planned.
pub(super) fn check_relations(statement: &Statement) -> Result<(), QueryError> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return check_relations(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
            return Ok(());
        }
    };
    let mut count = CountRelations {
        left: RELATION_LIMIT,
    };
    match inner.as_ref().visit(&mut count) {
        ControlFlow::Continue(()) => match levels::too_many(inner) {
            Some(message) => Err(too_large(message)),
            None => Ok(()),
        },
        ControlFlow::Break(message) => Err(too_large(message)),
    }
}

/// How many grouping sets a SELECT has.
fn grouping_sets(select: &Select) -> usize {
    let GroupByExpr::Expressions(expressions, _) = &select.group_by else {
        return 1;
    };
    let sets = expressions.iter().map(|expression| match expression {
        Expr::Cube(columns) => u32::try_from(columns.len())
            .ok()
            .and_then(|columns| 2_usize.checked_pow(columns))
            .unwrap_or(usize::MAX),
        Expr::Rollup(columns) => columns.len() + 1,
        Expr::GroupingSets(sets) => sets.len(),
        _ => 1,
    });
    sets.fold(1, usize::saturating_mul)
}

fn too_large(message: String) -> QueryError {
    QueryError::Syntax { message }
}

/// Whether `token`, which comes after `before`, makes a tree deeper.
fn chains(before: &[&Token], token: &Token) -> bool {
    let last = before.last().copied();
    // What follows a comma or a parenthesis joins nothing: it is the sign of
    // a number, or the star of `count(*)`.
    if matches!(last, None | Some(Token::Comma | Token::LParen)) {
        return is_keyword(token, Keyword::EXPLAIN);
    }
    match token {
        Token::Word(word) => word.quote_style.is_none() && CHAINING.contains(&word.keyword),
        // `a[1][2]` and the type `int[][]`; a list of its own is no chain.
        Token::LBracket => matches!(last, Some(Token::RBracket)),
        // A name has up to four parts: catalog, schema, table, column.
        Token::Period => {
            let part = |back: usize| before.len().checked_sub(back).map(|at| before[at]);
            [2, 4, 6]
                .iter()
                .all(|back| matches!(part(*back), Some(Token::Period)))
        }
        // The star of `select *` and of `t.*` multiplies nothing.
        Token::Mul => !last
            .is_some_and(|last| matches!(last, Token::Period) || is_keyword(last, Keyword::SELECT)),
        other => !is_operand(other),
    }
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword)
}

/// Values and punctuation. All else counts as an operator, those of other
/// dialects too: the parser takes more of them than the engine knows.
fn is_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Comma
            | Token::LParen
            | Token::RParen
            | Token::RBracket
            | Token::LBrace
            | Token::RBrace
            | Token::SemiColon
            | Token::Colon
            | Token::Placeholder(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
    )
}

/// Words that stand between two operands, behind one, or before another
/// statement: each makes the tree, or the plan, one level deeper.
const CHAINING: &[Keyword] = &[
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::MINUS,
    Keyword::JOIN,
    Keyword::STRAIGHT_JOIN,
    Keyword::APPLY,
    Keyword::PIVOT,
    Keyword::UNPIVOT,
    Keyword::MATCH_RECOGNIZE,
    Keyword::OVER,
    Keyword::IS,
    Keyword::NOTNULL,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::SIMILAR,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::MATCH,
    Keyword::MEMBER,
    Keyword::OPERATOR,
    Keyword::OVERLAPS,
    Keyword::DIV,
    Keyword::COLLATE,
    Keyword::AT,
    Keyword::INTERVAL,
    Keyword::PRIOR,
    Keyword::EXPLAIN,
];

struct CountRelations {
    left: usize,
}

impl CountRelations {
    fn one_more(&mut self) -> ControlFlow<String> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(format!(
                "the statement names more than {RELATION_LIMIT} tables and subqueries; ask in \
                 several statements"
            )),
        }
    }
}

impl Visitor for CountRelations {
    type Break = String;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        match grouping_sets(select) {
            ..=SETS_LIMIT => ControlFlow::Continue(()),
            sets => ControlFlow::Break(format!(
                "the statement groups by {sets} sets of columns, and {SETS_LIMIT} are the most"
            )),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        if let TableFactor::Table {
            sample: Some(_), ..
        }
        | TableFactor::Derived {
            sample: Some(_), ..
        } = table
        {
            // The engine passes over it, and would give all rows.
            return ControlFlow::Break(
                "TABLESAMPLE is not offered; take a part of the rows with a condition, such as \
                 `request_id % 10 = 0`"
                    .to_string(),
            );
        }
        self.one_more()
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        match expression {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => self.one_more(),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::read_only::check_read_only;

    /// What is said of the tokens alone, whatever the parser makes of them.
    fn said_of(sql: &str) -> Option<String> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
        let checked = check_tokens(&tokens.expect("tokens"));
        checked.err().map(|error| error.to_string())
    }

    /// `count` times `part`, with `between` in between.
    fn chain(part: &str, between: &str, count: usize) -> String {
        vec![part; count].join(between)
    }

    #[track_caller]
    fn refused(sql: &str, says: &str) {
        let shown: String = sql.chars().take(60).collect();
        match check_read_only(sql) {
            Err(QueryError::Syntax { message }) => {
                assert!(message.contains(says), "{shown}: {message}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }

    #[track_caller]
    fn taken(sql: &str) {
        let shown: String = sql.chars().take(60).collect();
        let checked = check_read_only(sql);
        assert!(checked.is_ok(), "{shown}: {checked:?}");
    }

    #[test]
    fn a_long_chain_is_an_error_and_no_crash() {
        for sql in [
            format!("select {}", chain("1", "+", 4_000)),
            format!("select {}", chain("1", " - ", 4_000)),
            format!("select {}", chain("'a'", "||", 4_000)),
            format!("select 1{}", "::int".repeat(4_000)),
            format!("select 1{}", " is null".repeat(4_000)),
            format!("select a{}", "[1]".repeat(4_000)),
            format!("select (a){}", ".b".repeat(4_000)),
            format!("select cast(a as int{})", "[]".repeat(4_000)),
            format!("select a{}", " collate c".repeat(4_000)),
            format!("select 1 where {}", chain("a", " and ", 4_000)),
            format!("select 1 where {}", chain("a", " OR ", 4_000)),
            format!("select 1 where {}", chain("a", " = ", 4_000)),
            chain("select 1", " union all ", 4_000),
            chain("select 1", " except ", 4_000),
            format!("select 1 from {}", chain("t", " cross join ", 4_000)),
            format!("select 1 from t{}", " |> limit 1".repeat(4_000)),
            format!("{} select 1", chain("explain", " ", 4_000)),
        ] {
            refused(
                &sql,
                "has more than 500 operators (+, AND, UNION and others); use IN (..) lists",
            );
        }
    }

    #[test]
    fn every_word_that_chains_is_counted() {
        let words = "and or xor union except intersect minus join straight_join apply pivot unpivot \
                     match_recognize over is notnull in like ilike similar rlike regexp match \
                     member operator overlaps div collate at interval prior explain";
        assert_eq!(words.split_whitespace().count(), CHAINING.len());
        for word in words.split_whitespace() {
            let between = format!(" {word} ");
            assert_eq!(said_of(&chain("a", &between, 501)), None, "{word}");
            let said = said_of(&chain("a", &between, 502)).expect(word);
            assert!(said.contains("has more than 500"), "{word}: {said}");
        }
    }

    #[test]
    fn a_chain_within_the_limit_is_taken() {
        taken(&format!("select {}", chain("1", "+", 501)));
        refused(&format!("select {}", chain("1", "+", 502)), "operators");
        taken(&chain("select 1", " union all ", 400));
    }

    #[test]
    fn lists_are_no_chains() {
        taken(&format!(
            "select 1 where a in ({})",
            chain("-1", ", ", 9_000)
        ));
        taken(&format!("select {}", chain("count(*)", ", ", 2_000)));
        taken(&format!(
            "select {}",
            chain("reports.runs.model", ", ", 2_000)
        ));
        taken(&format!("values {}", chain("(1, [1, 2])", ", ", 2_000)));
    }

    #[test]
    fn the_whole_has_a_limit() {
        let list = format!("select 1 where a in ({})", chain("1", ",", 30_000));
        refused(&list, "tokens, and 50000 are the most");
    }

    #[test]
    fn brackets_of_types_nest_within_a_limit() {
        let sql = format!(
            "select cast(a as {}int{})",
            "nullable(".repeat(9_000),
            ")".repeat(9_000)
        );
        refused(&sql, "nests too deeply");
    }

    #[test]
    fn brackets_of_every_kind_nest_to_the_limit_and_no_deeper() {
        for (open, close) in [("(", ")"), ("[", "]"), ("{", "}")] {
            let nested = |depth| format!("a {}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(said_of(&nested(256)), None, "{open}");
            let said = said_of(&nested(257)).expect(open);
            assert!(said.contains("nests too deeply"), "{open}: {said}");
            let one_by_one = format!("{open}{close} ").repeat(300);
            assert_eq!(said_of(&format!("a {one_by_one}")), None, "{open}");
        }
    }

    #[test]
    fn tables_and_subqueries_are_counted() {
        let says = "more than 200 tables and subqueries";
        taken(&format!("select 1 from {}", chain("t", ", ", 200)));
        refused(&format!("select 1 from {}", chain("t", ", ", 201)), says);
        let explained = format!("explain select 1 from {}", chain("t", ", ", 201));
        refused(&explained, says);
        let nested = format!("select 1 from {}", chain("(select 1) as t", ", ", 201));
        refused(&nested, says);
        refused(&format!("select {}", chain("(select 1)", ", ", 201)), says);
    }

    #[test]
    fn grouping_sets_are_counted() {
        let cube = |columns: usize| format!("cube({})", chain("a", ", ", columns));
        taken(&format!("select 1 from t group by {}", cube(9)));
        refused(
            &format!(
                "select 1 from (select 1 from t group by b, {}) as s",
                cube(20)
            ),
            "1048576 sets of columns, and 1000 are the most",
        );
        let both = format!("select 1 from t group by {}, {}", cube(5), cube(5));
        refused(&both, "1024 sets");
        refused(
            &format!("select 1 from t group by {}", cube(200)),
            "sets of columns",
        );
        let sets = format!("grouping sets({})", chain("(a)", ", ", 501));
        refused(
            &format!("select 1 from t group by {sets}, rollup(b)"),
            "1002 sets",
        );
    }
}
