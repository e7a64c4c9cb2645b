//! What somebody sees: some rows, some columns, and nothing of the others however it asks.

use serde_json::{Value, json};

use super::super::client::{Events, Socket, encoded};
use super::{Served, build, code_of, config, served, token};

/// IBM and ACME are of A, XYZ and ABC of B.
fn with_positions() -> Served {
    let served = served(&config(""));
    for (symbol, account, qty, cost) in [
        ("IBM", "A", 1, 10.0),
        ("ACME", "A", 2, 20.0),
        ("XYZ", "B", 5, 50.0),
        ("ABC", "B", 6, 60.0),
    ] {
        served.position(symbol, account, qty, cost);
    }
    served.has_rows(4);
    served
}

fn symbols(answer: &Value) -> Vec<&str> {
    let rows = ["/rows", "/data/positions"]
        .iter()
        .find_map(|place| answer.pointer(place)?.as_array());
    let rows = rows.unwrap_or_else(|| panic!("{answer}"));
    rows.iter().map(|row| row["symbol"].as_str().unwrap()).collect()
}

/// Asks by GraphQL, for rows in the order of their symbols.
fn seen(served: &Served, token: &str, filter: &str) -> Vec<String> {
    let query = format!("{{ positions(where: {{{filter}}}, order_by: {{symbol: asc}}) {{ symbol }} }}");
    let answer = served.graphql_as(token, &query);
    symbols(&answer).into_iter().map(str::to_string).collect()
}

#[test]
fn graphql_queries() {
    let served = with_positions();
    let ann = token(json!({}));
    assert_eq!(seen(&served, &ann, ""), ["ACME", "IBM"]);
    assert_eq!(
        seen(&served, &ann, "_or: [{qty: {_eq: \"5\"}}, {symbol: {_eq: \"IBM\"}}]"),
        ["IBM"]
    );
    assert_eq!(seen(&served, &token(json!({"account": "B"})), ""), ["ABC", "XYZ"]);
    assert_eq!(
        seen(&served, "the key of the operator", ""),
        ["ABC", "ACME", "IBM", "XYZ"]
    );
    for asked in [
        "{ positions { symbol cost } }",
        "{ positions { symbol c: cost } }",
        "{ p: positions { ...f } } fragment f on positions { ... on positions { cost } }",
        "{ positions(where: {cost: {_gt: 1}}) { symbol } }",
        "{ positions(where: {_not: {_or: [{symbol: {_eq: \"x\"}}, {cost: {_is_null: true}}]}}) { symbol } }",
        "{ positions(order_by: {cost: desc}) { symbol } }",
        "{ positions(order_by: [{symbol: asc}, {cost: desc}]) { symbol } }",
    ] {
        let answer = served.graphql_as(&ann, asked);
        assert_eq!(code_of(&answer), Some("FORBIDDEN"), "{asked}: {answer}");
        assert_eq!(answer["data"], Value::Null, "{asked}");
    }
    let answer = served.graphql_as(
        "the key of the operator",
        "{ positions(where: {cost: {_gt: 50}}) { symbol cost } }",
    );
    assert_eq!(answer["data"]["positions"], json!([{"symbol": "ABC", "cost": 60.0}]));
    // What is the document's fault has a code, too.
    assert_eq!(code_of(&served.graphql_as(&ann, "{ nothing }")), Some("BAD_REQUEST"));
    assert_eq!(
        code_of(&served.graphql_as(&ann, "{ positions(limit: -1) { symbol } }")),
        Some("BAD_REQUEST")
    );
    assert_eq!(code_of(&served.graphql_as(&ann, "{{{")), Some("BAD_REQUEST"));
}

/// What happens to positions while somebody looks, and what A sees of it: the operation, the symbol, what changed.
fn changes(served: &Served) -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    // One after the other: what comes together may be done together.
    let is_there = |condition: String, count: usize| {
        crate::support::wait_until(condition.clone(), || {
            let rows = served
                .app
                .query(&format!("SELECT * FROM positions WHERE {condition}"))
                .unwrap();
            rows.iter().map(|batch| batch.num_rows()).sum::<usize>() == count
        });
    };
    // Of B; hidden only; comes into A's; changes; hidden only; changes with a hidden one; leaves.
    for (symbol, account, qty, cost) in [
        ("XYZ", "B", 7, 50.0),
        ("IBM", "A", 1, 11.0),
        ("XYZ", "A", 7, 50.0),
        ("IBM", "A", 3, 11.0),
        ("ACME", "A", 2, 21.0),
        ("ACME", "A", 9, 22.0),
        ("ACME", "B", 9, 22.0),
    ] {
        served.position(symbol, account, qty, cost);
        is_there(
            format!("symbol = '{symbol}' AND account = '{account}' AND qty = {qty} AND cost = {cost}"),
            1,
        );
    }
    for symbol in ["ABC", "IBM"] {
        served.app.input("Drops").unwrap().send((symbol,)).unwrap();
        is_there(format!("symbol = '{symbol}'"), 0);
    }
    vec![
        ("insert", "XYZ", vec!["symbol", "account", "qty"]),
        ("update", "IBM", vec!["qty"]),
        ("update", "ACME", vec!["qty"]),
        ("delete", "ACME", vec![]),
        ("delete", "IBM", vec![]),
    ]
}

#[test]
fn graphql_subscriptions() {
    let served = with_positions();
    let header = format!("authorization: Bearer {}\r\n", token(json!({})));
    let mut socket = Socket::open(served.address, "/graphql", "graphql-transport-ws", &header);
    socket.send(&json!({"type": "connection_init"}));
    socket.until("connection_ack");
    let subscribe = |socket: &mut Socket, id: &str, query: &str| {
        socket.send(&json!({"type": "subscribe", "id": id, "payload": {"query": query}}));
    };
    for (id, query) in [
        ("a", "subscription { positions { data { cost } } }"),
        (
            "b",
            "subscription { positions_batch { ...f } } fragment f on positionsChange { data { x: cost } }",
        ),
        ("c", "subscription { positions(where: {cost: {_gt: 1}}) { operation } }"),
    ] {
        subscribe(&mut socket, id, query);
        let error = socket.json();
        assert_eq!(
            (error["id"].as_str(), code_of(&error)),
            (Some(id), Some("FORBIDDEN")),
            "{error}"
        );
    }
    subscribe(
        &mut socket,
        "1",
        "subscription { positions { operation data { symbol account qty } fields } }",
    );
    let next = |socket: &mut Socket| socket.json()["payload"]["data"]["positions"].clone();
    let mut first = [next(&mut socket), next(&mut socket)].map(|change| change["data"]["symbol"].to_string());
    first.sort();
    assert_eq!(first, ["\"ACME\"", "\"IBM\""]);
    for (operation, symbol, fields) in changes(&served) {
        let change = next(&mut socket);
        let got = (
            change["operation"].as_str().unwrap().to_lowercase(),
            &change["data"]["symbol"],
            &change["fields"],
        );
        assert_eq!(got, (operation.to_string(), &json!(symbol), &json!(fields)));
    }
}

#[test]
fn server_sent_events() {
    let served = with_positions();
    let ann = token(json!({}));
    for path in [
        "filter=cost%20%3E%201",
        "fields=symbol,cost",
        "filter=CASE%20WHEN%20%22cost%22%3D10%20THEN%20TRUE%20END",
    ] {
        let path = format!("/events/positions?{path}");
        let answer = served.ask("GET", &path, &ann, "");
        assert_eq!(
            (answer.status, code_of(&answer.json())),
            (403, Some("FORBIDDEN")),
            "{path}"
        );
    }
    let unknown = served.ask("GET", "/events/positions?fields=costs", &ann, "");
    assert!(
        unknown.status == 400 && !unknown.body.contains("cost,") && !unknown.body.contains(", cost"),
        "{unknown:?}"
    );
    let mut events = served.events_as(&ann, "/events/positions");
    let begin = events.until("ready");
    let rows: Vec<Value> = begin[1..begin.len() - 1]
        .iter()
        .map(super::super::client::Event::json)
        .collect();
    assert_eq!(rows.len(), 2, "{begin:?}");
    for row in &rows {
        assert_eq!(row["fields"], json!(["symbol", "account", "qty"]));
        assert_eq!((&row["data"]["account"], row["data"].get("cost")), (&json!("A"), None));
    }
    let expected = changes(&served);
    let mut last = String::new();
    for (operation, symbol, fields) in &expected {
        let event = events.next().unwrap();
        let change = event.json();
        assert_eq!(
            (&change["op"], &change["data"]["symbol"], &change["fields"]),
            (&json!(operation), &json!(symbol), &json!(fields))
        );
        assert_eq!(change["data"].get("cost"), None);
        last = event.id.unwrap_or(last);
    }
    // Who comes back from before all of it gets the same, and no more.
    drop(events);
    let first = begin.last().unwrap().id.clone().unwrap();
    let authorization = format!("Bearer {ann}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("last-event-id", first.as_str()),
    ];
    let mut again = Events::open(served.address, "GET", "/events/positions", &headers, "");
    assert_eq!(again.next().unwrap().json(), json!({"from": "resumed"}));
    for (operation, symbol, _) in &expected {
        let change = again.next().unwrap().json();
        assert_eq!(
            (&change["op"], &change["data"]["symbol"]),
            (&json!(operation), &json!(symbol))
        );
    }
    // With B's token it is B's changes that are gone on with.
    let other = format!("Bearer {}", token(json!({"account": "B"})));
    let headers = [("authorization", other.as_str()), ("last-event-id", first.as_str())];
    let mut others = Events::open(served.address, "GET", "/events/positions", &headers, "");
    let begin = others.until("ready");
    assert_eq!(begin[0].json(), json!({"from": "rows"}));
    let rows: Vec<Value> = begin[1..begin.len() - 1]
        .iter()
        .map(super::super::client::Event::json)
        .collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["data"]["symbol"], "ACME");
}

#[test]
fn websocket() {
    let served = with_positions();
    let mut socket = served.socket_as(&token(json!({})));
    for message in [
        json!({"type": "subscribe", "id": "1", "stream": "positions", "filter": "cost > 1"}),
        json!({"type": "subscribe", "id": "1", "stream": "positions", "fields": "cost"}),
        json!({"type": "query", "id": "1", "stream": "positions", "filter": "\"cost\" IS NULL"}),
        json!({"type": "query", "id": "1", "stream": "positions", "order_by": "symbol, cost DESC"}),
    ] {
        socket.send(&message);
        let error = socket.json();
        assert_eq!(code_of(&error), Some("FORBIDDEN"), "{message}: {error}");
    }
    socket.send(&json!({"type": "query", "id": "2", "stream": "positions", "order_by": "symbol"}));
    let rows = socket.json()["rows"].clone();
    assert_eq!(
        rows,
        json!([{"symbol": "ACME", "account": "A", "qty": 2}, {"symbol": "IBM", "account": "A", "qty": 1}])
    );
    socket.send(&json!({"type": "subscribe", "id": "3", "stream": "positions", "filter": "qty > 0"}));
    socket.until("ready");
    let expected = changes(&served);
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.extend(socket.json()["changes"].as_array().unwrap().clone());
    }
    for ((operation, symbol, fields), change) in expected.iter().zip(&got) {
        assert_eq!(
            (&change["op"], &change["data"]["symbol"], &change["fields"]),
            (&json!(operation), &json!(symbol), &json!(fields))
        );
    }
}

#[test]
fn nothing_is_learnt_by_asking() {
    let served = with_positions();
    let ann = token(json!({}));
    let mut socket = served.socket_as(&ann);
    let mut ask = |filter: &str| {
        socket
            .send(&json!({"type": "query", "id": "q", "stream": "positions", "filter": filter, "order_by": "symbol"}));
        socket.json()
    };
    // Out of the brackets, and past the condition beside it.
    for filter in [
        "1 = 1) OR (1 = 1",
        "1 = 1) OR (1 = 1 --",
        "1 = 1 --",
        "1 = 1 /*",
        "1 = 1)) --",
        "TRUE OR TRUE) OR ((TRUE",
        "symbol IN (SELECT symbol FROM positions)",
        "EXISTS (SELECT 1)",
        "1 = 1; DELETE FROM positions",
        "1 = 1 UNION SELECT * FROM positions",
    ] {
        let answer = ask(filter);
        assert_eq!(code_of(&answer), Some("BAD_REQUEST"), "{filter}: {answer}");
        let path = format!("/events/positions?filter={}", encoded(filter));
        let events = served.ask("GET", &path, &ann, "");
        assert_eq!(events.status, 400, "{filter}: {events:?}");
    }
    for filter in [
        "1 = 1 OR TRUE",
        "(account = 'B') OR NOT (account = 'B')",
        "qty > 0 OR (1 = 1 -- x\n)",
    ] {
        let answer = ask(filter);
        assert_eq!(symbols(&answer), ["ACME", "IBM"], "{filter}");
    }
    // XYZ, of B, has the quantity 5: a condition without a value there is none for who does not see it.
    let answer = ask("1 / (qty - 5) < 100");
    assert_eq!(symbols(&answer), ["ACME", "IBM"], "{answer}");
    // Of its own rows, too, it is only not there.
    assert_eq!(symbols(&ask("100 / (qty - 2) < 0")), ["IBM"]);
    let query = "{ positions(where: {qty: {_gt: \"0\"}}, order_by: {symbol: asc}) { symbol } }";
    let answer = served.graphql_as(&ann, query);
    assert_eq!(symbols(&answer), ["ACME", "IBM"]);
}

#[test]
fn claims_are_values() {
    let served = with_positions();
    for (claims, expected) in [
        (json!({"account": "B"}), vec!["ABC", "XYZ"]),
        (json!({"account": "A' OR 'x'='x"}), vec![]),
        (json!({"account": "A' OR 1=1 --"}), vec![]),
        (json!({"account": "\\' OR 1=1 --"}), vec![]),
        (json!({"account": "'"}), vec![]),
        (json!({"account": "A\u{0}"}), vec![]),
        (json!({"account": "claims.sub"}), vec![]),
        (json!({"account": "x".repeat(20_000)}), vec![]),
        (json!({"account": null}), vec![]),
        (json!({"account": ["A", "B"]}), vec![]),
        (json!({"account": {"A": 1}}), vec![]),
        (json!({"account": 1}), vec![]),
        (json!({"account": true}), vec![]),
    ] {
        let ann = token(claims.clone());
        match ann.len() > 14_000 {
            // More than fits a header.
            true => assert!(matches!(served.ask("GET", "/", &ann, "").status, 0 | 400 | 401 | 431)),
            false => assert_eq!(seen(&served, &ann, ""), expected, "{claims}"),
        }
    }
}

#[test]
fn several_roles_are_together_what_one_of_them_allows() {
    let more = "
        [server.auth.roles.desk]
        read = ['positions']
        [server.auth.roles.desk.relations.positions]
        row_filter = \"\"\"symbol IN (claims.symbols) -- by desk
            AND qty > claims.limits.qty\"\"\"
        hidden = ['qty', 'cost']
        [server.auth.roles.auditor]
        read = '*'
        [server.auth.roles.auditor.relations.positions]
        hidden = ['qty']
        [server.auth.roles.writer]
        publish = '*'";
    let served = served(&config(more));
    for (symbol, account) in [("IBM", "A"), ("ACME", "A"), ("XYZ", "B"), ("ABC", "B")] {
        served.position(symbol, account, 1, 1.0);
    }
    served.has_rows(4);
    let of = |roles: Value, claims: Value| {
        let mut all = json!({"roles": roles});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let token = token(all);
        let mut rows = seen(&served, &token, "");
        rows.push("|".to_string());
        for column in ["qty", "cost"] {
            let answer = served.graphql_as(&token, &format!("{{ positions {{ {column} }} }}"));
            if code_of(&answer) == Some("FORBIDDEN") {
                rows.push(column.to_string());
            }
        }
        rows.join(" ")
    };
    let desk = json!({"symbols": ["XYZ", "IBM"], "limits": {"qty": 0}});
    for (roles, claims, expected) in [
        (json!(["desk"]), desk.clone(), "IBM XYZ | qty cost"),
        (json!("desk writer"), desk.clone(), "IBM XYZ | qty cost"),
        (
            json!(["desk"]),
            json!({"symbols": "ABC", "limits": {"qty": 0}}),
            "ABC | qty cost",
        ),
        (
            json!(["desk"]),
            json!({"symbols": [], "limits": {"qty": 0}}),
            "| qty cost",
        ),
        (json!(["desk"]), json!({"symbols": ["XYZ"]}), "| qty cost"),
        (
            json!(["desk"]),
            json!({"symbols": ["XYZ"], "limits": {"qty": 5}}),
            "| qty cost",
        ),
        (json!(["desk", "trader"]), desk.clone(), "ACME IBM XYZ | cost"),
        (json!(["desk", "trader"]), json!({}), "ACME IBM | cost"),
        (json!(["desk", "auditor"]), desk.clone(), "ABC ACME IBM XYZ | qty"),
        (json!(["trader", "auditor"]), desk.clone(), "ABC ACME IBM XYZ |"),
        (json!(["root", "desk"]), json!({}), "ABC ACME IBM XYZ |"),
    ] {
        assert_eq!(of(roles.clone(), claims.clone()), expected, "{roles} {claims}");
    }
}

#[test]
fn events_of_a_user_go_to_who_signed_in_as_that() {
    let served = served(&config(""));
    let ann = token(json!({"sub": "ann"}));
    for path in ["/events/Notes?user=bob", "/events?user=bob"] {
        let answer = served.ask("GET", path, &ann, "");
        assert_eq!((answer.status, code_of(&answer.json())), (403, Some("FORBIDDEN")));
    }
    let mut notes = served.events_as(&ann, "/events/Notes?user=ann");
    notes.until("open");
    let mut messages = served.events_as(&ann, "/events?user=ann");
    messages.until("open");
    for (account, text) in [("bob", "1"), ("ann", "2")] {
        served.app.input("NewNotes").unwrap().send((account, text)).unwrap();
        let message = json!({"user": account, "data": text}).to_string();
        assert_eq!(served.ask("POST", "/publish", &ann, &message).status, 202);
    }
    assert_eq!(notes.next().unwrap().json()["data"]["text"], "2");
    assert_eq!(messages.next().unwrap().data, "\"2\"");
    // An administrator may be anybody.
    let mut any = served.events_as("the key of the operator", "/events/Notes?user=bob");
    assert_eq!(any.next().unwrap().name, "open");
}

#[test]
fn roles_of_what_is_not_there_are_told_of_at_the_start() {
    for (old, new, message) in [
        (
            "read = ['positions', 'Totals']",
            "read = ['position']",
            "auth.roles.trader.read: 'position' is not there; did you mean 'positions'?",
        ),
        (
            "read = ['positions', 'Totals']",
            "read = ['Puts']",
            "'Puts' is not there; there are: ",
        ),
        (
            "publish = ['Puts', 'messages']",
            "publish = ['Putz']",
            "did you mean 'Puts'?",
        ),
        (
            "hidden = ['cost']",
            "hidden = ['costs']",
            "relations.positions.hidden: 'costs' is not there; did you mean 'cost'?",
        ),
        ("hidden = ['cost']", "hidden = ['symbol']", "'symbol' is of the key"),
        (
            "account = claims.account",
            "acount = claims.account",
            "relations.positions.row_filter: ",
        ),
        ("account = claims.account", "acount = claims.account", "account"),
        ("account = claims.account", "account = claims", "'claims' needs a name"),
        (
            "account = claims.account",
            "upper(account) = claims.account",
            "no functions",
        ),
        (
            "account = claims.account",
            "account = claims.account) OR (1 = 1",
            "one condition",
        ),
        ("account = claims.account", "qty > claims.account", ""),
        (
            "relations.positions]",
            "relations.nothing]",
            "relations: 'nothing' is not there",
        ),
        (
            "'Notes', 'messages']",
            "'messages']\ntrigger = ['messages']",
            "auth.roles.trader.trigger: 'messages' is not there",
        ),
    ] {
        let text = config("").replace(old, new);
        assert_ne!(text, config(""), "{old}");
        let app = build(&text).unwrap();
        app.start().unwrap();
        let error = eventflux::server::Server::start(&app).map(|_| String::new());
        let error = error.unwrap_or_else(|error| error.to_string());
        assert_eq!(
            error.contains(message),
            !message.is_empty() || error.is_empty(),
            "{new}: {error}"
        );
        app.shutdown().unwrap();
    }
    // A role may not see what its filter is for.
    let text = config("\n[server.auth.roles.outsider.relations.positions]\nhidden = ['cost']");
    let app = build(&text).unwrap();
    app.start().unwrap();
    let error = eventflux::server::Server::start(&app)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("the role 'outsider' may not see 'positions'"), "{error}");
    app.shutdown().unwrap();
}
