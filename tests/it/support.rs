//! What the tests share: scratch directories, the binary as a child process, waiting with a deadline.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

/// How long anything may take that must happen. Far more than it takes: a loaded machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// How many random cases a test tries: an ordinary number, or for a long run what a variable of the environment says.
pub fn cases(variable: &str, ordinary: u32) -> u32 {
    let asked = std::env::var(variable).ok();
    asked.map_or(ordinary, |cases| cases.parse().expect("a number of cases"))
}

/// Waits until a condition holds; a failure tells what was waited for.
pub fn wait_until(what: impl std::fmt::Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(LOOK);
    }
}

/// Does something on a thread of its own and fails if it does not end: what hangs must not hang the tests.
pub fn within_deadline<T: Send + 'static>(what: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(body());
    });
    match result.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{what} did not end within {DEADLINE:?}"),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the result is sent before the thread ends"),
        },
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory that goes away with the test.
pub struct Scratch(TempDir);

impl Scratch {
    /// An empty one.
    pub fn new() -> Self {
        Scratch(TempDir::new().unwrap())
    }

    /// One that holds those files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        for (name, content) in files {
            scratch.write(name, content);
        }
        scratch
    }

    /// A copy of a directory of the repository.
    pub fn copy_of(directory: &str) -> Self {
        let scratch = Scratch::new();
        copy(&repository().join(directory), scratch.0.path());
        scratch
    }

    /// Copies a directory of the repository into it.
    pub fn copy(&self, directory: &str, to: &str) {
        copy(&repository().join(directory), &self.path(to));
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file anew.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Appends to a file in one write.
    pub fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        file.unwrap().write_all(content.as_ref()).unwrap();
    }

    /// What a file holds; empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Its whole lines.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = self.read(name);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_string).collect()
    }

    /// The command line, in this directory.
    pub fn eventflux<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventflux"));
        command.current_dir(self.directory()).args(arguments);
        command.env_remove("RUST_LOG").env_remove("NO_COLOR");
        command
    }

    /// Runs a command line to its end, without input.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        Running::start(self.eventflux(arguments).stdin(Stdio::null())).end()
    }

    /// Runs a command line to its end with that input.
    pub fn pipe<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, input: &str) -> Finished {
        let mut running = Running::start(self.eventflux(arguments).stdin(Stdio::piped()));
        let mut stdin = running.child.stdin.take().unwrap();
        let input = input.as_bytes().to_vec();
        // It may end without having read everything.
        let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
        let finished = running.end();
        let _ = writer.join();
        finished
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            // What an earlier run wrote is no part of an example.
            true if entry.file_name() == "out" => {}
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// How a command line ended.
#[derive(Debug)]
pub struct Finished {
    /// `None`: it was killed by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The same, having checked the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The last line of standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The same, having checked that standard error contains a text.
    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        self
    }
}

/// A command line that is running. Its outputs are collected as they come; it is killed when the test ends.
pub struct Running {
    pub child: Child,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
}

/// What has come out of a pipe so far.
struct Collected {
    text: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Collected {
    fn start(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let collected = text.clone();
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                collected.lock().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Collected { text, thread }
    }

    fn end(self) -> String {
        self.thread.join().unwrap();
        std::mem::take(&mut self.text.lock())
    }
}

impl Running {
    /// Starts a command. Outputs that were not set otherwise are collected.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(Collected::start);
        let stderr = child.stderr.take().map(Collected::start);
        Running { child, stdout, stderr }
    }

    /// Starts a command whose standard output goes into a file (a device, say).
    pub fn start_into(command: &mut Command, stdout: File) -> Self {
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().map(Collected::start);
        Running {
            child,
            stdout: None,
            stderr,
        }
    }

    /// What standard output has shown so far.
    pub fn stdout(&self) -> String {
        self.stdout
            .as_ref()
            .map(|pipe| pipe.text.lock().clone())
            .unwrap_or_default()
    }

    /// What standard error has shown so far.
    pub fn stderr(&self) -> String {
        self.stderr
            .as_ref()
            .map(|pipe| pipe.text.lock().clone())
            .unwrap_or_default()
    }

    /// Waits until standard output holds so many lines; all it holds.
    #[track_caller]
    pub fn wait_for_lines(&mut self, count: usize) -> Vec<String> {
        self.wait_for(&format!("{count} lines"), |running| {
            running.stdout().lines().count() >= count
        });
        self.stdout().lines().map(str::to_string).collect()
    }

    /// Waits for a condition; a command that ends before fails at once.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&Running) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            let late = Instant::now() >= end;
            if (ended.is_some() && !holds(self)) || late {
                panic!(
                    "waiting for {what}: {}; stdout: {:?}; stderr: {:?}",
                    ended.map_or("still running".to_string(), |status| status.to_string()),
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child is ours and has not been waited for, so that its id cannot belong to another process.
        let sent = unsafe { libc::kill(libc::pid_t::try_from(self.child.id()).unwrap(), signal) };
        assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Finished {
        let status = self.wait();
        Finished {
            code: status.code(),
            stdout: self.stdout.take().map(Collected::end).unwrap_or_default(),
            stderr: self.stderr.take().map(Collected::end).unwrap_or_default(),
        }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() >= end {
                let _ = self.child.kill();
                panic!(
                    "it did not end; stdout: {:?}; stderr: {:?}",
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A switch that is turned once, by any thread.
#[derive(Debug, Clone, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    pub fn turn(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Blocks until it is turned, at most for the deadline.
    pub fn wait(&self) {
        wait_until("the switch", || self.is_on());
    }
}

/// Sends rows in batches of these sizes, over and over.
pub fn send_in_batches<R: serde::Serialize>(input: &eventflux::Input, rows: &[R], sizes: &[usize]) {
    let mut left = rows;
    let mut sizes = sizes.iter().cycle();
    while !left.is_empty() {
        let size = sizes.next().expect("there are sizes");
        let (batch, rest) = left.split_at((*size).min(left.len()));
        input.send_rows(batch).unwrap();
        left = rest;
    }
}

/// The rows of Out so far, in the order they came.
pub fn collect(app: &eventflux::App) -> Arc<Mutex<Vec<serde_json::Value>>> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let collected = rows.clone();
    app.on("Out", move |batch| {
        collected
            .lock()
            .extend(eventflux::Rows::rows::<serde_json::Value>(batch).unwrap())
    })
    .unwrap();
    rows
}

/// A certificate for 127.0.0.1 and localhost that nobody but who is told trusts: `NAME.pem`, and its key, `NAME.key`.
#[cfg(feature = "http")]
pub fn certificate(scratch: &Scratch, name: &str) {
    let (key, cert) = (
        scratch.path(&format!("{name}.key")),
        scratch.path(&format!("{name}.pem")),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(cert)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
