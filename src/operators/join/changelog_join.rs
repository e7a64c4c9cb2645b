//! Join of two streams or changelogs, all of whose rows are kept.

use super::spec::JoinSpec;
use crate::event::Micros;

/// What a changelog join does.
#[derive(Debug, Clone)]
pub struct ChangelogJoinPlan {
    /// Which rows match.
    pub join: JoinSpec,
    /// The left and the right side.
    pub sides: [ChangelogSide; 2],
}

/// What is to be known of one side of a changelog join.
#[derive(Debug, Clone)]
pub struct ChangelogSide {
    /// What tells a row that is taken back.
    pub identity: Identity,
    /// How long a row is kept, in µs of processing time from its arrival; `None` for ever. With it the results are approximate:
    /// a row that came too late for its partner misses it, and what was joined with a dropped row is not taken back.
    pub ttl: Option<Micros>,
}

/// What tells a row that is taken back (`-D`, `-U`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Rows are only inserted.
    Inserts,
    /// All its columns: the earliest row that equals the one taken back is gone.
    Row,
    /// These columns, which are a primary key: other columns of a row taken back need not be filled in, and a row (`+I`, `+U`)
    /// whose key is there replaces that one.
    Key(Vec<usize>),
}
