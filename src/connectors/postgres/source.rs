//! The source: a snapshot of the table if nothing is known of it, and then the stream of its changes.
//!
//! The place in the log that a transaction ends at is the position after it. What the server is told to be done with is what the last
//! checkpoint holds, so that the log is there to be read again after a restart; without checkpoints it is what has been handed on.
//!
//! When the slot is gone, or the server has thrown its log away, there is a new snapshot between two marks, and what is behind them
//! finds the difference (`operators::keyed_changes`, `operators::relation_rows`).

use std::pin::pin;
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::changes::{Changes, Shape};
use super::pgoutput::{Change, Tuple, lsn, parse, place};
use super::slot::{Slot, publication, slot, snapshot};
use super::table::{Table, current, inspect, literal};
use super::wire::{Frame, Wire};
use crate::config::options::Options;
use crate::connectors::pgwire::cells::{Cells, is_relation_name, quoted};
use crate::connectors::pgwire::client::{Backoff, Server, Trouble};
use crate::connectors::pgwire::copy::{CopyForm, CopyRows};
use crate::connectors::pgwire::rows::{Rows, runtime};
use crate::connectors::pgwire::{STOP_CHECK, duration};
use crate::connectors::{Emitted, Flow, Kept, Position, Source, SourceOutput, SourceSpec, Unfit};
use crate::error::{Diagnostic, Error, Result};
use crate::formats::DecodeSchema;

/// How often the server is told what is durable.
const CONFIRM: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct PostgresSource {
    stream: String,
    schema: DecodeSchema,
    key: Vec<usize>,
    options: Options,
    server: Server,
    relation: String,
    slot: String,
    publication: String,
    of: String,
    /// Everything up to and with here is there.
    complete: Option<u64>,
    /// Whether there has been a stream of changes that worked.
    worked: bool,
}

/// A session with the server.
struct Session {
    client: Client,
    wire: Wire,
    table: Table,
    changes: Changes,
    hand: Vec<Emitted>,
}

impl PostgresSource {
    /// Checks the options.
    pub fn new(spec: SourceSpec) -> Result<Self, Diagnostic> {
        let options = spec.options;
        let relation = options.text("relation").unwrap_or_default().to_string();
        if !is_relation_name(&relation) {
            let error = options.invalid("relation", "it is not the name of a table");
            return Err(error.hint("write name or schema.name, in double quotes where SQL needs them"));
        }
        let lower = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        let own: String = format!("eventflux_{}", spec.stream)
            .chars()
            .map(lower)
            .take(60)
            .collect();
        let slot = options.text("slot").unwrap_or(&own).to_string();
        if slot.is_empty()
            || !slot
                .chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        {
            return Err(options.invalid("slot", "a slot's name has lower-case letters, digits and underscores"));
        }
        Ok(PostgresSource {
            publication: options.text("publication").unwrap_or(&own).to_string(),
            server: Server::new(&options, "PostgreSQL", (5432, "postgres"))?.with_session_options("-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c timezone=UTC"),
            of: blake3::hash(format!("{relation} {slot}").as_bytes()).to_hex().as_str()[..16].to_string(),
            stream: spec.stream,
            schema: spec.schema,
            key: spec.key,
            options,
            relation,
            slot,
            complete: None,
            worked: false,
        })
    }

    async fn follow(&mut self, out: &mut SourceOutput) -> Result<()> {
        let mut backoff = Backoff::new(&self.options);
        loop {
            let why = match self.session(out, &mut backoff).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Fatal(error)) => return Err(error),
                // The server may still believe in the connection before.
                Err(Trouble::Refused(code, why)) if code != SqlState::OBJECT_IN_USE && !self.worked => {
                    return Err(Error::failed(format!("PostgreSQL refuses: {why}")));
                }
                Err(Trouble::Refused(_, why) | Trouble::Lost(why)) => why,
            };
            if backoff.pause(out, &self.stream, "PostgreSQL", why)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// From a connection to its end; returns when the app stops.
    async fn session(&mut self, out: &mut SourceOutput, backoff: &mut Backoff) -> Result<(), Trouble> {
        let client = self.server.connect().await?;
        let fields = (self.schema.declared.as_ref(), &self.key[..]);
        let table = inspect(&client, &self.server, &self.relation, fields).await?;
        publication(&client, &self.server, &self.publication, &self.relation).await?;
        let mut wire = Wire::connect(&self.server).await?;
        let found = slot(&client, &self.server, &mut wire, &self.slot).await?;
        let gone = match found {
            Slot::New => true,
            Slot::From(confirmed) => self.complete.is_some_and(|complete| confirmed > complete),
        };
        if gone && self.complete.take().is_some() {
            tracing::warn!(
                stream = self.stream,
                slot = self.slot,
                "the log since the last position is gone: a new snapshot is taken, and only what differs goes on"
            );
        }
        let shape = Shape {
            columns: self.read_columns(&table),
            ignores_deletes: self.options.text("deletes") == Some("ignore"),
            whole: self
                .options
                .integer("transaction_rows")
                .map_or(1_000_000, |rows| rows.unsigned_abs() as usize),
            of: self.of.clone(),
        };
        let key = self
            .key
            .iter()
            .filter_map(|column| self.schema.wanted.binary_search(column).ok());
        let rows = Rows::new(self.schema.decoded(), key)?;
        let mut session = Session {
            client,
            wire,
            table,
            changes: Changes::new(rows, shape, self.complete),
            hand: Vec::new(),
        };
        if self.complete.is_none() && self.snapshot(&mut session, out).await? == Flow::Stop {
            return Ok(());
        }
        self.stream(&mut session, out, backoff).await
    }

    /// The columns of the batches: their names in the table, and whether they are of the key.
    fn read_columns(&self, table: &Table) -> Vec<(String, bool)> {
        let wanted = self.schema.wanted.iter();
        wanted
            .map(|column| (table.names[*column].clone(), self.key.contains(column)))
            .collect()
    }

    async fn snapshot(&mut self, session: &mut Session, out: &mut SourceOutput) -> Result<Flow, Trouble> {
        let (at, keeper) = snapshot(&session.client, &self.server).await?;
        let names = self.read_columns(&session.table);
        let list = names
            .iter()
            .map(|(name, _)| quoted(name))
            .collect::<Vec<_>>()
            .join(", ");
        let text = format!("COPY (SELECT {list} FROM {}) TO STDOUT", self.relation);
        let copy = self.server.answered(session.client.copy_out(&text)).await?;
        let mut copy = pin!(copy);
        let (mut rows, mut cells, mut begun) = (CopyRows::new(CopyForm::Text), Cells::default(), false);
        loop {
            let next = std::future::poll_fn(|context| copy.as_mut().poll_next(context));
            match timeout(STOP_CHECK, next).await {
                Ok(Some(bytes)) => rows.feed(&bytes?)?,
                Ok(None) => break,
                Err(_) => {}
            }
            while rows.next(&mut cells)? {
                session
                    .changes
                    .snapshot_row(&cells, &mut begun, out.now(), &mut session.hand)?;
            }
            if out.flow() == Flow::Stop || self.hand_over(session, out) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        self.server.answered(session.client.batch_execute("COMMIT")).await?;
        drop(keeper);
        session.changes.snapshot_ends(at, begun, out.now(), &mut session.hand)?;
        Ok(self.hand_over(session, out))
    }

    async fn stream(
        &mut self,
        session: &mut Session,
        out: &mut SourceOutput,
        backoff: &mut Backoff,
    ) -> Result<(), Trouble> {
        let start = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {})",
            quoted(&self.slot),
            lsn(self.complete.unwrap_or_default()),
            literal(&quoted(&self.publication)),
        );
        session.wire.start(&start).await?;
        self.worked = true;
        backoff.reset();
        let stall = duration(&self.options, "stall.timeout");
        let (mut heard, mut confirmed) = (Instant::now(), Instant::now());
        // Where the log ends, as far as is known.
        let mut end = 0;
        loop {
            if out.flow() == Flow::Stop {
                self.confirm(session, out, end).await?;
                return Ok(());
            }
            let mut answer = confirmed.elapsed() >= CONFIRM;
            match timeout(STOP_CHECK, session.wire.next()).await {
                Ok(frame) => {
                    match frame? {
                        Frame::Change(message) => self.take(session, &message, out).await?,
                        Frame::Alive { end: now, reply } => {
                            end = end.max(now);
                            answer |= reply;
                            session.changes.nothing_before(now, out.now(), &mut session.hand)?;
                        }
                        Frame::Ended => return Err(Trouble::Lost("the server has ended the stream".to_string())),
                    }
                    if self.hand_over(session, out) == Flow::Stop {
                        return Ok(());
                    }
                    // The app may have been busy meanwhile; that is not the server's silence.
                    heard = Instant::now();
                }
                Err(_) if stall > Duration::ZERO && heard.elapsed() > stall => {
                    return Err(Trouble::Lost(format!("nothing has come for {stall:?}")));
                }
                Err(_) => {}
            }
            if answer {
                self.confirm(session, out, end).await?;
                confirmed = Instant::now();
            }
        }
    }

    async fn confirm(&self, session: &mut Session, out: &SourceOutput, end: u64) -> Result<(), Trouble> {
        let durable = match out.kept() {
            Kept::Nowhere => self.complete,
            Kept::UpTo(position) => position
                .as_ref()
                .filter(|kept| kept["of"].as_str() == Some(&self.of))
                .and_then(place_of),
        };
        // Nothing is durable yet: what the slot has stays as it is.
        session
            .wire
            .confirm(end.max(self.complete.unwrap_or_default()), durable.unwrap_or_default())
            .await
    }

    fn hand_over(&mut self, session: &mut Session, out: &mut SourceOutput) -> Flow {
        for emitted in session.hand.drain(..) {
            if out.hand_over(emitted) == Flow::Stop {
                return Flow::Stop;
            }
        }
        self.complete = session.changes.complete();
        Flow::Continue
    }

    async fn take(&mut self, session: &mut Session, message: &[u8], out: &SourceOutput) -> Result<(), Trouble> {
        let damaged = || Trouble::Fatal(Error::failed("a message of pgoutput that cannot be read"));
        let now = out.now();
        let ours = session.table.oid;
        match parse(message).ok_or_else(damaged)? {
            Change::Relation { oid, columns } if oid == ours => session.changes.describe(&columns)?,
            Change::Insert { oid, new } if oid == ours => session.changes.insert(&new, now, &mut session.hand)?,
            Change::Update { oid, old, mut new } if oid == ours => {
                if let Some(old) = old.as_ref().filter(|old| old.whole) {
                    fill(&mut new, |cell| old.tuple.cells.get(cell).map(<[u8]>::to_vec));
                }
                let missing = session.changes.missing(&new);
                if !missing.is_empty() && !self.fetch(session, &mut new, &missing).await? {
                    // It is deleted meanwhile, which will be told.
                    return Ok(());
                }
                session.changes.update(old.as_ref(), &new, now, &mut session.hand)?;
            }
            Change::Delete { oid, old } if oid == ours => session.changes.delete(&old, now, &mut session.hand)?,
            Change::Truncate { oids } if oids.contains(&ours) => session.changes.truncate(now, &mut session.hand)?,
            Change::Commit { end } => session.changes.commit(end, now, &mut session.hand)?,
            _ => {}
        }
        Ok(())
    }

    /// Reads large values that have not changed, and so are not in the log, from the table; false when the row is gone.
    async fn fetch(&self, session: &Session, new: &mut Tuple, missing: &[(usize, String)]) -> Result<bool, Trouble> {
        let key: Option<Vec<(String, String)>> = session
            .changes
            .key_of(new)
            .map(|(name, value)| Some((name.to_string(), String::from_utf8_lossy(value?).into_owned())))
            .collect();
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err(Trouble::Fatal(Error::failed(format!(
                "the log leaves out the value of '{}', which is large and has not changed, and without PRIMARY KEY the row cannot be \
                 found: declare one, or ALTER TABLE {} REPLICA IDENTITY FULL",
                missing[0].1, self.relation
            ))));
        };
        let columns: Vec<String> = missing.iter().map(|(_, name)| name.clone()).collect();
        let Some(values) = current(&session.client, &self.server, &self.relation, &columns, &key).await? else {
            return Ok(false);
        };
        fill(new, |cell| {
            let at = missing.iter().position(|(missing, _)| *missing == cell)?;
            values[at].clone().map(String::into_bytes)
        });
        Ok(true)
    }
}

/// Puts values in the place of those that were not sent.
fn fill(tuple: &mut Tuple, value: impl Fn(usize) -> Option<Vec<u8>>) {
    if tuple.unchanged.is_empty() {
        return;
    }
    let mut cells = Cells::default();
    for cell in 0..tuple.cells.len() {
        match tuple.unchanged.contains(&cell) {
            true => cells.push(value(cell).as_deref()),
            false => cells.push(tuple.cells.get(cell)),
        }
    }
    tuple.cells = cells;
    tuple.unchanged.clear();
}

fn place_of(position: &Position) -> Option<u64> {
    position["lsn"].as_str().and_then(place)
}

impl Source for PostgresSource {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let runtime = runtime()?;
        let result = runtime.block_on(self.follow(out));
        runtime.shutdown_background();
        result
    }

    fn check(&mut self) -> Result<(), Unfit> {
        let invalid = |error: Error| match error {
            Error::Compile(mut error) => {
                let place = self.options.invalid("relation", "");
                error.span.clone_from(&place.span);
                error.source.clone_from(&place.source);
                error
            }
            other => self.options.invalid("relation", other),
        };
        let runtime = runtime().map_err(|error| Unfit::Unreachable(invalid(error)))?;
        let fields = (self.schema.declared.as_ref(), &self.key[..]);
        let result = runtime.block_on(async {
            let client = self.server.connect().await?;
            inspect(&client, &self.server, &self.relation, fields).await
        });
        runtime.shutdown_background();
        match result {
            Ok(_) => Ok(()),
            Err(Trouble::Fatal(error)) => Err(Unfit::Wrong(invalid(error))),
            Err(Trouble::Lost(why)) => {
                let error = self
                    .options
                    .invalid("relation", format!("PostgreSQL cannot be reached: {why}"));
                Err(Unfit::Unreachable(error.hint(
                    "is the server up, and are host, port and sslmode right? When it is, the stream goes on by itself",
                )))
            }
            Err(Trouble::Refused(_, why)) => {
                let error = self.options.invalid("relation", format!("PostgreSQL refuses: {why}"));
                Err(Unfit::Wrong(
                    error.hint("is the name right, and may the user connect and read it?"),
                ))
            }
        }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let same = position["of"].as_str() == Some(self.of.as_str());
        self.complete = place_of(position).filter(|_| same);
        match position.is_object() {
            true => Ok(()),
            false => Err(Error::failed(format!("not a position of PostgreSQL: {position}"))),
        }
    }
}
