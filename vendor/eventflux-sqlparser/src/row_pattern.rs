//! The PATTERN of MATCH_RECOGNIZE.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Span, Token};

use crate::ast::{Quantifier, RowPattern, RowPatternKind, RowQuantifier};
use crate::error::ParseError;
use crate::quantifier;
use crate::tokens::Cursor;

/// What is between the parentheses of PATTERN; `place` is where they are.
pub(crate) fn parse(inside: Cursor<'_>, place: Span) -> Result<RowPattern, ParseError> {
    let mut inside = inside;
    if inside.is_empty() {
        return Ok(node(RowPatternKind::Empty, place));
    }
    let pattern = alternation(&mut inside)?;
    inside.expect_end("the pattern")?;
    Ok(pattern)
}

fn node(kind: RowPatternKind, span: Span) -> RowPattern {
    RowPattern {
        kind,
        quantifier: None,
        span,
    }
}

/// `a | b | c`.
fn alternation(cursor: &mut Cursor<'_>) -> Result<RowPattern, ParseError> {
    let start = cursor.span();
    let mut parts = vec![concatenation(cursor)?];
    while cursor.take(&Token::Pipe) {
        parts.push(concatenation(cursor)?);
    }
    Ok(collect(parts, RowPatternKind::Alternation, cursor.span_from(start)))
}

/// `a b c`.
fn concatenation(cursor: &mut Cursor<'_>) -> Result<RowPattern, ParseError> {
    let start = cursor.span();
    let mut parts = Vec::new();
    loop {
        if let Some(part) = joined_end(cursor, &mut parts)? {
            parts.push(part);
        } else if let Some(part) = quantified(cursor)? {
            parts.push(part);
        } else {
            break;
        }
    }
    if parts.is_empty() {
        return Err(cursor
            .expected("a variable")
            .with_hint("an empty alternative is written ()"));
    }
    Ok(collect(parts, RowPatternKind::Concat, cursor.span_from(start)))
}

fn quantified(cursor: &mut Cursor<'_>) -> Result<Option<RowPattern>, ParseError> {
    let start = cursor.span();
    match primary(cursor)? {
        Some(part) => with_quantifier(part, start, cursor).map(Some),
        None => Ok(None),
    }
}

/// `$A` and `$$`, which the tokenizer takes for one word: all but the last part go to `parts`, that is given with its quantifier.
fn joined_end(cursor: &mut Cursor<'_>, parts: &mut Vec<RowPattern>) -> Result<Option<RowPattern>, ParseError> {
    let Token::Placeholder(word) = cursor.peek() else {
        return Ok(None);
    };
    let name = word.trim_start_matches('$');
    let signs = word.len() - name.len();
    let starts_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if signs == 0 || signs + usize::from(starts_name) < 2 || !(name.is_empty() || starts_name) {
        return Ok(None);
    }
    let span = cursor.span();
    cursor.advance();
    let mut last = node(RowPatternKind::End, span);
    let mut before = signs - 1;
    if starts_name {
        let variable = Ident {
            value: name.to_string(),
            quote_style: None,
            span,
        };
        last = node(RowPatternKind::Variable(variable), span);
        before = signs;
    }
    parts.extend((0..before).map(|_| node(RowPatternKind::End, span)));
    with_quantifier(last, span, cursor).map(Some)
}

fn with_quantifier(mut part: RowPattern, start: Span, cursor: &mut Cursor<'_>) -> Result<RowPattern, ParseError> {
    let found = match any_number(cursor) {
        Some(found) => Some(found),
        None => quantifier::braces_or_sign(cursor)?,
    };
    if let Some(found) = found {
        let reluctant = cursor.take(&Token::Placeholder("?".to_string()));
        part.quantifier = Some(RowQuantifier {
            min: found.min,
            max: found.max,
            reluctant,
            span: cursor.span_from(found.span),
        });
        part.span = cursor.span_from(start);
    }
    Ok(part)
}

/// `{,}`, which is `*`.
fn any_number(cursor: &mut Cursor<'_>) -> Option<Quantifier> {
    let start = cursor.span();
    let comma = *cursor.peek() == Token::LBrace && *cursor.peek_nth(1) == Token::Comma;
    if !comma || *cursor.peek_nth(2) != Token::RBrace {
        return None;
    }
    cursor.skip();
    let span = cursor.span_from(start);
    Some(Quantifier {
        min: 0,
        max: None,
        span,
    })
}

fn primary(cursor: &mut Cursor<'_>) -> Result<Option<RowPattern>, ParseError> {
    let start = cursor.span();
    let kind = match cursor.peek() {
        Token::Word(_) if cursor.is_word("PERMUTE") && *cursor.peek_nth(1) == Token::LParen => {
            cursor.advance();
            permute(cursor)?
        }
        Token::Word(_) => RowPatternKind::Variable(cursor.ident("a variable")?),
        Token::Caret => {
            cursor.advance();
            RowPatternKind::Start
        }
        Token::Placeholder(sign) if sign == "$" => {
            cursor.advance();
            RowPatternKind::End
        }
        Token::LParen => match cursor.group() {
            Some(inside) if inside.is_empty() => RowPatternKind::Empty,
            Some(mut inside) => {
                let inner = alternation(&mut inside)?;
                inside.expect_end("the group")?;
                RowPatternKind::Group(Box::new(inner))
            }
            None => return Ok(None),
        },
        Token::LBrace if *cursor.peek_nth(1) == Token::Minus => {
            let Some(inside) = cursor.group() else { return Ok(None) };
            exclusion(inside)?
        }
        _ => return Ok(None),
    };
    Ok(Some(node(kind, cursor.span_from(start))))
}

/// Between the braces of `{- … -}`.
fn exclusion(inside: Cursor<'_>) -> Result<RowPatternKind, ParseError> {
    let mut inside = inside;
    inside.advance();
    let last = inside.find(|c| c.rest().len() == 1);
    if *last.peek() != Token::Minus {
        let end = inside.find(Cursor::is_empty);
        return Err(end.expected("`-}` at the end of the exclusion"));
    }
    let mut inside = inside.without_last();
    let inner = alternation(&mut inside)?;
    inside.expect_end("the exclusion")?;
    Ok(RowPatternKind::Exclude(Box::new(inner)))
}

/// `(a, b, …)` after PERMUTE.
fn permute(cursor: &mut Cursor<'_>) -> Result<RowPatternKind, ParseError> {
    let inside = cursor.expect_group("after PERMUTE")?;
    let parts = inside
        .split_commas()
        .into_iter()
        .map(|mut part| {
            let pattern = alternation(&mut part)?;
            part.expect_end("the permuted pattern")?;
            Ok(pattern)
        })
        .collect::<Result<Vec<_>, ParseError>>()?;
    if parts.is_empty() {
        return Err(inside.expected("the patterns to permute"));
    }
    Ok(RowPatternKind::Permute(parts))
}

/// One part stays itself, several become a node.
fn collect(mut parts: Vec<RowPattern>, make: fn(Vec<RowPattern>) -> RowPatternKind, span: Span) -> RowPattern {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return only;
    }
    node(make(parts), span)
}
