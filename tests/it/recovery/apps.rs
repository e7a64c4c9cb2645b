//! The apps that are killed, and their input: events with times that are out of order within a second.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The streams that all apps read.
const SOURCES: &str = "
CREATE STREAM Trades (id LONG, symbol STRING, price DOUBLE, volume LONG, ts TIMESTAMP, WATERMARK FOR ts AS ts - 1 SECOND)
WITH (type = 'source', extension = 'file', format = 'json', path = 'trades.ndjson');
CREATE STREAM Quotes (id LONG, symbol STRING, bid DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts - 1 SECOND)
WITH (type = 'source', extension = 'file', format = 'json', path = 'quotes.ndjson');
";

/// An app.
pub struct App {
    pub name: &'static str,
    /// A query each: the columns of its sink, and what it selects.
    pub queries: &'static [(&'static str, &'static str)],
    /// Tables, and statements that write them.
    pub tables: &'static str,
    /// What stands around the queries.
    pub around: (&'static str, &'static str),
    /// What the command line says beside.
    pub options: &'static [&'static str],
}

const PLAIN: App = App {
    name: "",
    queries: &[],
    tables: "",
    around: ("", ""),
    options: &[],
};

pub const WINDOWS: App = App {
    name: "windows",
    queries: &[
        (
            "symbol STRING, n LONG, total DOUBLE",
            "SELECT symbol, count(*), sum(price) FROM Trades WINDOW('tumbling', 2 SECONDS) GROUP BY symbol",
        ),
        (
            "symbol STRING, n LONG, top DOUBLE",
            "SELECT symbol, count(*), max(price) FROM Trades WINDOW('hop', 3 SECONDS, 1 SECOND) GROUP BY symbol",
        ),
        (
            "id LONG, mean DOUBLE, n LONG",
            "SELECT id, avg(price), count(*) FROM Trades WINDOW('time', 1500 MS)",
        ),
        (
            "symbol STRING, n LONG, volume LONG",
            "SELECT symbol, count(*), sum(volume) FROM Trades WINDOW('session', 700 MS) GROUP BY symbol",
        ),
        (
            "id LONG, total DOUBLE",
            "SELECT id, sum(price) FROM Trades WINDOW('length', 7) GROUP BY symbol",
        ),
        (
            "id LONG, place LONG, before DOUBLE",
            "SELECT id, row_number() OVER (PARTITION BY symbol ORDER BY ts),
                        lag(price) OVER (PARTITION BY symbol ORDER BY ts) FROM Trades",
        ),
        ("id LONG, n LONG", "SELECT id, count(*) OVER (ORDER BY ts) FROM Quotes"),
    ],
    ..PLAIN
};

pub const JOINS: App = App {
        name: "joins",
        queries: &[
            (
                "trade LONG, quote LONG, price DOUBLE, bid DOUBLE",
                "SELECT t.id AS trade, q.id AS quote, t.price, q.bid FROM Trades AS t JOIN Quotes AS q
                 ON t.symbol = q.symbol AND q.ts BETWEEN t.ts - INTERVAL '300' MILLISECOND AND t.ts",
            ),
            (
                "trade LONG, quote LONG",
                "SELECT t.id AS trade, q.id AS quote FROM Trades AS t LEFT JOIN Quotes AS q
                 ON t.symbol = q.symbol AND q.ts BETWEEN t.ts AND t.ts + INTERVAL '200' MILLISECOND",
            ),
            (
                "trade LONG, quote LONG",
                "SELECT t.id AS trade, q.id AS quote FROM Trades WINDOW('length', 5) AS t JOIN Quotes WINDOW('time', 400 MS) AS q
                 ON t.symbol = q.symbol",
            ),
            (
                "symbol STRING, n LONG",
                "SELECT symbol, count(*) FROM
                 (SELECT symbol FROM Trades UNION ALL SELECT symbol FROM Quotes) AS u WINDOW('tumbling', 1 SECOND)
                 GROUP BY symbol ORDER BY symbol",
            ),
        ],
        ..PLAIN
};

pub const TABLES: App = App {
    name: "tables",
    tables: "
CREATE TABLE Latest (symbol STRING PRIMARY KEY, price DOUBLE, changes LONG);
CREATE TABLE Seen (id LONG, symbol STRING, INDEX (symbol));
INSERT INTO Latest SELECT symbol, price, 1 FROM Trades
ON CONFLICT (symbol) DO UPDATE SET price = excluded.price, changes = changes + 1;
INSERT INTO Seen SELECT id, symbol FROM Trades WHERE volume % 5 = 0;
DELETE FROM Seen USING Trades WHERE Seen.symbol = Trades.symbol AND Trades.volume % 7 = 0;
",
    queries: &[
        (
            "id LONG, price DOUBLE, changes LONG",
            "SELECT t.id, l.price, l.changes FROM Trades AS t JOIN Latest AS l ON t.symbol = l.symbol",
        ),
        (
            "id LONG, seen LONG",
            "SELECT t.id AS id, s.id AS seen FROM Trades AS t JOIN Seen AS s ON t.symbol = s.symbol WHERE t.volume % 3 = 0",
        ),
    ],
    ..PLAIN
};

pub const PATTERNS: App = App {
        name: "patterns",
        queries: &[
            (
                "first LONG, second LONG",
                "SELECT a.id AS first, b.id AS second
                 FROM PATTERN (EVERY a=Trades[price > 30] -> b=Trades[symbol = a.symbol AND price < a.price]) WITHIN 800 MS",
            ),
            (
                "id LONG",
                "SELECT a.id AS id FROM PATTERN
                 (EVERY a=Trades[volume > 80] -> NOT Quotes[symbol = a.symbol AND bid > 20] FOR 300 MS)",
            ),
            (
                "low LONG, n LONG, down LONG",
                "SELECT low.id AS low, count(up) AS n, down.id AS down FROM SEQUENCE (EVERY low=Trades,
                 up=Trades[up[last].price IS NULL AND price > low.price OR price > up[last].price]<2:>, down=Trades[price < up[last].price])",
            ),
            (
                "symbol STRING, top DOUBLE, bottom DOUBLE, n LONG",
                "SELECT m.symbol, m.top, m.bottom, m.n FROM Trades MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts
                 MEASURES A.price AS top, LAST(B.price) AS bottom, count(*) AS n
                 PATTERN (A B+ C) DEFINE B AS price < PREV(price), C AS price > PREV(price)) AS m",
            ),
        ],
        ..PLAIN
};

pub const PARTITIONS: App = App {
    name: "partitions on two threads",
    around: ("PARTITION WITH (symbol OF Trades, symbol OF Quotes) BEGIN", "END;"),
    queries: &[
        (
            "id LONG, n LONG, total DOUBLE",
            "SELECT id, count(*) AS n, sum(price) AS total FROM Trades WINDOW('time', 1 SECOND)",
        ),
        (
            "first LONG, second LONG",
            "SELECT a.id AS first, b.id AS second FROM PATTERN (EVERY a=Trades[price > 30] -> b=Quotes[bid < a.price]) WITHIN 800 MS",
        ),
    ],
    options: &["--parallelism", "2"],
    ..PLAIN
};

impl App {
    /// The SQL: every query into a file of its own.
    pub fn sql(&self) -> String {
        let mut sql = SOURCES.to_string();
        sql.push_str(self.tables);
        for (number, (columns, _)) in self.queries.iter().enumerate() {
            sql.push_str(&format!(
                "CREATE STREAM Out{number} ({columns}) WITH (type = 'sink', extension = 'file', format = 'csv', path = '{}');\n",
                output(number)
            ));
        }
        sql.push_str(self.around.0);
        for (number, (_, query)) in self.queries.iter().enumerate() {
            sql.push_str(&format!("\nINSERT INTO Out{number} {query};"));
        }
        sql.push_str(self.around.1);
        sql
    }
}

/// The file of a query.
pub fn output(number: usize) -> String {
    format!("out/{number}.csv")
}

/// The lines of both files.
pub struct Lines {
    pub trades: Vec<String>,
    pub quotes: Vec<String>,
}

impl Lines {
    /// So many of each.
    pub fn random(seed: u64, count: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let symbols = ["IBM", "ACME", "HAL", "WSO2"];
        let mut line = |id: usize, odd: usize| {
            // Times of one stream are even, of the other odd: between the two there is always an order.
            let ts = 40 * id + 2 * random.random_range(0..400) + odd;
            let symbol = symbols[random.random_range(0..symbols.len())];
            let price = f64::from(random.random_range(40..200)) / 4.0;
            let volume: u32 = random.random_range(1..100);
            (timestamp(ts), symbol, price, volume)
        };
        let mut lines = Lines {
            trades: Vec::new(),
            quotes: Vec::new(),
        };
        for id in 0..count {
            let (ts, symbol, price, volume) = line(id, 0);
            lines.trades.push(format!(
                "{{\"id\":{id},\"symbol\":\"{symbol}\",\"price\":{price},\"volume\":{volume},\"ts\":\"{ts}\"}}\n"
            ));
            let (ts, symbol, price, _) = line(id, 1);
            lines.quotes.push(format!(
                "{{\"id\":{id},\"symbol\":\"{symbol}\",\"bid\":{price},\"ts\":\"{ts}\"}}\n"
            ));
        }
        lines
    }
}

/// Milliseconds after the epoch as JSON has them.
fn timestamp(millis: usize) -> String {
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!(
        "1970-01-01T{:02}:{:02}:{seconds:02}.{millis:03}Z",
        minutes / 60,
        minutes % 60
    )
}
