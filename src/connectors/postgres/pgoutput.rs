//! The messages of the plug-in `pgoutput`, version 1 of its protocol.

use crate::connectors::pgwire::cells::Cells;

/// Reads numbers and texts off the front of a message.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Of a message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// All that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// A row of a result.
    pub fn row(&mut self) -> Option<Vec<Option<String>>> {
        let count = self.u16()?;
        let mut cells = Vec::new();
        for _ in 0..count {
            cells.push(match usize::try_from(self.u32()? as i32) {
                Ok(length) => Some(String::from_utf8_lossy(self.bytes(length)?).into_owned()),
                Err(_) => None,
            });
        }
        Some(cells)
    }

    /// A tuple into cells, and which of them have not changed and are not sent.
    fn tuple(&mut self, cells: &mut Cells) -> Option<Vec<usize>> {
        cells.clear();
        let mut unchanged = Vec::new();
        for cell in 0..usize::from(self.u16()?) {
            match self.u8()? {
                b'n' => cells.push(None),
                b'u' => {
                    unchanged.push(cell);
                    cells.push(None);
                }
                _ => {
                    let length = self.u32()? as usize;
                    cells.push(Some(self.bytes(length)?));
                }
            }
        }
        Some(unchanged)
    }
}

/// A column as the stream of changes describes it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub name: String,
    /// Whether it is part of what names a row that is deleted or updated.
    pub identity: bool,
}

/// A message.
#[derive(Debug)]
pub(super) enum Change {
    /// A transaction begins.
    Begin,
    /// It is committed; the log goes on after it from here.
    Commit { end: u64 },
    /// The columns of a table.
    Relation { oid: u32, columns: Vec<Described> },
    /// A new row.
    Insert { oid: u32, new: Tuple },
    /// A row is another now; the old one if its name has changed or all of it is logged.
    Update { oid: u32, old: Option<Old>, new: Tuple },
    /// A row is gone.
    Delete { oid: u32, old: Old },
    /// All rows are gone.
    Truncate { oids: Vec<u32> },
    /// What is of no interest.
    Other,
}

/// A row.
#[derive(Debug, Default)]
pub(super) struct Tuple {
    pub cells: Cells,
    /// The cells that have not changed and are not sent: large values kept apart.
    pub unchanged: Vec<usize>,
}

/// A row as it was.
#[derive(Debug)]
pub(super) struct Old {
    pub tuple: Tuple,
    /// Whether all of it is there, not only its name.
    pub whole: bool,
}

/// A message; `None` when it is damaged.
pub(super) fn parse(message: &[u8]) -> Option<Change> {
    let mut reader = Reader::new(message);
    let tuple = |reader: &mut Reader| {
        let mut tuple = Tuple::default();
        tuple.unchanged = reader.tuple(&mut tuple.cells)?;
        Some(tuple)
    };
    Some(match reader.u8()? {
        b'B' => Change::Begin,
        b'C' => {
            let (_flags, _commit) = (reader.u8()?, reader.u64()?);
            Change::Commit { end: reader.u64()? }
        }
        b'R' => {
            let oid = reader.u32()?;
            let (_schema, _name, _identity) = (reader.text()?, reader.text()?, reader.u8()?);
            let mut columns = Vec::new();
            for _ in 0..reader.u16()? {
                let identity = reader.u8()? & 1 == 1;
                let name = reader.text()?;
                let (_of, _modifier) = (reader.u32()?, reader.u32()?);
                columns.push(Described { name, identity });
            }
            Change::Relation { oid, columns }
        }
        b'I' => {
            let (oid, _new) = (reader.u32()?, reader.u8()?);
            let new = tuple(&mut reader)?;
            Change::Insert { oid, new }
        }
        b'U' => {
            let oid = reader.u32()?;
            let kind = reader.u8()?;
            let old = match kind {
                b'N' => None,
                _ => {
                    let old = tuple(&mut reader)?;
                    let _new = reader.u8()?;
                    Some(Old {
                        tuple: old,
                        whole: kind == b'O',
                    })
                }
            };
            let new = tuple(&mut reader)?;
            Change::Update { oid, old, new }
        }
        b'D' => {
            let oid = reader.u32()?;
            let whole = reader.u8()? == b'O';
            let tuple = tuple(&mut reader)?;
            Change::Delete {
                oid,
                old: Old { tuple, whole },
            }
        }
        b'T' => {
            let count = reader.u32()?;
            let _options = reader.u8()?;
            let oids = (0..count).map(|_| reader.u32()).collect::<Option<_>>()?;
            Change::Truncate { oids }
        }
        _ => Change::Other,
    })
}

/// A place in the log as PostgreSQL writes it.
pub(super) fn lsn(place: u64) -> String {
    format!("{:X}/{:X}", place >> 32, place as u32)
}

/// And back.
pub(super) fn place(lsn: &str) -> Option<u64> {
    let (high, low) = lsn.split_once('/')?;
    let high = u64::from(u32::from_str_radix(high, 16).ok()?);
    Some(high << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        for at in [0, 1, 0x16_B374_D848, u64::MAX] {
            assert_eq!(place(&lsn(at)), Some(at));
        }
        assert_eq!(place("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(place("x/1"), None);
    }

    #[test]
    fn no_damaged_message_is_more_than_damaged() {
        let update = [
            &b"U"[..],
            &7_u32.to_be_bytes(),
            b"K\0\x02t\0\0\0\x011n",
            b"N\0\x02t\0\0\0\x012u",
        ]
        .concat();
        let Some(Change::Update {
            oid: 7,
            old: Some(old),
            new,
        }) = parse(&update)
        else {
            panic!("an update");
        };
        assert_eq!(
            (old.whole, old.tuple.cells.get(0), old.tuple.cells.get(1)),
            (false, Some(&b"1"[..]), None)
        );
        assert_eq!((new.cells.get(0), &new.unchanged[..]), (Some(&b"2"[..]), &[1][..]));
        for end in 0..update.len() {
            assert!(parse(&update[..end]).is_none());
        }
    }
}
