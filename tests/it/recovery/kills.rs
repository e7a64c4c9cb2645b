//! `kill -9` at random moments.
//!
//! `EVENTFLUX_KILLS=250 cargo test --test it recovery::kills` for the long form: so many over all apps.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::apps::{App, JOINS, Lines, PARTITIONS, PATTERNS, TABLES, WINDOWS, output};
use crate::support::{DEADLINE, Finished, Running, Scratch};

/// How many kills an ordinary test run does, over all apps.
const KILLS: usize = 25;

/// An app and how its input comes.
#[derive(Clone, Copy)]
struct Case {
    app: &'static App,
    input: Input,
    /// Lines of each file.
    lines: usize,
    /// The queries whose rows have no given order: pairs of an interval join go out when the second comes, whichever that is, and
    /// between the keys of a partition on several threads there is none.
    open: &'static [usize],
}

#[derive(Clone, Copy, PartialEq)]
enum Input {
    /// The files grow while they are followed, until the last run reads them to their end.
    Grows,
    /// The files are there from the beginning.
    IsThere,
}

const CASES: [Case; 7] = [
    Case {
        app: &WINDOWS,
        input: Input::Grows,
        lines: 1_500,
        open: &[],
    },
    Case {
        app: &WINDOWS,
        input: Input::IsThere,
        lines: 20_000,
        open: &[],
    },
    Case {
        app: &JOINS,
        input: Input::Grows,
        lines: 1_500,
        open: &[0, 1],
    },
    Case {
        app: &JOINS,
        input: Input::IsThere,
        lines: 10_000,
        open: &[0, 1],
    },
    Case {
        app: &TABLES,
        input: Input::Grows,
        lines: 1_500,
        open: &[],
    },
    Case {
        app: &PATTERNS,
        input: Input::Grows,
        lines: 1_500,
        open: &[],
    },
    Case {
        app: &PARTITIONS,
        input: Input::Grows,
        lines: 1_500,
        open: &[0, 1],
    },
];

const TRADES: &str = "trades.ndjson";
const QUOTES: &str = "quotes.ndjson";

/// How many kills each case has.
fn kills() -> usize {
    let all = std::env::var("EVENTFLUX_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    all.unwrap_or(KILLS).div_ceil(CASES.len())
}

fn outputs(scratch: &Scratch, case: Case) -> Vec<Vec<String>> {
    let app = case.app;
    let files = (0..app.queries.len()).map(|number| {
        let text = scratch.read(&output(number));
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{}: {} is torn",
            app.name,
            output(number)
        );
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        if case.open.contains(&number) {
            lines.sort_unstable();
        }
        lines
    });
    files.collect()
}

/// What a run gives that nobody disturbs.
fn undisturbed(case: Case, lines: &Lines) -> Vec<Vec<String>> {
    let app = case.app;
    let scratch = Scratch::with(&[
        ("app.sql", &app.sql()),
        (TRADES, &lines.trades.concat()),
        (QUOTES, &lines.quotes.concat()),
    ]);
    scratch
        .run(["run", "app.sql", "--quiet"].iter().chain(app.options))
        .code(0);
    outputs(&scratch, case)
}

/// The number of the newest checkpoint.
pub fn newest(scratch: &Scratch) -> u64 {
    let names = std::fs::read_dir(scratch.path("state/checkpoints"))
        .into_iter()
        .flatten();
    let numbers = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.max().unwrap_or(0)
}

struct Killed {
    case: Case,
    app: &'static App,
    scratch: Scratch,
    random: SmallRng,
    /// How many bytes of both files are there.
    fed: [usize; 2],
    whole: [String; 2],
}

impl Killed {
    fn new(case: Case, lines: &Lines, seed: u64) -> Self {
        let app = case.app;
        let scratch = Scratch::with(&[("app.sql", &app.sql()), (TRADES, ""), (QUOTES, "")]);
        let mut killed = Killed {
            case,
            app,
            scratch,
            random: SmallRng::seed_from_u64(seed),
            fed: [0, 0],
            whole: [lines.trades.concat(), lines.quotes.concat()],
        };
        if case.input == Input::IsThere {
            killed.feed_all();
        }
        killed
    }

    /// Appends some bytes to both files, up to a part of the whole. They may end amid a line.
    fn feed(&mut self, part: f64) {
        for (file, name) in [TRADES, QUOTES].into_iter().enumerate() {
            let most = (self.whole[file].len() as f64 * part) as usize;
            let from = self.fed[file];
            let to = (from + self.random.random_range(0..4_000)).min(most).max(from);
            self.scratch.append(name, &self.whole[file].as_bytes()[from..to]);
            self.fed[file] = to;
        }
    }

    fn feed_all(&mut self) {
        for (file, name) in [TRADES, QUOTES].into_iter().enumerate() {
            self.scratch
                .append(name, &self.whole[file].as_bytes()[self.fed[file]..]);
            self.fed[file] = self.whole[file].len();
        }
    }

    fn arguments(&self, follow: bool) -> Vec<&'static str> {
        let mut arguments = vec!["run", "app.sql", "--quiet", "--state-dir", "state"];
        arguments.extend(["--set", "application.checkpoint.interval=20 ms"]);
        // So that there are many batches.
        arguments.extend(["--set", "streams.Trades.block-bytes=65536"]);
        arguments.extend(["--set", "streams.Quotes.block-bytes=65536"]);
        if follow {
            arguments.extend([
                "--set",
                "streams.Trades.follow=true",
                "--set",
                "streams.Quotes.follow=true",
            ]);
            arguments.extend(["--set", "streams.Trades.poll=2 ms", "--set", "streams.Quotes.poll=2 ms"]);
        }
        arguments.extend(self.app.options);
        arguments
    }

    /// A run that is killed; by then at most that part of the input has been there. The last one has written a checkpoint before.
    fn run_and_kill(&mut self, part: f64, is_last: bool) {
        // The first of a folder is of the sinks alone.
        let before = newest(&self.scratch).max(1);
        let follow = self.case.input == Input::Grows;
        let mut running = Running::start(self.scratch.eventflux(self.arguments(follow)).stdin(Stdio::null()));
        let end = Instant::now() + DEADLINE;
        // Some die while they start; most a while after their first checkpoint.
        let early = !is_last && self.random.random_bool(0.2);
        let life = Duration::from_millis(self.random.random_range(0..if early { 250 } else { 120 }));
        let began = Instant::now();
        let mut checkpointed = None;
        loop {
            self.feed(part);
            std::thread::sleep(Duration::from_millis(self.random.random_range(1..6)));
            if checkpointed.is_none() && newest(&self.scratch) > before {
                checkpointed = Some(Instant::now());
            }
            let since = if early { Some(began) } else { checkpointed };
            if since.is_some_and(|since| since.elapsed() >= life) {
                break;
            }
            assert!(Instant::now() < end, "{}: no checkpoint comes", self.app.name);
            let ended = running.child.try_wait().unwrap();
            if let Some(ended) = ended {
                assert!(
                    !follow && ended.success(),
                    "{}: it ended by itself: {}",
                    self.app.name,
                    running.stderr()
                );
                return;
            }
        }
        running.signal(libc::SIGKILL);
        let _ = running.child.wait();
    }

    /// The last run, to the end of the input.
    fn finish(&mut self) -> Finished {
        self.feed_all();
        let arguments = self.arguments(false);
        self.scratch.run(arguments.into_iter().chain(["--stats", "-"])).code(0)
    }
}

#[track_caller]
fn same(app: &App, what: &str, got: &[Vec<String>], expected: &[Vec<String>]) {
    for (number, (got, expected)) in got.iter().zip(expected).enumerate() {
        let first = got.iter().zip(expected).position(|(got, expected)| got != expected);
        let first = first.unwrap_or(got.len().min(expected.len()));
        assert!(
            got == expected,
            "{} ({what}): query {number} differs in line {first}: {:?} instead of {:?} ({} lines instead of {}): {}",
            app.name,
            got.get(first),
            expected.get(first),
            got.len(),
            expected.len(),
            app.queries[number].1
        );
    }
}

fn survives(case: Case) {
    let app = case.app;
    let seed: u64 = rand::random();
    let lines = Lines::random(seed, case.lines);
    let expected = undisturbed(case, &lines);
    assert!(
        expected.iter().all(|lines| lines.len() > 10),
        "{}: {:?}",
        app.name,
        expected.iter().map(Vec::len).collect::<Vec<_>>()
    );
    let mut left = kills();
    let mut round = 0;
    while left > 0 {
        // A handful of kills for each pass over the input.
        let kills = left.min(10);
        left -= kills;
        round += 1;
        let mut killed = Killed::new(case, &lines, seed.wrapping_add(round));
        for kill in 0..kills {
            killed.run_and_kill((kill + 1) as f64 / (kills + 1) as f64, kill + 1 == kills);
        }
        let finished = killed.finish();
        let restored = &finished.json()["checkpoints"]["restored"];
        assert!(
            restored.as_u64().is_some_and(|number| number > 1),
            "{restored}: {finished:#?}"
        );
        let what = format!("seed {seed}, round {round}");
        same(app, &what, &outputs(&killed.scratch, case), &expected);
        // Once more: everything has been done.
        let again = killed.finish();
        assert_eq!(again.json()["events_out"], 0, "{again:#?}");
        same(app, "a run after the end", &outputs(&killed.scratch, case), &expected);
    }
}

#[test]
fn windows_over_files_that_grow() {
    survives(CASES[0]);
}

#[test]
fn windows_over_files() {
    survives(CASES[1]);
}

#[test]
fn joins_of_files_that_grow() {
    survives(CASES[2]);
}

#[test]
fn joins_of_files() {
    survives(CASES[3]);
}

#[test]
fn tables() {
    survives(CASES[4]);
}

#[test]
fn patterns() {
    survives(CASES[5]);
}

#[test]
fn partitions_on_two_threads() {
    survives(CASES[6]);
}
