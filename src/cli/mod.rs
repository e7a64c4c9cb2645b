//! The command line: one file a subcommand.

mod app_args;
mod completions;
mod config;
mod connectors;
mod explain;
mod init;
mod logging;
mod output;
mod replay;
mod run;
mod serve;
mod state;
mod stats;
mod status;
mod stop;
mod test;
mod validate;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  eventflux init my-app                           start a project that runs
  eventflux run my-app/app.sql                    run it
  eventflux explain my-app/app.sql                see what it does
  eventflux connectors file                       look up a connector's options

Exit codes: 0 all went well, 1 the app failed while running (or a test failed),
2 the command line, the app or its configuration is wrong.";

/// SQL over streams: patterns, windows and joins, in one process.
#[derive(Debug, Parser)]
#[command(name = "eventflux", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    /// Run the cases of test files against a virtual clock.
    Test(test::Test),
    Validate(validate::Validate),
    Explain(explain::Explain),
    Init(init::Init),
    Connectors(connectors::Connectors),
    Config(config::Config),
    Replay(replay::Replay),
    State(state::State),
    Completions(completions::Completions),
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
            Command::Validate(validate) => validate.execute(),
            Command::Explain(explain) => explain.execute(),
            Command::Init(init) => init.execute(),
            Command::Connectors(connectors) => connectors.execute(),
            Command::Config(config) => config.execute(),
            Command::Replay(replay) => replay.execute(),
            Command::State(state) => state.execute(),
            Command::Completions(completions) => completions.execute(),
        }
    }
}
