//! The parts of a row pattern, as the planner gives them.

/// A variable's number, in the order in which PATTERN names them.
pub type Variable = u8;

/// The most variables of a pattern: sets of them are words of 64 bits.
pub const MAX_VARIABLES: usize = 64;

/// A set of variables, a bit for each.
pub type Variables = u64;

/// The set of one variable.
pub fn only(variable: Variable) -> Variables {
    1 << variable
}

/// The set of the first `count` variables: all that a pattern has.
pub fn all(count: usize) -> Variables {
    match count {
        0 => 0,
        count => u64::MAX >> (64 - count.min(64)),
    }
}

/// Whether a set has a variable.
pub fn has(variables: Variables, variable: Variable) -> bool {
    variables >> variable & 1 == 1
}

/// A part of a row pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `()`.
    Empty,
    /// A row of a variable.
    Row(Variable),
    /// One after the other.
    Concat(Vec<Pattern>),
    /// One of them, the first preferred.
    Alternation(Vec<Pattern>),
    /// All of them in any order; the order of the text is preferred, then as a dictionary sorts.
    Permute(Vec<Pattern>),
    /// `{- … -}`: its rows are matched and not given.
    Exclude(Box<Pattern>),
    /// Several times.
    Repeat {
        /// What.
        body: Box<Pattern>,
        /// At least.
        min: u64,
        /// At most; `None` is without bound.
        max: Option<u64>,
        /// What is preferred.
        preference: Preference,
    },
    /// `^`: no row of the partition is before.
    Start,
    /// `$`: no row of the partition is after.
    End,
}

/// Which number of repetitions is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// Many.
    Greedy,
    /// Few.
    Reluctant,
}

impl Pattern {
    /// Whether it can match without a row.
    pub fn is_nullable(&self) -> bool {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End => true,
            Pattern::Row(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) => parts.iter().all(Pattern::is_nullable),
            Pattern::Alternation(parts) => parts.iter().any(Pattern::is_nullable),
            Pattern::Exclude(body) => body.is_nullable(),
            Pattern::Repeat { body, min, .. } => *min == 0 || body.is_nullable(),
        }
    }

    /// The least number of rows of a match.
    pub fn least_rows(&self) -> u64 {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End => 0,
            Pattern::Row(_) => 1,
            Pattern::Concat(parts) | Pattern::Permute(parts) => {
                let rows = parts.iter().map(Pattern::least_rows);
                rows.fold(0, u64::saturating_add)
            }
            Pattern::Alternation(parts) => parts.iter().map(Pattern::least_rows).min().unwrap_or(0),
            Pattern::Exclude(body) => body.least_rows(),
            Pattern::Repeat { body, min, .. } => body.least_rows().saturating_mul(*min),
        }
    }

    /// Whether a match may have any number of rows.
    pub fn is_unbounded(&self) -> bool {
        match self {
            Pattern::Empty | Pattern::Start | Pattern::End | Pattern::Row(_) => false,
            Pattern::Concat(parts) | Pattern::Permute(parts) | Pattern::Alternation(parts) => {
                parts.iter().any(Pattern::is_unbounded)
            }
            Pattern::Exclude(body) => body.is_unbounded(),
            Pattern::Repeat { body, max, .. } => max.is_none() || body.is_unbounded(),
        }
    }
}
