//! Numbers from text: the grammar of JSON in one pass, and the conversions that most numbers need without a second.

use super::scan::word;

/// A number at the front of some text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    /// Where it ends.
    pub(crate) end: usize,
    negative: bool,
    /// It has neither fraction nor exponent.
    whole: bool,
    /// `mantissa × 10^exponent` is the number; else it has too many digits for that.
    exact: bool,
    mantissa: u64,
    exponent: i32,
}

/// Digits that always fit 64 bits.
const MANTISSA_DIGITS: usize = 19;
/// Powers of ten for up to eight digits.
const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
/// Integers up to here are exact as f64.
const F64_EXACT: u64 = 1 << 53;
/// Integers up to here are exact as f32.
const F32_EXACT: u64 = 1 << 24;
/// Powers of ten that are exact as f64; one rounding of an exact mantissa by an exact power is the nearest f64
/// (Clinger, "How to read floating point numbers accurately", 1990).
const F64_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// The same for f32.
const F32_POWERS: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];

/// Reads a number by the grammar of JSON. What follows it is not looked at.
#[inline(always)]
pub(crate) fn scan(bytes: &[u8], start: usize) -> Option<Number> {
    let negative = *bytes.get(start)? == b'-';
    let first = start + usize::from(negative);
    let mut mantissa = 0;
    let whole_end = digits(bytes, first, &mut mantissa);
    let mut count = whole_end - first;
    if count == 0 || (count > 1 && bytes[first] == b'0') {
        return None;
    }
    let mut number = Number {
        end: whole_end,
        negative,
        whole: true,
        exact: true,
        mantissa,
        exponent: 0,
    };
    if bytes.get(number.end) == Some(&b'.') {
        let fraction = number.end + 1;
        number.end = digits(bytes, fraction, &mut number.mantissa);
        let length = number.end - fraction;
        if length == 0 {
            return None;
        }
        count += length;
        number.whole = false;
        number.exponent = i32::try_from(length).map_or(i32::MIN, |length| -length);
    }
    number.exact = count <= MANTISSA_DIGITS;
    if matches!(bytes.get(number.end), Some(b'e' | b'E')) {
        exponent(bytes, &mut number)?;
    }
    Some(number)
}

/// Appends the digits from `at` on to `value` and gives where they end. Eight bytes at a time and without a branch on how
/// many of them are digits: the lengths of numbers vary, and a mispredicted branch costs more than all of this.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(word) = word(bytes, at) {
        let count = leading_digits(word);
        if count == 0 {
            return at;
        }
        // Shifted so that the digits are the last of eight, with zeros before.
        let eight = eight_digits(word << (64 - 8 * count));
        *value = value.wrapping_mul(POWERS[count]).wrapping_add(eight);
        at += count;
        if count < 8 {
            return at;
        }
    }
    while let Some(&byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// How many of the eight bytes, from the lowest on, are digits.
#[inline(always)]
fn leading_digits(word: u64) -> usize {
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    others.trailing_zeros() as usize / 8
}

/// The value of eight digits: pairs, then fours, then all, each by one multiplication.
#[inline(always)]
fn eight_digits(word: u64) -> u64 {
    let digits = word & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (digits.wrapping_mul(2561) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(42_949_672_960_001) >> 32
}

#[cold]
fn exponent(bytes: &[u8], number: &mut Number) -> Option<()> {
    let mut at = number.end + 1;
    let negative = bytes.get(at) == Some(&b'-');
    if matches!(bytes.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    let first = at;
    let mut value: i32 = 0;
    while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
        at += 1;
    }
    if at == first {
        return None;
    }
    number.end = at;
    number.whole = false;
    let value = if negative { -value } else { value };
    number.exponent = number.exponent.saturating_add(value);
    Some(())
}

impl Number {
    /// The value when it is a whole number without fraction or exponent that fits; `None` leaves it to
    /// [`super::decimal::integer`].
    #[inline(always)]
    pub(crate) fn integer(&self) -> Option<i64> {
        if !(self.whole && self.exact) {
            return None;
        }
        match self.negative {
            false => i64::try_from(self.mantissa).ok(),
            true => 0i64.checked_sub_unsigned(self.mantissa),
        }
    }

    /// Mantissa and power of ten, when both are known exactly.
    pub(crate) fn exact(&self) -> Option<(i128, i32)> {
        let mantissa = i128::from(self.mantissa);
        self.exact
            .then_some((if self.negative { -mantissa } else { mantissa }, self.exponent))
    }

    /// The nearest f64 of the number, whose text is `text`; `None` when out of range.
    #[inline(always)]
    pub(crate) fn double(&self, text: &str) -> Option<f64> {
        let power = self.exponent.unsigned_abs() as usize;
        if self.exact && self.mantissa <= F64_EXACT && power < F64_POWERS.len() {
            let mantissa = self.mantissa as f64;
            let value = match self.exponent < 0 {
                true => mantissa / F64_POWERS[power],
                false => mantissa * F64_POWERS[power],
            };
            return Some(if self.negative { -value } else { value });
        }
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The nearest f32 of the number, whose text is `text`; `None` when out of range.
    pub(crate) fn float(&self, text: &str) -> Option<f32> {
        let power = self.exponent.unsigned_abs() as usize;
        if self.exact && self.mantissa <= F32_EXACT && power < F32_POWERS.len() {
            let mantissa = self.mantissa as f32;
            let value = match self.exponent < 0 {
                true => mantissa / F32_POWERS[power],
                false => mantissa * F32_POWERS[power],
            };
            return Some(if self.negative { -value } else { value });
        }
        text.parse().ok().filter(|value: &f32| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Option<Number> {
        scan(text.as_bytes(), 0).filter(|number| number.end == text.len())
    }

    #[test]
    fn grammar() {
        for good in [
            "0",
            "-0",
            "17",
            "17.0",
            "-1.5e+10",
            "1E5",
            "123456789012345678901234567890",
            "0.1",
        ] {
            assert!(whole(good).is_some(), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "NaN", "--1", "0x1"] {
            assert!(whole(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn limits() {
        let integer = |text: &str| whole(text).and_then(|number| number.integer());
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("-9223372036854775809"), None);
        assert_eq!(integer("18446744073709551616"), None);
        let double = |text: &str| whole(text).and_then(|number| number.double(text));
        assert_eq!(double("1e400"), None);
        assert_eq!(double("1e-400"), Some(0.0));
        assert_eq!(double("-0.0").map(f64::to_bits), Some((-0.0f64).to_bits()));
        assert_eq!(double("1e99999999999"), None);
    }

    proptest! {
        #[test]
        fn integers_and_doubles_are_what_std_reads(text in "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?") {
            let number = whole(&text).ok_or_else(|| TestCaseError::fail("grammar"))?;
            let double = text.parse::<f64>().ok().filter(|value| value.is_finite());
            prop_assert_eq!(number.double(&text).map(f64::to_bits), double.map(f64::to_bits));
            let float = text.parse::<f32>().ok().filter(|value| value.is_finite());
            prop_assert_eq!(number.float(&text).map(f32::to_bits), float.map(f32::to_bits));
            if !text.contains(['.', 'e', 'E']) {
                prop_assert_eq!(number.integer(), text.parse::<i64>().ok());
            }
        }
    }
}
