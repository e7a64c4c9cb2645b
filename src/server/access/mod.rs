//! Who may do what. The one place that every handler asks, whatever the protocol.
//!
//! A request has a [`Principal`]: who asks. [`may`] says whether it may do something with a relation, [`row_filter`] which of its rows it may
//! see, [`hidden`] which of its columns it may not. Without `[server.auth]` everybody may do what the server offers at all: see what is
//! exposed, send into what is named in `[server] publish`. With it nobody may do anything but what a role allows.
//!
//! # Cost
//! A request: a hash of its credential and a look into a table of those that are known. What somebody may is found out once, when the
//! credential is verified, with its claims in the conditions on rows. Rows cost something only where there is such a condition, and as
//! much as a client's own.

mod api_keys;
mod cache;
mod claims;
mod credentials;
mod gate;
mod jwt;
mod principal;
mod restriction;
mod roles;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
pub use credentials::{API_KEY, in_payload};
pub use gate::Gate;
pub use principal::{At, Hidden, Principal};
pub use restriction::{allowed_filter, comes_after, restricted};
pub use roles::There;

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

/// What shows rows of a relation.
const ROWS: [Action; 3] = [Action::Read, Action::Subscribe, Action::Trigger];

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Subscribe => "subscribe to",
            Action::Publish => "send into",
            Action::Trigger => "have triggers on",
        }
    }
}

/// That it is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden(pub String);

/// Whether a principal may do something with a relation or stream. That it may not is noted.
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

/// Two conditions as one; either may be empty. Each is a condition by itself, which has been checked.
pub fn both(one: &str, other: &str) -> String {
    match (one.is_empty(), other.is_empty()) {
        (_, true) => one.to_string(),
        (true, false) => other.to_string(),
        (false, false) => format!("({one}) AND ({other})"),
    }
}

/// The address of the other side of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Finds out who asks, for every request, before anything else is done with it.
pub async fn identify(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let at = At {
        address: request.extensions().get::<Peer>().map(|peer| peer.0),
        endpoint: gate::endpoint(request.uri().path()),
        audit: shared.audit.clone(),
    };
    let principal = match &shared.gate {
        None => Principal::anonymous().at(at),
        Some(gate) => match gate.admit(&mut request, at).await {
            Ok(principal) => principal,
            Err(failure) => return failure.into_response(),
        },
    };
    request.extensions_mut().insert(principal);
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
