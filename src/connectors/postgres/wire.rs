//! [`Wire`]: a connection in replication mode, which the client library does not know.

use std::io;
use std::pin::Pin;
use std::time::{SystemTime, UNIX_EPOCH};

use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pgoutput::Reader;
use crate::connectors::pgwire::client::{Server, Trouble, refused};
use crate::error::Error;

/// The longest message.
const LONGEST: usize = 1 << 30;

/// Microseconds from 1970 to 2000, from where PostgreSQL counts.
const EPOCH: i64 = 946_684_800_000_000;

/// What a session tells the server, so that values come as texts in the forms that are read.
const SESSION: &str =
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c timezone=UTC";

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// See the module.
pub(super) struct Wire {
    stream: Pin<Box<dyn Duplex>>,
    input: BytesMut,
    out: BytesMut,
}

/// What the stream of changes brings.
#[derive(Debug)]
pub(super) enum Frame {
    /// A message of the plug-in.
    Change(Vec<u8>),
    /// A sign of life: where the log ends, and whether an answer is wanted.
    Alive { end: u64, reply: bool },
    /// The server has ended the stream.
    Ended,
}

fn lost(error: impl std::fmt::Display) -> Trouble {
    Trouble::Lost(error.to_string())
}

fn odd(what: &str) -> Trouble {
    Trouble::Fatal(Error::failed(format!(
        "PostgreSQL sends {what}, which is not expected here"
    )))
}

impl Wire {
    /// Connects and says who it is.
    pub async fn connect(server: &Server) -> Result<Self, Trouble> {
        let connecting = timeout(server.patience(), Wire::greet(server)).await;
        connecting.map_err(|_| Trouble::Lost(format!("the server did not answer within {:?}", server.patience())))?
    }

    async fn greet(server: &Server) -> Result<Self, Trouble> {
        let config = server.config();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let mut wire = Wire {
            stream: match config.get_hosts().first() {
                Some(Host::Unix(folder)) => {
                    let path = folder.join(format!(".s.PGSQL.{port}"));
                    Box::pin(UnixStream::connect(path).await.map_err(lost)?)
                }
                Some(Host::Tcp(host)) => Wire::encrypted(server, host, port).await?,
                None => return Err(odd("no host")),
            },
            input: BytesMut::new(),
            out: BytesMut::new(),
        };
        let user = config.get_user().unwrap_or("postgres");
        let parameters = [
            ("user", user),
            ("database", config.get_dbname().unwrap_or(user)),
            ("replication", "database"),
            ("application_name", "eventflux"),
            ("client_encoding", "UTF8"),
            ("options", SESSION),
        ];
        frontend::startup_message(parameters, &mut wire.out).map_err(lost)?;
        wire.flush().await?;
        wire.authenticate(user, config.get_password().unwrap_or_default())
            .await?;
        wire.until_ready().await?;
        Ok(wire)
    }

    async fn encrypted(server: &Server, host: &str, port: u16) -> Result<Pin<Box<dyn Duplex>>, Trouble> {
        let mut stream = TcpStream::connect((host, port)).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mode = server.config().get_ssl_mode();
        if mode == SslMode::Disable {
            return Ok(Box::pin(stream));
        }
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.map_err(lost)?;
        match stream.read_u8().await.map_err(lost)? {
            b'S' => {
                let mut tls = MakeRustlsConnect::new(server.tls().clone());
                let tls = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::make_tls_connect(&mut tls, host);
                let tls = tls.map_err(lost)?;
                Ok(Box::pin(tls.connect(stream).await.map_err(lost)?))
            }
            _ if mode == SslMode::Prefer => Ok(Box::pin(stream)),
            _ => Err(Trouble::Lost("the server does not support TLS".to_string())),
        }
    }

    async fn authenticate(&mut self, user: &str, password: &[u8]) -> Result<(), Trouble> {
        let mut scram: Option<sasl::ScramSha256> = None;
        loop {
            let (kind, body) = self.message().await?;
            if kind != b'R' {
                return Err(odd("something before the user is known"));
            }
            let mut body = Reader::new(&body);
            match (body.u32(), &mut scram) {
                (Some(0), _) => return Ok(()),
                (Some(3), _) => frontend::password_message(password, &mut self.out).map_err(lost)?,
                (Some(5), _) => {
                    let salt = body.u32().ok_or_else(|| odd("no salt"))?.to_be_bytes();
                    let hash = md5_hash(user.as_bytes(), password, salt);
                    frontend::password_message(hash.as_bytes(), &mut self.out).map_err(lost)?;
                }
                (Some(10), _) => {
                    let begun = scram.insert(sasl::ScramSha256::new(password, sasl::ChannelBinding::unsupported()));
                    frontend::sasl_initial_response(sasl::SCRAM_SHA_256, begun.message(), &mut self.out)
                        .map_err(lost)?;
                }
                (Some(11), Some(scram)) => {
                    scram.update(body.rest()).map_err(lost)?;
                    frontend::sasl_response(scram.message(), &mut self.out).map_err(lost)?;
                }
                (Some(12), Some(scram)) => scram.finish(body.rest()).map_err(lost)?,
                _ => return Err(odd("a way to prove the user that is not known here")),
            }
            self.flush().await?;
        }
    }

    async fn flush(&mut self) -> Result<(), Trouble> {
        self.stream.write_all(&self.out).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)?;
        self.out.clear();
        Ok(())
    }

    /// The next message. Nothing is lost when nobody waits for it any more.
    async fn message(&mut self) -> Result<(u8, Vec<u8>), Trouble> {
        loop {
            if let Some((kind, rest)) = self.input.split_first()
                && let Some((length, _)) = rest.split_first_chunk::<4>()
            {
                let (kind, length) = (*kind, u32::from_be_bytes(*length) as usize);
                if !(4..=LONGEST).contains(&length) {
                    return Err(odd("a message without a length"));
                }
                if self.input.len() > length {
                    let message = self.input.split_to(length + 1);
                    let body = message[5..].to_vec();
                    match kind {
                        b'E' => return Err(error_of(&body)),
                        // Notices and settings.
                        b'N' | b'S' => continue,
                        _ => return Ok((kind, body)),
                    }
                }
            }
            if self.stream.read_buf(&mut self.input).await.map_err(lost)? == 0 {
                return Err(lost(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
        }
    }

    async fn until_ready(&mut self) -> Result<(), Trouble> {
        while self.message().await?.0 != b'Z' {}
        Ok(())
    }

    /// Runs a command; the rows of its answer as texts.
    pub async fn command(&mut self, text: &str) -> Result<Vec<Vec<Option<String>>>, Trouble> {
        frontend::query(text, &mut self.out).map_err(lost)?;
        self.flush().await?;
        let mut rows = Vec::new();
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'D' => rows.push(Reader::new(&body).row().ok_or_else(|| odd("a row that is damaged"))?),
                b'Z' => return Ok(rows),
                _ => {}
            }
        }
    }

    /// Starts the stream of changes.
    pub async fn start(&mut self, text: &str) -> Result<(), Trouble> {
        frontend::query(text, &mut self.out).map_err(lost)?;
        self.flush().await?;
        while self.message().await?.0 != b'W' {}
        Ok(())
    }

    /// What comes next. Nothing is lost when nobody waits for it any more.
    pub async fn next(&mut self) -> Result<Frame, Trouble> {
        loop {
            let (kind, body) = self.message().await?;
            let mut reader = Reader::new(&body);
            match (kind, reader.u8()) {
                (b'd', Some(b'w')) if body.len() >= 25 => return Ok(Frame::Change(body[25..].to_vec())),
                (b'd', Some(b'k')) => {
                    let end = reader.u64().ok_or_else(|| odd("a damaged sign of life"))?;
                    let reply = body.last() == Some(&1);
                    return Ok(Frame::Alive { end, reply });
                }
                (b'c', _) => return Ok(Frame::Ended),
                _ => {}
            }
        }
    }

    /// Tells the server up to where nothing is needed any more.
    pub async fn confirm(&mut self, received: u64, durable: u64) -> Result<(), Trouble> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX) - EPOCH;
        let mut body = vec![b'r'];
        body.extend_from_slice(&received.max(durable).to_be_bytes());
        body.extend_from_slice(&durable.to_be_bytes());
        body.extend_from_slice(&durable.to_be_bytes());
        body.extend_from_slice(&now.to_be_bytes());
        // It shall answer: so its silence can be told from having nothing to say, and where the log ends is known.
        body.push(1);
        self.out.extend_from_slice(b"d");
        self.out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        self.out.extend_from_slice(&body);
        self.flush().await
    }
}

/// An error as the server sends it.
fn error_of(body: &[u8]) -> Trouble {
    let (mut code, mut message, mut detail) = (String::new(), String::new(), None);
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else {
            continue;
        };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => code = text,
            b'M' => message = text,
            b'D' => detail = Some(text),
            _ => {}
        }
    }
    if let Some(detail) = detail {
        message = format!("{message}: {detail}");
    }
    refused(&SqlState::from_code(&code), message)
}
