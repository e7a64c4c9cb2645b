//! Whole numbers and decimals from text, exactly: never through a float.

use super::number;

/// Digits that an i128 always holds.
const DIGITS: i64 = 38;

/// Why a number is not a whole multiple of `10^-scale` that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inexact {
    /// Not a number at all.
    NotANumber,
    /// It has more fraction digits than fit.
    Fraction,
    /// It is too large.
    Range,
}

/// The number in units of `10^-scale`. JSON's grammar; exponents are fine (`1.5e3` at scale 0 is 1500).
pub(crate) fn scaled(text: &str, scale: i8) -> Result<i128, Inexact> {
    let number = number::scan(text.as_bytes(), 0)
        .filter(|number| number.end == text.len())
        .ok_or(Inexact::NotANumber)?;
    match number.exact() {
        Some((mantissa, exponent)) => shift(mantissa, i64::from(exponent) + i64::from(scale)),
        None => long(text, i64::from(scale)),
    }
}

/// `mantissa × 10^power`, when that is whole.
fn shift(mantissa: i128, power: i64) -> Result<i128, Inexact> {
    if mantissa == 0 {
        return Ok(0);
    }
    let factor = || {
        u32::try_from(power.abs())
            .ok()
            .and_then(|power| 10i128.checked_pow(power))
    };
    if power >= 0 {
        return factor()
            .and_then(|factor| mantissa.checked_mul(factor))
            .ok_or(Inexact::Range);
    }
    match factor() {
        Some(factor) if mantissa % factor == 0 => Ok(mantissa / factor),
        _ => Err(Inexact::Fraction),
    }
}

/// The same for numbers of more digits than 64 bits hold.
#[cold]
fn long(text: &str, scale: i64) -> Result<i128, Inexact> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') {
        -DIGITS * 1000
    } else {
        DIGITS * 1000
    });
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let power = exponent.saturating_add(scale) + zeros as i64 - fraction.len() as i64;
    if power < 0 {
        return Err(Inexact::Fraction);
    }
    if significant.len() as i64 + power > DIGITS {
        return Err(Inexact::Range);
    }
    let mantissa: i128 = significant.parse().map_err(|_| Inexact::Range)?;
    shift(if negative { -mantissa } else { mantissa }, power)
}

/// The number as a 64-bit whole number.
pub(crate) fn integer(text: &str) -> Result<i64, Inexact> {
    i64::try_from(scaled(text, 0)?).map_err(|_| Inexact::Range)
}

/// Appends a decimal in units of `10^-scale` as text.
pub(crate) fn write(out: &mut Vec<u8>, value: i128, scale: i8) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs());
    if value < 0 {
        out.push(b'-');
    }
    let Ok(scale @ 1..) = usize::try_from(scale) else {
        out.extend_from_slice(digits.as_bytes());
        out.extend(std::iter::repeat_n(
            b'0',
            if value == 0 {
                0
            } else {
                usize::from(scale.unsigned_abs())
            },
        ));
        return;
    };
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
    out.push(b'.');
    out.extend(std::iter::repeat_n(b'0', scale - fraction.len()));
    out.extend_from_slice(fraction.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_or_refused() {
        let cases = [
            ("17", 0, Ok(17)),
            ("17.0", 0, Ok(17)),
            ("17.5", 0, Err(Inexact::Fraction)),
            ("1.5e1", 0, Ok(15)),
            ("15e-1", 0, Err(Inexact::Fraction)),
            ("-0.10", 2, Ok(-10)),
            ("0.105", 2, Err(Inexact::Fraction)),
            ("0.1", 10, Ok(1_000_000_000)),
            (
                "12345678901234567890123456789012345678",
                0,
                Ok(12345678901234567890123456789012345678),
            ),
            (
                "1234567890123456789012345678901234567.8",
                1,
                Ok(12345678901234567890123456789012345678),
            ),
            ("-0.00000000000000000000000000000000000001", 38, Ok(-1)),
            ("123456789012345678901234567890123456789", 0, Err(Inexact::Range)),
            ("1e38", 0, Ok(10i128.pow(38))),
            ("1e39", 0, Err(Inexact::Range)),
            ("1e999999999999999999999", 0, Err(Inexact::Range)),
            ("1e-999999999999999999999", 0, Err(Inexact::Fraction)),
            ("100000000000000000000000e-22", 0, Ok(10)),
            ("000", 0, Err(Inexact::NotANumber)),
            ("", 0, Err(Inexact::NotANumber)),
        ];
        for (text, scale, want) in cases {
            assert_eq!(scaled(text, scale), want, "{text}");
        }
    }

    #[test]
    fn written() {
        let cases = [
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (12345, 2, "123.45"),
            (7, 0, "7"),
            (-700, 2, "-7.00"),
        ];
        for (value, scale, want) in cases {
            let mut out = Vec::new();
            write(&mut out, value, scale);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }
}
