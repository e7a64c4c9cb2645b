//! Messages that are documents over several lines.

use std::borrow::Cow;

/// A message with each of its documents on a line of its own, if that is how it is meant: line ends within objects and arrays become
/// blanks. A message whose first line is whole is left as it is, and so is one whose brackets do not match, so that of lines that
/// are records a bad one takes only itself.
///
/// Cost: one look at each byte up to the end of the first line; at all of them where that line is not whole.
pub(crate) fn on_lines(message: &[u8]) -> Cow<'_, [u8]> {
    let trimmed = message.trim_ascii_end();
    if memchr::memchr(b'\n', trimmed).is_none() {
        return Cow::Borrowed(message);
    }
    let mut within: Vec<usize> = Vec::new();
    let (mut depth, mut in_text, mut escaped, mut begun) = (0usize, false, false, false);
    for (at, byte) in trimmed.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            // No text goes over a line end.
            b'\n' if in_text => return Cow::Borrowed(message),
            b'\n' if depth > 0 => within.push(at),
            b'\n' if begun && within.is_empty() => return Cow::Borrowed(message),
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Cow::Borrowed(message),
            },
            _ => {}
        }
        begun |= !byte.is_ascii_whitespace();
    }
    if depth > 0 || in_text || within.is_empty() {
        return Cow::Borrowed(message);
    }
    let mut joined = message.to_vec();
    within.iter().for_each(|&at| joined[at] = b' ');
    // A carriage return before them is white space to JSON as it is.
    Cow::Owned(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_put_on_lines_and_lines_left_alone() {
        let cases = [
            ("{\"a\":1}", "{\"a\":1}"),
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("{\n \"a\": 1\n}\n", "{  \"a\": 1 }\n"),
            ("[\n{\"a\":1},\n{\"a\":2}]", "[ {\"a\":1}, {\"a\":2}]"),
            ("\n{\n\"a\":1}\n{\n\"a\":2}", "\n{ \"a\":1}\n{ \"a\":2}"),
            ("{\"a\":1}\n{\"a\":[\n2}", "{\"a\":1}\n{\"a\":[\n2}"),
            // The first line is damaged, the second is not: both stay lines.
            ("{\"a\":1\n{\"a\":2}\n", "{\"a\":1\n{\"a\":2}\n"),
            ("{\"a\":\"x\n\"}", "{\"a\":\"x\n\"}"),
            ("{\"a\":\"}\\\"\",\n\"b\":2}", "{\"a\":\"}\\\"\", \"b\":2}"),
            ("]\n[\n]", "]\n[\n]"),
            ("", ""),
            ("\n\n", "\n\n"),
        ];
        for (message, wanted) in cases {
            assert_eq!(
                String::from_utf8_lossy(&on_lines(message.as_bytes())),
                wanted,
                "{message}"
            );
        }
    }
}
