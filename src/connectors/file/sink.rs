//! The file sink: encoded rows, appended to a file through a buffer.
//!
//! At least once: what was flushed before a crash stays, what comes again after the restart is appended again. When the
//! file to append to ends amid a line (its writer was killed), a line end is written first, so that only that line is
//! damaged. Several sinks must not write to one file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::connectors::{Sink, SinkSpec};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;

/// How much is buffered between writes.
const BUFFER_BYTES: usize = 256 << 10;

/// The sink: see the module.
pub struct FileSink {
    path: PathBuf,
    overwrite: bool,
    fsync: bool,
    encoder: Box<dyn Encoder>,
    file: Option<File>,
    buffer: Vec<u8>,
    /// Whether anything was written since the last sync.
    unsynced: bool,
}

impl FileSink {
    /// Checks the options. Nothing is created before [`Sink::open`].
    pub fn new(spec: SinkSpec) -> Result<Self, Diagnostic> {
        let SinkSpec { options, encoder, .. } = spec;
        let path = PathBuf::from(options.text("path").unwrap_or_default());
        if path.as_os_str().is_empty() || path.is_dir() {
            return Err(options.invalid("path", format!("'{}' is not the name of a file", path.display())));
        }
        Ok(FileSink {
            path,
            overwrite: options.text("mode") == Some("overwrite"),
            fsync: options.text("fsync") == Some("flush"),
            encoder: encoder.ok_or_else(|| Diagnostic::new(Code::MissingOption, "a file sink needs a format"))?,
            file: None,
            buffer: Vec::new(),
            unsynced: false,
        })
    }

    fn cannot(&self, error: std::io::Error) -> Error {
        Error::io(format!("cannot write {}", self.path.display()), error)
    }

    fn write_out(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let mut file = self.file.as_ref().ok_or(Error::Closed)?;
            file.write_all(&self.buffer).map_err(|error| self.cannot(error))?;
            self.buffer.clear();
            self.unsynced = true;
        }
        Ok(())
    }
}

impl Sink for FileSink {
    fn open(&mut self) -> Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(|error| self.cannot(error))?;
        }
        let mut options = OpenOptions::new();
        match self.overwrite {
            true => options.write(true).truncate(true),
            // Reading, too, to look at the last byte.
            false => options.read(true).append(true),
        };
        let file = options
            .create(true)
            .open(&self.path)
            .map_err(|error| self.cannot(error))?;
        let metadata = file.metadata().map_err(|error| self.cannot(error))?;
        if metadata.len() == 0 {
            self.encoder.begin(&mut self.buffer);
        } else if metadata.is_file() && self.encoder.writes_lines() {
            let mut last = [0];
            file.read_exact_at(&mut last, metadata.len() - 1)
                .map_err(|error| self.cannot(error))?;
            if last != *b"\n" {
                tracing::warn!(file = %self.path.display(), "the file ends amid a line");
                self.buffer.push(b'\n');
            }
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        self.encoder.encode(batch, &mut self.buffer)?;
        match self.buffer.len() < BUFFER_BYTES {
            true => Ok(()),
            false => self.write_out(),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        if let Some(file) = &self.file
            && self.fsync
            && self.unsynced
        {
            file.sync_data().map_err(|error| self.cannot(error))?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.flush()?;
        self.file = None;
        Ok(())
    }
}
