//! Intervals as PostgreSQL writes them: `1 year 2 mons -3 days +04:05:06.789`, or in ISO 8601.

use arrow::datatypes::IntervalMonthDayNano;

const NANOS: i64 = 1_000_000_000;

/// An interval; `None` when it is not one or does not fit.
pub(crate) fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.trim_ascii();
    if text.starts_with('P') {
        return crate::formats::columns::parse_interval(text);
    }
    let (mut months, mut days, mut nanos) = (0_i64, 0_i64, 0_i64);
    let mut words = text.split_ascii_whitespace();
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if word.contains(':') {
            nanos = nanos.checked_add(clock(word)?)?;
            continue;
        }
        let amount: i64 = word.parse().ok()?;
        match words.next()? {
            "year" | "years" => months = months.checked_add(amount.checked_mul(12)?)?,
            "mon" | "mons" | "month" | "months" => months = months.checked_add(amount)?,
            "day" | "days" => days = days.checked_add(amount)?,
            _ => return None,
        }
    }
    let interval = IntervalMonthDayNano::new(i32::try_from(months).ok()?, i32::try_from(days).ok()?, nanos);
    any.then_some(interval)
}

/// `[±]H…:MM:SS[.f]` in nanoseconds.
fn clock(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut parts = digits.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds = parts.next().unwrap_or("0");
    if parts.next().is_some() || hours < 0 || !(0..60).contains(&minutes) {
        return None;
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let whole: i64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) || !(0..=60).contains(&whole) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    let whole = hours.checked_mul(3600)?.checked_add(minutes * 60 + whole)?;
    Some(sign * whole.checked_mul(NANOS)?.checked_add(fraction)?)
}
