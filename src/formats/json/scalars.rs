//! Single values for the quick way: read by what their column usually holds, or skipped.

use serde_json::value::RawValue;

use crate::formats::columns::{Column, Content, Values, number, parse_timestamp, scan};

/// Values nested deeper than this are skipped by `serde_json`.
const MAX_DEPTH: u32 = 64;

/// A line of the text, whose end is looked for when it is first needed.
pub(super) struct Line<'t> {
    pub(super) text: &'t str,
    end: Option<usize>,
}

impl<'t> Line<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Line { text, end: None }
    }

    /// Has `serde_json` find the value at `at`, which is in the line, and gives where it ends.
    pub(super) fn token(&mut self, at: usize, take: impl FnOnce(&str) -> Option<()>) -> Option<usize> {
        let end = *self.end.get_or_insert_with(|| {
            let rest = self.text.as_bytes().get(at..).unwrap_or_default();
            at + memchr::memchr(b'\n', rest).unwrap_or(rest.len())
        });
        let mut values = serde_json::Deserializer::from_str(self.text.get(at..end)?).into_iter::<&RawValue>();
        let value = values.next()?.ok()?;
        take(value.get())?;
        Some(at + values.byte_offset())
    }
}

/// The first byte from `at` on that is no blank.
#[inline(always)]
pub(super) fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// Where the next line starts when nothing but blanks is left of this one.
#[inline(always)]
pub(super) fn line_end(bytes: &[u8], mut at: usize) -> Option<usize> {
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
pub(super) fn quick(column: &mut Column, text: &str, at: usize) -> Option<usize> {
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
pub(super) fn skip(line: &mut Line, at: usize) -> Option<usize> {
    let bytes = line.text.as_bytes();
    let end = match bytes.get(at)? {
        b'{' | b'[' => nested(bytes, at),
        _ => scalar(bytes, at),
    };
    match end {
        Some(end) => Some(end),
        None => line.token(at, |_| Some(())),
    }
}

#[inline(always)]
fn scalar(bytes: &[u8], at: usize) -> Option<usize> {
    let word = |word: &[u8]| bytes[at..].starts_with(word).then(|| at + word.len());
    match bytes.get(at)? {
        b'"' => plain_string(bytes, at),
        b'-' | b'0'..=b'9' => number::scan(bytes, at).map(|number| number.end),
        b't' => word(b"true"),
        b'f' => word(b"false"),
        b'n' => word(b"null"),
        _ => None,
    }
}

/// Where an object or array ends that holds nothing unusual.
fn nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    // A bit for each level, the innermost last: 1 for an object.
    let (mut levels, mut depth) = (0u64, 0);
    loop {
        at = match *bytes.get(at)? {
            open @ (b'{' | b'[') if depth < MAX_DEPTH => {
                let object = open == b'{';
                (levels, depth) = (levels << 1 | u64::from(object), depth + 1);
                at = blanks(bytes, at + 1);
                match bytes.get(at)? {
                    b'}' if object => at,
                    b']' if !object => at,
                    _ => {
                        at = if object { name(bytes, at)? } else { at };
                        continue;
                    }
                }
            }
            _ => scalar(bytes, at)?,
        };
        // After a value, or before the end of an empty level.
        loop {
            at = blanks(bytes, at);
            let object = levels & 1 == 1;
            match bytes.get(at)? {
                b',' => {
                    at = blanks(bytes, at + 1);
                    if object {
                        at = name(bytes, at)?;
                    }
                    break;
                }
                b'}' if object => {}
                b']' if !object => {}
                _ => return None,
            }
            (levels, depth, at) = (levels >> 1, depth - 1, at + 1);
            if depth == 0 {
                return Some(at);
            }
        }
    }
}

/// Where the value after a member's name begins.
fn name(bytes: &[u8], at: usize) -> Option<usize> {
    let colon = blanks(bytes, plain_string(bytes, at)?);
    (bytes.get(colon) == Some(&b':')).then(|| blanks(bytes, colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_end_where_serde_json_says() {
        for (text, plain) in [
            ("{}", true),
            ("[]", true),
            ("[ ]", true),
            ("{ }", true),
            ("[1,-2.5e3,\"a\",true,false,null]", true),
            ("{\"a\":{\"b\":[{},[]]},\"c\" : [ 1 , 2 ] }", true),
            ("[\"\\n\"]", false),
            ("[1,]", false),
            ("[,1]", false),
            ("{\"a\"}", false),
            ("{\"a\":}", false),
            ("{\"a\":1,}", false),
            ("{1:2}", false),
            ("[1 2]", false),
            ("[01]", false),
            ("[1}", false),
            ("{\"a\":1]", false),
            ("[", false),
            ("[nul]", false),
        ] {
            let end = nested(text.as_bytes(), 0);
            assert_eq!(end, plain.then_some(text.len()), "{text}");
            if plain {
                assert!(serde_json::from_str::<&RawValue>(text).is_ok());
            }
        }
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(nested(deep(64).as_bytes(), 0), Some(128));
        assert_eq!(nested(deep(65).as_bytes(), 0), None);
    }
}
