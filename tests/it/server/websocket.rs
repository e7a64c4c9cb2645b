//! `/ws`.

use serde_json::{Value, json};

use super::Served;
use super::client::{Frame, Socket};

fn open(served: &Served) -> Socket {
    let socket = Socket::open(served.address, "/ws", "", "");
    assert!(socket.headers.starts_with("http/1.1 101"), "{}", socket.headers);
    socket
}

#[test]
fn subscriptions() {
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.has_rows(1);
    let mut socket = open(&served);
    socket.send(&json!({"type": "subscribe", "id": "a", "stream": "positions", "filter": "qty > 1", "fields": "qty"}));
    let begin = socket.until("ready");
    assert_eq!(begin[0], json!({"type": "subscribed", "id": "a", "from": "rows"}));
    assert_eq!(begin[1]["changes"][0]["data"], json!({"symbol": "IBM", "qty": 5}));
    served.put("IBM", 6, 75.5);
    let change = socket.json();
    assert_eq!(
        change["changes"],
        json!([{"op": "update", "data": {"symbol": "IBM", "qty": 6}, "fields": ["qty"]}])
    );
    let token = change["resume"].clone();
    socket.send(&json!({"type": "unsubscribe", "id": "a"}));
    assert_eq!(socket.json(), json!({"type": "complete", "id": "a"}));
    served.put("IBM", 7, 75.5);
    let wanted = json!({"type": "subscribe", "id": "b", "stream": "positions", "filter": "qty > 1", "fields": "qty", "resume": token});
    socket.send(&wanted);
    assert_eq!(socket.json()["from"], "resumed");
    assert_eq!(socket.json()["changes"][0]["data"]["qty"], 7);
    // A second of the same name.
    socket.send(&wanted);
    assert_eq!(socket.json()["error"]["code"], "BAD_REQUEST");
}

#[test]
fn publishing_queries_and_requests() {
    let served = Served::start();
    let mut socket = open(&served);
    let row = |symbol: &str, qty: i64| json!({"symbol": symbol, "qty": qty, "price": 1.5});
    socket.send(&json!({"type": "publish", "id": 1.to_string(), "stream": "Puts", "rows": [row("A", 1), row("B", 2), row("C", 3)]}));
    assert_eq!(socket.json(), json!({"type": "ack", "id": "1", "rows": 3}));
    served.has_rows(3);
    socket.send(&json!({"type": "publish", "id": "2", "stream": "Puts", "row": {"symbol": 5, "qty": "x"}}));
    assert_eq!(socket.json()["error"]["code"], "BAD_REQUEST");
    socket.send(&json!({"type": "publish", "id": "3", "stream": "Drops", "row": {"symbol": "A"}}));
    assert_eq!(socket.json()["error"]["code"], "FORBIDDEN");

    socket.send(&json!({"type": "query", "id": "4", "stream": "positions", "filter": "qty > 1", "order_by": "qty DESC", "limit": 1}));
    let result = socket.json();
    assert_eq!((&result["type"], &result["total"]), (&json!("result"), &json!(1)));
    assert_eq!(result["rows"][0]["symbol"], "C");
    socket.send(&json!({"type": "query", "id": "5", "stream": "positions", "filter": "1 = 1) UNION SELECT * FROM positions WHERE (1 = 1"}));
    assert_eq!(socket.json()["error"]["code"], "BAD_REQUEST");

    socket.send(&json!({"type": "request", "id": "r'1", "stream": "Jobs", "row": {"x": 21}, "reply": "Results"}));
    let mut answers = vec![socket.json(), socket.json(), socket.json()];
    answers.sort_by_key(|answer| answer["type"].to_string());
    assert_eq!(answers[0]["type"], "ack", "{answers:?}");
    assert_eq!(answers[1]["type"], "progress", "{answers:?}");
    assert_eq!(
        (&answers[1]["type"], &answers[1]["row"]["y"]),
        (&json!("progress"), &json!(21))
    );
    assert_eq!(
        (&answers[2]["type"], &answers[2]["row"]["y"]),
        (&json!("result"), &json!(42))
    );
    assert_eq!(answers[2]["id"], "r'1");
}

#[test]
fn large_results_come_in_parts() {
    let served = Served::start();
    let rows: Vec<Value> = (0..2_500)
        .map(|n| json!({"symbol": format!("S{n}"), "qty": n, "price": 1.0}))
        .collect();
    served.app.input("Puts").unwrap().send_rows(rows).unwrap();
    served.has_rows(2_500);
    let mut socket = open(&served);
    socket.send(&json!({"type": "query", "id": "q", "stream": "positions", "order_by": "qty"}));
    let parts = socket.until("result");
    let done: Vec<i64> = parts.iter().filter_map(|part| part["done"].as_i64()).collect();
    assert_eq!(done, [1_000, 2_000]);
    let numbers = parts.iter().flat_map(|part| {
        part["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["qty"].as_i64().unwrap())
    });
    assert!(numbers.eq(0..2_500));
}

#[test]
fn the_end_is_told() {
    let mut served = Served::start();
    let mut socket = open(&served);
    let mut idle = open(&served);
    socket.send(&json!({"type": "subscribe", "id": "a", "stream": "positions"}));
    socket.until("ready");
    let server = served.server.take().unwrap();
    server.shutdown();
    assert_eq!(
        socket.json(),
        json!({"type": "complete", "id": "a", "reason": "the server ends", "code": "UNAVAILABLE"})
    );
    assert_eq!(socket.receive(), Frame::Closed(1001));
    assert_eq!(idle.receive(), Frame::Closed(1001));
}
