//! `/health`, `/ready`, `/metrics`, and what is nowhere.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::access::Principal;
use super::failure::{Failure, Kind};
use super::{Shared, metrics};

/// That the process lives.
pub async fn health() -> Response {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})).into_response()
}

/// Whether the app runs and the server is not about to end.
pub async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.app.is_finished() || shared.is_stopping() {
        false => Json(json!({"status": "ready"})).into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "stopping"}))).into_response(),
    }
}

/// The counters.
pub async fn metrics(State(shared): State<Arc<Shared>>, Extension(principal): Extension<Principal>) -> Response {
    let is_open = shared.gate.as_ref().is_none_or(|gate| gate.is_open("metrics"));
    if !is_open && !principal.may_read_metrics() {
        let message = format!("'{}' may not read the counters", principal.name());
        return principal.refused("", &message).into_response();
    }
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&shared)).into_response()
}

/// Nothing is there.
pub async fn nothing() -> Failure {
    Failure::new(Kind::NotFound, "there is nothing here")
}
