//! The server's side of PostgreSQL's protocol, as much of it as clients of a stream need.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a client sends.
#[derive(Debug)]
pub enum Request {
    /// A statement in the simple protocol.
    Query(String),
    /// Prepares a statement.
    Parse { name: String, text: String },
    /// Describes a statement or a portal.
    Describe { name: String },
    /// Makes a portal of a statement, with parameters.
    Bind {
        portal: String,
        statement: String,
        parameters: Vec<Option<Vec<u8>>>,
    },
    /// Runs a portal.
    Execute { portal: String },
    /// Closes a statement or a portal.
    Close,
    /// The end of a series.
    Sync,
    /// Wants everything now.
    Flush,
    /// Goes.
    Terminate,
}

/// A column of a result.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub oid: u32,
}

/// An error of the server.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Refusal { code, message }
    }
}

/// A statement with its parameters.
#[derive(Debug, Clone, Default)]
pub struct Portal {
    pub statement: String,
    pub parameters: Vec<Option<Vec<u8>>>,
}

/// One connection.
pub struct Session {
    stream: TcpStream,
    out: Vec<u8>,
    /// How many bytes may still be sent before the connection is cut, wherever that is.
    budget: Option<u64>,
    sent: Arc<AtomicU64>,
    pub statements: HashMap<String, String>,
    pub portals: HashMap<String, Portal>,
    pub startup: HashMap<String, String>,
}

impl Session {
    /// Greets a client; `password` is asked for if there is one.
    pub fn accept(
        stream: TcpStream,
        password: Option<&str>,
        budget: Option<u64>,
        sent: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut session = Session {
            stream,
            out: Vec::new(),
            budget,
            sent,
            statements: HashMap::new(),
            portals: HashMap::new(),
            startup: HashMap::new(),
        };
        let body = loop {
            let length = session.u32()?;
            let body = session.bytes(length.saturating_sub(4) as usize)?;
            match body.first_chunk::<4>().map(|code| u32::from_be_bytes(*code)) {
                // TLS, GSS: not here.
                Some(80_877_103 | 80_877_104) => session.stream.write_all(b"N")?,
                Some(196_608) => break body,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        };
        let mut words = body[4..]
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            if key.is_empty() {
                break;
            }
            session.startup.insert(key, value);
        }
        if let Some(password) = password {
            session.message(b'R', &3_u32.to_be_bytes());
            session.flush()?;
            let mut kind = [0];
            session.stream.read_exact(&mut kind)?;
            let length = session.u32()?;
            let given = session.bytes(length.saturating_sub(4) as usize)?;
            if kind != *b"p" || given.strip_suffix(&[0]) != Some(password.as_bytes()) {
                session.error(&Refusal::new("28P01", "invalid password"));
                session.flush()?;
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        session.message(b'R', &0_u32.to_be_bytes());
        for (name, value) in [
            ("server_version", "9.5.0"),
            ("client_encoding", "UTF8"),
            ("TimeZone", "UTC"),
        ] {
            session.message(b'S', format!("{name}\0{value}\0").as_bytes());
        }
        session.message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]);
        session.ready()?;
        Ok(session)
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if count > 16 << 20 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next request.
    pub fn request(&mut self) -> io::Result<Request> {
        let mut kind = [0];
        self.stream.read_exact(&mut kind)?;
        let length = self.u32()?;
        let body = self.bytes(length.saturating_sub(4) as usize)?;
        let mut body = Body(&body);
        Ok(match kind[0] {
            b'Q' => Request::Query(body.text()),
            b'P' => Request::Parse {
                name: body.text(),
                text: body.text(),
            },
            b'D' => {
                let _what = body.byte();
                Request::Describe { name: body.text() }
            }
            b'B' => {
                let (portal, statement) = (body.text(), body.text());
                let formats = body.u16();
                for _ in 0..formats {
                    let _ = body.u16();
                }
                let parameters = (0..body.u16()).map(|_| body.value()).collect();
                Request::Bind {
                    portal,
                    statement,
                    parameters,
                }
            }
            b'E' => Request::Execute { portal: body.text() },
            b'C' => Request::Close,
            b'S' => Request::Sync,
            b'H' => Request::Flush,
            b'X' => Request::Terminate,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }

    /// Appends a message.
    pub fn message(&mut self, kind: u8, body: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        self.out.extend_from_slice(body);
    }

    /// Sends what has been appended, as much as the budget allows; then the connection is cut.
    pub fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        let allowed = self.budget.map_or(out.len(), |budget| out.len().min(budget as usize));
        self.stream.write_all(&out[..allowed])?;
        self.sent.fetch_add(allowed as u64, Ordering::Relaxed);
        if let Some(budget) = &mut self.budget {
            *budget -= allowed as u64;
        }
        if allowed < out.len() {
            let _ = self.stream.shutdown(Shutdown::Both);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    pub fn ready(&mut self) -> io::Result<()> {
        self.message(b'Z', b"I");
        self.flush()
    }

    pub fn error(&mut self, refusal: &Refusal) {
        let body = format!("SERROR\0VERROR\0C{}\0M{}\0\0", refusal.code, refusal.message);
        self.message(b'E', body.as_bytes());
    }

    pub fn row_description(&mut self, columns: &[Column]) {
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for column in columns {
            body.extend_from_slice(column.name.as_bytes());
            body.push(0);
            body.extend_from_slice(&0_u32.to_be_bytes());
            body.extend_from_slice(&0_u16.to_be_bytes());
            body.extend_from_slice(&column.oid.to_be_bytes());
            body.extend_from_slice(&(-1_i16).to_be_bytes());
            body.extend_from_slice(&(-1_i32).to_be_bytes());
            body.extend_from_slice(&0_u16.to_be_bytes());
        }
        self.message(b'T', &body);
    }

    pub fn data_row(&mut self, cells: &[Option<Vec<u8>>]) {
        let mut body = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            match cell {
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(cell) => {
                    body.extend_from_slice(&(cell.len() as u32).to_be_bytes());
                    body.extend_from_slice(cell);
                }
            }
        }
        self.message(b'D', &body);
    }

    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', format!("{tag}\0").as_bytes());
    }
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let length = i32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]);
        let length = usize::try_from(length).ok()?;
        Some((0..length).map(|_| self.byte()).collect())
    }
}
