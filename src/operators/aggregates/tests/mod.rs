//! Every aggregate against the SQL engine underneath: after any sequence of additions and retractions its value is what the
//! engine's accumulator makes of the rows that are left.

mod cases;
mod history;
mod properties;
mod units;
