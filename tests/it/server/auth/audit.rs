//! The audit: what is in it, what is not, and what happens when it cannot be written.

use serde_json::{Value, json};

use super::super::client::{Socket, get};
use super::{Served, closed, code_of, config, served, token};
use crate::support::{Scratch, wait_until};

fn with_audit(scratch: &Scratch, more: &str) -> Served {
    let file = scratch.path("audit.jsonl").display().to_string();
    served(&config(&format!("\n[server.audit]\nfile = '{file}'\n{more}")))
}

/// The lines, as soon as there are so many.
fn lines(scratch: &Scratch, count: usize) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let lines = scratch.lines("audit.jsonl");
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_until(format!("{count} lines"), || read().len() >= count);
    read()
}

fn short(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or("-").to_string();
    let all = ["event", "principal", "endpoint", "relation", "code"].map(text);
    all.join(" ")
}

#[test]
fn who_signed_in_and_who_was_refused() {
    let scratch = Scratch::new();
    let served = with_audit(&scratch, "");
    let (ann, outsider) = (token(json!({})), token(json!({"sub": "eve", "roles": ["outsider"]})));
    let tampered = format!("{}x", token(json!({})));
    get(served.address, "/metrics");
    for token in [&ann, &ann, &outsider, &tampered] {
        served.ask("GET", "/metrics", token, "");
    }
    served.graphql_as(&outsider, "{ positions { symbol } }");
    served.graphql_as(&ann, "{ positions { cost } }");
    served.ask("GET", "/events/positions?filter=cost%3D1", &ann, "");
    served.ask("POST", "/publish", "the key of the dashboard", "{\"data\": 1}");
    served.ask("POST", "/publish", &outsider, "{\"data\": 1}");
    let mut socket = Socket::open(served.address, "/ws", "", "");
    socket.send(&json!({"type": "ping"}));
    closed(&mut socket);
    let mut socket = served.socket_as(&outsider);
    socket.send(&json!({"type": "publish", "id": "1", "stream": "Secret", "row": {}}));
    socket.json();
    let lines = lines(&scratch, 12);
    let got: Vec<String> = lines.iter().map(short).collect();
    assert_eq!(
        got,
        [
            "refusal nobody /metrics - UNAUTHENTICATED",
            "sign-in ann /metrics - OK",
            "sign-in eve /metrics - OK",
            "refusal eve /metrics - FORBIDDEN",
            "refusal nobody /metrics - TOKEN_INVALID",
            "refusal eve /graphql positions FORBIDDEN",
            "refusal ann /graphql positions FORBIDDEN",
            "refusal ann /events positions FORBIDDEN",
            "sign-in dashboard /publish - OK",
            "refusal eve /publish messages FORBIDDEN",
            "refusal nobody /ws - UNAUTHENTICATED",
            "refusal eve /ws Secret FORBIDDEN",
        ]
    );
    for line in &lines {
        assert!(line["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    assert_eq!(
        (&lines[1]["by"], &lines[1]["roles"]),
        (&json!("token"), &json!(["trader"]))
    );
    assert_eq!(lines[8]["by"], "key");
    // Nothing that one could sign in with.
    let text = scratch.read("audit.jsonl");
    for secret in [&ann[..], &ann[ann.len() - 20..], "the key of", super::SECRET] {
        assert!(!text.contains(secret), "{secret}");
    }
    let metrics = served.ask("GET", "/metrics", &ann, "").body;
    assert!(metrics.contains("eventflux_server_audit_written_total 12"), "{metrics}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(scratch.path("audit.jsonl"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_clients_were_sent() {
    let scratch = Scratch::new();
    let served = with_audit(&scratch, "events = 'sent'\nsent = 'rows'");
    served.position("IBM", "A", 1, 2.0);
    served.position("XYZ", "B", 1, 2.0);
    served.has_rows(2);
    let ann = token(json!({}));
    served.graphql_as(&ann, "{ positions { symbol } }");
    let mut events = served.events_as(&ann, "/events/positions");
    events.until("ready");
    served.position("IBM", "A", 5, 2.0);
    assert_eq!(events.next().unwrap().name, "update");
    let mut socket = served.socket_as(&ann);
    socket.send(&json!({"type": "query", "id": "1", "stream": "Totals"}));
    socket.json();
    let mut messages = served.events_as(&ann, "/events");
    messages.until("open");
    served.ask("POST", "/publish", &ann, "{\"data\": {\"x\": 1}}");
    messages.next().unwrap();
    let lines = lines(&scratch, 5);
    let got: Vec<(String, &Value, &Value)> = lines
        .iter()
        .map(|line| (short(line), &line["rows"], &line["data"]))
        .collect();
    let row = |qty: i64| json!({"symbol": "IBM", "account": "A", "qty": qty});
    assert_eq!(
        got[0],
        ("sent ann /graphql positions QUERY".into(), &json!(1), &json!([row(1)]))
    );
    let insert = json!([{"op": "insert", "data": row(1), "fields": ["symbol", "account", "qty"]}]);
    assert_eq!(
        got[1],
        ("sent ann /events positions CHANGES".into(), &json!(1), &insert)
    );
    let update = json!([{"op": "update", "data": {"symbol": "IBM", "qty": 5}, "fields": ["qty"]}]);
    assert_eq!(
        got[2],
        ("sent ann /events positions CHANGES".into(), &json!(1), &update)
    );
    assert_eq!((got[3].0.as_str(), got[3].1), ("sent ann /ws Totals QUERY", &json!(2)));
    assert_eq!(
        got[4],
        (
            "sent ann /events messages MESSAGE".into(),
            &json!(1),
            &json!([{"x": 1}])
        )
    );
}

#[test]
#[cfg(target_os = "linux")]
fn what_cannot_be_noted_is_not_done_or_is_counted() {
    let full = |on_failure: &str| {
        let audit = format!(
            "\n[server.audit]\nfile = '/dev/full'\nevents = 'sign-in, sent, refusal'\non-failure = '{on_failure}'"
        );
        served(&config(&audit).replace(
            "[server.auth.jwt]",
            "[server.auth]\nopen = ['metrics']\n[server.auth.jwt]",
        ))
    };
    let ann = token(json!({}));
    let missed = |served: &Served| {
        let metrics = get(served.address, "/metrics").body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("eventflux_server_audit_missed_total"))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let strict = full("refuse");
    // The first may come in before it is known that the disk is full.
    wait_until("nobody comes in", || {
        let answer = strict.ask("GET", "/", &token(json!({"sub": "new"})), "");
        answer.status == 503 && code_of(&answer.json()) == Some("AUDIT_FAILED")
    });
    let refused = strict.ask("POST", "/graphql", &ann, "{\"query\": \"{ positions { symbol } }\"}");
    assert_eq!((refused.status, code_of(&refused.json())), (503, Some("AUDIT_FAILED")));
    // A refusal is one all the same.
    assert_eq!(get(strict.address, "/").status, 401);
    assert!(missed(&strict) > 0);
    let lenient = full("drop");
    for _ in 0..3 {
        assert_eq!(
            lenient.graphql_as(&ann, "{ positions { symbol } }"),
            json!({"data": {"positions": []}})
        );
    }
}
