//! Values as JSON.

use serde::de::IgnoredAny;

use super::scalar_writer::{self, Cells, Typed};
use super::scan;

/// Appends a value as JSON; NULL, NaN and infinities as `null`.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, cells: &Cells, row: usize) {
    if cells.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match &cells.values {
        Typed::Text(array) => write_string(out, array.value(row)),
        Typed::Json(array) => write_raw(out, array.value(row)),
        values @ (Typed::Timestamp(_) | Typed::Date(_) | Typed::Time(_) | Typed::Interval(_) | Typed::Bytes(_)) => {
            out.push(b'"');
            scalar_writer::write(out, values, row);
            out.push(b'"');
        }
        Typed::Dated(array, dates) => {
            let mut text = Vec::new();
            match (dates.write(&mut text, array.value(row)), dates.is_number()) {
                (true, true) => out.extend_from_slice(&text),
                (true, false) => write_string(out, &String::from_utf8_lossy(&text)),
                (false, _) => out.extend_from_slice(b"null"),
            }
        }
        Typed::List(array, items) => {
            let offsets = array.value_offsets();
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            separated(out, range, |out, item| write(out, items, item), [b'[', b']']);
        }
        Typed::Struct(parts) => {
            let member = |out: &mut Vec<u8>, part: usize| {
                let (key, cells) = &parts[part];
                out.extend_from_slice(key);
                write(out, cells, row);
            };
            separated(out, 0..parts.len(), member, [b'{', b'}']);
        }
        Typed::Map(array, keys, values) => {
            let offsets = array.value_offsets();
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            let member = |out: &mut Vec<u8>, entry: usize| {
                write_key(out, keys, entry);
                out.push(b':');
                write(out, values, entry);
            };
            separated(out, range, member, [b'{', b'}']);
        }
        values => {
            if !scalar_writer::write(out, values, row) {
                out.extend_from_slice(b"null");
            }
        }
    }
}

fn separated(
    out: &mut Vec<u8>,
    range: std::ops::Range<usize>,
    each: impl Fn(&mut Vec<u8>, usize),
    [open, close]: [u8; 2],
) {
    out.push(open);
    for index in range.clone() {
        if index != range.start {
            out.push(b',');
        }
        each(out, index);
    }
    out.push(close);
}

/// A map's key: its text as a JSON string.
fn write_key(out: &mut Vec<u8>, keys: &Cells, entry: usize) {
    match &keys.values {
        Typed::Text(array) => write_string(out, array.value(entry)),
        values => {
            let mut text = Vec::new();
            if !scalar_writer::write(&mut text, values, entry) {
                write(&mut text, keys, entry);
            }
            write_string(out, &String::from_utf8_lossy(&text));
        }
    }
}

/// Appends the text of a JSON value on one line. A text that is not JSON after all becomes a JSON string, so that the
/// output stays readable whatever a query put into the column.
fn write_raw(out: &mut Vec<u8>, text: &str) {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return write_string(out, text);
    }
    // Line ends can only stand between tokens, where a blank is as good.
    out.extend(
        text.bytes()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }),
    );
}

/// Appends a JSON string. Escaped are `"`, `\` and control characters; the rest stays UTF-8.
#[inline]
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(stop) = scan::string_stop(bytes, start) {
        out.extend_from_slice(&bytes[start..stop]);
        escape(out, bytes[stop]);
        start = stop + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
