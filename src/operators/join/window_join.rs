//! Join of windows: what arrives on either side meets what the other side's window holds.

use super::spec::JoinSpec;

/// What a window join does.
#[derive(Debug, Clone)]
pub struct WindowJoinPlan {
    /// Which rows match.
    pub join: JoinSpec,
    /// The left and the right side.
    pub sides: [WindowSide; 2],
    /// Whether rows that leave a window give output.
    pub expired: bool,
}

/// What is to be known of one side of a window join.
#[derive(Debug, Clone, Copy)]
pub struct WindowSide {
    /// Whether its rows give output. Not, when the other side is UNIDIRECTIONAL.
    pub triggers: bool,
    /// Whether it has a window. Without one its rows meet the other side and are gone.
    pub holds: bool,
    /// In which order its rows leave.
    pub leaving: Leaving,
    /// What a batch of it is.
    pub batches: Batches,
}

/// In which order rows leave a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// As they came. The oldest row of a key is then the one that leaves, and nothing has to be compared.
    InOrder,
    /// In any order: the earliest row that equals the one that leaves is gone.
    AnyOrder,
}

/// What a batch of a window's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    /// A run of changes, of any length. What goes out for it may be cut.
    Run,
    /// An emission of a batch window. What goes out for it is one batch.
    Emission,
}
