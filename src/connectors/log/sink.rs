//! The log sink: `<prefix> [<op>] <event time> <column>=<value> …`.
//!
//! The operation (`+I`, `-D`, `-U`, `+U`) is shown for batches of a changelog. Cost: no allocation per row or value except for
//! nested types; columns are looked at once per batch.

use std::io::Write;

use super::cells::{Cells, timestamp};
use crate::connectors::stdout::sink::{BUFFER_BYTES, is_over, write_out};
use crate::connectors::{Sink, SinkSpec};
use crate::error::{Colour, Error, Result};
use crate::event::{EventBatch, Micros};

/// The sink: see the module.
pub struct LogSink {
    prefix: Vec<u8>,
    /// ` name=` of each column, coloured if wanted.
    names: Vec<Vec<u8>>,
    colour: Colour,
    /// The event time written last and its text: rows of a batch often share it.
    time: (Micros, Vec<u8>),
    buffer: Vec<u8>,
    output: Box<dyn Write + Send>,
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl LogSink {
    /// A sink into `output`.
    pub fn new(spec: &SinkSpec, colour: Colour, output: Box<dyn Write + Send>) -> Self {
        let prefix = spec.options.text("prefix").unwrap_or(&spec.stream);
        let name = |name: &str| match colour {
            Colour::Always => format!(" {DIM}{name}={PLAIN}"),
            Colour::Never => format!(" {name}="),
        };
        LogSink {
            prefix: match colour {
                _ if prefix.is_empty() => Vec::new(),
                Colour::Always => format!("{BOLD}{prefix}{PLAIN} ").into_bytes(),
                Colour::Never => format!("{prefix} ").into_bytes(),
            },
            names: spec
                .schema
                .fields()
                .iter()
                .map(|field| name(field.name()).into_bytes())
                .collect(),
            colour,
            time: (0, Vec::new()),
            buffer: Vec::new(),
            output,
        }
    }

    fn row(&mut self, batch: &EventBatch, cells: &[Cells<'_>], row: usize) {
        let buffer = &mut self.buffer;
        buffer.extend_from_slice(&self.prefix);
        if batch.ops().is_some() {
            buffer.extend_from_slice(batch.op(row).sign().as_bytes());
            buffer.push(b' ');
        }
        let (time, text) = &mut self.time;
        if text.is_empty() || *time != batch.time(row) {
            *time = batch.time(row);
            text.clear();
            let (before, after) = match self.colour {
                Colour::Always => (DIM, PLAIN),
                Colour::Never => ("", ""),
            };
            text.extend_from_slice(before.as_bytes());
            timestamp(*time, text);
            text.extend_from_slice(after.as_bytes());
        }
        buffer.extend_from_slice(text);
        for (name, cells) in self.names.iter().zip(cells) {
            buffer.extend_from_slice(name);
            cells.write(row, buffer);
        }
        buffer.push(b'\n');
    }
}

impl Sink for LogSink {
    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        // Before, so that what fails here is not this batch.
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        let cells = batch
            .columns()
            .columns()
            .iter()
            .map(|column| Cells::new(column))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            self.row(batch, &cells, row);
        }
        Ok(())
    }

    fn abandon(&mut self) -> Result<()> {
        self.buffer.clear();
        Ok(())
    }

    fn is_over(&self, error: &Error) -> bool {
        is_over(error)
    }

    fn flush(&mut self) -> Result<()> {
        write_out(&mut self.buffer, &mut *self.output)
    }
}
