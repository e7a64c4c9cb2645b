//! How values are read from columns, kept in state, compared, and put into columns.
//!
//! Kernels are generic over a [`Kind`], so that one MIN serves numbers, text and nested values, each compiled for itself.

use std::borrow::Borrow;
use std::hash::Hash;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

mod bools;
mod bytes;
mod encoded;
mod native;
mod placed;

pub(super) use bools::Bools;
pub(super) use bytes::Bytes;
pub(super) use encoded::Encoded;
pub(super) use native::{Native, Number, Numbers, Ordered};
pub(super) use placed::{Nulls, Place, Placed};

use crate::error::Result;

/// How an argument is read.
pub(super) trait Argument: Clone + Send + Sync + 'static {
    /// A column, opened for reading.
    type Column;
    /// The value of a row. Of a row that is NULL it is anything.
    type Value<'a>: Copy;

    /// Opens the first argument and says which rows are NULL.
    fn open(&self, arguments: &[ArrayRef]) -> Result<(Self::Column, Option<NullBuffer>)>;

    /// The value of a row.
    fn get(column: &Self::Column, row: usize) -> Self::Value<'_>;
}

/// A family of types whose values are handled alike.
pub(super) trait Kind: for<'a> Argument<Value<'a>: Borrow<Self::Key>> {
    /// A value as it is compared. Its order is that of MIN, MAX and ORDER BY: NaN equals NaN and is the greatest.
    type Key: Ord + Hash + ?Sized;
    /// A value kept in state.
    type Held: Borrow<Self::Key> + Ord + Hash + Clone + Send + Sync + 'static;
    /// A column under construction.
    type Builder;

    /// Keeps a value.
    fn hold(value: &Self::Key) -> Self::Held;

    /// Puts a value in the place of a kept one.
    fn hold_in(held: &mut Self::Held, value: &Self::Key) {
        *held = Self::hold(value);
    }

    /// The type of the columns built.
    fn data_type(&self) -> &DataType;

    /// An empty column for this many rows.
    fn builder(&self, rows: usize) -> Self::Builder;

    /// Appends a value or NULL.
    fn push(builder: &mut Self::Builder, value: Option<&Self::Key>);

    /// The finished column.
    fn finish(&self, builder: Self::Builder) -> Result<ArrayRef>;
}

/// What to do with the kind that suits a type; see [`with_kind`].
pub(super) trait Visitor {
    /// What comes out.
    type Output;
    /// Does it.
    fn visit<K: Kind>(self, kind: K) -> Self::Output;
}

/// Calls the visitor with the kind that suits a type, or says why there is none.
pub(super) fn with_kind<V: Visitor>(data_type: &DataType, visitor: V) -> Result<V::Output, String> {
    let of = data_type.clone();
    Ok(match data_type {
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => visitor.visit(Native::<i32>::new(of)),
        DataType::Int64
        | DataType::Timestamp(_, _)
        | DataType::Time64(_)
        | DataType::Date64
        | DataType::Duration(_) => visitor.visit(Native::<i64>::new(of)),
        DataType::Float32 => visitor.visit(Native::<f32>::new(of)),
        DataType::Float64 => visitor.visit(Native::<f64>::new(of)),
        DataType::Decimal128(_, _) => visitor.visit(Native::<i128>::new(of)),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => visitor.visit(Bytes::new(of)),
        _ => visitor.visit(Encoded::new(of)?),
    })
}

/// Like [`with_kind`], for aggregates that keep all their rows: only the commonest types have a kind of their own, so that
/// the many of these aggregates are compiled for few kinds.
pub(super) fn with_common_kind<V: Visitor>(data_type: &DataType, visitor: V) -> Result<V::Output, String> {
    let of = data_type.clone();
    Ok(match data_type {
        DataType::Int64 | DataType::Timestamp(_, _) => visitor.visit(Native::<i64>::new(of)),
        DataType::Float64 => visitor.visit(Native::<f64>::new(of)),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => visitor.visit(Bytes::new(of)),
        _ => visitor.visit(Encoded::new(of)?),
    })
}

/// The first argument as a column of this type.
fn column(arguments: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let column = arguments
        .first()
        .ok_or_else(|| crate::error::Error::failed("an aggregate lacks its argument"))?;
    match column.data_type() == data_type {
        true => Ok(column.clone()),
        false => Ok(arrow::compute::cast(column, data_type)?),
    }
}

/// No argument, or one of which only NULL matters.
#[derive(Debug, Clone)]
pub(super) struct Presence;

impl Argument for Presence {
    type Column = ();
    type Value<'a> = ();

    fn open(&self, arguments: &[ArrayRef]) -> Result<((), Option<NullBuffer>)> {
        Ok(((), arguments.first().and_then(|column| column.logical_nulls())))
    }

    #[inline(always)]
    fn get(_column: &(), _row: usize) {}
}
