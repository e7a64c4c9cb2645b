//! Checkpoints in S3: a server of its own (moto, by Python), which looks at who signs requests. Without it these tests do nothing,
//! and say so; `scripts/test` installs it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use eventflux::{Checkpoints, EventFlux};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{Finished, Running, Scratch, repository};

const BUCKET: &str = "states";

/// A sum that remembers everything, and a window whose state is an object of its own.
const SQL: &str = "
CREATE STREAM S (x LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'in.ndjson');
CREATE STREAM Sums (total LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'sums.csv');
CREATE STREAM Wide (total LONG) WITH (type = 'sink', extension = 'file', format = 'csv', path = 'wide.csv');
INSERT INTO Sums SELECT sum(x) AS total FROM S;
INSERT INTO Wide SELECT sum(x) AS total FROM S WINDOW('length', 500);
";

struct Server {
    child: Child,
    /// It ends when this is closed, however the tests end.
    _alive: ChildStdin,
    url: String,
    id: String,
    secret: String,
    runtime: Runtime,
    bucket: AmazonS3,
}

impl Server {
    /// `None`, having said so, where it is not installed.
    fn start() -> Option<Self> {
        let there = Command::new("python3")
            .args(["-c", "import moto.server, boto3, flask"])
            .stderr(Stdio::null())
            .status();
        if !there.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no server of S3 here (pip install 'moto[server]')");
            return None;
        }
        let script = repository().join("tests/it/recovery/s3_server.py");
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (alive, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("a line that tells port and credentials");
        let text = |name: &str| told[name].as_str().unwrap().to_string();
        let url = format!("http://127.0.0.1:{}", told["port"]);
        let bucket = AmazonS3Builder::new()
            .with_endpoint(&url)
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_access_key_id(text("id"))
            .with_secret_access_key(text("secret"))
            .build()
            .unwrap();
        Some(Server {
            child,
            _alive: alive,
            url,
            id: text("id"),
            secret: text("secret"),
            runtime: Runtime::new().unwrap(),
            bucket,
        })
    }

    /// The one that most tests share.
    fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        SHARED.get_or_init(Server::start).as_ref()
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child is ours and has not been waited for, so that its id cannot belong to another process.
        let sent = unsafe { libc::kill(libc::pid_t::try_from(self.child.id()).unwrap(), signal) };
        assert_eq!(sent, 0);
    }

    /// The names under a prefix.
    fn names(&self, prefix: &str) -> Vec<String> {
        let listed = self
            .runtime
            .block_on(self.bucket.list_with_delimiter(Some(&Path::from(prefix))));
        let objects = listed.unwrap().objects;
        let mut names: Vec<String> = objects.iter().map(|object| object.location.to_string()).collect();
        names.sort();
        names
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let path = Path::from(name);
        let read = async { self.bucket.get(&path).await.unwrap().bytes().await };
        self.runtime.block_on(read).unwrap().into()
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        let path = Path::from(name);
        let put = self.bucket.put(&path, PutPayload::from(bytes));
        self.runtime.block_on(put).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An app that follows its input, and keeps its state under a prefix.
struct App<'a> {
    server: &'a Server,
    scratch: Scratch,
    prefix: &'static str,
    next: usize,
}

impl<'a> App<'a> {
    fn new(server: &'a Server, prefix: &'static str) -> Self {
        let scratch = Scratch::with(&[("app.sql", SQL), ("in.ndjson", "")]);
        App {
            server,
            scratch,
            prefix,
            next: 1,
        }
    }

    fn url(&self) -> String {
        format!("s3://{BUCKET}/{}", self.prefix)
    }

    /// A command line that finds the server by the environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.eventflux(arguments);
        command.env("AWS_ENDPOINT_URL", &self.server.url);
        command.env("AWS_ACCESS_KEY_ID", &self.server.id);
        command.env("AWS_SECRET_ACCESS_KEY", &self.server.secret);
        command.env("RUST_LOG", "info").stdin(Stdio::null());
        command
    }

    fn state(&self, arguments: &[&str]) -> Finished {
        Running::start(&mut self.command(&[&["state"], arguments].concat())).end()
    }

    fn run_command(&self, more: &[&str]) -> Command {
        let url = self.url();
        let mut arguments = vec!["run", "app.sql", "--state-dir", &url, "--stats", "-"];
        for setting in [
            "streams.S.follow=true",
            "streams.S.poll=2 ms",
            "application.checkpoint.interval=20 ms",
            "application.checkpoint.s3.lease=1 s",
        ] {
            arguments.extend(["--set", setting]);
        }
        self.command(&[&arguments[..], more].concat())
    }

    fn start(&self) -> Running {
        Running::start(&mut self.run_command(&[]))
    }

    fn send(&mut self, running: &mut Running, count: usize) {
        let lines: String = (self.next..self.next + count)
            .map(|x| format!("{{\"x\":{x}}}\n"))
            .collect();
        self.scratch.append("in.ndjson", lines);
        self.next += count;
        let last = self.next - 1;
        let last = (last * (last + 1) / 2).to_string();
        running.wait_for("the output", |_| self.scratch.lines("sums.csv").last() == Some(&last));
    }

    fn newest(&self) -> u64 {
        let names = self.server.names(&format!("{}/checkpoints", self.prefix));
        let number = |name: &String| name.rsplit('/').next().unwrap().parse().unwrap();
        names.last().map_or(0, number)
    }

    /// Waits for a checkpoint that was taken after this was called.
    fn wait_for_checkpoint(&self, running: &mut Running) {
        // The next one may have been taken before.
        let before = self.newest() + 1;
        running.wait_for("a checkpoint", |_| self.newest() > before);
    }

    /// A run that sends some numbers and is stopped.
    fn run(&mut self, count: usize) -> Finished {
        let mut running = self.start();
        self.send(&mut running, count);
        stop(running)
    }

    #[track_caller]
    fn holds(&self) {
        let numbers = 1..self.next;
        let sums = numbers.clone().map(|x| x * (x + 1) / 2);
        let wide = numbers.map(|x| (x.saturating_sub(499).max(1)..=x).sum());
        for (file, values) in [("sums.csv", sums.collect::<Vec<usize>>()), ("wide.csv", wide.collect())] {
            let lines = std::iter::once("total".to_string()).chain(values.iter().map(usize::to_string));
            assert_eq!(self.scratch.lines(file), lines.collect::<Vec<_>>(), "{file}");
        }
    }
}

fn stop(running: Running) -> Finished {
    running.signal(libc::SIGTERM);
    running.end().code(0)
}

fn checkpoints(finished: &Finished) -> Value {
    finished.json()["checkpoints"].clone()
}

#[test]
fn killed_apps_go_on_from_it() {
    let Some(server) = Server::shared() else { return };
    let mut app = App::new(server, "apps/killed");
    for round in 0..3 {
        let mut running = app.start();
        app.send(&mut running, 300);
        if round > 0 {
            app.wait_for_checkpoint(&mut running);
        }
        app.send(&mut running, 1 + round);
        running.signal(libc::SIGKILL);
        assert_eq!(running.end().code, None);
    }
    let last = app.run(5);
    assert!(checkpoints(&last)["restored"].as_u64().unwrap() > 0);
    assert_eq!(checkpoints(&last)["failed"], 0);
    last.complains("waiting for 1s, if it was killed");
    app.holds();
    // Given back at the end: nobody waits.
    let again = app.run(1);
    assert!(!again.stderr.contains("waiting"), "{again:#?}");
    app.holds();
    assert!(server.names("apps/killed/checkpoints").len() <= 3);
    assert!(!server.names("apps/killed/objects").is_empty());
}

#[test]
fn a_torn_manifest_and_a_damaged_object_are_skipped() {
    let Some(server) = Server::shared() else { return };
    let mut app = App::new(server, "torn");
    app.run(300);
    app.run(4);
    let newest = server.names("torn/checkpoints").pop().unwrap();
    let whole = server.get(&newest);
    server.put(&newest, whole[..whole.len() / 2].to_vec());
    app.run(2)
        .complains("a checkpoint is damaged, the one before it is used");
    app.holds();
    for object in server.names("torn/objects") {
        let mut bytes = server.get(&object);
        bytes[0] ^= 1;
        server.put(&object, bytes);
    }
    let refused = app.start().end().code(2);
    refused.complains("E0502").complains("s3://states/torn");
}

#[test]
fn the_command_line_lists_inspects_tidies_and_copies() {
    let Some(server) = Server::shared() else { return };
    let mut app = App::new(server, "cli");
    let url = app.url();
    app.state(&["list", &url])
        .code(2)
        .complains("no checkpoints in s3://states/cli");
    app.run(300);
    app.run(2);
    let listed = app.state(&["list", &url, "--format", "json"]).code(0).json();
    assert!(listed.as_array().unwrap().len() > 1);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|checkpoint| checkpoint["damage"].is_null())
    );
    let shown = app.state(&["inspect", &url, "--format", "json"]).code(0).json();
    assert_eq!(shown["sources"][0]["position"]["line"], 303);
    server.put("cli/objects/nobody", vec![1]);
    app.state(&["gc", &url, "--retain", "1"]).code(0);
    assert_eq!(server.names("cli/checkpoints").len(), 1);
    assert!(!server.names("cli/objects").contains(&"cli/objects/nobody".to_string()));
    // To a folder, and from there to another prefix, from which the app goes on.
    app.state(&["export", &url, "--to", "copy"]).code(0);
    let again = format!("{url}/again");
    app.state(&["export", "copy", "--to", &again]).code(0);
    app.state(&["export", "copy", "--to", &again])
        .code(2)
        .complains("E0500");
    app.prefix = "cli/again";
    app.run(3);
    app.holds();
    app.state(&["list", "gs://states/cli"])
        .code(2)
        .complains("s3://bucket/prefix");
}

#[test]
fn all_of_it_is_encrypted() {
    let Some(server) = Server::shared() else { return };
    let mut app = App::new(server, "sealed");
    let run = |app: &mut App, key: &str| {
        let mut running = Running::start(app.run_command(&[]).env("EVENTFLUX_STATE_KEY", key));
        app.send(&mut running, 300);
        stop(running)
    };
    let key = "0f".repeat(32);
    run(&mut app, &key);
    run(&mut app, &key);
    app.holds();
    let manifest = server.get(&server.names("sealed/checkpoints").pop().unwrap());
    assert!(!String::from_utf8_lossy(&manifest).contains("eventflux"));
    let wrong = Running::start(app.run_command(&[]).env("EVENTFLUX_STATE_KEY", "1f".repeat(32))).end();
    wrong.code(2).complains("E0503").complains("with another key");
    app.start()
        .end()
        .code(2)
        .complains("E0503")
        .complains("s3://states/sealed holds encrypted");
}

#[test]
fn one_app_at_a_time() {
    let Some(server) = Server::shared() else { return };
    let mut app = App::new(server, "busy");
    let mut running = app.start();
    app.send(&mut running, 2);
    let other = Scratch::with(&[("app.sql", SQL), ("in.ndjson", "")]);
    let mut second = app.run_command(&[]);
    let second = Running::start(second.current_dir(other.directory())).end().code(2);
    second
        .complains("E0500")
        .complains(&format!("in use by process {}", running.child.id()));
    app.send(&mut running, 1);
    let stopped = stop(running);
    assert_eq!(checkpoints(&stopped)["failed"], 0);
    app.holds();
}

#[test]
fn an_app_that_stood_still_and_was_overtaken_writes_no_more() {
    let Some(server) = Server::shared() else { return };
    let mut app = App::new(server, "overtaken");
    let mut first = app.start();
    app.send(&mut first, 2);
    app.wait_for_checkpoint(&mut first);
    first.signal(libc::SIGSTOP);
    let other = Scratch::with(&[("app.sql", SQL), ("in.ndjson", &app.scratch.read("in.ndjson"))]);
    // Elsewhere, so that the two disturb each other by the state alone.
    for file in ["sums.csv", "wide.csv"] {
        other.write(file, app.scratch.read(file));
    }
    let mut second = app.run_command(&["--allow-state-loss"]);
    let mut second = Running::start(second.current_dir(other.directory()));
    app.wait_for_checkpoint(&mut second);
    first.signal(libc::SIGCONT);
    first.wait_for("the news", |first| first.stderr().contains("was taken over by process"));
    let number = app.newest();
    first.signal(libc::SIGTERM);
    assert!(checkpoints(&first.end())["failed"].as_u64().unwrap() > 0);
    second.wait_for("more checkpoints", |_| app.newest() > number + 1);
    assert_eq!(checkpoints(&stop(second))["failed"], 0);
}

#[test]
fn wrong_credentials_are_an_error_that_does_not_show_them() {
    let Some(server) = Server::shared() else { return };
    let app = App::new(server, "wrong");
    let mut command = app.run_command(&["--set", "application.checkpoint.s3.secret-access-key=hushhush"]);
    let refused = Running::start(&mut command).end().code(1);
    let refused = refused.complains("cannot lock s3://states/wrong").complains("403");
    assert!(!refused.stderr.contains("hushhush") && !refused.stdout.contains("hushhush"));
    // And the right ones, from options alone.
    let mut command = app.run_command(&[
        "--set",
        &format!("application.checkpoint.s3.endpoint={}", server.url),
        "--set",
        &format!("application.checkpoint.s3.access-key-id={}", server.id),
        "--set",
        "application.checkpoint.s3.secret-access-key=${THE_SECRET}",
    ]);
    for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(name);
    }
    let mut running = Running::start(command.env("THE_SECRET", &server.secret));
    app.wait_for_checkpoint(&mut running);
    stop(running);
}

#[test]
fn a_server_that_is_away_fails_checkpoints_and_not_the_app() {
    let Some(server) = Server::start() else { return };
    let mut app = App::new(&server, "away");
    let mut running = Running::start(&mut app.run_command(&["--set", "application.checkpoint.s3.timeout=300 ms"]));
    app.send(&mut running, 2);
    app.wait_for_checkpoint(&mut running);
    server.signal(libc::SIGSTOP);
    app.send(&mut running, 2);
    running.wait_for("a failure", |running| {
        running.stderr().contains("a checkpoint could not be written")
    });
    app.send(&mut running, 2);
    server.signal(libc::SIGCONT);
    app.wait_for_checkpoint(&mut running);
    let stats = checkpoints(&stop(running));
    assert!(stats["failed"].as_u64().unwrap() > 0, "{stats}");
    app.run(1);
    app.holds();
    // Gone altogether: what cannot begin says so.
    drop(app);
    let url = server.url.clone();
    drop(server);
    let scratch = Scratch::with(&[("app.sql", SQL), ("in.ndjson", "")]);
    let mut command = scratch.eventflux(["run", "app.sql", "--state-dir", "s3://states/away"]);
    command
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_ACCESS_KEY_ID", "a")
        .env("AWS_SECRET_ACCESS_KEY", "b");
    let failed = Running::start(command.stdin(Stdio::null())).end().code(1);
    failed.complains("cannot lock s3://states/away");
}

#[test]
fn urls_that_cannot_be_meant() {
    let scratch = Scratch::with(&[("app.sql", SQL), ("in.ndjson", "")]);
    let refused = scratch.run(["run", "app.sql", "--state-dir", "gs://b/x"]).code(2);
    refused.complains("s3://bucket/prefix");
    let mut command = scratch.eventflux(["run", "app.sql", "--state-dir", "s3://b/x"]);
    let plain = Running::start(command.env("AWS_ENDPOINT_URL", "http://10.0.0.1:9"))
        .end()
        .code(2);
    plain.complains("E0304").complains("without TLS");
    let app = EventFlux::builder()
        .sql("CREATE STREAM S (x LONG); SELECT x FROM S;")
        .checkpoints(Checkpoints::at_url("gs://b/x"))
        .build()
        .unwrap();
    let error = app.start().unwrap_err().to_string();
    assert!(error.contains("cannot be kept in 'gs://b/x'"), "{error}");
}
