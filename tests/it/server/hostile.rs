//! Clients that mean no good, or are broken.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Served;
use super::client::{Events, Frame, Socket, connect, get, post};

#[test]
fn oversized_messages_and_bodies() {
    let served = Served::with(&["max.message-size=10000"]);
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(20_000));
    let answer = post(served.address, "/publish", &large);
    assert!(answer.status == 413 || answer.status == 0, "{answer:?}");
    let mut socket = Socket::open(served.address, "/ws", "", "");
    socket.frame(1, large.as_bytes());
    assert!(!matches!(socket.receive(), Frame::Text(_)));
    // A head that does not end.
    let mut stream = connect(served.address);
    let _ = stream.write_all(b"GET /health HTTP/1.1\r\n");
    for _ in 0..2_000 {
        if stream
            .write_all(b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
            .is_err()
        {
            break;
        }
    }
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    assert_eq!(get(served.address, "/health").status, 200);
}

#[test]
fn what_is_no_json_and_no_text() {
    let served = Served::start();
    let mut socket = Socket::open(served.address, "/ws", "", "");
    for text in [
        "",
        "{",
        "null",
        "[]",
        "5",
        "{\"type\":\"what\"}",
        "{\"type\":\"subscribe\"}",
        "{\"id\":5}",
    ] {
        socket.frame(1, text.as_bytes());
        assert_eq!(socket.json()["error"]["code"], "BAD_REQUEST", "{text}");
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    socket.frame(
        1,
        format!("{{\"type\":\"publish\",\"id\":\"1\",\"stream\":\"Puts\",\"row\":{{\"symbol\":{deep}}}}}").as_bytes(),
    );
    assert_eq!(socket.json()["type"], "error");
    // Bytes that are no UTF-8, and a binary message, end the connection.
    socket.frame(1, &[0xff, 0xfe, 0x80]);
    assert!(!matches!(socket.receive(), Frame::Text(_)));
    let mut socket = Socket::open(served.address, "/ws", "", "");
    socket.frame(2, b"{}");
    assert_eq!(socket.receive(), Frame::Closed(1003));
    let answer = post(served.address, "/graphql", "\u{0}\u{1}");
    assert_eq!(answer.status, 400);
}

#[test]
fn deep_and_wide_documents() {
    let served = Served::start();
    let deep = |depth: usize| {
        format!(
            "{{ {} a {} }}",
            "__schema { types { fields { type {".repeat(depth),
            "} } } }".repeat(depth)
        )
    };
    let nested = format!(
        "{{ positions(where: {}{}) {{ symbol }} }}",
        "{_not: ".repeat(60),
        "{}".to_string() + &"}".repeat(60)
    );
    let wide: String = (0..2_000).map(|n| format!("a{n}: positions {{ symbol }} ")).collect();
    for query in [
        deep(10),
        deep(500),
        nested,
        format!("{{ {wide} }}"),
        "{".repeat(50_000),
        "{ positions { symbol @include(if: true) @include(if: true) } } ".repeat(20),
        "query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_string(),
    ] {
        let answer = post(served.address, "/graphql", &json!({"query": query}).to_string());
        assert!(
            answer.status == 200 && answer.json()["errors"].is_array(),
            "{:.80}: {answer:?}",
            query
        );
    }
    assert_eq!(get(served.address, "/health").status, 200);
}

#[test]
fn thousands_of_subscriptions_and_messages() {
    let served = Served::with(&["max.subscriptions=10", "max.messages-per-second=500"]);
    let mut socket = Socket::open(served.address, "/ws", "", "");
    for id in 0..3_000 {
        socket.send(&json!({"type": "subscribe", "id": id.to_string(), "stream": "positions"}));
    }
    let (mut subscribed, mut refused) = (0, 0);
    while subscribed < 10 || refused + subscribed < 3_000 {
        match socket.json() {
            message if message["type"] == "subscribed" => subscribed += 1,
            message if message["type"] == "error" => {
                assert_eq!(message["error"]["code"], "TOO_MANY_REQUESTS");
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!(subscribed, 10);
}

#[test]
fn too_many_connections() {
    let served = Served::with(&["max.connections=3"]);
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut events = Events::get(served.address, "/events/positions");
            events.until("ready");
            events
        })
        .collect();
    let mut stream = connect(served.address);
    let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut byte = [0];
    assert!(!matches!(stream.read(&mut byte), Ok(1)), "it is refused");
    drop(held);
    drop(stream);
    crate::support::wait_until("room", || {
        served.put("IBM", 1, 1.0);
        get(served.address, "/health").status == 200
    });
}

#[test]
fn slow_requests_are_ended() {
    let served = Served::with(&["request.timeout=300ms"]);
    // A head, a byte at a time.
    let mut slow = connect(served.address);
    let began = Instant::now();
    let mut ended = false;
    for byte in b"GET /health HTTP/1.1\r\nhost: x\r\nx-a: b\r\nx-c: d\r\n"
        .iter()
        .cycle()
        .take(200)
    {
        if slow.write_all(&[*byte]).is_err() {
            ended = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    assert!(ended, "a slow head is not waited for");
    // A body that does not come.
    let mut stream = connect(served.address);
    let head = "POST /publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = [0; 12];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 408");
    // A connection on which nothing happens at all.
    let mut silent = connect(served.address);
    let began = Instant::now();
    let mut byte = [0];
    assert!(!matches!(silent.read(&mut byte), Ok(1)));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_does_not_read_is_ended_and_holds_nobody_up() {
    let served = Served::with(&["send.timeout=500ms", "queue=64"]);
    let mut reader = Socket::open(served.address, "/ws", "", "");
    reader.send(&json!({"type": "subscribe", "id": "a", "stream": "positions"}));
    reader.until("ready");
    // It asks for all, and reads nothing of it.
    let mut stuck = Socket::open(served.address, "/ws", "", "");
    stuck.send(&json!({"type": "subscribe", "id": "a", "stream": "positions"}));
    let text = "x".repeat(5_000);
    let puts = served.app.input("Puts").unwrap();
    let mut last = 0;
    let end = Instant::now() + Duration::from_secs(15);
    let sockets = |count: usize| {
        get(served.address, "/metrics")
            .body
            .contains(&format!("eventflux_server_websockets {count}\n"))
    };
    while !sockets(1) {
        assert!(Instant::now() < end, "who reads nothing is still there");
        let rows: Vec<Value> = (0..200)
            .map(|n| json!({"symbol": format!("{text}{n}"), "qty": last * 200 + n, "price": 1.0}))
            .collect();
        puts.send_rows(rows).unwrap();
        last += 1;
        // The other gets the last of it.
        let wanted = (last - 1) * 200 + 199;
        loop {
            let message = reader.json();
            let changes = message["changes"].as_array().cloned().unwrap_or_default();
            if changes.iter().any(|change| change["data"]["qty"] == wanted) {
                break;
            }
        }
    }
}

#[test]
fn who_is_disconnected_for_being_slow_is_told() {
    let served = Served::with(&["queue=16"]);
    let mut events = Events::get(served.address, "/events/positions?policy=disconnect&every=2%20seconds");
    events.until("ready");
    served.put("FIRST", 1, 1.0);
    events.next();
    for n in 0..500 {
        served.put(&format!("S{n}"), n, 1.0);
    }
    assert_eq!(
        events.until("end").last().unwrap().json(),
        json!({"reason": "too slow", "code": "TOO_SLOW"})
    );
    // And who lets changes be dropped is told how many.
    let mut events = Events::get(
        served.address,
        "/events/positions?policy=drop-oldest&every=1%20seconds&snapshot=false",
    );
    events.until("open");
    crate::support::wait_until("a subscriber", || {
        get(served.address, "/metrics")
            .body
            .contains("eventflux_live_subscribers 1\n")
    });
    served.put("FIRST", 2, 2.0);
    events.next();
    for n in 0..500 {
        // Of one row several could become one before they are changes of the table.
        served.put(&format!("S{n}"), n + 1_000, 2.0);
    }
    let missed = events.until("missed").last().unwrap().json()["count"].as_u64().unwrap();
    let kept = events.next().unwrap().json().as_array().unwrap().len() as u64;
    assert!(missed > 0 && kept <= 16, "{missed} missed, {kept} kept");
}

#[test]
fn pages_of_other_origins_open_no_sockets() {
    let served = Served::with(&["cors.origins=https://good.example"]);
    for (origin, status) in [
        ("origin: https://evil.example\r\n".to_string(), "403"),
        ("origin: null\r\n".to_string(), "403"),
        ("origin: https://good.example\r\n".to_string(), "101"),
        (format!("origin: http://{}\r\n", served.address), "101"),
        (String::new(), "101"),
    ] {
        let socket = Socket::open(served.address, "/ws", "", &origin);
        assert!(
            socket.headers.starts_with(&format!("http/1.1 {status}")),
            "{origin}: {}",
            socket.headers
        );
    }
}
