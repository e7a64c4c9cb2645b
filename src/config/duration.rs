//! Durations in option values: the same forms that the language takes.

use crate::event::Micros;

/// A duration as it may stand in SQL (`5 seconds`, `500 ms`, `1 hour 30 minutes`) or a bare number of milliseconds, in
/// microseconds. `None` when it is not one or is negative.
pub fn parse(text: &str) -> Option<Micros> {
    let expr = eventflux_sqlparser::parse_expr(text.trim()).ok()?;
    eventflux_sqlparser::duration_micros(&expr).filter(|micros| *micros >= 0)
}

/// A duration in the largest unit that it is a whole number of, as [`parse`] reads it: whole milliseconds.
pub fn text(micros: Micros) -> String {
    const UNITS: [(Micros, &str); 4] = [
        (86_400_000_000, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
    ];
    let whole = UNITS.iter().find(|(unit, _)| micros != 0 && micros % unit == 0);
    let (unit, name) = whole.copied().unwrap_or((1_000, "millisecond"));
    let count = micros / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn what_is_printed_can_be_read() {
        for micros in [
            0,
            1_000,
            1_500_000,
            60_000_000,
            90_000_000,
            7_200_000_000,
            86_400_000_000,
        ] {
            assert_eq!(parse(&text(micros)), Some(micros), "{}", text(micros));
        }
        assert_eq!(text(90_000_000), "90 seconds");
    }

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
