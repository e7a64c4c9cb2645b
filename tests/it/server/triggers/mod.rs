//! Triggers: FIRE and CLEAR at a receiver, over GraphQL.

mod kills;
mod limits;
pub mod receiver;

use serde_json::{Value, json};

use super::Served;
use super::client::post;
use receiver::Receiver;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn served(settings: &[&str]) -> Served {
    let base = ["triggers.allow-private=true", "triggers.retry.initial-delay=5 ms"];
    let settings: Vec<&str> = base.iter().chain(settings).copied().collect();
    Served::with(&settings)
}

/// Asks, with the input of a trigger as a variable.
fn ask(served: &Served, relation: &str, input: &Value) -> Value {
    let query = format!(
        "mutation M($input: {relation}TriggerInput!) {{ create_{relation}_trigger(input: $input) {{
           name webhook fire clear headers signed cool_down rate_limit {{ count per }} initial owner durable active waiting }} }}"
    );
    let body = json!({"query": query, "variables": {"input": input}});
    post(served.address, "/graphql", &body.to_string()).json()
}

/// Makes a trigger, with more members of its input.
fn create(served: &Served, relation: &str, receiver: &Receiver, name: &str, more: &Value) -> Value {
    let mut input = json!({"name": name, "webhook": receiver.url()});
    for (name, value) in more.as_object().unwrap() {
        input[name] = value.clone();
    }
    let answer = ask(served, relation, &input);
    let created = answer["data"][format!("create_{relation}_trigger")].clone();
    assert!(created.is_object(), "{answer}");
    created
}

/// Fires above 100, clears below 90.
fn hysteresis() -> Value {
    json!({"fire": {"price": {"_gt": 100}}, "clear": {"price": {"_lt": 90}}})
}

#[test]
fn it_fires_and_clears_with_hysteresis() {
    let (served, receiver) = (served(&[]), Receiver::start());
    let mut more = hysteresis();
    more["secret"] = json!(SECRET);
    more["headers"] = json!([{"name": "X-Tenant", "value": "blue"}, {"name": "Authorization", "value": "Bearer hush"}]);
    let created = create(&served, "positions", &receiver, "high", &more);
    assert_eq!(
        created,
        json!({"name": "high", "webhook": receiver.url(), "fire": {"price": {"_gt": 100}}, "clear": {"price": {"_lt": 90}},
               "headers": ["X-Tenant", "Authorization"], "signed": true, "cool_down": null, "rate_limit": null, "initial": true,
               "owner": "anonymous", "durable": false, "active": "0", "waiting": "0"})
    );
    // Between at first; up, up, between, up: one FIRE. Below: CLEAR.
    for (qty, price) in [
        (1, 95.0),
        (1, 101.0),
        (2, 101.0),
        (2, 150.0),
        (2, 95.0),
        (2, 120.0),
        (3, 89.0),
        (3, 80.0),
        (3, 95.0),
    ] {
        served.puts("IBM", qty, price);
    }
    served.puts("ACME", 1, 200.0);
    served.puts("IBM", 4, 100.5);
    served.drop("ACME");
    served.drop("IBM");
    receiver.gets_in_any_order(&[
        "CLEAR ACME 200.0",
        "CLEAR IBM 100.5",
        "CLEAR IBM 89.0",
        "FIRE ACME 200.0",
        "FIRE IBM 100.5",
        "FIRE IBM 101.0",
    ]);
    let calls = receiver.delivered();
    let of = |symbol: &str| -> Vec<String> {
        let own = calls.iter().filter(|call| call.body["data"]["symbol"] == symbol);
        own.map(receiver::Call::shown).collect()
    };
    assert_eq!(
        of("IBM"),
        ["FIRE IBM 101.0", "CLEAR IBM 89.0", "FIRE IBM 100.5", "CLEAR IBM 100.5"]
    );
    assert_eq!(of("ACME"), ["FIRE ACME 200.0", "CLEAR ACME 200.0"]);
    let first = &calls[0];
    assert_eq!(first.path, "/hook");
    assert_eq!(first.header("webhook-id"), first.id());
    assert_eq!(
        (first.header("x-tenant"), first.header("authorization")),
        ("blue", "Bearer hush")
    );
    assert_eq!(first.header("content-type"), "application/json");
    assert!(first.header("webhook-signature").starts_with("v1,"));
    assert_eq!(first.body["trigger_name"], "high");
    assert!(first.body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        first.body["data"],
        json!({"symbol": "IBM", "qty": 1, "price": 101.0, "at": "2026-01-02T03:04:05Z"})
    );
    let ids: std::collections::BTreeSet<&str> = calls.iter().map(receiver::Call::id).collect();
    assert_eq!(ids.len(), 6);
    receiver.gets_no_more_than(6);
    assert!(first.is_signed(SECRET));
}

impl receiver::Call {
    /// By the definition of Standard Webhooks, done anew here.
    fn is_signed(&self, secret: &str) -> bool {
        use base64::Engine;
        use hmac::{Hmac, KeyInit, Mac};
        let base64 = base64::engine::general_purpose::STANDARD;
        let key = base64.decode(secret.trim_start_matches("whsec_")).unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        let signed = format!(
            "{}.{}.{}",
            self.header("webhook-id"),
            self.header("webhook-timestamp"),
            self.text
        );
        mac.update(signed.as_bytes());
        let expected = format!("v1,{}", base64.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature") == expected
    }
}

#[test]
fn without_a_condition_to_clear_it_clears_when_it_does_not_fire() {
    let (served, receiver) = (served(&[]), Receiver::start());
    create(
        &served,
        "Totals",
        &receiver,
        "even",
        &json!({"fire": {"n": {"_in": ["2", "3", "5"]}}}),
    );
    for n in 1..=6 {
        served.put("IBM", 1, 1.0);
        served.has("Totals", &format!("symbol: {{_eq: \"IBM\"}}, n: {{_eq: {n}}}"));
    }
    served.put("ACME", 1, 1.0);
    crate::support::wait_until("4 events", || receiver.delivered().len() >= 4);
    let shown: Vec<(String, Value)> = receiver
        .delivered()
        .iter()
        .map(|call| (call.kind().to_string(), call.body["data"].clone()))
        .collect();
    let data = |n: i64| json!({"symbol": "IBM", "n": n});
    let expected = [("FIRE", 2), ("CLEAR", 4), ("FIRE", 5), ("CLEAR", 6)];
    assert_eq!(shown, expected.map(|(kind, n)| (kind.to_string(), data(n))));
}

#[test]
fn rows_that_are_there_fire_unless_that_is_not_wanted() {
    let (served, receiver, silent) = (served(&[]), Receiver::start(), Receiver::start());
    served.put("IBM", 1, 120.0);
    served.put("ACME", 1, 20.0);
    served.has_rows(2);
    let created = create(&served, "positions", &receiver, "high", &hysteresis());
    assert_eq!(created["active"], "1");
    let mut more = hysteresis();
    more["initial"] = json!(false);
    create(&served, "positions", &silent, "later", &more);
    receiver.gets(&["FIRE IBM 120.0"]);
    served.puts("IBM", 1, 50.0);
    receiver.gets(&["FIRE IBM 120.0", "CLEAR IBM 50.0"]);
    served.put("IBM", 1, 121.0);
    receiver.gets(&["FIRE IBM 120.0", "CLEAR IBM 50.0", "FIRE IBM 121.0"]);
    // Nobody was told of its FIRE, so nobody is told of its CLEAR.
    silent.gets(&["FIRE IBM 121.0"]);
}

#[test]
fn rows_without_a_key_fire_each() {
    let (served, receiver) = (served(&[]), Receiver::start());
    served.put("IBM", 1, 500.0);
    let answer = ask(
        &served,
        "Alerts",
        &json!({"name": "a", "webhook": receiver.url(), "fire": {}, "clear": {}}),
    );
    assert!(
        answer["errors"][0]["message"].as_str().unwrap().contains("clear"),
        "{answer}"
    );
    create(
        &served,
        "Alerts",
        &receiver,
        "dear",
        &json!({"fire": {"price": {"_gte": 200}}}),
    );
    create(
        &served,
        "Last",
        &receiver,
        "window",
        &json!({"fire": {"price": {"_gte": 500}}}),
    );
    receiver.gets(&["FIRE IBM 500.0"]);
    for price in [150.0, 200.0, 200.0, 100.0, 300.0] {
        served.put("IBM", 1, price);
    }
    receiver.gets(&["FIRE IBM 500.0", "FIRE IBM 200.0", "FIRE IBM 200.0", "FIRE IBM 300.0"]);
    let calls = receiver.delivered();
    assert_ne!(calls[1].id(), calls[2].id());
    receiver.gets_no_more_than(4);
}

#[test]
fn a_cool_down_ends_with_what_still_fires() {
    let (served, receiver) = (served(&[]), Receiver::start());
    let mut more = hysteresis();
    more["cool_down"] = json!("700 ms");
    create(&served, "positions", &receiver, "high", &more);
    for price in [110.0, 50.0, 120.0, 130.0, 95.0] {
        served.puts("IBM", 1, price);
    }
    for price in [110.0, 50.0, 120.0, 51.0] {
        served.puts("ACME", 1, price);
    }
    receiver.gets_in_any_order(&[
        "CLEAR ACME 50.0",
        "CLEAR IBM 50.0",
        "FIRE ACME 110.0",
        "FIRE IBM 110.0",
        // The last row that fired.
        "FIRE IBM 130.0",
    ]);
    let calls = receiver.delivered();
    let fires: Vec<_> = calls
        .iter()
        .filter(|call| call.shown().starts_with("FIRE IBM"))
        .collect();
    let between = fires[1].at - fires[0].at;
    assert!(between.as_millis() >= 600, "{between:?}");
    served.put("IBM", 1, 5.0);
    crate::support::wait_until("CLEAR", || receiver.shown().last().unwrap() == "CLEAR IBM 5.0");
    receiver.gets_no_more_than(6);
}

#[test]
fn a_rate_limit_makes_calls_wait_in_order() {
    let (served, receiver) = (served(&[]), Receiver::start());
    let more = json!({"fire": {"price": {"_gt": 100}}, "rate_limit": {"count": 2, "per": "400 ms"}});
    let created = create(&served, "positions", &receiver, "high", &more);
    assert_eq!(created["rate_limit"], json!({"count": 2, "per": "400 milliseconds"}));
    for number in 0..7 {
        served.put(&format!("S{number}"), 1, 101.0 + f64::from(number));
    }
    crate::support::wait_until("7 calls", || receiver.delivered().len() == 7);
    let calls = receiver.delivered();
    for three in calls.windows(3) {
        let time = three[2].at - three[0].at;
        assert!(time.as_millis() >= 350, "{time:?}");
    }
    // Two that go at once may arrive in any order.
    for (number, pair) in receiver.shown().chunks(2).enumerate() {
        for shown in pair {
            let symbol: usize = shown.split(' ').nth(1).unwrap()[1..].parse().unwrap();
            assert_eq!(symbol / 2, number, "{:?}", receiver.shown());
        }
    }
}

#[test]
fn a_receiver_that_fails_gets_all_in_order_by_key() {
    let served = served(&[
        "triggers.retry.max-attempts=0",
        "triggers.breaker.pause=50 ms",
        "triggers.retry.max-delay=50 ms",
    ]);
    let receiver = Receiver::answering(|_, before| match before {
        2 => (429, Some(1)),
        before if before % 3 != 0 => (500, None),
        _ => (200, None),
    });
    create(&served, "positions", &receiver, "high", &hysteresis());
    for round in 0..20 {
        for price in [101.0, 10.0] {
            for key in 0..4 {
                served.puts(&format!("S{key}"), round, price);
            }
        }
    }
    crate::support::wait_until("all", || receiver.delivered().len() >= 160);
    assert_eq!(receiver.delivered().len(), 160);
    for key in 0..4 {
        let name = format!("S{key}");
        let calls = receiver.delivered();
        let own: Vec<&str> = calls
            .iter()
            .filter(|call| call.body["data"]["symbol"] == name)
            .map(receiver::Call::kind)
            .collect();
        assert!(
            own.len() == 40 && own.chunks(2).all(|pair| pair == ["FIRE", "CLEAR"]),
            "{own:?}"
        );
    }
    // What was tried again had its id.
    let calls = receiver.calls();
    let mut bodies = std::collections::HashMap::new();
    for call in &calls {
        assert_eq!(
            bodies.entry(call.id().to_string()).or_insert_with(|| call.text.clone()),
            &call.text
        );
    }
}

impl Served {
    /// Puts a row and waits until it is there: rows of one key that come together are one change of a table.
    fn puts(&self, symbol: &str, qty: i64, price: f64) {
        self.put(symbol, qty, price);
        self.has(
            "positions",
            &format!("symbol: {{_eq: \"{symbol}\"}}, qty: {{_eq: {qty}}}, price: {{_eq: {price:?}}}"),
        );
    }

    /// Waits until a row is there.
    fn has(&self, relation: &str, condition: &str) {
        crate::support::wait_until(condition, || {
            let answer = self.graphql(&format!("{{ {relation}(where: {{{condition}}}) {{ __typename }} }}"));
            !answer["data"][relation].as_array().unwrap().is_empty()
        });
    }
}

#[test]
fn deleted_triggers_call_no_more() {
    let served = served(&[
        "triggers.retry.max-attempts=0",
        "triggers.retry.max-delay=20 ms",
        "triggers.breaker.failures=0",
    ]);
    let dead = Receiver::answering(|_, _| (500, None));
    let well = Receiver::start();
    create(&served, "positions", &dead, "dead", &hysteresis());
    create(&served, "positions", &well, "well", &hysteresis());
    for number in 0..50 {
        served.put(&format!("S{number}"), 1, 200.0);
    }
    crate::support::wait_until("all at the other", || well.delivered().len() == 50);
    crate::support::wait_until("calls", || dead.calls().len() > 20);
    let listed = served.graphql("{ positions_triggers { name waiting fired failed delivered active } }");
    let listed = &listed["data"]["positions_triggers"];
    assert_eq!(
        (&listed[0]["name"], &listed[0]["waiting"]),
        (&json!("dead"), &json!("50"))
    );
    assert_eq!(
        (&listed[1]["name"], &listed[1]["fired"]),
        (&json!("well"), &json!("50"))
    );
    let deleted = served.graphql("mutation { delete_positions_trigger(name: \"dead\") { name } }");
    assert_eq!(deleted["data"]["delete_positions_trigger"]["name"], "dead");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let calls = dead.calls().len();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(dead.calls().len(), calls);
    let gone = served.graphql("{ positions_trigger(name: \"dead\") { name } positions_triggers { name } }");
    assert_eq!(
        gone["data"],
        json!({"positions_trigger": null, "positions_triggers": [{"name": "well"}]})
    );
    let again = served.graphql("mutation { delete_positions_trigger(name: \"dead\") { name } }");
    assert_eq!(again["errors"][0]["extensions"]["code"], "NOT_FOUND");
    // A new one of that name is another.
    create(&served, "positions", &dead, "dead", &hysteresis());
    crate::support::wait_until("new calls", || dead.calls().len() > calls);
}
