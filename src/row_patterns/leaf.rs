//! What conditions and measures read of a match: leaves, each a column of the expression around them.

use super::pattern::{Variables, all};

/// Which end rows are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum From {
    /// FIRST.
    First,
    /// LAST.
    Last,
}

/// Up to which row of the match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The current row.
    Running,
    /// The last row.
    Final,
}

/// A row: of those with some variables the one `offset` from an end, and then `shift` rows of the partition on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// The variables that count.
    pub variables: Variables,
    /// From where.
    pub from: From,
    /// How many of them are passed over.
    pub offset: u32,
    /// PREV (below zero) and NEXT.
    pub shift: i64,
    /// RUNNING or FINAL.
    pub scope: Scope,
}

impl Target {
    /// The last row of some variables: what `A.price` reads.
    pub fn last(variables: Variables) -> Self {
        Target {
            variables,
            from: From::Last,
            offset: 0,
            shift: 0,
            scope: Scope::Running,
        }
    }

    /// Whether all rows of a match count, when there are so many variables.
    pub fn is_universal(&self, variables: usize) -> bool {
        self.variables == all(variables)
    }

    /// For labels of rows next to one another, which do not depend on variables: `PREV(LAST(CLASSIFIER(), 1), 2)` is
    /// `LAST(CLASSIFIER(), 3)`. `None` when there can be no row with a label.
    pub fn without_shift(self) -> Option<Self> {
        let offset = match self.from {
            From::First => i64::from(self.offset).saturating_add(self.shift),
            From::Last => i64::from(self.offset).saturating_sub(self.shift),
        };
        Some(Target {
            offset: u32::try_from(offset).ok()?,
            shift: 0,
            ..self
        })
    }
}

/// A value of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// A column of a row.
    Column {
        /// Which row.
        target: Target,
        /// Which of the columns that come in.
        column: usize,
    },
    /// The variable of a row.
    Label(Target),
    /// Whether there is such a row.
    Exists(Target),
    /// MATCH_NUMBER().
    Number,
    /// An aggregate, by its place among those of the conditions or the measures.
    Aggregate {
        /// Which.
        index: usize,
        /// Over the rows up to which.
        scope: Scope,
    },
}

impl Leaf {
    /// The row that it reads.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Leaf::Column { target, .. } | Leaf::Label(target) | Leaf::Exists(target) => Some(target),
            Leaf::Number | Leaf::Aggregate { .. } => None,
        }
    }
}

/// How far behind and ahead of a match's rows leaves reach.
pub fn reach<'l>(leaves: impl Iterator<Item = &'l Leaf>) -> (u64, u64) {
    let shifts = leaves.filter_map(|leaf| leaf.target().map(|target| target.shift));
    shifts.fold((0, 0), |(back, ahead), shift| {
        let distance = shift.unsigned_abs();
        match shift < 0 {
            true => (back.max(distance), ahead),
            false => (back, ahead.max(distance)),
        }
    })
}
