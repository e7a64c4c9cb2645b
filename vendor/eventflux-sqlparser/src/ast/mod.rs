//! The statements of an app. Expressions and standard queries inside them are sqlparser's own AST.
#![expect(
    clippy::large_enum_variant,
    reason = "a tree is built once and matched often; boxes around expressions would only be in the way"
)]

mod definitions;
mod pattern;
mod query;
mod row_pattern;

use sqlparser::tokenizer::Span;

pub use definitions::{
    ColumnDef, CreateAggregation, CreateFunction, CreateStream, CreateTable, CreateTrigger, CreateView, CreateWindow,
    FunctionParam, OptionDef, OptionValue, OptionValueKind, OutputEvents, SourceOptions, StreamOrigin, TriggerSchedule,
    Watermark,
};
pub use pattern::{Pattern, PatternElement, PatternKind, PatternNode, PatternNodeKind, Quantifier, Within, WithinKind};
pub use query::{
    Assignment, ConflictAction, Delete, Emit, EmitKind, InsertMode, InsertTarget, OnConflict, OutputEvery, OutputKind,
    OutputRate, Partition, PartitionKey, Query, RelationSource, SinkClause, StreamRelation, Update, WindowArg,
    WindowArgOrder, WindowSpec,
};
pub use row_pattern::{
    AfterMatchSkip, Define, MatchRecognize, Measure, RowPattern, RowPatternKind, RowQuantifier, RowsPerMatch, Subset,
};

/// One statement of an app and the text it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// From the statement's first token to its last, without the `;`.
    pub span: Span,
    /// What the statement says.
    pub kind: StatementKind,
}

/// Every form a statement can take.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StatementKind {
    /// `CREATE STREAM`, `DEFINE STREAM` or `CREATE SOURCE`.
    CreateStream(CreateStream),
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// `CREATE VIEW … AS SELECT …`.
    CreateView(CreateView),
    /// `CREATE WINDOW`.
    CreateWindow(CreateWindow),
    /// `CREATE TRIGGER`.
    CreateTrigger(CreateTrigger),
    /// `CREATE FUNCTION`.
    CreateFunction(CreateFunction),
    /// `CREATE AGGREGATION`.
    CreateAggregation(CreateAggregation),
    /// A query, with or without a target, and every kind of INSERT.
    Query(Query),
    /// `PARTITION WITH (…) BEGIN … END`.
    Partition(Partition),
    /// `UPDATE … SET …`.
    Update(Update),
    /// `DELETE FROM …`.
    Delete(Delete),
    /// `EXPLAIN …`.
    Explain(Box<Statement>),
    /// `BEGIN`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
}
