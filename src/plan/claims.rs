//! Conditions with `claims.<name>` in them: what somebody's token or key says stands there as a literal.
//!
//! A claim is a value and never becomes syntax: it is written as one literal, and so is every element of a list. Where it is not known
//! what the value would mean (it is missing, NULL, an object, a list that does not stand alone behind IN), there is no condition at all, and
//! who asks sees no rows.

use std::ops::Range;

use eventflux_sqlparser::{EventFluxDialect, LineIndex};
use serde_json::Value;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::error::{Code, Diagnostic};

/// How the name begins.
const CLAIMS: &str = "claims";

/// A condition and where claims stand in it.
#[derive(Debug, Clone)]
pub struct ClaimCondition {
    text: String,
    places: Vec<Place>,
}

/// Where a claim stands.
#[derive(Debug, Clone)]
struct Place {
    range: Range<usize>,
    /// The names between the dots after `claims`.
    path: Vec<String>,
    /// Whether it is all that stands between the brackets of IN.
    alone_in: bool,
}

impl ClaimCondition {
    /// Of a text. *Errors.* What is no SQL at all; `claims` without a name.
    pub fn new(text: &str) -> Result<Self, Diagnostic> {
        let dialect = EventFluxDialect::default();
        let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
        let tokens = tokens.map_err(|error| Diagnostic::new(Code::Lexical, error.to_string()))?;
        let is_space = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
        let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|token| !is_space(token)).collect();
        let index = LineIndex::new(text);
        let mut places = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let begins = word(&tokens, at).is_some_and(|word| word.eq_ignore_ascii_case(CLAIMS));
            if !begins || at > 0 && tokens[at - 1].token == Token::Period {
                at += 1;
                continue;
            }
            let (first, mut path) = (at, Vec::new());
            while tokens.get(at + 1).is_some_and(|token| token.token == Token::Period) {
                let Some(name) = word(&tokens, at + 2) else { break };
                path.push(name.to_string());
                at += 2;
            }
            if path.is_empty() {
                let error = Diagnostic::new(Code::Syntax, "'claims' needs a name behind it");
                return Err(error.hint("such as claims.account"));
            }
            let is =
                |at: Option<usize>, token: &Token| at.and_then(|at| tokens.get(at)).is_some_and(|t| t.token == *token);
            let in_list = first >= 2
                && word(&tokens, first - 2).is_some_and(|word| word.eq_ignore_ascii_case("in"))
                && is(first.checked_sub(1), &Token::LParen)
                && is(Some(at + 1), &Token::RParen);
            places.push(Place {
                range: index.offset(tokens[first].span.start)..index.offset(tokens[at].span.end),
                path,
                alone_in: in_list,
            });
            at += 1;
        }
        let text = text.to_string();
        Ok(ClaimCondition { text, places })
    }

    /// The claims that stand in it, each as the names between the dots.
    pub fn claims(&self) -> impl Iterator<Item = &[String]> {
        self.places.iter().map(|place| place.path.as_slice())
    }

    /// The condition with the claims of somebody; `None` if one of them is nothing that can stand there.
    pub fn bound(&self, claims: &dyn Fn(&[String]) -> Option<Value>) -> Option<String> {
        let mut text = String::with_capacity(self.text.len() + 16);
        let mut from = 0;
        for place in &self.places {
            text.push_str(self.text.get(from..place.range.start)?);
            text.push_str(&literals(&claims(&place.path)?, place.alone_in)?);
            from = place.range.end;
        }
        text.push_str(self.text.get(from..)?);
        Some(text)
    }
}

fn word(tokens: &[TokenWithSpan], at: usize) -> Option<&str> {
    match &tokens.get(at)?.token {
        Token::Word(word) => Some(&word.value),
        _ => None,
    }
}

/// A value as it is written in SQL.
fn literals(value: &Value, in_list: bool) -> Option<String> {
    match value {
        // Nothing is in an empty list, nor not in it as far as is known: who has no account sees no rows.
        Value::Array(items) if in_list && items.is_empty() => Some("NULL".to_string()),
        Value::Array(items) if in_list => {
            let items: Option<Vec<String>> = items.iter().map(literal).collect();
            Some(items?.join(", "))
        }
        value => literal(value),
    }
}

fn literal(value: &Value) -> Option<String> {
    match value {
        // In the language nothing but the quote means anything within quotes.
        Value::String(text) if !text.contains('\0') => Some(format!("'{}'", text.replace('\'', "''"))),
        Value::Bool(boolean) => Some(boolean.to_string().to_uppercase()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) if whole > i64::MIN => Some(format!("({whole})")),
            (None, Some(number)) if number.is_finite() => Some(format!("CAST('{number:e}' AS DOUBLE)")),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bound(condition: &str, claims: &Value) -> Option<String> {
        let lookup = |path: &[String]| {
            let found = path.iter().try_fold(claims, |value, name| value.get(name));
            found.cloned().filter(|value| !value.is_null())
        };
        ClaimCondition::new(condition).unwrap().bound(&lookup)
    }

    #[test]
    fn claims_are_literals() {
        let claims = json!({
            "a": "x' OR '1'='1", "b": "\\' OR 1=1 --", "n": -5, "f": 1.5, "t": true, "list": ["p", "q'r"], "none": [], "null": null,
            "o": {"p": "deep"}, "https://x/y": "url", "ö": "umlaut"
        });
        for (condition, expected) in [
            ("account = claims.a", Some("account = 'x'' OR ''1''=''1'")),
            ("account = claims.b", Some("account = '\\'' OR 1=1 --'")),
            (
                "n > claims.n AND f < CLAIMS.f",
                Some("n > (-5) AND f < CAST('1.5e0' AS DOUBLE)"),
            ),
            ("ok = claims.t", Some("ok = TRUE")),
            ("a IN (claims.list) OR b", Some("a IN ('p', 'q''r') OR b")),
            ("a NOT IN ( claims.none )", Some("a NOT IN ( NULL )")),
            ("'ö' = x AND a = claims.o.p", Some("'ö' = x AND a = 'deep'")),
            ("a = claims.\"https://x/y\"", Some("a = 'url'")),
            ("a = claims.ö\n  AND b = claims.t", Some("a = 'umlaut'\n  AND b = TRUE")),
            (
                "a = 'claims.a' AND \"x\".claims = 1",
                Some("a = 'claims.a' AND \"x\".claims = 1"),
            ),
            // Nothing that could stand there.
            ("a = claims.list", None),
            ("a IN (claims.list, 'x')", None),
            ("a = claims.missing OR TRUE", None),
            ("a = claims.null", None),
            ("a = claims.o", None),
        ] {
            assert_eq!(bound(condition, &claims).as_deref(), expected, "{condition}");
        }
        assert_eq!(bound("a = claims.x", &json!({"x": "a\0b"})), None);
        for wrong in ["a = claims", "a = claims.", "a = 'x", "claims = 1"] {
            assert!(ClaimCondition::new(wrong).is_err(), "{wrong}");
        }
        let condition = ClaimCondition::new("a = claims.a.b OR c = claims.d").unwrap();
        let claims: Vec<String> = condition.claims().map(|path| path.join(".")).collect();
        assert_eq!(claims, ["a.b", "d"]);
    }
}
