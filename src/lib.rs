//! EventFlux: a SQL complex-event-processing engine to embed.
pub mod catalog;
pub mod config;
pub mod connectors;
pub mod error;
pub mod event;
pub mod formats;
pub mod operators;
pub mod plan;
pub mod runtime;
