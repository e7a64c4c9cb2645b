//! `eventflux run`.

use std::path::PathBuf;

use super::exit;
use crate::error::{Colour, Error};
use crate::{App, EventFlux};

/// Run an app until its sources end or it is told to stop.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The app: a .sql file; several are read as one app, in that order.
    #[arg(required = true)]
    apps: Vec<PathBuf>,
    /// Write one JSON object of counters at the end, to a file or - for stdout.
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
}

impl Run {
    /// Runs the app; the exit code.
    pub fn execute(self) -> u8 {
        let app = match self.build() {
            Ok(app) => app,
            Err(error) => {
                report(&error);
                return exit::BAD_INPUT;
            }
        };
        match run(&app) {
            Ok(()) => exit::OK,
            Err(error) => {
                report(&error);
                exit::FAILED
            }
        }
    }

    fn build(&self) -> Result<App, Error> {
        EventFlux::builder().file(&self.apps[0])?.build()
    }
}

fn run(app: &App) -> Result<(), Error> {
    for query in app.bare_queries() {
        app.on(&query, |batch| {
            for line in crate::event::pretty::lines(batch) {
                println!("{line}");
            }
        })?;
    }
    app.start()?;
    app.wait()
}

fn report(error: &Error) {
    match error {
        Error::Compile(diagnostic) => eprintln!("{}", diagnostic.render(Colour::Never)),
        other => eprintln!("error: {other}"),
    }
}
