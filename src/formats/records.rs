//! What all record-by-record text formats share: the byte-order mark, the limit on a record's size, bad records.

use super::{BadRecord, Prologue};
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::RAW_LIMIT;

/// The UTF-8 byte-order mark.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The option that limits a record.
pub(crate) const MAX_RECORD: OptionSpec = OptionSpec::new(
    "max-record-bytes",
    OptionKind::Integer { min: 64, max: 1 << 30 },
    "The longest record read, in bytes. A longer one is an error; no more than this is held of it.",
)
.default("16777216");
/// Its default.
const MAX_RECORD_DEFAULT: usize = 16 << 20;

/// The limit as given.
pub(crate) fn max_record(options: &Options) -> usize {
    let given = options.integer(MAX_RECORD.name);
    given
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(MAX_RECORD_DEFAULT)
}

/// The length of a byte-order mark at the front; `None` when more bytes are needed to tell.
pub(crate) fn bom(bytes: &[u8], last: bool) -> Option<usize> {
    match bytes.starts_with(BOM) {
        true => Some(BOM.len()),
        false if !last && BOM.starts_with(bytes) => None,
        false => Some(0),
    }
}

/// The prologue of a format without header: at most a byte-order mark.
pub(crate) fn bom_only(bytes: &[u8], last: bool) -> Prologue {
    match bom(bytes, last) {
        None => Prologue::NeedMore,
        Some(consumed) => Prologue::Done {
            consumed,
            lines: 0,
            layout: None,
        },
    }
}

/// The message for a record over the limit.
pub(crate) fn too_long(format: &str, limit: usize) -> String {
    format!("the record is longer than {format}.max-record-bytes ({limit})")
}

/// How many bytes a row takes, learned from block to block, to make room for about as many as will come.
#[derive(Debug)]
pub(crate) struct RowSize {
    bytes: usize,
}

impl RowSize {
    /// Before anything is known: rows are rarely shorter.
    pub(crate) const fn new() -> Self {
        RowSize { bytes: 32 }
    }

    /// About how many rows a block of so many bytes holds.
    pub(crate) fn rows(&self, bytes: usize) -> usize {
        bytes / self.bytes + 1
    }

    /// Learns from a block.
    pub(crate) fn learn(&mut self, bytes: usize, rows: usize) {
        if let Some(bytes) = bytes.checked_div(rows) {
            self.bytes = bytes.max(1);
        }
    }
}

/// A bad record; `raw` is cut.
#[cold]
pub(crate) fn bad(message: String, line: u64, raw: &[u8], row: usize) -> BadRecord {
    BadRecord {
        message,
        line,
        raw: cut(raw),
        row,
    }
}

/// A line or record without its line end.
pub(crate) fn content(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

/// The raw text that an error keeps: at most [`RAW_LIMIT`] bytes, whole characters, invalid ones replaced.
fn cut(raw: &[u8]) -> String {
    let raw = content(raw);
    // A character more than kept, so that one cut in two is not taken for an invalid one.
    let text = String::from_utf8_lossy(&raw[..raw.len().min(RAW_LIMIT + 4)]);
    text[..text.floor_char_boundary(RAW_LIMIT)].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_text_is_cut_between_characters() {
        let long = "é".repeat(RAW_LIMIT);
        assert_eq!(cut(long.as_bytes()), "é".repeat(RAW_LIMIT / 2));
        let odd = format!("a{long}");
        assert_eq!(cut(odd.as_bytes()).len(), RAW_LIMIT - 1);
        assert_eq!(cut(b"a\xFFb\r\n"), "a\u{FFFD}b");
    }

    #[test]
    fn a_mark_is_told_as_soon_as_it_can_be() {
        assert_eq!(bom(b"\xEF\xBB", false), None);
        assert_eq!(bom(b"\xEF\xBB", true), Some(0));
        assert_eq!(bom(b"", false), None);
        assert_eq!(bom(b"{", false), Some(0));
        assert_eq!(bom(b"\xEF\xBB\xBF{", false), Some(3));
    }
}
