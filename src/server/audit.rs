//! The audit: who signed in, who was refused, who changed triggers, and who was sent what.
#![allow(dead_code)]

use serde_json::Value;

use super::access::Principal;
use super::failure::Failure;

/// What is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody signed in.
    SignIn,
    /// Something was refused.
    Refusal,
    /// A trigger was made, changed or removed.
    Trigger,
    /// A client was sent rows.
    Sent,
}

/// Where it is written; copying it is cheap.
#[derive(Debug, Clone, Default)]
pub struct Audit;

impl Audit {
    /// Notes something: who did what with which relation (empty: none), and more to it (`Value::Null`: nothing). `code` is an error code, or the
    /// name of what was done, such as `CREATED`. *Errors.* If it cannot be noted, and then nothing may be done.
    pub fn note(
        &self,
        _event: Event,
        _who: &Principal,
        _relation: &str,
        _code: &str,
        _more: Value,
    ) -> Result<(), Failure> {
        Ok(())
    }
}
