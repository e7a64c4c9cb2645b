//! The command line: one file a subcommand.

pub mod run;
pub mod test;

use clap::{Parser, Subcommand};

/// A SQL complex-event-processing engine.
#[derive(Debug, Parser)]
#[command(name = "eventflux", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an app until its sources end or it is told to stop.
    Run(run::Run),
    /// Run the cases of test files against a virtual clock.
    Test(test::Test),
}

/// Exit codes.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// The app failed while running, or a test failed.
    pub const FAILED: u8 = 1;
    /// What was given is wrong: the command line, the app, the configuration.
    pub const BAD_INPUT: u8 = 2;
}

impl Cli {
    /// Does what is asked; the exit code.
    pub fn execute(self) -> u8 {
        match self.command {
            Command::Run(run) => run.execute(),
            Command::Test(test) => test.execute(),
        }
    }
}
