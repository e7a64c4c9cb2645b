//! A client that says exactly what it is told, and an app that listens.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{DEADLINE, Running, Scratch, wait_until};

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

/// A connection.
pub struct Client(pub TcpStream);

impl Client {
    pub fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// The next answer; `None` when the connection ends before.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8(bytes).unwrap();
        let mut answer = Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: String::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        answer.body = String::from_utf8(body).unwrap();
        Some(answer)
    }

    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.write(bytes);
        self.answer().expect("an answer")
    }

    /// Posts JSON.
    pub fn post(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask(request(
            path,
            &format!("content-type: application/json\r\n{headers}"),
            body.as_ref(),
        ))
    }
}

/// A POST.
pub fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An app that listens; what it takes is in `out.ndjson`.
pub struct App {
    pub scratch: Scratch,
    pub port: u16,
    pub running: Running,
}

impl App {
    /// With options of the stream `Orders (id LONG, item STRING)`, at `/orders`.
    pub fn start(options: &str) -> Self {
        let scratch = Scratch::new();
        let port = free_port();
        scratch.write("app.sql", sql(port, options));
        App::run(scratch, port, &["run", "app.sql"])
    }

    /// What is in a directory.
    pub fn run(scratch: Scratch, port: u16, arguments: &[&str]) -> Self {
        let mut running = Running::start(&mut scratch.eventflux(arguments));
        running.wait_for("the listener", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        // The connection that looked has come to its end as well.
        std::thread::sleep(Duration::from_millis(20));
        App { scratch, port, running }
    }

    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// The ids that have come out, when so many have.
    pub fn ids(&self, count: usize) -> Vec<i64> {
        wait_until(format!("{count} rows"), || {
            self.scratch.lines("out.ndjson").len() >= count
        });
        ids(&self.scratch)
    }
}

/// The ids in `out.ndjson`.
pub fn ids(scratch: &Scratch) -> Vec<i64> {
    let lines = scratch.lines("out.ndjson");
    let id = |line: &String| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["id"]
            .as_i64()
            .unwrap()
    };
    lines.iter().map(id).collect()
}

pub fn sql(port: u16, options: &str) -> String {
    format!(
        "CREATE STREAM Orders (id LONG, item STRING) WITH (type = 'source', extension = 'http', \"http.bind\" = '127.0.0.1:{port}',
           \"http.path\" = '/orders'{options});
         CREATE STREAM Out (id LONG, item STRING) WITH (type = 'sink', extension = 'file', format = 'json',
           \"file.path\" = 'out.ndjson');
         INSERT INTO Out SELECT id, item FROM Orders;"
    )
}
