//! What came of the cases, as text and as JSON.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::compare::{Mismatch, count_text};
use super::files::BadInput;
use crate::error::{Colour, Error};

/// One reason why a case failed.
#[derive(Debug)]
pub struct Failure(FailureKind);

#[derive(Debug)]
pub(super) enum FailureKind {
    Plain(String),
    /// The app does not compile; the text says why that matters where it is not plain.
    Compile(Option<String>, Error),
    /// A stream (or query) gave other rows than expected.
    Rows {
        subject: String,
        mismatch: Mismatch,
    },
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Failure(kind)
    }
}

impl Failure {
    pub(super) fn plain(message: String) -> Self {
        Failure(FailureKind::Plain(message))
    }

    pub(super) fn compile(why: Option<String>, error: Error) -> Self {
        Failure(FailureKind::Compile(why, error))
    }

    /// The failure as printed: one line or several, each ended.
    pub fn render(&self, colour: Colour) -> String {
        match &self.0 {
            FailureKind::Plain(message) => lines(message, ""),
            FailureKind::Compile(why, error) => {
                let why = why.as_deref().unwrap_or("the app does not compile:");
                let error = match error {
                    Error::Compile(diagnostic) => diagnostic.render(colour),
                    other => other.to_string(),
                };
                format!("{why}\n{}", lines(error.trim_end(), "  "))
            }
            FailureKind::Rows {
                subject,
                mismatch: Mismatch::Wrong(reason),
            } => format!("{subject}: {reason}\n"),
            FailureKind::Rows {
                subject,
                mismatch: Mismatch::Count { wanted, got },
            } => {
                format!("{subject}: expected {wanted}, got:\n{}", got.render(colour, "  "))
            }
            FailureKind::Rows {
                subject,
                mismatch: Mismatch::Rows { wanted, got, table },
            } => {
                format!(
                    "{subject}: expected {wanted} (-), got {} (+)\n{}",
                    count_text(*got),
                    table.render(colour, "  ")
                )
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Never))
    }
}

/// The lines of a text, indented, each ended.
fn lines(text: &str, indent: &str) -> String {
    text.lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_string()
            } else {
                format!("{indent}{line}\n")
            }
        })
        .collect()
}

/// What came of one case.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The case file.
    pub file: PathBuf,
    /// The line of the case's name, where it can be told.
    pub line: Option<usize>,
    /// The case's name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// Why it failed; empty when it passed.
    pub failures: Vec<Failure>,
}

impl Outcome {
    /// Whether the case passed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// `ok name`, or `FAILED name` with its reasons below.
    pub fn render(&self, colour: Colour) -> String {
        let (green, red, off) = match colour {
            Colour::Never => ("", "", ""),
            Colour::Always => ("\x1b[32m", "\x1b[1;31m", "\x1b[0m"),
        };
        if self.passed() {
            return format!("{green}ok{off} {}\n", self.name);
        }
        let mut text = format!("{red}FAILED{off} {}\n  {}", self.name, self.file.display());
        if let Some(line) = self.line {
            text.push_str(&format!(":{line}"));
        }
        text.push('\n');
        for failure in &self.failures {
            text.push_str(&lines(&failure.render(colour), "  "));
        }
        text
    }

    /// The outcome as one JSON object.
    pub fn json(&self) -> String {
        let failures: Vec<String> = self
            .failures
            .iter()
            .map(|failure| failure.to_string().trim_end().to_string())
            .collect();
        serde_json::json!({
            "file": self.file.display().to_string(),
            "line": self.line,
            "case": self.name,
            "passed": self.passed(),
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "failures": failures,
        })
        .to_string()
    }
}

/// What came of all cases. Displays what failed, and the counts.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The cases that ran, in order.
    pub outcomes: Vec<Outcome>,
    /// Files and paths of which no case could run.
    pub bad: Vec<BadInput>,
}

impl Report {
    /// How many cases passed.
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.passed()).count()
    }

    /// How many cases failed.
    pub fn failed(&self) -> usize {
        self.outcomes.len() - self.passed()
    }

    /// Whether everything could be read and passed.
    pub fn is_ok(&self) -> bool {
        self.bad.is_empty() && self.failed() == 0
    }

    /// `N passed, N failed`.
    pub fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed(), self.failed())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bad in &self.bad {
            writeln!(f, "error: {bad}")?;
        }
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.passed()) {
            f.write_str(&outcome.render(Colour::Never))?;
        }
        f.write_str(&self.summary())
    }
}
