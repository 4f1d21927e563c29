//! The parser's dialect, and an end to its trying.
//!
//! Where a word may begin a special form (`CAST(`, `POSITION(`) or be a name, the parser tries the
//! one and then the other, and does so again at each level of nesting: thirty levels that end in a
//! mistake would take it years. So the expressions that it begins are counted.

use std::any::TypeId;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// Expressions that the parser may begin for each token: it tries some forms in vain.
const PER_TOKEN: usize = 16;
/// And besides, so that short statements may be odd.
const BESIDES: usize = 1_000;
/// And no more than these in all, which take it half a second.
const MOST: usize = 250_000;

/// The engine's usual dialect, for one statement.
#[derive(Debug)]
pub(super) struct Patient {
    left: AtomicUsize,
}

impl Patient {
    pub(super) fn for_tokens(tokens: usize) -> Self {
        let most = tokens.saturating_mul(PER_TOKEN).saturating_add(BESIDES);
        Self {
            left: AtomicUsize::new(most.min(MOST)),
        }
    }

    /// Whether the parser has tried as often as it may.
    pub(super) fn is_out(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

/// Passes questions on, by name.
macro_rules! as_generic {
    ($($question:ident)+) => {
        $(
            fn $question(&self) -> bool {
                GenericDialect.$question()
            }
        )+
    };
}

impl Dialect for Patient {
    fn dialect(&self) -> TypeId {
        GenericDialect.dialect()
    }

    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let one_less = |left: usize| left.checked_sub(1);
        let counted = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        counted
            .is_err()
            .then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        GenericDialect.is_identifier_part(character)
    }

    as_generic! {
        supports_unicode_string_literal
        supports_partition_by_after_order_by
        supports_array_join_syntax
        supports_group_by_expr
        supports_group_by_with_modifier
        supports_left_associative_joins_without_parens
        supports_connect_by
        supports_match_recognize
        supports_pipe_operator
        supports_start_transaction_modifier
        supports_window_function_null_treatment_arg
        supports_dictionary_syntax
        supports_window_clause_named_window_reference
        supports_parenthesized_set_variables
        supports_select_wildcard_except
        support_map_literal_syntax
        allow_extract_custom
        allow_extract_single_quotes
        supports_extract_comma_syntax
        supports_create_view_comment_syntax
        supports_parens_around_table_factor
        supports_values_as_table_factor
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_limit_comma
        supports_update_order_by
        supports_from_first_select
        supports_projection_trailing_commas
        supports_asc_desc_in_column_definition
        supports_try_convert
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_named_fn_args_with_assignment_operator
        supports_struct_literal
        supports_empty_projections
        supports_nested_comments
        supports_multiline_comment_hints
        supports_user_host_grantee
        supports_string_escape_constant
        supports_array_typedef_with_brackets
        supports_match_against
        supports_set_names
        supports_comma_separated_set_assignments
        supports_filter_during_aggregation
        supports_select_wildcard_exclude
        supports_data_type_signed_suffix
        supports_interval_options
        supports_quote_delimited_string
        supports_select_wildcard_replace
        supports_select_wildcard_ilike
        supports_select_wildcard_rename
        supports_optimize_table
        supports_install
        supports_detach
        supports_prewhere
        supports_with_fill
        supports_limit_by
        supports_interpolate
        supports_settings
        supports_select_format
        supports_comment_optimizer_hint
        supports_constraint_keyword_without_name
        supports_key_column_option
        supports_comma_separated_trim
        supports_cte_without_as
        supports_select_item_multi_column_alias
        supports_xml_expressions
    }
}
