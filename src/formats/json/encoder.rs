//! Batches to lines.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::mapping;
use super::options::{ENVELOPE, INCLUDE_NULLS, OPS};
use super::path::{JsonPath, Segment};
use crate::config::options::Options;
use crate::error::{Diagnostic, Result};
use crate::event::EventBatch;
use crate::formats::Encoder;
use crate::formats::columns::dates::DateFormat;
use crate::formats::columns::json_writer;
use crate::formats::columns::scalar_writer::{self, Cells};
use crate::formats::template::{Spot, Syntax, TEMPLATE, Template};

/// The member of the operation, when it is not named.
const OP: &str = "op";

/// Writes one object a line, members in the order of the columns.
#[derive(Debug)]
pub(super) struct JsonEncoder {
    schema: SchemaRef,
    /// What stands before each value: `,"name":`.
    labels: Vec<Vec<u8>>,
    /// What stands before the operation, if that is written.
    before_op: Option<Vec<u8>>,
    /// What stands before the first member, and after the last.
    open: Vec<u8>,
    close: Vec<u8>,
    nulls: Nulls,
    dates: Option<Arc<DateFormat>>,
}

/// Whether columns that are NULL are members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Written,
    LeftOut,
}

/// An encoder of the form that the options of a sink ask for.
pub(super) fn encoder(schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
    mapping::refuse_at_sink(options)?;
    let dates = mapping::dates(options)?;
    let Some(template) = Template::of(options, schema, Syntax::Json)? else {
        return Ok(Box::new(JsonEncoder::new(schema, options, dates)?));
    };
    let ops = operation(options).map(|_| OPS);
    let envelope = options.text(ENVELOPE).map(|_| ENVELOPE);
    let nulls = (!options.boolean(INCLUDE_NULLS)).then_some(INCLUDE_NULLS);
    match ops.or(envelope).or(nulls) {
        None => Ok(Box::new(TemplateEncoder { template, dates })),
        Some(other) => Err(options
            .invalid(other, format!("the form of a record is what json.{TEMPLATE} says"))
            .hint(format!("remove it, or json.{TEMPLATE}"))),
    }
}

/// The member that the operation is written to.
fn operation(options: &Options) -> Option<&str> {
    match options.text(OPS)? {
        "false" => None,
        "true" => Some(OP),
        name => Some(name),
    }
}

/// The names of the objects around a record, the outermost first.
fn envelope(options: &Options) -> Result<Vec<String>, Diagnostic> {
    let Some(text) = options.text(ENVELOPE) else {
        return Ok(Vec::new());
    };
    if !text.starts_with('$') {
        return Ok(vec![text.to_string()]);
    }
    let path = JsonPath::parse(text).map_err(|reason| options.invalid(ENVELOPE, reason))?;
    let names = path.segments.into_iter().map(|segment| match segment {
        Segment::Name(name) if !path.whole => Ok(name),
        _ => Err(options.invalid(ENVELOPE, "it is made of names only: 'event', or '$.data.event'")),
    });
    names.collect()
}

impl JsonEncoder {
    fn new(schema: &SchemaRef, options: &Options, dates: Option<Arc<DateFormat>>) -> Result<Self, Diagnostic> {
        let labels = schema.fields().iter().map(|field| label(b',', field.name()));
        let names = envelope(options)?;
        let operation = operation(options);
        if let Some(name) = operation
            && names.is_empty()
            && schema.fields().iter().any(|field| field.name() == name)
        {
            let error = options.invalid(OPS, format!("'{name}' is a column already"));
            return Err(error.hint("give the member of the operation another name, or set json.envelope"));
        }
        if let (Some(name), Some(outer)) = (operation, names.first())
            && name == outer
        {
            return Err(options.invalid(OPS, format!("'{name}' is the envelope already")));
        }
        let before_op = operation.map(|name| [label(b'{', name), b"\"".to_vec()].concat());
        let mut open = if operation.is_some() {
            b"\"".to_vec()
        } else {
            Vec::new()
        };
        for (depth, name) in names.iter().enumerate() {
            let first = if depth == 0 && operation.is_some() { b',' } else { b'{' };
            open.extend_from_slice(&label(first, name));
        }
        let braces = 1 + names.len();
        Ok(JsonEncoder {
            labels: labels.collect(),
            before_op,
            open,
            close: [vec![b'}'; braces], b"\n".to_vec()].concat(),
            nulls: match options.boolean(INCLUDE_NULLS) {
                true => Nulls::Written,
                false => Nulls::LeftOut,
            },
            schema: schema.clone(),
            dates,
        })
    }

    /// Whether the operation is the first member of the record itself.
    fn starts_with_op(&self) -> bool {
        self.before_op.is_some() && self.open.len() == 1
    }
}

/// A name with its colon, after a brace or a comma.
fn label(first: u8, name: &str) -> Vec<u8> {
    let mut label = vec![first];
    json_writer::write_string(&mut label, name);
    label.push(b':');
    label
}

impl Encoder for JsonEncoder {
    fn media_type(&self) -> &'static str {
        "application/json"
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let mut cells = scalar_writer::cells(&self.schema, batch.columns().columns())?;
        if let Some(dates) = &self.dates {
            cells.iter_mut().for_each(|cells| cells.set_dates(dates));
        }
        let starts_with_op = self.starts_with_op();
        for row in 0..batch.num_rows() {
            if let Some(before) = &self.before_op {
                out.extend_from_slice(before);
                out.extend_from_slice(batch.op(row).sign().as_bytes());
            }
            out.extend_from_slice(&self.open);
            // The first member's comma becomes the object's brace.
            let start = out.len();
            for (label, cells) in self.labels.iter().zip(&cells) {
                if self.nulls == Nulls::LeftOut && cells.is_null(row) {
                    continue;
                }
                out.extend_from_slice(label);
                json_writer::write(out, cells, row);
            }
            if !starts_with_op {
                match out.get_mut(start) {
                    Some(comma) => *comma = b'{',
                    None => out.push(b'{'),
                }
            }
            out.extend_from_slice(&self.close);
        }
        Ok(())
    }
}

/// Writes what a template says, a line a row.
#[derive(Debug)]
struct TemplateEncoder {
    template: Template,
    dates: Option<Arc<DateFormat>>,
}

impl Encoder for TemplateEncoder {
    fn media_type(&self) -> &'static str {
        "application/json"
    }

    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let value = |out: &mut Vec<u8>, cells: &Cells, row: usize, spot: Spot| match spot {
            Spot::Bare => json_writer::write(out, cells, row),
            Spot::InString => in_string(out, cells, row),
        };
        self.template.encode(batch, self.dates.as_ref(), b"\n", out, value)
    }
}

/// Appends a value as a part of a string: texts escaped, NULL as nothing.
fn in_string(out: &mut Vec<u8>, cells: &Cells, row: usize) {
    if cells.is_null(row) {
        return;
    }
    let mut text = Vec::new();
    json_writer::write(&mut text, cells, row);
    match text.as_slice() {
        [b'"', inner @ .., b'"'] => out.extend_from_slice(inner),
        [b'{' | b'[', ..] => {
            let mut quoted = Vec::new();
            json_writer::write_string(&mut quoted, &String::from_utf8_lossy(&text));
            out.extend_from_slice(&quoted[1..quoted.len() - 1]);
        }
        other => out.extend_from_slice(other),
    }
}
