//! [`Reader`]: one open file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::paths::FileId;
use super::position::Place;
use crate::connectors::FormatSource;
use crate::connectors::blocks::{Buffers, Cutter, Piece, ReadOptions};
use crate::error::{Error, Result};

/// How far back from a file's end the start of its last line is looked for.
const LAST_LINE_BYTES: u64 = 64 << 10;

/// One open file and what has been cut of it.
pub struct Reader {
    path: PathBuf,
    id: FileId,
    file: File,
    cutter: Cutter,
}

impl Reader {
    /// Opens a file, to be read from its start.
    pub fn open(path: &Path, format: &FormatSource, options: ReadOptions) -> Result<Self> {
        let cannot = |error| Error::io(format!("cannot read {}", path.display()), error);
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        Ok(Reader {
            path: path.to_path_buf(),
            id: FileId::of(&metadata),
            file,
            cutter: Cutter::new(format.framer()?, options),
        })
    }

    /// Its identity.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Its path, as last seen.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells that the file has another name now.
    pub fn renamed(&mut self, path: &Path) {
        if self.path != path {
            self.path = path.to_path_buf();
        }
    }

    /// The offset of the next byte to read.
    pub fn read_offset(&self) -> u64 {
        self.cutter.read_offset()
    }

    /// The place of its first record that has not been cut, when nothing is being cut.
    pub fn place(&self) -> Place {
        let (offset, line) = self.cutter.place();
        Place {
            path: self.path.clone(),
            id: Some(self.id),
            offset,
            line,
        }
    }

    /// Reads more, about `expected` bytes; 0 when nothing more is there now.
    pub fn read(&mut self, buffers: &mut Buffers, expected: usize) -> Result<usize> {
        let space = self.cutter.space(buffers, expected);
        loop {
            match self.file.read(space) {
                Ok(count) => {
                    self.cutter.filled(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cannot(error)),
            }
        }
    }

    /// The next piece of what has been read.
    pub fn cut(&mut self, buffers: &mut Buffers) -> Result<Option<Piece>> {
        let piece = self.cutter.cut(buffers);
        piece.map_err(|reason| self.bad(&reason))
    }

    /// The last pieces, one by one, at the end of the file.
    pub fn finish(&mut self, buffers: &mut Buffers) -> Result<Option<Piece>> {
        let piece = self.cutter.finish(buffers);
        piece.map_err(|reason| self.bad(&reason))
    }

    /// Gives up what is not needed while there is nothing to read.
    pub fn rest(&mut self, buffers: &mut Buffers) {
        self.cutter.rest(buffers);
    }

    /// Continues at a place in this file, after learning its layout from its start.
    pub fn continue_at(&mut self, offset: u64, line: u64, buffers: &mut Buffers) -> Result<()> {
        loop {
            let last = self.read(buffers, 0)? == 0;
            if self.cutter.start(last).map_err(|reason| self.bad(&reason))? {
                break;
            }
            if last {
                return Ok(());
            }
        }
        // What was read beyond the header is read again, by whoever reads on.
        let (offset, line) = match self.cutter.place() {
            first if offset <= first.0 => first,
            _ => (offset, line),
        };
        self.file
            .seek(SeekFrom::Start(offset))
            .map_err(|error| self.cannot(error))?;
        self.cutter.jump(offset, line);
        self.cutter.rest(buffers);
        Ok(())
    }

    /// Where the last line starts: after the last line end, looked for over a bounded distance.
    pub fn last_line(&self) -> Result<u64> {
        let length = self.file.metadata().map_err(|error| self.cannot(error))?.len();
        let from = length.saturating_sub(LAST_LINE_BYTES);
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, from) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) => return Err(self.cannot(error)),
        }
        Ok(match memchr::memrchr(b'\n', &bytes) {
            Some(at) => from + at as u64 + 1,
            None if from == 0 => 0,
            None => length,
        })
    }

    fn cannot(&self, error: io::Error) -> Error {
        Error::io(format!("cannot read {}", self.path.display()), error)
    }

    fn bad(&self, reason: &str) -> Error {
        Error::failed(format!("cannot read {}: {reason}", self.path.display()))
    }
}
