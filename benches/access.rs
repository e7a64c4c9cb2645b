//! What it costs that somebody has to sign in: requests to the server over one connection, without authentication, by an API key, and by
//! a token that was verified before.
//!
//! `cargo bench --features server --bench access`. Each line is the time from sending a request until its answer is there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eventflux::error::SourceText;
use eventflux::server::Server;
use eventflux::{App, EventFlux, Layers};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WARM_UP: usize = 2_000;
const REQUESTS: usize = 20_000;
const SECRET: &str = "a secret that is known to the issuer";

const APP: &str = "
    CREATE STREAM Puts (symbol STRING, account STRING, qty LONG);
    CREATE TABLE positions (symbol STRING PRIMARY KEY, account STRING, qty LONG);
    UPSERT INTO positions SELECT symbol, account, qty FROM Puts;
";

const SERVER: &str = "
    [server]
    bind = '127.0.0.1:0'
    expose = ['positions']
";

const AUTH: &str = "
    [server.auth]
    open = ['health']
    [server.auth.jwt]
    secret = 'a secret that is known to the issuer'
    [[server.auth.keys]]
    name = 'key'
    key = 'the key of the benchmark'
    roles = ['all']
    [server.auth.roles.all]
    read = '*'
    metrics = true
    [server.auth.roles.own]
    read = '*'
    [server.auth.roles.own.relations.positions]
    row_filter = 'account = claims.account'
";

fn main() {
    println!("{REQUESTS} requests, microseconds until the answer");
    println!("{:32} {:>8} {:>8} {:>8}", "", "mean", "p50", "p99");
    let (query, ready) = ("{ positions(where: {symbol: {_eq: \"S5\"}}) { qty } }", "/ready");
    let open = Served::start("");
    open.measure("ready", "", ready, "");
    open.measure("query", "", "/graphql", query);
    let closed = Served::start(AUTH);
    let key = "Bearer the key of the benchmark".to_string();
    let all = format!("Bearer {}", token("all"));
    let own = format!("Bearer {}", token("own"));
    for (name, credential) in [("by a key", &key), ("by a token", &all)] {
        closed.measure(&format!("ready, {name}"), credential, ready, "");
        closed.measure(&format!("query, {name}"), credential, "/graphql", query);
    }
    closed.measure("query, with a row filter", &own, "/graphql", query);
    let forgetful = Served::start(&AUTH.replace("open = ['health']", "open = ['health']\nremember = 0"));
    forgetful.measure("ready, by a token, not remembered", &all, ready, "");
}

fn token(role: &str) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(json!({"alg": "HS256"}).to_string());
    let claims = encode(json!({"sub": "ann", "exp": 4_000_000_000_u64, "roles": [role], "account": "A5"}).to_string());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, format!("{header}.{claims}").as_bytes());
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

struct Served {
    _app: App,
    _server: Server,
    address: SocketAddr,
}

impl Served {
    fn start(auth: &str) -> Self {
        let layers = Layers::default().toml(SourceText::new("bench.toml", format!("{SERVER}{auth}")));
        let app = EventFlux::builder()
            .sql(APP)
            .config(layers.expect("a valid configuration"));
        let app = app.build().expect("a valid app");
        app.start().expect("it starts");
        let puts = app.input("Puts").expect("the stream exists");
        let rows = (0..100).map(|n| (format!("S{n}"), format!("A{n}"), n));
        puts.send_rows(rows.collect::<Vec<_>>()).expect("it takes the rows");
        let server = Server::start(&app).expect("it serves");
        let address = server.address();
        Served {
            _app: app,
            _server: server,
            address,
        }
    }

    fn measure(&self, name: &str, credential: &str, path: &str, query: &str) {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let mut reader = BufReader::new(stream);
        let body = match query {
            "" => String::new(),
            query => json!({"query": query}).to_string(),
        };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let authorization = match credential {
            "" => String::new(),
            credential => format!("authorization: {credential}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{authorization}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut times = Vec::with_capacity(REQUESTS);
        for number in 0..WARM_UP + REQUESTS {
            let began = Instant::now();
            reader.get_mut().write_all(request.as_bytes()).expect("it is taken");
            answer(&mut reader);
            if number >= WARM_UP {
                times.push(began.elapsed().as_nanos() as f64 / 1_000.0);
            }
        }
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{name:32} {mean:8.1} {:8.1} {:8.1}", at(0.5), at(0.99));
    }
}

/// Reads an answer, which must be a good one.
fn answer(reader: &mut BufReader<TcpStream>) {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).expect("an answer");
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            assert!(rest.starts_with("200"), "{line}");
        } else if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.trim().parse().expect("a length");
        } else if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    assert!(
        !body.windows(8).any(|part| part == b"\"errors\""),
        "{}",
        String::from_utf8_lossy(&body)
    );
}
