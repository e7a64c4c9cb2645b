//! The HTTP server, by plain clients.

mod auth;
mod client;
mod clients;
mod graphql;
mod hostile;
mod http;
mod restart;
mod tls;
mod triggers;
#[cfg(feature = "materialize")]
mod upstream;
mod websocket;

use std::net::SocketAddr;

use eventflux::server::Server;
use eventflux::{App, EventFlux, Layers};
use serde_json::{Value, json};

/// A table of positions, a keyed stream, a named window, a stream of alerts, a stream with targets; and streams to send into.
const SQL: &str = "
CREATE STREAM Puts (symbol STRING, qty LONG, price DOUBLE, at TIMESTAMP);
CREATE STREAM Drops (symbol STRING);
CREATE TABLE positions (symbol STRING PRIMARY KEY, qty LONG, price DOUBLE, at TIMESTAMP);
UPSERT INTO positions SELECT symbol, qty, price, at FROM Puts;
DELETE FROM positions USING Drops WHERE positions.symbol = Drops.symbol;
CREATE STREAM Alerts (symbol STRING, price DOUBLE) WITH (type = 'sink', extension = 'graphql');
INSERT INTO Alerts SELECT symbol, price FROM Puts WHERE price > 100;
CREATE WINDOW Last (symbol STRING, price DOUBLE) WINDOW('length', 2) WITH (queryable = true);
INSERT INTO Last SELECT symbol, price FROM Puts;
CREATE STREAM Totals (symbol STRING, n LONG, PRIMARY KEY (symbol));
INSERT INTO Totals SELECT symbol, count(*) AS n FROM Puts GROUP BY symbol;
CREATE STREAM Notes (account STRING, text STRING) WITH (type = 'sink', extension = 'sse', \"sse.user\" = 'account');
CREATE STREAM NewNotes (account STRING, text STRING);
INSERT INTO Notes SELECT account, text FROM NewNotes;
CREATE STREAM Jobs (request_id STRING, x LONG);
INSERT INTO Results SELECT request_id, x AS y, false AS done FROM Jobs;
INSERT INTO Results SELECT request_id, x * 2 AS y, true AS done FROM Jobs;";

/// A running app with its server.
struct Served {
    app: App,
    server: Option<Server>,
    address: SocketAddr,
}

impl Served {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[&str]) -> Self {
        Self::of(SQL, settings)
    }

    fn of(sql: &str, settings: &[&str]) -> Self {
        let base = [
            "bind=127.0.0.1:0",
            "expose=positions, Last, Totals, Results",
            "publish=Puts, Jobs, messages",
        ];
        let layers = base.iter().chain(settings).fold(Layers::default(), |layers, setting| {
            layers.set(&format!("server.{setting}")).unwrap()
        });
        let app = EventFlux::builder().sql(sql).config(layers).build().unwrap();
        app.start().unwrap();
        let server = Server::start(&app).unwrap();
        let address = server.address();
        Served {
            app,
            server: Some(server),
            address,
        }
    }

    fn put(&self, symbol: &str, qty: i64, price: f64) {
        let puts = self.app.input("Puts").unwrap();
        puts.send(json!({"symbol": symbol, "qty": qty, "price": price, "at": "2026-01-02T03:04:05Z"}))
            .unwrap();
    }

    fn drop(&self, symbol: &str) {
        self.app.input("Drops").unwrap().send((symbol,)).unwrap();
    }

    /// Waits until the table has so many rows: events are processed by another thread.
    fn has_rows(&self, count: usize) {
        crate::support::wait_until(format!("{count} rows"), || {
            let rows = self.app.query("SELECT * FROM positions").unwrap();
            rows.iter().map(|batch| batch.num_rows()).sum::<usize>() == count
        });
    }

    fn graphql(&self, query: &str) -> Value {
        client::post(self.address, "/graphql", &json!({"query": query}).to_string()).json()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.take();
        let _ = self.app.shutdown();
    }
}
