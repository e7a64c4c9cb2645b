//! The generator source.
//!
//! A row's values depend on the seed, the column's place in the stream and the row's number, on nothing else: not on the pace,
//! the batches, or which columns are read. The position is the number of the next row.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use serde_json::json;

use super::columns::{Column, Generator, nulls};
use super::parameters::{Parameters, by_column};
use crate::catalog::types;
use crate::connectors::pacing::Pace;
use crate::connectors::{Flow, Position, Source, SourceOutput, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};

/// The time between rows of a column of times when there is no rate: 1 ms.
const STEP: i64 = 1_000;

/// The most rows a second.
const MAX_RATE: f64 = 1e9;

/// The source: see the module.
pub struct DatagenSource {
    schema: SchemaRef,
    columns: Vec<Generator>,
    pace: Pace,
    batch_rows: u64,
    limit: u64,
    row: u64,
}

impl DatagenSource {
    /// Checks the options and makes a generator for each column.
    pub fn new(spec: &SourceSpec) -> Result<Self, Diagnostic> {
        let options = &spec.options;
        let rate = options.number("rows-per-second").filter(|rate| *rate != 0.0);
        if rate.is_some_and(|rate| !(1e-6..=MAX_RATE).contains(&rate)) {
            return Err(options.invalid("rows-per-second", "it is up to 1000000000, or 0 for no limit"));
        }
        let step = rate.map_or(STEP, |rate| (1e6 / rate).round() as i64);
        let declared = &spec.schema.declared;
        let mut parameters = by_column(options, declared)?;
        let mut columns = Vec::with_capacity(spec.schema.wanted.len());
        for (index, field) in declared.fields().iter().enumerate() {
            let given = parameters.remove(&index);
            let generator = match &given {
                None if composite(field.data_type()) && field.is_nullable() => nulls(field.data_type().clone()),
                None if composite(field.data_type()) => {
                    let data_type = types::name(field.data_type());
                    let message = format!(
                        "datagen makes no values for the column {} {data_type} NOT NULL",
                        field.name()
                    );
                    return Err(Diagnostic::new(Code::Type, message));
                }
                _ => Column {
                    field,
                    index,
                    seed: options.integer("seed").unwrap_or(42) as u64,
                    step,
                    parameters: given.unwrap_or_else(|| Parameters::none(options)),
                }
                .generator()?,
            };
            if spec.schema.wanted.contains(&index) {
                columns.push(generator);
            }
        }
        Ok(DatagenSource {
            schema: spec.schema.decoded(),
            columns,
            pace: Pace::new(rate),
            batch_rows: options.integer("batch-rows").map_or(8192, i64::unsigned_abs),
            limit: options.integer("rows").map_or(u64::MAX, i64::unsigned_abs),
            row: 0,
        })
    }

    fn rows(&self, count: u64) -> Result<RecordBatch> {
        let rows = self.row..self.row + count;
        let columns = self.columns.iter().map(|column| column(rows.clone()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(usize::try_from(count).ok());
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }
}

/// Types for which no values are made unless a kind is given.
fn composite(data_type: &DataType) -> bool {
    data_type.is_nested() || matches!(data_type, DataType::Interval(_) | DataType::BinaryView)
}

impl Source for DatagenSource {
    fn is_bounded(&self) -> bool {
        self.limit < u64::MAX
    }

    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        while self.row < self.limit {
            let most = self.batch_rows.min(self.limit - self.row);
            let Some(count) = self.pace.take(most, out) else {
                return Ok(());
            };
            let batch = self.rows(count)?;
            self.row += count;
            if out.emit(batch, Some(json!({"row": self.row}))) == Flow::Stop {
                return Ok(());
            }
        }
        Ok(())
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.row = position["row"]
            .as_u64()
            .ok_or_else(|| Error::failed(format!("not a position of a generator: {position}")))?;
        Ok(())
    }
}
