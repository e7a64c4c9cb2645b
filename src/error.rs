//! Errors: what went wrong, where, and what would be right.
//!
//! Three kinds, by who has to act:
//! - [`Diagnostic`]: the app (or its configuration) is wrong; nothing has started. It carries a stable code,
//!   the place in the source text and a hint.
//! - [`RowError`]: one event is wrong; it alone is affected and its stream's error strategy decides.
//! - the other variants of [`Error`]: the running app cannot go on, or the API was used wrongly.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::event::Micros;

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong outside of single events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The app does not compile.
    #[error("{0}")]
    Compile(Diagnostic),
    /// The app failed while running and has stopped.
    #[error("{0}")]
    Failed(String),
    /// Reading or writing something outside failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the name of the file.
        context: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The app has stopped; nothing can be sent to or asked of it any more.
    #[error("the app has stopped")]
    Closed,
    /// The API was called with something that does not fit the app.
    #[error("{0}")]
    Usage(String),
    /// A sink refuses an event for what it holds: trying again would not help.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// An [`Error::Failed`] from anything that can be printed.
    pub fn failed(message: impl fmt::Display) -> Self {
        Error::Failed(message.to_string())
    }

    /// An [`Error::Refused`] from anything that can be printed.
    pub fn refused(message: impl fmt::Display) -> Self {
        Error::Refused(message.to_string())
    }

    /// An [`Error::Usage`] from anything that can be printed.
    pub fn usage(message: impl fmt::Display) -> Self {
        Error::Usage(message.to_string())
    }

    /// An [`Error::Io`]; `context` says what was being done.
    pub fn io(context: impl fmt::Display, source: std::io::Error) -> Self {
        Error::Io {
            context: context.to_string(),
            source,
        }
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Error::Compile(diagnostic)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::Failed(error.to_string())
    }
}

impl From<datafusion_common::DataFusionError> for Error {
    fn from(error: datafusion_common::DataFusionError) -> Self {
        Error::Failed(error.strip_backtrace())
    }
}

/// Stable codes of compile errors; `docs/errors.md` lists them with examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// E0001: the text is not made of valid tokens (unterminated string, stray character).
    Lexical,
    /// E0002: the tokens do not form a statement.
    Syntax,
    /// E0003: the text is larger or deeper than the limits allow.
    Limit,
    /// E0100: no stream, table or view has that name.
    UnknownStream,
    /// E0101: no column has that name.
    UnknownColumn,
    /// E0102: no function has that name.
    UnknownFunction,
    /// E0103: a name is used twice where it must be unique.
    Duplicate,
    /// E0104: several things could be meant.
    Ambiguous,
    /// E0105: no data type has that name.
    UnknownType,
    /// E0200: the types of an expression do not fit.
    Type,
    /// E0201: a query's columns do not fit its target.
    TargetMismatch,
    /// E0202: a duration is not one.
    Duration,
    /// E0300: no connector has that name.
    UnknownConnector,
    /// E0301: no format has that name.
    UnknownFormat,
    /// E0302: the connector or format has no such option.
    UnknownOption,
    /// E0303: a required option is missing.
    MissingOption,
    /// E0304: an option's value is not valid.
    OptionValue,
    /// E0305: what an option names outside of the app is not there.
    Missing,
    /// E0400: the query asks for something that cannot be done on streams.
    Unstreamable,
    /// E0401: streams feed each other in a circle.
    Cycle,
    /// E0500: another process uses the folder of checkpoints.
    StateInUse,
    /// E0501: the state of the last checkpoint does not fit the app.
    StateMismatch,
    /// E0502: no checkpoint of the folder can be read.
    StateDamaged,
    /// E0503: the key of the checkpoints is missing, or another one.
    StateKey,
    /// E0900: part of the language, not built yet.
    Unsupported,
}

impl Code {
    /// The code as printed, e.g. `E0101`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Lexical => "E0001",
            Code::Syntax => "E0002",
            Code::Limit => "E0003",
            Code::UnknownStream => "E0100",
            Code::UnknownColumn => "E0101",
            Code::UnknownFunction => "E0102",
            Code::Duplicate => "E0103",
            Code::Ambiguous => "E0104",
            Code::UnknownType => "E0105",
            Code::Type => "E0200",
            Code::TargetMismatch => "E0201",
            Code::Duration => "E0202",
            Code::UnknownConnector => "E0300",
            Code::UnknownFormat => "E0301",
            Code::UnknownOption => "E0302",
            Code::MissingOption => "E0303",
            Code::OptionValue => "E0304",
            Code::Missing => "E0305",
            Code::Unstreamable => "E0400",
            Code::Cycle => "E0401",
            Code::StateInUse => "E0500",
            Code::StateMismatch => "E0501",
            Code::StateDamaged => "E0502",
            Code::StateKey => "E0503",
            Code::Unsupported => "E0900",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that statements come from, and the names of the files it was put together from.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// The whole text.
    pub text: Arc<str>,
    /// In the order of the text; at least one.
    files: Arc<[SourceFile]>,
}

/// One file of a [`SourceText`].
#[derive(Debug, Clone)]
struct SourceFile {
    name: Arc<str>,
    directory: Option<Arc<Path>>,
    range: Range<usize>,
}

/// Ends the statement of one file before the next file begins.
const BETWEEN_FILES: &str = "\n;\n";

impl SourceText {
    /// A text and what to call it.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let file = SourceFile {
            name: name.into(),
            directory: None,
            range: 0..text.len(),
        };
        SourceText {
            text,
            files: Arc::new([file]),
        }
    }

    /// The contents of files, one after the other, so that they are one text. Each is called by its path, and relative paths in
    /// it are relative to its directory.
    pub fn of_files<P: AsRef<Path>>(files: impl IntoIterator<Item = (P, String)>) -> Self {
        let mut text = String::new();
        let mut parts = Vec::new();
        for (path, content) in files {
            if !parts.is_empty() {
                text.push_str(BETWEEN_FILES);
            }
            let path = path.as_ref();
            let start = text.len();
            text.push_str(&content);
            parts.push(SourceFile {
                name: path.display().to_string().into(),
                directory: path.parent().map(Arc::from),
                range: start..text.len(),
            });
        }
        match parts.is_empty() {
            true => SourceText::new("app", ""),
            false => SourceText {
                text: text.into(),
                files: parts.into(),
            },
        }
    }

    /// The same text with another one behind it, of which relative paths start nowhere.
    pub fn followed_by(self, name: &str, more: &str) -> Self {
        let start = self.text.len() + BETWEEN_FILES.len();
        let text = format!("{}{BETWEEN_FILES}{more}", self.text);
        let mut files = self.files.to_vec();
        files.push(SourceFile {
            name: Arc::from(name),
            directory: None,
            range: start..text.len(),
        });
        SourceText {
            text: text.into(),
            files: files.into(),
        }
    }

    /// What it is called; of several files, the first.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.name)
    }

    /// The same text under another name.
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let mut files = self.files.to_vec();
        if let Some(first) = files.first_mut() {
            first.name = name.into();
        }
        SourceText {
            files: files.into(),
            ..self
        }
    }

    /// The same text as it may be shown: secrets in it are masked.
    fn masked(&self) -> Self {
        SourceText {
            text: crate::redaction::masked(&self.text).into(),
            files: self.files.clone(),
        }
    }

    /// The file that a byte of the text belongs to.
    fn file(&self, offset: usize) -> &SourceFile {
        let after = self.files.partition_point(|file| file.range.start <= offset);
        &self.files[after.saturating_sub(1)]
    }

    /// The directory that relative paths written at `offset` start from; `None`: the working directory.
    pub fn directory(&self, offset: usize) -> Option<&Path> {
        self.file(offset).directory.as_deref()
    }

    /// The part of a span that lies in the file it begins in.
    fn within_file(&self, span: &Range<usize>) -> Range<usize> {
        let range = &self.file(span.start).range;
        let start = span.start.min(range.end);
        start..span.end.clamp(start, range.end)
    }
}

/// Where something stands, as people count.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// The file's name as the user gave it, or `app`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A compile error (or warning): what, where, and what would be right. One pointer wide, so that results stay small.
#[derive(Debug, Clone)]
pub struct Diagnostic(Box<DiagnosticParts>);

/// The parts of a [`Diagnostic`], which derefs to them.
#[derive(Debug, Clone)]
pub struct DiagnosticParts {
    /// The stable code.
    pub code: Code,
    /// What is wrong, one sentence, no full stop.
    pub message: String,
    /// Byte range in the source text.
    pub span: Option<Range<usize>>,
    /// Short text printed under the caret; empty for none.
    pub label: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The text that `span` points into.
    pub source: Option<SourceText>,
}

impl Diagnostic {
    /// A diagnostic without a place or hint yet.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic(Box::new(DiagnosticParts {
            code,
            message: message.into(),
            span: None,
            label: String::new(),
            hint: None,
            source: None,
        }))
    }

    /// The same, pointing at a byte range.
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// The same, with a text under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same, with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Where the span starts.
    pub fn place(&self) -> Option<Place> {
        let (source, span) = (self.source.as_ref()?, self.span.as_ref()?);
        let file = source.file(span.start);
        let before = source.text.get(file.range.start..source.within_file(span).start)?;
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Some(Place {
            file: file.name.to_string(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        })
    }

    /// Line and column (from 1, in characters) of the start of the span, in its file.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.place().map(|place| (place.line, place.column))
    }

    /// The diagnostic as printed for people: message, the line quoted with a caret and secrets masked, hint.
    pub fn render(&self, colour: Colour) -> String {
        let theme = match colour {
            Colour::Never => miette::GraphicalTheme::unicode_nocolor(),
            Colour::Always => miette::GraphicalTheme::unicode(),
        };
        let handler = miette::GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(110);
        let mut text = String::new();
        let mut shown = self.clone();
        shown.source = self.source.as_ref().map(SourceText::masked);
        match handler.render_report(&mut text, &shown) {
            Ok(()) => text,
            Err(fmt::Error) => self.to_string(),
        }
    }
}

impl std::ops::Deref for Diagnostic {
    type Target = DiagnosticParts;

    fn deref(&self) -> &DiagnosticParts {
        &self.0
    }
}

impl std::ops::DerefMut for Diagnostic {
    fn deref_mut(&mut self) -> &mut DiagnosticParts {
        &mut self.0
    }
}

/// Whether rendered text carries terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let span = match &self.source {
            Some(source) => source.within_file(self.span.as_ref()?),
            None => self.span.clone()?,
        };
        let label = (!self.label.is_empty()).then(|| self.label.clone());
        let labeled = miette::LabeledSpan::new(label, span.start, span.len());
        Some(Box::new(std::iter::once(labeled)))
    }
}

impl miette::SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> std::result::Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        // Only the file that the span begins in is shown, and its own line numbers.
        let file = self.file(span.offset());
        let start = file.range.start;
        let text = self.text.get(file.range.clone()).unwrap_or_default();
        let shifted = miette::SourceSpan::new(span.offset().saturating_sub(start).into(), span.len());
        let inner = text.read_span(&shifted, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            file.name.to_string(),
            inner.data(),
            miette::SourceSpan::new((inner.span().offset() + start).into(), inner.span().len()),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// What kind of trouble one event was in; counted by stream and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes could not be decoded into the stream's columns.
    Decode,
    /// An expression failed on the event's values (division by zero, overflow, failed CAST).
    Evaluate,
    /// The event's values do not fit the target (NULL in a NOT NULL column, event time missing).
    Constraint,
    /// A sink could not write the event.
    Sink,
    /// A table refused a row (a key that is there already), or could not be reached.
    Table,
    /// A sink refused the event for what it holds.
    Refused,
    /// A source could not read. No event belongs to it.
    Source,
}

impl ErrorKind {
    /// The kind's name in metrics, logs and fault streams.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Decode => "decode",
            ErrorKind::Evaluate => "evaluate",
            ErrorKind::Constraint => "constraint",
            ErrorKind::Sink => "sink",
            ErrorKind::Table => "table",
            ErrorKind::Refused => "refused",
            ErrorKind::Source => "source",
        }
    }
}

/// One event that could not be processed. The others of its batch are not affected.
#[derive(Debug, Clone)]
pub struct RowError {
    /// What kind of trouble.
    pub kind: ErrorKind,
    /// The reason, with the column and value where known.
    pub message: String,
    /// The event: raw text for decode errors (cut at [`RAW_LIMIT`] bytes), else its columns as a JSON object. Empty where there is
    /// no event.
    pub event: String,
    /// Where the event stood in its input: line number of a file, from 1.
    pub line: Option<u64>,
    /// When it happened (processing time).
    pub at: Micros,
    /// How often it was tried.
    pub attempts: u32,
}

/// How much of a bad event's raw text an error keeps, in bytes: whole records in all but odd cases, so that dead letters can be
/// read again.
pub const RAW_LIMIT: usize = 1 << 20;

/// How much of an event's text a log line or a message shows, in bytes.
pub const SHOWN_LIMIT: usize = 4096;
