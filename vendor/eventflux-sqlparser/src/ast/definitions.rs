//! Statements that declare something: streams, tables, views, windows, triggers, functions.

use sqlparser::ast::{DataType, Expr, Ident};
use sqlparser::tokenizer::Span;

use super::{Query, WindowSpec};

/// Which words declared a stream, and what only those words can carry.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamOrigin {
    /// `CREATE STREAM`.
    CreateStream,
    /// `DEFINE STREAM`.
    DefineStream,
    /// `CREATE SOURCE … WITH (type = '<connector>', …) MAP (type = '<format>', …)`.
    Source(SourceOptions),
}

/// What `CREATE SOURCE` says beside its WITH options (those are in [`CreateStream::options`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceOptions {
    /// The options of `MAP (…)`, `None` where there is no MAP clause.
    pub map: Option<Vec<OptionDef>>,
}

/// `CREATE STREAM name (columns) WITH (options)` and its other spellings.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateStream {
    /// The stream's name.
    pub name: Ident,
    /// Its columns in order; empty where no column list is given.
    pub columns: Vec<ColumnDef>,
    /// The columns of `PRIMARY KEY`, from the list or from the columns themselves.
    pub primary_key: Vec<Ident>,
    /// `WATERMARK FOR column AS expr`.
    pub watermark: Option<Watermark>,
    /// The options of `WITH (…)`.
    pub options: Vec<OptionDef>,
    /// Which statement it was.
    pub origin: StreamOrigin,
    /// `OR REPLACE` was said.
    pub or_replace: bool,
    /// `IF NOT EXISTS` was said.
    pub if_not_exists: bool,
    /// The whole statement.
    pub span: Span,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    /// The event-time column.
    pub column: Ident,
    /// The watermark that an event implies.
    pub expr: Expr,
    /// From `WATERMARK` to the end of the expression.
    pub span: Span,
}

/// One column of a stream, table or window.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// The column's name.
    pub name: Ident,
    /// Its type, in sqlparser's terms.
    pub data_type: DataType,
    /// Where the type stands.
    pub type_span: Span,
    /// False after `NOT NULL`.
    pub nullable: bool,
    /// `PRIMARY KEY` stands on the column itself.
    pub primary_key: bool,
    /// `DEFAULT expr`.
    pub default: Option<Expr>,
    /// Name to last word of the definition.
    pub span: Span,
}

/// `key = value` in WITH, MAP or SINK.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionDef {
    /// The key without quotes, dots and dashes kept.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// What it is set to.
    pub value: OptionValue,
    /// Where the value stands.
    pub value_span: Span,
}

/// An option's value: its text without quotes, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionValue {
    /// The value's text. Durations are spelled out (`5 seconds`).
    pub text: String,
    /// How it was written.
    pub kind: OptionValueKind,
}

/// How an option's value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionValueKind {
    /// `'text'` or `"text"`.
    String,
    /// `12`, `-0.5`.
    Number,
    /// `true`, `false`.
    Bool,
    /// `5 SECONDS`, `INTERVAL '5' MINUTE`: the length in microseconds.
    Duration(i64),
    /// A bare word such as `json` or `at-least-once`.
    Word,
}

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table's name.
    pub name: Ident,
    /// Its columns in order.
    pub columns: Vec<ColumnDef>,
    /// The key's columns; empty without one.
    pub primary_key: Vec<Ident>,
    /// Each `INDEX (columns)`.
    pub indexes: Vec<Vec<Ident>>,
    /// The options of `WITH (…)`.
    pub options: Vec<OptionDef>,
    /// `OR REPLACE` was said.
    pub or_replace: bool,
    /// `IF NOT EXISTS` was said.
    pub if_not_exists: bool,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE VIEW name [(columns)] AS query`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// The view's name.
    pub name: Ident,
    /// Names for the query's columns; empty where the query's own serve.
    pub columns: Vec<Ident>,
    /// The query, which has no target.
    pub query: Query,
    /// `OR REPLACE` was said.
    pub or_replace: bool,
    /// The whole statement.
    pub span: Span,
}

/// Which events of a window or query are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputEvents {
    /// Arrivals.
    Current,
    /// What leaves the window.
    Expired,
    /// Both.
    All,
}

/// `CREATE WINDOW name [(columns)] WINDOW(…) [OUTPUT … EVENTS] [WITH (…)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateWindow {
    /// The window's name.
    pub name: Ident,
    /// Its columns; empty where they follow from what is inserted.
    pub columns: Vec<ColumnDef>,
    /// Kind and arguments.
    pub window: WindowSpec,
    /// `OUTPUT … EVENTS`; `None` means the default, all.
    pub output: Option<OutputEvents>,
    /// The options of `WITH (…)`.
    pub options: Vec<OptionDef>,
    /// The whole statement.
    pub span: Span,
}

/// `CREATE TRIGGER name AT …`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTrigger {
    /// The trigger's name.
    pub name: Ident,
    /// When it fires.
    pub schedule: TriggerSchedule,
    /// Where the schedule stands.
    pub schedule_span: Span,
    /// The whole statement.
    pub span: Span,
}

/// When a trigger fires.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerSchedule {
    /// `AT START`.
    Start,
    /// `AT EVERY duration`.
    Every(Expr),
    /// `AT CRON 'fields'`.
    Cron(String),
}

/// `CREATE FUNCTION name (params) RETURNS type LANGUAGE SQL AS 'body'`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateFunction {
    /// The function's name.
    pub name: Ident,
    /// Its parameters in order.
    pub params: Vec<FunctionParam>,
    /// What it returns.
    pub returns: DataType,
    /// Where the return type stands.
    pub returns_span: Span,
    /// The word after LANGUAGE.
    pub language: Ident,
    /// The text of the body, to be read with [`crate::parse_expr`] when the language is SQL.
    pub body: String,
    /// Where the body's string literal stands.
    pub body_span: Span,
    /// `OR REPLACE` was said.
    pub or_replace: bool,
    /// The whole statement.
    pub span: Span,
}

/// One parameter of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionParam {
    /// The parameter's name.
    pub name: Ident,
    /// Its type.
    pub data_type: DataType,
    /// Where the type stands.
    pub type_span: Span,
}

/// `CREATE AGGREGATION name [WITH (…)] AS SELECT … AGGREGATE [BY ts] EVERY SECONDS … YEARS`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAggregation {
    /// The aggregation's name.
    pub name: Ident,
    /// The options of `WITH (…)`.
    pub options: Vec<OptionDef>,
    /// What is aggregated.
    pub query: Query,
    /// `AGGREGATE BY expr`: the time column.
    pub by: Option<Expr>,
    /// The granularities as written: one, a list, or (with [`Self::range`]) the first and the last.
    pub granularities: Vec<Ident>,
    /// `SECONDS … YEARS` was written: every granularity from the first to the last.
    pub range: bool,
    /// The whole statement.
    pub span: Span,
}
