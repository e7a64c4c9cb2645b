//! The file sink: encoded rows, appended to a file through a buffer.
//!
//! Exactly once with checkpoints: a checkpoint holds the length that the file had, and a restart cuts off what was written after it,
//! before that comes again. Without checkpoints, and into pipes and devices, at least once: what was flushed before a crash stays.
//! When the file to append to ends amid a line (its writer was killed), a line end is written first, so that only that
//! line is damaged. Several sinks must not write to one file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
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
            unsynced: false,
            resumed: None,
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

    fn prepare(&mut self) -> Result<Option<Position>> {
        self.flush()?;
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(|error| self.cannot(error))?;
        Ok(metadata
            .is_file()
            .then(|| json!({"file": absolute(&self.path), "length": metadata.len()})))
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
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
