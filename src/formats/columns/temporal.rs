//! Dates, times and timestamps from and to ISO 8601 text.
//!
//! Years are `0000` to `9999`; outside of that they carry a sign and more digits (`+12345-01-01`), as ISO 8601 has it.

use crate::event::Micros;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Days from 0000-03-01 to 1970-01-01; eras of 400 years have [`ERA_DAYS`].
const EPOCH_DAYS: i64 = 719_468;
const ERA_DAYS: i64 = 146_097;

/// `YYYY-MM-DD` in days since 1970-01-01.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let (days, rest) = date(text)?;
    rest.is_empty().then_some(())?;
    i32::try_from(days).ok()
}

/// `HH:MM[:SS[.f]]` in microseconds of the day; fraction digits past the sixth are cut.
pub(crate) fn parse_time(text: &[u8]) -> Option<i64> {
    let (time, rest) = time(text)?;
    rest.is_empty().then_some(time)
}

/// `YYYY-MM-DD[(T| )HH:MM[:SS[.f]][Z|±HH[[:]MM]]]` in UTC microseconds; without zone it is UTC.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<Micros> {
    let (days, rest) = date(text)?;
    let midnight = days.checked_mul(DAY)?;
    if rest.is_empty() {
        return Some(midnight);
    }
    let [b'T' | b't' | b' ', rest @ ..] = rest else {
        return None;
    };
    let (time, rest) = time(rest)?;
    midnight.checked_add(time)?.checked_sub(zone(rest)?)
}

/// Two digits at the front.
#[inline]
fn two(text: &[u8]) -> Option<(i64, &[u8])> {
    let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = text else {
        return None;
    };
    Some((i64::from(tens - b'0') * 10 + i64::from(ones - b'0'), rest))
}

fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = year(text)?;
    let [b'-', rest @ ..] = rest else { return None };
    let (month, rest) = two(rest)?;
    let [b'-', rest @ ..] = rest else { return None };
    let (day, rest) = two(rest)?;
    let valid = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    valid.then(|| (days_from_civil(year, month, day), rest))
}

fn year(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => {
            let (century, rest) = two(text)?;
            let (year, rest) = two(rest)?;
            return Some((century * 100 + year, rest));
        }
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(4..=7).contains(&length) {
        return None;
    }
    let year = digits[..length]
        .iter()
        .fold(0, |year, digit| year * 10 + i64::from(digit - b'0'));
    Some((sign * year, &digits[length..]))
}

fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = two(text)?;
    let [b':', rest @ ..] = rest else { return None };
    let (minute, rest) = two(rest)?;
    let (second, micros, rest) = match rest {
        [b':', rest @ ..] => {
            let (second, rest) = two(rest)?;
            let (micros, rest) = fraction(rest)?;
            (second, micros, rest)
        }
        _ => (0, 0, rest),
    };
    let valid = hour < 24 && minute < 60 && second < 60;
    valid.then_some((((hour * 60 + minute) * 60 + second) * SECOND + micros, rest))
}

/// `.123456789` in microseconds; 0 when there is none.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.' | b',', digits @ ..] = text else {
        return Some((0, text));
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let micros = (0..6).fold(0, |micros, place| {
        let digit = digits[..length].get(place).map_or(0, |digit| i64::from(digit - b'0'));
        micros * 10 + digit
    });
    Some((micros, &digits[length..]))
}

/// A zone offset in microseconds.
fn zone(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two(rest)?;
    let minutes = match rest {
        [] => 0,
        [b':', rest @ ..] | rest => two(rest).filter(|(_, rest)| rest.is_empty())?.0,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * SECOND)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years begin in March here, so that the leap day
/// is the last of its year (Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn push_two(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// Appends `YYYY-MM-DD`.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        push_two(out, year / 100);
        push_two(out, year);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        let digits = year.unsigned_abs();
        out.extend_from_slice(if digits < 1_000 { b"0" } else { b"" });
        out.extend_from_slice(if digits < 100 { b"0" } else { b"" });
        out.extend_from_slice(if digits < 10 { b"0" } else { b"" });
        out.extend_from_slice(itoa::Buffer::new().format(digits).as_bytes());
    }
    out.push(b'-');
    push_two(out, month);
    out.push(b'-');
    push_two(out, day);
}

/// Appends `HH:MM:SS` with a fraction of 0, 3 or 6 digits, as few as needed.
pub(crate) fn write_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros / SECOND;
    push_two(out, seconds / 3_600);
    out.push(b':');
    push_two(out, seconds / 60 % 60);
    out.push(b':');
    push_two(out, seconds % 60);
    let fraction = micros % SECOND;
    if fraction != 0 {
        out.push(b'.');
        push_two(out, fraction / 10_000);
        out.push(b'0' + (fraction / 1_000 % 10) as u8);
        if fraction % 1_000 != 0 {
            out.push(b'0' + (fraction / 100 % 10) as u8);
            push_two(out, fraction);
        }
    }
}

/// Appends an RFC 3339 timestamp in UTC, `2024-01-31T09:05:00.250Z`.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, micros: Micros) {
    write_date(out, micros.div_euclid(DAY));
    out.push(b'T');
    write_time(out, micros.rem_euclid(DAY));
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("1970-01-01T00:00:01", Some(1_000_000)),
            ("1970-01-01 00:01", Some(60_000_000)),
            ("1970-01-01T00:00:00.25Z", Some(250_000)),
            ("1970-01-01T00:00:00.1234569Z", Some(123_456)),
            ("1970-01-01T02:00:00+02:00", Some(0)),
            ("1970-01-01T02:00:00+0200", Some(0)),
            ("1969-12-31T19:00:00-05", Some(0)),
            ("2024-02-29T00:00:00z", Some(1_709_164_800_000_000)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-01-01T24:00:00", None),
            ("2024-01-01T00:00:60", None),
            ("2024-01-01T00:00:00.Z", None),
            ("2024-01-01T", None),
            ("2024-01-01T00:00:00+", None),
            ("2024-1-1", None),
            ("", None),
            ("+294247-01-10T04:00:54.775807Z", Some(i64::MAX)),
            ("+294247-01-10T04:00:54.775808Z", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_timestamp(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_timestamp_comes_back(micros in any::<i64>().prop_filter("first day", |m| *m > i64::MIN + 86_400_000_000)) {
            let mut out = Vec::new();
            write_timestamp(&mut out, micros);
            prop_assert_eq!(parse_timestamp(&out), Some(micros), "{}", String::from_utf8_lossy(&out));
        }

        #[test]
        fn the_calendar_is_chronos(days in -700_000i32..2_900_000) {
            let mut out = Vec::new();
            write_date(&mut out, i64::from(days));
            let date = DateTime::from_timestamp(i64::from(days) * 86_400, 0).map(|time| time.date_naive().to_string());
            prop_assert_eq!(Some(String::from_utf8_lossy(&out).into_owned()), date);
            prop_assert_eq!(parse_date(&out), Some(days));
        }

        #[test]
        fn dates_are_valid_when_chrono_says_so(year in 0i32..=9999, month in 0u32..14, day in 0u32..33) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            let valid = NaiveDate::from_ymd_opt(year, month, day).is_some();
            prop_assert_eq!(parse_date(text.as_bytes()).is_some(), valid, "{}", text);
        }

        #[test]
        fn times_come_back(micros in 0i64..86_400_000_000) {
            let mut out = Vec::new();
            write_time(&mut out, micros);
            prop_assert_eq!(parse_time(&out), Some(micros));
        }
    }
}
