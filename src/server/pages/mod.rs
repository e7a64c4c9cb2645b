//! Pages for people: what is exposed, a table that changes as one looks at it, and GraphQL to try out. They are in the binary, load
//! nothing from elsewhere, and use the same endpoints as every client.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::access::{self, Action, Principal};
use super::exposed::find;
use super::failure::{Failure, Kind};
use super::http::Answer;

const INDEX: &str = include_str!("index.html");
const LIVE: &str = include_str!("live.html");
const GRAPHIQL: &str = include_str!("graphiql.html");

/// What all pages look like, and where it stands in them.
const LOOKS: &str = include_str!("style.css");
const STYLE: &str = "/*STYLE*/";

/// Where a page has what it shows, as JSON.
const DATA: &str = "/*DATA*/null";

/// `GET /`.
pub async fn index(State(shared): State<Arc<Shared>>, Extension(principal): Extension<Principal>) -> Answer {
    let relation = |exposed: &Arc<super::exposed::Exposed>| {
        json!({
            "name": exposed.relation.name,
            "columns": seen(exposed, &principal),
            "graphql": exposed.by.graphql,
            "sse": exposed.by.sse,
            "websocket": exposed.by.websocket,
        })
    };
    let relations = shared
        .exposed
        .iter()
        .filter(|exposed| principal.sees(&exposed.relation.name));
    let relations: Vec<_> = relations.map(relation).collect();
    page(&shared, INDEX, &json!(relations))
}

/// The columns that somebody sees.
fn seen<'a>(exposed: &'a super::exposed::Exposed, principal: &Principal) -> Vec<&'a str> {
    let hidden = access::hidden(principal, &exposed.relation.name);
    exposed.columns().filter(|column| !hidden.has(column)).collect()
}

/// `GET /live/<stream>`.
pub async fn live(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Answer {
    let exposed = find(&shared.exposed, &name, |by| by.sse)?;
    access::may(&principal, Action::Subscribe, &name)?;
    let key: Vec<&str> = exposed
        .relation
        .key
        .iter()
        .map(|column| exposed.relation.schema.field(*column).name().as_str())
        .collect();
    let data = json!({
        "name": name,
        "columns": seen(exposed, &principal),
        "key": key,
        "rows": exposed.relation.has_rows,
    });
    page(&shared, LIVE, &data)
}

/// `GET /graphiql`.
pub async fn graphiql(State(shared): State<Arc<Shared>>) -> Answer {
    let api = super::graphql::http::api(&shared)?;
    page(&shared, GRAPHIQL, &json!({ "sdl": api.sdl() }))
}

fn page(shared: &Shared, html: &str, data: &serde_json::Value) -> Result<Response, Failure> {
    if !shared.options.pages.unwrap_or(shared.options.is_local()) {
        return Err(Failure::new(Kind::NotFound, "there are no pages here: [server] pages"));
    }
    // Nothing in it can end the script it stands in.
    let data = data.to_string().replace('<', "\\u003c");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
             form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    let html = html.replacen(STYLE, LOOKS.trim_end(), 1);
    Ok((headers, html.replacen(DATA, &data, 1)).into_response())
}
