//! Clients of a relation whose source is killed again and again: what each of them has put together is what the source has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::Served;
use super::client::{Events, Frame, Socket, encoded};
use crate::emulators::materialize::Emulator;
use crate::emulators::world::World;
use crate::support::{DEADLINE, wait_until};
use crate::upstream::Changes;
use crate::upstream::materialize::copying;

const COLUMNS: &[(&str, u32)] = &[("id", 23), ("name", 25), ("n", 20)];

/// How often the source's connections are cut.
const CUTS: u64 = 100;

/// The relation as a client knows it: the rows by their keys.
type Rows = BTreeMap<i64, Value>;

/// How a client listens.
#[derive(Debug, Clone, Copy)]
enum Kind {
    GraphQl,
    Events,
    WebSocket,
}

/// Which rows a client has asked for.
#[derive(Debug, Clone, Copy)]
struct Filter {
    sql: &'static str,
    graphql: &'static str,
    holds: fn(&Value) -> bool,
}

const FILTERS: [Filter; 2] = [
    Filter {
        sql: "",
        graphql: "",
        holds: |_| true,
    },
    // Rows enter and leave it as they change.
    Filter {
        sql: "name LIKE 'name%1' OR id < 10",
        graphql: "where: {_or: [{name: {_like: \"name%1\"}}, {id: {_lt: 10}}]}",
        holds: |row| {
            let named = row["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("name") && name.ends_with('1'));
            named || row["id"].as_i64() < Some(10)
        },
    },
];

/// A client on a thread of its own, and what it has put together.
struct Client {
    name: String,
    filter: Filter,
    rows: Arc<Mutex<Rows>>,
    thread: JoinHandle<()>,
}

impl Client {
    fn start(address: SocketAddr, kind: Kind, relation: &str, filter: Filter) -> Self {
        let rows = Arc::new(Mutex::new(Rows::new()));
        let (name, relation, into) = (
            format!("{kind:?} of {relation} where {:?}", filter.sql),
            relation.to_string(),
            rows.clone(),
        );
        let told = name.clone();
        let thread = std::thread::spawn(move || {
            let fold = |operation: &str, data: &Value| change(&mut into.lock(), operation, data, &told);
            match kind {
                Kind::GraphQl => over_graphql(address, &relation, filter, fold),
                Kind::Events => over_events(address, &relation, filter, fold),
                Kind::WebSocket => over_websocket(address, &relation, filter, fold),
            }
        });
        Client {
            name,
            filter,
            rows,
            thread,
        }
    }

    fn has(&self, source: &Rows) -> bool {
        let seen = self.rows.lock();
        let mut wanted = source.iter().filter(|(_, row)| (self.filter.holds)(row));
        seen.iter().all(|row| wanted.next() == Some(row)) && wanted.next().is_none()
    }
}

/// A change takes place. An insert is of a row that was not there, the others of one that was: else something was lost or came twice.
#[track_caller]
fn change(rows: &mut Rows, operation: &str, data: &Value, client: &str) {
    let id = data["id"]
        .as_i64()
        .unwrap_or_else(|| panic!("{client}: no key in {data}"));
    let known = rows.remove(&id);
    match (operation, known) {
        ("insert", None) => {
            rows.insert(id, data.clone());
        }
        ("update", Some(mut row)) => {
            for (column, value) in data.as_object().unwrap() {
                row[column] = value.clone();
            }
            rows.insert(id, row);
        }
        ("delete", Some(_)) => {}
        (operation, known) => panic!("{client}: {operation} of {data}, known was {known:?}"),
    }
}

fn over_graphql(address: SocketAddr, relation: &str, filter: Filter, mut fold: impl FnMut(&str, &Value)) {
    let mut socket = Socket::open(address, "/graphql", "graphql-transport-ws", "");
    socket.send(&json!({"type": "connection_init"}));
    assert_eq!(socket.json()["type"], "connection_ack");
    let arguments = match filter.graphql {
        "" => String::new(),
        filter => format!("({filter})"),
    };
    let query = format!("subscription {{ {relation}{arguments} {{ operation fields data {{ id name n }} }} }}");
    socket.send(&json!({"type": "subscribe", "id": "1", "payload": {"query": query}}));
    while let Frame::Text(text) = socket.receive() {
        let message: Value = serde_json::from_str(&text).unwrap();
        let change = &message["payload"]["data"][relation];
        if message["type"] != "next" {
            return;
        }
        let fields: Vec<&str> = change["fields"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        // What is not told is null here: of an update only what has changed counts.
        let mut data = change["data"].clone();
        let told = data.as_object_mut().unwrap();
        told.retain(|column, _| column == "id" || fields.contains(&column.as_str()));
        if let Some(n) = told.get_mut("n").filter(|n| n.is_string()) {
            *n = n.as_str().and_then(|n| n.parse::<i64>().ok()).into();
        }
        fold(&change["operation"].as_str().unwrap().to_ascii_lowercase(), &data);
    }
}

fn over_events(address: SocketAddr, relation: &str, filter: Filter, mut fold: impl FnMut(&str, &Value)) {
    let mut events = Events::get(address, &format!("/events/{relation}?filter={}", encoded(filter.sql)));
    while let Some(event) = events.next() {
        if let "insert" | "update" | "delete" = event.name.as_str() {
            fold(&event.name, &event.json()["data"]);
        }
    }
}

fn over_websocket(address: SocketAddr, relation: &str, filter: Filter, mut fold: impl FnMut(&str, &Value)) {
    let mut socket = Socket::open(address, "/ws", "", "");
    socket.send(&json!({"type": "subscribe", "id": "1", "stream": relation, "filter": filter.sql}));
    while let Frame::Text(text) = socket.receive() {
        let message: Value = serde_json::from_str(&text).unwrap();
        for change in message["changes"].as_array().unwrap_or(&Vec::new()) {
            fold(change["op"].as_str().unwrap(), &change["data"]);
        }
    }
}

/// The rows that the source has.
fn of_source(world: &World) -> Rows {
    let mut rows = Rows::new();
    for row in world.rows("items").keys() {
        let number = |at: usize| row[at].as_ref().and_then(|cell| cell.parse::<i64>().ok());
        let id = number(0).unwrap();
        rows.insert(id, json!({"id": id, "name": row[1], "n": number(2)}));
    }
    rows
}

#[test]
fn an_upstream_killed_a_hundred_times() {
    for seed in [rand::random::<u64>(), rand::random()] {
        let emulator = Emulator::start(0, None).unwrap();
        let world = &emulator.world;
        world.create("items", COLUMNS);
        let sql = copying(&emulator.url(), ", transaction_rows = '20'");
        let mut served = Served::of(&sql, &["expose=T, Items", "publish="]);
        let mut changes = Changes::new(seed, 100);
        let mut random = SmallRng::seed_from_u64(seed);
        let mut clients: Vec<Client> = Vec::new();
        world.state().faults.cut = Some((500, 9_000));
        let end = Instant::now() + 3 * DEADLINE;
        let cuts = || world.connections.load(Ordering::Relaxed);
        while cuts() < CUTS {
            assert!(Instant::now() < end, "seed {seed}: only {} cuts", cuts());
            // All through it, clients come.
            if clients.len() < 24 && clients.len() as u64 * 4 <= cuts() {
                let kind = [Kind::GraphQl, Kind::Events, Kind::WebSocket][clients.len() % 3];
                let relation = ["T", "Items"][clients.len() / 3 % 2];
                let filter = FILTERS[clients.len() / 6 % 2];
                clients.push(Client::start(served.address, kind, relation, filter));
            }
            changes.write(world, "items", 12);
            if random.random_bool(0.02) {
                world.kill();
            }
            if random.random_bool(0.03) {
                world.compact("items");
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..8)));
        }
        world.state().faults.cut = None;
        let source = of_source(world);
        for client in &clients {
            wait_until(format!("seed {seed}: the source's rows at {}", client.name), || {
                client.has(&source)
            });
        }
        assert_eq!(clients.len(), 24);
        served.server.take();
        for client in clients {
            assert!(client.thread.join().is_ok(), "seed {seed}: {}", client.name);
        }
    }
}
