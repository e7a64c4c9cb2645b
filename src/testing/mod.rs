//! Cases for apps: what is sent, and what must come out.
//!
//! A case file (`*.test.toml`, `*.test.json`) names an app and lists cases: rows to send at moments of a virtual clock, and the
//! rows that streams must give. No connector starts: rows sent to a stream arrive as if from its source, what reaches a sink
//! stream is captured. `eventflux test` runs such files; so does a Rust test:
//!
//! ```
//! # std::fs::write(std::env::temp_dir().join("doc.test.toml"), r#"
//! # sql = "CREATE STREAM S (x LONG); INSERT INTO T SELECT x * 2 AS y FROM S;"
//! # [[case]]
//! # name = "twice"
//! # step = [{ send = { stream = "S", rows = [[21]] } }]
//! # expect = [{ stream = "T", rows = [{ y = 42 }] }]
//! # "#)?;
//! # let path = std::env::temp_dir().join("doc.test.toml");
//! let report = eventflux::testing::run_path(path);
//! assert!(report.is_ok(), "{report}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Apps that need functions or connectors of the embedder's own get them from [`Runner::builder`].

mod capture;
mod case;
mod cell;
mod compare;
mod diff;
mod execute;
mod files;
mod report;
mod rows;
mod runner;
mod value;
mod want;

pub use files::BadInput;
pub use report::{Failure, Outcome, Report};
pub use runner::{Runner, run_path};
