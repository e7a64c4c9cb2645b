//! GraphQL over HTTP: queries as JSON, subscriptions as server-sent events, and the way to WebSockets.

use std::sync::Arc;
use std::time::Instant;

use async_graphql::parser::types::OperationType;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::subscription::{Payloads, end, failed, kind_of};
use super::{Api, Asked, socket};
use crate::server::access::Principal;
use crate::server::failure::{Failure, Kind};
use crate::server::http::Answer;
use crate::server::live::Closed;
use crate::server::pace::Paced;
use crate::server::sse::{answer, frame};
use crate::server::websocket::begin;
use crate::server::{Shared, body};

/// The API. *Errors.* When nothing is exposed by GraphQL.
pub fn api(shared: &Shared) -> Result<&Api, Failure> {
    let missing = || {
        Failure::new(
            Kind::NotFound,
            "nothing is exposed by GraphQL: [server] expose says what is",
        )
    };
    shared.schema.as_ref().ok_or_else(missing)
}

/// `GET /graphql`: a WebSocket, a query in the URL, or for people the way to the page.
pub async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<InUrl>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Answer {
    api(&shared)?;
    if headers.contains_key(header::UPGRADE) {
        let upgrade = upgrade.map_err(|error| Failure::bad(error.body_text()))?;
        return begin(shared, &principal.clone(), &headers, upgrade, |upgrade, shared| {
            socket::upgrade(upgrade, shared, principal)
        });
    }
    let Query(query) = query.map_err(|error| Failure::bad(error.body_text()))?;
    match query.query {
        Some(text) => {
            let variables = query.variables.as_deref().map(serde_json::from_str).transpose();
            let variables = variables.map_err(|error| Failure::bad(format!("variables: {error}")))?;
            let asked = Asked {
                query: text,
                operation_name: query.operation_name,
                variables,
            };
            respond(shared, principal, &headers, asked, By::Url).await
        }
        None => Ok(Redirect::to("/graphiql").into_response()),
    }
}

/// A request in a URL.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InUrl {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
}

/// `POST /graphql`.
pub async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    api(&shared)?;
    let asked: Asked = body::json(&shared, &headers, body).await?;
    respond(shared, principal, &headers, asked, By::Body).await
}

/// How a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// In the URL: a page of another origin may make a browser ask that.
    Url,
    /// In a body that is called JSON.
    Body,
}

async fn respond(shared: Arc<Shared>, principal: Principal, headers: &HeaderMap, asked: Asked, by: By) -> Answer {
    let api = api(&shared)?;
    let mut request = asked.request();
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    let streams = accepts.contains("text/event-stream");
    let kind = match kind_of(&mut request) {
        Ok(kind) => kind,
        Err(errors) => return Ok(Json(json!({ "errors": errors })).into_response()),
    };
    if kind == OperationType::Mutation && by == By::Url {
        return Err(Failure::bad("a mutation goes by POST"));
    }
    if kind != OperationType::Subscription {
        let response = api.execute(&shared, &principal, request).await;
        return Ok(match streams {
            // Who asks for events gets its one result as events.
            true => once(&response),
            false => Json(response).into_response(),
        });
    }
    if !streams {
        let failure = Failure::bad("a subscription goes over a WebSocket, or as text/event-stream");
        return Ok((
            axum::http::StatusCode::NOT_ACCEPTABLE,
            Json(json!({ "errors": failed(&failure) })),
        )
            .into_response());
    }
    if shared.is_stopping() {
        return Err(Failure::new(Kind::Unavailable, "the server is about to end"));
    }
    let wake = Arc::new(Notify::new());
    let paced = match api.subscribe(&shared, &principal, request, wake.clone()).await {
        Ok(begun) => begun,
        Err(errors) => return Ok(once(&json!({ "errors": errors }))),
    };
    let (paced, payloads) = paced;
    let stream = Stream {
        paced,
        payloads,
        wake,
        ended: false,
        shared,
    };
    Ok(answer(stream::unfold(stream, Stream::next)))
}

/// One result, and the end.
fn once(response: &Value) -> Response {
    let mut text = Vec::new();
    frame(&mut text, "next", None, response.to_string().as_bytes());
    frame(&mut text, "complete", None, b"");
    answer(stream::iter([Ok(Bytes::from(text))]))
}

struct Stream {
    shared: Arc<Shared>,
    paced: Paced,
    payloads: Payloads,
    wake: Arc<Notify>,
    ended: bool,
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if self.ended {
            return None;
        }
        let heartbeat = Instant::now() + self.shared.options.heartbeat;
        loop {
            let items = self.paced.take(&self.shared.hub.counters);
            let mut text = Vec::new();
            let ended = self
                .payloads
                .of(items, |payload| frame(&mut text, "next", None, payload.as_bytes()));
            if let Some(why) = &ended {
                self.ended = true;
                if *why != Closed::Ended {
                    let errors = json!({ "errors": failed(&end(why)) }).to_string();
                    frame(&mut text, "next", None, errors.as_bytes());
                }
                frame(&mut text, "complete", None, b"");
            }
            if !text.is_empty() {
                return Some((Ok(Bytes::from(text)), self));
            }
            let times = [self.paced.due(), self.paced.ends()].into_iter().flatten();
            let until = times.fold(heartbeat, Instant::min);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {
                    if Instant::now() >= heartbeat {
                        return Some((Ok(Bytes::from_static(b":\n\n")), self));
                    }
                }
            }
        }
    }
}
