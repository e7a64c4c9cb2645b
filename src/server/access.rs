//! Who may do what. The one place that every handler asks, whatever the protocol.
//!
//! Today everybody is [`Principal::Anonymous`] and may do what the server offers at all: see what is exposed, send into what is named
//! in `[server] publish`. Authentication puts another principal into the request; nothing else in the server changes by it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody in particular.
    #[default]
    Anonymous,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The rows of a relation, once.
    Read,
    /// Its changes.
    Subscribe,
    /// To send events into a stream, or messages to clients.
    Publish,
}

/// That it is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden(pub String);

/// Whether a principal may do something with a relation or stream.
pub fn may(principal: &Principal, _action: Action, _name: &str) -> Result<(), Forbidden> {
    match principal {
        Principal::Anonymous => Ok(()),
    }
}

/// The condition on the rows of a relation that a principal may see; all of them without.
pub fn row_filter(principal: &Principal, _relation: &str) -> Option<String> {
    match principal {
        Principal::Anonymous => None,
    }
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
    request.extensions_mut().insert(Principal::Anonymous);
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
