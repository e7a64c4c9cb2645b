//! Avro's binary encoding, value by value: <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.

/// The longest form of a 64-bit number.
const MAX_VARINT: usize = 10;

/// How many items a message may have more than bytes: arrays of NULLs take no bytes at all.
const FREE_ITEMS: usize = 4096;

/// What is left of a message. No length in it is believed before as many bytes are there.
#[derive(Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// How many more items of arrays and maps may come.
    items: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input {
            bytes,
            items: bytes.len().saturating_add(FREE_ITEMS),
        }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next so many bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(format!(
                "it ends early: {count} bytes of a value, but {} are left",
                self.bytes.len()
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, String> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("a boolean is the byte 0 or 1, not {other}")),
        }
    }

    /// A number of 64 bits, zig-zag.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut value = 0u64;
        for (index, byte) in self.bytes.iter().take(MAX_VARINT).enumerate() {
            // Of the tenth byte one bit fits.
            if index == MAX_VARINT - 1 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[index + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(match self.bytes.len() < MAX_VARINT {
            true => "it ends early, amid a number".to_string(),
            false => "a number of more than 64 bits".to_string(),
        })
    }

    pub(super) fn int(&mut self) -> Result<i32, String> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| format!("{value} is no number of 32 bits"))
    }

    pub(super) fn float(&mut self) -> Result<f32, String> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(super) fn double(&mut self) -> Result<f64, String> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A length, then as many bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(format!("a length of {length}")),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a string that is not UTF-8".to_string())
    }

    /// The number of items in the next block of an array or a map; 0 at its end.
    pub(super) fn block(&mut self) -> Result<usize, String> {
        let count = self.long()?;
        if count < 0 {
            // Its length in bytes, for those who skip.
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        match self.items.checked_sub(count) {
            Some(left) => {
                self.items = left;
                Ok(count)
            }
            None => Err(format!(
                "it says that it has {count} items, more than its bytes can hold"
            )),
        }
    }
}

/// Appends a number.
pub(super) fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends bytes after their length.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}
