//! The standard-input source.
//!
//! What a read returns is handed on at once, so that typed lines and slow pipes show their results immediately; while more
//! is there already, blocks fill up first. It cannot be rewound: no positions. Only one stream may read it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::connectors::blocks::{Cutter, DecodeQueue, Piece, ReadOptions};
use crate::connectors::{Flow, FormatSource, Source, SourceOutput, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};

/// How long a stop may go unnoticed while there is no input.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// How much is read at once at first; a pipe holds as much. Reads grow with what comes.
const FIRST_READ: usize = 64 << 10;

/// The source: see the module.
pub struct StdinSource {
    /// Instead of standard input, in tests.
    input: Option<OwnedFd>,
    format: Arc<FormatSource>,
    options: ReadOptions,
    queue: DecodeQueue,
}

impl StdinSource {
    /// Checks the options.
    pub fn new(spec: SourceSpec) -> Result<Self, Diagnostic> {
        let format = spec
            .format
            .ok_or_else(|| Diagnostic::new(Code::MissingOption, "a stdin source needs a format"))?;
        let format = Arc::new(format);
        let options = ReadOptions::new(&spec.options);
        format.framer()?;
        Ok(StdinSource {
            input: None,
            queue: DecodeQueue::new(format.clone(), options)?,
            format,
            options,
        })
    }

    /// Reads that instead of standard input.
    #[cfg(test)]
    pub fn reading(self, input: OwnedFd) -> Self {
        StdinSource {
            input: Some(input),
            ..self
        }
    }
}

fn cannot(error: io::Error) -> Error {
    Error::io("cannot read standard input", error)
}

fn bad(reason: String) -> Error {
    Error::failed(format!("cannot read standard input: {reason}"))
}

/// Whether a read would return at once, waiting at most `timeout` for that.
fn readable(file: &File, timeout: Duration) -> Result<bool> {
    let mut wanted = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `wanted` is one valid pollfd, and `file` keeps its descriptor open during the call.
    match unsafe { libc::poll(&raw mut wanted, 1, timeout) } {
        0 => Ok(false),
        // Errors and hang-ups, too: the read tells which.
        ready if ready > 0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(cannot(error)),
        },
    }
}

impl Source for StdinSource {
    /// A file (`< data.json`) is; a pipe or a terminal may stay silent.
    fn is_bounded(&self) -> bool {
        let stdin = io::stdin();
        let input = match &self.input {
            Some(input) => input.as_fd(),
            None => stdin.as_fd(),
        };
        let file = input.try_clone_to_owned().map(File::from);
        file.and_then(|file| file.metadata())
            .is_ok_and(|metadata| metadata.is_file())
    }

    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        // A descriptor of our own: the buffer inside `std::io::Stdin` would hide bytes from `poll`.
        let input = match self.input.take() {
            Some(input) => input,
            None => io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?,
        };
        let mut file = File::from(input);
        let mut cutter = Cutter::new(self.format.framer()?, self.options);
        let mut room = FIRST_READ;
        loop {
            while !readable(&file, STOP_CHECK)? {
                if out.flow() == Flow::Stop {
                    return Ok(());
                }
            }
            // Fill a block with what is there.
            let mut ended = false;
            let mut got = 0;
            while got < self.options.block_bytes {
                match file.read(cutter.space(&mut self.queue.buffers, room)) {
                    Ok(0) => ended = true,
                    Ok(count) => {
                        cutter.filled(count);
                        got += count;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(cannot(error)),
                }
                if ended || !readable(&file, Duration::ZERO)? {
                    break;
                }
            }
            room = got.max(FIRST_READ);
            let mut pieces: Vec<Piece> = Vec::new();
            while let Some(piece) = cutter.cut(&mut self.queue.buffers).map_err(bad)? {
                pieces.push(piece);
            }
            while ended && let Some(piece) = cutter.finish(&mut self.queue.buffers).map_err(bad)? {
                pieces.push(piece);
            }
            for piece in pieces {
                if self.queue.submit(piece.block, None, out)? == Flow::Stop {
                    return Ok(());
                }
            }
            // Less than a block: the input is slower than we are, so that nothing may be kept waiting.
            let flow = match ended || got < self.options.block_bytes {
                true => self.queue.drain(out)?,
                false => Flow::Continue,
            };
            if ended || flow == Flow::Stop {
                return Ok(());
            }
        }
    }
}
