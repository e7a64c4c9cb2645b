//! The SQL dialect of EventFlux.

mod aggregation;
pub mod ast;
mod columns;
mod create;
mod dialect;
mod dml;
mod durations;
mod error;
mod hints;
pub mod limits;
mod line_index;
mod match_recognize;
mod options;
mod partition;
mod pattern;
mod quantifier;
mod query;
mod relation;
mod rewrite;
mod row_pattern;
mod sql;
mod statement;
mod tokens;
mod window;

pub use ast::*;
pub use dialect::EventFluxDialect;
pub use durations::duration_micros;
pub use error::{ParseError, ParseErrorKind};
pub use line_index::LineIndex;
pub use rewrite::{FINAL, RUNNING, relation_name};
pub use statement::{parse, parse_expr};
