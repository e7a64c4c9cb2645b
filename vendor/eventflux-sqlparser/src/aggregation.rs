//! `CREATE AGGREGATION`.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Span, Token};

use crate::ast::{CreateAggregation, StatementKind};
use crate::error::ParseError;
use crate::options::with_options;
use crate::query;
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;

/// After the name.
pub(crate) fn create(cursor: &mut Cursor<'_>, start: Span, name: Ident) -> Result<StatementKind, ParseError> {
    let options = with_options(cursor)?;
    cursor.expect_word("AS", "before the aggregation's query")?;
    let end = cursor.find(|c| c.is_word("AGGREGATE") && (c.is_word_at(1, "BY") || c.is_word_at(1, "EVERY")));
    let mut part = cursor.until(&end);
    let query = query::without_target(&mut part, "an aggregation")?;
    part.expect_end("the query")?;
    cursor.jump(&end);
    cursor.expect_word("AGGREGATE", "after the query")?;
    let by = if cursor.take_word("BY") {
        let every = cursor.find(|c| c.is_word("EVERY"));
        let by = Rewriter::plain_expr(cursor.until(&every), "the time column")?;
        cursor.jump(&every);
        Some(by)
    } else {
        None
    };
    cursor.expect_word("EVERY", "before the granularities")?;
    let mut granularities = vec![cursor.ident("a granularity such as SECONDS")?];
    let range = take_ellipsis(cursor);
    if range {
        granularities.push(cursor.ident("the last granularity")?);
    } else {
        while cursor.take(&Token::Comma) {
            granularities.push(cursor.ident("a granularity such as SECONDS")?);
        }
    }
    Ok(StatementKind::CreateAggregation(CreateAggregation {
        name,
        options,
        query,
        by,
        granularities,
        range,
        span: cursor.span_from(start),
    }))
}

/// `...` or `…`.
fn take_ellipsis(cursor: &mut Cursor<'_>) -> bool {
    if cursor.take(&Token::Char('…')) {
        return true;
    }
    let dots = (0..3).all(|n| *cursor.peek_nth(n) == Token::Period);
    if dots {
        (0..3).for_each(|_| cursor.advance());
    }
    dots
}
