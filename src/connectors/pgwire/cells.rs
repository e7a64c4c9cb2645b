//! [`Cells`]: one row as it came, and the names that SQL takes as they are.

use std::ops::Range;

/// The cells of one row, each as bytes or NULL. Used again for row after row, so that no row allocates.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    bytes: Vec<u8>,
    cells: Vec<Option<Range<usize>>>,
}

impl Cells {
    /// Forgets the row before.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }

    /// Adds a cell.
    pub fn push(&mut self, cell: Option<&[u8]>) {
        let start = self.bytes.len();
        self.cells.push(cell.map(|cell| {
            self.bytes.extend_from_slice(cell);
            start..self.bytes.len()
        }));
    }

    /// Adds a cell that is written by `write`.
    pub fn push_written(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.cells.push(Some(start..self.bytes.len()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell; NULL, too, when there is none.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let range = self.cells.get(index)?.clone()?;
        self.bytes.get(range)
    }
}

/// A name in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a text is the name of a relation: parts with dots between them, each bare or in double quotes.
pub(crate) fn is_relation_name(text: &str) -> bool {
    let mut rest = text;
    loop {
        let end = match rest.strip_prefix('"') {
            Some(inner) => {
                let mut at = 0;
                let Some(close) = (loop {
                    match inner[at..].find('"') {
                        Some(found) if inner[at + found + 1..].starts_with('"') => at += found + 2,
                        Some(found) => break Some(at + found),
                        None => break None,
                    }
                }) else {
                    return false;
                };
                if close == 0 {
                    return false;
                }
                close + 2
            }
            None => {
                let word = |c: char| c == '_' || c == '$' || c.is_alphanumeric();
                let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
                if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                    return false;
                }
                end
            }
        };
        rest = &rest[end..];
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None => return rest.is_empty(),
        }
    }
}
