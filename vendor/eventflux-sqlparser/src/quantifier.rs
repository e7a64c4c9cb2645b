//! How often: `<n:m>`, `{n,m}`, `+`, `*`, `?`.

use sqlparser::tokenizer::Token;

use crate::ast::Quantifier;
use crate::error::ParseError;
use crate::tokens::Cursor;

/// The quantifier of a pattern element or group, if one comes next.
pub(crate) fn take(cursor: &mut Cursor<'_>) -> Result<Option<Quantifier>, ParseError> {
    if *cursor.peek() == Token::Lt {
        return angle(cursor).map(Some);
    }
    braces_or_sign(cursor)
}

/// `{n}`, `{n,}`, `{,m}`, `{n,m}`, `+`, `*`, `?`.
pub(crate) fn braces_or_sign(cursor: &mut Cursor<'_>) -> Result<Option<Quantifier>, ParseError> {
    let start = cursor.span();
    let (min, max) = match cursor.peek() {
        Token::Plus => (1, None),
        Token::Mul => (0, None),
        Token::Placeholder(sign) if sign == "?" => (0, Some(1)),
        Token::LBrace if *cursor.peek_nth(1) != Token::Minus => {
            let Some(mut inside) = cursor.group() else {
                return Ok(None);
            };
            let (min, max) = bounds(&mut inside, &Token::Comma)?;
            inside.expect_end("the quantifier")?;
            let span = cursor.span_from(start);
            return checked(Quantifier { min, max, span }).map(Some);
        }
        _ => return Ok(None),
    };
    cursor.advance();
    Ok(Some(Quantifier { min, max, span: start }))
}

/// `<n>`, `<n:>`, `<:m>`, `<n:m>`.
fn angle(cursor: &mut Cursor<'_>) -> Result<Quantifier, ParseError> {
    let start = cursor.span();
    cursor.advance();
    let (min, max) = bounds(cursor, &Token::Colon)?;
    cursor.expect(&Token::Gt, "at the end of the quantifier")?;
    checked(Quantifier {
        min,
        max,
        span: cursor.span_from(start),
    })
}

fn bounds(cursor: &mut Cursor<'_>, separator: &Token) -> Result<(u64, Option<u64>), ParseError> {
    const WHAT: &str = "a number of occurrences";
    let min = match cursor.peek() {
        Token::Number(..) => Some(cursor.count(WHAT)?),
        _ => None,
    };
    if cursor.take(separator) {
        let max = match cursor.peek() {
            Token::Number(..) => Some(cursor.count(WHAT)?),
            _ if min.is_none() => return Err(cursor.expected(WHAT)),
            _ => None,
        };
        return Ok((min.unwrap_or(0), max));
    }
    match min {
        Some(n) => Ok((n, Some(n))),
        None => Err(cursor.expected(WHAT)),
    }
}

fn checked(quantifier: Quantifier) -> Result<Quantifier, ParseError> {
    match quantifier.max {
        Some(0) => Err(ParseError::syntax("at most 0 occurrences is never", quantifier.span)),
        Some(max) if max < quantifier.min => Err(ParseError::syntax(
            format!("at least {} and at most {max} occurrences cannot be", quantifier.min),
            quantifier.span,
        )),
        _ => Ok(quantifier),
    }
}
