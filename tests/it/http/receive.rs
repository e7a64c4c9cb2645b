//! The receiver: what it takes and what it refuses.

use std::collections::BTreeSet;
use std::io::Write;

use super::client::{App, Client, free_port, request, sql};
use crate::support::{Scratch, wait_until};

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn each_request_is_answered_by_what_it_is() {
    let mut app = App::start("");
    let cases: &[(&str, Vec<u8>, u16)] = &[
        ("an object", request("/orders", JSON, br#"{"id":1,"item":"a"}"#), 202),
        ("an array", request("/orders", JSON, br#"[{"id":2},{"id":3}]"#), 202),
        (
            "lines",
            request(
                "/orders",
                "content-type: application/x-ndjson\r\n",
                b"{\"id\":4}\n{\"id\":5}\n",
            ),
            202,
        ),
        (
            "several lines of one document",
            request("/orders", JSON, b"{\n  \"id\": 6\n}\n"),
            202,
        ),
        (
            "a byte-order mark",
            request("/orders", JSON, b"\xEF\xBB\xBF{\"id\":7}"),
            202,
        ),
        (
            "an own media type",
            request(
                "/orders",
                "content-type: application/vnd.x+json; charset=utf-8\r\n",
                br#"{"id":8}"#,
            ),
            202,
        ),
        ("no media type", request("/orders", "", br#"{"id":9}"#), 202),
        ("no event", request("/orders", JSON, b"[]"), 202),
        ("a query", request("/orders?a=b", JSON, br#"{"id":10}"#), 202),
        (
            "one of two",
            request("/orders", JSON, b"{\"id\":11}\n{\"id\":\"x\"}\n"),
            202,
        ),
        ("no body", request("/orders", JSON, b""), 400),
        ("blanks", request("/orders", JSON, b" \n "), 400),
        ("no JSON", request("/orders", JSON, b"<html>"), 400),
        ("cut off", request("/orders", JSON, br#"{"id":1,"it"#), 400),
        (
            "another type",
            request("/orders", JSON, br#"[{"id":"x"},{"id":"y"}]"#),
            400,
        ),
        (
            "no UTF-8",
            request("/orders", JSON, b"{\"id\":1,\"item\":\"\xFF\"}"),
            400,
        ),
        (
            "a form",
            request(
                "/orders",
                "content-type: application/x-www-form-urlencoded\r\n",
                b"id=1",
            ),
            415,
        ),
        (
            "another encoding",
            request("/orders", &format!("{JSON}content-encoding: br\r\n"), b"{}"),
            415,
        ),
        ("another path", request("/order", JSON, b"{}"), 404),
        ("the root", request("/", JSON, b"{}"), 404),
        ("a GET", b"GET /orders HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), 405),
        (
            "a PUT",
            b"PUT /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_vec(),
            405,
        ),
    ];
    let mut client = app.client();
    for (what, request, status) in cases {
        // Each on one connection that goes on: no answer spoils the next.
        let answer = client.ask(request);
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        if answer.status >= 400 {
            let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert!(!told["error"].as_str().unwrap().is_empty(), "{what}");
        }
        if answer.status == 405 {
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    let bad = client.ask(request("/orders", JSON, br#"{"id":"x"}"#));
    assert!(bad.body.contains("column 'id': expected LONG"), "{bad:?}");
    assert_eq!(app.ids(11), (1..=11).collect::<Vec<_>>());
    app.running.signal(libc::SIGTERM);
    app.running.wait_for("the end", |_| {
        std::net::TcpStream::connect(("127.0.0.1", app.port)).is_err()
    });
    app.running.end().code(0);
}

/// Requests that are decoded together have each their own answer.
#[test]
fn a_bad_body_takes_only_itself() {
    let app = App::start(", error.log-level = 'off'");
    let (threads, each) = (8, 60);
    let posting = |thread: i64| {
        let mut client = app.client();
        move || {
            for n in 0..each {
                let id = thread * each + n;
                let (body, wanted) = match n % 4 {
                    0 => (format!("{{\"id\":{id}"), 400),
                    1 => (format!("[{{\"id\":\"x\"}},{{\"id\":{id}}}]"), 202),
                    2 => (format!("{{\"id\":{id},\n\"item\":\"}}\"}}"), 202),
                    _ => (format!("{{\"id\":{id}}}"), 202),
                };
                let answer = client.post("/orders", "", body.as_bytes());
                assert_eq!(answer.status, wanted, "{body}: {answer:?}");
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(posting(thread));
        }
    });
    let good: BTreeSet<i64> = (0..threads * each).filter(|id| id % each % 4 != 0).collect();
    let came = app.ids(good.len());
    assert_eq!(came.len(), good.len());
    assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), good);
}

#[test]
fn any_way_of_framing_http() {
    let app = App::start("");
    let mut client = app.client();
    // In pieces, then two requests at once, then the older protocol.
    client.write("POST /orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n");
    client.write("3\r\n:1}\r\n0\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 202);
    let both = [
        request("/orders", "", br#"{"id":2}"#),
        request("/orders", "", br#"{"id":"x"}"#),
    ]
    .concat();
    client.write(both);
    assert_eq!(client.answer().unwrap().status, 202);
    assert_eq!(client.answer().unwrap().status, 400);
    let answer = client.ask("POST /orders HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 8\r\n\r\n");
    assert_eq!(answer.status, 100);
    assert_eq!(client.ask(br#"{"id":3}"#).status, 202);
    let answer = client.ask("POST /orders HTTP/1.0\r\ncontent-length: 8\r\n\r\n{\"id\":4}");
    assert_eq!(answer.status, 202);
    assert_eq!(client.answer(), None, "the older protocol closes");
    // What is no HTTP, and what could be read in two ways.
    for nonsense in [
        "\x16\x03\x01\x02\r\n\r\n".to_string(),
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_string(),
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_string(),
        "POST /orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n".to_string(),
        format!(
            "POST /orders HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
            "y".repeat(64 << 10)
        ),
        format!("POST /orders HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000)),
    ] {
        let mut client = app.client();
        let _ = client.0.write_all(nonsense.as_bytes());
        let answer = client.answer();
        assert!(
            answer
                .as_ref()
                .is_none_or(|answer| (400..=431).contains(&answer.status)),
            "{answer:?}"
        );
    }
    assert_eq!(app.client().post("/orders", "", br#"{"id":5}"#).status, 202);
    assert_eq!(app.ids(5), [1, 2, 3, 4, 5]);
}

#[test]
fn who_may_call() {
    use base64::Engine;
    let basic = |text: &str| {
        format!(
            "authorization: Basic {}\r\n",
            base64::engine::general_purpose::STANDARD.encode(text)
        )
    };
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let key = |key: &str| format!("x-key: {key}\r\n");
    let cases = [
        (
            ", \"http.auth\" = 'bearer', \"http.bearer-token\" = 'old new'",
            vec![
                bearer("old"),
                bearer("new"),
                "authorization: bearer  new\r\n".to_string(),
            ],
            vec![
                String::new(),
                bearer("old new"),
                bearer(""),
                bearer("ne"),
                basic("new:"),
                key("new"),
            ],
            "Bearer",
        ),
        (
            ", \"http.basic.user\" = 'ada', \"http.basic.password\" = 'l:ove'",
            vec![basic("ada:l:ove")],
            vec![String::new(), basic("ada:love"), basic("ada"), bearer("ada:l:ove")],
            "Basic",
        ),
        (
            ", \"http.auth\" = 'api-key', \"http.api-key\" = '${KEYS:k1 k2}', \"http.api-key.header\" = 'X-Key'",
            vec![key("k1"), key("k2")],
            vec![String::new(), key("k3"), key(""), "x-api-key: k1\r\n".to_string()],
            "ApiKey",
        ),
    ];
    for (options, right, wrong, scheme) in cases {
        let app = App::start(options);
        for headers in &right {
            assert_eq!(
                app.client().post("/orders", headers, br#"{"id":1}"#).status,
                202,
                "{headers}"
            );
        }
        for headers in &wrong {
            let answer = app.client().post("/orders", headers, br#"{"id":2}"#);
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, Some(scheme)),
                "{headers}"
            );
        }
        assert_eq!(app.ids(right.len()), vec![1; right.len()]);
    }
}

#[test]
fn bodies_are_limited_also_when_they_are_compressed() {
    let app = App::start(", \"http.max-body-bytes\" = 10000");
    let long = format!("[{}]", vec![r#"{"id":1}"#; 2_000].join(","));
    // Its length is enough to refuse it.
    let mut client = app.client();
    let answer = client.ask(format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        1u64 << 40
    ));
    assert_eq!(answer.status, 413);
    let mut client = app.client();
    client.write("POST /orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{long}\r\n", long.len());
    client.write(chunk);
    assert_eq!(client.answer().unwrap().status, 413);
    let gzip = |bytes: &[u8]| {
        let mut command = std::process::Command::new("gzip");
        let mut child = command
            .arg("-9")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&bytes));
        let packed = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        packed
    };
    let packed = "content-encoding: gzip\r\n";
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 10_000);
    assert_eq!(app.client().post("/orders", packed, bomb).status, 413);
    assert_eq!(app.client().post("/orders", packed, gzip(long.as_bytes())).status, 413);
    assert_eq!(app.client().post("/orders", packed, b"{\"id\":1}").status, 400);
    assert_eq!(
        app.client().post("/orders", packed, &gzip(br#"{"id":7}"#)[..12]).status,
        400
    );
    assert_eq!(app.client().post("/orders", packed, gzip(br#"{"id":7}"#)).status, 202);
    assert_eq!(app.ids(1), [7]);
}

#[test]
fn streams_share_an_address_and_not_a_path() {
    let scratch = Scratch::new();
    let port = free_port();
    let more = |path: &str, method: &str, options: &str| {
        format!(
            "CREATE STREAM More (id LONG, item STRING) WITH (type = 'source', extension = 'http', \"http.bind\" = '127.0.0.1:{port}',
               \"http.path\" = '{path}', \"http.method\" = '{method}'{options});
             INSERT INTO Out SELECT id, 'more' AS item FROM More;"
        )
    };
    let refused = |more: String, code: i32, why: &str| {
        scratch.write("app.sql", sql(port, "") + &more);
        scratch.run(["run", "app.sql"]).code(code).complains(why);
    };
    refused(
        more("/orders", "POST", ""),
        2,
        "'Orders' takes POST /orders there already",
    );
    refused(
        more("/more", "POST", ", \"http.max-connections\" = 7"),
        2,
        "'Orders' listens there as well, with another http.max-connections",
    );
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    refused(more("/more", "POST", ""), 1, "cannot listen on 127.0.0.1");
    drop(taken);
    scratch.write("app.sql", sql(port, "") + &more("/orders", "PUT", ""));
    let app = App::run(scratch, port, &["run", "app.sql"]);
    let mut client = app.client();
    assert_eq!(client.post("/orders", "", br#"{"id":1}"#).status, 202);
    let put = request("/orders", "", br#"{"id":2}"#);
    wait_until("the other stream", || {
        client.ask([b"PUT".as_slice(), &put[4..]].concat()).status == 202
    });
    let answer = client.ask("GET /orders HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!((answer.status, allowed), (405, vec!["POST", "PUT"]));
    let mut came = app.ids(2);
    came.sort_unstable();
    assert_eq!(came, [1, 2]);
}

#[test]
fn what_cannot_be_is_told_before_it_starts() {
    let scratch = Scratch::new();
    let cases = [
        ("bind", "", "a receiver needs the option 'http.bind'"),
        ("bind", ", \"http.bind\" = 'everywhere'", "an address and a port"),
        ("", ", \"http.method\" = 'GET'", "which a GET has not"),
        (
            "",
            ", \"http.bearer-token\" = 'a', \"http.api-key\" = 'b'",
            "another way to sign in",
        ),
        ("", ", \"http.auth\" = 'basic'", "needs http.basic.user"),
        (
            "",
            ", \"http.auth\" = 'none', \"http.api-key\" = 'b'",
            "http.auth is 'none'",
        ),
        ("", ", \"http.secret\" = 'x'", "does not say how requests are signed"),
        ("", ", \"http.hmac\" = 'standard-webhooks'", "needs http.secret"),
        ("", ", \"http.interval\" = '1 s'", "belongs to \"http.mode\" = 'poll'"),
        ("", ", \"http.tls.cert\" = 'x.pem'", "it needs http.tls.key"),
        ("", ", \"http.column.who\" = 'remote'", "no column 'who'"),
        ("", ", \"http.column.id\" = 'remote'", "must be STRING"),
        ("", ", \"http.column.item\" = 'body'", "nothing that a request has"),
        ("bind", ", \"http.mode\" = 'poll'", "needs the option 'http.url'"),
        (
            "bind",
            ", \"http.mode\" = 'poll', \"http.url\" = 'http://x/', \"http.page.param\" = 'c'",
            "needs http.page.next",
        ),
        (
            "bind",
            ", \"http.mode\" = 'poll', \"http.url\" = 'http://x/', \"http.ack\" = 'durable'",
            "belongs to",
        ),
        (
            "bind",
            ", \"http.mode\" = 'poll', \"http.url\" = 'ftp://x/'",
            "http:// or https://",
        ),
    ];
    for (without, options, why) in cases {
        let mut text = sql(1, options);
        if without == "bind" {
            text = text.replacen("\"http.bind\" = '127.0.0.1:1',", "", 1).replacen(
                "\"http.path\" = '/orders'",
                "format = 'json'",
                1,
            );
        }
        scratch.write("app.sql", text);
        scratch.run(["validate", "app.sql"]).code(2).complains(why);
    }
    scratch.write("app.sql", sql(free_port(), ", \"http.ack\" = 'durable'"));
    scratch.run(["run", "app.sql"]).code(1).complains("needs checkpoints");
}

#[test]
fn columns_that_are_not_in_the_body() {
    let scratch = Scratch::new();
    let port = free_port();
    let text = "CREATE STREAM Orders (source STRING, id LONG, tenant STRING, way STRING, who STRING, at TIMESTAMP)
                WITH (type = 'source', extension = 'http', \"http.bind\" = '127.0.0.1:PORT', \"http.path\" = '/orders',
                      \"http.column.source\" = 'header:X-Source', \"http.column.tenant\" = 'query:tenant',
                      \"http.column.way\" = 'path', \"http.column.who\" = 'remote', \"http.column.at\" = 'time');
                CREATE STREAM Out (id LONG, text STRING) WITH (type = 'sink', extension = 'file', \"file.path\" = 'out.ndjson');
                INSERT INTO Out SELECT id, concat_ws(' ', source, coalesce(tenant, '-'), way, who,
                       CASE WHEN at > TIMESTAMP '2020-01-01T00:00:00Z' THEN 'now' END) FROM Orders;";
    scratch.write("app.sql", text.replace("PORT", &port.to_string()));
    let app = App::run(scratch, port, &["run", "app.sql"]);
    let mut client = app.client();
    assert_eq!(
        client
            .post(
                "/orders?tenant=a%20b",
                "x-source: one\r\n",
                br#"[{"id":1},{"id":"x"},{"id":2}]"#
            )
            .status,
        202
    );
    assert_eq!(client.post("/orders", "", br#"{"id":"x"}"#).status, 400);
    assert_eq!(client.post("/orders", "x-source: two\r\n", br#"{"id":3}"#).status, 202);
    assert_eq!(app.ids(3), [1, 2, 3]);
    let texts: Vec<String> = app.scratch.lines("out.ndjson");
    assert!(
        texts[0].contains("one a b /orders 127.0.0.1 now") && texts[1].contains("one a b"),
        "{texts:?}"
    );
    assert!(texts[2].contains("two - /orders 127.0.0.1 now"), "{texts:?}");
}

/// Bodies whose first line says what follows are read one by one.
#[test]
fn csv_with_a_header() {
    let app = App::start(", format = 'csv', \"csv.header\" = 'true'");
    let csv = "content-type: text/csv\r\n";
    let mut client: Client = app.client();
    assert_eq!(
        client
            .ask(request("/orders", csv, b"item,id\na,1\n\"b\nc\",2\n"))
            .status,
        202
    );
    assert_eq!(
        client.ask(request("/orders", csv, b"id,item\n3,\"open\n4,x\n")).status,
        400
    );
    assert_eq!(client.ask(request("/orders", csv, b"id,item\n5,\n")).status, 202);
    assert_eq!(client.ask(request("/orders", JSON, b"id,item\n5,\n")).status, 415);
    assert_eq!(app.ids(3), [1, 2, 5]);
}
