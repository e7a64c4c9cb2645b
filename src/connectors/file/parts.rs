//! The file sink of formats whose files are whole only with an end (a footer): numbered files, each written aside and given its name when
//! it is finished.
//!
//! `out.parquet` becomes `out-000001.parquet`, `out-000002.parquet` and so on: a part ends at each checkpoint, when it has grown large, and
//! with the app. Nobody sees a part that is not whole.
//!
//! Exactly once with checkpoints: a checkpoint holds the number of the next part, and a restart removes the parts from it on before they come
//! again. Without checkpoints what was not finished before a crash is lost with its part: the rows of a file whose end was never written
//! cannot be read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::sink::absolute;
use crate::connectors::{Position, Sink, SinkSpec};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;

/// How much is buffered between writes.
const BUFFER_BYTES: usize = 256 << 10;

/// How large a part grows before the next one begins: large enough for readers to be fast, and small enough to be moved about.
const PART_BYTES: u64 = 1 << 30;

/// The sink: see the module.
pub struct PartsSink {
    path: PathBuf,
    overwrite: bool,
    fsync: bool,
    encoder: Box<dyn Encoder>,
    /// The part being written, and its length so far.
    part: Option<(File, u64)>,
    buffer: Vec<u8>,
    /// The number of the part being written, or of the next.
    next: u64,
    /// The number to go on from, of an earlier run.
    resumed: Option<u64>,
}

impl PartsSink {
    /// Checks the options. Nothing is created before [`Sink::open`].
    pub fn new(spec: SinkSpec) -> Result<Self, Diagnostic> {
        let SinkSpec { options, encoder, .. } = spec;
        let path = PathBuf::from(options.text("path").unwrap_or_default());
        if path.file_name().is_none() || path.is_dir() {
            return Err(options.invalid("path", format!("'{}' is not the name of a file", path.display())));
        }
        Ok(PartsSink {
            path,
            overwrite: options.text("mode") == Some("overwrite"),
            fsync: options.text("fsync") == Some("flush"),
            encoder: encoder.ok_or_else(|| Diagnostic::new(Code::MissingOption, "a file sink needs a format"))?,
            part: None,
            buffer: Vec::new(),
            next: 1,
            resumed: None,
        })
    }

    fn cannot(&self, error: std::io::Error) -> Error {
        Error::io(format!("cannot write {}", self.path.display()), error)
    }

    /// What the names of parts begin and end with.
    fn around(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let before = format!("{}-", text(self.path.file_stem()).unwrap_or_default());
        let after = text(self.path.extension()).map_or(String::new(), |extension| format!(".{extension}"));
        (before, after)
    }

    fn directory(&self) -> PathBuf {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    fn name(&self) -> PathBuf {
        let (before, after) = self.around();
        self.directory().join(format!("{before}{:06}{after}", self.next))
    }

    /// What the part is called before it is whole: hidden, so that nobody takes it for one.
    fn aside(&self) -> PathBuf {
        let (before, after) = self.around();
        self.directory()
            .join(format!(".{before}{:06}{after}.unfinished", self.next))
    }

    /// The parts that are there, by their numbers.
    fn parts(&self) -> Result<Vec<(u64, PathBuf)>> {
        let (before, after) = self.around();
        let mut parts = Vec::new();
        for entry in fs::read_dir(self.directory()).map_err(|error| self.cannot(error))? {
            let entry = entry.map_err(|error| self.cannot(error))?;
            let name = entry.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix(&before)?.strip_suffix(&after));
            let digits = number.filter(|number| number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
                parts.push((number, entry.path()));
            }
        }
        Ok(parts)
    }

    fn remove_from(&self, first: u64) -> Result<()> {
        for (number, path) in self.parts()? {
            if number >= first {
                fs::remove_file(path).map_err(|error| self.cannot(error))?;
            }
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        let Some((file, length)) = &mut self.part else {
            return Err(Error::Closed);
        };
        *length += self.buffer.len() as u64;
        let written = file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| self.cannot(error))
    }

    /// Ends the part, if there is one, and gives it its name.
    fn finish(&mut self) -> Result<()> {
        if self.part.is_none() {
            return Ok(());
        }
        self.encoder.finish(&mut self.buffer)?;
        self.write_out()?;
        if let Some((file, _)) = self.part.take()
            && self.fsync
        {
            file.sync_data().map_err(|error| self.cannot(error))?;
        }
        fs::rename(self.aside(), self.name()).map_err(|error| self.cannot(error))?;
        if self.fsync {
            sync_directory(&self.directory()).map_err(|error| self.cannot(error))?;
        }
        self.next += 1;
        Ok(())
    }
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Sink for PartsSink {
    fn open(&mut self) -> Result<()> {
        fs::create_dir_all(self.directory()).map_err(|error| self.cannot(error))?;
        self.next = match self.resumed.take() {
            Some(next) => {
                self.remove_from(next)?;
                next
            }
            None if self.overwrite => {
                self.remove_from(0)?;
                1
            }
            None => self
                .parts()?
                .iter()
                .map(|(number, _)| *number)
                .max()
                .map_or(1, |last| last + 1),
        };
        Ok(())
    }

    fn write(&mut self, batch: &EventBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.part.is_none() {
            let file = File::create(self.aside()).map_err(|error| self.cannot(error))?;
            self.part = Some((file, 0));
            self.encoder.begin(&mut self.buffer);
        }
        self.encoder.encode(batch, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        match self.part.as_ref().is_some_and(|(_, length)| *length >= PART_BYTES) {
            true => self.finish(),
            false => Ok(()),
        }
    }

    /// Rows are visible with the end of their part only.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn prepare(&mut self) -> Result<Option<Position>> {
        self.finish()?;
        Ok(Some(json!({"file": absolute(&self.path), "next": self.next})))
    }

    fn restore(&mut self, position: &Position) -> Result<()> {
        let (Some(file), Some(next)) = (
            position.get("file").and_then(Value::as_str),
            position.get("next").and_then(Value::as_u64),
        ) else {
            return Err(Error::failed(format!("not a position of a file sink: {position}")));
        };
        if file != absolute(&self.path) {
            tracing::warn!(from = file, to = %self.path.display(),
                "the sink writes to other files now; what the former ones got after the last checkpoint stays there");
            return Ok(());
        }
        self.resumed = Some(next);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.finish()
    }
}
