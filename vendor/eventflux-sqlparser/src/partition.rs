//! `PARTITION WITH (…) BEGIN … END`.

use sqlparser::tokenizer::{Span, Token};

use crate::ast::{Partition, PartitionKey, StatementKind};
use crate::error::ParseError;
use crate::options::with_options;
use crate::rewrite::Rewriter;
use crate::statement;
use crate::tokens::Cursor;

/// After PARTITION. The block reaches beyond its semicolons, so the cursor is the whole app's.
pub(crate) fn partition(cursor: &mut Cursor<'_>, start: Span) -> Result<StatementKind, ParseError> {
    cursor.expect_word("WITH", "after PARTITION")?;
    let inside = cursor.expect_group("after PARTITION WITH")?;
    if inside.is_empty() {
        return Err(inside.expected("a key").with_hint("such as symbol OF Trades"));
    }
    let keys = inside
        .split_commas()
        .into_iter()
        .map(key)
        .collect::<Result<Vec<_>, _>>()?;
    let begin = cursor.expect_word("BEGIN", "after the partition's keys")?;
    let mut body = Vec::new();
    loop {
        while cursor.take(&Token::SemiColon) {}
        if cursor.take_word("END") {
            break;
        }
        if cursor.is_empty() {
            return Err(
                ParseError::syntax("the partition's block is not closed", begin).with_hint("close it with END;")
            );
        }
        body.push(statement::in_block(cursor)?);
    }
    let options = with_options(cursor)?;
    Ok(StatementKind::Partition(Partition {
        keys,
        body,
        options,
        span: cursor.span_from(start),
    }))
}

fn key(part: Cursor<'_>) -> Result<PartitionKey, ParseError> {
    let span = part.span_of_rest();
    let of = part.find(|c| c.is_word("OF") && c.rest().len() == 2);
    if of.is_empty() {
        let end = of;
        return Err(end
            .expected("OF and a stream after the key")
            .with_hint("such as symbol OF Trades"));
    }
    let expr = Rewriter::plain_expr(part.until(&of), "a key")?;
    let mut of = of;
    of.advance();
    let stream = of.ident("a stream after OF")?;
    Ok(PartitionKey { expr, stream, span })
}
