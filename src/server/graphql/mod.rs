//! GraphQL: a schema made of the relations that are exposed; queries, and subscriptions over WebSocket and server-sent events.
//!
//! Documents are parsed, checked and limited by async-graphql, and queries are executed by it. A subscription is checked by it, too:
//! its resolver only notes what is asked for, with variables, fragments and directives resolved, and ends. What then runs is a live
//! view's channel, of which all who ask for the same share one text: executing each selection for each client would cost ten thousand
//! times as much with ten thousand clients.

mod condition;
pub mod http;
mod names;
mod schema;
mod socket;
mod subscription;
mod triggers;

use std::sync::Arc;

use async_graphql::Request;
use async_graphql::dynamic::Schema;

use super::exposed::Exposed;
use crate::config::server::ServerOptions;
use crate::error::Result;

/// The API of what is exposed.
pub struct Api {
    schema: Schema,
}

impl Api {
    /// Of the relations that are exposed by GraphQL; `None` if there is none.
    pub fn new(exposed: &[Arc<Exposed>], options: &ServerOptions) -> Result<Option<Self>> {
        let exposed: Vec<Arc<Exposed>> = exposed.iter().filter(|exposed| exposed.by.graphql).cloned().collect();
        match exposed.is_empty() {
            true => Ok(None),
            false => Ok(Some(Api {
                schema: schema::build(&exposed, options)?,
            })),
        }
    }

    /// The schema in its own language.
    pub fn sdl(&self) -> String {
        self.schema.sdl()
    }
}

/// A request as clients send it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Asked {
    query: String,
    operation_name: Option<String>,
    variables: Option<serde_json::Value>,
}

impl Asked {
    fn request(self) -> Request {
        let variables = async_graphql::Variables::from_json(self.variables.unwrap_or_default());
        let request = Request::new(self.query).variables(variables);
        match self.operation_name.filter(|name| !name.is_empty()) {
            Some(name) => request.operation_name(name),
            None => request,
        }
    }
}
