//! `eventflux init`: a small project that runs.

mod from;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{exit, output};
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  eventflux init my-app
  eventflux run my-app/app.sql
  eventflux init --from postgres --url postgresql://me@localhost/shop --relation orders > app.sql";

/// Write a small app that runs: SQL, data and a test.
///
/// The directory is made; if it exists, it must be empty.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// The directory. With --from it may be left out: then the app is printed.
    #[arg(value_name = "DIR", required_unless_present = "from")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    from: from::From,
}

/// What is written.
const FILES: &[(&str, &str)] = &[
    ("app.sql", include_str!("app.sql")),
    ("trades.ndjson", include_str!("trades.ndjson")),
    ("app.test.toml", include_str!("app.test.toml")),
    ("README.md", include_str!("README.md")),
];

impl Init {
    /// Writes the project; the exit code.
    pub fn execute(self) -> u8 {
        let app = match self.from.from.as_deref().map(|connector| self.from.app(connector)) {
            None => None,
            Some(Ok(app)) => Some(app),
            Some(Err(error)) => {
                output::report(&error);
                return exit::BAD_INPUT;
            }
        };
        let (directory, files) = match (&self.directory, &app) {
            (Some(directory), None) => (directory, FILES),
            (Some(directory), Some(app)) => (directory, &[("app.sql", app.as_str())][..]),
            (None, app) => return output::print(app.as_deref().unwrap_or_default()),
        };
        match is_taken(directory) {
            Ok(false) => {}
            Ok(true) => {
                output::complain(
                    &format!("{} is there and not empty", directory.display()),
                    Some("name a new directory; nothing was written"),
                );
                return exit::BAD_INPUT;
            }
            Err(error) => {
                output::report(&error);
                return exit::BAD_INPUT;
            }
        }
        if let Err(error) = write_all(directory, files) {
            output::report(&error);
            return exit::FAILED;
        }
        let shown = directory.display();
        let mut text = String::new();
        for (name, _) in files {
            text.push_str(&format!("wrote {}\n", directory.join(name).display()));
        }
        if app.is_some() {
            text.push_str(&format!(
                "\nNext:\n  eventflux validate --connect {shown}/app.sql  see whether it fits\n  eventflux run {shown}/app.sql                 run it\n"
            ));
            return output::print(&text);
        }
        text.push_str(&format!(
            "\nNext:\n  eventflux run {shown}/app.sql      run it\n  eventflux test {shown}             test it\n  \
             eventflux explain {shown}/app.sql  see what it does\n"
        ));
        output::print(&text)
    }
}

fn is_taken(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("cannot use {}", directory.display()), error)),
    }
}

fn write_all(directory: &Path, files: &[(&str, &str)]) -> Result<()> {
    let cannot = |path: &Path, error| Error::io(format!("cannot write {}", path.display()), error);
    std::fs::create_dir_all(directory).map_err(|error| cannot(directory, error))?;
    for (name, content) in files {
        let path = directory.join(name);
        // Never over a file that somebody has put there meanwhile.
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
        written.map_err(|error| cannot(&path, error))?;
    }
    Ok(())
}
