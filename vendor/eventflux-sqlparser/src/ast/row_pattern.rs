//! `MATCH_RECOGNIZE (…)`, row pattern recognition of SQL:2016.

use sqlparser::ast::{Expr, Ident, OrderByExpr};
use sqlparser::tokenizer::Span;

use super::Within;

/// The clause between the parentheses of MATCH_RECOGNIZE.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRecognize {
    /// What the input is called inside: `S AS s MATCH_RECOGNIZE (…)`.
    pub input_alias: Option<Ident>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// ORDER BY.
    pub order_by: Vec<OrderByExpr>,
    /// MEASURES.
    pub measures: Vec<Measure>,
    /// ONE ROW or ALL ROWS PER MATCH.
    pub rows: RowsPerMatch,
    /// AFTER MATCH SKIP.
    pub after_match: AfterMatchSkip,
    /// PATTERN.
    pub pattern: RowPattern,
    /// WITHIN.
    pub within: Option<Within>,
    /// SUBSET.
    pub subsets: Vec<Subset>,
    /// DEFINE.
    pub defines: Vec<Define>,
    /// From MATCH_RECOGNIZE to its closing parenthesis.
    pub span: Span,
}

/// `expr AS alias`. RUNNING and FINAL are calls in the expression: see [`crate::RUNNING`].
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What is measured.
    pub expr: Expr,
    /// The column's name.
    pub alias: Ident,
    /// The whole entry.
    pub span: Span,
}

/// How many rows a match gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowsPerMatch {
    /// `ONE ROW PER MATCH`, the default.
    #[default]
    One,
    /// `ALL ROWS PER MATCH [SHOW EMPTY MATCHES]`.
    AllShowEmpty,
    /// `ALL ROWS PER MATCH OMIT EMPTY MATCHES`.
    AllOmitEmpty,
    /// `ALL ROWS PER MATCH WITH UNMATCHED ROWS`.
    AllWithUnmatched,
}

/// Where matching resumes after a match.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum AfterMatchSkip {
    /// `SKIP PAST LAST ROW`, the default.
    #[default]
    PastLastRow,
    /// `SKIP TO NEXT ROW`.
    ToNextRow,
    /// `SKIP TO FIRST v`.
    ToFirst(Ident),
    /// `SKIP TO [LAST] v`.
    ToLast(Ident),
}

/// `name = (members)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// The union's name.
    pub name: Ident,
    /// The variables in it.
    pub members: Vec<Ident>,
    /// The whole entry.
    pub span: Span,
}

/// `variable AS condition`.
#[derive(Debug, Clone, PartialEq)]
pub struct Define {
    /// The variable.
    pub variable: Ident,
    /// When a row may be one.
    pub condition: Expr,
    /// The whole entry.
    pub span: Span,
}

/// A part of a row pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPattern {
    /// What the part is.
    pub kind: RowPatternKind,
    /// How often.
    pub quantifier: Option<RowQuantifier>,
    /// The part with its quantifier.
    pub span: Span,
}

/// What a part of a row pattern is.
#[derive(Debug, Clone, PartialEq)]
pub enum RowPatternKind {
    /// A variable.
    Variable(Ident),
    /// `A B C`: at least two.
    Concat(Vec<RowPattern>),
    /// `A | B | C`: at least two, in order of preference.
    Alternation(Vec<RowPattern>),
    /// `( … )`.
    Group(Box<RowPattern>),
    /// `PERMUTE (A, B, …)`.
    Permute(Vec<RowPattern>),
    /// `{- … -}`.
    Exclude(Box<RowPattern>),
    /// `()`.
    Empty,
    /// `^`.
    Start,
    /// `$`.
    End,
}

/// How often a part of a row pattern occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowQuantifier {
    /// At least.
    pub min: u64,
    /// At most; `None` is without bound.
    pub max: Option<u64>,
    /// `?` after it: as few as possible.
    pub reluctant: bool,
    /// Where it stands.
    pub span: Span,
}
