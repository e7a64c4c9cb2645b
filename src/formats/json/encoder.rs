//! Batches to lines.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::event::EventBatch;
use crate::formats::Encoder;
use crate::formats::columns::dates::DateFormat;
use crate::formats::columns::{json_writer, scalar_writer};

/// Writes one object a line, members in the order of the columns.
#[derive(Debug)]
pub(super) struct JsonEncoder {
    schema: SchemaRef,
    /// What stands before each value: `{"first":`, `,"second":`.
    labels: Vec<Vec<u8>>,
    dates: Option<Arc<DateFormat>>,
}

impl JsonEncoder {
    pub(super) fn new(schema: &SchemaRef, dates: Option<Arc<DateFormat>>) -> Self {
        let labels = schema.fields().iter().enumerate().map(|(index, field)| {
            let mut label = vec![if index == 0 { b'{' } else { b',' }];
            json_writer::write_string(&mut label, field.name());
            label.push(b':');
            label
        });
        JsonEncoder {
            labels: labels.collect(),
            schema: schema.clone(),
            dates,
        }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> Result<()> {
        let mut cells = scalar_writer::cells(&self.schema, batch.columns().columns())?;
        if let Some(dates) = &self.dates {
            cells.iter_mut().for_each(|cells| cells.set_dates(dates));
        }
        for row in 0..batch.num_rows() {
            for (label, cells) in self.labels.iter().zip(&cells) {
                out.extend_from_slice(label);
                json_writer::write(out, cells, row);
            }
            out.extend_from_slice(if cells.is_empty() { b"{}\n" } else { b"}\n" });
        }
        Ok(())
    }
}
