//! How the columns of an input become those of the stream.

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::formats::DecodeSchema;

/// An overflow is an error, not NULL.
const CAST: CastOptions = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// Where the wanted columns are in the input's.
#[derive(Debug)]
pub(crate) struct Fit {
    decoded: SchemaRef,
    /// For each wanted column the input's, if it has it.
    from: Vec<Option<usize>>,
    /// The input's columns that are read, ascending.
    pub(crate) read: Vec<usize>,
}

impl Fit {
    /// By name, exactly or else but for case; or why the input cannot be read.
    pub(crate) fn new(theirs: &Schema, schema: &DecodeSchema) -> Result<Self, String> {
        let decoded = schema.decoded();
        let names = || theirs.fields().iter().map(|field| field.name().as_str());
        let find = |name: &str| match resolve(name, names()) {
            Resolved::One(found) => names().position(|name| name == found),
            _ => None,
        };
        if schema
            .declared
            .fields()
            .iter()
            .all(|field| find(field.name()).is_none())
        {
            let ours = schema.declared.fields().iter().map(|field| field.name().as_str());
            return Err(format!(
                "it has none of the columns {}; its columns are {}",
                ours.collect::<Vec<_>>().join(", "),
                names().collect::<Vec<_>>().join(", ")
            ));
        }
        let mut from = Vec::new();
        for field in decoded.fields() {
            let place = find(field.name());
            match place {
                Some(place) => check(theirs.field(place), field)?,
                None if !field.is_nullable() => {
                    return Err(format!("it lacks the column '{}', which is NOT NULL", field.name()));
                }
                None => {}
            }
            from.push(place);
        }
        let mut read: Vec<usize> = from.iter().flatten().copied().collect();
        read.sort_unstable();
        read.dedup();
        Ok(Fit { decoded, from, read })
    }

    /// The batch's rows as those of the stream. `theirs` holds the columns of [`Fit::read`]. Rows with NULL in a NOT NULL column
    /// are left out and told, with the number of good rows before them.
    pub(crate) fn convert(&self, theirs: &RecordBatch, bad: &mut Vec<(String, usize)>) -> Result<RecordBatch, String> {
        let mut columns = Vec::with_capacity(self.from.len());
        for (field, from) in self.decoded.fields().iter().zip(&self.from) {
            columns.push(match from.and_then(|from| self.read.binary_search(&from).ok()) {
                Some(place) => cast_with_options(theirs.column(place), field.data_type(), &CAST)
                    .map_err(|error| format!("column '{}': {error}", field.name()))?,
                None => arrow::array::new_null_array(field.data_type(), theirs.num_rows()),
            });
        }
        // Columns as if all could be NULL, until the rows that must not are gone.
        let nullable = self
            .decoded
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true));
        let nullable = Schema::new(nullable.collect::<Vec<Field>>());
        let options = RecordBatchOptions::new().with_row_count(Some(theirs.num_rows()));
        let batch =
            RecordBatch::try_new_with_options(nullable.into(), columns, &options).map_err(|error| error.to_string())?;
        let batch = self.without_nulls(batch, bad)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.decoded.clone(), batch.columns().to_vec(), &options)
            .map_err(|error| error.to_string())
    }

    fn without_nulls(&self, batch: RecordBatch, bad: &mut Vec<(String, usize)>) -> Result<RecordBatch, String> {
        let required = || {
            let pairs = self.decoded.fields().iter().zip(batch.columns());
            pairs.filter(|(field, column)| !field.is_nullable() && column.logical_null_count() > 0)
        };
        if required().next().is_none() {
            return Ok(batch);
        }
        let mut good = 0;
        let keep: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                let null = required().find(|(_, column)| column.is_null(row));
                match null {
                    Some((field, _)) => {
                        bad.push((format!("column '{}': NULL in a NOT NULL column", field.name()), good))
                    }
                    None => good += 1,
                }
                Some(null.is_none())
            })
            .collect();
        filter_record_batch(&batch, &keep).map_err(|error| error.to_string())
    }
}

/// Whether a column of the input can be the stream's.
fn check(theirs: &Field, ours: &Field) -> Result<(), String> {
    let name = ours.name();
    if holds_dictionary(theirs.data_type()) {
        return Err(format!(
            "its column '{name}' is encoded with a dictionary, which is not supported; write it without one"
        ));
    }
    match types::widens(theirs.data_type(), ours.data_type()) {
        true => Ok(()),
        false => Err(format!(
            "its column '{name}' is {}, but the stream's is {}",
            types::name(theirs.data_type()),
            types::name(ours.data_type())
        )),
    }
}

fn holds_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, _) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds_dictionary(item.data_type()),
        DataType::Struct(parts) => parts.iter().any(|part| holds_dictionary(part.data_type())),
        DataType::RunEndEncoded(ends, values) => {
            holds_dictionary(ends.data_type()) || holds_dictionary(values.data_type())
        }
        _ => false,
    }
}
