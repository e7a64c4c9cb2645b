//! EventFlux.
