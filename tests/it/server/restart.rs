//! A server whose process is killed and started again from a checkpoint.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};

use super::client::{Events, post};
use crate::recovery::kills::newest;
use crate::support::{Running, Scratch, wait_until};

/// A keyed stream, whose rows the server keeps in a table of its own, and a table.
const SQL: &str = "
CREATE STREAM Puts (symbol STRING, n LONG) WITH (type = 'source', extension = 'file', format = 'json', path = 'puts.ndjson', follow = true);
CREATE STREAM Totals (symbol STRING, total LONG, PRIMARY KEY (symbol));
CREATE TABLE Last (symbol STRING PRIMARY KEY, n LONG);
INSERT INTO Totals SELECT symbol, sum(n) AS total FROM Puts GROUP BY symbol;
UPSERT INTO Last SELECT symbol, n FROM Puts;";

fn start(scratch: &Scratch) -> (Running, SocketAddr) {
    let arguments = [
        "run",
        "app.sql",
        "--state-dir",
        "state",
        "--set",
        "application.checkpoint.interval=20 ms",
        "--set",
        "server.bind=127.0.0.1:0",
        "--set",
        "server.expose=Totals, Last",
    ];
    serving(scratch, &arguments)
}

/// Runs the binary, which serves; where.
pub fn serving(scratch: &Scratch, arguments: &[&str]) -> (Running, SocketAddr) {
    let mut running = Running::start(scratch.eventflux(arguments).stdin(Stdio::null()));
    let mut address = None;
    running.wait_for("the server's address", |running| {
        let told = running.stderr() + &running.stdout();
        let found = told
            .split_once("serving on http://")
            .and_then(|(_, rest)| rest.lines().next());
        address = found.and_then(|found| found.split_whitespace().next()?.parse().ok());
        address.is_some()
    });
    (running, address.unwrap())
}

fn totals(address: SocketAddr) -> Value {
    let query = "{ Totals(order_by: {symbol: asc}) { symbol total } Last(order_by: {symbol: asc}) { symbol n } }";
    post(address, "/graphql", &json!({"query": query}).to_string()).json()["data"].take()
}

#[test]
fn what_is_shown_is_shown_again_after_a_kill() {
    let scratch = Scratch::with(&[("app.sql", SQL), ("puts.ndjson", "")]);
    let (mut a, mut b) = (0, 0);
    for round in 1..=5 {
        let (mut running, address) = start(&scratch);
        if round > 1 {
            // Before anything new has come: the rows are those of the checkpoint, or of what came after it and is read again.
            wait_until(format!("the rows of before, round {round}"), || {
                totals(address)["Totals"]
                    == json!([{"symbol": "A", "total": a.to_string()}, {"symbol": "B", "total": b.to_string()}])
            });
        }
        let before = newest(&scratch);
        (a, b) = (a + round, b + 10 * round);
        scratch.append(
            "puts.ndjson",
            format!(
                "{{\"symbol\":\"A\",\"n\":{round}}}\n{{\"symbol\":\"B\",\"n\":{}}}\n",
                10 * round
            ),
        );
        let want = json!({
            "Totals": [{"symbol": "A", "total": a.to_string()}, {"symbol": "B", "total": b.to_string()}],
            "Last": [{"symbol": "A", "n": round.to_string()}, {"symbol": "B", "n": (10 * round).to_string()}],
        });
        wait_until(format!("{want}"), || totals(address) == want);
        let mut events = Events::get(address, "/events/Totals");
        let begin = events.until("ready");
        let rows: Vec<Value> = begin
            .iter()
            .filter(|event| event.name == "insert")
            .map(|event| event.json()["data"].clone())
            .collect();
        assert_eq!(rows.len(), 2, "{begin:?}");
        assert!(rows.contains(&json!({"symbol": "A", "total": a})), "{rows:?}");
        if round % 2 == 0 {
            running.wait_for("a checkpoint with all of it", |_| newest(&scratch) > before + 2);
        }
        running.signal(libc::SIGKILL);
        let _ = running.child.wait();
    }
    // Without the file nothing is read any more: what is shown then is the checkpoint's.
    let (mut running, address) = start(&scratch);
    let want = json!([{"symbol": "A", "total": a.to_string()}, {"symbol": "B", "total": b.to_string()}]);
    wait_until(format!("{want}"), || totals(address)["Totals"] == want);
    let before = newest(&scratch);
    running.wait_for("a checkpoint", |_| newest(&scratch) > before + 2);
    running.signal(libc::SIGKILL);
    let _ = running.child.wait();
    std::fs::remove_file(scratch.path("puts.ndjson")).unwrap();
    let (mut running, address) = start(&scratch);
    assert_eq!(totals(address)["Totals"], want);
    running.signal(libc::SIGTERM);
    let _ = running.child.wait();
}
