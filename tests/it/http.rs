//! Webhooks: the binary against a receiver that fails, is slow and asks to be left alone, and checks signatures with a library that is not
//! ours (Standard Webhooks, in Python). Without Python these tests do nothing, and say so.
//!
//! `EVENTFLUX_WEBHOOKS=10000 cargo test --features full --test it http::` for a longer run.

mod client;
mod durable;
mod limits;
mod poll;
mod receive;
mod replay;
mod signed;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Running, Scratch, cases, repository, wait_until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver; it ends with the test.
struct Receiver {
    child: Child,
    port: u16,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request as the receiver saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    status: u16,
    id: String,
    key: i64,
    number: i64,
    signed: String,
    path: String,
}

impl Receiver {
    /// `None`, having said so, where it cannot run.
    fn start(scratch: &Scratch, options: &[&str]) -> Option<Self> {
        let mut child = Command::new("python3")
            .arg(repository().join("tests/it/http/receiver.py"))
            .arg(scratch.path("calls"))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        match line.trim().parse() {
            Ok(port) => Some(Receiver { child, port }),
            Err(_) => {
                let _ = child.wait();
                eprintln!("skipped: no receiver of webhooks here (Python, pip install standardwebhooks)");
                None
            }
        }
    }
}

fn calls(scratch: &Scratch) -> Vec<Call> {
    let whole = |line: &&String| line.split(' ').count() == 6;
    let lines = scratch.lines("calls");
    let parse = |line: &String| {
        let mut parts = line.split(' ').map(str::to_string);
        let mut next = || parts.next().unwrap();
        Call {
            status: next().parse().unwrap(),
            id: next(),
            key: next().parse().unwrap_or(-1),
            number: next().parse().unwrap_or(-1),
            signed: next(),
            path: next(),
        }
    };
    lines.iter().filter(whole).map(parse).collect()
}

fn events(count: u32) -> String {
    (0..count)
        .map(|n| format!("{{\"k\":{},\"n\":{n}}}\n", n % 40))
        .collect()
}

fn app(port: u16, more: &str) -> String {
    format!(
        "CREATE STREAM E (k INT, n INT) WITH (type = 'source', extension = 'file', format = 'json', \"file.path\" = 'in.ndjson');
         CREATE STREAM Dead (originalEvent STRING, errorMessage STRING, errorType STRING, timestamp TIMESTAMP, attemptCount INT,
                             streamName STRING)
         WITH (type = 'sink', extension = 'file', format = 'json', \"file.path\" = 'dead.ndjson');
         CREATE STREAM Hook (k INT, n INT) WITH (type = 'sink', extension = 'http',
           \"http.url\" = 'http://127.0.0.1:{port}/hook/{{{{k}}}}', \"http.allow-private\" = 'true', \"http.key\" = 'k' {more});
         INSERT INTO Hook SELECT k, n FROM E;"
    )
}

/// Each number has one id, whenever and however often it came.
fn ids(calls: &[Call]) -> BTreeMap<i64, String> {
    let mut ids = BTreeMap::new();
    for call in calls {
        let known = ids.entry(call.number).or_insert_with(|| call.id.clone());
        assert_eq!(*known, call.id, "{call:?}");
    }
    assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), ids.len());
    ids
}

/// Of each key the first deliveries are in order.
fn are_in_order(calls: &[Call]) {
    let mut latest: BTreeMap<i64, i64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for call in calls
        .iter()
        .filter(|call| call.status == 200 && seen.insert(call.number))
    {
        let before = latest.insert(call.key, call.number);
        assert!(
            before.is_none_or(|before| before < call.number),
            "{call:?} after {before:?}"
        );
    }
}

#[test]
fn all_arrive_in_order_and_signed_at_a_receiver_that_fails() {
    let scratch = Scratch::new();
    let secret = format!("secret={SECRET}");
    let options = ["fail=0.3", "busy=0.005", "slow=0.02", &secret];
    let Some(receiver) = Receiver::start(&scratch, &options) else {
        return;
    };
    let count = cases("EVENTFLUX_WEBHOOKS", 1_000);
    scratch.write("in.ndjson", events(count));
    let more = format!(
        ", \"http.secret\" = '{SECRET}', \"http.concurrency\" = 16, error.retry.max-attempts = 0, \
         error.retry.initial-delay = '5 ms', error.retry.max-delay = '200 ms', \"http.breaker.pause\" = '100 ms'"
    );
    scratch.write("app.sql", app(receiver.port, &more));
    let mut command = scratch.eventflux(["run", "app.sql"]);
    let mut running = Running::start(&mut command);
    let enough = Duration::from_secs(60 + u64::from(count) / 20);
    let end = std::time::Instant::now() + enough;
    while running.child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < end, "{}", running.stderr());
        std::thread::sleep(Duration::from_millis(20));
    }
    running.end().code(0);
    let calls = calls(&scratch);
    let delivered: Vec<&Call> = calls.iter().filter(|call| call.status == 200).collect();
    assert_eq!(delivered.len(), count as usize, "each once: nobody was killed");
    assert!(calls.iter().all(|call| call.signed == "signed"));
    assert!(calls.iter().all(|call| call.path == format!("/hook/{}", call.key)));
    assert!(calls.iter().any(|call| call.status == 500) && calls.iter().any(|call| call.status == 429));
    assert_eq!(ids(&calls).len(), count as usize);
    are_in_order(&calls);
}

#[test]
fn none_is_lost_and_ids_stay_when_it_is_killed() {
    let scratch = Scratch::new();
    let Some(receiver) = Receiver::start(&scratch, &["fail=0.3", "slow=0.02"]) else {
        return;
    };
    let count = 600;
    scratch.write("in.ndjson", events(count));
    let more = ", error.retry.max-attempts = 0, error.retry.initial-delay = '5 ms', error.retry.max-delay = '100 ms', \
                \"http.breaker.failures\" = 0, \"http.outbox.max-events\" = 100";
    scratch.write("app.sql", app(receiver.port, more));
    scratch.write("eventflux.toml", "[application.checkpoint]\ninterval = '30 ms'\n");
    let arguments = ["run", "app.sql", "--state-dir", "state"];
    let delivered = || {
        scratch
            .lines("calls")
            .iter()
            .filter(|line| line.starts_with("200 "))
            .count()
    };
    const KILLS: usize = 10;
    let mut kills = 0;
    let finished = loop {
        let before = delivered();
        let mut running = Running::start(&mut scratch.eventflux(arguments));
        // Each run gets a little further.
        let enough = before + 60 + kills * 17 % 90;
        let mut ended = None;
        wait_until("some deliveries", || {
            ended = running.child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            ended.is_some() || kills < KILLS && delivered() >= enough
        });
        if ended.is_some() {
            break running.end();
        }
        running.signal(libc::SIGKILL);
        let _ = running.child.wait();
        kills += 1;
    };
    finished.code(0);
    assert!(kills >= 4, "{kills}");
    let calls = calls(&scratch);
    let numbers: BTreeSet<i64> = calls
        .iter()
        .filter(|call| call.status == 200)
        .map(|call| call.number)
        .collect();
    assert_eq!(numbers.len(), count as usize);
    ids(&calls);
    are_in_order(&calls);
}

#[test]
fn what_is_refused_or_given_up_is_a_dead_letter() {
    let scratch = Scratch::new();
    let Some(receiver) = Receiver::start(&scratch, &["refuse=7", "dead=9"]) else {
        return;
    };
    scratch.write("in.ndjson", events(20));
    let more = ", error.strategy = 'dlq', error.dlq.stream = 'Dead', error.retry.max-attempts = 3, \
                error.retry.initial-delay = '1 ms', error.log-level = 'off'";
    scratch.write("app.sql", app(receiver.port, more));
    scratch.run(["run", "app.sql"]).code(0);
    let letters: Vec<serde_json::Value> = scratch
        .lines("dead.ndjson")
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sent = ids(&calls(&scratch));
    let shown: BTreeSet<String> = letters
        .iter()
        .map(|letter| {
            let text = |name: &str| letter[name].as_str().unwrap().to_string();
            let mut event: serde_json::Value = serde_json::from_str(&text("originalEvent")).unwrap();
            // So that it can be sent once more under the same.
            let id = event.as_object_mut().unwrap().remove("webhook-id");
            assert_eq!(id.unwrap().as_str().unwrap(), sent[&event["n"].as_i64().unwrap()]);
            format!(
                "{} {} {} {}",
                event,
                text("errorType"),
                letter["attemptCount"],
                text("errorMessage")
            )
        })
        .collect();
    let wanted = [
        r#"{"k":7,"n":7} refused 1 the server answered 422 Unprocessable Entity: never"#,
        r#"{"k":9,"n":9} sink 3 the server answered 500 Internal Server Error"#,
    ];
    assert_eq!(shown, wanted.map(str::to_string).into());
    assert_eq!(calls(&scratch).iter().filter(|call| call.status == 200).count(), 18);
}

#[test]
fn when_it_is_stopped_what_waits_stays_in_the_checkpoint() {
    let scratch = Scratch::new();
    scratch.write("in.ndjson", events(30));
    // Nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let more = ", error.retry.max-attempts = 0, error.retry.max-delay = '50 ms', error.retry.initial-delay = '10 ms', \
                \"http.close.timeout\" = '50 ms', \"http.breaker.pause\" = '50 ms'";
    scratch.write("app.sql", app(port, more));
    scratch.write("eventflux.toml", "[application.checkpoint]\ninterval = '20 ms'\n");
    let mut command = scratch.eventflux(["run", "app.sql", "--state-dir", "state"]);
    let mut running = Running::start(command.env("RUST_LOG", "info"));
    running.wait_for("a checkpoint", |_| {
        std::fs::read_dir(scratch.path("state")).is_ok_and(|folder| folder.count() > 1)
    });
    std::thread::sleep(Duration::from_millis(200));
    running.signal(libc::SIGTERM);
    let finished = running.end();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("they are in the checkpoint"),
        "{}",
        finished.stderr
    );
    let options = [format!("port={port}")];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Some(_receiver) = Receiver::start(&scratch, &options) else {
        return;
    };
    scratch.run(["run", "app.sql", "--state-dir", "state"]).code(0);
    let calls = calls(&scratch);
    assert_eq!(calls.len(), 30);
    are_in_order(&calls);
}

#[test]
fn neighbours_are_not_called_unless_that_is_allowed() {
    let scratch = Scratch::new();
    scratch.write("in.ndjson", events(1));
    let sql = app(1, "").replace(", \"http.allow-private\" = 'true'", "");
    scratch.write("app.sql", sql.replace("/hook/{{k}}", ""));
    let refused = scratch.run(["validate", "app.sql"]).code(2);
    refused
        .complains("127.0.0.1 is an address of this machine or of a private network")
        .complains("\"http.allow-private\" = 'true' allows it");
    // Rows say where to: each is checked.
    let rows = sql
        .replace("127.0.0.1:1", "{{n}}.0.0.127.example.invalid")
        .replace("{{n}}.0.0.127.example.invalid", "127.0.0.{{n}}");
    scratch.write("app.sql", rows);
    let finished = scratch.run(["run", "app.sql"]).code(0);
    assert!(
        finished.stderr.contains("an address of this machine"),
        "{}",
        finished.stderr
    );
}
