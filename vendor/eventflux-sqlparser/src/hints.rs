//! What would be right, guessed from where sqlparser stopped.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::durations;
use crate::statement::starts_statement;

const WINDOW_PLACE: &str = "WINDOW(…) stands right after its stream, before JOIN, ON and WHERE";

/// A hint for an error at `tokens[at]`.
pub(crate) fn for_tokens(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    let found = tokens.get(at).map(|token| &token.token);
    let before = at
        .checked_sub(1)
        .and_then(|at| tokens.get(at))
        .map(|token| &token.token);
    match (before, found) {
        (_, Some(Token::Word(word))) if word.quote_style.is_none() => for_word(before, &word.value),
        (Some(Token::Word(word)), Some(Token::LParen)) if word.value.eq_ignore_ascii_case("WINDOW") => {
            Some(WINDOW_PLACE.to_string())
        }
        (Some(Token::Comma), _) => Some("remove the comma, or say what follows it".to_string()),
        (before, Some(Token::Number(..) | Token::SingleQuotedString(_))) if is_value(before) => {
            Some("is a comma or an operator missing?".to_string())
        }
        _ => None,
    }
}

fn for_word(before: Option<&Token>, word: &str) -> Option<String> {
    match word.to_ascii_uppercase().as_str() {
        "WINDOW" => Some(WINDOW_PLACE.to_string()),
        "UNIDIRECTIONAL" => Some("UNIDIRECTIONAL stands after its stream and window".to_string()),
        "WHERE" | "GROUP" | "HAVING" | "ORDER" | "LIMIT" => {
            Some("the order is SELECT … FROM … WHERE … GROUP BY … HAVING … ORDER BY … LIMIT".to_string())
        }
        _ if matches!(before, Some(Token::Number(..))) => Some(durations::suggestion(word)),
        _ if starts_statement(word) => Some(format!("is a `;` missing before {word}?")),
        _ if is_value(before) => Some(format!("is a comma or an operator missing before `{word}`?")),
        _ => None,
    }
}

fn is_value(token: Option<&Token>) -> bool {
    matches!(
        token,
        Some(Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::RBracket)
    )
}
