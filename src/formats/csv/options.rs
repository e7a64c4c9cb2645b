//! The options of the format, and the dialect they amount to.

use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::Diagnostic;
use crate::formats::records;
use crate::formats::template::TEMPLATE;

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "mapping.<column>",
        OptionKind::Text,
        "Source: which field holds the column's value: its name in the header, or its position, from 0. Given for all columns \
         or for none. A name that is a number stands in double quotes.",
    ),
    OptionSpec::new(
        "header",
        OptionKind::Boolean,
        "Whether the first record names the columns. Without a header, fields are in the order of the declared columns, unless \
         csv.mapping says otherwise.",
    )
    .default("true"),
    OptionSpec::new(
        "delimiter",
        OptionKind::Text,
        "The character between fields; `\\t` or `tab` for a tab.",
    )
    .default(","),
    OptionSpec::new(
        "quote",
        OptionKind::Text,
        "The character around fields that hold delimiters, quotes or line ends. Doubled inside a field it is itself.",
    )
    .default("\""),
    OptionSpec::new(
        "escape",
        OptionKind::Text,
        "A character that makes the next one literal inside quotes, for files that do not double quotes.",
    ),
    OptionSpec::new(
        "null",
        OptionKind::Text,
        "The unquoted text that means NULL; a quoted one is that text.",
    )
    .default(""),
    OptionSpec::new(
        TEMPLATE,
        OptionKind::Text,
        "Sink: the text of a record, with {{column}} for fields, in quotes where they need them, and {{#if \
         column}}…{{else}}…{{/if}}. There is no header then.",
    ),
    records::MAX_RECORD,
];

/// The characters and rules of one CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) escape: Option<u8>,
    pub(super) null: Vec<u8>,
    pub(super) header: Header,
    pub(super) limit: usize,
}

/// Whether there is a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Present,
    Absent,
}

impl Dialect {
    pub(super) fn new(options: &Options) -> Result<Self, Diagnostic> {
        let dialect = Dialect {
            delimiter: character(options, "delimiter")?.unwrap_or(b','),
            quote: character(options, "quote")?.unwrap_or(b'"'),
            escape: character(options, "escape")?,
            null: options.text("null").unwrap_or_default().as_bytes().to_vec(),
            header: if options.boolean("header") {
                Header::Present
            } else {
                Header::Absent
            },
            limit: records::max_record(options),
        };
        if dialect.delimiter == dialect.quote {
            return Err(options.invalid("delimiter", "delimiter and quote are the same character"));
        }
        if dialect.escape == Some(dialect.delimiter) {
            return Err(options.invalid("escape", "escape and delimiter are the same character"));
        }
        let special = [dialect.delimiter, dialect.quote, b'\n', b'\r'];
        if dialect.null.iter().any(|byte| special.contains(byte)) {
            return Err(options.invalid(
                "null",
                "it holds a delimiter, quote or line end and can never be a field",
            ));
        }
        // An escape that is the quote says what doubling says already.
        let escape = dialect.escape.filter(|escape| *escape != dialect.quote);
        Ok(Dialect { escape, ..dialect })
    }
}

/// A one-character option.
fn character(options: &Options, name: &str) -> Result<Option<u8>, Diagnostic> {
    let byte = match options.text(name).map(str::as_bytes) {
        None => return Ok(None),
        Some(b"\\t" | b"tab") => b'\t',
        Some([byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => *byte,
        Some(_) => return Err(options.invalid(name, "it is one ASCII character that does not end lines")),
    };
    Ok(Some(byte))
}
