//! `/graphql`: queries, and subscriptions in both protocols and as events.

use serde_json::{Value, json};

use super::Served;
use super::client::{Events, Frame, Socket, get};

fn socket(served: &Served, protocol: &str) -> Socket {
    let mut socket = Socket::open(served.address, "/graphql", protocol, "");
    assert!(
        socket.headers.contains(&format!("sec-websocket-protocol: {protocol}")),
        "{}",
        socket.headers
    );
    socket.send(&json!({"type": "connection_init", "payload": {}}));
    assert_eq!(socket.json(), json!({"type": "connection_ack"}));
    socket
}

fn subscribe(socket: &mut Socket, id: &str, query: &str, variables: &Value) {
    socket.send(&json!({"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables}}));
}

#[test]
fn queries() {
    let served = Served::start();
    for (symbol, qty, price) in [
        ("IBM", 5, 75.5),
        ("ACME", 1, 120.0),
        ("it's", 9_007_199_254_740_993, 3.0),
    ] {
        served.put(symbol, qty, price);
    }
    served.has_rows(3);
    let symbols = |arguments: &str| -> Vec<String> {
        let answer = served.graphql(&format!("{{ positions({arguments}) {{ symbol }} }}"));
        let rows = answer["data"]["positions"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"))
            .clone();
        rows.iter()
            .map(|row| row["symbol"].as_str().unwrap().to_string())
            .collect()
    };
    for (arguments, expected) in [
        ("order_by: {price: desc}", vec!["ACME", "IBM", "it's"]),
        ("order_by: [{price: asc}], limit: 1, offset: 1", vec!["IBM"]),
        (
            "where: {price: {_gt: 50}}, order_by: {symbol: asc}",
            vec!["ACME", "IBM"],
        ),
        ("where: {symbol: {_eq: \"it's\"}}", vec!["it's"]),
        ("where: {qty: {_eq: \"9007199254740993\"}}", vec!["it's"]),
        ("where: {symbol: {_in: [\"IBM\", \"X\"]}}", vec!["IBM"]),
        ("where: {symbol: {_in: []}}", vec![]),
        ("where: {symbol: {_nin: [\"IBM\"]}, price: {_lt: 100}}", vec!["it's"]),
        (
            "where: {symbol: {_ilike: \"i%\"}}, order_by: {symbol: asc}",
            vec!["IBM", "it's"],
        ),
        (
            "where: {_or: [{symbol: {_eq: \"IBM\"}}, {_not: {price: {_lte: 100}}}]}, order_by: {price: asc}",
            vec!["IBM", "ACME"],
        ),
        ("where: {_and: [{price: {_gte: 3}}, {price: {_lt: 4}}]}", vec!["it's"]),
        ("where: {symbol: {_is_null: true}}", vec![]),
        (
            "where: {at: {_gt: \"2026-01-02T03:04:04Z\"}}, order_by: {symbol: asc}, limit: 1",
            vec!["ACME"],
        ),
        ("where: {}, order_by: {symbol: asc}, limit: 2", vec!["ACME", "IBM"]),
    ] {
        assert_eq!(symbols(arguments), expected, "{arguments}");
    }
    let answer =
        served.graphql("{ p: positions(where: {symbol: {_eq: \"it's\"}}) { s: symbol qty price at __typename } }");
    let row = json!({"s": "it's", "qty": "9007199254740993", "price": 3.0, "at": "2026-01-02T03:04:05Z", "__typename": "positions"});
    assert_eq!(answer["data"]["p"], json!([row]));
    assert_eq!(
        served.graphql("{ _relations }")["data"]["_relations"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    for (query, what) in [
        ("{ positions { nope } }", "nope"),
        ("{ positions(where: {qty: {_eq: \"x\"}}) { symbol } }", "is no LONG"),
        ("{ positions(limit: -1) { symbol } }", "not negative"),
        ("{ Alerts { symbol } }", "Alerts"),
        (
            "{ positions(where: {at: {_gt: \"x' OR 1=1\"}}) { symbol } }",
            "is no TIMESTAMP",
        ),
        ("{", ""),
        ("query A { _relations } query B { _relations }", ""),
    ] {
        let answer = served.graphql(query);
        let message = answer["errors"][0]["message"]
            .as_str()
            .unwrap_or_else(|| panic!("{query}: {answer}"));
        assert!(message.contains(what), "{query}: {message}");
    }
    let answer = get(served.address, "/graphql?query=%7B%20_relations%20%7D");
    assert!(answer.json()["data"]["_relations"].is_array());
    let numbers = Served::with(&["graphql.numbers=number"]);
    numbers.put("IBM", 5, 1.0);
    numbers.has_rows(1);
    assert_eq!(
        numbers.graphql("{ positions { qty } }")["data"]["positions"][0]["qty"],
        5
    );
}

#[test]
fn subscriptions_over_graphql_transport_ws() {
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.put("ACME", 1, 120.0);
    served.has_rows(2);
    let mut socket = socket(&served, "graphql-transport-ws");
    let query = "subscription S($least: Float!, $more: Boolean = false) {
        positions(where: {price: {_gte: $least}}) { operation ...Rest unseen: fields @include(if: $more) }
    }
    fragment Rest on positionsChange { data { symbol n: qty price } fields resume __typename }";
    subscribe(&mut socket, "1", query, &json!({"least": 100.0}));
    let first = socket.json();
    let change = &first["payload"]["data"]["positions"];
    assert_eq!((&first["type"], &first["id"]), (&json!("next"), &json!("1")));
    assert_eq!(change["operation"], "INSERT");
    assert_eq!(change["data"], json!({"symbol": "ACME", "n": "1", "price": 120.0}));
    assert_eq!(
        (&change["__typename"], &change["unseen"]),
        (&json!("positionsChange"), &Value::Null)
    );
    served.put("ACME", 2, 120.0);
    let update = socket.json()["payload"]["data"]["positions"].clone();
    assert_eq!(update["data"], json!({"symbol": "ACME", "n": "2", "price": null}));
    assert_eq!(
        (&update["operation"], &update["fields"]),
        (&json!("UPDATE"), &json!(["qty"]))
    );
    served.put("IBM", 5, 130.0);
    assert_eq!(socket.json()["payload"]["data"]["positions"]["operation"], "INSERT");
    served.put("ACME", 2, 5.0);
    let gone = socket.json()["payload"]["data"]["positions"].clone();
    assert_eq!(gone["data"], json!({"symbol": "ACME", "n": null, "price": null}));
    assert_eq!((&gone["operation"], &gone["fields"]), (&json!("DELETE"), &json!([])));

    // Back to where the update was.
    let token = update["resume"].as_str().unwrap();
    let query = format!(
        "subscription {{ p: positions(where: {{price: {{_gte: 100.0}}}}, resume: \"{token}\") {{ operation data {{ symbol }} }} }}"
    );
    subscribe(&mut socket, "2", &query, &Value::Null);
    let seen = [socket.json(), socket.json()].map(|message| {
        assert_eq!(message["id"], "2");
        message["payload"]["data"]["p"]["operation"]
            .as_str()
            .unwrap()
            .to_string()
    });
    assert_eq!(seen, ["INSERT", "DELETE"]);

    // A query on the same connection, and errors that end only their operation.
    subscribe(&mut socket, "3", "{ _relations }", &Value::Null);
    assert_eq!(socket.json()["type"], "next");
    assert_eq!(socket.json(), json!({"type": "complete", "id": "3"}));
    for query in [
        "subscription { positions { data { nope } } }",
        "subscription { positions(policy: nonsense) { operation } }",
        "subscription { a: positions { operation } b: positions { operation } }",
        "subscription { positions(every: \"soon\") { operation } }",
        "subscription { Last(policy: coalesce) { operation } }",
        "subscription { positions(where: {qty: {_eq: \"x\"}}) { operation } }",
        "subscription {",
    ] {
        subscribe(&mut socket, "4", query, &Value::Null);
        let error = socket.json();
        assert_eq!(
            (&error["type"], &error["id"]),
            (&json!("error"), &json!("4")),
            "{query}: {error}"
        );
        assert!(error["payload"][0]["message"].is_string());
    }
    socket.send(&json!({"type": "complete", "id": "1"}));
    socket.send(&json!({"type": "complete", "id": "2"}));
    socket.send(&json!({"type": "ping"}));
    assert_eq!(socket.json(), json!({"type": "pong"}));
    served.put("IBM", 6, 130.0);
    socket.send(&json!({"type": "ping"}));
    assert_eq!(socket.json(), json!({"type": "pong"}));
}

#[test]
fn batches_of_changes() {
    let served = Served::start();
    let mut socket = socket(&served, "graphql-transport-ws");
    let query = "subscription { positions_batch(every: \"200 ms\", max_rows: 100) { operation data { symbol qty } } }";
    subscribe(&mut socket, "1", query, &Value::Null);
    served.put("IBM", 0, 1.0);
    let first = socket.json()["payload"]["data"]["positions_batch"].clone();
    assert_eq!(first.as_array().unwrap().len(), 1);
    for qty in 1..=50 {
        served.put("IBM", qty, 1.0);
    }
    // Changes of one row are one, in each batch.
    for batches in 1.. {
        let batch = socket.json()["payload"]["data"]["positions_batch"].clone();
        assert!(
            batches < 20 && batch.as_array().unwrap().len() == 1,
            "{batches}: {batch}"
        );
        if batch == json!([{"operation": "UPDATE", "data": {"symbol": "IBM", "qty": "50"}}]) {
            break;
        }
    }
}

#[test]
fn subscriptions_over_the_older_protocol() {
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.has_rows(1);
    let mut socket = socket(&served, "graphql-ws");
    assert_eq!(socket.json(), json!({"type": "ka"}));
    let query = "subscription { positions { operation } }";
    socket.send(&json!({"type": "start", "id": "1", "payload": {"query": query}}));
    let data = json!({"id": "1", "type": "data", "payload": {"data": {"positions": {"operation": "INSERT"}}}});
    assert_eq!(socket.json(), data);
    socket.send(&json!({"type": "start", "id": "2", "payload": {"query": "subscription { nope }"}}));
    assert!(socket.json()["payload"]["message"].is_string());
    socket.send(&json!({"type": "stop", "id": "1"}));
    assert_eq!(socket.json(), json!({"type": "complete", "id": "1"}));
    socket.send(&json!({"type": "connection_terminate"}));
    assert_eq!(socket.receive(), Frame::Closed(1000));
}

#[test]
fn subscriptions_as_events() {
    let mut served = Served::start();
    let body = json!({"query": "subscription { Alerts { operation data { symbol } } }"}).to_string();
    let json = [("content-type", "application/json")];
    let mut events = Events::open(served.address, "POST", "/graphql", &json, &body);
    // A stream has no rows to begin with: what happens after it has joined is told.
    crate::support::wait_until("a subscriber", || {
        get(served.address, "/metrics")
            .body
            .contains("eventflux_live_subscribers 1\n")
    });
    served.put("IBM", 5, 75.5);
    served.put("ACME", 1, 120.0);
    let next = events.next().unwrap();
    assert_eq!(next.name, "next");
    assert_eq!(
        next.json(),
        json!({"data": {"Alerts": {"operation": "INSERT", "data": {"symbol": "ACME"}}}})
    );
    let wrong = json!({"query": "subscription { Alerts { nope } }"}).to_string();
    let mut errors = Events::open(served.address, "POST", "/graphql", &json, &wrong);
    assert!(errors.next().unwrap().json()["errors"][0]["message"].is_string());
    assert_eq!(errors.next().unwrap().name, "complete");
    served.server.take().unwrap().shutdown();
    assert_eq!(events.next().unwrap().name, "complete");
}

#[test]
fn what_the_protocol_forbids_ends_the_connection() {
    let served = Served::with(&["request.timeout=300ms"]);
    let end = |messages: &[Value]| {
        let mut socket = Socket::open(served.address, "/graphql", "graphql-transport-ws", "");
        messages.iter().for_each(|message| socket.send(message));
        loop {
            match socket.receive() {
                Frame::Text(_) => {}
                Frame::Closed(code) => return code,
                Frame::Gone => return 0,
            }
        }
    };
    let init = json!({"type": "connection_init"});
    let start =
        json!({"type": "subscribe", "id": "1", "payload": {"query": "subscription { positions { operation } }"}});
    assert_eq!(end(&[]), 4408);
    assert_eq!(end(std::slice::from_ref(&start)), 4401);
    assert_eq!(end(&[init.clone(), init.clone()]), 4429);
    assert_eq!(end(&[init.clone(), start.clone(), start.clone()]), 4409);
    assert_eq!(end(&[init.clone(), json!({"type": "nonsense"})]), 4400);
    assert_eq!(end(&[init.clone(), json!({"type": "subscribe", "payload": {}})]), 4400);
    assert_eq!(end(&[json!([1, 2])]), 4400);
}

#[test]
fn the_schema_is_that_of_the_sql() {
    let served = Served::start();
    let answer = served
        .graphql("{ __schema { queryType { fields { name } } subscriptionType { fields { name } } types { name } } }");
    let schema = &answer["data"]["__schema"];
    let names = |value: &Value| -> Vec<String> {
        let all = value.as_array().unwrap();
        all.iter()
            .map(|one| one["name"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(
        names(&schema["queryType"]["fields"]),
        [
            "_relations",
            "Alerts_trigger",
            "Alerts_triggers",
            "positions",
            "positions_trigger",
            "positions_triggers",
            "Last",
            "Last_trigger",
            "Last_triggers",
            "Totals",
            "Totals_trigger",
            "Totals_triggers",
            "Results_trigger",
            "Results_triggers"
        ]
    );
    assert!(names(&schema["subscriptionType"]["fields"]).contains(&"Alerts_batch".to_string()));
    for name in [
        "positions",
        "positionsChange",
        "positionsExpression",
        "positionsOrderBy",
        "BigInt",
        "TimestampComparison",
    ] {
        assert!(names(&schema["types"]).contains(&name.to_string()), "{name}");
    }
}
