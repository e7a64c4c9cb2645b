//! A plain client: HTTP/1.1, server-sent events and WebSockets over a blocking connection, as little as the tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long anything that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Connects.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request and reads the whole answer.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = connect(address);
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("content-length: {}\r\n\r\n{body}", body.len());
    // Who refuses a body may do so before it has read it.
    let _ = stream.write_all(text.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_default(),
        headers: headers.to_ascii_lowercase(),
        body: unchunked(headers, body),
    }
}

fn unchunked(headers: &str, body: &str) -> String {
    if !headers.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_string();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        whole += &after[..size];
        rest = &after[(size + 2).min(after.len())..];
    }
    whole
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[], "")
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    request(address, "POST", path, &[("content-type", "application/json")], body)
}

/// What of a URL is not itself.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Server-sent events.
pub struct Events {
    reader: BufReader<TcpStream>,
    /// Of the chunk that is being read.
    buffered: String,
    pub headers: String,
}

impl Events {
    pub fn open(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut stream = connect(address);
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut headers = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            headers += &line;
        }
        Events {
            reader,
            buffered: String::new(),
            headers,
        }
    }

    pub fn get(address: SocketAddr, path: &str) -> Self {
        Events::open(address, "GET", path, &[], "")
    }

    fn chunk(&mut self) -> Option<()> {
        let mut size = String::new();
        self.reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
        let mut bytes = vec![0; size + 2];
        self.reader.read_exact(&mut bytes).ok()?;
        self.buffered += std::str::from_utf8(&bytes[..size]).unwrap();
        Some(())
    }

    /// The next event; `None` at the end, or if none comes. Heartbeats are passed over.
    pub fn next(&mut self) -> Option<Event> {
        let end = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < end {
            if let Some((text, rest)) = self.buffered.split_once("\n\n") {
                let (text, rest) = (text.to_string(), rest.to_string());
                self.buffered = rest;
                let mut event = Event::default();
                let mut data = Vec::new();
                for line in text.lines() {
                    match line.split_once(": ").unwrap_or((line, "")) {
                        ("event", name) => event.name = name.to_string(),
                        ("id", id) => event.id = Some(id.to_string()),
                        ("data", line) => data.push(line.to_string()),
                        _ => {}
                    }
                }
                event.data = data.join("\n");
                if event.name.is_empty() {
                    continue;
                }
                return Some(event);
            }
            self.chunk()?;
        }
        None
    }

    /// The next event of that name; the ones before are returned, too.
    pub fn until(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next() {
            let found = event.name == name;
            events.push(event);
            if found {
                return events;
            }
        }
        panic!("no '{name}' after {events:?}");
    }
}

/// A connection, encrypted or not.
pub trait Connection: Read + Write + Send {}

impl<C: Read + Write + Send> Connection for C {}

/// A WebSocket.
pub struct Socket {
    stream: Box<dyn Connection>,
    pub headers: String,
}

/// What a WebSocket gives.
#[derive(Debug, PartialEq)]
pub enum Frame {
    Text(String),
    Closed(u16),
    /// The connection is gone.
    Gone,
}

impl Socket {
    pub fn open(address: SocketAddr, path: &str, protocol: &str, more: &str) -> Self {
        Socket::over(Box::new(connect(address)), address, path, protocol, more)
    }

    pub fn over(mut stream: Box<dyn Connection>, address: SocketAddr, path: &str, protocol: &str, more: &str) -> Self {
        let protocol = match protocol {
            "" => String::new(),
            protocol => format!("sec-websocket-protocol: {protocol}\r\n"),
        };
        let text = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}{more}\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut headers = Vec::new();
        let mut byte = [0];
        while !headers.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap() == 0 {
                break;
            }
            headers.push(byte[0]);
        }
        Socket {
            stream,
            headers: String::from_utf8(headers).unwrap().to_ascii_lowercase(),
        }
    }

    /// The body of an answer that is no WebSocket.
    pub fn body(&mut self) -> Value {
        let length = self
            .headers
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next());
        let mut bytes = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        self.stream.read_exact(&mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Sends a frame; clients mask.
    pub fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..126 => bytes.push(0x80 | short as u8),
            middle @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        // The server may have ended the connection for what was sent before.
        let _ = self.stream.write_all(&bytes);
    }

    pub fn send(&mut self, value: &Value) {
        self.frame(1, value.to_string().as_bytes());
    }

    /// The next text, or the end; pings are answered.
    pub fn receive(&mut self) -> Frame {
        loop {
            let mut head = [0; 2];
            if self.stream.read_exact(&mut head).is_err() {
                return Frame::Gone;
            }
            let length = match head[1] & 0x7f {
                126 => {
                    let mut bytes = [0; 2];
                    self.stream.read_exact(&mut bytes).unwrap();
                    usize::from(u16::from_be_bytes(bytes))
                }
                127 => {
                    let mut bytes = [0; 8];
                    self.stream.read_exact(&mut bytes).unwrap();
                    u64::from_be_bytes(bytes) as usize
                }
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            if self.stream.read_exact(&mut payload).is_err() {
                return Frame::Gone;
            }
            match head[0] & 0x0f {
                1 => return Frame::Text(String::from_utf8(payload).unwrap()),
                8 => {
                    let code = payload
                        .get(..2)
                        .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    return Frame::Closed(code);
                }
                9 => self.frame(10, &payload),
                _ => {}
            }
        }
    }

    /// The next message as JSON.
    pub fn json(&mut self) -> Value {
        match self.receive() {
            Frame::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?} in place of a message"),
        }
    }

    /// Messages until one of that type, which is the last.
    pub fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let message = self.json();
            let found = message["type"] == kind;
            all.push(message);
            if found {
                return all;
            }
        }
    }
}
