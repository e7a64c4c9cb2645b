//! Rows of a case file to columns, by the same decoder that sources use.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::case::Row;
use super::cell::Cell;
use super::value::Value;
use crate::catalog::names::{Resolved, resolve};
use crate::config::nearest::nearest;
use crate::config::options::Options;
use crate::error::Result;
use crate::formats::json::JsonFormat;
use crate::formats::{BadRecord, Block, DecodeSchema, Decoded, Format, FrameKind};

/// A row's values in the order of the columns; `None` for columns that the row does not have. `Err` says what does not fit.
pub(super) fn arrange<'r>(row: &'r Row, schema: &Schema) -> Result<Vec<Option<&'r Value>>, String> {
    let fields = schema.fields();
    let mut values = vec![None; fields.len()];
    match row {
        Row::Positional(given) if given.len() > fields.len() => {
            return Err(format!(
                "the row has {} values, the stream {} columns",
                given.len(),
                fields.len()
            ));
        }
        Row::Positional(given) => {
            for (value, given) in values.iter_mut().zip(given) {
                *value = Some(given);
            }
        }
        Row::Named(members) => {
            for (name, given) in members {
                let index = column(name, schema)?;
                if values[index].replace(given).is_some() {
                    return Err(format!("the row has column '{name}' twice"));
                }
            }
        }
    }
    Ok(values)
}

fn column(name: &str, schema: &Schema) -> Result<usize, String> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let found = match resolve(name, names()) {
        Resolved::One(exact) => schema.index_of(exact).ok(),
        Resolved::Ambiguous(several) => return Err(format!("'{name}' could be any of {}", several.join(", "))),
        Resolved::None => None,
    };
    found.ok_or_else(|| match nearest(name, names()) {
        Some(near) => format!("there is no column '{name}'; did you mean '{near}'?"),
        None => format!(
            "there is no column '{name}'; there are: {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    })
}

/// Rows as columns of a stream. `Err` says which row does not fit, and why.
pub(super) fn decode(rows: &[Row], schema: &SchemaRef) -> Result<RecordBatch, String> {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let values = arrange(row, schema).map_err(|reason| format!("row {}: {reason}", number + 1))?;
        line(&mut text, schema, &values);
    }
    let decoded = decode_text(text, schema).map_err(|error| error.to_string())?;
    match decoded.errors.first() {
        None => Ok(decoded.columns),
        Some(BadRecord { message, raw, line, .. }) => Err(format!("row {line}: {message} in {}", raw.trim())),
    }
}

/// One value as a column of that type would hold it; `None` when it cannot.
pub(super) fn read(data_type: &DataType, value: &Value) -> Option<Cell> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("value", data_type.clone(), true)]));
    let mut text = String::new();
    line(&mut text, &schema, &[Some(value)]);
    let decoded = decode_text(text, &schema)
        .ok()
        .filter(|decoded| decoded.errors.is_empty())?;
    Some(Cell::new(decoded.columns.column(0).as_ref(), 0))
}

fn line(text: &mut String, schema: &Schema, values: &[Option<&Value>]) {
    let given = schema
        .fields()
        .iter()
        .zip(values)
        .filter_map(|(field, value)| Some((field.name().clone(), (*value)?.clone())));
    text.push_str(&Value::Object(given.collect()).to_string());
    text.push('\n');
}

fn decode_text(text: String, schema: &SchemaRef) -> Result<Decoded> {
    let options = Options::check("json", JsonFormat.options(), &[])?;
    let mut decoder = JsonFormat.decoder(&DecodeSchema::all(schema.clone()), &options)?;
    decoder.decode(&Block {
        bytes: text.into_bytes(),
        first_line: 1,
        layout: None,
        kind: FrameKind::Records,
    })
}
