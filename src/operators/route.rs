//! Which of several workers a PARTITION's key belongs to.

use arrow::array::ArrayRef;
use datafusion_common::hash_utils::{RandomState, create_hashes};

use super::group_table::normal;
use crate::error::Result;
use crate::event::EventBatch;

/// Part of every key's hash. Always the same: after a restart keys must meet the state that they had.
const SEED: u64 = 0x6576_656e_7466_6c78;

/// The rows of each of `workers`, by the key in `column`; equal keys, as [`super::group_table`] sees them, are of one worker.
///
/// *Cost.* A hash a row, and a gather unless all rows are one worker's.
pub fn route(batch: &EventBatch, column: usize, workers: usize) -> Result<Vec<Option<EventBatch>>> {
    let rows = batch.num_rows();
    let mut hashes = vec![0; rows];
    let key: ArrayRef = normal::column(batch.column(column))?;
    create_hashes([&key], &RandomState::with_seed(SEED), &mut hashes)?;
    let mut of_worker: Vec<Vec<u32>> = vec![Vec::new(); workers];
    for (row, hash) in (0..).zip(&hashes) {
        // The upper bits: tables of the workers go by the lower ones.
        of_worker[((hash >> 32) % workers as u64) as usize].push(row);
    }
    let part = |rows_of: Vec<u32>| match rows_of.len() {
        0 => Ok(None),
        all if all == rows => Ok(Some(batch.clone())),
        _ => batch.take(rows_of).map(Some),
    };
    of_worker.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Float64Array, RecordBatch};
    use arrow::datatypes::Float64Type;

    use super::*;
    use crate::event::Times;

    #[test]
    fn equal_keys_go_one_way_and_keep_their_order() {
        let keys = [0.0, -0.0, 1.5, f64::NAN, -f64::NAN, 2.5, 1.5, 3.5, 4.5, 5.5];
        let column: ArrayRef = Arc::new(Float64Array::from(keys.to_vec()));
        let columns = RecordBatch::try_from_iter([("k", column)]).expect("a column");
        let batch = EventBatch::inserts(columns, Times::Each((0..10).collect()));
        let parts = route(&batch, 0, 3).expect("it routes");
        let mut met = Vec::new();
        for (worker, part) in parts.iter().enumerate() {
            let Some(part) = part else { continue };
            let times = part.times().to_buffer(part.num_rows());
            assert!(times.is_sorted());
            let keys = part.column(0).as_primitive::<Float64Type>().values().to_vec();
            met.extend(
                keys.into_iter()
                    .zip(times.iter().copied())
                    .map(|(key, time)| (time, key, worker)),
            );
        }
        met.sort_by_key(|(time, ..)| *time);
        assert_eq!(met.len(), keys.len());
        let worker = |row: usize| met[row].2;
        assert_eq!((worker(0), worker(2), worker(3)), (worker(1), worker(6), worker(4)));
    }
}
