//! [`Cells`]: the values of one column in one chunk, shared with readers and yet written in place.

use std::ops::Deref;

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;

/// An array that is an Arrow buffer while nobody writes. Opening it for writing costs nothing when nobody else holds the
/// buffer, else a copy, so that a scan keeps what it saw.
#[derive(Debug)]
pub(super) struct Cells<T: ArrowNativeType> {
    is_open: bool,
    open: Vec<T>,
    frozen: ScalarBuffer<T>,
}

impl<T: ArrowNativeType> Default for Cells<T> {
    fn default() -> Self {
        Cells {
            is_open: false,
            open: Vec::new(),
            frozen: Vec::new().into(),
        }
    }
}

impl<T: ArrowNativeType> Deref for Cells<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        if self.is_open { &self.open } else { &self.frozen }
    }
}

impl<T: ArrowNativeType> Cells<T> {
    /// Whether it is not open.
    pub fn is_frozen(&self) -> bool {
        !self.is_open
    }

    /// The values, to be written.
    pub fn open(&mut self) -> &mut Vec<T> {
        if !self.is_open {
            let values = std::mem::replace(&mut self.frozen, Vec::new().into());
            let values = values.into_inner().into_vec::<T>();
            self.open = values.unwrap_or_else(|shared| shared.typed_data::<T>().to_vec());
            self.is_open = true;
        }
        &mut self.open
    }

    /// Whether somebody else holds the values.
    pub fn is_shared(&self) -> bool {
        self.frozen.inner().strong_count() > 1
    }

    /// Ends writing.
    pub fn freeze(&mut self) {
        if self.is_open {
            self.frozen = std::mem::take(&mut self.open).into();
            self.is_open = false;
        }
    }

    /// The first values: shared when frozen.
    pub fn share(&self, length: usize) -> ScalarBuffer<T> {
        if self.is_open {
            return self.open[..length].to_vec().into();
        }
        self.frozen.slice(0, length)
    }
}
