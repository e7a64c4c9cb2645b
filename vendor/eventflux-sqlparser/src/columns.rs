//! Column lists and types.

use sqlparser::ast::{DataType, Ident};
use sqlparser::tokenizer::{Span, Token};

use crate::ast::{ColumnDef, Watermark};
use crate::error::ParseError;
use crate::rewrite::Rewriter;
use crate::sql;
use crate::tokens::Cursor;

/// What stands between the parentheses of a stream, table or window.
#[derive(Default)]
pub(crate) struct ColumnList {
    pub(crate) columns: Vec<ColumnDef>,
    pub(crate) primary_key: Vec<Ident>,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) indexes: Vec<Vec<Ident>>,
}

/// `(name TYPE …, …)` with PRIMARY KEY, WATERMARK and INDEX entries.
pub(crate) fn column_list(cursor: &mut Cursor<'_>, owner: &str) -> Result<ColumnList, ParseError> {
    let place = cursor.span();
    let mut inside = cursor.expect_group(&format!("and the columns of the {owner}"))?;
    if inside.is_empty() {
        return Err(
            ParseError::syntax(format!("the {owner} has no columns"), cursor.span_from(place))
                .with_hint("such as (symbol STRING, price DOUBLE)"),
        );
    }
    let mut list = ColumnList::default();
    loop {
        entry(&mut inside, &mut list)?;
        if inside.is_empty() {
            break;
        }
        if !inside.take(&Token::Comma) {
            return Err(inside
                .expected("`,` or `)` after the column")
                .with_hint("is a comma missing between two columns?"));
        }
    }
    if list.columns.is_empty() {
        return Err(ParseError::syntax(
            format!("the {owner} has no columns"),
            cursor.span_from(place),
        ));
    }
    Ok(list)
}

fn entry(cursor: &mut Cursor<'_>, list: &mut ColumnList) -> Result<(), ParseError> {
    let start = cursor.span();
    if cursor.is_words(&["WATERMARK", "FOR"]) {
        cursor.take_words(&["WATERMARK", "FOR"]);
        let column = cursor.ident("the event-time column")?;
        cursor.expect_word("AS", "after the event-time column")?;
        let end = cursor.find(|c| *c.peek() == Token::Comma);
        let expr = Rewriter::plain_expr(cursor.until(&end), "the watermark's expression")?;
        cursor.jump(&end);
        let span = cursor.span_from(start);
        if list.watermark.is_some() {
            return Err(ParseError::syntax("there is already a WATERMARK", span));
        }
        list.watermark = Some(Watermark { column, expr, span });
        return Ok(());
    }
    if cursor.is_words(&["PRIMARY", "KEY"]) && *cursor.peek_nth(2) == Token::LParen {
        cursor.take_words(&["PRIMARY", "KEY"]);
        let key = ident_list(cursor, "a column of the key")?;
        return set_key(list, key, cursor.span_from(start));
    }
    if cursor.is_word("INDEX") && *cursor.peek_nth(1) == Token::LParen {
        cursor.advance();
        list.indexes.push(ident_list(cursor, "a column of the index")?);
        return Ok(());
    }
    let column = column(cursor)?;
    if column.primary_key {
        set_key(list, vec![column.name.clone()], column.span)?;
    }
    list.columns.push(column);
    Ok(())
}

fn set_key(list: &mut ColumnList, key: Vec<Ident>, span: Span) -> Result<(), ParseError> {
    if !list.primary_key.is_empty() {
        return Err(ParseError::syntax("there is already a PRIMARY KEY", span)
            .with_hint("a key of several columns is written PRIMARY KEY (a, b)"));
    }
    list.primary_key = key;
    Ok(())
}

/// `(a, b, …)`, at least one.
pub(crate) fn ident_list(cursor: &mut Cursor<'_>, what: &str) -> Result<Vec<Ident>, ParseError> {
    let inside = cursor.expect_group("")?;
    if inside.is_empty() {
        return Err(inside.expected(what));
    }
    inside
        .split_commas()
        .into_iter()
        .map(|mut part| {
            let ident = part.ident(what)?;
            part.expect_end("the name")?;
            Ok(ident)
        })
        .collect()
}

fn column(cursor: &mut Cursor<'_>) -> Result<ColumnDef, ParseError> {
    let start = cursor.span();
    let name = cursor.ident("a column")?;
    let (data_type, type_span) = data_type(cursor, &format!("the type of `{}`", name.value))?;
    let mut column = ColumnDef {
        name,
        data_type,
        type_span,
        nullable: true,
        primary_key: false,
        default: None,
        span: start,
    };
    loop {
        if cursor.take_words(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if cursor.take_words(&["PRIMARY", "KEY"]) {
            column.primary_key = true;
        } else if cursor.take_word("DEFAULT") {
            let end = cursor.find(ends_default);
            column.default = Some(Rewriter::plain_expr(cursor.until(&end), "a default")?);
            cursor.jump(&end);
        } else if !cursor.take_word("NULL") {
            break;
        }
    }
    column.span = cursor.span_from(start);
    Ok(column)
}

fn ends_default(cursor: &Cursor<'_>) -> bool {
    *cursor.peek() == Token::Comma || cursor.is_words(&["NOT", "NULL"]) || cursor.is_words(&["PRIMARY", "KEY"])
}

/// A type: everything up to what can follow one.
pub(crate) fn data_type(cursor: &mut Cursor<'_>, what: &str) -> Result<(DataType, Span), ParseError> {
    let start = *cursor;
    if !matches!(cursor.peek(), Token::Word(_)) || ends_type(cursor) {
        return Err(cursor
            .expected(what)
            .with_hint("types are INT, LONG, FLOAT, DOUBLE, STRING, BOOL, TIMESTAMP, DECIMAL(p, s), ARRAY<T>, …"));
    }
    let mut open = 0_usize;
    let mut end = *cursor;
    while !end.is_empty() {
        match end.peek() {
            Token::Lt => open += 1,
            Token::Gt => open = open.saturating_sub(1),
            Token::ShiftRight => open = open.saturating_sub(2),
            Token::LParen | Token::LBracket | Token::Word(_) | Token::Colon => {}
            Token::Comma if open > 0 => {}
            _ => break,
        }
        if open == 0 && ends_type(&end) {
            break;
        }
        end.skip();
    }
    let part = start.until(&end);
    let span = part.span_of_rest();
    let data_type = sql::parse(part.rest().to_vec(), span, |parser| parser.parse_data_type())?;
    cursor.jump(&end);
    Ok((data_type, span))
}

fn ends_type(cursor: &Cursor<'_>) -> bool {
    ["NOT", "NULL", "PRIMARY", "DEFAULT", "RETURNS", "LANGUAGE", "AS"]
        .iter()
        .any(|word| cursor.is_word(word))
}
