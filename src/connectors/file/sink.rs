//! The file sink: encoded rows, appended to a file through a buffer.
//!
//! Exactly once with checkpoints: a checkpoint holds the length that the file had, and a restart cuts off what was written after it,
//! before that comes again. Without checkpoints, and into pipes and devices, at least once: what was flushed before a crash stays.
//! When the file to append to ends amid a line (its writer was killed), a line end is written first, so that only that
//! line is damaged. Several sinks must not write to one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::connectors::{Position, Sink, SinkSpec};
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
    /// How much of the buffer is written already: writing may fail amid it.
    written: usize,
    /// What stands before the first row: a header, or the end of a line that was cut off. Empty once that is written.
    prefix: Vec<u8>,
    /// The length of a regular file at the last flush.
    flushed: Option<u64>,
    /// Whether anything was written since the last sync.
    unsynced: bool,
    /// The length to go on from, of an earlier run.
    resumed: Option<u64>,
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
            written: 0,
            prefix: Vec::new(),
            flushed: None,
            unsynced: false,
            resumed: None,
        })
    }

    fn cannot(&self, error: std::io::Error) -> Error {
        Error::io(format!("cannot write {}", self.path.display()), error)
    }

    /// Writes the buffer; what is left of it after a failure is tried the next time.
    fn write_out(&mut self) -> Result<()> {
        let mut file = self.file.as_ref().ok_or(Error::Closed)?;
        while self.written < self.buffer.len() {
            match file.write(&self.buffer[self.written..]) {
                Ok(0) => return Err(self.cannot(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.written += count;
                    self.unsynced = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cannot(error)),
            }
        }
        self.buffer.clear();
        self.written = 0;
        Ok(())
    }

    /// The length of the file, if it is a regular one.
    fn length(&self) -> Result<Option<u64>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(|error| self.cannot(error))?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }
}

impl Sink for FileSink {
    fn open(&mut self) -> Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(|error| self.cannot(error))?;
        }
        let mut options = OpenOptions::new();
        match self.overwrite && self.resumed.is_none() {
            true => options.write(true).truncate(true),
            // Reading, too, to look at the last byte.
            false => options.read(true).append(true),
        };
        let file = options
            .create(true)
            .open(&self.path)
            .map_err(|error| self.cannot(error))?;
        if let Some(length) = self.resumed.take() {
            file.set_len(length).map_err(|error| self.cannot(error))?;
        }
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
        self.prefix.clone_from(&self.buffer);
        self.flushed = metadata.is_file().then_some(metadata.len());
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        // Before, so that what fails here is not this batch.
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        let before = self.buffer.len();
        let encoded = self.encoder.encode(batch, &mut self.buffer);
        encoded.inspect_err(|_| self.buffer.truncate(before))
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.write_out()?;
            self.flushed = self.flushed.and(self.length()?);
            self.prefix.clear();
        }
        if let Some(file) = &self.file
            && self.fsync
            && self.unsynced
        {
            file.sync_data().map_err(|error| self.cannot(error))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// A regular file is cut to what it held at the last flush. A line that a pipe got a part of is ended.
    fn abandon(&mut self) -> Result<()> {
        let torn = self.written > 0 && self.buffer.get(self.written - 1) != Some(&b'\n');
        match (&self.file, self.flushed) {
            (Some(file), Some(length)) => file.set_len(length).map_err(|error| self.cannot(error))?,
            _ if torn && self.encoder.writes_lines() => self.prefix = b"\n".to_vec(),
            _ if self.written > 0 => self.prefix.clear(),
            _ => {}
        }
        self.buffer.clone_from(&self.prefix);
        self.written = 0;
        Ok(())
    }

    fn prepare(&mut self) -> Result<Option<Position>> {
        self.flush()?;
        let length = self.length()?;
        Ok(length.map(|length| json!({"file": absolute(&self.path), "length": length})))
    }

    fn restore(&mut self, position: &Position) -> Result<()> {
        let (Some(file), Some(length)) = (
            position.get("file").and_then(Value::as_str),
            position.get("length").and_then(Value::as_u64),
        ) else {
            return Err(Error::failed(format!("not a position of a file sink: {position}")));
        };
        if file != absolute(&self.path) {
            tracing::warn!(from = file, to = %self.path.display(),
                "the sink writes to another file now; what the former one got after the last checkpoint stays there");
            return Ok(());
        }
        let there = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(self.cannot(error)),
        };
        if there < length {
            let message = format!(
                "cannot go on in {file}: it has {there} bytes, but {length} had been written when the state was"
            );
            return Err(Diagnostic::new(Code::StateMismatch, message)
                .hint("put the file back, or go on without its former content with --allow-state-loss")
                .into());
        }
        self.resumed = Some(length);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.flush()?;
        self.file = None;
        Ok(())
    }
}

/// The path from the root, so that it means the same wherever the app is started.
pub(super) fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    absolute.to_string_lossy().into_owned()
}
