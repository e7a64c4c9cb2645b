//! The standard-output sink.
//!
//! Rows are written in runs of whole records under the lock of standard output, so that several sinks may share it. When the
//! reader has gone (`| head`), writing is an [`Error::Io`] of [`std::io::ErrorKind::BrokenPipe`], for the runtime to
//! end quietly.

use std::io::{self, Write};

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

/// Writes a buffer out and empties it; of what could not be written the rest stays.
pub fn write_out(buffer: &mut Vec<u8>, output: &mut dyn Write) -> Result<()> {
    let cannot = |error| Error::io("cannot write to standard output", error);
    let mut done = 0;
    let mut failed = None;
    while done < buffer.len() {
        match output.write(&buffer[done..]) {
            Ok(0) => failed = Some(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => failed = Some(error),
        }
        if failed.is_some() {
            break;
        }
    }
    buffer.drain(..done);
    match failed {
        Some(error) => Err(cannot(error)),
        None if done > 0 => output.flush().map_err(cannot),
        None => Ok(()),
    }
}

/// Whether an error says that the reader of standard output has gone.
pub fn is_over(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

impl Sink for StdoutSink {
    fn open(&mut self) -> Result<()> {
        self.encoder.begin(&mut self.buffer);
        Ok(())
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        // Before, so that what fails here is not this batch.
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        let before = self.buffer.len();
        let encoded = self.encoder.encode(batch, &mut self.buffer);
        encoded.inspect_err(|_| self.buffer.truncate(before))
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

    fn close(&mut self) -> Result<()> {
        self.encoder.finish(&mut self.buffer)?;
        self.flush()
    }
}
