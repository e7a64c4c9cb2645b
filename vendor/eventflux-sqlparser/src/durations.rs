//! Durations: `5 MINUTES`, `1 hour 30 min`, `INTERVAL '5' MINUTE`.
//!
//! A number directly followed by a unit word is a duration wherever it stands, `5 m` as well as `5m`; several in a row
//! are one. So `SELECT 1 m` is a minute: an alias of a bare number that is spelled like a unit needs AS. Nothing but a
//! number token can begin a duration, so `e[3] s` and `f(3) d` keep their aliases.

use sqlparser::ast::{BinaryOperator, DateTimeField, Expr, Interval, UnaryOperator, Value, ValueWithSpan};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::error::{ParseError, nearest};
use crate::tokens::Cursor;

/// Spellings, canonical name, microseconds.
const UNITS: &[(&[&str], &str, i64)] = &[
    (&["ms", "millisecond", "milliseconds"], "milliseconds", 1_000),
    (&["s", "sec", "second", "seconds"], "seconds", 1_000_000),
    (&["m", "min", "minute", "minutes"], "minutes", 60_000_000),
    (&["h", "hour", "hours"], "hours", 3_600_000_000),
    (&["d", "day", "days"], "days", 86_400_000_000),
    (&["w", "week", "weeks"], "weeks", 604_800_000_000),
];

/// What to suggest for a misspelled unit.
const UNIT_WORDS: &[&str] = &[
    "milliseconds",
    "seconds",
    "minutes",
    "hours",
    "days",
    "weeks",
    "second",
    "minute",
    "hour",
];

/// Canonical name and length of a unit.
fn unit(word: &str) -> Option<(&'static str, i64)> {
    UNITS
        .iter()
        .find(|(names, ..)| names.iter().any(|name| name.eq_ignore_ascii_case(word)))
        .map(|(_, canonical, micros)| (*canonical, *micros))
}

/// A duration written as numbers and units.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Duration {
    /// `1 hours 30 minutes`.
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// The duration that starts here, if one does.
pub(crate) fn take(cursor: &mut Cursor<'_>) -> Option<Duration> {
    let start = cursor.span();
    let mut text = String::new();
    while let (Token::Number(number, false), Some(word)) = (cursor.peek(), cursor.word_at(1))
        && let Some((name, _)) = unit(&word.value)
    {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(number);
        text.push(' ');
        text.push_str(name);
        cursor.advance();
        cursor.advance();
    }
    (!text.is_empty()).then(|| Duration {
        text,
        span: cursor.span_from(start),
    })
}

impl Duration {
    /// The tokens `INTERVAL '…'`, both at the place of the duration.
    pub(crate) fn tokens(self, after_interval: bool) -> impl Iterator<Item = TokenWithSpan> {
        let keyword = (!after_interval).then(|| Token::make_keyword("INTERVAL"));
        let span = self.span;
        keyword
            .into_iter()
            .chain([Token::SingleQuotedString(self.text)])
            .map(move |token| TokenWithSpan { token, span })
    }
}

/// Refuses `5 PARSECS` where a duration is asked for.
pub(crate) fn check_unit(cursor: &Cursor<'_>) -> Result<(), ParseError> {
    let (Token::Number(..), Some(word)) = (cursor.peek(), cursor.word_at(1)) else {
        return Ok(());
    };
    if unit(&word.value).is_some() {
        return Ok(());
    }
    let mut at_unit = *cursor;
    at_unit.advance();
    let error = ParseError::syntax(format!("`{}` is not a unit of time", word.value), at_unit.span());
    Err(error.with_hint(suggestion(&word.value)))
}

/// What to write instead of a word that is not a unit.
pub(crate) fn suggestion(word: &str) -> String {
    match nearest(word, UNIT_WORDS) {
        Some(unit) => format!("did you mean {unit}?"),
        None => "units of time are milliseconds, seconds, minutes, hours, days, weeks".to_string(),
    }
}

/// The length of a constant duration in microseconds: an interval, a sum, difference or negation of such, or a bare
/// integer, which is milliseconds. `None` for anything else, also beyond the range of an `i64` and for months and years,
/// which have no fixed length.
///
/// ```
/// use eventflux_sqlparser::{duration_micros, parse_expr};
/// let micros = |text: &str| duration_micros(&parse_expr(text).unwrap());
/// assert_eq!(micros("1 hour 30 min"), Some(5_400_000_000));
/// assert_eq!(micros("INTERVAL '5' MINUTE + 10 s"), Some(310_000_000));
/// assert_eq!(micros("250"), Some(250_000));
/// assert_eq!(micros("ts"), None);
/// ```
pub fn duration_micros(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Nested(inner) => duration_micros(inner),
        Expr::Interval(interval) => interval_micros(interval),
        Expr::Value(ValueWithSpan {
            value: Value::Number(number, _),
            ..
        }) => number.parse::<i64>().ok()?.checked_mul(1_000),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => duration_micros(expr)?.checked_neg(),
        Expr::UnaryOp {
            op: UnaryOperator::Plus,
            expr,
        } => duration_micros(expr),
        Expr::BinaryOp { left, op, right } => {
            let (left, right) = (duration_micros(left)?, duration_micros(right)?);
            match op {
                BinaryOperator::Plus => left.checked_add(right),
                BinaryOperator::Minus => left.checked_sub(right),
                _ => None,
            }
        }
        _ => None,
    }
}

fn interval_micros(interval: &Interval) -> Option<i64> {
    if interval.last_field.is_some() {
        return None;
    }
    let text = literal(&interval.value)?;
    match &interval.leading_field {
        Some(field) => scaled(text.trim(), field_micros(field)?),
        None => text_micros(text),
    }
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text) | Value::Number(text, _),
            ..
        }) => Some(text),
        _ => None,
    }
}

fn field_micros(field: &DateTimeField) -> Option<i64> {
    match field {
        DateTimeField::Microsecond | DateTimeField::Microseconds => Some(1),
        DateTimeField::Week(None) => unit("week").map(|(_, micros)| micros),
        other => unit(&other.to_string()).map(|(_, micros)| micros),
    }
}

/// `1 hour 30 minutes`, `-2 days`, `1.5h`; a number without a unit is seconds, as in PostgreSQL.
fn text_micros(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let tail = tail.trim_start();
        let word_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (word, tail) = tail.split_at(word_end);
        let micros = match word {
            "" if tail.is_empty() => 1_000_000,
            word if word.eq_ignore_ascii_case("microseconds") => 1,
            word => unit(word)?.1,
        };
        total = total.checked_add(scaled(number, micros)?)?;
        rest = tail.trim_start();
    }
    Some(total)
}

/// A decimal number of units, to the microsecond, without passing through floating point.
fn scaled(number: &str, micros: i64) -> Option<i64> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Beyond 12 digits a fraction of a week is less than a microsecond.
    let fraction = &fraction[..fraction.len().min(12)];
    let part = match fraction {
        "" => 0,
        digits => {
            let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
            i64::try_from(digits.parse::<i128>().ok()? * i128::from(micros) / scale).ok()?
        }
    };
    let total = whole.checked_mul(micros)?.checked_add(part)?;
    if negative { total.checked_neg() } else { Some(total) }
}

#[cfg(test)]
mod tests {
    use super::{text_micros, unit};

    #[test]
    fn every_spelling_of_a_unit() {
        let table: &[(&str, i64)] = &[
            ("MS", 1_000),
            ("Second", 1_000_000),
            ("m", 60_000_000),
            ("hours", 3_600_000_000),
            ("d", 86_400_000_000),
            ("week", 604_800_000_000),
        ];
        for (word, micros) in table {
            assert_eq!(unit(word).map(|(_, m)| m), Some(*micros), "{word}");
        }
        assert_eq!(unit("year"), None);
    }

    #[test]
    fn interval_texts() {
        let table: &[(&str, Option<i64>)] = &[
            ("1 hour 30 minutes", Some(5_400_000_000)),
            ("1.5h", Some(5_400_000_000)),
            ("-2 s", Some(-2_000_000)),
            ("7", Some(7_000_000)),
            ("", None),
            ("1 month", None),
            ("5 5", None),
            ("99999999999999 weeks", None),
        ];
        for (text, micros) in table {
            assert_eq!(text_micros(text), *micros, "{text}");
        }
    }
}
