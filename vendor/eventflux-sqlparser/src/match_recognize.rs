//! `MATCH_RECOGNIZE (…)`: the clauses. The pattern itself is in `row_pattern`.

use sqlparser::ast::{Ident, OrderByExpr};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::ast::{AfterMatchSkip, Define, MatchRecognize, Measure, RowsPerMatch, Subset};
use crate::columns::ident_list;
use crate::error::ParseError;
use crate::rewrite::{Rewriter, State};
use crate::row_pattern;
use crate::sql;
use crate::tokens::Cursor;

impl Rewriter {
    /// From the word MATCH_RECOGNIZE to its closing parenthesis.
    pub(crate) fn match_recognize(&mut self, cursor: &mut Cursor<'_>) -> Result<MatchRecognize, ParseError> {
        let start = cursor.span();
        cursor.advance();
        let mut inside = cursor.expect_group("after MATCH_RECOGNIZE")?;
        let c = &mut inside;
        let partition_by = if c.take_words(&["PARTITION", "BY"]) {
            self.keys(c)?
        } else {
            Vec::new()
        };
        let order_by = if c.take_words(&["ORDER", "BY"]) {
            self.order(c)?
        } else {
            Vec::new()
        };
        let measures = if c.take_word("MEASURES") {
            self.measures(c)?
        } else {
            Vec::new()
        };
        let rows = rows_per_match(c)?;
        let after_match = after_match(c)?;
        if !c.is_word("PATTERN") {
            return Err(c.expected("PATTERN (…)").with_hint(
                "the order is PARTITION BY, ORDER BY, MEASURES, ROWS PER MATCH, AFTER MATCH, PATTERN, WITHIN, SUBSET, DEFINE",
            ));
        }
        c.advance();
        let place = c.span();
        let pattern = row_pattern::parse(c.expect_group("after PATTERN")?, c.span_from(place))?;
        let within = self.within(c, starts_clause)?;
        let subsets = if c.take_word("SUBSET") { subsets(c)? } else { Vec::new() };
        let defines = if c.take_word("DEFINE") {
            self.defines(c)?
        } else {
            Vec::new()
        };
        c.expect_end("MATCH_RECOGNIZE")?;
        Ok(MatchRecognize {
            input_alias: None,
            partition_by,
            order_by,
            measures,
            rows,
            after_match,
            pattern,
            within,
            subsets,
            defines,
            span: cursor.span_from(start),
        })
    }

    fn keys(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<sqlparser::ast::Expr>, ParseError> {
        let parts = clause(cursor, "a column")?;
        parts.into_iter().map(|part| self.expr(part, "a column")).collect()
    }

    fn order(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<OrderByExpr>, ParseError> {
        let end = cursor.find(starts_clause);
        let mut part = cursor.until(&end);
        let span = part.span_of_rest();
        let tokens = self.rewrite(&mut part, State::Expr, |_| false)?;
        cursor.jump(&end);
        sql::parse(tokens, span, |parser| {
            parser.parse_comma_separated(Parser::parse_order_by_expr)
        })
    }

    fn measures(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<Measure>, ParseError> {
        clause(cursor, "a measure")?
            .into_iter()
            .map(|part| {
                let mut name = part.find(|c| c.is_word("AS") && c.rest().len() == 2);
                if name.is_empty() {
                    let error = name.expected("AS and a name after the measure");
                    return Err(error.with_hint("such as LAST(A.price) AS price"));
                }
                let expr = self.expr(part.until(&name), "a measure")?;
                name.advance();
                let alias = name.ident("the measure's name")?;
                Ok(Measure {
                    expr,
                    alias,
                    span: part.span_of_rest(),
                })
            })
            .collect()
    }

    fn defines(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<Define>, ParseError> {
        let parts = cursor.split_commas();
        let end = cursor.find(Cursor::is_empty);
        if parts.is_empty() {
            return Err(cursor.expected("a definition such as A AS price > 10"));
        }
        cursor.jump(&end);
        parts
            .into_iter()
            .map(|part| {
                let mut condition = part;
                let variable = condition.ident("a variable")?;
                condition.expect_word("AS", "after the variable")?;
                let condition = self.expr(condition, "a condition")?;
                Ok(Define {
                    variable,
                    condition,
                    span: part.span_of_rest(),
                })
            })
            .collect()
    }
}

/// The comma-separated entries up to the next clause.
fn clause<'t>(cursor: &mut Cursor<'t>, what: &str) -> Result<Vec<Cursor<'t>>, ParseError> {
    let end = cursor.find(starts_clause);
    let parts = cursor.until(&end).split_commas();
    if parts.is_empty() {
        return Err(cursor.expected(what));
    }
    cursor.jump(&end);
    Ok(parts)
}

/// Where a clause of MATCH_RECOGNIZE starts. Each is at least two tokens, so that columns may have these names.
fn starts_clause(cursor: &Cursor<'_>) -> bool {
    cursor.is_words(&["ORDER", "BY"])
        || cursor.is_words(&["ONE", "ROW"])
        || cursor.is_words(&["ALL", "ROWS"])
        || cursor.is_words(&["AFTER", "MATCH"])
        || (cursor.is_word("PATTERN") && *cursor.peek_nth(1) == Token::LParen)
        || (cursor.is_word("MEASURES") && !matches!(cursor.peek_nth(1), Token::Comma | Token::Eq))
        || (cursor.is_word("SUBSET") && *cursor.peek_nth(2) == Token::Eq)
        || (cursor.is_word("DEFINE") && cursor.is_word_at(2, "AS"))
}

fn rows_per_match(cursor: &mut Cursor<'_>) -> Result<RowsPerMatch, ParseError> {
    if cursor.take_words(&["ONE", "ROW"]) {
        cursor.expect_word("PER", "after ONE ROW")?;
        cursor.expect_word("MATCH", "after PER")?;
        return Ok(RowsPerMatch::One);
    }
    if !cursor.take_words(&["ALL", "ROWS"]) {
        return Ok(RowsPerMatch::default());
    }
    cursor.expect_word("PER", "after ALL ROWS")?;
    cursor.expect_word("MATCH", "after PER")?;
    if cursor.take_words(&["OMIT", "EMPTY", "MATCHES"]) {
        Ok(RowsPerMatch::AllOmitEmpty)
    } else if cursor.take_words(&["WITH", "UNMATCHED", "ROWS"]) {
        Ok(RowsPerMatch::AllWithUnmatched)
    } else {
        cursor.take_words(&["SHOW", "EMPTY", "MATCHES"]);
        Ok(RowsPerMatch::AllShowEmpty)
    }
}

fn after_match(cursor: &mut Cursor<'_>) -> Result<AfterMatchSkip, ParseError> {
    const VARIABLE: &str = "a variable to skip to";
    if !cursor.take_words(&["AFTER", "MATCH"]) {
        return Ok(AfterMatchSkip::default());
    }
    cursor.expect_word("SKIP", "after AFTER MATCH")?;
    if cursor.take_words(&["PAST", "LAST", "ROW"]) {
        return Ok(AfterMatchSkip::PastLastRow);
    }
    if !cursor.take_word("TO") {
        return Err(cursor.expected("PAST LAST ROW, TO NEXT ROW, or TO and a variable"));
    }
    if cursor.take_words(&["NEXT", "ROW"]) {
        return Ok(AfterMatchSkip::ToNextRow);
    }
    // FIRST and LAST may themselves be variables: `SKIP TO LAST` before PATTERN.
    let named = matches!(cursor.peek_nth(1), Token::Word(_))
        && !(cursor.is_word_at(1, "PATTERN") && *cursor.peek_nth(2) == Token::LParen);
    if named && cursor.take_word("FIRST") {
        return cursor.ident(VARIABLE).map(AfterMatchSkip::ToFirst);
    }
    if named {
        cursor.take_word("LAST");
    }
    let variable: Ident = cursor.ident(VARIABLE)?;
    Ok(AfterMatchSkip::ToLast(variable))
}

/// `U = (A, B), …`.
fn subsets(cursor: &mut Cursor<'_>) -> Result<Vec<Subset>, ParseError> {
    let mut subsets = Vec::new();
    loop {
        let start = cursor.span();
        let name = cursor.ident("the subset's name")?;
        cursor.expect(&Token::Eq, "after the subset's name")?;
        let members = ident_list(cursor, "a variable")?;
        subsets.push(Subset {
            name,
            members,
            span: cursor.span_from(start),
        });
        if !cursor.take(&Token::Comma) {
            return Ok(subsets);
        }
    }
}
