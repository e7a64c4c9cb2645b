//! Runs cases one after the other, each on a thread of its own: one that panics or does not end takes only itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::execute::execute;
use super::files::{self, BadInput, ReadyCase};
use super::report::{Failure, Outcome, Report};
use crate::app::{Builder, EventFlux};

/// How long a case may take, in real time. Its clock is virtual: one that comes near this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The stack of a case's thread: as much as a main thread has, since deep expressions are planned by recursion.
const STACK: usize = 16 * 1024 * 1024;

/// Runs all cases of a file, or of all files below a directory.
pub fn run_path(path: impl AsRef<Path>) -> Report {
    Runner::new().run([path], |_| {})
}

/// Runs cases, with an embedder's own functions and connectors where there are any.
#[derive(Clone)]
pub struct Runner {
    builder: Arc<dyn Fn() -> Builder + Send + Sync>,
    filter: Option<String>,
    limit: Duration,
}

impl Default for Runner {
    fn default() -> Self {
        Runner::new()
    }
}

impl Runner {
    /// Runs all cases with what comes with the engine.
    pub fn new() -> Self {
        Runner {
            builder: Arc::new(EventFlux::builder),
            filter: None,
            limit: LIMIT,
        }
    }

    /// Makes every app with this builder, which may know more functions, connectors and formats.
    ///
    /// ```
    /// use eventflux::{EventFlux, testing::Runner};
    ///
    /// let runner = Runner::new().builder(|| EventFlux::builder());
    /// ```
    pub fn builder(mut self, builder: impl Fn() -> Builder + Send + Sync + 'static) -> Self {
        self.builder = Arc::new(builder);
        self
    }

    /// Runs only cases whose name, or whose file's path, contains the text, in whatever case.
    pub fn filter(mut self, text: impl AsRef<str>) -> Self {
        self.filter = Some(text.as_ref().to_lowercase());
        self
    }

    /// Gives a case up after this long; a minute otherwise.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the cases of files, and of all files below directories; `each` hears of every case as it ends.
    pub fn run<P: AsRef<Path>>(&self, paths: impl IntoIterator<Item = P>, mut each: impl FnMut(&Outcome)) -> Report {
        let mut report = Report::default();
        let mut files = Vec::new();
        for path in paths {
            match files::find(path.as_ref()) {
                Ok(found) => files.extend(found),
                Err(bad) => report.bad.push(bad),
            }
        }
        let mut seen = 0;
        for file in files {
            let cases = match files::read(&file) {
                Ok(cases) => cases,
                Err(bad) => {
                    report.bad.push(bad);
                    continue;
                }
            };
            for case in cases {
                seen += 1;
                if self.is_wanted(&case) {
                    let outcome = self.run_case(case);
                    each(&outcome);
                    report.outcomes.push(outcome);
                }
            }
        }
        if report.outcomes.is_empty() && report.bad.is_empty() {
            let message = match &self.filter {
                Some(filter) if seen > 0 => format!("none of {seen} cases contains '{filter}'"),
                _ => "there is no case".to_string(),
            };
            report.bad.push(BadInput {
                path: Path::new("").to_path_buf(),
                message,
            });
        }
        report
    }

    fn is_wanted(&self, case: &ReadyCase) -> bool {
        let contains = |text: &str, filter: &String| text.to_lowercase().contains(filter);
        self.filter
            .as_ref()
            .is_none_or(|filter| contains(&case.name, filter) || contains(&case.file.display().to_string(), filter))
    }

    fn run_case(&self, case: ReadyCase) -> Outcome {
        let case = Arc::new(case);
        let started = Instant::now();
        let (done, wait) = bounded(1);
        let (own, builder) = (case.clone(), self.builder.clone());
        let thread = std::thread::Builder::new()
            .name("case".to_string())
            .stack_size(STACK)
            .spawn(move || {
                // Nobody listens any more when the case was given up.
                let _ = done.send(execute(&own, builder()));
            });
        let failures = match thread {
            Err(error) => vec![Failure::plain(format!("the case has no thread to run on: {error}"))],
            Ok(thread) => match wait.recv_timeout(self.limit) {
                Ok(failures) => failures,
                Err(RecvTimeoutError::Timeout) => {
                    vec![Failure::plain(format!(
                        "given up after {} s of real time",
                        self.limit.as_secs()
                    ))]
                }
                Err(RecvTimeoutError::Disconnected) => match thread.join() {
                    Err(panic) => vec![Failure::plain(crate::runtime::panic_message(panic.as_ref()))],
                    Ok(()) => vec![Failure::plain("the case ended without a result".to_string())],
                },
            },
        };
        Outcome {
            file: case.file.clone(),
            line: case.line,
            name: case.name.clone(),
            took: started.elapsed(),
            failures,
        }
    }
}
