//! What an event of a changelog does to the row of its key.

use std::sync::Arc;

/// Insert, delete, or one half of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `+I`: a new row.
    Insert,
    /// `-D`: the row is gone.
    Delete,
    /// `-U`: the row as it was before an update.
    UpdateBefore,
    /// `+U`: the row as it is after an update.
    UpdateAfter,
}

impl Op {
    /// The two-character sign used in tests, EXPLAIN and change-log formats.
    pub fn sign(self) -> &'static str {
        match self {
            Op::Insert => "+I",
            Op::Delete => "-D",
            Op::UpdateBefore => "-U",
            Op::UpdateAfter => "+U",
        }
    }

    /// The operation a sign stands for (`+I`, `-D`, `-U`, `+U`; `+` and `-` for short).
    pub fn from_sign(sign: &str) -> Option<Self> {
        match sign {
            "+I" | "+" => Some(Op::Insert),
            "-D" | "-" => Some(Op::Delete),
            "-U" => Some(Op::UpdateBefore),
            "+U" => Some(Op::UpdateAfter),
            _ => None,
        }
    }
}

/// One operation per row; a batch without them holds only inserts.
pub type Ops = Arc<[Op]>;
