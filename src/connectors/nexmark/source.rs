//! The Nexmark source: deterministic, whatever the pace and the batch size; the position is the row's number.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, EventType, Person};
use serde_json::json;

use super::columns::{AUCTION, BID, Column, Offer, PERSON};
use crate::connectors::pacing::Pace;
use crate::connectors::{Flow, Position, Source, SourceOutput, SourceSpec};
use crate::error::{Diagnostic, Error, Result};

/// Events of each 50 that are of the kind.
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;
const ALL: u64 = PERSONS + AUCTIONS + BIDS;

/// Events a second of event time when no rate is given, as in the benchmark.
const DEFAULT_RATE: f64 = 10_000.0;

/// The events of one kind.
enum Table {
    Person(Vec<Column<Person>>),
    Auction(Vec<Column<Auction>>),
    Bid(Vec<Column<Bid>>),
}

/// The source: see the module.
pub struct NexmarkSource {
    schema: SchemaRef,
    table: Table,
    generator: EventGenerator,
    /// How many events of all kinds there are.
    events: Option<u64>,
    pace: Pace,
    batch_rows: u64,
}

impl NexmarkSource {
    /// Checks the options and that the table has the declared columns.
    pub fn new(spec: &SourceSpec) -> Result<Self, Diagnostic> {
        let options = &spec.options;
        let name = options.text("table").unwrap_or_default();
        let (table, kind, share) = match name {
            "person" => (Table::Person(columns(name, PERSON, spec)?), EventType::Person, PERSONS),
            "auction" => (
                Table::Auction(columns(name, AUCTION, spec)?),
                EventType::Auction,
                AUCTIONS,
            ),
            _ => (Table::Bid(columns(name, BID, spec)?), EventType::Bid, BIDS),
        };
        let rate = options.number("events-per-second").filter(|rate| *rate != 0.0);
        if rate.is_some_and(|rate| !(1.0..=1e9).contains(&rate)) {
            return Err(options.invalid("events-per-second", "it is 1 to 1000000000, or 0 for no limit"));
        }
        let start = options.text("start").unwrap_or_default();
        let base_time = TimestampMicrosecondType::parse(start)
            .and_then(|time| u64::try_from(time / 1_000).ok())
            .ok_or_else(|| options.invalid("start", format!("'{start}' is not a time since 1970")))?;
        let per_second = rate.unwrap_or(DEFAULT_RATE) as usize;
        let config = NexmarkConfig {
            base_time,
            first_rate: per_second,
            next_rate: per_second,
            ..NexmarkConfig::default()
        };
        Ok(NexmarkSource {
            schema: spec.schema.decoded(),
            table,
            generator: EventGenerator::new(config).with_type_filter(kind),
            events: options.integer("events").map(i64::unsigned_abs),
            pace: Pace::new(rate.map(|rate| rate * share as f64 / ALL as f64)),
            batch_rows: options.integer("batch-rows").map_or(8192, i64::unsigned_abs),
        })
    }

    /// How many rows are left.
    fn left(&self) -> u64 {
        let Some(events) = self.events else {
            return u64::MAX;
        };
        let (first, share) = match self.table {
            Table::Person(_) => (0, PERSONS),
            Table::Auction(_) => (PERSONS, AUCTIONS),
            Table::Bid(_) => (PERSONS + AUCTIONS, BIDS),
        };
        let rows = events / ALL * share + (events % ALL).saturating_sub(first).min(share);
        rows.saturating_sub(self.generator.offset())
    }

    fn rows(&mut self, count: usize) -> Result<RecordBatch> {
        let events = self.generator.by_ref().take(count);
        let columns = match &self.table {
            Table::Person(columns) => {
                let events: Vec<Person> = events.filter_map(person).collect();
                columns.iter().map(|column| column.array(&events)).collect()
            }
            Table::Auction(columns) => {
                let events: Vec<Auction> = events.filter_map(auction).collect();
                columns.iter().map(|column| column.array(&events)).collect()
            }
            Table::Bid(columns) => {
                let events: Vec<Bid> = events.filter_map(bid).collect();
                columns.iter().map(|column| column.array(&events)).collect()
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }
}

fn person(event: Event) -> Option<Person> {
    match event {
        Event::Person(person) => Some(person),
        _ => None,
    }
}

fn auction(event: Event) -> Option<Auction> {
    match event {
        Event::Auction(auction) => Some(auction),
        _ => None,
    }
}

fn bid(event: Event) -> Option<Bid> {
    match event {
        Event::Bid(bid) => Some(bid),
        _ => None,
    }
}

/// All declared columns are checked, those that are read are made.
fn columns<T>(table: &str, offers: &'static [Offer<T>], spec: &SourceSpec) -> Result<Vec<Column<T>>, Diagnostic> {
    let fields = spec.schema.declared.fields().iter().enumerate();
    let mut columns = Vec::with_capacity(spec.schema.wanted.len());
    for (index, field) in fields {
        let column = Column::resolve(table, offers, field)?;
        if spec.schema.wanted.contains(&index) {
            columns.push(column);
        }
    }
    Ok(columns)
}

impl Source for NexmarkSource {
    fn is_bounded(&self) -> bool {
        self.events.is_some()
    }

    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        loop {
            let most = self.left().min(self.batch_rows);
            if most == 0 {
                return Ok(());
            }
            let Some(rows) = self.pace.take(most, out) else {
                return Ok(());
            };
            let batch = self.rows(usize::try_from(rows).unwrap_or(usize::MAX))?;
            let position = json!({"row": self.generator.offset()});
            if out.emit(batch, Some(position)) == Flow::Stop {
                return Ok(());
            }
        }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let row = position["row"]
            .as_u64()
            .ok_or_else(|| Error::failed(format!("not a position of a generator: {position}")))?;
        self.generator = self.generator.clone().with_offset(row);
        Ok(())
    }
}
