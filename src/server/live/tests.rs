//! What a subscriber can put together from what it gets is the relation, filtered; whoever joins and leaves meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::Relation;
use super::hub::{Hub, Limits};
use super::queue::{Closed, Item, Joined, Policy, Queue};
use super::selection::{DataMember, Member, Message, Selection, Style};
use super::subscriber::{Subscribe, Subscriber, Token};
use crate::event::EventBatch;
use crate::watched::Random;
use crate::{App, EventFlux, Rows};

const SQL: &str = "
CREATE STREAM Puts (id INT, symbol STRING, n LONG);
CREATE STREAM Drops (id INT);
CREATE STREAM Moves (id INT, target INT);
CREATE TABLE T (id INT PRIMARY KEY, symbol STRING, n LONG);
UPSERT INTO T SELECT id, symbol, n FROM Puts;
DELETE FROM T USING Drops WHERE T.id = Drops.id;
UPDATE T SET id = Moves.target FROM Moves WHERE T.id = Moves.id;";

fn app() -> App {
    let app = EventFlux::builder().sql(SQL).inline().build().unwrap();
    app.start().unwrap();
    app
}

fn relation(app: &App) -> Arc<Relation> {
    let def = app.tables().next().unwrap();
    Arc::new(Relation {
        name: "t".to_string(),
        source: def.name.clone(),
        schema: def.schema.clone(),
        key: def.primary_key.clone(),
        has_rows: true,
    })
}

fn limits() -> Limits {
    Limits {
        linger: Duration::from_millis(100),
        replay: 3_000,
        coalesce_rows: 10_000,
    }
}

fn selection() -> Selection {
    let names: Vec<String> = ["id", "symbol", "n"].map(str::to_string).to_vec();
    let data = names
        .iter()
        .enumerate()
        .map(|(column, name)| (name.clone(), DataMember::Column(column)));
    Selection {
        style: Style::Json,
        members: vec![
            ("op".to_string(), Member::Operation),
            ("data".to_string(), Member::Data(data.collect())),
            ("fields".to_string(), Member::Fields),
        ],
        names,
        key: vec![0],
        hidden: Vec::new(),
        token: String::new(),
    }
}

fn want(filter: &str, policy: Policy, queue: usize) -> Subscribe {
    Subscribe {
        filter: filter.to_string(),
        selection: selection(),
        policy,
        queue,
        rows: true,
        resume: None,
        wake: Arc::new(Notify::new()),
    }
}

/// What a client knows.
#[derive(Default)]
struct Client {
    rows: BTreeMap<i64, Value>,
    /// Where it has come to.
    seq: u64,
    joined: Option<Joined>,
    missed: u64,
    closed: Option<Closed>,
    /// Whether a row may be told again, as it is after going on from a token.
    again: bool,
}

impl Client {
    fn take(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Joined(joined) => {
                    if joined == Joined::Rows {
                        // Until it has all of them there is nowhere to go on from.
                        (self.seq, self.again) = (0, false);
                        self.rows.clear();
                    }
                    self.joined = Some(joined);
                }
                Item::Row(text) => {
                    let row: Value = serde_json::from_slice(&text).unwrap();
                    self.apply(&row);
                }
                Item::AllRows(seq) => self.seq = seq,
                Item::Change(message) => {
                    let change: Value = serde_json::from_slice(&message.text()).unwrap();
                    assert!(self.again || message.change.seq > self.seq, "in order");
                    self.seq = message.change.seq;
                    self.apply(&change);
                }
                Item::Missed(count) => self.missed += count,
                Item::Closed(why) => self.closed = Some(why),
            }
        }
    }

    fn apply(&mut self, change: &Value) {
        let data = &change["data"];
        let id = data["id"].as_i64().unwrap();
        match change["op"].as_str().unwrap() {
            "insert" => {
                let before = self.rows.insert(id, data.clone());
                assert!(before.is_none() || self.again, "{id} was there");
            }
            "update" => {
                assert!(
                    self.again || self.rows.contains_key(&id),
                    "{id} was not there: {change}"
                );
                let row = self.rows.entry(id).or_insert_with(|| json!({}));
                let told = data.as_object().unwrap();
                let fields: Vec<&str> = change["fields"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                let more = told.keys().filter(|name| *name != "id").collect::<Vec<_>>();
                assert_eq!(fields.len(), more.len(), "{change}");
                for (name, value) in told {
                    row[name] = value.clone();
                }
            }
            "delete" => {
                assert_eq!(data, &json!({"id": id}), "the key alone");
                assert!(self.rows.remove(&id).is_some() || self.again, "{id} was not there");
            }
            other => panic!("{other}"),
        }
    }
}

fn source(app: &App, filter: &str) -> BTreeMap<i64, Value> {
    let filter = if filter.is_empty() { "1 = 1" } else { filter };
    let batches = app.query(&format!("SELECT * FROM T WHERE {filter}")).unwrap();
    let rows = batches.into_iter().flat_map(|batch| {
        let batch = EventBatch::inserts(batch, crate::event::Times::Same(0));
        batch.rows::<Value>().unwrap()
    });
    rows.map(|row| (row["id"].as_i64().unwrap(), row)).collect()
}

/// Changes something.
fn change(app: &App, random: &mut Random) {
    let id = |random: &mut Random| random.below(40);
    match random.below(10) {
        0 | 1 => {
            let rows: Vec<_> = (0..random.below(4)).map(|_| (id(random),)).collect();
            app.input("Drops").unwrap().send_rows(rows).unwrap();
        }
        2 => app.input("Moves").unwrap().send((id(random), id(random))).unwrap(),
        _ => {
            let rows: Vec<_> = (0..1 + random.below(5))
                .map(|_| (id(random), ["a", "b", "c"][random.below(3) as usize], random.below(6)))
                .collect();
            app.input("Puts").unwrap().send_rows(rows).unwrap();
        }
    }
}

/// Takes what comes until nothing more does.
async fn settle(subscriber: &Subscriber, client: &mut Client, wake: &Notify) {
    while tokio::time::timeout(Duration::from_millis(150), wake.notified())
        .await
        .is_ok()
        || client.joined.is_none()
    {
        loop {
            let items = subscriber.pop(7, false);
            if items.is_empty() {
                break;
            }
            client.take(items);
        }
    }
}

/// Clients that join, leave, dawdle and come back with tokens while rows change: in the end each has the filtered rows.
fn everybody_ends_with_the_rows(seed: u64, policy: Policy, queue: usize) {
    let runtime = Runtime::new().unwrap();
    let app = app();
    let changing = {
        let app = app.clone();
        std::thread::spawn(move || {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for _ in 0..1_500 {
                change(&app, &mut random);
                if random.below(3) == 0 {
                    std::thread::sleep(Duration::from_millis(random.below(3)));
                }
            }
        })
    };
    runtime.block_on(async {
        let hub = Hub::new(app.clone(), limits());
        let relation = relation(&app);
        let filters = [
            "",
            "n > 2",
            "symbol = 'a' OR n = 5",
            "n IS NULL",
            "id < 20 AND symbol <> 'b'",
        ];
        let clients = (0..24u64).map(|number| {
            let (hub, relation, app) = (hub.clone(), relation.clone(), app.clone());
            let filter = filters[number as usize % filters.len()];
            tokio::spawn(async move {
                let mut random = Random((seed * 1_000 + number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let mut client = Client::default();
                let mut resume = None;
                // It leaves and comes back a few times.
                for _ in 0..random.below(4) {
                    let mut wanted = want(filter, policy, queue);
                    wanted.resume = resume;
                    client.again = resume.is_some();
                    let subscriber = hub.subscribe(&relation, wanted).await.unwrap();
                    for _ in 0..random.below(30) {
                        tokio::time::sleep(Duration::from_millis(random.below(3))).await;
                        client.take(subscriber.pop(1 + random.below(10) as usize, random.below(2) == 0));
                    }
                    // Half of its rows are of no use to it.
                    resume = Some(subscriber.token(client.seq)).filter(|token| token.seq > 0);
                    client.joined = None;
                }
                let mut wanted = want(filter, policy, queue);
                wanted.resume = resume;
                client.again = resume.is_some();
                let wake = wanted.wake.clone();
                let mut subscriber = hub.subscribe(&relation, wanted).await.unwrap();
                loop {
                    settle(&subscriber, &mut client, &wake).await;
                    if client.closed.is_none() {
                        break;
                    }
                    assert_eq!(client.closed.take(), Some(Closed::TooSlow));
                    client.again = false;
                    client.joined = None;
                    client.seq = 0;
                    let mut wanted = want(filter, policy, 10_000);
                    wanted.wake = wake.clone();
                    subscriber = hub.subscribe(&relation, wanted).await.unwrap();
                }
                (filter, client, subscriber, app, wake)
            })
        });
        let clients: Vec<_> = clients.collect();
        let mut ended = Vec::new();
        for client in clients {
            ended.push(client.await.unwrap());
        }
        tokio::task::spawn_blocking(move || changing.join().unwrap())
            .await
            .unwrap();
        for (filter, mut client, subscriber, app, wake) in ended {
            settle(&subscriber, &mut client, &wake).await;
            assert_eq!(client.closed, None);
            assert_eq!(
                client.rows,
                source(&app, filter),
                "seed {seed}, {policy:?}, filter {filter:?}"
            );
        }
        assert!(
            hub.counters.resumed.load(std::sync::atomic::Ordering::Relaxed) > 0,
            "{:?}",
            hub.counters
        );
        // Nobody looks any more: the view goes.
        let views = || hub.counters.views.load(std::sync::atomic::Ordering::Relaxed);
        for _ in 0..100 {
            if views() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(views(), 0);
        assert_eq!(hub.counters.subscribers.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

#[test]
fn everybody_ends_with_the_rows_when_changes_coalesce() {
    for seed in 1..4 {
        everybody_ends_with_the_rows(seed, Policy::Coalesce, 8);
    }
}

#[test]
fn everybody_ends_with_the_rows_when_the_slow_are_disconnected() {
    for seed in 4..7 {
        everybody_ends_with_the_rows(seed, Policy::Disconnect, 64);
    }
}

#[test]
fn everybody_ends_with_the_rows_when_queues_are_long_enough() {
    everybody_ends_with_the_rows(7, Policy::DropOldest, 100_000);
    everybody_ends_with_the_rows(8, Policy::DropNewest, 100_000);
}

fn messages(app: &App, ops: &[(&str, i64, i64)]) -> Vec<Arc<Message>> {
    let relation = relation(app);
    let selection = Arc::new(selection());
    let mut seq = 0;
    let text = ops.iter().map(|(op, id, n)| format!("{op} {id} a {n}\n"));
    let columns = arrow::array::RecordBatch::try_new(
        relation.schema.clone(),
        vec![
            Arc::new(arrow::array::Int32Array::from_iter_values(
                ops.iter().map(|(_, id, _)| *id as i32),
            )),
            Arc::new(arrow::array::StringViewArray::from_iter_values(ops.iter().map(|_| "a"))),
            Arc::new(arrow::array::Int64Array::from_iter_values(
                ops.iter().map(|(_, _, n)| *n),
            )),
        ],
    );
    let signs = ops.iter().map(|(op, ..)| crate::event::Op::from_sign(op).unwrap());
    let batch = EventBatch::changelog(
        columns.unwrap_or_else(|error| panic!("{error}: {}", text.collect::<String>())),
        crate::event::Times::Same(0),
        signs.collect(),
    );
    let commit = super::commit::Commit::new(&relation, &batch, &mut seq, std::time::Instant::now()).unwrap();
    let changes = commit.seen(None).into_iter();
    changes.map(|change| Message::new(change, selection.clone())).collect()
}

fn texts(items: Vec<Item>) -> Vec<String> {
    let text = |item| match item {
        Item::Change(message) => String::from_utf8(message.text().to_vec()).unwrap(),
        other => format!("{other:?}"),
    };
    items.into_iter().map(text).collect()
}

#[test]
fn full_queues() {
    let app = app();
    let inserts: Vec<_> = (0..6).map(|id| ("+I", id, 0)).collect();
    let inserts = messages(&app, &inserts);
    let row = |id: i64| {
        format!(
            "{{\"op\":\"insert\",\"data\":{{\"id\":{id},\"symbol\":\"a\",\"n\":0}},\"fields\":[\"id\",\"symbol\",\"n\"]}}"
        )
    };
    let queue = |policy, most| Queue::new(policy, 4, most, Arc::new(Notify::new()));

    let oldest = queue(Policy::DropOldest, 4);
    assert_eq!(oldest.push(&inserts).missed, 2);
    assert_eq!(
        texts(oldest.pop(9, false)),
        ["Missed(2)".to_string(), row(2), row(3), row(4), row(5)]
    );

    let newest = queue(Policy::DropNewest, 4);
    assert_eq!(newest.push(&inserts).missed, 2);
    assert_eq!(texts(newest.pop(3, false)), [row(0), row(1), row(2)]);
    assert_eq!(texts(newest.pop(9, false)), [row(3), "Missed(2)".to_string()]);

    let disconnect = queue(Policy::Disconnect, 4);
    assert!(disconnect.push(&inserts).too_slow);
    assert_eq!(texts(disconnect.pop(9, false)), ["Closed(TooSlow)"]);
    assert!(disconnect.push(&inserts).gone);

    // As many rows as there may be, and no more.
    let coalesce = queue(Policy::Coalesce, 6);
    assert!(!coalesce.push(&inserts).too_slow);
    let coalesce = queue(Policy::Coalesce, 4);
    assert!(coalesce.push(&inserts).too_slow);
}

#[test]
fn changes_of_one_row_become_one() {
    let app = app();
    let ops = [
        ("+I", 1, 1),
        ("+I", 2, 1),
        ("-U", 3, 1),
        ("+U", 3, 2),
        ("-U", 1, 1),
        ("+U", 1, 5),
        ("-D", 2, 1),
        ("-U", 3, 2),
        ("+U", 3, 7),
        ("-D", 4, 0),
        ("+I", 4, 9),
    ];
    let queue = Queue::new(Policy::Coalesce, 100, 100, Arc::new(Notify::new()));
    queue.push(&messages(&app, &ops));
    assert_eq!(
        texts(queue.pop(9, true)),
        [
            r#"{"op":"insert","data":{"id":1,"symbol":"a","n":5},"fields":["id","symbol","n"]}"#,
            r#"{"op":"update","data":{"id":3,"n":7},"fields":["n"]}"#,
            r#"{"op":"update","data":{"id":4,"symbol":"a","n":9},"fields":["symbol","n"]}"#,
        ]
    );
}

#[test]
fn tokens_read_back() {
    let token = Token { epoch: 0xabc, seq: 17 };
    assert_eq!(token.to_string(), "abc-17");
    assert_eq!(Token::parse(" abc-17 "), Some(token));
    for wrong in ["", "abc", "-", "xyz-1", "a-b", "1-2-3", "-1"] {
        assert_eq!(Token::parse(wrong), None, "{wrong}");
    }
}
