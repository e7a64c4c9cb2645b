//! The app's text: from the parser's spans to the byte ranges of diagnostics.

use std::ops::Range;

use eventflux_sqlparser::{LineIndex, ParseError, ParseErrorKind};
use sqlparser::tokenizer::Span;

use crate::error::{Code, Diagnostic, SourceText};

/// The text being compiled.
pub struct Text<'t> {
    source: SourceText,
    index: LineIndex<'t>,
}

impl<'t> Text<'t> {
    /// Of a source; `text` is the text in it.
    pub fn new(source: &'t SourceText) -> Self {
        Text {
            source: source.clone(),
            index: LineIndex::new(&source.text),
        }
    }

    /// What is being compiled.
    pub fn source(&self) -> &SourceText {
        &self.source
    }

    /// The bytes of a span; `None` for the empty span of things that were not written.
    pub fn range(&self, span: Span) -> Option<Range<usize>> {
        (span != Span::empty()).then(|| self.index.range(span))
    }

    /// What stands there.
    pub fn slice(&self, span: Span) -> &'t str {
        self.index.text(span)
    }

    /// The diagnostic, pointing at a span unless it points somewhere already.
    pub fn at(&self, mut error: Diagnostic, span: Span) -> Diagnostic {
        if error.span.is_none() {
            error.span = self.range(span);
        }
        self.finish(error)
    }

    /// The diagnostic with this text.
    pub fn finish(&self, mut error: Diagnostic) -> Diagnostic {
        error.source.get_or_insert_with(|| self.source.clone());
        error
    }

    /// A diagnostic from the parser's error.
    pub fn parse_error(&self, error: ParseError) -> Diagnostic {
        let code = match error.kind {
            ParseErrorKind::Lexical => Code::Lexical,
            ParseErrorKind::Limit => Code::Limit,
            _ if about_durations(&error) => Code::Duration,
            _ => Code::Syntax,
        };
        let mut diagnostic = Diagnostic::new(code, error.message);
        diagnostic.hint = error.hint;
        self.at(diagnostic, error.span)
    }
}

fn about_durations(error: &ParseError) -> bool {
    let hint = error.hint.as_deref().unwrap_or_default();
    error.message.contains("duration") || error.message.contains("unit of time") || hint.contains("units of time")
}
