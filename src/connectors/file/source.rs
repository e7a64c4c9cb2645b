//! The file source.
//!
//! *Once* (the default): the files that `path` means when the app starts are read one after the other, by name; a last
//! line needs no line end; then the source ends.
//!
//! *Following*: a file is what its inode is, whatever its name. Each round looks at the names `path` means now. A file
//! that none of them leads to any more (rotated away or deleted) is read to its end, a partial last line included, and
//! closed; a file not seen before is read from its start; one that is shorter than what was read of it has been
//! truncated and is read anew, with a warning. While a file is followed its partial last line is held back until its line
//! end comes. An open file keeps its inode from being used again, so that a file deleted and created anew is told apart.
//! What cannot be seen: a file truncated and grown past its former length between two polls, and lines written to a
//! rotated file after its end was reached.
//!
//! Cost: one read, one search for the last line end and one copy of a partial record per block; per poll one `stat` per
//! file. Positions hold every followed file, so that with very many files each hand-over costs in their number.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::paths::{FileId, Found, Selection, look, with_id};
use super::position::{Place, lost, places, position};
use super::reader::Reader;
use crate::connectors::blocks::{DecodeQueue, Piece, ReadOptions};
use crate::connectors::{Flow, FormatSource, Position, Source, SourceOutput, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};

/// How many blocks are read of a followed file before the next one has its turn.
const BLOCKS_PER_TURN: usize = 16;

/// The source: see the module.
pub struct FileSource {
    stream: String,
    path: String,
    selection: Selection,
    follow: Option<Follow>,
    options: ReadOptions,
    format: Arc<FormatSource>,
    queue: DecodeQueue,
    resume: Option<Vec<Place>>,
}

struct Follow {
    poll: Duration,
    from_end: bool,
}

/// An open file, and the place up to which its pieces were submitted.
struct Open {
    reader: Reader,
    place: Place,
}

impl FileSource {
    /// Checks the options and, when files are read once, that a file named outright is there.
    pub fn new(spec: SourceSpec) -> Result<Self, Diagnostic> {
        let SourceSpec {
            stream,
            options,
            format,
            ..
        } = spec;
        let format = format.ok_or_else(|| Diagnostic::new(Code::MissingOption, "a file source needs a format"))?;
        let format = Arc::new(format);
        let path = options.text("path").unwrap_or_default().to_string();
        if path.is_empty() {
            return Err(options.invalid("path", "it is empty"));
        }
        let selection = Selection::parse(&path).map_err(|reason| options.invalid("path", reason))?;
        let follow = options.boolean("follow").then(|| Follow {
            poll: Duration::from_micros(options.duration("poll").unwrap_or(50_000).max(1_000).unsigned_abs()),
            from_end: options.text("start") == Some("end"),
        });
        if follow.is_none() && options.text("start") == Some("end") {
            return Err(options.invalid("start", "'end' needs \"file.follow\" = 'true'"));
        }
        let read = ReadOptions::new(&options);
        let queue = DecodeQueue::new(format.clone(), read)?;
        format.framer()?;
        if let (Selection::Plain(plain), None) = (&selection, &follow)
            && !plain.exists()
        {
            let mut missing = options
                .invalid("path", format!("there is no file '{path}'"))
                .hint("a relative path starts where the app's .sql file is; without one, in the working directory");
            missing.code = Code::Missing;
            return Err(missing);
        }
        Ok(FileSource {
            stream,
            path,
            selection,
            follow,
            options: read,
            format,
            queue,
            resume: None,
        })
    }

    fn open(&self, path: &Path) -> Result<Open> {
        let reader = Reader::open(path, &self.format, self.options)?;
        let place = self.place(&reader);
        Ok(Open { reader, place })
    }

    /// Opens a file to continue in it.
    fn open_at(&mut self, path: &Path, offset: u64, line: u64) -> Result<Open> {
        let mut open = self.open(path)?;
        open.reader.continue_at(offset, line, &mut self.queue.buffers)?;
        open.place = self.place(&open.reader);
        Ok(open)
    }

    fn place(&self, reader: &Reader) -> Place {
        let place = reader.place();
        Place {
            id: place.id.filter(|_| self.follow.is_some()),
            ..place
        }
    }

    /// Submits a piece of `files[current]`.
    fn submit(&mut self, piece: Piece, files: &mut [Open], current: usize, out: &mut SourceOutput) -> Result<Flow> {
        let place = &mut files[current].place;
        (place.offset, place.line) = (piece.offset, piece.line);
        let others = files
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != current)
            .map(|(_, open)| &open.place);
        let position = position(&files[current].place, others);
        self.queue.submit(piece.block, Some(position), out)
    }

    /// Reads `files[current]` to its present end, but no more than `blocks` blocks.
    fn pump(&mut self, files: &mut [Open], current: usize, blocks: usize, out: &mut SourceOutput) -> Result<Flow> {
        for _ in 0..blocks {
            let reader = &mut files[current].reader;
            let count = reader.read(&mut self.queue.buffers, self.options.block_bytes)?;
            while let Some(piece) = files[current].reader.cut(&mut self.queue.buffers)? {
                if self.submit(piece, files, current, out)? == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            }
            if count == 0 {
                files[current].reader.rest(&mut self.queue.buffers);
                break;
            }
        }
        Ok(out.flow())
    }

    /// Reads `files[current]` to its end, a last record without line end included.
    fn finish(&mut self, files: &mut [Open], current: usize, out: &mut SourceOutput) -> Result<Flow> {
        if self.pump(files, current, usize::MAX, out)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        while let Some(piece) = files[current].reader.finish(&mut self.queue.buffers)? {
            if self.submit(piece, files, current, out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(out.flow())
    }

    fn run_once(&mut self, out: &mut SourceOutput) -> Result<()> {
        let found = self.selection.files()?;
        if found.is_empty() {
            match &self.selection {
                Selection::Glob(_) => return Err(Error::failed(format!("no file matches '{}'", self.path))),
                Selection::Plain(path) if look(path)?.is_none() => {
                    return Err(Error::failed(format!("there is no file '{}'", self.path)));
                }
                Selection::Plain(_) => {}
            }
        }
        let resume = self.resume.take().unwrap_or_default();
        let current = resume.first();
        if let Some(current) = current
            && !found.iter().any(|file| file.path == current.path)
        {
            return Err(lost(
                &current.path,
                "is not among the files of 'path' any more",
                current.offset,
            ));
        }
        for file in found {
            let open = match resume.iter().find(|place| place.path == file.path) {
                Some(place) => self.open_at(&file.path, place.offset, place.line)?,
                // Files are read by name: those before the current one have been read.
                None if current.is_some_and(|current| file.path < current.path) => continue,
                None => self.open(&file.path)?,
            };
            if self.finish(&mut [open], 0, out)? == Flow::Stop {
                return Ok(());
            }
        }
        self.queue.drain(out).map(|_| ())
    }

    fn run_following(&mut self, poll: Duration, from_end: bool, out: &mut SourceOutput) -> Result<()> {
        let mut found = self.selection.files()?;
        let mut files = match self.resume.take() {
            Some(places) => self.reopen(places, &found)?,
            None if from_end => self.open_ends(&found)?,
            None => Vec::new(),
        };
        loop {
            if self.round(&mut files, &found, out)? == Flow::Stop {
                return Ok(());
            }
            // Something was read: look again at once. Nothing: everything decoded goes out, then we wait.
            let flow = match files
                .iter()
                .zip(lengths(&files, &found))
                .any(|(open, length)| more(open, length))
            {
                true => Flow::Continue,
                false => match self.queue.drain(out)? {
                    Flow::Continue => out.wait(poll),
                    Flow::Stop => Flow::Stop,
                },
            };
            if flow == Flow::Stop {
                return Ok(());
            }
            found = self.selection.files()?;
        }
    }

    /// One look at every file.
    fn round(&mut self, files: &mut Vec<Open>, found: &[Found], out: &mut SourceOutput) -> Result<Flow> {
        let names: HashMap<FileId, &Found> = found.iter().map(|file| (file.id, file)).collect();
        // Files without a name end first, so that a rotated file comes before its successor.
        let mut index = 0;
        while let Some(open) = files.get_mut(index) {
            if let Some(file) = names.get(&open.reader.id()) {
                open.reader.renamed(&file.path);
                open.place.path.clone_from(&file.path);
                index += 1;
                continue;
            }
            tracing::debug!(stream = self.stream, file = %open.reader.path().display(), "the file is gone");
            if self.finish(files, index, out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            files.remove(index);
        }
        let mut known: HashSet<FileId> = files.iter().map(|open| open.reader.id()).collect();
        for file in found
            .iter()
            .filter(|file| !known.contains(&file.id))
            .collect::<Vec<_>>()
        {
            match self.open(&file.path) {
                // It may have been replaced since it was listed.
                Ok(open) if known.insert(open.reader.id()) => files.push(open),
                Ok(_) => {}
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for index in 0..files.len() {
            let open = &files[index];
            let Some(file) = names.get(&open.reader.id()) else {
                continue;
            };
            if file.length < open.reader.read_offset() {
                let path = open.reader.path().to_path_buf();
                tracing::warn!(stream = self.stream, file = %path.display(), "the file was truncated: reading it anew");
                match self.open(&path) {
                    Ok(anew) => files[index] = anew,
                    Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            if more(&files[index], file.length) && self.pump(files, index, BLOCKS_PER_TURN, out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(out.flow())
    }

    /// Opens the files of a saved position as if they had been followed all the time.
    fn reopen(&mut self, places: Vec<Place>, found: &[Found]) -> Result<Vec<Open>> {
        let mut files = Vec::new();
        for place in places {
            let named = found.iter().find(|file| match place.id {
                Some(id) => file.id == id,
                None => file.path == place.path,
            });
            let file = match named {
                Some(file) => Some(file.clone()),
                None => elsewhere(&place)?,
            };
            match file {
                Some(file) if file.length >= place.offset => {
                    files.push(self.open_at(&file.path, place.offset, place.line)?);
                }
                Some(file) => {
                    let path = file.path.display();
                    tracing::warn!(stream = self.stream, file = %path, "the file was truncated: reading it anew");
                    files.push(self.open(&file.path)?);
                }
                None => {
                    let path = place.path.display();
                    tracing::warn!(stream = self.stream, file = %path, offset = place.offset,
                        "the file that was followed is gone; what it got since the last run cannot be read");
                }
            }
        }
        Ok(files)
    }

    /// Opens files at their last line.
    fn open_ends(&mut self, found: &[Found]) -> Result<Vec<Open>> {
        let mut files = Vec::new();
        for file in found {
            let end = Reader::open(&file.path, &self.format, self.options)?.last_line()?;
            files.push(self.open_at(&file.path, end, 1)?);
        }
        Ok(files)
    }
}

/// The length of each open file as listed, where it was.
fn lengths(files: &[Open], found: &[Found]) -> Vec<u64> {
    let lengths: HashMap<FileId, u64> = found.iter().map(|file| (file.id, file.length)).collect();
    files
        .iter()
        .map(|open| lengths.get(&open.reader.id()).copied().unwrap_or(0))
        .collect()
}

/// Whether a file of that length has more to read.
fn more(open: &Open, length: u64) -> bool {
    length > open.reader.read_offset()
}

/// A file that was renamed within its directory while nobody followed it.
fn elsewhere(place: &Place) -> Result<Option<Found>> {
    match (place.id, place.path.parent()) {
        (Some(id), Some(directory)) => with_id(directory, id),
        _ => Ok(None),
    }
}

impl Source for FileSource {
    /// Files read once are; a pipe or a device may stay silent.
    fn is_bounded(&self) -> bool {
        self.follow.is_none() && self.selection.is_of_files()
    }

    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        match &self.follow {
            None => self.run_once(out),
            Some(Follow { poll, from_end }) => self.run_following(*poll, *from_end, out),
        }
    }

    /// Continues after the last record of `position`. Read once, its file must be there and no shorter than what was
    /// read of it. Following, whatever happened to the files meanwhile is treated as if it had been seen happening.
    fn seek(&mut self, position: &Position) -> Result<()> {
        let places = places(position)?;
        if self.follow.is_none() {
            for place in &places {
                let path = &place.path;
                match look(path)? {
                    None => return Err(lost(path, "is gone", place.offset)),
                    Some(metadata) if metadata.len() < place.offset => {
                        return Err(lost(
                            path,
                            &format!("has only {} bytes now", metadata.len()),
                            place.offset,
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        self.resume = Some(places);
        Ok(())
    }
}
