//! Every endpoint with every kind of credential.

use serde_json::{Value, json};

use super::super::client::{Events, Frame, Socket, encoded, request};
use super::{KEYS, Served, bearer, closed, code_of, config, served, token};

const QUERY: &str = "{ positions { symbol } }";
const SUBSCRIPTION: &str = "subscription { positions { operation } }";

/// What a client signs in with.
enum With<'a> {
    Nothing,
    Token(&'a str),
    Key(&'a str),
}

impl With<'_> {
    fn header(&self) -> Option<(&'static str, String)> {
        match self {
            With::Nothing => None,
            With::Token(token) => Some(("authorization", bearer(token))),
            With::Key(key) => Some(("x-api-key", key.to_string())),
        }
    }

    fn payload(&self) -> Value {
        match self {
            With::Nothing => json!({}),
            With::Token(token) => json!({"Authorization": bearer(token)}),
            With::Key(key) => json!({"X-API-Key": key}),
        }
    }

    fn message(&self) -> Value {
        match self {
            With::Nothing => json!({"type": "authenticate"}),
            With::Token(token) => json!({"type": "authenticate", "token": token}),
            With::Key(key) => json!({"type": "authenticate", "key": key}),
        }
    }
}

fn outcome(status: u16, body: &Value) -> String {
    match code_of(body) {
        Some(code) => format!("{status} {code}"),
        None => status.to_string(),
    }
}

fn http(served: &Served, with: &With, method: &str, path: &str, body: &Value) -> String {
    let header = with.header();
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(header.as_ref().map(|(name, value)| (*name, value.as_str())));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = request(served.address, method, path, &headers, &body);
    assert!(
        answer.status != 401 || answer.headers.contains("www-authenticate: bearer"),
        "{}",
        answer.headers
    );
    outcome(answer.status, &serde_json::from_str(&answer.body).unwrap_or_default())
}

/// What a stream of events begins with.
fn events(served: &Served, with: &With, method: &str, path: &str, body: &Value) -> String {
    let header = with.header();
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(header.as_ref().map(|(name, value)| (*name, value.as_str())));
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = Events::open(served.address, method, path, &headers, &text);
    let status: u16 = stream.headers.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 200 {
        return http(served, with, method, path, body);
    }
    let first = stream.next().unwrap();
    outcome(status, &serde_json::from_str(&first.data).unwrap_or_default())
}

fn open(served: &Served, with: &With, path: &str, protocol: &str) -> Result<Socket, String> {
    let header = with.header().map(|(name, value)| format!("{name}: {value}\r\n"));
    let mut socket = Socket::open(served.address, path, protocol, &header.unwrap_or_default());
    let status: u16 = socket.headers.split(' ').nth(1).unwrap().parse().unwrap();
    match status {
        101 => Ok(socket),
        status => Err(outcome(status, &socket.body())),
    }
}

/// What an answer on a socket is: a code, or its type; and what the connection is closed with.
fn answered(socket: &mut Socket) -> String {
    loop {
        let value = match socket.receive() {
            Frame::Text(text) => serde_json::from_str::<Value>(&text).unwrap(),
            Frame::Closed(code) => return code.to_string(),
            Frame::Gone => return "gone".to_string(),
        };
        match value["type"].as_str().unwrap() {
            "authenticated" | "connection_ack" | "ka" | "ping" => {}
            "error" | "connection_error" => return code_of(&value).unwrap().to_string(),
            kind => return code_of(&value).unwrap_or(kind).to_string(),
        }
    }
}

fn ws(served: &Served, with: &With, message: &Value) -> String {
    match open(served, with, "/ws", "") {
        Err(outcome) => outcome,
        Ok(mut socket) => {
            socket.send(message);
            answered(&mut socket)
        }
    }
}

fn ws_first_message(served: &Served, with: &With) -> String {
    let mut socket = open(served, &With::Nothing, "/ws", "").unwrap();
    socket.send(&with.message());
    socket.send(&json!({"type": "subscribe", "id": "1", "stream": "positions"}));
    let outcome = answered(&mut socket);
    match outcome.as_str() {
        "subscribed" | "FORBIDDEN" => outcome,
        _ => format!("{outcome} {}", closed(&mut socket)),
    }
}

fn graphql_ws(served: &Served, with: &With, protocol: &str, in_header: bool, document: &str) -> String {
    let nothing = With::Nothing;
    let opened = open(served, if in_header { with } else { &nothing }, "/graphql", protocol);
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    let payload = if in_header { json!({}) } else { with.payload() };
    socket.send(&json!({"type": "connection_init", "payload": payload}));
    let start = if protocol == "graphql-ws" { "start" } else { "subscribe" };
    socket.send(&json!({"type": start, "id": "1", "payload": {"query": document}}));
    answered(&mut socket)
}

type Ask = Box<dyn Fn(&Served, &With) -> String>;

fn by_http(method: &'static str, path: String, body: Value) -> Ask {
    Box::new(move |served, with| http(served, with, method, &path, &body))
}

fn by_events(method: &'static str, path: &'static str, body: Value) -> Ask {
    Box::new(move |served, with| events(served, with, method, path, &body))
}

fn by_ws(message: Value) -> Ask {
    Box::new(move |served, with| ws(served, with, &message))
}

fn by_graphql_ws(protocol: &'static str, in_header: bool, document: &'static str) -> Ask {
    Box::new(move |served, with| graphql_ws(served, with, protocol, in_header, document))
}

/// An endpoint, what is asked of it, and what happens: without a credential, with an expired token, one for somebody else, one without the
/// role, one with the role.
fn table() -> Vec<(&'static str, Ask, [&'static str; 5])> {
    const EXPIRED: &str = "401 TOKEN_EXPIRED";
    const INVALID: &str = "401 TOKEN_INVALID";
    const NOBODY: &str = "401 UNAUTHENTICATED";
    let usual = |wrong, right| [NOBODY, EXPIRED, INVALID, wrong, right];
    let row = json!({"symbol": "X", "account": "A", "qty": 1, "cost": 1.0});
    vec![
        (
            "/health",
            by_http("GET", "/health".into(), Value::Null),
            ["200", EXPIRED, INVALID, "200", "200"],
        ),
        (
            "/ready",
            by_http("GET", "/ready".into(), Value::Null),
            ["200", EXPIRED, INVALID, "200", "200"],
        ),
        (
            "/metrics",
            by_http("GET", "/metrics".into(), Value::Null),
            usual("403 FORBIDDEN", "200"),
        ),
        ("/", by_http("GET", "/".into(), Value::Null), usual("200", "200")),
        (
            "/graphiql",
            by_http("GET", "/graphiql".into(), Value::Null),
            usual("200", "200"),
        ),
        (
            "/live",
            by_http("GET", "/live/positions".into(), Value::Null),
            usual("403 FORBIDDEN", "200"),
        ),
        (
            "nowhere",
            by_http("GET", "/nowhere".into(), Value::Null),
            usual("404 NOT_FOUND", "404 NOT_FOUND"),
        ),
        (
            "no method",
            by_http("DELETE", "/publish".into(), Value::Null),
            usual("405", "405"),
        ),
        (
            "POST /graphql",
            by_http("POST", "/graphql".into(), json!({"query": QUERY})),
            usual("200 FORBIDDEN", "200"),
        ),
        (
            "GET /graphql",
            by_http("GET", format!("/graphql?query={}", encoded(QUERY)), Value::Null),
            usual("200 FORBIDDEN", "200"),
        ),
        (
            "GraphQL by SSE",
            by_events("POST", "/graphql", json!({"query": SUBSCRIPTION})),
            usual("200 FORBIDDEN", "200"),
        ),
        (
            "/events/positions",
            by_events("GET", "/events/positions", Value::Null),
            usual("403 FORBIDDEN", "200"),
        ),
        (
            "/events",
            by_events("GET", "/events", Value::Null),
            usual("403 FORBIDDEN", "200"),
        ),
        (
            "/publish",
            by_http("POST", "/publish".into(), json!({"data": 1})),
            usual("403 FORBIDDEN", "202"),
        ),
        (
            "/ws subscribe",
            by_ws(json!({"type": "subscribe", "id": "1", "stream": "positions"})),
            ["UNAUTHENTICATED", EXPIRED, INVALID, "FORBIDDEN", "subscribed"],
        ),
        (
            "/ws query",
            by_ws(json!({"type": "query", "id": "1", "stream": "positions"})),
            ["UNAUTHENTICATED", EXPIRED, INVALID, "FORBIDDEN", "result"],
        ),
        (
            "/ws publish",
            by_ws(json!({"type": "publish", "id": "1", "stream": "Puts", "row": row})),
            ["UNAUTHENTICATED", EXPIRED, INVALID, "FORBIDDEN", "ack"],
        ),
        (
            "/ws request",
            by_ws(json!({"type": "request", "id": "1", "stream": "Puts", "row": {}, "reply": "Totals"})),
            ["UNAUTHENTICATED", EXPIRED, INVALID, "FORBIDDEN", "BAD_REQUEST"],
        ),
        (
            "/ws ping",
            by_ws(json!({"type": "ping", "id": "1"})),
            ["UNAUTHENTICATED", EXPIRED, INVALID, "pong", "pong"],
        ),
        (
            "/ws first message",
            Box::new(ws_first_message),
            [
                "UNAUTHENTICATED 4401",
                "TOKEN_EXPIRED 4401",
                "TOKEN_INVALID 4401",
                "FORBIDDEN",
                "subscribed",
            ],
        ),
        (
            "transport-ws, header",
            by_graphql_ws("graphql-transport-ws", true, SUBSCRIPTION),
            ["4401", EXPIRED, INVALID, "FORBIDDEN", "next"],
        ),
        (
            "transport-ws, payload",
            by_graphql_ws("graphql-transport-ws", false, SUBSCRIPTION),
            ["4401", "4403", "4401", "FORBIDDEN", "next"],
        ),
        (
            "transport-ws, query",
            by_graphql_ws("graphql-transport-ws", false, QUERY),
            ["4401", "4403", "4401", "FORBIDDEN", "next"],
        ),
        (
            "graphql-ws, header",
            by_graphql_ws("graphql-ws", true, SUBSCRIPTION),
            ["UNAUTHENTICATED", EXPIRED, INVALID, "FORBIDDEN", "data"],
        ),
        (
            "graphql-ws, payload",
            by_graphql_ws("graphql-ws", false, SUBSCRIPTION),
            ["UNAUTHENTICATED", "TOKEN_EXPIRED", "TOKEN_INVALID", "FORBIDDEN", "data"],
        ),
    ]
}

#[test]
fn every_endpoint_with_every_credential() {
    let served = served(&config(""));
    served.position("IBM", "A", 1, 2.0);
    served.has_rows(1);
    let tokens = [
        token(json!({"exp": super::now() - 10})),
        token(json!({"aud": "another"})),
        token(json!({"roles": ["outsider", "unknown"]})),
        token(json!({})),
    ];
    for (name, ask, expected) in table() {
        let mut got = vec![ask(&served, &With::Nothing)];
        got.extend(tokens.iter().map(|token| ask(&served, &With::Token(token))));
        assert_eq!(got, expected, "{name}");
        // An API key is as good as a token, in its own header and as one.
        for key in [
            With::Key("the key of the dashboard"),
            With::Token("the key of the dashboard"),
        ] {
            assert_eq!(ask(&served, &key), expected[4], "{name}, by a key");
        }
        let wrong = ask(&served, &With::Key("the key of the dashboarD"));
        assert_eq!(wrong, expected[2], "{name}, by a wrong key");
    }
    assert!(KEYS.contains("the key of the dashboard"));
}

#[test]
fn what_is_open_is_an_option() {
    let served = served(&config("").replace(
        "[server.auth.jwt]",
        "[server.auth]\nopen = ['metrics']\n[server.auth.jwt]",
    ));
    let ask = |path: &str| http(&served, &With::Nothing, "GET", path, &Value::Null);
    assert_eq!(
        (ask("/metrics"), ask("/health")),
        ("200".to_string(), "401 UNAUTHENTICATED".to_string())
    );
    assert_eq!(ask("/metrics/"), "401 UNAUTHENTICATED");
    assert_eq!(ask("//metrics"), "401 UNAUTHENTICATED");
}

#[test]
fn urls_carry_tokens_where_that_is_allowed() {
    let good = token(json!({}));
    let path = format!("/events/positions?snapshot=false&access_token={good}&max_rows=5");
    let closed_server = served(&config(""));
    assert_eq!(
        events(&closed_server, &With::Nothing, "GET", &path, &Value::Null),
        "401 UNAUTHENTICATED"
    );
    let open = served(&config("").replace(
        "[server.auth.jwt]",
        "[server.auth]\nquery-token = true\n[server.auth.jwt]",
    ));
    assert_eq!(events(&open, &With::Nothing, "GET", &path, &Value::Null), "200");
    let query = format!("/graphql?access_token={good}&query={}", encoded(QUERY));
    assert_eq!(http(&open, &With::Nothing, "GET", &query, &Value::Null), "200");
    let mut socket = Socket::open(open.address, &format!("/ws?access_token={good}"), "", "");
    socket.send(&json!({"type": "ping"}));
    assert_eq!(socket.json()["type"], "pong");
    let wrong = "/events/positions?access_token=a.b.c";
    assert_eq!(
        events(&open, &With::Nothing, "GET", wrong, &Value::Null),
        "401 TOKEN_INVALID"
    );
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let served = served(&config(""));
    let mut socket = Socket::open(served.address, "/ws", "", "");
    assert_eq!(closed(&mut socket), 4401);
    let mut socket = Socket::open(served.address, "/graphql", "graphql-transport-ws", "");
    assert_eq!(closed(&mut socket), 4408);
    // Nothing but signing in, and that once.
    let mut socket = Socket::open(served.address, "/ws", "", "");
    socket.send(&json!("nonsense"));
    assert_eq!(code_of(&socket.json()), Some("UNAUTHENTICATED"));
    assert_eq!(closed(&mut socket), 4401);
    let mut socket = served.socket_as(&token(json!({})));
    socket.send(&json!({"type": "authenticate", "id": "a", "key": "the key of the operator"}));
    let answer = socket.json();
    assert_eq!(
        (answer["id"].as_str(), code_of(&answer)),
        (Some("a"), Some("BAD_REQUEST"))
    );
}

#[test]
fn without_auth_everybody_may_everything() {
    let served = super::super::Served::start();
    let mut socket = Socket::open(served.address, "/ws", "", "");
    socket.send(&json!({"type": "subscribe", "id": "1", "stream": "positions"}));
    assert_eq!(socket.json()["type"], "subscribed");
    assert_eq!(
        http(&served, &With::Token("whatever"), "GET", "/metrics", &Value::Null),
        "200"
    );
}

#[test]
fn pages_show_what_is_seen() {
    let served = served(&config(""));
    let ask = |token: &str, path: &str| served.ask("GET", path, token, "").body;
    let (trader, outsider) = (token(json!({})), token(json!({"roles": ["outsider"]})));
    assert!(ask(&trader, "/").contains("\"positions\"") && !ask(&trader, "/").contains("cost"));
    assert!(!ask(&outsider, "/").contains("\"positions\""));
    assert!(!ask(&trader, "/live/positions").contains("\"cost\""));
    assert!(ask("the key of the operator", "/live/positions").contains("\"cost\""));
    let relations = |token: &str| served.graphql_as(token, "{ _relations }")["data"]["_relations"].clone();
    assert_eq!(relations(&trader), json!(["positions", "Totals"]));
    assert_eq!(relations(&outsider), json!(["Totals"]));
}
