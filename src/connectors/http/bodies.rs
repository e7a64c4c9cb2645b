//! Bodies of messages become columns.
//!
//! Where a format's records are lines, the bodies of many messages are decoded as one block, so that the cost is per byte and not per
//! message. Otherwise each is an input of its own: with a header, say.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::connectors::FormatSource;
use crate::connectors::blocks::{Cutter, DecodeQueue, ReadOptions};
use crate::error::{Diagnostic, Result};
use crate::formats::json::on_lines;
use crate::formats::{BadRecord, Block, Decoded, Decoder, FrameKind, records};

/// Decodes the bodies of one stream.
pub struct Bodies {
    format: FormatSource,
    decoder: Box<dyn Decoder>,
    schema: SchemaRef,
    by_lines: bool,
    is_json: bool,
    /// A block of many bodies, and where each begins in it: its line.
    block: Vec<u8>,
    lines: Vec<u64>,
}

/// What became of one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// It was read, its bad records aside. It may hold nothing.
    Well,
    /// There is no good record in it. The first reason.
    Badly(String),
}

/// Many bodies, decoded.
#[derive(Debug)]
pub struct Many {
    /// The rows of all, and their bad records, each with its line in its own body.
    pub decoded: Decoded,
    /// What became of each.
    pub read: Vec<Read>,
    /// The rows of each, where bodies are decoded one by one.
    pub rows: Option<Vec<usize>>,
}

impl Bodies {
    /// For a stream whose bodies have those columns.
    pub fn new(format: FormatSource, schema: SchemaRef) -> Result<Self, Diagnostic> {
        Ok(Bodies {
            decoder: format.decoder()?,
            by_lines: format.framer()?.is_by_lines(),
            is_json: format.name() == "json",
            format,
            schema,
            block: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Decodes many bodies at once where that can be, and tells what became of each.
    ///
    /// *Errors.* When decoding cannot go on at all.
    pub fn many(&mut self, bodies: &[&[u8]]) -> Result<Many> {
        match self.by_lines {
            true => self.as_one_block(bodies),
            false => self.one_by_one(bodies),
        }
    }

    /// Decodes many bodies, and tells how many rows each has.
    ///
    /// *Errors.* When decoding cannot go on at all.
    pub fn one_by_one(&mut self, bodies: &[&[u8]]) -> Result<Many> {
        let mut batches = Vec::with_capacity(bodies.len());
        let (mut errors, mut read, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut before = 0;
        for body in bodies {
            let one = self.one(body)?;
            let count = one.columns.num_rows();
            read.push(verdict(count, one.errors.first()));
            errors.extend(one.errors.into_iter().map(|bad| BadRecord {
                row: before + bad.row,
                ..bad
            }));
            before += count;
            rows.push(count);
            batches.push(one.columns);
        }
        let columns = joined(&self.schema, batches)?;
        Ok(Many {
            decoded: Decoded { columns, errors },
            read,
            rows: Some(rows),
        })
    }

    /// Decodes one body. What cannot be read as a whole is one bad record.
    ///
    /// *Errors.* When decoding cannot go on at all.
    pub fn one(&mut self, body: &[u8]) -> Result<Decoded> {
        let body = if self.is_json { on_lines(body) } else { body.into() };
        let options = ReadOptions {
            block_bytes: body.len(),
            decoders: 1,
        };
        let mut buffers = DecodeQueue::buffers(options);
        let mut cutter = Cutter::new(self.format.framer()?, options);
        let (mut batches, mut errors, mut rows) = (Vec::new(), Vec::new(), 0);
        let mut left = body.as_ref();
        loop {
            let piece = match left.is_empty() {
                true => cutter.finish(&mut buffers),
                false => cutter.cut(&mut buffers),
            };
            match piece {
                Ok(Some(piece)) => {
                    let decoded = self.decoder.decode(&piece.block)?;
                    errors.extend(decoded.errors.into_iter().map(|bad| BadRecord {
                        row: rows + bad.row,
                        ..bad
                    }));
                    rows += decoded.columns.num_rows();
                    batches.push(decoded.columns);
                }
                Ok(None) if left.is_empty() => break,
                Ok(None) => {
                    let space = cutter.space(&mut buffers, left.len());
                    let count = left.len().min(space.len());
                    space[..count].copy_from_slice(&left[..count]);
                    left = &left[count..];
                    cutter.filled(count);
                }
                Err(reason) => {
                    errors.push(records::bad(reason, 1, &body, rows));
                    break;
                }
            }
        }
        Ok(Decoded {
            columns: joined(&self.schema, batches)?,
            errors,
        })
    }

    fn as_one_block(&mut self, bodies: &[&[u8]]) -> Result<Many> {
        self.block.clear();
        self.lines.clear();
        let mut line = 1;
        for body in bodies {
            self.lines.push(line);
            line += self.append(body);
        }
        let mut decoded = self.block_of_lines()?;
        let mut read = vec![Read::Well; bodies.len()];
        let none = decoded.columns.num_rows() == 0;
        let mut seen = None;
        for bad in &mut decoded.errors {
            let at = self
                .lines
                .partition_point(|begins| *begins <= bad.line)
                .saturating_sub(1);
            bad.line = bad.line.saturating_sub(self.lines[at]) + 1;
            if seen == Some(at) {
                continue;
            }
            seen = Some(at);
            // Whose the good rows are, the block does not say.
            if none || (bodies.len() > 1 && self.one(bodies[at])?.columns.num_rows() == 0) {
                read[at] = Read::Badly(bad.message.clone());
            }
        }
        Ok(Many {
            decoded,
            read,
            rows: None,
        })
    }

    /// Puts a body behind the others; its lines.
    fn append(&mut self, body: &[u8]) -> u64 {
        let body = body.strip_prefix(records::BOM).unwrap_or(body);
        let body = if self.is_json { on_lines(body) } else { body.into() };
        let ends = memchr::memchr_iter(b'\n', &body).count() as u64;
        self.block.extend_from_slice(&body);
        if body.last() == Some(&b'\n') {
            return ends;
        }
        self.block.push(b'\n');
        ends + 1
    }

    fn block_of_lines(&mut self) -> Result<Decoded> {
        let block = Block {
            bytes: std::mem::take(&mut self.block),
            first_line: 1,
            layout: None,
            kind: FrameKind::Records,
        };
        let decoded = self.decoder.decode(&block);
        self.block = block.bytes;
        decoded
    }
}

fn verdict(rows: usize, bad: Option<&BadRecord>) -> Read {
    match bad {
        Some(bad) if rows == 0 => Read::Badly(bad.message.clone()),
        _ => Read::Well,
    }
}

fn joined(schema: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    match batches.len() {
        0 => Ok(RecordBatch::new_empty(schema.clone())),
        1 => Ok(batches.remove(0)),
        _ => Ok(concat_batches(schema, &batches)?),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::config::options::{Options, RawOption};
    use crate::formats::csv::CsvFormat;
    use crate::formats::json::JsonFormat;
    use crate::formats::{DecodeSchema, Format};

    fn bodies(format: impl Format + 'static, options: &[(&str, &str)]) -> Bodies {
        let fields = [
            Field::new("id", DataType::Int64, true),
            Field::new("item", DataType::Utf8View, true),
        ];
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let raw: Vec<RawOption> = options
            .iter()
            .map(|(key, value)| RawOption::new(*key, *value))
            .collect();
        let options = Options::check(format.name(), format.options(), &raw).unwrap();
        let source = FormatSource::new(Arc::new(format), DecodeSchema::all(schema.clone()), options);
        Bodies::new(source, schema).unwrap()
    }

    /// Rows, the lines of bad records, and for each body whether it is one.
    fn read(many: &Many) -> (usize, Vec<u64>, Vec<bool>) {
        let lines = many.decoded.errors.iter().map(|bad| bad.line).collect();
        let well = many.read.iter().map(|read| *read == Read::Well).collect();
        (many.decoded.columns.num_rows(), lines, well)
    }

    #[test]
    fn errors_are_those_of_their_bodies_however_they_are_decoded() {
        let all: [&[u8]; 9] = [
            b"{\"id\":1}",
            b"{\"id\":2}\n{\"id\":\"x\"}\n",
            b"{\"id\":3",
            b"[\n{\"id\":4},\n{\"id\":\"y\"}\n]\n",
            b"[]",
            b"{\"item\":\"\xFF\"}",
            b"\xEF\xBB\xBF{\"id\":5}\r\n",
            b"\n\n{\"id\":true}",
            b"{\"id\":6}\n",
        ];
        let mut json = bodies(JsonFormat, &[]);
        let together = json.many(&all).unwrap();
        let wanted = vec![true, true, false, true, true, false, true, false, true];
        assert_eq!(read(&together), (5, vec![2, 1, 1, 1, 3], wanted.clone()));
        let single = json.one_by_one(&all).unwrap();
        assert_eq!(read(&single), (5, vec![2, 1, 1, 1, 3], wanted));
        assert_eq!(single.rows, Some(vec![1, 1, 0, 1, 0, 0, 1, 0, 1]));
        assert_eq!(together.decoded.columns, single.decoded.columns);
        // Nothing of one call is left in the next.
        assert_eq!(read(&json.many(&[]).unwrap()), (0, vec![], vec![]));
        assert_eq!(read(&json.many(&all[..1]).unwrap()), (1, vec![], vec![true]));
    }

    #[test]
    fn each_file_of_csv_has_its_header() {
        let mut csv = bodies(CsvFormat, &[("csv.header", "true")]);
        let many = csv
            .many(&[
                b"item,id\na,1\nb,2\n",
                b"id\n3\nx\n",
                b"nothing,of,it\n1,2,3\n",
                b"id,item\n4,\"open",
            ])
            .unwrap();
        assert_eq!(many.rows.as_ref().map(|rows| rows[..2].to_vec()), Some(vec![2, 1]));
        assert_eq!(many.read[0], Read::Well);
        assert_eq!(many.read[1], Read::Well);
        assert!(matches!(many.read[3], Read::Badly(_)), "{many:?}");
    }
}
