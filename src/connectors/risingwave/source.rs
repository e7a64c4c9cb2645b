//! The source: one cursor after the other, each going on where the one before was complete.
//!
//! A cursor is asked again and again (`FETCH`), and the server waits a while when there is nothing. When a cursor cannot begin where the last
//! one was complete, because the history is no longer there, there is a snapshot instead, between two marks, and what is behind them finds the
//! difference.

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::assembly::Assembly;
use crate::config::options::Options;
use crate::connectors::pgwire::cells::{Cells, is_relation_name, quoted};
use crate::connectors::pgwire::client::{Backoff, Server, Trouble};
use crate::connectors::pgwire::describe;
use crate::connectors::pgwire::rows::{Form, Place, Rows, runtime};
use crate::connectors::{Flow, Position, Source, SourceOutput, SourceSpec, Unfit};
use crate::error::{Diagnostic, Error, Result};
use crate::formats::DecodeSchema;

/// How many rows are asked for at once, and how long the server waits for the first; a stop is noticed after that.
const FETCH: &str = "FETCH 1000 FROM eventflux WITH (timeout = '200ms')";

/// See the module.
pub(super) struct RisingWaveSource {
    stream: String,
    schema: DecodeSchema,
    key: Vec<usize>,
    options: Options,
    server: Server,
    relation: String,
    subscription: String,
    of: String,
    /// The time to go on after.
    complete: Option<u64>,
    /// Whether there has been a cursor that worked.
    worked: bool,
}

impl RisingWaveSource {
    /// Checks the options.
    pub fn new(spec: SourceSpec) -> Result<Self, Diagnostic> {
        let options = spec.options;
        let relation = options.text("relation").unwrap_or_default().to_string();
        let lower = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        let own: String = format!("eventflux_{}", spec.stream).chars().map(lower).collect();
        let subscription = options.text("subscription").unwrap_or(&own).to_string();
        for (option, name) in [("relation", &relation), ("subscription", &subscription)] {
            if !is_relation_name(name) {
                let error = options.invalid(option, "it is not a name");
                return Err(error.hint("write name or schema.name, in double quotes where SQL needs them"));
            }
        }
        let mut server = Server::new(&options, "RisingWave", (4566, "root"))?;
        if options.text("database").is_none() && options.text("url").is_none() {
            server = server.with_database("dev");
        }
        Ok(RisingWaveSource {
            server,
            of: blake3::hash(format!("{relation} {subscription}").as_bytes())
                .to_hex()
                .as_str()[..16]
                .to_string(),
            stream: spec.stream,
            schema: spec.schema,
            key: spec.key,
            options,
            relation,
            subscription,
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
                Err(Trouble::Refused(_, why)) if !self.worked => {
                    return Err(Error::failed(format!("RisingWave refuses: {why}")));
                }
                Err(Trouble::Refused(_, why) | Trouble::Lost(why)) => why,
            };
            if backoff.pause(out, &self.stream, "RisingWave", why)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// Declares a cursor: after the last time that was complete, or else with a snapshot.
    async fn declare(&mut self, client: &Client) -> Result<(), Trouble> {
        let declare = format!("DECLARE eventflux SUBSCRIPTION CURSOR FOR {}", self.subscription);
        if let Some(since) = self.complete {
            let text = format!("{declare} SINCE {since}");
            match self.server.answered(client.simple_query(&text)).await {
                Ok(_) => return Ok(()),
                Err(Trouble::Refused(_, why)) => {
                    tracing::warn!(
                        stream = self.stream,
                        since,
                        why,
                        "the history is gone: a new snapshot is taken, and only what differs goes on"
                    );
                    self.complete = None;
                }
                Err(other) => return Err(other),
            }
        }
        self.server
            .answered(client.simple_query(&format!("{declare} FULL")))
            .await?;
        Ok(())
    }

    /// From a connection to its end; returns when the app stops.
    async fn session(&mut self, out: &mut SourceOutput, backoff: &mut Backoff) -> Result<(), Trouble> {
        let client = self.server.connect().await?;
        let found = describe::columns(&client, &self.server, &self.relation).await?;
        let declared = &self.schema.declared;
        let places = describe::fit(declared, &found, &format!("'{}'", self.relation)).map_err(Error::from)?;
        let names: Vec<String> = self
            .schema
            .wanted
            .iter()
            .map(|column| found[places[*column]].name.clone())
            .collect();
        let make = format!(
            "CREATE SUBSCRIPTION IF NOT EXISTS {} FROM {} WITH (retention = '{}')",
            self.subscription,
            self.relation,
            self.options.text("retention").unwrap_or("1 day").replace('\'', "''")
        );
        self.server.answered(client.simple_query(&make)).await?;
        self.declare(&client).await?;
        let key = self
            .key
            .iter()
            .filter_map(|column| self.schema.wanted.binary_search(column).ok());
        let whole = self
            .options
            .integer("transaction_rows")
            .map_or(1_000_000, |rows| rows.unsigned_abs() as usize);
        let rows = Rows::new(self.schema.decoded(), key)?;
        let mut assembly = Assembly::new(rows, whole, self.of.clone(), self.complete);
        let (mut hand, mut cells) = (Vec::new(), Cells::default());
        let mut layout: Option<Layout> = None;
        while out.flow() == Flow::Continue {
            let mut any = false;
            for message in self.server.answered(client.simple_query(FETCH)).await? {
                let SimpleQueryMessage::Row(row) = message else {
                    continue;
                };
                any = true;
                if layout.is_none() {
                    layout = Some(Layout::of(&row, &names)?);
                }
                let Some(layout) = &layout else {
                    continue;
                };
                cells.clear();
                (0..row.len()).for_each(|cell| cells.push(row.get(cell).map(str::as_bytes)));
                let time = row.get(layout.time).filter(|time| !time.is_empty());
                let time = time.map(|time| {
                    time.parse()
                        .map_err(|_| Error::failed("an rw_timestamp that is no number"))
                });
                let change = (row.get(layout.change).unwrap_or_default(), time.transpose()?);
                assembly.take(change, (&cells, &layout.places), out.now(), &mut hand)?;
            }
            if !any {
                assembly.settle(out.now(), &mut hand)?;
            }
            for emitted in hand.drain(..) {
                if out.hand_over(emitted) == Flow::Stop {
                    return Ok(());
                }
            }
            self.complete = assembly.complete();
            self.worked = true;
            backoff.reset();
        }
        Ok(())
    }
}

/// Where things stand in the rows of a cursor.
struct Layout {
    change: usize,
    time: usize,
    places: Vec<Place>,
}

impl Layout {
    fn of(row: &SimpleQueryRow, names: &[String]) -> Result<Self> {
        let find = |name: &str| {
            let found = row.columns().iter().position(|column| column.name() == name);
            found.ok_or_else(|| Error::failed(format!("the cursor gives no column {}", quoted(name))))
        };
        let place = |name: &String| {
            let cell = find(name)?;
            Ok(Place { cell, form: Form::Text })
        };
        Ok(Layout {
            change: find("op")?,
            time: find("rw_timestamp")?,
            places: names.iter().map(place).collect::<Result<_>>()?,
        })
    }
}

impl Source for RisingWaveSource {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let runtime = runtime()?;
        let result = runtime.block_on(self.follow(out));
        runtime.shutdown_background();
        result
    }

    fn check(&mut self) -> Result<(), Unfit> {
        let what = ("relation", self.relation.as_str());
        describe::check(&self.server, &self.options, what, &self.schema.declared, "RisingWave")
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let same = position["of"].as_str() == Some(self.of.as_str());
        self.complete = position["since"].as_u64().filter(|_| same);
        match position.is_object() {
            true => Ok(()),
            false => Err(Error::failed(format!("not a position of RisingWave: {position}"))),
        }
    }
}
