//! Rows out of the bytes of `COPY … TO STDOUT`, in its text form and its binary form.
//!
//! Bytes come in pieces of any size; a row is given when it is whole. What is held is the row that is not.

use super::cells::Cells;
use crate::error::{Error, Result};

/// The longest row.
const LONGEST: usize = 256 << 20;

/// What a binary copy begins with, before its flags and the length of its extension.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyForm {
    /// Lines of cells with tabs between them.
    Text,
    /// Counts and lengths.
    Binary,
}

/// Cuts rows.
#[derive(Debug)]
pub(crate) struct CopyRows {
    form: CopyForm,
    buffer: Vec<u8>,
    /// What of the buffer is read.
    start: usize,
    /// Where in the rest the end of a line was looked for in vain.
    looked: usize,
    begun: bool,
}

impl CopyRows {
    /// At the beginning of a copy.
    pub fn new(form: CopyForm) -> Self {
        CopyRows {
            form,
            buffer: Vec::new(),
            start: 0,
            looked: 0,
            begun: false,
        }
    }

    /// Takes bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() > LONGEST {
            true => Err(Error::failed(format!("a row of more than {LONGEST} bytes"))),
            false => Ok(()),
        }
    }

    /// The next whole row; false when there is none yet.
    pub fn next(&mut self, cells: &mut Cells) -> Result<bool> {
        cells.clear();
        match self.form {
            CopyForm::Text => self.line(cells),
            CopyForm::Binary => self.tuple(cells),
        }
    }

    fn line(&mut self, cells: &mut Cells) -> Result<bool> {
        let rest = &self.buffer[self.start..];
        let Some(end) = memchr::memchr(b'\n', &rest[self.looked..]) else {
            self.looked = rest.len();
            return Ok(false);
        };
        let end = self.looked + end;
        self.looked = 0;
        let line = &rest[..end];
        self.start += end + 1;
        // The end of the data, in an old form of the protocol.
        if line == b"\\." {
            return self.line(cells);
        }
        for cell in line.split(|byte| *byte == b'\t') {
            match cell {
                b"\\N" => cells.push(None),
                plain if memchr::memchr(b'\\', plain).is_none() => cells.push(Some(plain)),
                escaped => cells.push_written(|out| unescape(escaped, out)),
            }
        }
        Ok(true)
    }

    fn tuple(&mut self, cells: &mut Cells) -> Result<bool> {
        let mut rest = &self.buffer[self.start..];
        if !self.begun {
            let Some((header, after)) = rest.split_at_checked(SIGNATURE.len() + 8) else {
                return Ok(false);
            };
            if !header.starts_with(SIGNATURE) {
                return Err(Error::failed("this is not a binary copy"));
            }
            let extension = header.last_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes)) as usize;
            let Some((_, after)) = after.split_at_checked(extension) else {
                return Ok(false);
            };
            self.begun = true;
            self.start = self.buffer.len() - after.len();
            rest = after;
        }
        let Some((count, mut rest)) = rest.split_first_chunk::<2>() else {
            return Ok(false);
        };
        let count = i16::from_be_bytes(*count);
        if count < 0 {
            self.start = self.buffer.len() - rest.len();
            return Ok(false);
        }
        for _ in 0..count {
            let Some((length, after)) = rest.split_first_chunk::<4>() else {
                return Ok(false);
            };
            let length = i32::from_be_bytes(*length);
            let Ok(length) = usize::try_from(length) else {
                cells.push(None);
                rest = after;
                continue;
            };
            let Some((cell, after)) = after.split_at_checked(length) else {
                return Ok(false);
            };
            cells.push(Some(cell));
            rest = after;
        }
        self.start = self.buffer.len() - rest.len();
        Ok(true)
    }
}

/// A cell without its escapes.
fn unescape(cell: &[u8], out: &mut Vec<u8>) {
    let mut bytes = cell.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'v') => out.push(11),
            Some(b'x') => {
                let mut value = None;
                for _ in 0..2 {
                    let Some(digit) = bytes.peek().and_then(|byte| char::from(*byte).to_digit(16)) else {
                        break;
                    };
                    value = Some(value.unwrap_or(0) * 16 + digit as u8);
                    bytes.next();
                }
                out.push(value.unwrap_or(b'x'));
            }
            Some(first @ b'0'..=b'7') => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    let Some(digit) = bytes.peek().and_then(|byte| char::from(*byte).to_digit(8)) else {
                        break;
                    };
                    value = value * 8 + digit;
                    bytes.next();
                }
                out.push(value as u8);
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
}
