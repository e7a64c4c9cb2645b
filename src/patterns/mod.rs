//! Patterns and sequences: from the parts of a pattern to an automaton, and the matcher that runs it.
//!
//! | file | what |
//! |---|---|
//! | `shape` | the parts of a pattern, as the planner gives them |
//! | `program` | the automaton: the parts with their places, masks and slots |
//! | `progress` | how far one attempt is: which elements it waits for, counts, deadlines |
//! | `stepping` | what an event, or time, does to one attempt |
//! | `again` | EVERY: what begins again |
//! | `failing` | what ends an attempt or a part of it |
//! | `captures` | captured events; prefixes are shared |
//! | `columns` | the captured columns |
//! | `attempts` | all open attempts |
//! | `waiting` | which attempt waits where: what an event can touch |
//! | `order` | comparisons with earlier events, as an order of who waits |
//! | `ahead` | what the next events will need, looked at beforehand |
//! | `finding` | which attempts take an event |
//! | `conditions` | conditions on the candidate alone, by equality, and the rest |
//! | `opened` | the columns of a batch, read row by row |
//! | `scalar` | conditions compiled to run on one attempt and one event |
//! | `gather` | from captured events to columns |
//! | `timers` | deadlines of absence and WITHIN |
//! | `matcher` | all of it: events in, matches out |
//! | `strict` | what is particular to SEQUENCE |
//! | `due` | what time does; bounds; matches as batches |
//! | `bounds` | how many attempts may be open; counts |
//! | `unread` | captured events that nobody will read any more |
//! | `saved` | the state as bytes |
//! | `operator` | the matcher as a node of the pipeline |
//!
//! The theory and the semantics are in `feat/patterns/README.md`.

mod again;
mod ahead;
pub mod attempts;
pub mod bounds;
pub mod captures;
pub mod columns;
pub mod conditions;
mod due;
mod failing;
mod finding;
pub mod gather;
pub mod matcher;
pub mod opened;
pub mod operator;
pub mod order;
pub mod program;
pub mod progress;
mod saved;
pub mod scalar;
pub mod shape;
mod stepping;
mod strict;
pub mod timers;
pub mod unread;
pub mod waiting;

#[cfg(test)]
mod tests;
