//! Arguments of aggregates that depend on the order of rows: values with their NULLs, and what they are ordered by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::{Argument, Kind};
use crate::error::{Error, Result};

/// What becomes of NULLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Nulls {
    /// They are values like others.
    Respect,
    /// Rows with them do nothing.
    Ignore,
}

/// A value or NULL, and the bytes by which its row is ordered; none without ORDER BY.
#[derive(Debug, Clone)]
pub(in super::super) struct Placed<K> {
    kind: K,
    nulls: Nulls,
    order: Option<Order>,
}

/// The ORDER BY columns, which follow the arguments.
#[derive(Debug, Clone)]
struct Order {
    /// How many arguments stand before them.
    after: usize,
    converter: Arc<RowConverter>,
}

impl<K> Placed<K> {
    /// Values of a kind in the order in which they are added.
    pub fn new(kind: K, nulls: Nulls) -> Self {
        Placed {
            kind,
            nulls,
            order: None,
        }
    }

    /// Values ordered by columns of these types that stand after `after` arguments.
    pub fn ordered(self, after: usize, by: &[(DataType, SortOptions)]) -> Result<Self, String> {
        let fields = by
            .iter()
            .map(|(data_type, options)| SortField::new_with_options(data_type.clone(), *options));
        let converter = RowConverter::new(fields.collect()).map_err(|error| error.to_string())?;
        let converter = Arc::new(converter);
        Ok(Placed {
            order: Some(Order { after, converter }),
            ..self
        })
    }

    /// The kind of the values.
    pub fn kind(&self) -> &K {
        &self.kind
    }
}

/// An opened column of [`Placed`] values.
pub(in super::super) struct PlacedColumn<K: Kind> {
    values: K::Column,
    nulls: Option<NullBuffer>,
    places: Option<Rows>,
}

/// One of them.
pub(in super::super) struct Place<'a, K: Kind> {
    /// The value, `None` for NULL.
    pub value: Option<K::Value<'a>>,
    /// The bytes by which it is ordered.
    pub place: &'a [u8],
}

impl<K: Kind> Clone for Place<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kind> Copy for Place<'_, K> {}

impl<K: Kind> Argument for Placed<K> {
    type Column = PlacedColumn<K>;
    type Value<'a> = Place<'a, K>;

    fn open(&self, arguments: &[ArrayRef]) -> Result<(PlacedColumn<K>, Option<NullBuffer>)> {
        let (values, _) = self.kind.open(arguments)?;
        let nulls = arguments.first().and_then(|column| column.logical_nulls());
        let places = match &self.order {
            None => None,
            Some(order) => {
                let by = arguments.get(order.after..);
                let by = by.ok_or_else(|| Error::failed("an aggregate lacks what it is ordered by"))?;
                Some(order.converter.convert_columns(by)?)
            }
        };
        let ignored = nulls.clone().filter(|_| self.nulls == Nulls::Ignore);
        Ok((PlacedColumn { values, nulls, places }, ignored))
    }

    fn get(column: &PlacedColumn<K>, row: usize) -> Place<'_, K> {
        let valid = column.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        Place {
            value: valid.then(|| K::get(&column.values, row)),
            place: column.places.as_ref().map_or(&[], |places| places.row(row).data()),
        }
    }
}
