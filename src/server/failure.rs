//! What clients are told when something is not done: a stable code, a message, and for HTTP a status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::access::Forbidden;
use crate::error::Error;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which kind of reason.
    pub kind: Kind,
    /// For people.
    pub message: String,
}

/// The kinds of reasons: all there are, whatever the protocol. `docs/server/errors.md` lists them, which a test checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense: wrong JSON, a wrong filter, an unknown field.
    BadRequest,
    /// Nobody has signed in.
    Unauthenticated,
    /// What somebody signed in with is not good.
    TokenInvalid,
    /// It is not good any more.
    TokenExpired,
    /// It is not allowed.
    Forbidden,
    /// There is no such stream, or it is not exposed.
    NotFound,
    /// The client took too long.
    Timeout,
    /// There is one of that name already.
    Conflict,
    /// The request is larger than allowed.
    TooLarge,
    /// Too many requests, connections or subscriptions.
    TooMany,
    /// The client did not take what was sent to it.
    TooSlow,
    /// It is not the client's fault.
    Internal,
    /// The app has ended or is about to.
    Unavailable,
    /// The keys of tokens are not known now.
    AuthUnavailable,
    /// The audit cannot be written.
    AuditFailed,
}

/// An error code: the code, the status of an answer with it, and what it means.
pub type ErrorCode = (Kind, &'static str, StatusCode, &'static str);

/// All error codes. They do not change.
pub const ERRORS: &[ErrorCode] = &[
    (
        Kind::BadRequest,
        "BAD_REQUEST",
        StatusCode::BAD_REQUEST,
        "The request makes no sense: wrong JSON, a document or a filter that is none, an unknown field.",
    ),
    (
        Kind::Unauthenticated,
        "UNAUTHENTICATED",
        StatusCode::UNAUTHORIZED,
        "Sign in: there is no credential.",
    ),
    (
        Kind::TokenInvalid,
        "TOKEN_INVALID",
        StatusCode::UNAUTHORIZED,
        "The token or key is not good: malformed, not known, wrongly signed, of another issuer, for somebody else, not good yet.",
    ),
    (
        Kind::TokenExpired,
        "TOKEN_EXPIRED",
        StatusCode::UNAUTHORIZED,
        "The token has expired; also what open streams and connections end with when it does.",
    ),
    (
        Kind::Forbidden,
        "FORBIDDEN",
        StatusCode::FORBIDDEN,
        "It is not allowed: by no role, a hidden column, a stream that is not in publish, a page of another origin.",
    ),
    (
        Kind::NotFound,
        "NOT_FOUND",
        StatusCode::NOT_FOUND,
        "There is no such relation, page or subscription, or that protocol does not show it.",
    ),
    (
        Kind::Timeout,
        "TIMEOUT",
        StatusCode::REQUEST_TIMEOUT,
        "A body, a first message or the result of a request did not come in time.",
    ),
    (
        Kind::Conflict,
        "CONFLICT",
        StatusCode::CONFLICT,
        "There is one of that name already.",
    ),
    (
        Kind::TooLarge,
        "TOO_LARGE",
        StatusCode::PAYLOAD_TOO_LARGE,
        "More bytes than max.message-size.",
    ),
    (
        Kind::TooMany,
        "TOO_MANY_REQUESTS",
        StatusCode::TOO_MANY_REQUESTS,
        "More subscriptions, requests or messages than allowed.",
    ),
    (
        Kind::TooSlow,
        "TOO_SLOW",
        StatusCode::REQUEST_TIMEOUT,
        "The client did not keep up, and its policy is to be disconnected, or coalesce.max-rows was too few. Ends streams; no answer has it.",
    ),
    (
        Kind::Internal,
        "INTERNAL",
        StatusCode::INTERNAL_SERVER_ERROR,
        "Not the client's fault; the server's log says more.",
    ),
    (
        Kind::Unavailable,
        "UNAVAILABLE",
        StatusCode::SERVICE_UNAVAILABLE,
        "The app has stopped, or is about to.",
    ),
    (
        Kind::AuthUnavailable,
        "AUTH_UNAVAILABLE",
        StatusCode::SERVICE_UNAVAILABLE,
        "The keys of tokens cannot be read, and those known are too old: try again.",
    ),
    (
        Kind::AuditFailed,
        "AUDIT_FAILED",
        StatusCode::SERVICE_UNAVAILABLE,
        "It would have to be noted in the audit and cannot be: nothing was done.",
    ),
];

impl Kind {
    fn row(self) -> Option<&'static ErrorCode> {
        ERRORS.iter().find(|(kind, ..)| *kind == self)
    }

    /// The code, which does not change.
    pub fn code(self) -> &'static str {
        self.row().map_or("INTERNAL", |(_, code, ..)| code)
    }

    fn status(self) -> StatusCode {
        self.row()
            .map_or(StatusCode::INTERNAL_SERVER_ERROR, |(_, _, status, _)| *status)
    }
}

impl Failure {
    /// Of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: message.into(),
        }
    }

    /// A request that makes no sense.
    pub fn bad(message: impl Into<String>) -> Self {
        Failure::new(Kind::BadRequest, message)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({"code": self.kind.code(), "message": self.message})
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut response = (status, Json(json!({"error": self.json()}))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Forbidden> for Failure {
    fn from(Forbidden(why): Forbidden) -> Self {
        Failure::new(Kind::Forbidden, why)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Compile(diagnostic) => Failure::bad(match &diagnostic.hint {
                Some(hint) => format!("{} ({hint})", diagnostic.message),
                None => diagnostic.message.clone(),
            }),
            Error::Usage(message) => Failure::bad(message),
            Error::Closed => Failure::new(Kind::Unavailable, "the app has stopped"),
            other => {
                tracing::warn!(error = %other, "a request failed");
                Failure::new(Kind::Internal, "it failed; the server's log says why")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let all = [
            Kind::BadRequest,
            Kind::Unauthenticated,
            Kind::TokenInvalid,
            Kind::TokenExpired,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::Timeout,
            Kind::Conflict,
            Kind::TooLarge,
            Kind::TooMany,
            Kind::TooSlow,
            Kind::Internal,
            Kind::Unavailable,
            Kind::AuthUnavailable,
            Kind::AuditFailed,
        ];
        assert!(all.iter().all(|kind| kind.row().is_some()));
        let codes: BTreeSet<&str> = all.iter().map(|kind| kind.code()).collect();
        assert_eq!((codes.len(), ERRORS.len()), (all.len(), all.len()));
    }
}
