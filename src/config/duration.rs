//! Durations in option values: the same forms that the language takes.

use crate::event::Micros;

/// A duration as it may stand in SQL (`5 seconds`, `500 ms`, `1 hour 30 minutes`) or a bare number of milliseconds, in
/// microseconds. `None` when it is not one or is negative.
pub fn parse(text: &str) -> Option<Micros> {
    let mut total: Micros = 0;
    let mut rest = text.trim();
    if let Ok(millis) = rest.parse::<u32>() {
        return Some(Micros::from(millis) * 1_000);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let amount: Micros = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match rest[..letters].to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 1_000,
            "s" | "sec" | "second" | "seconds" => 1_000_000,
            "m" | "min" | "minute" | "minutes" => 60_000_000,
            "h" | "hour" | "hours" => 3_600_000_000,
            "d" | "day" | "days" => 86_400_000_000,
            "w" | "week" | "weeks" => 604_800_000_000,
            _ => return None,
        };
        total = total.checked_add(amount.checked_mul(unit)?)?;
        rest = rest[letters..].trim_start();
    }
    (!text.trim().is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn forms() {
        let cases = [
            ("5 seconds", Some(5_000_000)),
            ("500ms", Some(500_000)),
            ("250", Some(250_000)),
            ("1 hour 30 minutes", Some(5_400_000_000)),
            ("5 parsecs", None),
            ("", None),
            ("-1 s", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
