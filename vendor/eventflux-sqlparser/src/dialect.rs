//! What sqlparser must know about the language's lexis and expressions.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use sqlparser::keywords::{self, Keyword};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// sqlparser's generic dialect without what the language does not have (FROM-first, pipes, lambdas, …), with `#name`
/// as a word, `==`, FILTER, TRY_CAST, typed arrays, structs and maps.
///
/// It also bounds the work of one parse: sqlparser backtracks, in the worst case exponentially, and each expression it
/// starts costs one unit of `fuel`.
#[derive(Debug)]
pub struct EventFluxDialect {
    fuel: Cell<usize>,
}

impl Default for EventFluxDialect {
    fn default() -> Self {
        Self {
            fuel: Cell::new(usize::MAX),
        }
    }
}

impl EventFluxDialect {
    /// A dialect that lets sqlparser start at most `fuel` expressions.
    pub(crate) fn with_fuel(fuel: usize) -> Self {
        Self { fuel: Cell::new(fuel) }
    }

    /// Whether the fuel has run out.
    pub(crate) fn exhausted(&self) -> bool {
        self.fuel.get() == 0
    }
}

impl Dialect for EventFluxDialect {
    /// sqlparser asks for the dialect by type in places that have no method; the generic one is what we mean there.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.fuel.get().checked_sub(1) {
            Some(rest) => {
                self.fuel.set(rest);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    /// `||`, `->` and `->>` bind looser than arithmetic and tighter than comparisons, as in PostgreSQL: `'n = ' || a + 1`.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        let token = &parser.peek_token_ref().token;
        let is_other = matches!(token, Token::StringConcat | Token::Arrow | Token::LongArrow);
        is_other.then(|| Ok(self.prec_value(Precedence::Caret)))
    }

    /// sqlparser takes all that follows `IS DISTINCT FROM` as its right side; it binds as IS does: `a IS DISTINCT FROM b AND c`.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let distinct = parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
        if !distinct && !parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            return None;
        }
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| {
            let (left, right) = (Box::new(expr.clone()), Box::new(right));
            match distinct {
                true => Expr::IsDistinctFrom(left, right),
                false => Expr::IsNotDistinctFrom(left, right),
            }
        }))
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '#'
    }

    /// `$` is not part of a name: `PATTERN (A$)` ends in an anchor.
    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    /// `$` alone is an anchor, never the start of a string.
    fn supports_dollar_placeholder(&self) -> bool {
        true
    }

    fn is_table_alias(&self, kw: &Keyword, _parser: &mut Parser) -> bool {
        !keywords::RESERVED_FOR_TABLE_ALIAS.contains(kw)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn support_map_literal_syntax(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn supports_long_type_as_bigint(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_try_convert(&self) -> bool {
        true
    }

    fn supports_order_by_all(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}
