//! `eventflux completions`.

use clap::CommandFactory;

use super::{Cli, output};

const EXAMPLES: &str = "\
Examples:
  eventflux completions bash > ~/.local/share/bash-completion/completions/eventflux
  eventflux completions zsh > ~/.zfunc/_eventflux
  eventflux completions fish > ~/.config/fish/completions/eventflux.fish";

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the script; the exit code.
    pub fn execute(self) -> u8 {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "eventflux", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
