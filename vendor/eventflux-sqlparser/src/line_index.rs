//! From sqlparser's lines and columns to bytes.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span};

/// Finds the bytes of a text that a [`Span`] means. Lines and columns count from 1, columns in characters.
#[derive(Debug)]
pub struct LineIndex<'t> {
    text: &'t str,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
    /// A column is then an offset, and need not be counted out.
    ascii: bool,
}

impl<'t> LineIndex<'t> {
    /// Finds the lines of the text.
    pub fn new(text: &'t str) -> Self {
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            let end = start + line.len();
            lines.push(Line {
                start,
                end,
                ascii: line.is_ascii(),
            });
            start = end + 1;
        }
        Self { text, lines }
    }

    /// The byte where a location stands; the end of its line or of the text where it lies beyond.
    pub fn offset(&self, location: Location) -> usize {
        let number = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(line) = self.lines.get(number) else {
            return self.text.len();
        };
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        if line.ascii {
            return line.start.saturating_add(column).min(line.end);
        }
        let text = &self.text[line.start..line.end];
        text.char_indices()
            .nth(column)
            .map_or(line.end, |(at, _)| line.start + at)
    }

    /// The bytes of a span.
    pub fn range(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }

    /// The text of a span.
    pub fn text(&self, span: Span) -> &'t str {
        &self.text[self.range(span)]
    }

    /// The line with this number, without its end.
    pub fn line(&self, number: u64) -> Option<&'t str> {
        let number = usize::try_from(number).ok()?.checked_sub(1)?;
        self.lines
            .get(number)
            .map(|line| self.text[line.start..line.end].trim_end_matches('\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        let index = LineIndex::new("ab\nçdé f\n");
        let at = |line, column| Location { line, column };
        assert_eq!(index.text(Span::new(at(2, 2), at(2, 4))), "dé");
        assert_eq!(index.text(Span::new(at(1, 1), at(1, 9))), "ab");
        assert_eq!(index.text(Span::new(at(9, 1), at(9, 9))), "");
        assert_eq!(index.line(2), Some("çdé f"));
    }
}
