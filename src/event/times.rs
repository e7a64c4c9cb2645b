//! The event-time column of a batch.

use arrow::array::BooleanArray;
use arrow::buffer::ScalarBuffer;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// Event times of a batch's rows. Streams without a WATERMARK stamp a whole batch with its arrival time, so that
/// case costs nothing per row.
#[derive(Debug, Clone, PartialEq)]
pub enum Times {
    /// Every row has this time.
    Same(Micros),
    /// One time per row.
    Each(ScalarBuffer<i64>),
}

impl Times {
    /// The time of a row.
    ///
    /// # Panics
    /// When there are times for each row and `row` is past the last.
    #[inline]
    pub fn get(&self, row: usize) -> Micros {
        match self {
            Times::Same(time) => *time,
            Times::Each(times) => times[row],
        }
    }

    /// Rows `offset .. offset + length`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        match self {
            Times::Same(time) => Times::Same(*time),
            Times::Each(times) => Times::Each(times.slice(offset, length)),
        }
    }

    /// The rows where `mask` is true (NULL counts as false).
    pub fn filter(&self, mask: &BooleanArray) -> Self {
        match self {
            Times::Same(time) => Times::Same(*time),
            Times::Each(times) => Times::Each(
                times
                    .iter()
                    .zip(mask.iter())
                    .filter_map(|(time, keep)| (keep == Some(true)).then_some(*time))
                    .collect(),
            ),
        }
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Self {
        match self {
            Times::Same(time) => Times::Same(*time),
            Times::Each(times) => Times::Each(indices.iter().map(|&row| times[row as usize]).collect()),
        }
    }

    /// The times as a buffer of `rows` values.
    pub fn to_buffer(&self, rows: usize) -> ScalarBuffer<i64> {
        match self {
            Times::Same(time) => ScalarBuffer::from(vec![*time; rows]),
            Times::Each(times) => times.clone(),
        }
    }
}
