//! Intervals as ISO 8601 durations: `P1Y2M10DT2H30M0.5S`, each number with its own sign.
//!
//! An interval has three parts that do not convert into each other: months, days and nanoseconds.

use arrow::datatypes::IntervalMonthDayNano;

const NANOS: i64 = 1_000_000_000;

/// An ISO 8601 duration; `None` when it is not one or does not fit.
pub(crate) fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty())?;
    let mut interval = IntervalMonthDayNano::new(0, 0, 0);
    // Units may be left out but not swapped or repeated.
    let mut units = "YMWDTHMS".chars();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            units.find(|unit| *unit == 'T')?;
            rest = after;
            if rest.is_empty() {
                return None;
            }
        }
        let length = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = (&rest[..length], rest[length..].chars().next()?);
        let in_time = !units.as_str().contains('T');
        units.find(|next| *next == unit)?;
        if in_time == units.as_str().contains('T') {
            return None;
        }
        rest = &rest[length + 1..];
        match (in_time, unit) {
            (false, 'Y') => interval.months = interval.months.checked_add(integer(number)?.checked_mul(12)?)?,
            (false, 'M') => interval.months = interval.months.checked_add(integer(number)?)?,
            (false, 'W') => interval.days = interval.days.checked_add(integer(number)?.checked_mul(7)?)?,
            (false, 'D') => interval.days = interval.days.checked_add(integer(number)?)?,
            (true, 'H') => add(&mut interval, i64::from(integer(number)?), 3_600)?,
            (true, 'M') => add(&mut interval, i64::from(integer(number)?), 60)?,
            (true, 'S') => interval.nanoseconds = interval.nanoseconds.checked_add(seconds(number)?)?,
            _ => return None,
        }
    }
    Some(interval)
}

fn add(interval: &mut IntervalMonthDayNano, amount: i64, seconds: i64) -> Option<()> {
    let nanos = amount.checked_mul(seconds)?.checked_mul(NANOS)?;
    interval.nanoseconds = interval.nanoseconds.checked_add(nanos)?;
    Some(())
}

fn integer(number: &str) -> Option<i32> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| number.parse().ok())
        .flatten()
}

/// Seconds with up to nine fraction digits, in nanoseconds.
fn seconds(number: &str) -> Option<i64> {
    let nanos = super::decimal::scaled(number, 9).ok()?;
    i64::try_from(nanos).ok()
}

/// Appends an ISO 8601 duration; `PT0S` for none.
pub(crate) fn write(out: &mut Vec<u8>, interval: IntervalMonthDayNano) {
    let mut buffer = itoa::Buffer::new();
    out.push(b'P');
    for (amount, unit) in [(interval.months, b'M'), (interval.days, b'D')] {
        if amount != 0 {
            out.extend_from_slice(buffer.format(amount).as_bytes());
            out.push(unit);
        }
    }
    if interval.nanoseconds != 0 || out.ends_with(b"P") {
        out.push(b'T');
        let start = out.len();
        super::decimal::write(out, i128::from(interval.nanoseconds), 9);
        while out.len() > start && out.ends_with(b"0") {
            out.pop();
        }
        if out.ends_with(b".") {
            out.pop();
        }
        out.push(b'S');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let cases = [
            ("P1Y2M3W4DT5H6M7.5S", Some((14, 25, 18_367_500_000_000))),
            ("PT0S", Some((0, 0, 0))),
            ("P-1DT-0.5S", Some((0, -1, -500_000_000))),
            ("P1M", Some((1, 0, 0))),
            ("PT1M", Some((0, 0, 60_000_000_000))),
            ("P", None),
            ("PT", None),
            ("P1D2M", None),
            ("P1S", None),
            ("PT1D", None),
            ("P1DT", None),
            ("1 hour", None),
            ("P99999999999M", None),
            ("PT1H1H", None),
        ];
        for (text, want) in cases {
            let want = want.map(|(months, days, nanos)| IntervalMonthDayNano::new(months, days, nanos));
            assert_eq!(parse(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_interval_comes_back(months: i32, days: i32, nanos: i64) {
            let interval = IntervalMonthDayNano::new(months, days, nanos);
            let mut out = Vec::new();
            write(&mut out, interval);
            let text = String::from_utf8_lossy(&out);
            prop_assert_eq!(parse(&text), Some(interval), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "[PT0-9YMWDHS.e-]{0,20}|.{0,20}") {
            let _ = parse(&text);
        }
    }
}
