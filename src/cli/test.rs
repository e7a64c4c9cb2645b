//! `eventflux test`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use super::exit;
use crate::error::Colour;
use crate::testing::{Outcome, Runner};

/// Run the cases of test files against a virtual clock.
///
/// Exits with 0 when all passed, 1 when any failed, 2 when a file could not be read or there is none.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// Case files, and directories with *.test.toml and *.test.json files below them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Run only cases whose name or file contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How to print: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Test {
    /// Runs the cases; the exit code.
    pub fn execute(self) -> u8 {
        let mut runner = Runner::new();
        if let Some(filter) = &self.filter {
            runner = runner.filter(filter);
        }
        let colour = match std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            true => Colour::Always,
            false => Colour::Never,
        };
        let mut out = std::io::stdout().lock();
        // A reader that has gone away (`| head`) is no reason to stop: the exit code still tells.
        let report = runner.run(&self.paths, |outcome| {
            let _ = out
                .write_all(self.outcome(outcome, colour).as_bytes())
                .and_then(|()| out.flush());
        });
        for bad in &report.bad {
            eprintln!("error: {bad}");
        }
        let end = match self.format {
            Format::Human => report.summary(),
            Format::Json => {
                let bad: Vec<String> = report.bad.iter().map(ToString::to_string).collect();
                serde_json::json!({ "passed": report.passed(), "failed": report.failed(), "errors": bad }).to_string()
            }
        };
        let _ = writeln!(out, "{end}");
        if !report.bad.is_empty() {
            exit::BAD_INPUT
        } else if report.failed() > 0 {
            exit::FAILED
        } else {
            exit::OK
        }
    }

    fn outcome(&self, outcome: &Outcome, colour: Colour) -> String {
        match self.format {
            Format::Human => outcome.render(colour),
            Format::Json => outcome.json() + "\n",
        }
    }
}
