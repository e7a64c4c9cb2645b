//! Live views: the rows of a relation and their changes, for any number of clients.
//!
//! # How it works
//! Each relation that somebody looks at has one *owner*, a thread (`view`) that hears of every change through one channel and
//! numbers them. Who wants to look *subscribes* with a filter and a selection. Equal filters are one *feed*: the filter is evaluated
//! once for a batch of changes, over columns. Equal selections of a feed are one *channel*: a change is written as text once, and
//! the text is shared. A subscriber is a bounded queue of references to such texts (`queue`).
//!
//! # Late joiners
//! The owner asks for the relation's rows; they come through the channel of its changes, put there by whoever changes the relation
//! ([`crate::tables::watch`]). What the owner has heard before them is in them, what it hears after is not. So a subscriber gets
//! the filtered rows and then every change, without gap, overlap or reorder, and no number is ever compared for it.
//!
//! # Cost
//! A batch of changes: one evaluation for each feed, one small allocation for each change and channel, one push of a reference for
//! each subscriber. A subscriber: its queue, empty when it keeps up. The rows themselves are the table's; the view holds none but
//! those of the replay buffer. A join reads the table once, for all that join meanwhile.

mod change;
mod commit;
mod hub;
mod queue;
mod selection;
mod snapshot;
mod subscriber;
#[cfg(test)]
mod tests;
mod view;

pub use change::{Change, Kind};
pub use commit::holds;
pub use hub::{Hub, Limits, LiveCounters};
pub use queue::{Closed, Item, Joined, Policy};
pub use selection::{DataMember, Member, Message, Selection, Style, rows_as_json};
pub use subscriber::{Subscribe, Subscriber, Token};

use arrow::datatypes::SchemaRef;

/// A relation that clients may look at.
#[derive(Debug, Clone)]
pub struct Relation {
    /// The name that clients know it by.
    pub name: String,
    /// The table or stream that is watched.
    pub source: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns of its key; empty without one: then a change carries the whole row.
    pub key: Vec<usize>,
    /// Whether it has rows at any moment; a stream has events only.
    pub has_rows: bool,
}
