//! Triggers: who may make them, what they tell of rows and columns that their owner may not see, and who sees them.

use serde_json::{Value, json};

use super::super::triggers::receiver::Receiver;
use super::{Served, config, served, token};
use crate::support::wait_until;

fn create(served: &Served, token: &str, name: &str, receiver: &Receiver, fire: &str) -> Value {
    let url = receiver.url();
    let query = format!(
        "mutation {{ create_positions_trigger(input: {{name: \"{name}\", webhook: \"{url}\", fire: {fire}}}) {{ name owner }} }}"
    );
    served.graphql_as(token, &query)
}

#[test]
fn a_trigger_sees_what_its_owner_sees_and_is_seen_by_no_other() {
    let more = "\n[server.triggers]\nallow-private = true\n";
    let text = config(more).replace(
        "[server.auth.roles.trader]\n",
        "[server.auth.roles.trader]\ntrigger = ['positions']\n",
    );
    let served = served(&text);
    let (ann, bob, root) = (
        token(json!({})),
        token(json!({"sub": "bob", "account": "B"})),
        token(json!({"sub": "root", "roles": ["root"]})),
    );
    let outsider = token(json!({"sub": "eve", "roles": ["outsider"]}));
    let receiver = Receiver::start();
    let refused = create(&served, &outsider, "x", &receiver, "{qty: {_gt: 1}}");
    assert!(refused["errors"].is_array() && refused["data"].is_null(), "{refused}");
    let refused = create(&served, &ann, "x", &receiver, "{_not: {_or: [{cost: {_gt: 1}}]}}");
    assert!(
        refused["errors"][0]["message"].as_str().unwrap().contains("cost"),
        "{refused}"
    );
    let created = create(&served, &ann, "large", &receiver, "{qty: {_gt: \"10\"}}");
    assert_eq!(
        created["data"]["create_positions_trigger"],
        json!({"name": "large", "owner": "ann"}),
        "{created}"
    );

    // Of B: nothing. Of A: it fires without the cost; it goes to B: it clears with the key alone.
    served.position("XYZ", "B", 20, 1.0);
    served.position("IBM", "A", 20, 2.0);
    wait_until("FIRE", || receiver.delivered().len() == 1);
    served.position("IBM", "B", 30, 3.0);
    wait_until("CLEAR", || receiver.delivered().len() == 2);
    let bodies: Vec<(String, Value)> = receiver
        .delivered()
        .iter()
        .map(|call| (call.kind().to_string(), call.body["data"].clone()))
        .collect();
    let expected = [
        ("FIRE".to_string(), json!({"symbol": "IBM", "account": "A", "qty": 20})),
        ("CLEAR".to_string(), json!({"symbol": "IBM"})),
    ];
    assert_eq!(bodies, expected);

    let names =
        |token: &str| served.graphql_as(token, "{ positions_triggers { name } }")["data"]["positions_triggers"].clone();
    assert_eq!(names(&ann), json!([{"name": "large"}]));
    assert_eq!(names(&bob), json!([]));
    assert_eq!(names(&root), json!([{"name": "large"}]));
    let delete = "mutation { delete_positions_trigger(name: \"large\") { name } }";
    assert_eq!(
        served.graphql_as(&bob, delete)["errors"][0]["extensions"]["code"],
        "NOT_FOUND"
    );
    assert!(served.graphql_as(&outsider, delete)["errors"].is_array());
    assert_eq!(
        served.graphql_as(&root, delete)["data"]["delete_positions_trigger"]["name"],
        "large"
    );
    assert_eq!(names(&ann), json!([]));
}
