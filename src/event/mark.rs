//! What a source that copies a relation says between its rows.

use super::Micros;

/// The edges of a snapshot.
///
/// A snapshot is the whole relation at one moment. Between its edges come its rows, each as an insert, and nothing else. Whoever
/// holds the relation as it was before finds the difference: rows that are as they were are nothing new, and rows that did not
/// come are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The rows of a snapshot begin. One that was begun before and has no end yet is given up.
    SnapshotBegins,
    /// It was whole, at this time.
    SnapshotEnds(Micros),
}
