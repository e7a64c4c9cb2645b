//! Triggers over restarts and kills: none is lost, none has another id, each key is told in order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::{Call, Receiver};
use crate::server::client::post;
use crate::server::restart;
use crate::support::{Running, Scratch, cases, wait_until};

/// A table whose rows a file changes. One line at a time is a change of its own, for each line has another key than the one before.
const SQL: &str = "
CREATE STREAM Puts (k INT, n INT, v DOUBLE) WITH (type = 'source', extension = 'file', format = 'json', path = 'puts.ndjson', follow = true);
CREATE TABLE positions (k INT PRIMARY KEY, n INT, v DOUBLE);
UPSERT INTO positions SELECT k, n, v FROM Puts;
CREATE STREAM Totals (k INT, total DOUBLE, PRIMARY KEY (k));
INSERT INTO Totals SELECT k, sum(v) AS total FROM Puts GROUP BY k;
CREATE STREAM Seen (k INT, n INT);
INSERT INTO Seen SELECT k, n FROM Puts WHERE v > 100;";

fn start(scratch: &Scratch, more: &[&str]) -> (Running, SocketAddr) {
    let base = [
        "application.checkpoint.interval=30 ms",
        "server.bind=127.0.0.1:0",
        "server.expose=positions, Totals, Seen",
        "server.triggers.allow-private=true",
        "server.triggers.retry.initial-delay=5 ms",
        "server.triggers.retry.max-delay=50 ms",
        "server.triggers.retry.max-attempts=0",
        "server.triggers.breaker.pause=50 ms",
    ];
    let settings = base.iter().chain(more).flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["run", "app.sql", "--state-dir", "state"]
        .into_iter()
        .chain(settings)
        .collect();
    restart::serving(scratch, &arguments)
}

fn graphql(address: SocketAddr, query: &str) -> Value {
    let answer = post(address, "/graphql", &json!({"query": query}).to_string()).json();
    assert!(answer["errors"].is_null(), "{answer}");
    answer["data"].clone()
}

fn create(address: SocketAddr, relation: &str, receiver: &Receiver, name: &str, more: &str) {
    let created = graphql(
        address,
        &format!(
            "mutation {{ create_{relation}_trigger(input: {{name: \"{name}\", webhook: \"{}\", {more}}}) {{ durable }} }}",
            receiver.url()
        ),
    );
    assert_eq!(created[format!("create_{relation}_trigger")]["durable"], true);
}

fn line(k: u32, n: u32, v: f64) -> String {
    format!("{{\"k\":{k},\"n\":{n},\"v\":{v}}}\n")
}

/// Waits until the app has read up to there.
fn has_read(address: SocketAddr, n: u32) {
    wait_until(format!("row {n}"), || {
        let rows = graphql(
            address,
            &format!("{{ positions(where: {{n: {{_gte: {n}}}}}) {{ n }} }}"),
        );
        !rows["positions"].as_array().unwrap().is_empty()
    });
}

fn kill(mut running: Running) {
    running.signal(libc::SIGKILL);
    let _ = running.child.wait();
}

#[test]
fn what_is_fired_stays_so_over_a_restart() {
    let scratch = Scratch::with(&[("app.sql", SQL), ("puts.ndjson", "")]);
    let receiver = Receiver::start();
    let (running, address) = start(&scratch, &[]);
    create(
        address,
        "positions",
        &receiver,
        "high",
        "fire: {v: {_gt: 100}}, clear: {v: {_lt: 90}}",
    );
    create(address, "Totals", &receiver, "sum", "fire: {total: {_gt: 1000}}");
    scratch.append("puts.ndjson", line(1, 1, 120.0));
    has_read(address, 1);
    wait_until("FIRE", || receiver.delivered().len() == 1);
    // Stopped in peace, killed, and killed.
    for round in 0..3_u32 {
        let running_now = if round == 0 { None } else { Some(start(&scratch, &[])) };
        let (mut child, address) = match running_now {
            Some((child, address)) => (child, address),
            None => {
                running.signal(libc::SIGTERM);
                running_ended(&scratch);
                start(&scratch, &[])
            }
        };
        let listed = graphql(
            address,
            "{ positions_triggers { name active durable } Totals_triggers { name } }",
        );
        assert_eq!(listed["positions_triggers"][0]["active"], "1");
        assert_eq!(listed["Totals_triggers"][0]["name"], "sum");
        // Between: nothing is told.
        scratch.append("puts.ndjson", line(1, 2 + round, 95.0));
        has_read(address, 2 + round);
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(receiver.delivered().len(), 1);
        if round == 2 {
            scratch.append("puts.ndjson", line(1, 9, 10.0));
            wait_until("CLEAR", || receiver.delivered().len() == 2);
            let deleted = graphql(
                address,
                "mutation { delete_positions_trigger(name: \"high\") { name } }",
            );
            assert_eq!(deleted["delete_positions_trigger"]["name"], "high");
        }
        child.signal(libc::SIGKILL);
        let _ = child.child.wait();
    }
    let kinds: Vec<String> = receiver
        .delivered()
        .iter()
        .map(|call| call.kind().to_string())
        .collect();
    assert_eq!(kinds, ["FIRE", "CLEAR"]);
    let (child, address) = start(&scratch, &[]);
    let listed = graphql(address, "{ positions_triggers { name } Totals_triggers { name } }");
    assert_eq!(
        listed,
        json!({"positions_triggers": [], "Totals_triggers": [{"name": "sum"}]})
    );
    kill(child);
}

/// Waits until the folder of the state is free again.
fn running_ended(scratch: &Scratch) {
    let lock = std::fs::File::options()
        .read(true)
        .write(true)
        .open(scratch.path("state/lock"))
        .unwrap();
    wait_until("the end", || lock.try_lock().is_ok());
    let _ = lock.unlock();
}

/// The events of each key as the rows in the file make them: its kind and number of row.
fn expected(lines: &[(u32, u32, f64)]) -> BTreeMap<u32, Vec<(String, u32)>> {
    let mut fired = BTreeSet::new();
    let mut told: BTreeMap<u32, Vec<(String, u32)>> = BTreeMap::new();
    for &(k, n, v) in lines {
        let kind = match (fired.contains(&k), v) {
            (false, v) if v > 100.0 => "FIRE",
            (true, v) if v < 90.0 => "CLEAR",
            _ => continue,
        };
        match kind {
            "FIRE" => fired.insert(k),
            _ => fired.remove(&k),
        };
        told.entry(k).or_default().push((kind.to_string(), n));
    }
    told
}

fn of_key(call: &Call) -> (u32, String, u32) {
    let number = |name: &str| u32::try_from(call.body["data"][name].as_u64().unwrap()).unwrap();
    (number("k"), call.kind().to_string(), number("n"))
}

#[test]
fn none_is_lost_and_ids_stay_when_it_is_killed() {
    let scratch = Scratch::with(&[("app.sql", SQL), ("puts.ndjson", "")]);
    let chance = parking_lot::Mutex::new(fastrand());
    let receiver = Receiver::answering(move |_, _| match chance.lock().next() % 100 {
        0..30 => (500, None),
        30..32 => (429, Some(1)),
        _ => (200, None),
    });
    let (running, address) = start(&scratch, &[]);
    create(
        address,
        "positions",
        &receiver,
        "high",
        "fire: {v: {_gt: 100}}, clear: {v: {_lt: 90}}",
    );
    create(address, "Seen", &receiver, "seen", "fire: {n: {_gte: 0}}");
    let (kills, keys) = (cases("EVENTFLUX_KILLS", 8), 13);
    let mut chance = fastrand();
    let mut running = Some((running, address));
    let (mut all, mut n) = (Vec::new(), 0);
    for round in 0..kills {
        let (child, address) = running.take().unwrap_or_else(|| start(&scratch, &[]));
        for _ in 0..30 {
            // The keys take turns, so that no batch of a few lines holds a key twice.
            let one = (n % keys, n, [50.0, 95.0, 110.0, 130.0][(chance.next() % 4) as usize]);
            all.push(one);
            scratch.append("puts.ndjson", line(one.0, one.1, one.2));
            n += 1;
            if n % keys == 0 {
                has_read(address, n - 1);
            }
            std::thread::sleep(Duration::from_millis(chance.next() % 6));
        }
        if round % 3 == 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        kill(child);
    }
    let (child, address) = start(&scratch, &[]);
    scratch.append("puts.ndjson", line(keys, n, 0.0));
    has_read(address, n);
    wait_until("nothing waits", || {
        let waiting = graphql(address, "{ positions_triggers { waiting } Seen_triggers { waiting } }");
        waiting["positions_triggers"][0]["waiting"] == "0" && waiting["Seen_triggers"][0]["waiting"] == "0"
    });
    kill(child);
    let expected = expected(&all);
    let calls = receiver.calls();
    let (high, seen): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| call.body["trigger_name"] == "high");
    // One id for each event, however often it came.
    let mut ids: BTreeMap<(u32, String, u32), &str> = BTreeMap::new();
    for call in &high {
        assert_eq!(
            *ids.entry(of_key(call)).or_insert(call.id()),
            call.id(),
            "{}",
            call.text
        );
    }
    assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), ids.len());
    // Each key's first deliveries are what its rows make, in order.
    let mut first = BTreeSet::new();
    let mut got: BTreeMap<u32, Vec<(String, u32)>> = BTreeMap::new();
    for call in high.iter().filter(|call| call.status == 200 && first.insert(call.id())) {
        let (k, kind, n) = of_key(call);
        got.entry(k).or_default().push((kind, n));
    }
    assert_eq!(got, expected);
    // Of the stream without a key each row, once if ids are heeded, in order.
    let mut first = BTreeSet::new();
    let delivered = seen.iter().filter(|call| call.status == 200 && first.insert(call.id()));
    let got: Vec<u32> = delivered.map(|call| of_key(call).2).collect();
    let expected: Vec<u32> = all.iter().filter(|(_, _, v)| *v > 100.0).map(|(_, n, _)| *n).collect();
    assert_eq!(got, expected);
}

/// A little chance that is the same each time.
struct Chance(u64);

fn fastrand() -> Chance {
    Chance(0x9e37_79b9_7f4a_7c15)
}

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
