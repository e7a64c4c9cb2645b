//! Paths into a JSON value: JSONPath, RFC 9535.
//!
//! What a path may hold is what can be decided about a value while it is read once, front to back: names, positions, and for
//! columns that are arrays also `*`, slices and several selectors in one bracket. Descendants (`..`) and filters (`[?…]`) are
//! refused: the former would search whole messages, the latter is what WHERE is for.

use std::fmt;

use serde_json::value::RawValue;

use crate::formats::columns::json_value::{Elements, level};

/// More segments than this are no path that a person wrote.
const MAX_SEGMENTS: usize = 32;
/// The largest position, the largest integer that every JSON reader knows exactly.
const MAX_INDEX: i64 = (1 << 53) - 1;

/// A path as it was written, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonPath {
    text: String,
    /// It starts at the whole message (`$$`), not at the record.
    pub(super) whole: bool,
    pub(super) segments: Vec<Segment>,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// To a member of an object.
    Name(String),
    /// To an element of an array, from 0; negative from its end.
    Index(i64),
    /// To any number of values.
    Several(Vec<Selector>),
}

/// What a bracket selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    Name(String),
    Index(i64),
    /// Everything.
    Every,
    /// A part of an array, as in Python.
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonPath {
    /// Reads a path, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        if !reader.take('$') {
            return Err(format!("a path begins with '$', as in '$.{}'", text.trim()));
        }
        let whole = reader.take('$');
        let mut segments = Vec::new();
        while let Some(segment) = reader.segment()? {
            if segments.len() == MAX_SEGMENTS {
                return Err(format!("a path has at most {MAX_SEGMENTS} steps"));
            }
            segments.push(segment);
        }
        Ok(JsonPath {
            text: text.to_string(),
            whole,
            segments,
        })
    }

    /// The path of a member of the record.
    pub(super) fn member(name: &str) -> Self {
        let plain = name.chars().enumerate().all(|(index, c)| is_name(c, index == 0)) && !name.is_empty();
        JsonPath {
            text: match plain {
                true => format!("$.{name}"),
                false => format!("$[{name:?}]"),
            },
            whole: false,
            segments: vec![Segment::Name(name.to_string())],
        }
    }

    /// Whether it says that the record is an array.
    pub(super) fn is_positional(&self) -> bool {
        let by_position = |selector: &Selector| matches!(selector, Selector::Index(_) | Selector::Slice { .. });
        !self.whole
            && match self.segments.first() {
                Some(Segment::Index(_)) => true,
                Some(Segment::Several(selectors)) => selectors.iter().any(by_position),
                _ => false,
            }
    }

    /// Whether it says that the record is an object.
    pub(super) fn is_by_name(&self) -> bool {
        !self.whole && matches!(self.segments.first(), Some(Segment::Name(_)))
    }

    /// Whether it leads to one value at most.
    pub(super) fn is_singular(&self) -> bool {
        !self
            .segments
            .iter()
            .any(|segment| matches!(segment, Segment::Several(_)))
    }
}

/// Appends the values that the path leads to from a well-formed value, in the order of the RFC.
///
/// Each level on the way is read once more; the path's length bounds the depth.
pub(super) fn find<'a>(value: &'a RawValue, path: &[Segment], fold: Fold, found: &mut Vec<&'a RawValue>) {
    let Some((segment, path)) = path.split_first() else {
        return found.push(value);
    };
    let Ok(elements) = level(value.get()) else {
        // A scalar leads nowhere.
        return;
    };
    let mut follow = |selected: Option<&'a RawValue>| {
        if let Some(value) = selected {
            find(value, path, fold, found);
        }
    };
    match segment {
        Segment::Name(name) => follow(member(&elements, name, fold)),
        Segment::Index(index) => follow(element(&elements, *index)),
        Segment::Several(selectors) => {
            for selector in selectors {
                match (selector, &elements) {
                    (Selector::Name(name), _) => follow(member(&elements, name, fold)),
                    (Selector::Index(index), _) => follow(element(&elements, *index)),
                    (Selector::Every, Elements::Items(items)) => items.iter().for_each(|item| follow(Some(item))),
                    (Selector::Every, Elements::Members(members)) => {
                        members.iter().for_each(|(_, value)| follow(Some(value)));
                    }
                    (Selector::Slice { start, end, step }, Elements::Items(items)) => {
                        slice(items.len(), *start, *end, *step).for_each(|index| follow(items.get(index).copied()));
                    }
                    (Selector::Slice { .. }, Elements::Members(_)) => {}
                }
            }
        }
    }
}

/// Whether names that differ only in case are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// They are different.
    Exact,
    /// They are the same.
    Case,
}

impl Fold {
    /// The name as it is looked up.
    pub(super) fn name(self, name: &str) -> std::borrow::Cow<'_, str> {
        match self {
            Fold::Exact => name.into(),
            Fold::Case => name.to_lowercase().into(),
        }
    }
}

fn member<'a>(elements: &Elements<'a>, name: &str, fold: Fold) -> Option<&'a RawValue> {
    let Elements::Members(members) = elements else {
        return None;
    };
    let name = fold.name(name);
    // The last of those that differ in case.
    let found = members.iter().rev().find(|(member, _)| fold.name(member) == name);
    found.map(|(_, value)| *value)
}

fn element<'a>(elements: &Elements<'a>, index: i64) -> Option<&'a RawValue> {
    let Elements::Items(items) = elements else {
        return None;
    };
    place(items.len(), index).map(|index| items[index])
}

/// The position in an array of that length, if there is one.
pub(super) fn place(length: usize, index: i64) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    match index < 0 {
        true => length.checked_sub(distance),
        false => (distance < length).then_some(distance),
    }
}

/// The positions of a slice (RFC 9535, 2.3.4.2.2).
fn slice(length: usize, start: Option<i64>, end: Option<i64>, step: i64) -> Box<dyn Iterator<Item = usize>> {
    let Ok(length) = i64::try_from(length) else {
        return Box::new(std::iter::empty());
    };
    let from_start = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    let position = |index: i64| usize::try_from(index).ok();
    match step {
        0 => Box::new(std::iter::empty()),
        1.. => {
            let lower = from_start(start.unwrap_or(0)).clamp(0, length);
            let upper = from_start(end.unwrap_or(length)).clamp(0, length);
            Box::new((lower..upper).step_by(stride).filter_map(position))
        }
        _ => {
            let upper = from_start(start.unwrap_or(length - 1)).clamp(-1, length - 1);
            let lower = end.map_or(-1, from_start).clamp(-1, length - 1);
            let down = (lower + 1..=upper).rev();
            Box::new(down.step_by(stride).filter_map(position))
        }
    }
}

/// A path being read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    /// What was expected, and what is there.
    fn expected(&self, what: &str) -> String {
        let place = self.text[..self.at].chars().count() + 1;
        match self.peek() {
            None => format!("{what} is missing at its end"),
            Some(found) => format!("{what} is expected at character {place}, not '{found}'"),
        }
    }

    fn segment(&mut self) -> Result<Option<Segment>, String> {
        let before = self.at;
        self.blanks();
        if self.peek().is_none() {
            // Blanks belong between segments.
            return match before == self.at {
                true => Ok(None),
                false => Err("it ends with a blank".to_string()),
            };
        }
        if self.take('[') {
            return self.bracket().map(Some);
        }
        if !self.take('.') {
            return Err(self.expected("'.' or '['"));
        }
        if self.take('.') {
            return Err("'..' is not supported: it would search every message as a whole; name the way".to_string());
        }
        if self.take('*') {
            return Ok(Some(Segment::Several(vec![Selector::Every])));
        }
        let start = self.at;
        while self.peek().is_some_and(|c| is_name(c, self.at == start)) {
            self.next();
        }
        match &self.text[start..self.at] {
            "" => Err(self.expected("a name (others than letters, digits and '_' in brackets: $['a b'])")),
            name => Ok(Some(Segment::Name(name.to_string()))),
        }
    }

    /// After `[`.
    fn bracket(&mut self) -> Result<Segment, String> {
        let mut selectors = Vec::new();
        loop {
            self.blanks();
            selectors.push(self.selector()?);
            self.blanks();
            if self.take(']') {
                break;
            }
            if !self.take(',') {
                return Err(self.expected("']'"));
            }
        }
        if selectors.len() > 1 {
            return Ok(Segment::Several(selectors));
        }
        Ok(match selectors.pop() {
            Some(Selector::Name(name)) => Segment::Name(name),
            Some(Selector::Index(index)) => Segment::Index(index),
            several => Segment::Several(several.into_iter().collect()),
        })
    }

    fn selector(&mut self) -> Result<Selector, String> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => {
                self.next();
                self.quoted(quote).map(Selector::Name)
            }
            Some('*') => {
                self.next();
                Ok(Selector::Every)
            }
            Some('?') => Err(
                "filters ('?') are not supported: make the column an ARRAY or JSON and filter in the query".to_string(),
            ),
            Some('-' | '0'..='9' | ':') => self.numbers(),
            _ => Err(self.expected("a quoted name, a position, a slice or '*'")),
        }
    }

    /// A position or a slice.
    fn numbers(&mut self) -> Result<Selector, String> {
        let start = self.integer()?;
        self.blanks();
        if !self.take(':') {
            return start.map(Selector::Index).ok_or_else(|| self.expected("a position"));
        }
        self.blanks();
        let end = self.integer()?;
        self.blanks();
        let step = match self.take(':') {
            true => {
                self.blanks();
                self.integer()?
            }
            false => None,
        };
        Ok(Selector::Slice {
            start,
            end,
            step: step.unwrap_or(1),
        })
    }

    fn integer(&mut self) -> Result<Option<i64>, String> {
        let start = self.at;
        self.take('-');
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.next();
        }
        let text = &self.text[start..self.at];
        let digits = text.trim_start_matches('-');
        if text.is_empty() {
            return Ok(None);
        }
        if digits.is_empty() || (digits.starts_with('0') && text != "0") {
            return Err(format!("'{text}' is not a position: no leading zeros, no -0"));
        }
        let index = text.parse().ok().filter(|index: &i64| index.abs() <= MAX_INDEX);
        index
            .map(Some)
            .ok_or_else(|| format!("the position {text} is too large"))
    }

    /// After the quote: the name up to the closing one.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut name = String::new();
        loop {
            match self.next() {
                None => return Err(format!("the name's closing {quote} is missing")),
                Some(c) if c == quote => return Ok(name),
                Some('\\') => name.push(self.escaped(quote)?),
                Some(c) if c < ' ' => return Err("control characters in a name are written as \\u0000".to_string()),
                Some(c) => name.push(c),
            }
        }
    }

    /// After `\`.
    fn escaped(&mut self, quote: char) -> Result<char, String> {
        Ok(match self.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                return self
                    .unicode()
                    .ok_or_else(|| "'\\u' needs four hex digits of a character".to_string());
            }
            Some(c @ ('/' | '\\')) => c,
            Some(c) if c == quote => c,
            Some(c) => return Err(format!("'\\{c}' is no escape")),
            None => return Err("it ends amid an escape".to_string()),
        })
    }

    /// After `\u`: one code, or the two of a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let high = self.hex()?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high);
        }
        let low = (self.take('\\') && self.take('u')).then(|| self.hex()).flatten()?;
        let pair = char::decode_utf16([u16::try_from(high).ok()?, u16::try_from(low).ok()?]).next();
        pair?.ok()
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |code, _| Some(code * 16 + self.next()?.to_digit(16)?))
    }
}

/// Whether a character may stand in a name without quotes.
fn is_name(c: char, first: bool) -> bool {
    c == '_' || c.is_ascii_alphabetic() || !c.is_ascii() || (!first && c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, path: &str) -> Vec<String> {
        let value: &RawValue = serde_json::from_str(json).unwrap();
        let mut found = Vec::new();
        find(value, &JsonPath::parse(path).unwrap().segments, Fold::Exact, &mut found);
        found.iter().map(|value| value.get().to_string()).collect()
    }

    #[test]
    fn names_and_positions() {
        let json = r#"{"a":{"b c":[1,{"é":"x"}],"":7},"k\"":8,"😀":9,"a'":10}"#;
        for (path, want) in [
            ("$", json),
            ("$.a['b c'][0]", "1"),
            ("$['a'][\"b c\"][1].é", "\"x\""),
            ("$ .a [ 'b c' ] [ -2 ]", "1"),
            ("$.a['']", "7"),
            ("$['k\"']", "8"),
            ("$[\"k\\\"\"]", "8"),
            ("$['\\ud83d\\ude00']", "9"),
            ("$['a\\'']", "10"),
            ("$[\"a'\"]", "10"),
        ] {
            assert_eq!(found(json, path), [want], "{path}");
        }
        for path in [
            "$.b",
            "$[0]",
            "$.a.b",
            "$.a['b c'][2]",
            "$.a['b c'][-3]",
            "$.a['b c'][0].x",
        ] {
            assert_eq!(found(json, path), [] as [&str; 0], "{path}");
        }
    }

    #[test]
    fn several_values() {
        let json = r#"{"a":[0,1,2,3,4,5],"o":{"x":1,"y":{"z":2}},"l":[{"p":1},{"q":2},{"p":3}]}"#;
        let cases: &[(&str, &[&str])] = &[
            ("$.a[*]", &["0", "1", "2", "3", "4", "5"]),
            ("$.a[1:3]", &["1", "2"]),
            ("$.a[5:]", &["5"]),
            ("$.a[1:5:2]", &["1", "3"]),
            ("$.a[5:1:-2]", &["5", "3"]),
            ("$.a[::-1]", &["5", "4", "3", "2", "1", "0"]),
            ("$.a[-2:]", &["4", "5"]),
            ("$.a[::0]", &[]),
            ("$.a[9:99]", &[]),
            ("$.a[0, 2,-1]", &["0", "2", "5"]),
            ("$.o.*", &["1", "{\"z\":2}"]),
            ("$.o['x','nothing']", &["1"]),
            ("$.l[*].p", &["1", "3"]),
            ("$.nothing[*]", &[]),
            ("$.o[1:2]", &[]),
        ];
        for (path, want) in cases {
            assert_eq!(found(json, path), *want, "{path}");
            assert!(!JsonPath::parse(path).unwrap().is_singular(), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (path, want) in [
            ("price", "a path begins with '$', as in '$.price'"),
            ("$price", "'.' or '[' is expected at character 2, not 'p'"),
            (
                "$.",
                "a name (others than letters, digits and '_' in brackets: $['a b']) is missing at its end",
            ),
            (
                "$.1a",
                "a name (others than letters, digits and '_' in brackets: $['a b']) is expected at character 3, not '1'",
            ),
            (
                "$..a",
                "'..' is not supported: it would search every message as a whole; name the way",
            ),
            (
                "$[?@.a > 1]",
                "filters ('?') are not supported: make the column an ARRAY or JSON and filter in the query",
            ),
            ("$[01]", "'01' is not a position: no leading zeros, no -0"),
            ("$[-0]", "'-0' is not a position: no leading zeros, no -0"),
            ("$[9007199254740992]", "the position 9007199254740992 is too large"),
            ("$['a]", "the name's closing ' is missing"),
            ("$['a", "the name's closing ' is missing"),
            (
                "$[a]",
                "a quoted name, a position, a slice or '*' is expected at character 3, not 'a'",
            ),
            ("$['a'", "']' is missing at its end"),
            ("$['\\x']", "'\\x' is no escape"),
            ("$['\\ud800']", "'\\u' needs four hex digits of a character"),
            ("$.a ", "it ends with a blank"),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap_err(), want, "{path}");
        }
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(33))).is_err());
        assert!(JsonPath::parse("$$.a").unwrap().whole);
        assert_eq!(JsonPath::member("a b").to_string(), "$[\"a b\"]");
        assert_eq!(JsonPath::member("a1").to_string(), "$.a1");
    }
}
