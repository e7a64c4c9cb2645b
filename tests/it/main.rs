//! The integration tests: the engine as users and embedders meet it. One binary, so that it is linked once.

mod cases;
mod cli;
mod config;
mod diagnostics;
#[cfg(feature = "materialize")]
mod emulators;
mod errors;
mod examples;
mod follow;
#[cfg(feature = "http")]
mod http;
mod joins;
mod partitions;
mod patterns;
mod recovery;
mod row_patterns;
mod runtime;
#[cfg(feature = "server")]
mod server;
mod support;
mod tables;
#[cfg(feature = "materialize")]
mod upstream;
mod windows;
mod workloads;
