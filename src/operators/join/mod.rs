//! Joins of two streams.
//!
//! | operator | what its inputs are | what it keeps |
//! |---|---|---|
//! | [`window_join`] | changelogs of the content of windows | what the windows hold |
//! | [`interval_join`] | inserts in event-time order | what the interval can still reach |
//! | [`changelog_join`] | inserts or changelogs | everything, or what is not older than `state.ttl` |
//!
//! All have two ports, 0 for the left side and 1 for the right one, and one description of what matches: [`spec::JoinSpec`].

pub mod changelog_join;
pub mod interval_join;
pub mod spec;
pub mod window_join;
