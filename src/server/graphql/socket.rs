//! GraphQL over WebSockets: `graphql-transport-ws`, and the older `graphql-ws` of subscriptions-transport-ws.

use std::sync::Arc;
use std::time::Instant;

use async_graphql::parser::types::OperationType;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use serde_json::{Value, json};

use super::Asked;
use super::http::api;
use super::subscription::{Payloads, end, failed, kind_of};
use crate::server::Shared;
use crate::server::access::{Principal, in_payload};
use crate::server::failure::{Failure, Kind};
use crate::server::live::{Closed, Item};
use crate::server::pace::Paced;
use crate::server::socket::{Answer, Core, Dialect, close, serve};

/// The protocol of today.
const TRANSPORT: &str = "graphql-transport-ws";

/// The one before.
const LEGACY: &str = "graphql-ws";

/// The longest name of an operation.
const MAX_ID: usize = 256;

/// Close codes of `graphql-transport-ws`.
mod code {
    pub const INVALID: u16 = 4400;
    pub const UNAUTHORIZED: u16 = 4401;
    pub const INIT_TIMEOUT: u16 = 4408;
    pub const EXISTS: u16 = 4409;
    pub const TOO_MANY: u16 = 4429;
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Transport,
    Legacy,
}

/// Upgrades to the protocol that the client wants; without one it is the newer.
pub fn upgrade(upgrade: WebSocketUpgrade, shared: Arc<Shared>, principal: Principal) -> Response {
    let upgrade = upgrade.protocols([TRANSPORT, LEGACY]);
    let is_legacy = upgrade.selected_protocol().is_some_and(|protocol| protocol == LEGACY);
    let graphql = GraphQl {
        protocol: if is_legacy {
            Protocol::Legacy
        } else {
            Protocol::Transport
        },
        acknowledged: false,
        until: Instant::now() + shared.options.request_timeout,
    };
    let core = Core::new(shared, principal);
    upgrade.on_upgrade(move |socket| serve(socket, graphql, core))
}

struct GraphQl {
    protocol: Protocol,
    acknowledged: bool,
    /// When it must have been initialised.
    until: Instant,
}

/// What clients say, in either protocol.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    payload: Value,
}

impl Dialect for GraphQl {
    type Sub = Payloads;

    async fn receive(&mut self, core: &mut Core<Payloads>, text: &str) {
        let said: Said = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(_) => {
                core.rejected();
                return core.close(code::INVALID, "Invalid message received");
            }
        };
        match (said.kind.as_str(), self.protocol) {
            ("connection_init", _) if self.acknowledged => {
                core.close(code::TOO_MANY, "Too many initialisation requests")
            }
            ("connection_init", _) => {
                if let Err(failure) = signed_in(core, &said.payload).await {
                    return self.refuse(core, &failure);
                }
                self.acknowledged = true;
                core.send(r#"{"type":"connection_ack"}"#);
                if self.protocol == Protocol::Legacy {
                    core.send(r#"{"type":"ka"}"#);
                }
            }
            ("ping", Protocol::Transport) => core.send(r#"{"type":"pong"}"#),
            ("pong", Protocol::Transport) => {}
            ("connection_terminate", Protocol::Legacy) => core.close(1000, ""),
            ("complete", Protocol::Transport) | ("stop", Protocol::Legacy) => {
                let id = said.id.unwrap_or_default();
                let was = core.subs.remove(&id).is_some();
                if was && self.protocol == Protocol::Legacy {
                    core.send(json!({"type": "complete", "id": id}).to_string());
                }
            }
            ("subscribe", Protocol::Transport) | ("start", Protocol::Legacy) => self.start(core, said).await,
            _ => {
                core.rejected();
                core.close(code::INVALID, "Invalid message received");
            }
        }
    }

    fn tell(&self, id: &str, payloads: &mut Payloads, _: &Paced, items: Vec<Item>, out: &mut Vec<Message>) -> bool {
        let id = json!(id).to_string();
        let kind = match self.protocol {
            Protocol::Transport => "next",
            Protocol::Legacy => "data",
        };
        let head = format!(r#"{{"id":{id},"type":"{kind}","payload":"#);
        let ended = payloads.of(items, |payload| {
            let mut text = String::with_capacity(head.len() + payload.len() + 1);
            text.push_str(&head);
            text.push_str(&payload);
            text.push('}');
            out.push(Message::Text(text.into()));
        });
        match ended {
            None => return false,
            Some(Closed::Ended) => {}
            Some(why) => {
                out.push(Message::Text(self.error(&id, &failed(&end(&why))).into()));
                if self.protocol == Protocol::Transport {
                    // An error is the end.
                    return true;
                }
            }
        }
        out.push(Message::Text(format!(r#"{{"id":{id},"type":"complete"}}"#).into()));
        true
    }

    fn heartbeat(&self) -> Message {
        Message::Text(match self.protocol {
            Protocol::Transport => r#"{"type":"ping"}"#.into(),
            Protocol::Legacy => r#"{"type":"ka"}"#.into(),
        })
    }

    fn deadline(&self) -> Option<(Instant, u16, &'static str)> {
        (!self.acknowledged).then_some((self.until, code::INIT_TIMEOUT, "Connection initialisation timeout"))
    }

    fn flooded(&self) -> Option<u16> {
        Some(code::TOO_MANY)
    }
}

/// Signs in with what the client begins with, if it is not known yet or says something.
async fn signed_in(core: &mut Core<Payloads>, payload: &Value) -> Result<(), Failure> {
    if core.shared.gate.is_none() {
        return Ok(());
    }
    match in_payload(payload) {
        Ok(Some(credential)) => core.sign_in(&credential).await,
        Ok(None) if core.principal.is_known() => Ok(()),
        Ok(None) => {
            let message = "sign in: with \"Authorization\" in the payload of connection_init, or as a header";
            let failure = Failure::new(Kind::Unauthenticated, message);
            core.principal.note_refusal("", &failure);
            Err(failure)
        }
        Err(failure) => {
            core.principal.note_refusal("", &failure);
            Err(failure)
        }
    }
}

impl GraphQl {
    /// Ends a connection that nobody has signed in on. Who has a token that is over may come back with another.
    fn refuse(&self, core: &mut Core<Payloads>, failure: &Failure) {
        core.rejected();
        if self.protocol == Protocol::Legacy {
            let payload = &failed(failure)[0];
            core.send(json!({"type": "connection_error", "payload": payload}).to_string());
        }
        let code = match failure.kind {
            Kind::TokenExpired => close::FORBIDDEN,
            _ => close::UNAUTHORIZED,
        };
        core.close(code, failure.kind.code());
    }

    /// An error of an operation; `id` is JSON.
    fn error(&self, id: &str, errors: &Value) -> String {
        match self.protocol {
            Protocol::Transport => format!(r#"{{"id":{id},"type":"error","payload":{errors}}}"#),
            // The older protocol has one error there.
            Protocol::Legacy => format!(
                r#"{{"id":{id},"type":"error","payload":{}}}"#,
                errors.get(0).unwrap_or(&Value::Null)
            ),
        }
    }

    async fn start(&mut self, core: &mut Core<Payloads>, said: Said) {
        if !self.acknowledged {
            return core.close(code::UNAUTHORIZED, "Unauthorized");
        }
        let Some(id) = said.id.filter(|id| !id.is_empty() && id.len() <= MAX_ID) else {
            return core.close(code::INVALID, "Invalid message received");
        };
        if core.subs.contains_key(&id) {
            return match self.protocol {
                Protocol::Transport => core.close(code::EXISTS, format!("Subscriber for {id} already exists")),
                Protocol::Legacy => {
                    core.subs.remove(&id);
                }
            };
        }
        let text = json!(id).to_string();
        let asked: Asked = match serde_json::from_value(said.payload) {
            Ok(asked) => asked,
            Err(_) => return core.close(code::INVALID, "Invalid message received"),
        };
        let mut request = asked.request();
        let outcome = match kind_of(&mut request) {
            Err(errors) => Err(errors),
            Ok(OperationType::Subscription) => self.subscribe(core, &id, request).await,
            Ok(_) => self.once(core, &text, request),
        };
        if let Err(errors) = outcome {
            core.rejected();
            core.send(self.error(&text, &errors));
        }
    }

    async fn subscribe(
        &self,
        core: &mut Core<Payloads>,
        id: &str,
        request: async_graphql::Request,
    ) -> Result<(), Value> {
        core.admits(id).map_err(|failure| failed(&failure))?;
        let shared = core.shared.clone();
        let api = api(&shared).map_err(|failure| failed(&failure))?;
        let subscription = api
            .subscribe(&shared, &core.principal, request, core.wake.clone())
            .await?;
        core.subs.insert(id.to_string(), subscription);
        core.wake.notify_one();
        Ok(())
    }

    /// A query, which has one result. `id` is JSON.
    fn once(&self, core: &mut Core<Payloads>, id: &str, request: async_graphql::Request) -> Result<(), Value> {
        let (shared, principal, id) = (core.shared.clone(), core.principal.clone(), id.to_string());
        let kind = match self.protocol {
            Protocol::Transport => "next",
            Protocol::Legacy => "data",
        };
        let work = core.work(|answers| async move {
            let response = match api(&shared) {
                Ok(api) => api.execute(&shared, &principal, request).await,
                Err(failure) => json!({ "errors": failed(&failure) }),
            };
            // That nobody waits for it any more is no error.
            let _ = answers
                .send(Answer::part(format!(
                    r#"{{"id":{id},"type":"{kind}","payload":{response}}}"#
                )))
                .await;
            let _ = answers
                .send(Answer::last(Some(format!(r#"{{"id":{id},"type":"complete"}}"#))))
                .await;
        });
        work.map_err(|failure| failed(&failure))
    }
}
