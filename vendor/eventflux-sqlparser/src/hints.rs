//! What would be right, guessed from where sqlparser stopped.

use sqlparser::tokenizer::{Token, TokenWithSpan};

/// A hint for an error at `tokens[at]`.
pub(crate) fn for_tokens(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    let found = tokens.get(at).map(|token| &token.token);
    let before = at
        .checked_sub(1)
        .and_then(|at| tokens.get(at))
        .map(|token| &token.token);
    match (before, found) {
        (_, Some(Token::Word(word))) if word.quote_style.is_none() => match word.value.to_ascii_uppercase().as_str() {
            "WINDOW" => Some("WINDOW(…) stands right after its stream, before JOIN, ON and WHERE".to_string()),
            "UNIDIRECTIONAL" => Some("UNIDIRECTIONAL stands after its stream and window".to_string()),
            "WHERE" | "GROUP" | "HAVING" | "ORDER" | "LIMIT" => {
                Some("the order is SELECT … FROM … WHERE … GROUP BY … HAVING … ORDER BY … LIMIT".to_string())
            }
            _ if matches!(before, Some(Token::Number(..))) => {
                Some("a duration is a number and milliseconds, seconds, minutes, hours, days or weeks".to_string())
            }
            _ if is_value(before) => Some(format!("is a comma or an operator missing before `{}`?", word.value)),
            _ => None,
        },
        (Some(Token::Comma), _) => Some("remove the comma, or say what follows it".to_string()),
        (before, Some(Token::Number(..) | Token::SingleQuotedString(_))) if is_value(before) => {
            Some("is a comma or an operator missing?".to_string())
        }
        _ => None,
    }
}

fn is_value(token: Option<&Token>) -> bool {
    matches!(
        token,
        Some(Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::RBracket)
    )
}
