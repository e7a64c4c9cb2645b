//! Ways of giving values that are in order.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, NullBufferBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};

use super::super::kinds::{Bytes, Kind};
use crate::error::{Error, Result};

/// What is made of a group's values.
pub(in super::super) trait Shape<K: Kind>: Clone + Send + Sync + 'static {
    /// A column of results under construction.
    type Output;
    /// The type of the results.
    fn data_type<'a>(&'a self, kind: &'a K) -> &'a DataType;
    /// An empty column.
    fn output(&self, kind: &K, rows: usize) -> Self::Output;
    /// Appends what is made of these values.
    fn emit<'a>(&self, values: impl DoubleEndedIterator<Item = Option<&'a K::Key>>, output: &mut Self::Output)
    where
        K::Key: 'a;
    /// The finished column.
    fn finish(&self, kind: &K, output: Self::Output) -> Result<ArrayRef>;
}

/// All of them, as a list.
#[derive(Debug, Clone)]
pub(in super::super) struct List {
    data_type: DataType,
    item: FieldRef,
}

/// A column of lists under construction.
pub(in super::super) struct Lists<B> {
    items: B,
    lengths: Vec<usize>,
    nulls: NullBufferBuilder,
}

impl<B> Lists<B> {
    /// An empty column with this one for the items.
    pub fn new(items: B, rows: usize) -> Self {
        Lists {
            items,
            lengths: Vec::with_capacity(rows),
            nulls: NullBufferBuilder::new(rows),
        }
    }

    /// Appends a list; NULL when there is nothing in it.
    pub fn push<'a, K: Kind<Builder = B>>(&mut self, values: impl Iterator<Item = Option<&'a K::Key>>)
    where
        K::Key: 'a,
    {
        let mut length = 0;
        for value in values {
            K::push(&mut self.items, value);
            length += 1;
        }
        self.lengths.push(length);
        self.nulls.append(length != 0);
    }
}

impl List {
    /// Of this list type.
    pub fn new(data_type: &DataType) -> Result<Self, String> {
        match data_type {
            DataType::List(item) => Ok(List {
                data_type: data_type.clone(),
                item: item.clone(),
            }),
            other => Err(format!("a list was expected, not {other}")),
        }
    }

    /// The type of the lists.
    pub fn list_type(&self) -> &DataType {
        &self.data_type
    }

    /// The finished column.
    pub fn column<K: Kind>(&self, kind: &K, mut lists: Lists<K::Builder>) -> Result<ArrayRef> {
        let items: usize = lists.lengths.iter().sum();
        if i32::try_from(items).is_err() {
            return Err(Error::failed("the lists of one batch have more than 2^31 items"));
        }
        let offsets = OffsetBuffer::from_lengths(lists.lengths);
        let items = kind.finish(lists.items)?;
        let list = ListArray::try_new(self.item.clone(), offsets, items, lists.nulls.finish())?;
        Ok(Arc::new(list))
    }
}

impl<K: Kind> Shape<K> for List {
    type Output = Lists<K::Builder>;

    fn data_type<'a>(&'a self, _kind: &'a K) -> &'a DataType {
        &self.data_type
    }

    fn output(&self, kind: &K, rows: usize) -> Self::Output {
        Lists::new(kind.builder(rows), rows)
    }

    fn emit<'a>(&self, values: impl DoubleEndedIterator<Item = Option<&'a K::Key>>, output: &mut Self::Output)
    where
        K::Key: 'a,
    {
        output.push::<K>(values);
    }

    fn finish(&self, kind: &K, output: Self::Output) -> Result<ArrayRef> {
        self.column(kind, output)
    }
}

/// The strings one after the other.
#[derive(Debug, Clone)]
pub(in super::super) struct Joined {
    /// What stands between them.
    pub separator: Arc<[u8]>,
    /// The result.
    pub result: Bytes,
}

impl<K: Kind<Key = [u8]>> Shape<K> for Joined {
    type Output = <Bytes as Kind>::Builder;

    fn data_type<'a>(&'a self, _kind: &'a K) -> &'a DataType {
        self.result.data_type()
    }

    fn output(&self, _kind: &K, rows: usize) -> Self::Output {
        self.result.builder(rows)
    }

    fn emit<'a>(&self, values: impl DoubleEndedIterator<Item = Option<&'a [u8]>>, output: &mut Self::Output) {
        let mut joined: Option<Vec<u8>> = None;
        for value in values.flatten() {
            match &mut joined {
                None => joined = Some(value.to_vec()),
                Some(joined) => {
                    joined.extend_from_slice(&self.separator);
                    joined.extend_from_slice(value);
                }
            }
        }
        Bytes::push(output, joined.as_deref());
    }

    fn finish(&self, _kind: &K, output: Self::Output) -> Result<ArrayRef> {
        self.result.finish(output)
    }
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Pick {
    /// The one with this many before it.
    FromStart(usize),
    /// The one with this many after it.
    FromEnd(usize),
}

impl<K: Kind> Shape<K> for Pick {
    type Output = K::Builder;

    fn data_type<'a>(&'a self, kind: &'a K) -> &'a DataType {
        kind.data_type()
    }

    fn output(&self, kind: &K, rows: usize) -> K::Builder {
        kind.builder(rows)
    }

    fn emit<'a>(&self, mut values: impl DoubleEndedIterator<Item = Option<&'a K::Key>>, output: &mut K::Builder)
    where
        K::Key: 'a,
    {
        let value = match self {
            Pick::FromStart(before) => values.nth(*before),
            Pick::FromEnd(after) => values.nth_back(*after),
        };
        K::push(output, value.flatten().map(Borrow::borrow));
    }

    fn finish(&self, kind: &K, output: K::Builder) -> Result<ArrayRef> {
        kind.finish(output)
    }
}
