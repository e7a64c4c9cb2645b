//! From captured events to columns: what conditions and the query read of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use super::captures::{EventId, LinkId, Links, Uses};
use super::columns::{Column, NO_EVENT};
use super::opened::Opened;
use super::shape::ElementId;
use crate::catalog::types;
use crate::error::{Error, Result};
use crate::event::{EventBatch, Micros, Times};
use crate::operators::Port;
use crate::operators::aggregate_plan::{AggregatePlan, Built};
use crate::windows::gather::batch_of;

/// Which of an element's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Which {
    /// The one there is; of several the last.
    Only,
    /// Counted from the first, from 0.
    At(u32),
    /// Counted from the last, from 0.
    FromLast(u32),
    /// All, as an array.
    All,
}

/// What of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A captured column of its stream.
    Column(usize),
    /// Its time.
    Time,
    /// That it is there: true, or NULL. Of [`Which::All`]: how many.
    Presence,
}

/// A value of an attempt's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Whose events.
    pub element: ElementId,
    /// Which of them.
    pub which: Which,
    /// What of it.
    pub what: What,
}

/// A column made of attempts' events.
#[derive(Debug, Clone)]
pub enum Gathered {
    /// A value.
    Capture(Capture),
    /// An aggregate over an element's events.
    Aggregate(Arc<Collected>),
}

/// An aggregate over an element's events.
#[derive(Debug)]
pub struct Collected {
    /// Whose events.
    pub element: ElementId,
    /// What it reads, over the captured columns of the stream.
    pub inputs: Vec<Arc<dyn PhysicalExpr>>,
    /// The aggregate over them.
    pub aggregate: AggregatePlan,
}

/// The captured events of one stream.
#[derive(Debug)]
pub struct Store {
    /// Their times and uses.
    pub uses: Uses,
    /// Their columns.
    pub columns: Vec<Column>,
    /// What these are of the stream's batches.
    pub captured: Vec<usize>,
    /// Their names and types.
    pub schema: SchemaRef,
}

impl Store {
    /// Of a stream's columns.
    pub fn new(schema: &SchemaRef, captured: &[usize]) -> Result<Self> {
        let schema: SchemaRef = Arc::new(schema.project(captured)?);
        Ok(Store {
            uses: Uses::default(),
            columns: schema
                .fields()
                .iter()
                .map(|field| Column::new(field.data_type()))
                .collect(),
            captured: captured.to_vec(),
            schema,
        })
    }

    /// Captures a row, with one use.
    pub fn add(&mut self, time: Micros, columns: &[Opened], row: usize) -> EventId {
        let event = self.uses.add(time);
        for (kept, &index) in self.columns.iter_mut().zip(&self.captured) {
            kept.put(event, &columns[index], row);
        }
        event
    }

    /// One use less.
    pub fn release(&mut self, event: EventId) {
        if self.uses.release(event) {
            self.columns.iter_mut().for_each(|column| column.clear(event));
        }
    }

    fn rows(&self, events: &[EventId]) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|column| column.gather(events));
        batch_of(self.schema.clone(), columns.collect::<Result<_>>()?, events.len())
    }
}

/// The events of all attempts.
#[derive(Debug)]
pub struct Events {
    /// The chains.
    pub links: Links,
    /// By stream.
    pub stores: Vec<Store>,
    /// The stream of each element.
    pub ports: Vec<Port>,
    /// Uses of events by links that are gone.
    freed: Vec<(ElementId, EventId)>,
}

impl Events {
    /// None yet.
    pub fn new(stores: Vec<Store>, ports: Vec<Port>) -> Self {
        Events {
            links: Links::default(),
            stores,
            ports,
            freed: Vec::new(),
        }
    }

    /// To look at.
    pub fn captures(&self) -> Captures<'_> {
        Captures {
            links: &self.links,
            stores: &self.stores,
            ports: &self.ports,
        }
    }

    /// Appends an event to a chain, whose use passes to the new link.
    pub fn push(&mut self, before: LinkId, element: ElementId, event: EventId) -> LinkId {
        self.stores[self.ports[element]].uses.retain(event);
        self.links.push(before, element, event)
    }

    /// A chain without its latest event. The use passes to what is left.
    pub fn pass_over(&mut self, link: LinkId) -> LinkId {
        let before = self.links.get(link).before;
        self.links.retain(before);
        self.release(link);
        before
    }

    /// One use of a chain less. Its events are there until [`Events::let_go`].
    pub fn release(&mut self, link: LinkId) {
        let freed = &mut self.freed;
        self.links
            .release(link, |link| freed.push((link.element.into(), link.event)));
    }

    /// Lets the events of links go that are gone.
    pub fn let_go(&mut self) {
        for (element, event) in self.freed.drain(..) {
            self.stores[self.ports[element]].release(event);
        }
    }
}

/// Captured events and who has them.
pub struct Captures<'a> {
    /// The chains.
    pub links: &'a Links,
    /// By stream.
    pub stores: &'a [Store],
    /// The stream of each element.
    pub ports: &'a [Port],
}

impl Captures<'_> {
    /// One event of a chain, or [`NO_EVENT`].
    pub fn event(&self, chain: LinkId, element: ElementId, which: Which) -> EventId {
        let mut events = self
            .links
            .chain(chain)
            .filter(|link| ElementId::from(link.element) == element)
            .map(|link| link.event);
        let found = match which {
            Which::Only | Which::All => events.next(),
            Which::FromLast(back) => events.nth(back as usize),
            Which::At(index) => {
                let all: Vec<EventId> = events.collect();
                let back = all.len().checked_sub(index as usize + 1);
                back.map(|back| all[back])
            }
        };
        found.unwrap_or(NO_EVENT)
    }

    /// A column with a row for each chain.
    pub fn column(&self, chains: &[LinkId], gathered: &Gathered) -> Result<ArrayRef> {
        match gathered {
            Gathered::Capture(capture) if capture.which == Which::All => self.collection(chains, capture),
            Gathered::Capture(capture) => {
                let events: Vec<EventId> = chains
                    .iter()
                    .map(|chain| self.event(*chain, capture.element, capture.which))
                    .collect();
                self.values(&events, capture)
            }
            Gathered::Aggregate(collected) => self.aggregate(chains, collected),
        }
    }

    fn values(&self, events: &[EventId], capture: &Capture) -> Result<ArrayRef> {
        let store = &self.stores[self.ports[capture.element]];
        match capture.what {
            What::Column(column) => store.columns[column].gather(events),
            What::Time => {
                let times = events
                    .iter()
                    .map(|event| (*event != NO_EVENT).then(|| store.uses.time(*event)));
                let times: TimestampMicrosecondArray = times.collect();
                Ok(Arc::new(times.with_data_type(types::TIMESTAMP)))
            }
            What::Presence => {
                let present = events.iter().map(|event| (*event != NO_EVENT).then_some(true));
                Ok(Arc::new(present.collect::<BooleanArray>()))
            }
        }
    }

    /// All events of an element in each chain, in order, and where those of each chain end.
    fn all(&self, chains: &[LinkId], element: ElementId) -> (Vec<EventId>, Vec<usize>) {
        let mut events = Vec::new();
        let mut ends = Vec::with_capacity(chains.len());
        for &chain in chains {
            let from = events.len();
            let links = self.links.chain(chain);
            let own = links.filter(|link| ElementId::from(link.element) == element);
            events.extend(own.map(|link| link.event));
            events[from..].reverse();
            ends.push(events.len());
        }
        (events, ends)
    }

    fn collection(&self, chains: &[LinkId], capture: &Capture) -> Result<ArrayRef> {
        let (events, ends) = self.all(chains, capture.element);
        let lengths = std::iter::once(0).chain(ends.iter().copied());
        let lengths: Vec<usize> = lengths.zip(&ends).map(|(from, to)| to - from).collect();
        if capture.what == What::Presence {
            let counts = lengths.iter().map(|length| *length as i64);
            return Ok(Arc::new(Int64Array::from_iter_values(counts)));
        }
        let values = self.values(&events, capture)?;
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        // What matched nothing is NULL, not empty.
        let valid: NullBuffer = lengths.iter().map(|length| *length > 0).collect::<Vec<bool>>().into();
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(valid))?))
    }

    fn aggregate(&self, chains: &[LinkId], collected: &Collected) -> Result<ArrayRef> {
        let (events, ends) = self.all(chains, collected.element);
        let rows = self.stores[self.ports[collected.element]].rows(&events)?;
        let inputs = collected.inputs.iter();
        let inputs = inputs.map(|input| Ok(input.evaluate(&rows)?.into_array(rows.num_rows())?));
        let rows = batch_of(
            collected.aggregate.input.clone(),
            inputs.collect::<Result<_>>()?,
            rows.num_rows(),
        )?;
        let mut groups = Vec::with_capacity(events.len());
        for (group, end) in ends.iter().enumerate() {
            groups.resize(*end, group as u32);
        }
        let mut aggregate = Built::new(&collected.aggregate)?;
        aggregate.update(&groups, None, &EventBatch::inserts(rows, Times::Same(0)))?;
        let ids: Vec<u32> = (0..chains.len() as u32).collect();
        let mut values = aggregate.values(&ids)?;
        values.pop().ok_or_else(|| Error::failed("an aggregate gave nothing"))
    }
}

impl Gathered {
    /// The type of the column, when captured columns have these.
    pub fn data_type(&self, column: impl Fn(ElementId, usize) -> DataType) -> DataType {
        let Gathered::Capture(capture) = self else {
            return match self {
                Gathered::Aggregate(collected) => collected.aggregate.schema.field(0).data_type().clone(),
                Gathered::Capture(_) => DataType::Null,
            };
        };
        let one = match capture.what {
            What::Column(index) => column(capture.element, index),
            What::Time => types::TIMESTAMP,
            What::Presence if capture.which == Which::All => return DataType::Int64,
            What::Presence => DataType::Boolean,
        };
        match capture.which {
            Which::All => DataType::List(Arc::new(Field::new_list_field(one, true))),
            _ => one,
        }
    }
}
