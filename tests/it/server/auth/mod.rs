//! Who may do what: every endpoint and protocol, tokens good and bad, what is seen of rows and columns, keys that change, the audit.

mod audit;
mod endpoints;
mod hostile;
mod issuer;
mod triggers;
mod visibility;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eventflux::error::SourceText;
use eventflux::server::Server;
use eventflux::{App, EventFlux, Layers};
use serde_json::{Value, json};

use super::Served;
use super::client::{Answer, Events, Frame, Socket, request};

const SECRET: &str = "a secret that is known to the issuer";

const SQL: &str = "
CREATE STREAM Puts (symbol STRING, account STRING, qty LONG, cost DOUBLE);
CREATE STREAM Drops (symbol STRING);
CREATE TABLE positions (symbol STRING PRIMARY KEY, account STRING, qty LONG, cost DOUBLE);
UPSERT INTO positions SELECT symbol, account, qty, cost FROM Puts;
DELETE FROM positions USING Drops WHERE positions.symbol = Drops.symbol;
CREATE STREAM Totals (account STRING, n LONG, PRIMARY KEY (account));
INSERT INTO Totals SELECT account, count(*) AS n FROM Puts GROUP BY account;
CREATE STREAM Notes (account STRING, text STRING) WITH (type = 'sink', extension = 'sse', \"sse.user\" = 'account');
CREATE STREAM NewNotes (account STRING, text STRING);
INSERT INTO Notes SELECT account, text FROM NewNotes;";

const SERVER: &str = "
[server]
bind = '127.0.0.1:0'
expose = ['positions', 'Totals']
publish = ['Puts', 'messages']
pages = 'on'
request.timeout = '1 s'
";

const ROLES: &str = "
[server.auth.roles.trader]
read = ['positions', 'Totals']
subscribe = ['positions', 'Totals', 'Notes', 'messages']
publish = ['Puts', 'messages']
metrics = true
[server.auth.roles.trader.relations.positions]
row_filter = 'account = claims.account'
hidden = ['cost']
[server.auth.roles.outsider]
read = ['Totals']
[server.auth.roles.root]
admin = true
";

const JWT: &str = "
[server.auth.jwt]
secret = 'a secret that is known to the issuer'
issuer = 'issuer'
audience = 'eventflux'
leeway = '0 s'
";

const KEYS: &str = "
[[server.auth.keys]]
name = 'dashboard'
key = 'the key of the dashboard'
roles = ['trader']
claims = { account = 'A' }
[[server.auth.keys]]
name = 'operator'
sha256 = '0fd3ea56e9bb1fa4a3c3bfb0a5bcaf0d8d1e5eb83d66ebd0cf8f0a1ff2c9a7c1'
roles = ['root']
";

/// The key of the operator.
const OPERATOR: &str = "the key of the operator";

fn config(more: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, OPERATOR.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = KEYS.replace("0fd3ea56e9bb1fa4a3c3bfb0a5bcaf0d8d1e5eb83d66ebd0cf8f0a1ff2c9a7c1", &hex);
    format!("{SERVER}{JWT}{keys}{ROLES}{more}")
}

fn build(config: &str) -> eventflux::error::Result<App> {
    let layers = Layers::default().toml(SourceText::new("e.toml", config))?;
    EventFlux::builder().sql(SQL).config(layers).build()
}

fn served(config: &str) -> Served {
    let app = build(config).unwrap();
    app.start().unwrap();
    let server = Server::start(&app).unwrap();
    let address = server.address();
    Served {
        app,
        server: Some(server),
        address,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token.
fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let (header, claims) = (
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes()),
    );
    let message = format!("{header}.{claims}");
    format!("{message}.{}", encode(&sign(message.as_bytes())))
}

fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

/// A good token with other claims.
fn token(change: Value) -> String {
    let mut claims = json!({
        "sub": "ann", "iss": "issuer", "aud": "eventflux", "exp": now() + 600, "roles": ["trader"], "account": "A"
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    signed(&json!({"alg": "HS256"}), &claims, |message| {
        hmac(SECRET.as_bytes(), message)
    })
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

impl Served {
    /// A position.
    fn position(&self, symbol: &str, account: &str, qty: i64, cost: f64) {
        let puts = self.app.input("Puts").unwrap();
        puts.send(json!({"symbol": symbol, "account": account, "qty": qty, "cost": cost}))
            .unwrap();
    }

    fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let (authorization, json) = (bearer(token), ("content-type", "application/json"));
        let headers = [("authorization", authorization.as_str()), json];
        request(self.address, method, path, &headers, body)
    }

    fn graphql_as(&self, token: &str, query: &str) -> Value {
        self.ask("POST", "/graphql", token, &json!({"query": query}).to_string())
            .json()
    }

    fn events_as(&self, token: &str, path: &str) -> Events {
        let authorization = bearer(token);
        Events::open(self.address, "GET", path, &[("authorization", &authorization)], "")
    }

    fn socket_as(&self, token: &str) -> Socket {
        let header = format!("authorization: {}\r\n", bearer(token));
        Socket::open(self.address, "/ws", "", &header)
    }
}

/// The code of an error, wherever it stands.
fn code_of(value: &Value) -> Option<&str> {
    let places = [
        "/error/code",
        "/errors/0/extensions/code",
        "/payload/0/extensions/code",
        "/payload/extensions/code",
        "/payload/errors/0/extensions/code",
        "/code",
    ];
    places.iter().find_map(|place| value.pointer(place)?.as_str())
}

/// The code that a connection is closed with, after whatever is still said on it.
fn closed(socket: &mut Socket) -> u16 {
    loop {
        match socket.receive() {
            Frame::Text(_) => {}
            Frame::Closed(code) => return code,
            Frame::Gone => return 0,
        }
    }
}
