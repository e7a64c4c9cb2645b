//! Bodies of requests: JSON, not too large, not too slow.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::Shared;
use super::failure::{Failure, Kind};

/// Reads a body as JSON.
///
/// It must be called JSON, too: a browser then asks before it sends it for a page of another origin.
pub async fn json<T: DeserializeOwned>(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<T, Failure> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.trim().to_ascii_lowercase().starts_with("application/json") {
        return Err(Failure::bad(
            "the body must be application/json, and its Content-Type must say so",
        ));
    }
    let limit = shared.options.max_message;
    let read = axum::body::to_bytes(body, limit);
    let bytes = within(shared.options.request_timeout, read).await?;
    let bytes = bytes.map_err(|_| {
        Failure::new(
            Kind::TooLarge,
            format!("the body has more than {limit} bytes, or broke off"),
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::bad(format!("the body is not what it should be: {error}")))
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    let done = tokio::time::timeout(time, work).await;
    done.map_err(|_| Failure::new(Kind::Timeout, "the body did not come in time"))
}
