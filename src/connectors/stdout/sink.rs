//! The standard-output sink.
//!
//! Rows are written in runs of whole records under the lock of standard output, so that several sinks may share it. When the
//! reader has gone (`| head`), writing is an [`Error::Io`] of [`std::io::ErrorKind::BrokenPipe`], for the runtime to
//! end quietly.

use std::io::Write;

use crate::connectors::{Sink, SinkSpec};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;

/// How much is buffered between writes.
pub const BUFFER_BYTES: usize = 64 << 10;

/// The sink: see the module.
pub struct StdoutSink {
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    output: Box<dyn Write + Send>,
}

impl StdoutSink {
    /// A sink into `output`.
    pub fn new(spec: SinkSpec, output: Box<dyn Write + Send>) -> Result<Self, Diagnostic> {
        Ok(StdoutSink {
            encoder: spec
                .encoder
                .ok_or_else(|| Diagnostic::new(Code::MissingOption, "a stdout sink needs a format"))?,
            buffer: Vec::new(),
            output,
        })
    }
}

/// Writes a buffer out and empties it, whether or not that works: what could not be written once is not tried again.
pub fn write_out(buffer: &mut Vec<u8>, output: &mut dyn Write) -> Result<()> {
    if buffer.is_empty() {
        return Ok(());
    }
    let written = output.write_all(buffer).and_then(|()| output.flush());
    buffer.clear();
    written.map_err(|error| Error::io("cannot write to standard output", error))
}

impl Sink for StdoutSink {
    fn open(&mut self) -> Result<()> {
        self.encoder.begin(&mut self.buffer);
        Ok(())
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        self.encoder.encode(batch, &mut self.buffer)?;
        match self.buffer.len() < BUFFER_BYTES {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<()> {
        write_out(&mut self.buffer, &mut *self.output)
    }

    fn close(&mut self) -> Result<()> {
        self.encoder.finish(&mut self.buffer)?;
        self.flush()
    }
}
