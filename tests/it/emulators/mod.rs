//! Servers of our own that speak what Materialize and RisingWave document, for tests and examples: neither can be installed from
//! packages. What they do and do not do is said in their modules.

pub mod materialize;
pub mod risingwave;
mod sql;
pub mod wire;
pub mod world;
