//! The general way to read a line: `serde_json` takes it apart, by the letter of RFC 8259.
//!
//! It decides what is an error and what the message says; [`super::fast`] only ever agrees with it. A row visitor puts
//! each member that is a column into that column as it comes; there is no tree of values. A member that comes twice
//! replaces the former, as in `serde_json`, JavaScript and PostgreSQL's `jsonb`.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::formats::columns::{Column, json_value, shorten};

/// Blanks of a line that is not a record.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// The columns that are read, by name, and how many rows they hold.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
    names: HashMap<String, usize>,
}

impl Rows {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let names = columns
            .iter()
            .enumerate()
            .map(|(i, column)| (column.name().to_string(), i));
        Rows {
            names: names.collect(),
            columns,
            rows: 0,
        }
    }

    /// The column that a member goes to.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Forgets what an unfinished row left.
    pub(super) fn roll_back(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
    }

    /// Ends a row: columns without a value get NULL, which is an error for one that is NOT NULL.
    pub(super) fn fill(&mut self) -> Result<(), String> {
        for column in &mut self.columns {
            if column.len() == self.rows && column.push_null().is_err() {
                return Err(format!("column '{}' is NOT NULL but has no value", column.name()));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Reads a line without its end. Each bad record is reported with its raw text and the number of good rows before.
    pub(super) fn line(&mut self, line: &str, mut report: impl FnMut(String, &str, usize)) {
        let text = line.trim_matches(BLANKS);
        match text.as_bytes().first() {
            None => {}
            Some(b'{') => self.record(text, line, &mut report),
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => {
                    for item in items {
                        self.record(item.get(), item.get(), &mut report);
                    }
                }
                Err(error) => report(syntax(&error), line, self.rows),
            },
            Some(_) => self.record(text, line, &mut report),
        }
    }

    fn record(&mut self, text: &str, raw: &str, report: &mut impl FnMut(String, &str, usize)) {
        let read = match text.starts_with('{') {
            true => self.object(text),
            false => Err(format!("expected a JSON object, found {}", shorten(text))),
        };
        if let Err(message) = read {
            self.roll_back();
            report(message, raw, self.rows);
        }
    }

    fn object(&mut self, text: &str) -> Result<(), String> {
        let mut refused = None;
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(RowVisitor {
            rows: self,
            refused: &mut refused,
        });
        match (read.and_then(|()| json.end()), refused) {
            (_, Some(message)) => Err(message),
            (Err(error), None) => Err(syntax(&error)),
            (Ok(()), None) => self.fill(),
        }
    }
}

/// A syntax error with its place in the line.
fn syntax(error: &serde_json::Error) -> String {
    format!(
        "not valid JSON: {} at column {}",
        json_value::plain(error),
        error.column()
    )
}

/// Puts the members of one object into their columns.
struct RowVisitor<'a> {
    rows: &'a mut Rows,
    /// Why a value was refused: it takes the place of the error that stops `serde_json`.
    refused: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(column) = map.next_key_seed(Name(self.rows))? {
            let Some(column) = column else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            let row = self.rows.rows;
            let column = &mut self.rows.columns[column];
            if column.len() > row {
                column.truncate(row);
            }
            if let Err(reject) = json_value::push(column, value.get()) {
                *self.refused = Some(reject.message(column.name()));
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// A member's name, as the column it means.
struct Name<'a>(&'a Rows);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.column(name))
    }
}
