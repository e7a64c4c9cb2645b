//! Patterns of dates: chrono's where there is a `%`, else those of Java's `SimpleDateFormat`, which are turned into them.

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta};

use crate::event::Micros;

/// A pattern, ready to format and to parse.
#[derive(Debug, Clone)]
pub struct DatePattern(Vec<Item<'static>>);

impl DatePattern {
    /// Reads a pattern, or says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let strftime = match pattern.contains('%') {
            true => pattern.to_string(),
            false => from_java(pattern)?,
        };
        let items = StrftimeItems::new(&strftime)
            .parse_to_owned()
            .map_err(|_| format!("'{pattern}' is not a pattern of dates"))?;
        Ok(DatePattern(items))
    }

    /// The time in the pattern; `None` for times beyond the calendar.
    pub fn format(&self, time: Micros) -> Option<String> {
        use std::fmt::Write;
        let time = DateTime::from_timestamp_micros(time)?;
        let mut text = String::new();
        write!(text, "{}", time.format_with_items(self.0.iter())).ok()?;
        Some(text)
    }

    /// The time that a text in the pattern means: in UTC unless it has an offset; what the pattern leaves out is the first
    /// month, day, hour, minute or second.
    pub fn parse(&self, text: &str) -> Option<Micros> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.0.iter()).ok()?;
        if let Some(seconds) = parsed.timestamp() {
            let nanos = i64::from(parsed.nanosecond().unwrap_or_default());
            return seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000);
        }
        let by_day_of_year = parsed.ordinal().is_some() || parsed.weekday().is_some();
        if parsed.month().is_none() && !by_day_of_year {
            parsed.set_month(1).ok()?;
        }
        if parsed.day().is_none() && !by_day_of_year {
            parsed.set_day(1).ok()?;
        }
        let date = parsed.to_naive_date().ok()?;
        let local = NaiveDateTime::new(date, time_of_day(&mut parsed)?);
        let offset = TimeDelta::seconds(i64::from(parsed.offset().unwrap_or_default()));
        Some(local.checked_sub_signed(offset)?.and_utc().timestamp_micros())
    }
}

fn time_of_day(parsed: &mut Parsed) -> Option<NaiveTime> {
    if parsed.hour_mod_12().is_none() && parsed.hour_div_12().is_none() {
        parsed.set_hour(0).ok()?;
    } else if parsed.hour_div_12().is_none() {
        parsed.set_ampm(false).ok()?;
    }
    if parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    if parsed.second().is_none() {
        parsed.set_second(0).ok()?;
    }
    parsed.to_naive_time().ok()
}

/// A pattern of Java's letters in chrono's terms.
fn from_java(pattern: &str) -> Result<String, String> {
    let mut strftime = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == '\'' {
            quoted(&mut rest, &mut strftime).ok_or_else(|| format!("a quote is not closed in '{pattern}'"))?;
        } else if letter.is_ascii_alphabetic() {
            let mut count = 1;
            while rest.next_if_eq(&letter).is_some() {
                count += 1;
            }
            let field = java_field(letter, count).ok_or_else(|| {
                let letters: String = std::iter::repeat_n(letter, count).collect();
                format!("'{letters}' in '{pattern}' is no part of a date; put text in single quotes")
            })?;
            strftime.push_str(field);
        } else {
            strftime.push(letter);
        }
    }
    Ok(strftime)
}

/// What stands up to the closing quote; two quotes are one.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars>, text: &mut String) -> Option<()> {
    if rest.next_if_eq(&'\'').is_some() {
        text.push('\'');
        return Some(());
    }
    loop {
        match rest.next()? {
            '\'' if rest.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => return Some(()),
            letter => text.push(letter),
        }
    }
}

fn java_field(letter: char, count: usize) -> Option<&'static str> {
    Some(match (letter, count) {
        ('y' | 'u', 2) => "%y",
        ('y', _) => "%Y",
        ('M' | 'L', 1) => "%-m",
        ('M' | 'L', 2) => "%m",
        ('M' | 'L', 3) => "%b",
        ('M' | 'L', _) => "%B",
        ('d', 1) => "%-d",
        ('d', 2) => "%d",
        ('D', _) => "%j",
        ('H', 1) => "%-H",
        ('H', 2) => "%H",
        ('h', 1) => "%-I",
        ('h', 2) => "%I",
        ('m', 1) => "%-M",
        ('m', 2) => "%M",
        ('s', 1) => "%-S",
        ('s', 2) => "%S",
        ('S', 3) => "%3f",
        ('S', 6) => "%6f",
        ('S', 9) => "%9f",
        ('a', _) => "%p",
        ('E', 1..=3) => "%a",
        ('E', _) => "%A",
        ('u', 1) => "%u",
        ('Z', _) => "%z",
        ('X', 3) => "%:z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02T09:05:07.123456Z.
    const TIME: Micros = 1_772_442_307_123_456;

    #[test]
    fn patterns_of_both_kinds_format() {
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-02 09:05:07.123"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2026-03-02T09:05:07+00:00"),
            ("d MMM yy, h:mm a", "2 Mar 26, 9:05 AM"),
            ("EEEE d MMMM", "Monday 2 March"),
            ("H 'o''clock'", "9 o'clock"),
            ("D", "061"),
            ("%Y/%m/%d %H:%M:%S%.6f", "2026/03/02 09:05:07.123456"),
        ] {
            let formatted = DatePattern::new(pattern).unwrap().format(TIME);
            assert_eq!(formatted.as_deref(), Some(text), "{pattern}");
        }
    }

    #[test]
    fn patterns_of_both_kinds_parse() {
        let day = TIME - TIME % 86_400_000_000;
        for (pattern, text, time) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-02 09:05:07.123", Some(TIME - 456)),
            ("yyyy-MM-dd", "2026-03-02", Some(day)),
            ("yyyy-MM", "2026-03", Some(day - 86_400_000_000)),
            ("yyyy-MM-dd HH", "2026-03-02 09", Some(day + 9 * 3_600_000_000)),
            (
                "yyyy-MM-dd HH:mmXXX",
                "2026-03-02 09:00+01:00",
                Some(day + 8 * 3_600_000_000),
            ),
            ("%d.%m.%Y", "2.3.2026", Some(day)),
            ("%s", "1772442307", Some(TIME - 123_456)),
            ("yyyy-MM-dd", "2026-02-30", None),
            ("yyyy-MM-dd", "2026-03-02 09:00", None),
            ("yyyy-MM-dd", "", None),
        ] {
            assert_eq!(DatePattern::new(pattern).unwrap().parse(text), time, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["yyyy-QQ", "'open", "%Q", "SS"] {
            assert!(DatePattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
