//! `eventflux replay`.

mod destination;
mod letters;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::app_args::AppArgs;
use super::logging::{self, Verbosity};
use super::{exit, output};
use crate::catalog::streams::{Role, StreamDef};
use crate::connectors::Registry;
use crate::error::{Error, Result};
use destination::{Destination, Failed};
use letters::{Filter, Letter, Reading};

const EXAMPLES: &str = "\
Examples:
  eventflux replay app.sql --from dead.ndjson --dry-run
  eventflux replay app.sql --from dead.ndjson --stream Alerts --failed still-dead.ndjson
  eventflux replay app.sql --from dead.ndjson --since 2026-03-02T09:00:00Z --type sink --rate 50
  eventflux replay app.sql --from dead.ndjson --records again.ndjson   (what sources could not read, for a source to read again)

Exit codes: 0 all that was to be sent has been, 1 some failed, 2 the command line, the app or the file is wrong.";

/// So many letters are sent before those that were given up are asked for.
const CHUNK: usize = 256;

/// How often a sink is tried that would be tried without end.
const ATTEMPTS: u32 = 10;

/// How many reasons are told one by one.
const TOLD: u64 = 5;

/// Send dead letters once more: to the sink, or into the source, that they are of.
///
/// Reads what the stream of dead letters has written as JSON, one letter a line. An event of a sink goes to a second sink of its
/// stream, a webhook under the id that it had; a record of an `http` receiver goes to the running app, as its callers send it. The app
/// itself is not started, and its checkpoints are not touched: it may be running.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    #[command(flatten)]
    app: AppArgs,
    /// The dead letters: a file of JSON, one a line, or - for standard input.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Only those of this stream. May be repeated.
    #[arg(long, value_name = "STREAM")]
    stream: Vec<String>,
    /// Only those of this kind: decode, evaluate, constraint, table, refused, sink. May be repeated.
    #[arg(long = "type", value_name = "KIND")]
    kind: Vec<String>,
    /// Only those that died at that time or later, such as 2026-03-02T09:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = letters::time)]
    since: Option<i64>,
    /// Only those that died before that time.
    #[arg(long, value_name = "TIME", value_parser = letters::time)]
    until: Option<i64>,
    /// Send nothing: tell what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Send no more than so many a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Try each so often. [default: what error.retry.max-attempts of its stream says, or 10 where that is without end]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempts: Option<u32>,
    /// Write those that fail again to a file, as dead letters.
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Write the records of sources that cannot be called to a file, as they came.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
}

/// What has been done.
#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    failed: u64,
    skipped: u64,
    written: u64,
    told: u64,
}

/// A letter on its way, and the line that it stands in.
struct Sending {
    letter: Letter,
    id: String,
    line: u64,
}

/// Everything that is done while letters are read.
struct Round<'a> {
    options: &'a Replay,
    registry: &'a Registry,
    streams: BTreeMap<String, Arc<StreamDef>>,
    destinations: BTreeMap<String, Destination>,
    waiting: Vec<Sending>,
    counts: Counts,
    failed: Option<BufWriter<File>>,
    records: Option<BufWriter<File>>,
    began: Instant,
}

impl Replay {
    /// Sends them; the exit code.
    pub fn execute(self) -> u8 {
        if let Err(code) = logging::start(Verbosity::Normal) {
            return code;
        }
        match self.replay() {
            Ok(counts) => {
                let code = output::print(&format!("{}\n", self.summary(&counts)));
                if counts.failed > 0 { exit::FAILED } else { code }
            }
            Err(error) => {
                output::report(&error);
                exit::BAD_INPUT
            }
        }
    }

    fn replay(&self) -> Result<Counts> {
        let builder = self.app.builder()?.disconnected();
        let registry = builder.registry().clone();
        let app = builder.build()?;
        for name in &self.stream {
            app.stream(name)?;
        }
        let streams = app.streams().iter().map(|def| (def.name.clone(), def.clone()));
        let mut round = Round {
            options: self,
            registry: &registry,
            streams: streams.collect(),
            destinations: BTreeMap::new(),
            waiting: Vec::new(),
            counts: Counts::default(),
            failed: self.failed.as_deref().map(create).transpose()?,
            records: self.records.as_deref().map(create).transpose()?,
            began: Instant::now(),
        };
        let filter = Filter {
            streams: &self.stream,
            kinds: &self.kind,
            since: self.since,
            until: self.until,
        };
        for read in Reading::new(self.input()?) {
            let (line, read) = read?;
            match read {
                Ok(letter) if filter.lets_through(&letter) => round.take(letter, line)?,
                Ok(_) => {}
                Err(reason) => {
                    round.counts.failed += 1;
                    round.tell(line, &reason);
                }
            }
        }
        round.flush()?;
        round.end()
    }

    fn input(&self) -> Result<Box<dyn BufRead>> {
        if self.from == Path::new("-") {
            return Ok(Box::new(std::io::stdin().lock()));
        }
        let file = File::open(&self.from);
        let file = file.map_err(|error| Error::io(format!("cannot read {}", self.from.display()), error))?;
        Ok(Box::new(BufReader::new(file)))
    }

    fn summary(&self, counts: &Counts) -> String {
        let mut text = match self.dry_run {
            true => format!("{} would be sent", counts.sent),
            false => format!("{} sent", counts.sent),
        };
        text.push_str(&format!(", {} failed, {} skipped", counts.failed, counts.skipped));
        if self.records.is_some() {
            text.push_str(&format!(", {} written as records", counts.written));
        }
        text
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).map_err(|error| Error::io(format!("cannot write {}", path.display()), error))?;
    Ok(BufWriter::new(file))
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write what has failed, or the records", error)
}

impl Round<'_> {
    /// Sends a letter, or says why not.
    fn take(&mut self, letter: Letter, line: u64) -> Result<()> {
        let Some(def) = self.streams.get(&letter.stream).cloned() else {
            let reason = format!("the app has no stream '{}'", letter.stream);
            return self.skip(line, &reason);
        };
        let stands_for_itself = letter.kind == "decode";
        match &def.role {
            Role::Sink(_) if !self.registry.takes_again(&def) => {
                let reason = format!(
                    "the sink of '{}' is of a kind that only the app itself may write to",
                    def.name
                );
                return self.skip(line, &reason);
            }
            Role::Sink(_) => {}
            Role::Source(_) if stands_for_itself && self.records.is_some() => {
                self.counts.written += 1;
                let mut records = self.records.iter_mut();
                return records.try_for_each(|file| writeln!(file, "{}", letter.event).map_err(cannot_write));
            }
            Role::Source(_) => {}
            _ => return self.skip(line, &format!("'{}' is neither a source nor a sink", def.name)),
        }
        if !self.destinations.contains_key(&def.name) {
            match Destination::open(self.registry, &def, self.options.attempts, self.options.dry_run)? {
                Some(destination) => drop(self.destinations.insert(def.name.clone(), destination)),
                None => {
                    let reason = format!(
                        "nobody can call the source of '{}': --records FILE writes its records to a file",
                        def.name
                    );
                    return self.skip(line, &reason);
                }
            }
        }
        self.pace();
        let id = letter.id();
        if let Some(destination) = self.destinations.get_mut(&def.name)
            && let Err(error) = destination.send(&letter, &id)
        {
            return self.fail(&letter, line, &Failed::now(&error));
        }
        self.waiting.push(Sending { letter, id, line });
        match self.waiting.len() < CHUNK {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Waits until what is on its way is there, or has failed.
    fn flush(&mut self) -> Result<()> {
        let mut failed: BTreeMap<String, Failed> = BTreeMap::new();
        for destination in self.destinations.values_mut() {
            failed.extend(destination.finish()?);
        }
        for sending in std::mem::take(&mut self.waiting) {
            match failed.get(&sending.id) {
                Some(why) => self.fail(&sending.letter, sending.line, why)?,
                None => self.counts.sent += 1,
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Counts> {
        for destination in self.destinations.values_mut() {
            destination.close()?;
        }
        for file in [&mut self.failed, &mut self.records].into_iter().flatten() {
            file.flush().map_err(cannot_write)?;
        }
        let more = (self.counts.failed + self.counts.skipped).saturating_sub(TOLD);
        if more > 0 && self.counts.told >= TOLD {
            output::warn(&format!("and {more} more that failed or were skipped"), None);
        }
        Ok(self.counts)
    }

    fn skip(&mut self, line: u64, reason: &str) -> Result<()> {
        self.counts.skipped += 1;
        self.tell(line, reason);
        Ok(())
    }

    fn fail(&mut self, letter: &Letter, line: u64, why: &Failed) -> Result<()> {
        self.counts.failed += 1;
        self.tell(line, &why.reason);
        match &mut self.failed {
            Some(file) => writeln!(file, "{}", letter.dead_again(why)).map_err(cannot_write),
            None => Ok(()),
        }
    }

    fn tell(&mut self, line: u64, reason: &str) {
        self.counts.told += 1;
        if self.counts.told <= TOLD {
            output::warn(&format!("line {line}: {reason}"), None);
        }
    }

    /// Waits until the next may go.
    fn pace(&mut self) {
        let Some(rate) = self.options.rate.filter(|_| !self.options.dry_run) else {
            return;
        };
        let before = self.counts.sent + self.counts.failed + self.waiting.len() as u64;
        let due = Duration::from_secs_f64(before as f64 / f64::from(rate));
        std::thread::sleep(due.saturating_sub(self.began.elapsed()));
    }
}
