//! The columns of the three tables: their names, types and how they are filled.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field};
use nexmark::event::{Auction, Bid, Person};

use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};

/// A value of an event.
pub enum Get<T> {
    /// A number: LONG.
    Number(fn(&T) -> usize),
    /// A text: STRING.
    Text(fn(&T) -> &str),
    /// Milliseconds since 1970: TIMESTAMP, or LONG.
    Time(fn(&T) -> u64),
}

/// A column that a table offers.
pub type Offer<T> = (&'static str, Get<T>);

/// Of `person`.
pub const PERSON: &[Offer<Person>] = &[
    ("id", Get::Number(|e| e.id)),
    ("name", Get::Text(|e| &e.name)),
    ("emailAddress", Get::Text(|e| &e.email_address)),
    ("creditCard", Get::Text(|e| &e.credit_card)),
    ("city", Get::Text(|e| &e.city)),
    ("state", Get::Text(|e| &e.state)),
    ("dateTime", Get::Time(|e| e.date_time)),
    ("extra", Get::Text(|e| &e.extra)),
];

/// Of `auction`.
pub const AUCTION: &[Offer<Auction>] = &[
    ("id", Get::Number(|e| e.id)),
    ("itemName", Get::Text(|e| &e.item_name)),
    ("description", Get::Text(|e| &e.description)),
    ("initialBid", Get::Number(|e| e.initial_bid)),
    ("reserve", Get::Number(|e| e.reserve)),
    ("dateTime", Get::Time(|e| e.date_time)),
    ("expires", Get::Time(|e| e.expires)),
    ("seller", Get::Number(|e| e.seller)),
    ("category", Get::Number(|e| e.category)),
    ("extra", Get::Text(|e| &e.extra)),
];

/// Of `bid`.
pub const BID: &[Offer<Bid>] = &[
    ("auction", Get::Number(|e| e.auction)),
    ("bidder", Get::Number(|e| e.bidder)),
    ("price", Get::Number(|e| e.price)),
    ("channel", Get::Text(|e| &e.channel)),
    ("url", Get::Text(|e| &e.url)),
    ("dateTime", Get::Time(|e| e.date_time)),
    ("extra", Get::Text(|e| &e.extra)),
];

/// A declared column and how it is filled.
pub struct Column<T: 'static> {
    get: &'static Get<T>,
    timestamp: bool,
}

impl<T> Column<T> {
    /// The offer for a declared column, by name without regard to case and underscores, if the type fits.
    pub fn resolve(table: &str, offers: &'static [Offer<T>], field: &Field) -> Result<Self, Diagnostic> {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let wanted = plain(field.name());
        let Some((name, get)) = offers.iter().find(|(name, _)| plain(name) == wanted) else {
            let error = Diagnostic::new(
                Code::UnknownColumn,
                format!("the Nexmark table '{table}' has no column '{}'", field.name()),
            );
            let names = offers.iter().map(|(name, _)| *name);
            return Err(match nearest(field.name(), names.clone()) {
                Some(name) => error.hint(format!("did you mean '{name}'?")),
                None => error.hint(format!("it has: {}", names.collect::<Vec<_>>().join(", "))),
            });
        };
        let timestamp = *field.data_type() == types::TIMESTAMP;
        let (fits, types) = match get {
            Get::Number(_) => (*field.data_type() == DataType::Int64, "LONG"),
            Get::Text(_) => (*field.data_type() == DataType::Utf8View, "STRING"),
            Get::Time(_) => (
                timestamp || *field.data_type() == DataType::Int64,
                "TIMESTAMP (or LONG, in milliseconds)",
            ),
        };
        if !fits {
            return Err(Diagnostic::new(
                Code::Type,
                format!(
                    "the column '{name}' of the Nexmark table '{table}' is {types}, not {}",
                    types::name(field.data_type())
                ),
            ));
        }
        Ok(Column { get, timestamp })
    }

    /// The column's values of those events.
    pub fn array(&self, events: &[T]) -> ArrayRef {
        // Ids, prices and times are far below 2^63.
        match self.get {
            Get::Number(get) => Arc::new(Int64Array::from_iter_values(events.iter().map(|e| get(e) as i64))),
            Get::Text(get) => Arc::new(StringViewArray::from_iter_values(events.iter().map(get))),
            Get::Time(get) if self.timestamp => Arc::new(TimestampMicrosecondArray::from_iter_values(
                events.iter().map(|e| get(e) as i64 * 1_000),
            )),
            Get::Time(get) => Arc::new(Int64Array::from_iter_values(events.iter().map(|e| get(e) as i64))),
        }
    }
}
