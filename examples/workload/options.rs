//! What is asked for on the command line.

use clap::{Parser, ValueEnum};

/// Why a workload cannot be run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Input {
    /// Columns in memory.
    Memory,
    /// A file of JSON lines for each stream.
    Ndjson,
    /// A CSV file for each stream.
    Csv,
}

impl Input {
    /// The format of its files.
    pub fn format(self) -> &'static str {
        match self {
            Input::Memory | Input::Ndjson => "json",
            Input::Csv => "csv",
        }
    }
}

/// What is asked for.
#[derive(Debug, Parser)]
#[command(about = "Runs a workload and prints what it took as JSON.")]
pub struct Options {
    /// An app of benches/apps without `.sql` (nexmark/q5, tumbling), `list`, or `data` and an app.
    #[arg(required = true, num_args = 1..=2)]
    pub name: Vec<String>,
    /// How many events, of all streams.
    #[arg(long, default_value_t = 1_000_000)]
    pub events: usize,
    #[arg(long, value_enum, default_value_t = Input::Memory)]
    pub input: Input,
    /// Threads for the keys of partitions. With 0 all is done on the calling thread.
    #[arg(long, default_value_t = 0)]
    pub parallelism: usize,
    /// What the random columns begin with.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Events a second, to measure latency.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Writes a checkpoint so often, into a folder that is removed.
    #[arg(long)]
    pub checkpoint: Option<String>,
    /// A variable of the app: KEYS=10000.
    #[arg(long = "set")]
    pub set: Vec<String>,
    /// Timed so often; the best counts.
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Leaves the checksum out, which costs one more run.
    #[arg(long)]
    pub no_checksum: bool,
    /// Where `data` puts files.
    #[arg(long, default_value = ".")]
    pub dir: std::path::PathBuf,
}
