//! The source: one SUBSCRIBE after the other, each going on where the one before was complete.
//!
//! A connection that is lost, or on which nothing comes any more, is made anew after a wait, and the SUBSCRIBE goes on `AS OF` the last time
//! that was complete. When the history since then is compacted away there is a snapshot instead, between two marks: what is
//! behind them (`operators::keyed_changes`, `operators::relation_rows`) holds the relation as it was, and finds the difference.

use std::pin::pin;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures_core::Stream;
use tokio::time::{Instant, timeout};

use super::assembly::Assembly;
use super::statement::Subscribe;
use crate::config::options::Options;
use crate::connectors::pgwire::cells::{Cells, is_relation_name};
use crate::connectors::pgwire::client::{Backoff, Server, Trouble};
use crate::connectors::pgwire::copy::{CopyForm, CopyRows};
use crate::connectors::pgwire::rows::{Rows, runtime};
use crate::connectors::pgwire::{STOP_CHECK, describe, duration};
use crate::connectors::{Flow, Position, Source, SourceOutput, SourceSpec, Unfit};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::formats::DecodeSchema;

/// What the server says when the history that is asked for is gone. There is no code of its own for it.
const COMPACTED: [&str; 2] = ["is not valid for all inputs", "could not find a valid timestamp"];

/// See the module.
pub(super) struct MaterializeSource {
    stream: String,
    schema: DecodeSchema,
    key: Vec<usize>,
    options: Options,
    server: Server,
    /// The relation, or the query in brackets with a name; and the option that says it.
    from: String,
    option: &'static str,
    form: CopyForm,
    /// Tells positions of this relation from those of others.
    of: String,
    /// The time to go on after.
    complete: Option<u64>,
    /// Whether there has been a SUBSCRIBE that worked.
    worked: bool,
}

/// How a SUBSCRIBE ended.
enum End {
    /// The app is stopping.
    Stopped,
    /// Nothing will ever change any more.
    Finished,
}

impl MaterializeSource {
    /// Checks the options.
    pub fn new(spec: SourceSpec) -> Result<Self, Diagnostic> {
        let options = spec.options;
        let (option, from) = match (options.text("relation"), options.text("query")) {
            (Some(_), Some(_)) => return Err(options.invalid("query", "relation says already what to read")),
            (Some(relation), None) if is_relation_name(relation) => ("relation", relation.to_string()),
            (Some(_), None) => {
                let error = options.invalid("relation", "it is not the name of a relation");
                return Err(error.hint("write name, schema.name or database.schema.name; for a SELECT there is query"));
            }
            (None, Some(query)) => {
                let query = query.trim().trim_end_matches(';');
                ("query", format!("({query}\n) AS q"))
            }
            (None, None) => {
                let error = Diagnostic::new(Code::MissingOption, "materialize needs a relation or a query to read");
                return Err(error.hint("add \"materialize.relation\" = 'name' to WITH"));
            }
        };
        let mut server = Server::new(&options, "Materialize", (6875, "materialize"))?;
        if let Some(cluster) = options.text("cluster") {
            let escaped = cluster.replace('\\', "\\\\").replace(' ', "\\ ");
            server = server.with_session_options(&format!("-c cluster={escaped}"));
        }
        let hash = blake3::hash(from.as_bytes()).to_hex();
        Ok(MaterializeSource {
            stream: spec.stream,
            form: match options.text("copy") {
                Some("binary") => CopyForm::Binary,
                _ => CopyForm::Text,
            },
            key: spec.key,
            schema: spec.schema,
            options,
            server,
            from,
            option,
            of: hash.as_str()[..16].to_string(),
            complete: None,
            worked: false,
        })
    }

    fn declared(&self) -> &SchemaRef {
        &self.schema.declared
    }

    async fn follow(&mut self, out: &mut SourceOutput) -> Result<()> {
        let mut backoff = Backoff::new(&self.options);
        loop {
            let before = self.complete;
            let trouble = match self.subscribe(out, &mut backoff).await {
                Ok(End::Stopped | End::Finished) => return Ok(()),
                Err(trouble) => trouble,
            };
            let why = match trouble {
                Trouble::Fatal(error) => return Err(error),
                Trouble::Refused(_, why) if before.is_some() && COMPACTED.iter().any(|text| why.contains(text)) => {
                    tracing::warn!(
                        stream = self.stream,
                        after = before,
                        "the history is compacted away: a new snapshot is taken, and only what differs goes on"
                    );
                    self.complete = None;
                    why
                }
                Trouble::Refused(_, why) if !self.worked => {
                    return Err(Error::failed(format!("Materialize refuses: {why}")));
                }
                Trouble::Refused(_, why) | Trouble::Lost(why) => why,
            };
            if backoff.pause(out, &self.stream, "Materialize", why)? == Flow::Stop {
                return Ok(());
            }
        }
    }

    /// One SUBSCRIBE, to its end.
    async fn subscribe(&mut self, out: &mut SourceOutput, backoff: &mut Backoff) -> Result<End, Trouble> {
        let client = self.server.connect().await?;
        let found = describe::columns(&client, &self.server, &self.from).await?;
        let places = describe::fit(self.declared(), &found, &format!("'{}'", self.from)).map_err(Error::from)?;
        let columns = (self.declared().as_ref(), &self.schema.wanted[..], &self.key[..]);
        let statement = Subscribe::new(&self.from, columns, (&found, &places), self.form);
        let key = self
            .key
            .iter()
            .filter_map(|column| self.schema.wanted.binary_search(column).ok());
        let mut assembly = Assembly::new(
            Rows::new(self.schema.decoded(), key)?,
            statement.places.clone(),
            !self.key.is_empty(),
            self.options
                .integer("transaction_rows")
                .map_or(1_000_000, |rows| rows.unsigned_abs() as usize),
            self.of.clone(),
            self.complete,
        );
        let copy = self
            .server
            .answered(client.copy_out(&statement.copy(self.complete)))
            .await?;
        let mut copy = pin!(copy);
        let mut rows = CopyRows::new(self.form);
        let mut cells = Cells::default();
        let mut hand = Vec::new();
        let stall = duration(&self.options, "stall.timeout");
        let mut heard = Instant::now();
        loop {
            if out.flow() == Flow::Stop {
                return Ok(End::Stopped);
            }
            let next = std::future::poll_fn(|context| copy.as_mut().poll_next(context));
            let bytes = match timeout(STOP_CHECK, next).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) => return Err(error.into()),
                Ok(None) => return Ok(End::Finished),
                Err(_) if stall > Duration::ZERO && heard.elapsed() > stall => {
                    return Err(Trouble::Lost(format!(
                        "nothing has come for {stall:?}, not even progress"
                    )));
                }
                Err(_) => continue,
            };
            rows.feed(&bytes)?;
            while rows.next(&mut cells)? {
                assembly.take(&cells, out.now(), &mut hand)?;
                for emitted in hand.drain(..) {
                    let flow = out.hand_over(emitted);
                    self.complete = assembly.complete();
                    self.worked = true;
                    backoff.reset();
                    if flow == Flow::Stop {
                        return Ok(End::Stopped);
                    }
                }
            }
            // The app may have been busy meanwhile; that is not the server's silence.
            heard = Instant::now();
        }
    }
}

impl Source for MaterializeSource {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let runtime = runtime()?;
        let result = runtime.block_on(self.follow(out));
        runtime.shutdown_background();
        result
    }

    fn check(&mut self) -> Result<(), Unfit> {
        let what = (self.option, self.from.as_str());
        describe::check(&self.server, &self.options, what, self.declared(), "Materialize")
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        // Of another relation nothing is known: then there is a snapshot, and what differs goes on.
        let same = position["of"].as_str() == Some(self.of.as_str());
        self.complete = position["as_of"].as_u64().filter(|_| same);
        match position.is_object() {
            true => Ok(()),
            false => Err(Error::failed(format!("not a position of Materialize: {position}"))),
        }
    }
}
