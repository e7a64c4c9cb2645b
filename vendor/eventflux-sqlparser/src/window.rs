//! `WINDOW('kind', args)`, `WINDOW KIND(args)`, and the table functions that mean the same.

use sqlparser::ast::{Expr, Ident};
use sqlparser::tokenizer::{Span, Token};

use crate::ast::{RelationSource, WindowArg, WindowArgOrder, WindowSpec};
use crate::durations;
use crate::error::ParseError;
use crate::relation::split_inner;
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;

/// Whether a window of ours starts here: `WINDOW (` or `WINDOW KIND (`, not the standard `WINDOW w AS (…)`.
pub(crate) fn starts(cursor: &Cursor<'_>) -> bool {
    cursor.is_word("WINDOW")
        && (*cursor.peek_nth(1) == Token::LParen
            || (matches!(cursor.peek_nth(1), Token::Word(_)) && *cursor.peek_nth(2) == Token::LParen))
}

/// A table function, the kind it stands for and its arguments after the time column.
const TVFS: &[(&str, &str, &[&str])] = &[
    ("TUMBLE", "tumbling", &["size", "offset"]),
    ("HOP", "hop", &["slide", "size", "offset"]),
    ("CUMULATE", "cumulate", &["step", "size", "offset"]),
    ("SESSION", "session", &["gap"]),
];

type Tvf = (RelationSource, WindowSpec, Expr, Option<Expr>);

impl Rewriter {
    /// What follows the word WINDOW (or stands in its place in CREATE WINDOW): `('kind', args)` or `KIND(args)`.
    pub(crate) fn window_spec(&mut self, cursor: &mut Cursor<'_>, start: Span) -> Result<WindowSpec, ParseError> {
        if *cursor.peek() == Token::LParen {
            let inside = cursor.expect_group("after WINDOW")?;
            return self.quoted_kind(inside, cursor.span_from(start));
        }
        let kind = cursor.ident("a window kind")?;
        let inside = cursor.expect_group("after the window kind")?;
        let args = self.window_args(&inside.split_commas())?;
        Ok(WindowSpec {
            kind: kind.value.to_lowercase(),
            kind_span: kind.span,
            args,
            span: cursor.span_from(start),
        })
    }

    fn quoted_kind(&mut self, inside: Cursor<'_>, span: Span) -> Result<WindowSpec, ParseError> {
        let Token::SingleQuotedString(kind) = inside.peek() else {
            let error = inside.expected("a window kind in quotes");
            return Err(match inside.word() {
                Some(word) => error.with_hint(format!("write WINDOW('{}', …) or WINDOW {}(…)", word.value, word.value)),
                None => error.with_hint("such as WINDOW('length', 5)"),
            });
        };
        let kind_span = inside.span();
        let mut rest = inside;
        rest.advance();
        if !rest.is_empty() {
            rest.expect(&Token::Comma, "after the window kind")?;
            if rest.is_empty() {
                return Err(rest.expected("an argument after the comma"));
            }
        }
        let args = self.window_args(&rest.split_commas())?;
        Ok(WindowSpec {
            kind: kind.to_lowercase(),
            kind_span,
            args,
            span,
        })
    }

    fn window_args(&mut self, parts: &[Cursor<'_>]) -> Result<Vec<WindowArg>, ParseError> {
        parts.iter().map(|part| self.window_arg(*part)).collect()
    }

    fn window_arg(&mut self, part: Cursor<'_>) -> Result<WindowArg, ParseError> {
        let span = part.span_of_rest();
        let mut value = part;
        let named = matches!(part.peek(), Token::Word(_)) && matches!(part.peek_nth(1), Token::Eq | Token::RArrow);
        let name = if named { value.take_ident() } else { None };
        if named {
            value.advance();
        }
        let last = value.find(|c| c.rest().len() == 1);
        let order = match last.word() {
            Some(word) if last.pos() > value.pos() => match word.value.to_ascii_uppercase().as_str() {
                "ASC" => Some(WindowArgOrder::Asc),
                "DESC" => Some(WindowArgOrder::Desc),
                _ => None,
            },
            _ => None,
        };
        if order.is_some() {
            value = value.without_last();
        }
        durations::check_unit(&value)?;
        let value = self.expr(value, "an argument of the window")?;
        Ok(WindowArg {
            name,
            value,
            order,
            span,
        })
    }

    /// `TUMBLE(S, ts, size)`, `TUMBLE(TABLE S, DESCRIPTOR(ts), size)`, either also inside `TABLE(…)`.
    pub(crate) fn window_tvf(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Tvf>, ParseError> {
        let mut inner = *cursor;
        if cursor.is_word("TABLE") && *cursor.peek_nth(1) == Token::LParen {
            inner.advance();
            let Some(inside) = inner.group() else { return Ok(None) };
            let mut call = inside;
            let Some(found) = self.tvf_call(&mut call)? else {
                return Ok(None);
            };
            call.expect_end("the table function")?;
            cursor.jump(&inner);
            return Ok(Some(found));
        }
        self.tvf_call(cursor)
    }

    fn tvf_call(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Tvf>, ParseError> {
        let start = cursor.span();
        let Some(word) = cursor.word() else { return Ok(None) };
        let Some((_, kind, names)) = TVFS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&word.value)) else {
            return Ok(None);
        };
        if *cursor.peek_nth(1) != Token::LParen {
            return Ok(None);
        }
        cursor.advance();
        let inside = cursor.expect_group("after the window function")?;
        let parts = inside.split_commas();
        let (Some(input), Some(time)) = (parts.first(), parts.get(1)) else {
            return Err(inside
                .expected("a stream and its time column")
                .with_hint(format!("such as {}(S, ts, 5 SECONDS)", word.value.to_uppercase())));
        };
        let (source, filter, keys) = self.tvf_input(*input)?;
        let time_column = self.tvf_time(*time)?;
        let mut args = Vec::new();
        for (n, part) in parts.iter().skip(2).enumerate() {
            let mut arg = self.window_arg(*part)?;
            if arg.name.is_none() {
                let Some(name) = names.get(n) else {
                    return Err(ParseError::syntax(
                        format!("{} takes at most {} arguments", word.value, names.len() + 2),
                        arg.span,
                    ));
                };
                arg.name = Some(Ident::with_span(arg.span, *name));
            }
            args.push(arg);
        }
        args.extend(keys);
        let span = cursor.span_from(start);
        let spec = WindowSpec {
            kind: (*kind).to_string(),
            kind_span: start,
            args,
            span,
        };
        Ok(Some((source, spec, time_column, filter)))
    }

    /// `S`, `S[cond]`, `TABLE S [PARTITION BY keys]`, `DATA => TABLE S`.
    fn tvf_input(&mut self, part: Cursor<'_>) -> Result<(RelationSource, Option<Expr>, Vec<WindowArg>), ParseError> {
        let mut part = part;
        if matches!(part.peek_nth(1), Token::RArrow) {
            part.advance();
            part.advance();
        }
        part.take_word("TABLE");
        let fault = part.take(&Token::ExclamationMark);
        let (name, inner) = split_inner(part.ident("a stream")?);
        let filter = match part.peek() {
            Token::LBracket => match part.group() {
                Some(inside) => Some(self.expr(inside, "a condition")?),
                None => None,
            },
            _ => None,
        };
        let mut keys = Vec::new();
        if part.take_words(&["PARTITION", "BY"]) {
            let span = part.span_of_rest();
            let value = self.expr(part, "a key")?;
            keys.push(WindowArg {
                name: None,
                value,
                order: None,
                span,
            });
        } else {
            part.expect_end("the stream")?;
        }
        Ok((RelationSource::Stream { name, fault, inner }, filter, keys))
    }

    /// `ts`, `DESCRIPTOR(ts)`, `TIMECOL => DESCRIPTOR(ts)`.
    fn tvf_time(&mut self, part: Cursor<'_>) -> Result<Expr, ParseError> {
        let mut part = part;
        if matches!(part.peek_nth(1), Token::RArrow) {
            part.advance();
            part.advance();
        }
        if part.is_word("DESCRIPTOR") && *part.peek_nth(1) == Token::LParen {
            part.advance();
            let inside = part.expect_group("after DESCRIPTOR")?;
            part.expect_end("the time column")?;
            return self.expr(inside, "a time column");
        }
        self.expr(part, "a time column")
    }
}
