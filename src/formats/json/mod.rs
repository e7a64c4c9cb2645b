//! The json format.
