//! What went wrong, where, and what would be right.

use std::fmt;

use sqlparser::tokenizer::Span;

/// Why a text is not an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Where. Ends are exclusive; turn it into a byte range with [`crate::LineIndex`].
    pub span: Span,
    /// What would be right, where that is known.
    pub hint: Option<String>,
    /// Which stage refused the text.
    pub kind: ParseErrorKind,
}

/// Which stage refused the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The characters do not form tokens, such as an unterminated string.
    Lexical,
    /// The tokens do not form a statement.
    Syntax,
    /// The text is within the grammar but beyond one of the [`crate::limits`].
    Limit,
}

impl ParseError {
    pub(crate) fn syntax(message: impl Into<String>, span: Span) -> Self {
        Self::new(ParseErrorKind::Syntax, message, span)
    }

    pub(crate) fn limit(message: impl Into<String>, span: Span) -> Self {
        Self::new(ParseErrorKind::Limit, message, span)
    }

    pub(crate) fn new(kind: ParseErrorKind, message: impl Into<String>, span: Span) -> Self {
        Self {
            message: message.into(),
            span,
            hint: None,
            kind,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.span.start;
        write!(f, "{} at line {}, column {}", self.message, at.line, at.column)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.to_ascii_lowercase().chars().take(40).collect();
    candidates
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(d, candidate)| *d <= 1 + candidate.len() / 4)
        .min_by_key(|(d, _)| *d)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, ASCII case ignored.
fn distance(word: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.to_ascii_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=candidate.len()).collect();
    for (i, a) in word.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in candidate.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[candidate.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_finds_what_was_meant() {
        let table: &[(&str, &[&str], Option<&str>)] = &[
            ("STREM", &["STREAM", "TABLE"], Some("STREAM")),
            ("tabel", &["STREAM", "TABLE"], Some("TABLE")),
            ("xyz", &["STREAM", "TABLE"], None),
            ("minuts", &["seconds", "minutes"], Some("minutes")),
        ];
        for (word, candidates, expected) in table {
            assert_eq!(nearest(word, candidates), *expected, "{word}");
        }
    }
}
