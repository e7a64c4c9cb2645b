//! Health, metrics, server-sent events, messages, pages, the end.

use serde_json::json;

use super::Served;
use super::client::{Events, encoded, get, post, request};
use crate::support::wait_until;

#[test]
fn health_readiness_and_metrics() {
    let served = Served::start();
    assert_eq!(get(served.address, "/health").json()["status"], "ok");
    assert_eq!(get(served.address, "/ready").json()["status"], "ready");
    served.put("IBM", 1, 120.0);
    served.has_rows(1);
    let mut events = Events::get(served.address, "/events/positions");
    events.until("ready");
    let metrics = get(served.address, "/metrics");
    assert!(metrics.headers.contains("text/plain; version=0.0.4"));
    for line in [
        "eventflux_up 1",
        "eventflux_stream_events_total{stream=\"Puts\",role=\"internal\"} 1",
        "eventflux_live_views 1",
        "eventflux_live_subscribers 1",
        "eventflux_server_sse_streams 1",
        "# TYPE eventflux_server_request_seconds histogram",
        "eventflux_server_requests_total{status=\"2xx\"}",
    ] {
        assert!(metrics.body.contains(line), "{line} in {}", metrics.body);
    }
    // The format: each sample belongs to a family that was announced, once.
    let mut families = std::collections::BTreeSet::new();
    for line in metrics.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(rest.split(' ').next().unwrap().to_string()), "{line}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(families.contains(family) || families.contains(name), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    let nothing = get(served.address, "/nothing");
    assert_eq!(
        (nothing.status, nothing.json()["error"]["code"].as_str()),
        (404, Some("NOT_FOUND"))
    );
}

#[test]
fn rows_then_changes_as_events() {
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.put("ACME", 1, 120.0);
    served.has_rows(2);
    let filter = encoded("price > 100");
    let mut events = Events::get(served.address, &format!("/events/positions?filter={filter}"));
    assert!(events.headers.contains("text/event-stream"));
    let begin = events.until("ready");
    let names: Vec<&str> = begin.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["open", "insert", "ready"]);
    assert_eq!(begin[0].json(), json!({"from": "rows"}));
    assert_eq!(
        begin[1].json()["data"],
        json!({"symbol": "ACME", "qty": 1, "price": 120.0, "at": "2026-01-02T03:04:05Z"})
    );
    assert!(begin[1].id.is_none() && begin[2].id.is_some());

    served.put("ACME", 2, 120.0);
    let update = events.next().unwrap();
    assert_eq!(update.name, "update");
    assert_eq!(
        update.json(),
        json!({"op": "update", "data": {"symbol": "ACME", "qty": 2}, "fields": ["qty"]})
    );
    // In and out of the filter.
    served.put("IBM", 5, 101.0);
    assert_eq!(events.next().unwrap().json()["data"]["symbol"], "IBM");
    served.put("IBM", 5, 99.0);
    let gone = events.next().unwrap();
    assert_eq!(
        gone.json(),
        json!({"op": "delete", "data": {"symbol": "IBM"}, "fields": []})
    );
    served.drop("ACME");
    assert_eq!(events.next().unwrap().name, "delete");

    // It goes on where it was.
    drop(events);
    served.put("NEW", 1, 200.0);
    served.put("OTHER", 1, 2.0);
    served.has_rows(3);
    let path = format!("/events/positions?filter={filter}");
    let id = update.id.clone().unwrap();
    let mut again = Events::open(served.address, "GET", &path, &[("last-event-id", &id)], "");
    assert_eq!(again.next().unwrap().json(), json!({"from": "resumed"}));
    let missed: Vec<String> = (0..4).map(|_| again.next().unwrap().name).collect();
    assert_eq!(missed, ["insert", "delete", "delete", "insert"]);
    // From nowhere it begins anew.
    let mut anew = Events::open(served.address, "GET", &path, &[("last-event-id", "123-4")], "");
    assert_eq!(anew.next().unwrap().json(), json!({"from": "rows"}));
}

#[test]
fn batches_fields_and_streams_without_rows() {
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.has_rows(1);
    let mut events = Events::get(
        served.address,
        "/events/positions?every=20ms&fields=price&snapshot=true",
    );
    let begin = events.until("ready");
    assert_eq!(begin[1].name, "changes");
    assert_eq!(begin[1].json()[0]["data"], json!({"symbol": "IBM", "price": 75.5}));
    // A window, whose rows come and go whole.
    let mut window = Events::get(served.address, "/events/Last");
    window.until("ready");
    for n in 0..3 {
        served.put(&format!("S{n}"), n, 1.0);
    }
    let ops: Vec<(String, String)> = (0..5)
        .map(|_| {
            let event = window.next().unwrap();
            (
                event.name.clone(),
                event.json()["data"]["symbol"].as_str().unwrap().to_string(),
            )
        })
        .collect();
    let ins = ops.iter().filter(|(name, _)| name == "insert").count();
    let outs: Vec<&str> = ops
        .iter()
        .filter(|(name, _)| name == "delete")
        .map(|(_, symbol)| symbol.as_str())
        .collect();
    assert_eq!((ins, outs), (3, vec!["IBM", "S0"]), "{ops:?}");
    // The rows of a keyed stream, for who comes late. Its table is written after the window.
    wait_until("four totals", || {
        let totals = served.graphql("{ Totals { symbol } }");
        totals["data"]["Totals"].as_array().map(Vec::len) == Some(4)
    });
    let mut totals = Events::get(served.address, "/events/Totals");
    assert_eq!(totals.until("ready").len(), 6);
    served.put("IBM", 1, 1.0);
    assert_eq!(
        totals.next().unwrap().json(),
        json!({"op": "update", "data": {"symbol": "IBM", "n": 2}, "fields": ["n"]})
    );
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let served = Served::start();
    for (path, status, what) in [
        ("/events/nothing", 404, "there is no 'nothing'"),
        // Shown by GraphQL only.
        ("/events/Alerts", 404, "there is no 'Alerts'"),
        ("/events/positions?filter=prize%20%3E%201", 400, "prize"),
        ("/events/positions?filter=uuid()%3Dsymbol", 400, "calls no functions"),
        ("/events/positions?fields=nope", 400, "has no column 'nope'"),
        ("/events/positions?every=soon", 400, "is no duration"),
        ("/events/positions?policy=whatever", 400, "there is no policy"),
        ("/events/Last?policy=coalesce", 400, "has no key"),
        ("/events/positions?unknown=1", 400, "unknown field"),
        ("/ws", 400, "pgrade"),
        ("/graphql?query=%7B", 200, ""),
    ] {
        let answer = get(served.address, path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.body.contains(what), "{path}: {answer:?}");
    }
    let answer = request(
        served.address,
        "POST",
        "/publish",
        &[("content-type", "text/plain")],
        "{}",
    );
    assert!(
        answer.status == 400 && answer.body.contains("application/json"),
        "{answer:?}"
    );
    assert_eq!(post(served.address, "/publish", "{").status, 400);
    assert_eq!(post(served.address, "/publish", r#"{"data":1,"x":2}"#).status, 400);
    assert_eq!(
        post(served.address, "/publish", r#"{"data":1,"event":"a\nb"}"#).status,
        400
    );
    assert_eq!(post(served.address, "/events/positions", "{}").status, 405);
}

#[test]
fn messages_go_to_whom_they_are_for() {
    let served = Served::start();
    let mut of_channel = Events::get(served.address, "/events?channel=orders&user=ann");
    let mut of_user = Events::get(served.address, "/events?user=bob");
    of_channel.until("open");
    of_user.until("open");
    for body in [
        json!({"channel": "orders", "data": 1}),
        json!({"channel": "orders", "user": "bob", "data": 2}),
        json!({"user": "bob", "event": "hello", "data": {"x": 3}}),
        json!({"data": 4}),
    ] {
        assert_eq!(post(served.address, "/publish", &body.to_string()).status, 202);
    }
    let first = of_channel.next().unwrap();
    assert_eq!((first.name.as_str(), first.data.as_str()), ("message", "1"));
    assert_eq!(of_channel.next().unwrap().data, "4");
    let hello = of_user.next().unwrap();
    assert_eq!((hello.name.as_str(), hello.json()), ("hello", json!({"x": 3})));
    assert_eq!(of_user.next().unwrap().data, "4");
    let id = first.id.unwrap();
    let mut again = Events::open(
        served.address,
        "GET",
        "/events?channel=orders",
        &[("last-event-id", &id)],
        "",
    );
    again.until("open");
    assert_eq!(again.next().unwrap().data, "4");
    let other = Served::with(&["publish=Puts"]);
    assert_eq!(post(other.address, "/publish", r#"{"data":1}"#).status, 403);
}

#[test]
fn events_of_a_column_go_to_whom_it_names() {
    let served = Served::start();
    let mut ann = Events::get(served.address, "/events/Notes?user=ann");
    let mut nobody = Events::get(served.address, "/events/Notes");
    ann.until("open");
    nobody.until("open");
    let notes = served.app.input("NewNotes").unwrap();
    for (user, text) in [(Some("bob"), "1"), (Some("ann"), "2"), (None, "3")] {
        notes.send(json!({"account": user, "text": text})).unwrap();
    }
    let texts = |events: &mut Events, count: usize| -> Vec<String> {
        let text = |_| {
            events.next().unwrap().json()["data"]["text"]
                .as_str()
                .unwrap()
                .to_string()
        };
        (0..count).map(text).collect()
    };
    assert_eq!(texts(&mut ann, 2), ["2", "3"]);
    assert_eq!(texts(&mut nobody, 1), ["3"]);
}

#[test]
fn pages_are_for_people_on_this_machine() {
    let served = Served::start();
    for (path, what) in [
        ("/", "positions"),
        ("/live/positions", "\"key\":[\"symbol\"]"),
        ("/graphiql", "positionsExpression"),
    ] {
        let page = get(served.address, path);
        assert!(page.status == 200 && page.body.contains(what), "{path}: {page:?}");
        assert!(page.headers.contains("content-security-policy: default-src 'none'"));
        // Nothing from elsewhere.
        assert!(!page.body.contains("//cdn") && !page.body.contains("https://"));
    }
    let without = Served::with(&["pages=off"]);
    assert_eq!(get(without.address, "/").status, 404);
}

#[test]
fn scripts_of_other_origins_only_where_allowed() {
    let origin = [("origin", "https://app.example")];
    let served = Served::start();
    let answer = request(served.address, "GET", "/health", &origin, "");
    assert!(!answer.headers.contains("access-control-allow-origin"));
    let served = Served::with(&["cors.origins=https://app.example"]);
    let answer = request(served.address, "GET", "/health", &origin, "");
    assert!(
        answer
            .headers
            .contains("access-control-allow-origin: https://app.example"),
        "{answer:?}"
    );
    let asks = [
        origin[0],
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = request(served.address, "OPTIONS", "/publish", &asks, "");
    assert!(
        answer.status == 200 && answer.headers.contains("access-control-allow-methods"),
        "{answer:?}"
    );
}

#[test]
fn the_end_is_told() {
    let mut served = Served::start();
    let mut events = Events::get(served.address, "/events/positions");
    let mut messages = Events::get(served.address, "/events");
    events.until("ready");
    messages.until("open");
    let server = served.server.take().unwrap();
    server.shutdown();
    assert_eq!(
        events.until("end").last().unwrap().json(),
        json!({"reason": "the server ends", "code": "UNAVAILABLE"})
    );
    assert_eq!(messages.until("end").len(), 1);
    assert!(events.next().is_none());
    assert!(std::net::TcpStream::connect(served.address).is_err());
}

#[test]
fn a_relation_is_watched_as_long_as_somebody_looks() {
    let served = Served::with(&["linger=50ms"]);
    let views = |count: usize| {
        let line = format!("eventflux_live_views {count}\n");
        wait_until(&line, || get(served.address, "/metrics").body.contains(&line));
    };
    views(0);
    let mut one = Events::get(served.address, "/events/positions");
    one.until("ready");
    let mut other = Events::get(served.address, "/events/positions");
    other.until("ready");
    views(1);
    drop((one, other));
    // That a client has gone is noticed when something is written to it.
    for n in 0..20 {
        served.put("IBM", n, 1.0);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    views(0);
}

#[test]
fn what_cannot_be_exposed_is_refused_at_the_start() {
    use eventflux::{EventFlux, Layers};
    let sql = "CREATE STREAM positions (x LONG);";
    let layers = Layers::default().set("server.expose=position").unwrap();
    let error = EventFlux::builder().sql(sql).config(layers).build().unwrap_err();
    let message = "[server] expose: there is no stream or table 'position'";
    assert!(error.to_string().contains(message), "{error}");
}

#[test]
fn a_row_whose_time_is_over_is_told_to_be_gone() {
    let sql = "CREATE STREAM Puts (id LONG);
        CREATE TABLE Recent (id LONG PRIMARY KEY) WITH (extension = 'cache', ttl = '300 ms');
        UPSERT INTO Recent SELECT id FROM Puts;";
    let served = Served::of(sql, &["expose=Recent", "publish="]);
    let mut events = Events::get(served.address, "/events/Recent");
    events.until("ready");
    served.app.input("Puts").unwrap().send((7,)).unwrap();
    assert_eq!(events.next().unwrap().name, "insert");
    let gone = events.next().unwrap();
    assert_eq!(
        (gone.name.as_str(), gone.json()["data"]["id"].as_i64()),
        ("delete", Some(7))
    );
}

/// A table in a database: its rows, and what the app writes to it.
#[cfg(feature = "sqlite")]
#[test]
fn a_table_in_a_file() {
    let scratch = crate::support::Scratch::new();
    let path = scratch.path("t.db").display().to_string();
    let sql = format!(
        "CREATE STREAM Puts (id LONG, v STRING);
         CREATE STREAM Drops (id LONG);
         CREATE TABLE T (id LONG PRIMARY KEY, v STRING) WITH (extension = 'sqlite', path = '{path}');
         UPSERT INTO T SELECT id, v FROM Puts;
         DELETE FROM T USING Drops WHERE T.id = Drops.id;"
    );
    let served = Served::of(&sql, &["expose=T", "publish="]);
    let put = |id: i64, v: &str| served.app.input("Puts").unwrap().send((id, v)).unwrap();
    let rows = || served.graphql("{ T { id v } }")["data"]["T"].as_array().map(Vec::len);
    put(1, "one");
    wait_until("the row", || rows() == Some(1));
    let mut events = Events::get(served.address, "/events/T?filter=id%20%3C%2010");
    let begin = events.until("ready");
    assert_eq!(begin[1].json()["data"], json!({"id": 1, "v": "one"}));
    put(20, "twenty");
    put(1, "two");
    let update = events.next().unwrap();
    assert_eq!(
        update.json(),
        json!({"op": "update", "data": {"id": 1, "v": "two"}, "fields": ["v"]})
    );
    served.app.input("Drops").unwrap().send((1,)).unwrap();
    assert_eq!(events.next().unwrap().name, "delete");
    put(2, "new");
    assert_eq!(events.next().unwrap().json()["data"], json!({"id": 2, "v": "new"}));
}
