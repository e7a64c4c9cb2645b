//! Who may do what. The one place that every handler asks, whatever the protocol.
//!
//! A request has a [`Principal`]: who asks. [`may`] says whether it may do something with a relation, [`row_filter`] which of its rows it may
//! see, [`hidden`] which of its columns it may not. Without `[server.auth]` everybody may do what the server offers at all: see what is
//! exposed, send into what is named in `[server] publish`.

mod principal;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

pub use principal::{Hidden, Principal};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The rows of a relation, once.
    Read,
    /// Its changes.
    Subscribe,
    /// To send events into a stream, or messages to clients.
    Publish,
    /// To make, see and remove triggers on a relation.
    Trigger,
}

/// That it is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden(pub String);

/// Whether a principal may do something with a relation or stream.
pub fn may(principal: &Principal, action: Action, name: &str) -> Result<(), Forbidden> {
    principal.may(action, name)
}

/// The condition on the rows of a relation that a principal may see, as SQL in which its claims are literals; all of them without.
pub fn row_filter(principal: &Principal, relation: &str) -> Option<String> {
    principal.row_filter(relation)
}

/// The columns of a relation that a principal may not see, nor ask about.
pub fn hidden(principal: &Principal, relation: &str) -> Hidden {
    principal.hidden(relation)
}

/// Two conditions as one; either may be empty.
pub fn both(one: &str, other: &str) -> String {
    match (one.is_empty(), other.is_empty()) {
        (_, true) => one.to_string(),
        (true, false) => other.to_string(),
        (false, false) => format!("({one}) AND ({other})"),
    }
}

/// Finds out who asks, for every request.
pub async fn identify(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Principal::anonymous());
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_together() {
        assert_eq!(both("a = 1 OR b", ""), "a = 1 OR b");
        assert_eq!(both("", "c"), "c");
        assert_eq!(both("a OR b", "c"), "(a OR b) AND (c)");
    }
}
