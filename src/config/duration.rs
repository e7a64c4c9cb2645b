//! Durations in option values: the same forms that the language takes.

use crate::event::Micros;

/// A duration as it may stand in SQL (`5 seconds`, `500 ms`, `1 hour 30 minutes`) or a bare number of milliseconds, in
/// microseconds. `None` when it is not one or is negative.
pub fn parse(text: &str) -> Option<Micros> {
    let expr = eventflux_sqlparser::parse_expr(text.trim()).ok()?;
    eventflux_sqlparser::duration_micros(&expr).filter(|micros| *micros >= 0)
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
