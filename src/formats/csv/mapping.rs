//! Which field holds which column, where the options say so.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::options::{Dialect, Header};
use crate::config::options::Options;
use crate::error::Diagnostic;
use crate::formats::mapped::{self, MAPPING};

/// The last position: wider records are no table.
const MAX_POSITION: usize = 65_535;

/// The field of each declared column.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    places: Arc<[Place]>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Of that name in the header.
    Name(String),
    /// At that position, from 0.
    Position(usize),
}

impl Mapping {
    /// From the options of a source; `None` when fields are found by the columns' names or order.
    pub(super) fn new(declared: &SchemaRef, options: &Options, dialect: &Dialect) -> Result<Option<Self>, Diagnostic> {
        let fields = declared.fields();
        let example = |column: &str| match dialect.header {
            Header::Present => column.to_string(),
            Header::Absent => "0".to_string(),
        };
        let Some(columns) = mapped::columns("csv", fields, options, example)? else {
            return Ok(None);
        };
        let mut places: Vec<Place> = Vec::with_capacity(columns.len());
        for (field, column) in fields.iter().zip(&columns) {
            let place = Place::parse(column.text).map_err(|reason| options.invalid(column.option, reason))?;
            if let (Place::Name(name), Header::Absent) = (&place, dialect.header) {
                let reason = format!("without a header no field is called '{name}'");
                return Err(options
                    .invalid(column.option, reason)
                    .hint("give its position, from 0, or set csv.header = 'true'"));
            }
            if let Some(twin) = places.iter().position(|other| *other == place) {
                let reason = format!(
                    "the columns '{}' and '{}' have the same field",
                    fields[twin].name(),
                    field.name()
                );
                return Err(options
                    .invalid(column.option, reason)
                    .hint("map one of them, and select it twice"));
            }
            places.push(place);
        }
        Ok(Some(Mapping { places: places.into() }))
    }

    /// Refuses the options where nothing is read.
    pub(super) fn refuse_at_sink(options: &Options) -> Result<(), Diagnostic> {
        match options.names().find(|name| name.starts_with(MAPPING)) {
            Some(name) => Err(options
                .invalid(name, "it says how to read, and a sink writes")
                .hint("remove it")),
            None => Ok(()),
        }
    }

    /// The declared column at a position.
    pub(super) fn at(&self, position: usize) -> Option<usize> {
        self.places.iter().position(|place| *place == Place::Position(position))
    }

    /// The names of fields in the header, each with its declared column.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(column, place)| match place {
                Place::Name(name) => Some((name.as_str(), column)),
                Place::Position(_) => None,
            })
    }

    /// The last position, and its declared column.
    pub(super) fn last(&self) -> Option<(usize, usize)> {
        let positions = self
            .places
            .iter()
            .enumerate()
            .filter_map(|(column, place)| match place {
                Place::Position(position) => Some((*position, column)),
                Place::Name(_) => None,
            });
        positions.max()
    }

    /// The declared column of each position up to the last, for records without a header.
    pub(super) fn positions(&self) -> Vec<Option<usize>> {
        let length = self.last().map_or(0, |(position, _)| position + 1);
        (0..length).map(|position| self.at(position)).collect()
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty: give a name of the header, or a position from 0".to_string());
        }
        if let Some(name) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            return Ok(Place::Name(name.to_string()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Place::Name(text.to_string()));
        }
        let position = text.parse().ok().filter(|position| *position <= MAX_POSITION);
        position
            .map(Place::Position)
            .ok_or_else(|| format!("positions are 0 to {MAX_POSITION}"))
    }
}
