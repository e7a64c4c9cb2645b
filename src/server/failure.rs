//! What clients are told when something is not done: a stable code, a message, and for HTTP a status.

use axum::Json;
use axum::http::StatusCode;
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

/// The kinds of reasons; `docs/server.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense: wrong JSON, a wrong filter, an unknown field.
    BadRequest,
    /// There is no such stream, or it is not exposed.
    NotFound,
    /// It is not allowed.
    Forbidden,
    /// There is one of that name already.
    Conflict,
    /// The request is larger than allowed.
    TooLarge,
    /// Too many requests, connections or subscriptions.
    TooMany,
    /// The client took too long.
    Timeout,
    /// The app has ended or is about to.
    Unavailable,
    /// It is not the client's fault.
    Internal,
}

impl Kind {
    /// The code, which does not change.
    pub fn code(self) -> &'static str {
        match self {
            Kind::BadRequest => "BAD_REQUEST",
            Kind::NotFound => "NOT_FOUND",
            Kind::Forbidden => "FORBIDDEN",
            Kind::Conflict => "CONFLICT",
            Kind::TooLarge => "TOO_LARGE",
            Kind::TooMany => "TOO_MANY_REQUESTS",
            Kind::Timeout => "TIMEOUT",
            Kind::Unavailable => "UNAVAILABLE",
            Kind::Internal => "INTERNAL",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
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
        (self.kind.status(), Json(json!({"error": self.json()}))).into_response()
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
