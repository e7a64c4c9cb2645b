//! `PATTERN (…)` and `SEQUENCE (…)`.

use sqlparser::ast::{Expr, Ident};
use sqlparser::tokenizer::Span;

use super::OptionDef;

/// A pattern or sequence with the clauses after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// PATTERN skips events that do not match, SEQUENCE does not.
    pub kind: PatternKind,
    /// What is looked for.
    pub root: PatternNode,
    /// WITHIN, inside or outside the parentheses.
    pub within: Option<Within>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// WITH.
    pub options: Vec<OptionDef>,
    /// From the keyword to the last clause.
    pub span: Span,
}

/// Which of the two keywords it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternKind {
    /// `PATTERN (…)`.
    Pattern,
    /// `SEQUENCE (…)`.
    Sequence,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternNode {
    /// What the part is.
    pub kind: PatternNodeKind,
    /// EVERY stands before it.
    pub every: bool,
    /// How often it occurs: elements and groups only.
    pub quantifier: Option<Quantifier>,
    /// WITHIN of a group.
    pub within: Option<Within>,
    /// The part, with its EVERY, quantifier and WITHIN.
    pub span: Span,
}

/// What a part of a pattern is.
#[derive(Debug, Clone, PartialEq)]
pub enum PatternNodeKind {
    /// `a -> b -> c` (in a sequence also `a, b, c`): at least two.
    Chain(Vec<PatternNode>),
    /// `a AND b`: at least two.
    And(Vec<PatternNode>),
    /// `a OR b`: at least two.
    Or(Vec<PatternNode>),
    /// `( … )`.
    Group(Box<PatternNode>),
    /// One event, or with a quantifier a collection of them.
    Element(PatternElement),
    /// `NOT element [FOR duration]`; `NOT x FOR t AFTER y` is the group `(y -> NOT x FOR t)`.
    Absent {
        /// What must not come.
        element: PatternElement,
        /// For how long; `None` for `NOT x AND y` and `NOT x -> y`.
        duration: Option<Expr>,
    },
}

/// `[alias =] Stream [ '[' condition ']' ] [AS alias]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternElement {
    /// What the event is called.
    pub alias: Option<Ident>,
    /// Its stream, without `#` or `!`.
    pub stream: Ident,
    /// `!S`.
    pub fault: bool,
    /// `#S`.
    pub inner: bool,
    /// What it must satisfy.
    pub condition: Option<Expr>,
    /// The element without its quantifier.
    pub span: Span,
}

/// How often an element or group occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantifier {
    /// At least.
    pub min: u64,
    /// At most; `None` is without bound.
    pub max: Option<u64>,
    /// Where it stands.
    pub span: Span,
}

/// `WITHIN …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Within {
    /// How much.
    pub kind: WithinKind,
    /// The clause.
    pub span: Span,
}

/// What WITHIN bounds.
#[derive(Debug, Clone, PartialEq)]
pub enum WithinKind {
    /// A duration.
    Time(Expr),
    /// `n EVENTS`.
    Events(u64),
}
