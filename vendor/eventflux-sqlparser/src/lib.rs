//! The SQL dialect of EventFlux.
