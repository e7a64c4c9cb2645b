//! What commands print: results to standard output, errors to standard error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};

use super::exit;
use crate::error::{Colour, Error};

/// Prints a command's result; the exit code. A reader that goes away (`| head`) has what it wants.
pub fn print(text: &str) -> u8 {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => exit::OK,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit::OK,
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"), None);
            exit::FAILED
        }
    }
}

/// Prints an error.
pub fn report(error: &Error) {
    match error {
        Error::Compile(diagnostic) => write_error(&diagnostic.render(colour(&std::io::stderr()))),
        other => complain(&other.to_string(), None),
    }
}

/// Prints what is no error, but should be known.
pub fn warn(message: &str, hint: Option<&str>) {
    let (yellow, cyan, plain) = match colour(&std::io::stderr()) {
        Colour::Always => ("\x1b[1;33m", "\x1b[36m", "\x1b[0m"),
        Colour::Never => ("", "", ""),
    };
    let mut text = format!("{yellow}warning{plain}: {message}\n");
    if let Some(hint) = hint {
        text.push_str(&format!(" {cyan}help{plain}: {hint}\n"));
    }
    write_error(&text);
}

/// Prints an error that is not about a place in a text.
pub fn complain(message: &str, hint: Option<&str>) {
    let (red, cyan, plain) = match colour(&std::io::stderr()) {
        Colour::Always => ("\x1b[1;31m", "\x1b[36m", "\x1b[0m"),
        Colour::Never => ("", "", ""),
    };
    let mut text = format!("{red}error{plain}: {message}\n");
    if let Some(hint) = hint {
        text.push_str(&format!(" {cyan}help{plain}: {hint}\n"));
    }
    write_error(&text);
}

/// Prints what people may want to know, beside what is printed.
#[cfg(feature = "server")]
pub fn tell(message: &str) {
    write_error(&format!("{message}\n"));
}

fn write_error(text: &str) {
    // If even standard error is gone, there is nobody left to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Colours only on a terminal, and not where <https://no-color.org> asks for none.
pub fn colour(stream: &impl IsTerminal) -> Colour {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match stream.is_terminal() && !plain {
        true => Colour::Always,
        false => Colour::Never,
    }
}

/// Whether nobody reads standard output any more.
pub fn stdout_is_closed() -> bool {
    let stdout = std::io::stdout();
    let mut wanted = libc::pollfd {
        fd: stdout.as_fd().as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: `wanted` is one valid pollfd, and standard output stays open during the call.
    let ready = unsafe { libc::poll(&raw mut wanted, 1, 0) };
    ready > 0 && wanted.revents & (libc::POLLERR | libc::POLLHUP) != 0
}
