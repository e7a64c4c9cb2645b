//! `WITH (key = value, …)`, MAP and SINK: the same list of options.

use sqlparser::tokenizer::{Span, Token};

use crate::ast::{OptionDef, OptionValue, OptionValueKind};
use crate::durations;
use crate::error::ParseError;
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;

/// `WITH (…)`, if it comes next.
pub(crate) fn with_options(cursor: &mut Cursor<'_>) -> Result<Vec<OptionDef>, ParseError> {
    if cursor.take_word("WITH") {
        options(cursor, "after WITH")
    } else {
        Ok(Vec::new())
    }
}

/// `(key = value, …)`.
pub(crate) fn options(cursor: &mut Cursor<'_>, place: &str) -> Result<Vec<OptionDef>, ParseError> {
    let inside = cursor.expect_group(place)?;
    inside.split_commas().into_iter().map(option).collect()
}

fn option(part: Cursor<'_>) -> Result<OptionDef, ParseError> {
    let mut part = part;
    let (key, key_span) = key(&mut part)?;
    if !part.take(&Token::Eq) {
        let error = part.expected(&format!("`=` after the option `{key}`"));
        return Err(error.with_hint(format!("write {key} = 'value', options separated by commas")));
    }
    let value_span = part.span_of_rest();
    let value = value(part, &key)?;
    Ok(OptionDef {
        key,
        key_span,
        value,
        value_span,
    })
}

/// A quoted key, or words joined by dots and dashes.
fn key(part: &mut Cursor<'_>) -> Result<(String, Span), ParseError> {
    let start = part.span();
    match part.peek() {
        Token::SingleQuotedString(text) => {
            let text = text.clone();
            part.advance();
            return Ok((text, start));
        }
        Token::Word(word) if word.quote_style.is_some() => {
            let text = word.value.clone();
            part.advance();
            return Ok((text, start));
        }
        Token::Word(_) => {}
        _ => return Err(part.expected("an option")),
    }
    let text = bare(part);
    Ok((text, part.span_from(start)))
}

/// Words and numbers joined by dots, dashes and colons, as one text; neighbours must touch.
fn bare(part: &mut Cursor<'_>) -> String {
    let mut text = String::new();
    let mut end = part.span().start;
    while let Some(token) = part.raw(0) {
        if token.span.start != end {
            break;
        }
        match &token.token {
            Token::Word(word) if word.quote_style.is_none() => text.push_str(&word.value),
            Token::Number(number, _) => text.push_str(number),
            Token::Period => text.push('.'),
            Token::Minus => text.push('-'),
            Token::Colon => text.push(':'),
            Token::Div => text.push('/'),
            _ => break,
        }
        end = token.span.end;
        part.advance();
    }
    text
}

fn value(part: Cursor<'_>, key: &str) -> Result<OptionValue, ParseError> {
    let mut rest = part;
    let value = match part.peek() {
        Token::SingleQuotedString(text) => {
            rest.advance();
            OptionValue {
                text: text.clone(),
                kind: OptionValueKind::String,
            }
        }
        Token::Word(word) if word.quote_style.is_some() => {
            rest.advance();
            OptionValue {
                text: word.value.clone(),
                kind: OptionValueKind::String,
            }
        }
        Token::Word(word) if word.value.eq_ignore_ascii_case("INTERVAL") => {
            return duration(part);
        }
        Token::Word(word) => {
            let text = bare(&mut rest);
            let kind = match word.value.to_ascii_lowercase().as_str() {
                "true" | "false" if text == word.value => OptionValueKind::Bool,
                _ => OptionValueKind::Word,
            };
            OptionValue { text, kind }
        }
        Token::Number(..) | Token::Minus | Token::Plus => {
            let sign = if rest.take(&Token::Minus) { "-" } else { "" };
            rest.take(&Token::Plus);
            let Token::Number(number, _) = rest.peek() else {
                return Err(rest.expected("a number"));
            };
            if rest.word_at(1).is_some() {
                return duration(part);
            }
            rest.advance();
            OptionValue {
                text: format!("{sign}{number}"),
                kind: OptionValueKind::Number,
            }
        }
        _ => return Err(part.expected(&format!("a value for the option `{key}`"))),
    };
    if !rest.is_empty() {
        return Err(rest
            .expected("a comma or `)` after the option")
            .with_hint("options are separated by commas; a value of several words needs quotes"));
    }
    Ok(value)
}

fn duration(part: Cursor<'_>) -> Result<OptionValue, ParseError> {
    durations::check_unit(&part)?;
    let mut rest = part;
    let written = durations::take(&mut rest).filter(|_| rest.is_empty());
    let expr = Rewriter::plain_duration(part)?;
    let Some(micros) = durations::duration_micros(&expr) else {
        return Err(
            ParseError::syntax("this is not a constant duration", part.span_of_rest()).with_hint("such as 5 SECONDS"),
        );
    };
    let text = match written {
        Some(written) => written.text,
        None => format!("{} milliseconds", micros / 1_000),
    };
    Ok(OptionValue {
        text,
        kind: OptionValueKind::Duration(micros),
    })
}
