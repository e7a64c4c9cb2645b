//! The poller, against a server in Python.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::client::ids;
use crate::support::{Running, Scratch, repository, wait_until};

struct Lists {
    child: Child,
    port: u16,
}

impl Drop for Lists {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lists {
    /// `None`, having said so, where it cannot run.
    fn start(scratch: &Scratch, state: &Value) -> Option<Self> {
        scratch.write("lists.json", state.to_string());
        let child = Command::new("python3")
            .arg(repository().join("tests/it/http/lists.py"))
            .args([scratch.path("calls"), scratch.path("lists.json")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: no Python here");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        Some(Lists {
            child,
            port: line.trim().parse().ok()?,
        })
    }
}

fn items(range: std::ops::Range<i64>) -> Vec<Value> {
    range.map(|id| json!({ "id": id })).collect()
}

/// An app that polls; its list changes by another file in the place of `lists.json`.
fn app(scratch: &Scratch, lists: &Lists, path: &str, options: &str) -> Running {
    let port = lists.port;
    scratch.write(
        "app.sql",
        format!(
            "CREATE STREAM Items (id LONG) WITH (type = 'source', extension = 'http', \"http.mode\" = 'poll',
               \"http.url\" = 'http://127.0.0.1:{port}{path}', \"http.interval\" = '50 ms'{options});
             CREATE STREAM Out (id LONG) WITH (type = 'sink', extension = 'file', \"file.path\" = 'out.ndjson');
             INSERT INTO Out SELECT id FROM Items;"
        ),
    );
    scratch.write("eventflux.toml", "[application.checkpoint]\ninterval = '20 ms'\n");
    Running::start(&mut scratch.eventflux(["run", "app.sql", "--state-dir", "state"]))
}

/// Puts another file in the place of the list at once.
fn change(scratch: &Scratch, state: &Value) {
    scratch.write("new.json", state.to_string());
    std::fs::rename(scratch.path("new.json"), scratch.path("lists.json")).unwrap();
}

fn wait_for_ids(running: &mut Running, scratch: &Scratch, wanted: &[i64]) {
    running.wait_for(&format!("{wanted:?}"), |_| ids(scratch).len() >= wanted.len());
    assert_eq!(ids(scratch), wanted);
}

/// The statuses and paths of the calls so far.
fn calls(scratch: &Scratch) -> Vec<(u16, String, bool)> {
    let call = |line: &String| {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap().to_string();
        (next().parse().unwrap(), next(), next() == "True")
    };
    scratch.lines("calls").iter().map(call).collect()
}

fn wait_for_call(scratch: &Scratch, after: usize, status: u16, path: &str) {
    wait_until(format!("{status} {path}"), || {
        calls(scratch)
            .iter()
            .skip(after)
            .any(|call| (call.0, call.1.as_str()) == (status, path))
    });
}

#[test]
fn what_has_not_changed_is_not_read_again_also_after_a_restart() {
    let scratch = Scratch::new();
    let Some(lists) = Lists::start(&scratch, &json!({"items": items(1..4)})) else {
        return;
    };
    let options = ", \"http.bearer-token\" = 'secret', \"http.header.X-Tenant\" = 'blue'";
    let mut running = app(&scratch, &lists, "/plain", options);
    wait_for_ids(&mut running, &scratch, &[1, 2, 3]);
    wait_for_call(&scratch, 0, 304, "/plain");
    assert!(
        scratch
            .lines("calls")
            .iter()
            .all(|call| call.ends_with("Bearer secret blue"))
    );
    // So that a checkpoint holds what it knows.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(libc::SIGKILL);
    let _ = running.child.wait();
    let before = calls(&scratch).len();
    let mut running = app(&scratch, &lists, "/plain", options);
    wait_for_call(&scratch, before, 304, "/plain");
    assert!(calls(&scratch).iter().skip(before).all(|call| call.0 == 304 && call.2));
    change(&scratch, &json!({"items": items(4..6)}));
    wait_for_ids(&mut running, &scratch, &[1, 2, 3, 4, 5]);
    running.signal(libc::SIGTERM);
    running.end().code(0);
}

#[test]
fn pages_by_links_and_by_cursors() {
    for (path, options) in [
        ("/link", ", \"http.page.next\" = 'link'"),
        (
            "/cursor",
            ", \"http.page.next\" = '$.next', \"http.page.param\" = 'cursor', \"json.root\" = '$.data.items'",
        ),
    ] {
        let scratch = Scratch::new();
        let Some(lists) = Lists::start(&scratch, &json!({"items": items(0..7), "size": 3})) else {
            return;
        };
        let mut running = app(&scratch, &lists, path, options);
        wait_for_ids(&mut running, &scratch, &(0..7).collect::<Vec<_>>());
        wait_for_call(&scratch, 3, 304, path);
        running.signal(libc::SIGTERM);
        running.end().code(0);
        assert_eq!(ids(&scratch).len(), 7);
    }
}

/// A list that grows: each time the next one goes on where the last one ended, also after the process was killed.
#[test]
fn a_feed_goes_on_at_its_cursor() {
    let scratch = Scratch::new();
    let Some(lists) = Lists::start(&scratch, &json!({"items": items(0..5), "size": 2, "feed": true})) else {
        return;
    };
    let options = ", \"http.page.next\" = '$.next', \"http.page.param\" = 'cursor', \"http.page.continue\" = 'true',
                     \"json.root\" = '$.data.items'";
    let mut running = app(&scratch, &lists, "/cursor", options);
    wait_for_ids(&mut running, &scratch, &[0, 1, 2, 3, 4]);
    wait_for_call(&scratch, 0, 304, "/cursor?cursor=5");
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(libc::SIGKILL);
    let _ = running.child.wait();
    let before = calls(&scratch).len();
    change(&scratch, &json!({"items": items(0..8), "size": 2, "feed": true}));
    let mut running = app(&scratch, &lists, "/cursor", options);
    wait_for_ids(&mut running, &scratch, &(0..8).collect::<Vec<_>>());
    let first = calls(&scratch)[before].clone();
    assert_eq!(first.1, "/cursor?cursor=5");
    running.signal(libc::SIGTERM);
    running.end().code(0);
}

#[test]
fn a_server_with_a_bad_day_is_asked_again() {
    let scratch = Scratch::new();
    let state = json!({"items": items(1..3), "fail": [500, 429, 503]});
    let Some(lists) = Lists::start(&scratch, &state) else {
        return;
    };
    let mut running = app(&scratch, &lists, "/plain", "");
    wait_for_ids(&mut running, &scratch, &[1, 2]);
    let statuses: Vec<u16> = calls(&scratch).iter().take(4).map(|call| call.0).collect();
    assert_eq!(statuses, [500, 429, 503, 200]);
    assert!(
        running.stderr().contains("429 Too Many Requests: "),
        "{}",
        running.stderr()
    );
    running.signal(libc::SIGTERM);
    running.end().code(0);
}

#[test]
fn what_a_server_may_not_do() {
    let scratch = Scratch::new();
    let Some(lists) = Lists::start(&scratch, &json!({"items": items(1..3)})) else {
        return;
    };
    let mut running = app(&scratch, &lists, "/nowhere", "");
    running.wait_for("the end", |_| true);
    running
        .end()
        .code(1)
        .complains("404 Not Found: {\"message\": \"nothing here\"}");
    for (path, why) in [
        ("/away", "it redirects to another server"),
        ("/long", "longer than http.max-body-bytes"),
    ] {
        let mut running = app(&scratch, &lists, path, "");
        running.wait_for(why, |running| running.stderr().contains(why));
        assert!(ids(&scratch).is_empty());
        running.signal(libc::SIGTERM);
        running.end().code(0);
    }
    let mut running = app(&scratch, &lists, "/here", "");
    wait_for_ids(&mut running, &scratch, &[1, 2]);
    running.signal(libc::SIGTERM);
    running.end().code(0);
}
