//! How times are written when they are not ISO 8601: a pattern, or a number since 1970.

use super::decimal;
use crate::catalog::scalars::date_pattern::DatePattern;
use crate::event::Micros;

/// The words that are no patterns, and the power of ten that turns their unit into nanoseconds.
const EPOCHS: [(&str, i8); 4] = [
    ("epoch-seconds", 9),
    ("epoch-millis", 6),
    ("epoch-micros", 3),
    ("epoch-nanos", 0),
];

/// How the times of `TIMESTAMP` columns are written.
#[derive(Debug, Clone)]
pub(crate) enum DateFormat {
    /// A text in this pattern.
    Pattern(String, DatePattern),
    /// A number of this unit, with or without fraction.
    Epoch(&'static str, i8),
}

impl DateFormat {
    /// From a pattern or one of the words; `None` for ISO 8601.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.eq_ignore_ascii_case("iso-8601") {
            return Ok(None);
        }
        if let Some((word, scale)) = EPOCHS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Ok(Some(DateFormat::Epoch(word, *scale)));
        }
        match DatePattern::new(text) {
            Ok(pattern) if text.chars().any(char::is_alphabetic) => {
                Ok(Some(DateFormat::Pattern(text.to_string(), pattern)))
            }
            Ok(_) => Err(format!("'{text}' has no part of a date")),
            Err(reason) => Err(reason),
        }
    }

    /// The time that a text means. Digits past microseconds are cut.
    pub(crate) fn read(&self, text: &str) -> Option<Micros> {
        match self {
            DateFormat::Pattern(_, pattern) => pattern.parse(text),
            DateFormat::Epoch(_, scale) => {
                let nanos = decimal::scaled(text.trim_ascii(), *scale).ok()?;
                Micros::try_from(nanos.div_euclid(1_000)).ok()
            }
        }
    }

    /// Whether the times are numbers, not texts.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, DateFormat::Epoch(..))
    }

    /// Appends a time; false, with nothing appended, when the pattern cannot say it.
    pub(crate) fn write(&self, out: &mut Vec<u8>, time: Micros) -> bool {
        match self {
            DateFormat::Pattern(_, pattern) => match pattern.format(time) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => return false,
            },
            DateFormat::Epoch(_, scale) => {
                // Nanoseconds, shifted to the unit; whole ones without a point.
                let nanos = i128::from(time) * 1_000;
                match nanos % 10i128.pow(u32::from(scale.unsigned_abs())) {
                    0 => decimal::write(out, nanos / 10i128.pow(u32::from(scale.unsigned_abs())), 0),
                    _ => decimal::write(out, i128::from(time), *scale - 3),
                }
            }
        }
        true
    }

    /// What a text must look like, for messages.
    pub(crate) fn form(&self) -> &str {
        match self {
            DateFormat::Pattern(text, _) => text,
            DateFormat::Epoch(word, _) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (format, text, micros) in [
            ("epoch-seconds", "1700000000", 1_700_000_000_000_000),
            ("epoch-seconds", "1700000000.123000", 1_700_000_000_123_000),
            ("epoch-millis", "1700000000123", 1_700_000_000_123_000),
            ("epoch-millis", "1700000000123.456", 1_700_000_000_123_456),
            ("epoch-micros", "-1", -1),
            ("epoch-nanos", "1700000000123456000", 1_700_000_000_123_456),
            ("dd.MM.yyyy HH:mm", "14.11.2023 22:13", 1_699_999_980_000_000),
        ] {
            let dates = DateFormat::parse(format).unwrap().unwrap();
            assert_eq!(dates.read(text), Some(micros), "{format} {text}");
            let mut out = Vec::new();
            assert!(dates.write(&mut out, micros));
            assert_eq!(String::from_utf8(out).unwrap(), text, "{format}");
        }
        let cut = DateFormat::parse("epoch-nanos").unwrap().unwrap();
        assert_eq!(cut.read("-1"), Some(-1));
        assert_eq!(cut.read("1999"), Some(1));
        assert_eq!(cut.read("1.5"), None);
        assert_eq!(cut.read("1e30"), None);
        assert_eq!(cut.read("soon"), None);
    }

    #[test]
    fn words_and_patterns() {
        assert!(DateFormat::parse("ISO-8601").unwrap().is_none());
        assert!(DateFormat::parse("").is_err());
        assert!(DateFormat::parse("--").is_err());
        assert!(DateFormat::parse("QQQ").is_err());
    }
}
