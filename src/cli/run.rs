//! `eventflux run`.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use super::app_args::AppArgs;
use super::logging::{self, Verbosity};
use super::stats::Report;
use super::status::{AboveStatus, Status, Totals, grouped};
use super::stop::StopOnSignal;
use super::{exit, output, serve};
use crate::config::checkpoints::StateDir;
use crate::config::options::{Options, RawOption};
use crate::connectors::log::Log;
use crate::connectors::{SinkConnector, SinkSpec};
use crate::error::{Error, Result};
use crate::runtime::tap::{SinkThread, Tap};
use crate::{App, Checkpoints};

const EXAMPLES: &str = "\
Examples:
  eventflux run app.sql
  eventflux run app.sql --set streams.Trades.file.path=today.json
  eventflux run streams.sql queries.sql --config production.toml --quiet
  eventflux run app.sql --stats - | tail -1 | jq .events_in
  producer | eventflux run app.sql | head         (a stream with extension = 'stdin')

Ctrl-C (or SIGTERM) stops the sources, lets what they have handed over through, and ends with 0;
a second one ends at once. Logs go to standard error; RUST_LOG=info or debug shows more of them.";

/// Run an app until its sources end or it is told to stop.
///
/// Rows of queries without a target are printed, one line each, as `name=value`. On a terminal a status line shows what is
/// going on, unless rows are printed there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    #[command(flatten)]
    app: AppArgs,
    /// Work off the keys of PARTITION blocks on so many threads. [default: 1, or what the configuration says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallelism: Option<u16>,
    /// Keep checkpoints in a folder, or at s3://bucket/prefix, and go on from the newest one there. [default: what the configuration says]
    #[arg(long, value_name = "DIR", value_parser = super::state::state_dir, value_hint = clap::ValueHint::AnyPath)]
    state_dir: Option<StateDir>,
    /// Let state that does not fit the app, or cannot be read, begin anew instead of refusing to start.
    #[arg(long)]
    allow_state_loss: bool,
    /// Show no status line and no summary, and log errors only.
    #[arg(long, short)]
    quiet: bool,
    /// At the end write counters, times and memory as one JSON object to a file, or to standard output for -.
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
}

/// How a run ended.
enum Ended {
    /// All sources came to their end.
    Finished,
    /// A signal came.
    Stopped,
    /// Nobody reads standard output any more.
    StdoutClosed,
    /// The app cannot go on.
    Failed(Error),
}

impl Run {
    /// Runs the app; the exit code.
    pub fn execute(self) -> u8 {
        let verbosity = if self.quiet {
            Verbosity::Quiet
        } else {
            Verbosity::Normal
        };
        if let Err(code) = logging::start(verbosity) {
            return code;
        }
        let checked = self.build().and_then(|app| Ok((app.explained()?, app)));
        let (explained, app) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                output::report(&error);
                return exit::BAD_INPUT;
            }
        };
        if !explained.is_empty() {
            let code = output::print(&explained);
            if code != exit::OK || app.queries().is_empty() {
                return code;
            }
        }
        if !app.has_sources() && !serve::is_wanted(&app) {
            output::complain(
                "the app has no source: nothing would ever happen",
                Some(
                    "give a stream one: WITH (type = 'source', extension = 'file', …); `eventflux connectors` lists what there is",
                ),
            );
            return exit::BAD_INPUT;
        }
        self.run(&app)
    }

    fn build(&self) -> Result<App> {
        let mut builder = self.app.builder()?;
        if let Some(threads) = self.parallelism {
            builder = builder.parallelism(threads.into());
        }
        if let Some(place) = &self.state_dir {
            builder = builder.checkpoints(Checkpoints::at(place.clone()));
        }
        if self.allow_state_loss {
            builder = builder.allow_state_loss();
        }
        builder.build()
    }

    fn run(&self, app: &App) -> u8 {
        let began = Instant::now();
        let printed = app.bare_queries();
        let ended = match run_to_end(app, &printed, self.quiet) {
            Ok(ended) => ended,
            Err(error) if is_closed_stdout(&error) => Ended::StdoutClosed,
            Err(error) => Ended::Failed(error),
        };
        let wall_seconds = began.elapsed().as_secs_f64();
        let stats = app.stats().ok();
        let totals = stats
            .as_ref()
            .map(|stats| Totals::of(stats, &printed))
            .unwrap_or_default();
        let (reason, code) = match &ended {
            Ended::Finished => ("finished", exit::OK),
            Ended::Stopped => ("stopped", exit::OK),
            Ended::StdoutClosed => ("stdout-closed", exit::OK),
            // What does not fit the app, such as its state, shows at the start only.
            Ended::Failed(Error::Compile(_)) => ("failed", exit::BAD_INPUT),
            Ended::Failed(_) => ("failed", exit::FAILED),
        };
        if let Ended::Failed(error) = &ended {
            output::report(error);
        }
        if !self.quiet && std::io::stderr().is_terminal() {
            let _ = AboveStatus.write_all(summary(reason, wall_seconds, &totals).as_bytes());
        }
        let Some(path) = &self.stats else {
            return code;
        };
        let mut report = Report::new(self.app.names(), stats, totals, wall_seconds);
        report.exit_reason = reason;
        report.checkpoints = app.checkpoint_stats().ok().flatten();
        if let Ended::Failed(error) = &ended {
            report.error = Some(error.to_string());
        }
        match report.write(path) {
            Ok(()) => code,
            Err(error) if is_closed_stdout(&error) => code,
            Err(error) => {
                output::report(&error);
                exit::FAILED
            }
        }
    }
}

fn run_to_end(app: &App, printed: &[String], quiet: bool) -> Result<Ended> {
    for query in printed {
        print_rows(app, query, printed.len())?;
    }
    // Before the start, so that no signal is ever met unprepared.
    let signals = StopOnSignal::start(app)?;
    let waiting = serve::prepare(app)?;
    app.start()?;
    if signals.asked() {
        app.stop()?;
    }
    let status = if quiet { None } else { Status::start(app) };
    let result = match serve::start(waiting, app, quiet) {
        Ok(Some(served)) => served.until_stopped(app, &signals),
        Ok(None) => app.wait(),
        Err(error) => app.shutdown().and(Err(error)),
    };
    drop(status);
    result.map(|()| match signals.asked() {
        true => Ended::Stopped,
        false => Ended::Finished,
    })
}

/// Prints the rows of a query as the log sink does; with its name only where several queries print.
fn print_rows(app: &App, query: &str, queries: usize) -> Result<()> {
    let prefix = if queries > 1 { query } else { "" };
    let prefix = RawOption::new("prefix".to_string(), prefix.to_string());
    let options = Options::check("log", SinkConnector::options(&Log), &[prefix])?;
    let spec = SinkSpec::new(query, app.stream(query)?.schema.clone(), options, None);
    // On a thread of its own, which flushes whenever it has caught up.
    app.tap(query, Tap::Thread(SinkThread::start(query, Log.build(spec)?, None)?))
}

/// Whether an error is that the reader of standard output has gone.
fn is_closed_stdout(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe) && output::stdout_is_closed()
}

/// `finished in 0.12 s: 1,003 in, 57 out, 2 late, 3 errors`.
fn summary(reason: &str, seconds: f64, totals: &Totals) -> String {
    let mut text = format!(
        "{reason} in {seconds:.2} s: {} in, {} out",
        grouped(totals.events_in),
        grouped(totals.events_out)
    );
    for (name, count) in [("late", totals.late), ("errors", totals.errors)] {
        if count > 0 {
            text.push_str(&format!(", {} {name}", grouped(count)));
        }
    }
    text.push('\n');
    text
}
