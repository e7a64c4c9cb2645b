//! Joins of two streams.
//!
//! | operator | what its inputs are | what it keeps |
//! |---|---|---|
//! | [`window_join`] | changelogs of the content of windows | what the windows hold |
//! | [`interval_join`] | inserts in event-time order | what the interval can still reach |
//! | [`changelog_join`] | inserts or changelogs | everything, or what is not older than `state.ttl` |
//!
//! All have two ports, 0 for the left side and 1 for the right one, and one description of what matches: [`spec::JoinSpec`].
//!
//! # How a batch is joined
//! A batch changes its own side and meets the other one, which does not change meanwhile. So the whole batch is done at once:
//! its keys are numbered ([`keys`]); each row's candidates are what the other side has of its key, as pairs of numbers
//! ([`candidates`]); what is left of the condition is evaluated for blocks of pairs, over the columns it reads and no others
//! ([`filter`]); the columns of the pairs that remain are gathered once ([`layout`]). No row is ever put together by itself.
//!
//! A side keeps the columns that the output or the condition needs, in the batches they came in, and knows rows by number.

pub mod candidates;
pub mod changelog_join;
pub mod filter;
pub mod interval_join;
pub mod kept;
pub mod keys;
pub mod layout;
pub mod lists;
pub mod row_table;
pub mod spec;
pub mod waiting;
pub mod window_join;

#[cfg(test)]
mod tests;
