//! `eventflux explain`.

use super::app_args::AppArgs;
use super::{exit, output};

const EXAMPLES: &str = "\
Examples:
  eventflux explain app.sql
  eventflux explain streams.sql queries.sql --config production.toml

To see the plan of one query only, put EXPLAIN before it in the app and run it.";

/// Print the operators of all queries, without running them.
///
/// Each query is a tree: what it feeds first, what it reads last. Columns of a stream that no query reads are left out: they
/// are never decoded.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    #[command(flatten)]
    app: AppArgs,
}

impl Explain {
    /// Prints the plan; the exit code.
    pub fn execute(self) -> u8 {
        match self.app.build().and_then(|app| app.explain()) {
            Ok(plan) => output::print(&plan),
            Err(error) => {
                output::report(&error);
                exit::BAD_INPUT
            }
        }
    }
}
