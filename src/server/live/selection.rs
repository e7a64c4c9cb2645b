//! [`Selection`]: what of a change a client wants to see, and how it is written; [`Message`]: a change and its text, which all
//! who want the same share.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::change::{Change, Columns, Kind, Rows};
use crate::error::Result;
use crate::formats::columns::json_writer;
use crate::formats::columns::scalar_writer::{self, Cells, Typed};

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// Of an update the key and what changed, of a delete the key; numbers are numbers.
    Json,
    /// All that is selected, NULL where `Json` leaves it out; LONG and DECIMAL are texts.
    GraphQl,
    /// The same, but LONG and DECIMAL are numbers.
    GraphQlNumbers,
}

/// A member of what is written of a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Member {
    /// `INSERT`, `UPDATE` or `DELETE`.
    Operation,
    /// The row.
    Data(Vec<(String, DataMember)>),
    /// The names of the columns that changed.
    Fields,
    /// Where to go on from.
    Resume,
    /// A constant.
    Constant(String),
}

/// A member of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataMember {
    /// A column, by its number.
    Column(usize),
    /// A constant.
    Constant(String),
}

/// What of a change is written, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// How values are written.
    pub style: Style,
    /// The members with their names, in order.
    pub members: Vec<(String, Member)>,
    /// What the columns are called, by their numbers.
    pub names: Vec<String>,
    /// The columns of the key; without one, all of them are.
    pub key: Vec<usize>,
    /// The columns whose changes are not told of, nor that they changed.
    pub hidden: Vec<usize>,
    /// What resume tokens begin with.
    pub token: String,
}

impl Selection {
    /// Writes a change as an object.
    pub fn write(&self, out: &mut Vec<u8>, change: &Change) -> Result<()> {
        let cells = change.rows.cells()?;
        out.push(b'{');
        for (number, (name, member)) in self.members.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            json_writer::write_string(out, name);
            out.push(b':');
            match member {
                Member::Operation => self.operation(out, change.kind),
                Member::Data(members) => self.data(out, members, change, cells),
                Member::Fields => self.fields(out, change),
                Member::Resume => json_writer::write_string(out, &format!("{}{}", self.token, change.seq)),
                Member::Constant(text) => json_writer::write_string(out, text),
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Whether a change is told at all: not if all that changed is hidden.
    pub fn tells(&self, change: &Change) -> bool {
        let is_seen = |column: usize| change.changed.has(column) && !self.hidden.contains(&column);
        self.hidden.is_empty() || change.kind != Kind::Update || (0..self.names.len()).any(is_seen)
    }

    fn operation(&self, out: &mut Vec<u8>, kind: Kind) {
        let name: &[u8] = match (self.style, kind) {
            (Style::Json, Kind::Insert) => b"\"insert\"",
            (Style::Json, Kind::Update) => b"\"update\"",
            (Style::Json, Kind::Delete) => b"\"delete\"",
            (_, Kind::Insert) => b"\"INSERT\"",
            (_, Kind::Update) => b"\"UPDATE\"",
            (_, Kind::Delete) => b"\"DELETE\"",
        };
        out.extend_from_slice(name);
    }

    /// Whether a column of a change is told: the key always, of an update what changed, of a delete nothing more.
    fn is_told(&self, change: &Change, column: usize) -> bool {
        match change.kind {
            Kind::Insert => true,
            _ if self.key.is_empty() || self.key.contains(&column) => true,
            Kind::Update => change.changed.has(column),
            Kind::Delete => false,
        }
    }

    fn data(&self, out: &mut Vec<u8>, members: &[(String, DataMember)], change: &Change, cells: &[Cells]) {
        out.push(b'{');
        let mut first = true;
        for (name, member) in members {
            let told = match member {
                DataMember::Column(column) => self.is_told(change, *column),
                DataMember::Constant(_) => true,
            };
            if !told && self.style == Style::Json {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            json_writer::write_string(out, name);
            out.push(b':');
            match member {
                DataMember::Column(column) if told => self.value(out, &cells[*column], change.row),
                DataMember::Column(_) => out.extend_from_slice(b"null"),
                DataMember::Constant(text) => json_writer::write_string(out, text),
            }
        }
        out.push(b'}');
    }

    fn value(&self, out: &mut Vec<u8>, cells: &Cells, row: usize) {
        let as_text = self.style == Style::GraphQl
            && matches!(cells.values, Typed::Int64(_) | Typed::Decimal(..))
            && !cells.is_null(row);
        if !as_text {
            return json_writer::write(out, cells, row);
        }
        out.push(b'"');
        scalar_writer::write(out, &cells.values, row);
        out.push(b'"');
    }

    fn fields(&self, out: &mut Vec<u8>, change: &Change) {
        out.push(b'[');
        let mut first = true;
        let seen = (0..self.names.len()).filter(|column| !self.hidden.contains(column));
        let changed = seen.filter(|column| match change.kind {
            Kind::Insert => true,
            Kind::Update => change.changed.has(*column),
            Kind::Delete => false,
        });
        for column in changed {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            json_writer::write_string(out, &self.names[column]);
        }
        out.push(b']');
    }
}

/// The rows of a batch as objects, by the names of its columns.
pub fn rows_as_json(batch: &RecordBatch, style: Style) -> Result<Vec<Vec<u8>>> {
    let schema = batch.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let data: Vec<(String, DataMember)> = names.iter().cloned().zip((0..).map(DataMember::Column)).collect();
    let selection = Selection {
        style,
        members: Vec::new(),
        key: Vec::new(),
        hidden: Vec::new(),
        token: String::new(),
        names,
    };
    let rows = Rows::new(batch.clone());
    let cells = rows.cells()?;
    let mut change = Change {
        seq: 0,
        kind: Kind::Insert,
        key: Arc::from(&[][..]),
        rows: rows.clone(),
        row: 0,
        changed: Columns::none(batch.num_columns()),
        at: Instant::now(),
    };
    let write = |row: usize| {
        change.row = row;
        let mut text = Vec::new();
        selection.data(&mut text, &data, &change, cells);
        text
    };
    Ok((0..batch.num_rows()).map(write).collect())
}

/// A change, for all who want the same of it.
#[derive(Debug)]
pub struct Message {
    /// What happened.
    pub change: Arc<Change>,
    selection: Arc<Selection>,
    text: OnceLock<Bytes>,
}

impl Message {
    /// Of a change.
    pub fn new(change: Arc<Change>, selection: Arc<Selection>) -> Arc<Self> {
        Arc::new(Message {
            change,
            selection,
            text: OnceLock::new(),
        })
    }

    /// Its text, which is written when it is first asked for.
    pub fn text(&self) -> Bytes {
        let write = || {
            let mut text = Vec::with_capacity(128);
            match self.selection.write(&mut text, &self.change) {
                Ok(()) => Bytes::from(text),
                Err(error) => {
                    tracing::error!(%error, "a change cannot be written");
                    Bytes::from_static(b"null")
                }
            }
        };
        self.text.get_or_init(write).clone()
    }

    /// What this and a newer message of the same row are together; `None`: nothing.
    pub fn folded(&self, newer: &Message) -> Option<Arc<Message>> {
        let folded = Change::folded(&self.change, &newer.change, &self.selection.key)?;
        Some(Message::new(Arc::new(folded), newer.selection.clone()))
    }
}
