//! Columns of booleans: a byte each, so that they are written in place like all else.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt8Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, UInt8Type};

use super::super::places::Position;
use super::ColumnStore;
use super::primitive::Primitive;
use crate::error::Result;

/// Booleans.
#[derive(Debug)]
pub(super) struct Bools(Primitive<UInt8Type>);

impl Default for Bools {
    fn default() -> Self {
        Bools(Primitive::new(&DataType::UInt8))
    }
}

fn bytes(values: &ArrayRef) -> ArrayRef {
    let bools = values.as_boolean();
    let bytes: Vec<u8> = bools.values().iter().map(u8::from).collect();
    Arc::new(UInt8Array::new(bytes.into(), bools.nulls().cloned()))
}

fn bools(bytes: &ArrayRef) -> ArrayRef {
    let bytes = bytes.as_primitive::<UInt8Type>();
    let bits = BooleanBuffer::collect_bool(bytes.len(), |row| bytes.value(row) != 0);
    Arc::new(BooleanArray::new(bits, bytes.nulls().cloned()))
}

impl ColumnStore for Bools {
    fn write(&mut self, values: &ArrayRef, rows: &[u32], at: &[Position]) -> Result<()> {
        self.0.write(&bytes(values), rows, at)
    }

    fn read(&self, at: &[Position]) -> Result<ArrayRef> {
        Ok(bools(&self.0.read(at)?))
    }

    fn equal(&self, at: &[Position], values: &ArrayRef, rows: &[u32], equal: &mut [bool]) -> Result<()> {
        self.0.equal(at, &bytes(values), rows, equal)
    }

    fn same(&self, a: Position, b: Position) -> bool {
        self.0.same(a, b)
    }

    fn share(&self, chunk: usize, rows: usize) -> Result<ArrayRef> {
        Ok(bools(&self.0.share(chunk, rows)?))
    }

    fn erase(&mut self, at: &[Position]) -> Result<()> {
        self.0.erase(at)
    }

    fn release(&mut self, chunk: usize) {
        self.0.release(chunk);
    }

    fn settle(&mut self) {
        self.0.settle();
    }

    fn width(&self) -> usize {
        self.0.width()
    }

    fn extra(&self, at: Position) -> usize {
        self.0.extra(at)
    }

    fn extra_of(&self, values: &ArrayRef) -> Vec<usize> {
        vec![0; values.len()]
    }
}
