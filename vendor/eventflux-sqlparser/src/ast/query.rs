//! Queries, the relations they read, where their results go, and table changes.

use sqlparser::ast::{Expr, Ident, Query as SqlQuery, TableWithJoins};
use sqlparser::tokenizer::Span;

use super::{MatchRecognize, OptionDef, OutputEvents, Pattern, Statement};

/// A query: standard SQL in [`body`](Self::body), with the streaming clauses beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// `INSERT … INTO target`; without one the query prints its rows.
    pub target: Option<InsertTarget>,
    /// What sqlparser read. Relations that carry something of ours appear as tables named by
    /// [`crate::relation_name`].
    pub body: Box<SqlQuery>,
    /// What those tables stand for.
    pub relations: Vec<StreamRelation>,
    /// `EMIT CHANGES | FINAL`.
    pub emit: Option<Emit>,
    /// `OUTPUT … EVERY …`.
    pub output: Option<OutputRate>,
    /// `SINK (…)`.
    pub sink: Option<SinkClause>,
    /// The whole query.
    pub span: Span,
}

/// Where a query's rows go.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertTarget {
    /// The stream, table or window, without the `#`.
    pub name: Ident,
    /// `#name`: private to the partition.
    pub inner: bool,
    /// The column list, empty where there is none.
    pub columns: Vec<Ident>,
    /// Which events go there.
    pub events: OutputEvents,
    /// How a table takes them.
    pub mode: InsertMode,
    /// `ON CONFLICT …`.
    pub on_conflict: Option<OnConflict>,
    /// `INSERT … INTO target (columns)`.
    pub span: Span,
}

/// How a table takes the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertMode {
    /// `INSERT INTO`.
    Insert,
    /// `UPSERT INTO`.
    Upsert,
    /// `UPDATE OR INSERT INTO T SELECT … [SET …] ON cond`.
    UpdateOrInsert {
        /// `SET column = expr, …`; empty means: every column of the row.
        set: Vec<Assignment>,
        /// The condition that finds the rows to update.
        on: Expr,
    },
}

/// `ON CONFLICT [(columns)] DO …`.
#[derive(Debug, Clone, PartialEq)]
pub struct OnConflict {
    /// The conflicting key's columns.
    pub columns: Vec<Ident>,
    /// What happens then.
    pub action: ConflictAction,
    /// The whole clause.
    pub span: Span,
}

/// What `ON CONFLICT` does.
#[derive(Debug, Clone, PartialEq)]
pub enum ConflictAction {
    /// `DO NOTHING`.
    Nothing,
    /// `DO UPDATE SET … [WHERE …]`.
    Update {
        /// The assignments.
        set: Vec<Assignment>,
        /// Only where this holds.
        selection: Option<Expr>,
    },
}

/// `column = expr` after SET.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column, without its table.
    pub column: Ident,
    /// The table it was qualified with.
    pub table: Option<Ident>,
    /// Its new value.
    pub value: Expr,
    /// The whole assignment.
    pub span: Span,
}

/// `EMIT CHANGES | FINAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// Which of the two.
    pub kind: EmitKind,
    /// The clause.
    pub span: Span,
}

/// What EMIT asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmitKind {
    /// The running row at each event as well.
    Changes,
    /// Only the row at the close.
    Final,
}

/// `OUTPUT [ALL|FIRST|LAST|SNAPSHOT] EVERY …`.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputRate {
    /// Which rows of a period.
    pub kind: OutputKind,
    /// The period.
    pub every: OutputEvery,
    /// The clause.
    pub span: Span,
}

/// Which rows of an output period are emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// All of them (the default).
    All,
    /// The first, at once.
    First,
    /// The last.
    Last,
    /// What the window holds.
    Snapshot,
}

/// An output period.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvery {
    /// `n EVENTS`.
    Events(u64),
    /// A duration.
    Time(Expr),
}

/// `SINK (type = '<connector>', …)`.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkClause {
    /// The options.
    pub options: Vec<OptionDef>,
    /// The clause.
    pub span: Span,
}

/// A relation in FROM that is more than a plain table.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRelation {
    /// What is read.
    pub source: RelationSource,
    /// `S[cond]`.
    pub filter: Option<Expr>,
    /// `WINDOW(…)`, or what TUMBLE, HOP, CUMULATE and SESSION say.
    pub window: Option<WindowSpec>,
    /// The time column that a TVF names.
    pub time_column: Option<Expr>,
    /// `UNIDIRECTIONAL`.
    pub unidirectional: bool,
    /// The user's alias.
    pub alias: Option<Ident>,
    /// From the name to the last of its clauses.
    pub span: Span,
}

/// What a relation reads.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RelationSource {
    /// A stream, table, window or view by name.
    Stream {
        /// Its name, without `!` or `#`.
        name: Ident,
        /// `!S`: the run-time errors of S.
        fault: bool,
        /// `#S`: private to the partition.
        inner: bool,
    },
    /// `(SELECT …)` with a window or UNIDIRECTIONAL after it.
    Subquery(Box<SqlQuery>),
    /// `PATTERN (…)` or `SEQUENCE (…)`.
    Pattern(Box<Pattern>),
    /// `input MATCH_RECOGNIZE (…)`.
    MatchRecognize {
        /// What is matched: a stream or a subquery.
        input: Box<RelationSource>,
        /// The clause.
        clause: Box<MatchRecognize>,
    },
    /// `W.find(cond)`: the rows of a named window that satisfy cond.
    WindowFind {
        /// The window.
        name: Ident,
        /// The condition.
        condition: Expr,
    },
}

/// `WINDOW('kind', args)` or `WINDOW KIND(args)`.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSpec {
    /// The kind in lower case.
    pub kind: String,
    /// Where the kind stands.
    pub kind_span: Span,
    /// The arguments after the kind.
    pub args: Vec<WindowArg>,
    /// The whole clause.
    pub span: Span,
}

/// One argument of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowArg {
    /// `name = value`.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
    /// `ASC | DESC` after it.
    pub order: Option<WindowArgOrder>,
    /// The argument.
    pub span: Span,
}

/// The order of a `sort` window's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowArgOrder {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// `UPDATE table SET … [FROM …] [WHERE …]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The table.
    pub table: Ident,
    /// Its alias.
    pub alias: Option<Ident>,
    /// What is set.
    pub set: Vec<Assignment>,
    /// The relations of FROM; empty for an on-demand update.
    pub from: Vec<TableWithJoins>,
    /// WHERE.
    pub selection: Option<Expr>,
    /// What [`crate::relation_name`]s in the statement stand for.
    pub relations: Vec<StreamRelation>,
    /// The whole statement.
    pub span: Span,
}

/// `DELETE FROM table [USING …] [WHERE …]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// The table.
    pub table: Ident,
    /// Its alias.
    pub alias: Option<Ident>,
    /// The relations of USING; empty for an on-demand delete.
    pub using: Vec<TableWithJoins>,
    /// WHERE.
    pub selection: Option<Expr>,
    /// What [`crate::relation_name`]s in the statement stand for.
    pub relations: Vec<StreamRelation>,
    /// The whole statement.
    pub span: Span,
}

/// `PARTITION WITH (keys) BEGIN … END [WITH (…)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// `expr OF stream`, one per stream.
    pub keys: Vec<PartitionKey>,
    /// The statements of the block.
    pub body: Vec<Statement>,
    /// `WITH (idle = …, check = …)` after END.
    pub options: Vec<OptionDef>,
    /// The whole statement.
    pub span: Span,
}

/// `expr OF stream`.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionKey {
    /// The key of an event.
    pub expr: Expr,
    /// The stream.
    pub stream: Ident,
    /// The whole entry.
    pub span: Span,
}
