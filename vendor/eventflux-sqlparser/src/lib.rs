//! The SQL dialect of EventFlux: streams, windows, patterns and the rest, on top of [sqlparser].
//!
//! ```
//! use eventflux_sqlparser::{StatementKind, duration_micros, parse};
//!
//! let app = "
//!     CREATE STREAM Trades (symbol STRING, price DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS ts - 5 SECONDS);
//!     INSERT INTO Averages
//!     SELECT symbol, avg(price) AS price
//!     FROM Trades[price > 0] AS t WINDOW('time', 1 MINUTE)
//!     GROUP BY symbol;
//! ";
//! let statements = parse(app)?;
//! let StatementKind::Query(query) = &statements[1].kind else { panic!("a query") };
//!
//! // What sqlparser read: the relation that carries something of ours is a placeholder table.
//! assert_eq!(
//!     query.body.to_string(),
//!     "SELECT symbol, avg(price) AS price FROM __relation_0 AS t GROUP BY symbol"
//! );
//! // What it stands for.
//! let trades = query.relation("__relation_0").expect("the relation");
//! let window = trades.window.as_ref().expect("its window");
//! assert_eq!((window.kind.as_str(), duration_micros(&window.args[0].value)), ("time", Some(60_000_000)));
//! # Ok::<(), eventflux_sqlparser::ParseError>(())
//! ```
//!
//! # How it works
//! The text is tokenized once, by sqlparser. Definitions and the clauses around a query are read from the tokens by
//! functions of ours. What is standard SQL (queries, and every expression anywhere) is read by sqlparser's own `Parser`
//! from the same tokens, so that every span is a place in the original text. On the way there one pass (`rewrite`)
//! follows the clauses of each query, subquery and CTE and
//! - replaces a relation that carries a `[filter]`, `WINDOW(…)`, `UNIDIRECTIONAL`, `!`, `#`, `PATTERN (…)`,
//!   `SEQUENCE (…)`, `MATCH_RECOGNIZE (…)`, a window table function or `W.find(…)` by a placeholder table named by
//!   [`relation_name`], under the user's alias, else under the stream's name, so that `S.column` resolves. Placeholders
//!   are numbered through the whole statement. A plain `FROM S` stays as it is;
//! - turns `5 MINUTES` into `INTERVAL '5 minutes'`, `==` into `=`, and `FROM … SELECT …` into `SELECT … FROM …`;
//! - in MATCH_RECOGNIZE turns `RUNNING LAST(x)` into the call `__running(LAST(x))` ([`RUNNING`], [`FINAL`]).
//!
//! # Ambiguities and how they are settled
//! - A number followed by a unit of time is a duration: `SELECT 1 m` is a minute; write `1 AS m` for the alias. Only a
//!   number token can begin one, so `e[3] s` and `f(3) d` keep their aliases. Glued units are the same (`5s`, `500ms`);
//!   `1h30m` is not one, `1h 30m` is.
//! - `WINDOW (` and `WINDOW kind (` right after a relation or its alias are ours; `WINDOW w AS (…)` is standard.
//! - `PATTERN (`, `SEQUENCE (`, `TUMBLE (`, `HOP (`, `CUMULATE (` and `SESSION (` are ours where a relation is due, and
//!   ordinary names everywhere else. `[` after a relation is a filter.
//! - `EMIT`, `OUTPUT`, `INSERT`, `UPSERT`, `SINK` and `ON CONFLICT` end standard SQL only with the word or parenthesis
//!   that must follow them, so columns may have these names; a relation's alias may not, unless AS or quotes precede it.
//! - The last ON outside brackets of UPDATE OR INSERT is the statement's, and SET before it too.
//! - EVERY before a term of a pattern binds the whole term: `EVERY a AND b` is `EVERY (a AND b)`. AND binds tighter than
//!   OR, OR tighter than `->`. `NOT x FOR t AFTER y` becomes the group `(y -> NOT x FOR t)`. In an unquoted name `$` is
//!   not allowed: `PATTERN (A$)` ends in an anchor.
//! - In a partition's block END outside CASE closes the block; a column called end is quoted there.
//! - `WITH (a.b-c = d)`: words, dots and dashes that touch are one key or one bare value.
//!
//! # Limits
//! Each is a constant in [`limits`] and its breach a [`ParseErrorKind::Limit`]. Together they guarantee that no text
//! panics, overflows the stack (also when the tree is freed) or takes more than about linear time. What is nested
//! unusually deep, yet within them, is read on a thread with a stack of its own.
//!
//! [sqlparser]: https://docs.rs/sqlparser

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
pub mod walk;
mod window;

pub use ast::*;
pub use dialect::EventFluxDialect;
pub use durations::duration_micros;
pub use error::{ParseError, ParseErrorKind};
pub use line_index::LineIndex;
pub use rewrite::{FINAL, RUNNING, relation_name};
pub use statement::{parse, parse_expr};
