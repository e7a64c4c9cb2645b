//! What triggers are refused, and what they do when a receiver is not there, or too much waits.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{ask, create, hysteresis, served};
use crate::server::Served;
use crate::server::client::get;
use crate::support::{Scratch, wait_until};

fn refusal(answer: &Value) -> (String, String) {
    let error = &answer["errors"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    assert!(error.is_object(), "{answer}");
    (text(&error["extensions"]["code"]), text(&error["message"]))
}

#[test]
fn what_is_no_trigger_is_refused() {
    let served = served(&[]);
    let good = json!({"name": "a", "webhook": "http://127.0.0.1:9/hook", "fire": {"price": {"_gt": 1}}});
    for (change, code, why) in [
        (json!({"name": ""}), "BAD_REQUEST", "name:"),
        (json!({"name": "a b"}), "BAD_REQUEST", "name:"),
        (json!({"webhook": "hush"}), "BAD_REQUEST", "it is no URL"),
        (
            json!({"webhook": "file:///etc/hush"}),
            "BAD_REQUEST",
            "begins with http",
        ),
        (json!({"fire": {"nope": {"_gt": 1}}}), "", "nope"),
        (json!({"fire": {"price": {"_gt": "x"}}}), "", ""),
        (json!({"fire": {"qty": {"_eq": "x"}}}), "BAD_REQUEST", "is no LONG"),
        (json!({"secret": "hush"}), "BAD_REQUEST", "begins with whsec_"),
        (json!({"cool_down": "soon"}), "BAD_REQUEST", "no duration"),
        (
            json!({"rate_limit": {"count": 0, "per": "1 s"}}),
            "BAD_REQUEST",
            "count is from 1",
        ),
        (
            json!({"headers": [{"name": "Host", "value": "hush"}]}),
            "BAD_REQUEST",
            "set by the server",
        ),
        (
            json!({"headers": [{"name": "A", "value": "hu\r\nB: sh"}]}),
            "BAD_REQUEST",
            "cannot be sent",
        ),
    ] {
        let mut input = good.clone();
        for (name, value) in change.as_object().unwrap() {
            input[name] = value.clone();
        }
        let (got, message) = refusal(&ask(&served, "positions", &input));
        assert!(
            message.contains(why) && (code.is_empty() || got == code),
            "{change}: {got} {message}"
        );
        assert!(!message.contains("hush"), "{message}");
    }
    let deep = (0..40).fold(json!({"price": {"_gt": 1}}), |inner, _| json!({"_not": inner}));
    refusal(&ask(
        &served,
        "positions",
        &json!({"name": "a", "webhook": "http://127.0.0.1:9/", "fire": deep}),
    ));
    assert_eq!(
        served.graphql("{ positions_triggers { name } }")["data"]["positions_triggers"],
        json!([])
    );
    // A mutation in a URL could be asked for by any page.
    let url = "/graphql?query=mutation%20%7B%20delete_positions_trigger(name:%20%22a%22)%20%7B%20name%20%7D%20%7D";
    let answer = get(served.address, url);
    assert!(answer.body.contains("a mutation goes by POST"), "{answer:?}");
}

#[test]
fn addresses_that_only_neighbours_reach_are_refused() {
    let served = Served::start();
    for url in [
        "http://127.0.0.1:9/",
        "http://localhost/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "http://10.1.2.3/",
    ] {
        let input = json!({"name": "a", "webhook": url, "fire": {}});
        let (code, message) = refusal(&ask(&served, "positions", &input));
        assert_eq!(code, "FORBIDDEN", "{url}: {message}");
        assert!(
            message.contains("this machine or of a private network"),
            "{url}: {message}"
        );
    }
    let listed = Served::with(&[
        "triggers.allowed-hosts=hooks.example.com, 127.0.0.1",
        "triggers.allow-private=true",
    ]);
    let of = |url: &str| ask(&listed, "positions", &json!({"name": "a", "webhook": url, "fire": {}}));
    assert_eq!(refusal(&of("http://127.0.0.2:9/")).0, "FORBIDDEN");
    assert!(of("http://127.0.0.1:9/")["errors"].is_null());
    let off = Served::with(&["triggers.enabled=off"]);
    let input = json!({"name": "a", "webhook": "http://8.8.8.8/", "fire": {}});
    assert_eq!(refusal(&ask(&off, "positions", &input)).0, "FORBIDDEN");
}

#[test]
fn names_and_numbers_are_bounded() {
    let served = served(&["triggers.max=3", "triggers.max-per-relation=2"]);
    let make = |relation: &str, name: &str| {
        ask(
            &served,
            relation,
            &json!({"name": name, "webhook": "http://127.0.0.1:9/", "fire": {"price": {"_gt": 1}}}),
        )
    };
    assert!(make("positions", "a")["errors"].is_null());
    assert_eq!(refusal(&make("positions", "a")).0, "CONFLICT");
    assert!(make("positions", "b")["errors"].is_null());
    let (code, message) = refusal(&make("positions", "c"));
    assert!(
        code == "TOO_MANY_REQUESTS" && message.contains("2 triggers"),
        "{message}"
    );
    assert!(make("Alerts", "a")["errors"].is_null());
    let (code, message) = refusal(&make("Last", "a"));
    assert!(
        code == "TOO_MANY_REQUESTS" && message.contains("3 triggers"),
        "{message}"
    );
    served.graphql("mutation { delete_positions_trigger(name: \"a\") { name } }");
    assert!(make("Last", "a")["errors"].is_null());
}

#[test]
fn what_is_given_up_is_a_dead_letter() {
    let scratch = Scratch::new();
    let dead = format!("triggers.dead-letters={}", scratch.path("dead.ndjson").display());
    let served = served(&[&dead, "triggers.retry.max-attempts=3", "triggers.retry.max-delay=20 ms"]);
    let receiver = Receiver::answering(|call, _| match call.body["data"]["symbol"].as_str() {
        Some("REFUSED") => (422, None),
        Some("GONE") => (500, None),
        _ => (200, None),
    });
    create(&served, "positions", &receiver, "high", &hysteresis());
    for symbol in ["REFUSED", "GONE", "GOOD"] {
        served.puts(symbol, 1, 200.0);
    }
    wait_until("two letters", || {
        scratch.path("dead.ndjson").exists() && scratch.lines("dead.ndjson").len() == 2
    });
    let mut letters: Vec<Value> = scratch
        .lines("dead.ndjson")
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    letters.sort_by_key(|letter| letter["attemptCount"].as_i64());
    let of = |letter: &Value| {
        (
            letter["errorType"].clone(),
            letter["attemptCount"].clone(),
            letter["streamName"].clone(),
        )
    };
    assert_eq!(of(&letters[0]), (json!("refused"), json!(1), json!("positions")));
    assert_eq!(of(&letters[1]), (json!("sink"), json!(3), json!("positions")));
    let event: Value = serde_json::from_str(letters[1]["originalEvent"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&event["data"]["symbol"], &event["event_type"]),
        (&json!("GONE"), &json!("FIRE"))
    );
    receiver.gets(&["FIRE GOOD 200.0"]);
    let counted =
        served.graphql("{ positions_trigger(name: \"high\") { waiting given_up delivered failed fired active } }");
    assert_eq!(
        counted["data"]["positions_trigger"],
        json!({"waiting": "0", "given_up": "2", "delivered": "1", "failed": "4", "fired": "3", "active": "3"})
    );
    let metrics = get(served.address, "/metrics").body;
    for line in [
        "eventflux_triggers 1",
        "eventflux_triggers_durable 0",
        "eventflux_trigger_given_up_total{relation=\"positions\",trigger=\"high\"} 2",
        "eventflux_trigger_delivered_total{relation=\"positions\",trigger=\"high\"} 1",
        "eventflux_trigger_waiting{relation=\"positions\",trigger=\"high\"} 0",
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line}: {metrics}");
    }
}

#[test]
fn a_full_outbox_stops_neither_the_app_nor_other_triggers() {
    let scratch = Scratch::new();
    let dead = format!("triggers.dead-letters={}", scratch.path("dead.ndjson").display());
    let served = served(&[
        &dead,
        "triggers.max-waiting=10",
        "triggers.retry.max-attempts=0",
        "triggers.retry.max-delay=1 hour",
        "triggers.retry.initial-delay=1 hour",
    ]);
    let (broken, well) = (Receiver::answering(|_, _| (503, None)), Receiver::start());
    create(&served, "positions", &broken, "broken", &hysteresis());
    create(&served, "positions", &well, "well", &hysteresis());
    for number in 0..100 {
        served.puts(&format!("S{number}"), 1, 200.0);
    }
    wait_until("all at the other", || well.delivered().len() == 100);
    wait_until("letters", || scratch.lines("dead.ndjson").len() == 90);
    let counted = served.graphql("{ positions_trigger(name: \"broken\") { waiting given_up fired } }");
    let expected = json!({"waiting": "10", "given_up": "90", "fired": "100"});
    assert_eq!(counted["data"]["positions_trigger"], expected);
}

#[test]
fn a_hundred_thousand_rows_that_fire_at_once() {
    let served = served(&["triggers.max-waiting=60000", "triggers.concurrency=64"]);
    let receiver = Receiver::start();
    let puts = served.app.input("Puts").unwrap();
    for chunk in 0..100 {
        let rows: Vec<Value> = (0..1_000)
            .map(|row| {
                let number = chunk * 1_000 + row;
                json!({"symbol": format!("S{number}"), "qty": number, "price": number, "at": "2026-01-02T03:04:05Z"})
            })
            .collect();
        puts.send_rows(rows).unwrap();
    }
    served.has_rows(100_000);
    let with = |least: i64| json!({"fire": {"qty": {"_gte": least.to_string()}}});
    let mut input = with(0);
    (input["name"], input["webhook"]) = (json!("all"), json!(receiver.url()));
    let (_, message) = refusal(&ask(&served, "positions", &input));
    assert!(
        message.contains("100000 of the rows") && message.contains("60000"),
        "{message}"
    );
    assert_eq!(
        served.graphql("{ positions_triggers { name } }")["data"]["positions_triggers"],
        json!([])
    );
    let created = create(&served, "positions", &receiver, "half", &with(98_000));
    assert_eq!(created["active"], "2000");
    let mut quiet = with(0);
    quiet["initial"] = json!(false);
    assert_eq!(
        create(&served, "positions", &receiver, "quiet", &quiet)["active"],
        "100000"
    );
    wait_until("2000 calls", || receiver.delivered().len() == 2_000);
    // A row that changes costs nothing of the others: nobody else is told.
    served.puts("S1", 99_000, 1.0);
    wait_until("one more", || receiver.delivered().len() == 2_001);
    receiver.gets_no_more_than(2_001);
}
