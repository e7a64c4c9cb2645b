//! The quick way to read a line: objects whose members come in the order they came in before.
//!
//! What stands between two values (`,"price":`) is the same text on most lines. It is remembered as a [`Step`], with
//! the column it leads to and the step that came next the last time, so that a member costs one comparison instead of
//! parsing and looking up its name. A miss parses the name and learns. Values are read straight into their columns.
//!
//! Whatever is unusual (an error, a name with escapes, a member that comes twice) ends the attempt: the caller undoes
//! it and reads the line the strict way, so that this module never decides what is an error. That both agree is
//! checked by a property test.

use serde_json::value::RawValue;

use super::strict::Rows;
use crate::formats::columns::{Column, Content, Values, json_value, number, parse_timestamp, scan};

/// More steps than this are not remembered: names that differ from line to line would fill the memory.
const MAX_STEPS: usize = 128;
/// The step before the first member.
const START: usize = 0;
/// Stands for steps that are not remembered.
const UNKNOWN: usize = 1;
/// The object ends next.
const END: usize = usize::MAX;

/// The text from the end of one value to the beginning of the next.
#[derive(Debug)]
struct Step {
    text: Box<[u8]>,
    /// The first 16 bytes of it, and which of those count.
    head: u128,
    mask: u128,
    /// The column its value goes to; `None` when nobody reads it.
    column: Option<usize>,
    /// The step that came after it the last time.
    next: usize,
}

impl Step {
    fn new(text: &[u8], column: Option<usize>) -> Self {
        let mut head = [0; 16];
        let length = text.len().min(16);
        head[..length].copy_from_slice(&text[..length]);
        Step {
            text: text.into(),
            head: u128::from_le_bytes(head),
            mask: u128::MAX.checked_shr(128 - 8 * length as u32).unwrap_or(0),
            column,
            next: UNKNOWN,
        }
    }

    /// Whether the text stands at `at`.
    #[inline(always)]
    fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        match bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(head) => {
                u128::from_le_bytes(*head) & self.mask == self.head
                    && (self.text.len() <= 16 || bytes[at + 16..].starts_with(&self.text[16..]))
            }
            None => bytes[at..].starts_with(&self.text),
        }
    }
}

/// What was learned about the lines so far.
#[derive(Debug)]
pub(super) struct Fast {
    steps: Vec<Step>,
}

/// What comes after a value.
enum After {
    /// The object ends at this byte.
    End(usize),
    /// A member: its step, its column and where its value begins.
    Member(usize, Option<usize>, usize),
}

impl Fast {
    pub(super) fn new() -> Self {
        Fast {
            steps: vec![Step::new(b"", None), Step::new(b"", None)],
        }
    }

    /// Reads the line at `at` into one row and gives where the next line starts. `None`: not that simple; the columns
    /// may hold a part of it.
    pub(super) fn row(&mut self, text: &str, at: usize, rows: &mut Rows) -> Option<usize> {
        let bytes = text.as_bytes();
        let row = rows.rows;
        let mut at = at;
        let mut step = START;
        let mut filled = 0;
        let mut seen = 0u64;
        loop {
            let next = self.steps[step].next;
            let column = match self.steps.get(next) {
                Some(known) if next != UNKNOWN && known.stands_at(bytes, at) => {
                    at += known.text.len();
                    step = next;
                    known.column
                }
                None if bytes.get(at) == Some(&b'}') => break,
                _ => match self.learn(text, at, step, rows)? {
                    After::End(end) => {
                        at = end;
                        break;
                    }
                    After::Member(next, column, value) => {
                        at = value;
                        step = next;
                        column
                    }
                },
            };
            at = match column {
                None => skip(text, at)?,
                Some(index) => {
                    filled += 1;
                    let column = &mut rows.columns[index];
                    let bit = 1u64.checked_shl(index as u32).unwrap_or(0);
                    if seen & bit != 0 || (bit == 0 && column.len() != row) {
                        return None;
                    }
                    seen |= bit;
                    match quick(column, text, at) {
                        Some(end) => end,
                        None => token(text, at, |raw| json_value::push(column, raw).ok())?,
                    }
                }
            };
        }
        let end = line_end(bytes, at + 1)?;
        if filled == rows.columns.len() {
            rows.rows += 1;
        } else {
            rows.fill().ok()?;
        }
        Some(end)
    }

    /// Parses what stands between a value (or the start of the line) and the next value.
    #[cold]
    fn learn(&mut self, text: &str, from: usize, step: usize, rows: &Rows) -> Option<After> {
        let bytes = text.as_bytes();
        let mut at = blanks(bytes, from);
        match (bytes.get(at)?, step) {
            (b'{', START) => {}
            (_, START) => return None,
            (b',', _) => {}
            (b'}', _) => {
                self.steps[step].next = END;
                return Some(After::End(at));
            }
            _ => return None,
        }
        at = blanks(bytes, at + 1);
        let quote = (bytes.get(at) == Some(&b'"')).then_some(at)?;
        let end = scan::string_stop(bytes, quote + 1).filter(|&end| bytes[end] == b'"')?;
        let name = text.get(quote + 1..end)?;
        at = blanks(bytes, end + 1);
        at = (bytes.get(at) == Some(&b':')).then(|| blanks(bytes, at + 1))?;

        let between = &bytes[from..at];
        let known = self
            .steps
            .iter()
            .skip(UNKNOWN + 1)
            .position(|known| *known.text == *between);
        let next = match known {
            Some(place) => place + UNKNOWN + 1,
            None if self.steps.len() < MAX_STEPS => {
                self.steps.push(Step::new(between, rows.column(name)));
                self.steps.len() - 1
            }
            None => UNKNOWN,
        };
        self.steps[step].next = next;
        Some(After::Member(next, rows.column(name), at))
    }
}

fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// Where the next line starts when nothing but blanks is left of this one.
#[inline(always)]
fn line_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at) {
            Some(b'\n') => return Some(at + 1),
            Some(b' ' | b'\t' | b'\r') => at += 1,
            Some(_) => return None,
            None => return Some(at),
        }
    }
}

/// Reads a value of the kind that its column usually has and gives where it ends. `None`: anything else.
#[inline(always)]
fn quick(column: &mut Column, text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match &mut column.values {
        Values::Int64(values) => {
            let number = number::scan(bytes, at)?;
            values.push(number.integer()?);
            Some(number.end)
        }
        Values::Int32(values) => {
            let number = number::scan(bytes, at)?;
            values.push(i32::try_from(number.integer()?).ok()?);
            Some(number.end)
        }
        Values::Float64(values) => {
            let number = number::scan(bytes, at)?;
            values.push(number.double(text.get(at..number.end)?)?);
            Some(number.end)
        }
        Values::Timestamp(values) => match bytes.get(at)? {
            b'"' => {
                let end = plain_string(bytes, at)?;
                values.push(parse_timestamp(&bytes[at + 1..end - 1])?);
                Some(end)
            }
            _ => {
                let number = number::scan(bytes, at)?;
                values.push(number.integer()?.checked_mul(1_000)?);
                Some(number.end)
            }
        },
        Values::Views(views, Content::Text) => {
            let end = plain_string(bytes, at)?;
            views.push_part(text, at + 1, end - 1)?;
            Some(end)
        }
        Values::Bool(values) => {
            let value = bytes[at..].starts_with(b"true");
            if !value && !bytes[at..].starts_with(b"false") {
                return None;
            }
            values.push(value);
            Some(at + if value { 4 } else { 5 })
        }
        _ => None,
    }
}

/// Where a string without escapes ends.
#[inline(always)]
fn plain_string(bytes: &[u8], at: usize) -> Option<usize> {
    (bytes.get(at) == Some(&b'"')).then_some(())?;
    let end = scan::string_stop(bytes, at + 1)?;
    (bytes[end] == b'"').then_some(end + 1)
}

/// Where a value that nobody reads ends.
#[inline(always)]
fn skip(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let end = match bytes.get(at)? {
        b'"' => plain_string(bytes, at),
        b'-' | b'0'..=b'9' => number::scan(bytes, at).map(|number| number.end),
        _ => None,
    };
    match end {
        Some(end) => Some(end),
        None => token(text, at, |_| Some(())),
    }
}

/// Has `serde_json` find the value at `at`, within its line, and gives where it ends.
fn token(text: &str, at: usize, take: impl FnOnce(&str) -> Option<()>) -> Option<usize> {
    let line = text.get(at..)?;
    let line = &line[..memchr::memchr(b'\n', line.as_bytes()).unwrap_or(line.len())];
    let mut values = serde_json::Deserializer::from_str(line).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    take(value.get())?;
    Some(at + values.byte_offset())
}
