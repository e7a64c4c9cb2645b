//! `LIKE … ESCAPE` and `SIMILAR TO` in the terms of the engine underneath, which knows LIKE with `\` and regular expressions.

use std::ops::ControlFlow;

use eventflux_sqlparser::Query;
use eventflux_sqlparser::walk::WalkMut;
use sqlparser::ast::{BinaryOperator, Expr, Spanned, Value, ValueWithSpan, VisitorMut};

use super::text::Text;
use crate::error::{Code, Diagnostic};

/// What escapes where nothing is said.
const DEFAULT_ESCAPE: char = '\\';

/// Rewrites the conditions of a query, those of its relations included.
pub fn rewrite(query: &mut Query, text: &Text) -> Result<(), Diagnostic> {
    let mut matches = Matches { text };
    let filters = query
        .relations
        .iter_mut()
        .filter_map(|relation| relation.filter.as_mut());
    let mut flow = WalkMut::walk_mut(&mut *query.body, &mut matches);
    for filter in filters {
        if flow.is_continue() {
            flow = WalkMut::walk_mut(filter, &mut matches);
        }
    }
    match flow {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Rewrites one condition.
pub fn rewrite_expr(expr: &mut Expr, text: &Text) -> Result<(), Diagnostic> {
    match WalkMut::walk_mut(expr, &mut Matches { text }) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Matches<'a> {
    text: &'a Text<'a>,
}

impl VisitorMut for Matches<'_> {
    type Break = Box<Diagnostic>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let rewritten = match expr {
            Expr::Like {
                pattern, escape_char, ..
            }
            | Expr::ILike {
                pattern, escape_char, ..
            } if escape_char.is_some() => like(pattern, escape_char),
            Expr::SimilarTo { .. } => similar(expr),
            _ => Ok(()),
        };
        match rewritten {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(self.text.at(error, expr.span()))),
        }
    }
}

/// Writes the pattern of a LIKE with `\` for its escape character.
fn like(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Result<(), Diagnostic> {
    let escape_char = escape_char(escape.as_ref())?;
    if escape_char == Some(DEFAULT_ESCAPE) {
        return Ok(());
    }
    let text = literal(pattern, "the pattern of LIKE … ESCAPE")?;
    let mut with_backslash = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape_char {
            let escaped = chars.next().ok_or_else(|| ends_in_escape(text))?;
            with_backslash.extend([DEFAULT_ESCAPE, escaped]);
        } else if c == DEFAULT_ESCAPE {
            with_backslash.extend([DEFAULT_ESCAPE, DEFAULT_ESCAPE]);
        } else {
            with_backslash.push(c);
        }
    }
    *text = with_backslash;
    *escape = None;
    Ok(())
}

/// Turns SIMILAR TO into a regular expression over the whole text.
fn similar(expr: &mut Expr) -> Result<(), Diagnostic> {
    let Expr::SimilarTo {
        negated,
        expr: value,
        pattern,
        escape_char: escape,
    } = expr
    else {
        return Ok(());
    };
    let escape_char = escape_char(escape.as_ref())?;
    let text = literal(pattern, "the pattern of SIMILAR TO")?;
    *text = regular_expression(text, escape_char)?;
    let op = if *negated {
        BinaryOperator::PGRegexNotMatch
    } else {
        BinaryOperator::PGRegexMatch
    };
    *expr = Expr::BinaryOp {
        left: value.clone(),
        op,
        right: pattern.clone(),
    };
    Ok(())
}

fn regular_expression(pattern: &str, escape: Option<char>) -> Result<String, Diagnostic> {
    let mut regex = String::from("^(?s:");
    let mut chars = pattern.chars();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        match c {
            _ if Some(c) == escape => {
                let escaped = chars.next().ok_or_else(|| ends_in_escape(pattern))?;
                if !escaped.is_alphanumeric() {
                    regex.push('\\');
                }
                regex.push(escaped);
            }
            '[' if !in_brackets => {
                in_brackets = true;
                regex.push(c);
            }
            ']' if in_brackets => {
                in_brackets = false;
                regex.push(c);
            }
            '^' if in_brackets && regex.ends_with('[') => regex.push(c),
            '[' | '\\' | '&' | '~' | '^' if in_brackets => regex.extend(['\\', c]),
            _ if in_brackets => regex.push(c),
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '.' | '^' | '$' | '\\' => regex.extend(['\\', c]),
            _ => regex.push(c),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

/// The character that escapes; `None` for `ESCAPE ''`, with which none does.
fn escape_char(given: Option<&ValueWithSpan>) -> Result<Option<char>, Diagnostic> {
    let Some(given) = given else {
        return Ok(Some(DEFAULT_ESCAPE));
    };
    let Value::SingleQuotedString(text) = &given.value else {
        return Err(Diagnostic::new(Code::Type, "ESCAPE takes one character in quotes"));
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => Err(Diagnostic::new(Code::Type, "ESCAPE takes one character in quotes")),
    }
}

fn literal<'e>(expr: &'e mut Expr, what: &str) -> Result<&'e mut String, Diagnostic> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text),
            ..
        }) => Ok(text),
        _ => Err(Diagnostic::new(
            Code::Unsupported,
            format!("not supported yet: {what} other than as text in quotes"),
        )),
    }
}

fn ends_in_escape(pattern: &str) -> Diagnostic {
    Diagnostic::new(
        Code::Type,
        format!("the pattern '{pattern}' ends in its escape character"),
    )
}

#[cfg(test)]
mod tests {
    use super::regular_expression;

    #[test]
    fn patterns_of_similar_to() {
        let cases = [
            ("(a|b)%", "^(?s:(a|b).*)$"),
            ("a.b_", r"^(?s:a\.b.)$"),
            ("[^a-c]+", "^(?s:[^a-c]+)$"),
            (r"50\%", r"^(?s:50\%)$"),
            ("x{2,3}", "^(?s:x{2,3})$"),
        ];
        for (pattern, regex) in cases {
            assert_eq!(
                regular_expression(pattern, Some('\\')).ok().as_deref(),
                Some(regex),
                "{pattern}"
            );
        }
    }
}
