//! Tokens that somebody made who may not, and tokens whose time is over while something is open.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::client::{Events, Frame, Socket};
use super::{SECRET, bearer, closed, code_of, config, encode, hmac, now, served, signed, token};

#[test]
fn tokens_that_nobody_issued() {
    let served = served(&config(""));
    let good = token(json!({}));
    let [header, claims, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let root = encode(
        json!({"sub": "ann", "iss": "issuer", "aud": "eventflux", "exp": now() + 600, "roles": ["root"]})
            .to_string()
            .as_bytes(),
    );
    let none = encode(br#"{"alg":"none"}"#);
    let by = |header: Value, secret: &str| {
        let claims = json!({"sub": "ann", "iss": "issuer", "aud": "eventflux", "exp": now() + 600, "roles": ["root"]});
        signed(&header, &claims, |message| hmac(secret.as_bytes(), message))
    };
    for tampered in [
        format!("{header}.{root}.{signature}"),
        format!("{none}.{root}."),
        format!("{none}.{root}.{signature}"),
        format!("{header}.{claims}."),
        by(json!({"alg": "HS256"}), "another secret, as long as the real one"),
        by(json!({"alg": "HS256"}), ""),
        by(json!({"alg": "HS256", "kid": "../../../../dev/null"}), ""),
        by(json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys"}), "x"),
        by(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": encode(b"x")}}), "x"),
        by(
            json!({"alg": "HS256", "x5u": "http://127.0.0.1:1/", "crit": ["x5u"]}),
            SECRET,
        ),
        good.to_uppercase(),
        format!("{good}{}", "A".repeat(10_000)),
        token(json!({"sub": null})),
        token(json!({"sub": ""})),
        token(json!({"sub": "x".repeat(300)})),
    ] {
        let answer = served.ask("GET", "/metrics", &tampered, "");
        assert_eq!(
            (answer.status, code_of(&answer.json())),
            (401, Some("TOKEN_INVALID")),
            "{tampered:.90}"
        );
        assert!(
            !answer.body.contains(signature) && !answer.body.contains("secret"),
            "{answer:?}"
        );
    }
    assert_eq!(served.ask("GET", "/metrics", &good, "").status, 200);
    // Longer than a token may be, where there is room for it.
    let mut socket = Socket::open(served.address, "/ws", "", "");
    socket.send(&json!({"type": "authenticate", "token": format!("{good}{}", "A".repeat(500_000))}));
    assert_eq!(code_of(&socket.json()), Some("TOKEN_INVALID"));
    // Larger than a head of a request may be.
    let huge = served.ask("GET", "/metrics", &"a.".repeat(50_000), "");
    assert!(matches!(huge.status, 0 | 400 | 431), "{huge:?}");
}

/// Until a token is over that has so many seconds.
fn over_after(seconds: u64) -> (String, Instant) {
    let whole = now();
    let token = token(json!({"exp": whole + seconds}));
    (token, Instant::now())
}

fn in_time(began: Instant) {
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn what_is_open_ends_with_the_token_and_is_told_why() {
    let served = served(&config(""));
    served.position("IBM", "A", 1, 1.0);
    served.has_rows(1);
    let (token, began) = over_after(3);
    let mut events = served.events_as(&token, "/events/positions");
    let mut messages = served.events_as(&token, "/events");
    let authorization = bearer(&token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let subscription = json!({"query": "subscription { positions { operation } }"}).to_string();
    let mut graphql = Events::open(served.address, "POST", "/graphql", &headers, &subscription);
    let mut socket = served.socket_as(&token);
    socket.send(&json!({"type": "subscribe", "id": "1", "stream": "positions"}));
    socket.until("ready");
    let mut transport = Socket::open(served.address, "/graphql", "graphql-transport-ws", "");
    transport.send(&json!({"type": "connection_init", "payload": {"headers": {"authorization": authorization}}}));
    transport.until("connection_ack");
    transport.send(
        &json!({"type": "subscribe", "id": "1", "payload": {"query": "subscription { positions { operation } }"}}),
    );
    assert_eq!(transport.json()["type"], "next");

    let end = events.until("end");
    assert_eq!(
        end.last().unwrap().json(),
        json!({"reason": "the token has expired", "code": "TOKEN_EXPIRED"})
    );
    assert!(events.next().is_none());
    let end = messages.until("end");
    assert_eq!(end.last().unwrap().json()["code"], "TOKEN_EXPIRED");
    let told = graphql.until("complete");
    assert_eq!(code_of(&told[told.len() - 2].json()), Some("TOKEN_EXPIRED"));
    let complete = socket.until("complete");
    assert_eq!(complete.last().unwrap()["code"], "TOKEN_EXPIRED");
    assert_eq!(code_of(&socket.json()), Some("TOKEN_EXPIRED"));
    assert_eq!(socket.receive(), Frame::Closed(4403));
    let error = transport.until("error");
    assert_eq!(code_of(error.last().unwrap()), Some("TOKEN_EXPIRED"));
    assert_eq!(closed(&mut transport), 4403);
    in_time(began);
    // And nothing new begins with it, though it is remembered.
    let answer = served.ask("GET", "/events/positions", &token, "");
    assert_eq!((answer.status, code_of(&answer.json())), (401, Some("TOKEN_EXPIRED")));
}

#[test]
fn nothing_is_sent_after_the_end_though_there_is_always_something() {
    let served = served(&config(""));
    let (token, began) = over_after(2);
    let mut socket = served.socket_as(&token);
    socket.send(&json!({"type": "subscribe", "id": "1", "stream": "positions"}));
    let (app, stop) = (served.app.clone(), began + Duration::from_secs(4));
    let sending = std::thread::spawn(move || {
        let puts = app.input("Puts").unwrap();
        let mut qty = 0;
        while Instant::now() < stop {
            qty += 1;
            puts.send(json!({"symbol": "IBM", "account": "A", "qty": qty, "cost": 1.0}))
                .unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let complete = socket.until("complete");
    assert_eq!(complete.last().unwrap()["code"], "TOKEN_EXPIRED");
    assert_eq!(closed(&mut socket), 4403);
    in_time(began);
    sending.join().unwrap();
}
