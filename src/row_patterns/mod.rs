//! MATCH_RECOGNIZE: row pattern recognition.
//!
//! | file | what |
//! |---|---|
//! | `pattern` | the parts of a pattern, as the planner gives them |
//! | `program` | the pattern as instructions for Pike's machine |
//! | `leaf` | what conditions and measures read of a match |
//! | `registers` | what of a thread's past conditions will read: when two threads are equivalent |
//! | `paths` | the pasts of threads: labels, and sets of rows |
//! | `attempt` | one attempt: threads in the order of preference |
//! | `conditions` | DEFINE: what is vectorised, and what is asked of each thread |
//! | `scalar` | conditions compiled to run on one thread and one row |
//! | `aggregate` | aggregates over rows of a match |
//! | `track` | one partition: its rows, and how far matching is |
//! | `matcher` | all of it: one match after the other, AFTER MATCH SKIP, WITHIN |
//! | `measures` | the rows that go out |
//! | `gather` | columns made of rows of the store |
//! | `saved` | the state as bytes |
//! | `operator` | the matcher as a node of the pipeline |
//!
//! The theory and the semantics are in `feat/match-recognize/README.md`.

pub mod aggregate;
pub mod attempt;
pub mod conditions;
mod gather;
pub mod leaf;
pub mod matcher;
pub mod measures;
pub mod operator;
pub mod paths;
pub mod pattern;
pub mod program;
pub mod registers;
mod saved;
pub mod scalar;
pub mod track;
