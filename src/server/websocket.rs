//! `/ws`: JSON over a WebSocket. `docs/websocket.md` has the messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::access::{self, Action, Principal};
use super::exposed::{Wanted, every, find};
use super::failure::{Failure, Kind};
use super::http::{Answer as HttpAnswer, is_allowed_origin};
use super::live::{Closed, Item, Joined};
use super::pace::Paced;
use super::query::{Ask, rows};
use super::socket::{self, Answer, Core, Dialect, close};
use super::{Shared, live};

/// The bytes that wait to be read; so few that ten thousand clients fit.
pub const READ_BUFFER: usize = 4 << 10;

/// How long a request may wait for its result, if it does not say.
const REQUEST: Duration = Duration::from_secs(30);

/// The column that ties the rows of an answer to their request.
const REQUEST_ID: &str = "request_id";

/// The column that says that a row is the last of an answer.
const DONE: &str = "done";

/// The longest name that a client may give.
const MAX_ID: usize = 256;

/// `GET /ws`.
pub async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> HttpAnswer {
    let upgrade = upgrade.map_err(|error| Failure::bad(error.body_text()))?;
    begin(shared, &principal.clone(), &headers, upgrade, |upgrade, shared| {
        let json = Json {
            until: Instant::now() + shared.options.request_timeout,
            signed_in: principal.is_known(),
        };
        let core = Core::new(shared, principal);
        upgrade.on_upgrade(move |socket| socket::serve(socket, json, core))
    })
}

/// Begins a WebSocket, within the limits.
pub fn begin(
    shared: Arc<Shared>,
    principal: &Principal,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    serve: impl FnOnce(WebSocketUpgrade, Arc<Shared>) -> Response,
) -> Result<Response, Failure> {
    if !is_allowed_origin(&shared, headers) {
        let message = "pages of this origin may not connect: [server] cors.origins says which may";
        return Err(principal.refused("", message));
    }
    if shared.is_stopping() {
        return Err(Failure::new(Kind::Unavailable, "the server is about to end"));
    }
    let most = shared.options.max_message;
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(most)
        .max_frame_size(most);
    Ok(serve(upgrade, shared))
}

/// What clients say.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Authenticate {
        id: Option<String>,
        token: Option<String>,
        key: Option<String>,
    },
    Subscribe {
        id: String,
        stream: String,
        #[serde(flatten)]
        wanted: Box<Wants>,
    },
    Unsubscribe {
        id: String,
    },
    Publish {
        id: String,
        stream: String,
        #[serde(default)]
        rows: Vec<Value>,
        row: Option<Value>,
    },
    Query {
        id: String,
        stream: String,
        #[serde(default)]
        filter: String,
        #[serde(default)]
        order_by: String,
        limit: Option<usize>,
        #[serde(default)]
        offset: usize,
    },
    Request {
        id: String,
        stream: String,
        row: serde_json::Map<String, Value>,
        reply: String,
        timeout: Option<String>,
    },
    Ping {
        id: Option<String>,
    },
}

/// As [`Wanted`], in which flattened fields cannot be checked for being known.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Wants {
    filter: Option<String>,
    fields: Option<String>,
    every: Option<String>,
    max_rows: Option<usize>,
    policy: Option<String>,
    queue: Option<usize>,
    snapshot: Option<bool>,
    resume: Option<String>,
    channel: Option<String>,
    user: Option<String>,
    session: Option<String>,
}

impl From<Wants> for Wanted {
    fn from(wants: Wants) -> Self {
        Wanted {
            filter: wants.filter,
            fields: wants.fields,
            every: wants.every,
            max_rows: wants.max_rows,
            policy: wants.policy,
            queue: wants.queue,
            snapshot: wants.snapshot,
            resume: wants.resume,
            channel: wants.channel,
            user: wants.user,
            session: wants.session,
        }
    }
}

/// The dialect.
struct Json {
    /// When the client must have signed in.
    until: Instant,
    signed_in: bool,
}

/// What is known of a subscription.
enum Sub {
    /// The client's own.
    Plain,
    /// Waits for the rows of a request's answer.
    Reply(Arc<Reply>),
}

/// How far an answer is.
#[derive(Default)]
struct Reply {
    /// The stream of the answers is listened to.
    joined: Notify,
    /// The result has come, or none will.
    done: Notify,
}

impl Dialect for Json {
    type Sub = Sub;

    async fn receive(&mut self, core: &mut Core<Sub>, text: &str) {
        let said: Said = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(_) if !self.signed_in => return nobody(core, None),
            Err(error) => {
                // Its id, if that at least can be read.
                let id = serde_json::from_str::<Value>(text)
                    .ok()
                    .and_then(|value| Some(value.get("id")?.as_str()?.to_string()));
                core.rejected();
                let failure = Failure::bad(format!("this is no message: {error}"));
                return core.send(error_of(id.as_deref(), &failure));
            }
        };
        let id = said.id().unwrap_or_default().to_string();
        if !self.signed_in && !matches!(said, Said::Authenticate { .. }) {
            return nobody(core, said.id());
        }
        let outcome = match (id.len() > MAX_ID, said) {
            (true, _) => Err(Failure::bad(format!("an id has {MAX_ID} bytes at most"))),
            (false, Said::Authenticate { id, token, key }) => {
                return self.authenticate(core, id.as_deref(), token.or(key)).await;
            }
            (false, said) => act(core, said).await,
        };
        if let Err(failure) = outcome {
            core.rejected();
            core.send(error_of(Some(&id[..id.len().min(MAX_ID)]), &failure));
        }
    }

    fn tell(&self, id: &str, sub: &mut Sub, paced: &Paced, items: Vec<Item>, out: &mut Vec<Message>) -> bool {
        let id = json!(id).to_string();
        match sub {
            Sub::Plain => tell(&id, paced, items, out),
            Sub::Reply(state) => tell_reply(&id, state, items, out),
        }
    }

    fn heartbeat(&self) -> Message {
        Message::Text(r#"{"type":"heartbeat"}"#.into())
    }

    fn deadline(&self) -> Option<(Instant, u16, &'static str)> {
        (!self.signed_in).then_some((self.until, close::UNAUTHORIZED, "UNAUTHENTICATED"))
    }

    fn farewell(&self, failure: &Failure) -> Option<Message> {
        Some(Message::Text(error_of(None, failure).into()))
    }
}

impl Json {
    /// Signs in, or ends the connection.
    async fn authenticate(&mut self, core: &mut Core<Sub>, id: Option<&str>, credential: Option<String>) {
        if self.signed_in {
            core.rejected();
            return core.send(error_of(id, &Failure::bad("somebody has signed in already")));
        }
        let outcome = match credential {
            Some(credential) => core.sign_in(&credential).await,
            None => Err(Failure::new(Kind::Unauthenticated, "sign in with 'token' or 'key'")),
        };
        match outcome {
            Ok(()) => {
                self.signed_in = true;
                let name = core.principal.name().to_string();
                core.send(json!({"type": "authenticated", "id": id, "name": name}).to_string());
            }
            Err(failure) => {
                core.rejected();
                core.send(error_of(id, &failure));
                core.close(close::UNAUTHORIZED, failure.kind.code());
            }
        }
    }
}

/// Ends a connection whose client should have signed in first.
fn nobody(core: &mut Core<Sub>, id: Option<&str>) {
    let failure = Failure::new(
        Kind::Unauthenticated,
        "sign in first: {\"type\":\"authenticate\",\"token\":\"…\"}",
    );
    core.principal.note_refusal("", &failure);
    core.rejected();
    core.send(error_of(id, &failure));
    core.close(close::UNAUTHORIZED, failure.kind.code());
}

impl Said {
    fn id(&self) -> Option<&str> {
        match self {
            Said::Subscribe { id, .. }
            | Said::Unsubscribe { id }
            | Said::Publish { id, .. }
            | Said::Query { id, .. }
            | Said::Request { id, .. } => Some(id),
            Said::Ping { id } | Said::Authenticate { id, .. } => id.as_deref(),
        }
    }
}

fn error_of(id: Option<&str>, failure: &Failure) -> String {
    json!({"type": "error", "id": id, "error": failure.json()}).to_string()
}

async fn act(core: &mut Core<Sub>, said: Said) -> Result<(), Failure> {
    match said {
        // Before anything else.
        Said::Authenticate { .. } => Ok(()),
        Said::Ping { id } => {
            core.send(json!({"type": "pong", "id": id}).to_string());
            Ok(())
        }
        Said::Unsubscribe { id } => match core.subs.remove(&id) {
            Some(_) => {
                core.send(json!({"type": "complete", "id": id}).to_string());
                Ok(())
            }
            None => Err(Failure::new(Kind::NotFound, format!("there is no subscription '{id}'"))),
        },
        Said::Subscribe { id, stream, wanted } => {
            subscribe(core, id, &stream, &Wanted::from(*wanted), Sub::Plain).await
        }
        Said::Publish {
            id,
            stream,
            mut rows,
            row,
        } => {
            rows.extend(row);
            let input = Publish::new(core, &stream)?;
            core.work(|answers| async move {
                let message = match input.send(rows).await {
                    Ok(count) => json!({"type": "ack", "id": id, "rows": count}).to_string(),
                    Err(failure) => error_of(Some(&id), &failure),
                };
                last(&answers, message).await;
            })
        }
        Said::Query {
            id,
            stream,
            filter,
            order_by,
            limit,
            offset,
        } => {
            let exposed = find(&core.shared.exposed, &stream, |by| by.websocket)?.clone();
            let ask = Ask {
                filter,
                order_by: orders(&exposed, &core.principal, &order_by)?,
                limit,
                offset,
            };
            let (shared, principal) = (core.shared.clone(), core.principal.clone());
            core.work(|answers| async move {
                let result = query(&shared, &principal, &exposed, &ask, &id, &answers).await;
                last(&answers, result.unwrap_or_else(|failure| error_of(Some(&id), &failure))).await;
            })
        }
        Said::Request {
            id,
            stream,
            row,
            reply,
            timeout,
        } => request(core, id, &stream, row, &reply, timeout.as_deref()).await,
    }
}

async fn subscribe(core: &mut Core<Sub>, id: String, stream: &str, wanted: &Wanted, sub: Sub) -> Result<(), Failure> {
    core.admits(&id)?;
    let exposed = find(&core.shared.exposed, stream, |by| by.websocket)?.clone();
    let pace = wanted.pace()?;
    let shared = core.shared.clone();
    let subscriber = wanted
        .subscribe(
            &shared.hub,
            &exposed,
            &core.principal,
            shared.options.queue,
            core.wake.clone(),
        )
        .await?;
    let paced = Paced::new(subscriber, pace, &core.principal, &exposed.relation.name);
    core.subs.insert(id, (paced, sub));
    core.wake.notify_one();
    Ok(())
}

/// Sends the last answer of some work. That nobody waits for it any more is no error.
async fn last(answers: &async_channel::Sender<Answer>, message: String) {
    let _ = answers.send(Answer::last(Some(message))).await;
}

/// `price DESC, symbol`.
fn orders(exposed: &super::exposed::Exposed, principal: &Principal, text: &str) -> Result<Vec<(usize, bool)>, Failure> {
    let one = |part: &str| {
        let (name, descending) = match part.rsplit_once(' ') {
            Some((name, word)) if word.eq_ignore_ascii_case("desc") => (name.trim(), true),
            Some((name, word)) if word.eq_ignore_ascii_case("asc") => (name.trim(), false),
            _ => (part, false),
        };
        Ok((exposed.column(name, principal)?, descending))
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(one).collect()
}

/// The rows of a query, in messages that say how far it is, and the last with the rest.
async fn query(
    shared: &Arc<Shared>,
    principal: &Principal,
    exposed: &super::exposed::Exposed,
    ask: &Ask,
    id: &str,
    answers: &async_channel::Sender<Answer>,
) -> Result<String, Failure> {
    const CHUNK: usize = 1_000;
    let batches = rows(shared, principal, exposed, ask).await?;
    let total: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    let id = json!(id);
    let mut texts = Vec::new();
    for batch in &batches {
        texts.extend(live::rows_as_json(batch, live::Style::Json)?);
    }
    let list = |texts: &[Vec<u8>]| {
        let texts = texts.iter().map(|text| String::from_utf8_lossy(text));
        texts.collect::<Vec<_>>().join(",")
    };
    let mut rest = texts.as_slice();
    while rest.len() > CHUNK {
        let (chunk, others) = rest.split_at(CHUNK);
        rest = others;
        let done = total - rest.len();
        let rows = list(chunk);
        let text = format!(r#"{{"type":"progress","id":{id},"done":{done},"total":{total},"rows":[{rows}]}}"#);
        if answers.send(Answer::part(text)).await.is_err() {
            break;
        }
    }
    let rows = list(rest);
    Ok(format!(
        r#"{{"type":"result","id":{id},"total":{total},"rows":[{rows}]}}"#
    ))
}

/// A stream that clients may send into.
struct Publish {
    shared: Arc<Shared>,
    stream: String,
}

impl Publish {
    fn new<S>(core: &Core<S>, stream: &str) -> Result<Self, Failure> {
        if !core.shared.options.publish.iter().any(|name| name == stream) {
            let message = format!("nothing is sent into '{stream}' from here: [server] publish says what may be");
            return Err(core.principal.refused(stream, &message));
        }
        access::may(&core.principal, Action::Publish, stream)?;
        Ok(Publish {
            shared: core.shared.clone(),
            stream: stream.to_string(),
        })
    }

    /// Sends rows as one batch; how many they are. All or none of them.
    async fn send<T: serde::Serialize + Send + 'static>(self, rows: Vec<T>) -> Result<usize, Failure> {
        let count = rows.len();
        if count == 0 {
            return Err(Failure::bad("there is no row: send 'row' or 'rows'"));
        }
        // It waits while the app is busy.
        let shared = self.shared.clone();
        let send = move || shared.app.input(&self.stream)?.send_rows(rows);
        let sent = tokio::task::spawn_blocking(send).await;
        sent.map_err(|_| Failure::new(Kind::Internal, "it was given up"))??;
        self.shared
            .counters
            .published
            .fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Sends a row and waits for the rows of another stream that have the request's id.
async fn request(
    core: &mut Core<Sub>,
    id: String,
    stream: &str,
    mut row: serde_json::Map<String, Value>,
    reply: &str,
    timeout: Option<&str>,
) -> Result<(), Failure> {
    let input = Publish::new(core, stream)?;
    let exposed = find(&core.shared.exposed, reply, |by| by.websocket)?;
    exposed.column(REQUEST_ID, &core.principal)?;
    let timeout = every(timeout)?.unwrap_or(REQUEST);
    row.insert(REQUEST_ID.to_string(), Value::String(id.clone()));
    let wanted = Wanted {
        filter: Some(format!("\"{REQUEST_ID}\" = '{}'", id.replace('\'', "''"))),
        snapshot: Some(false),
        ..Wanted::default()
    };
    let state = Arc::new(Reply::default());
    subscribe(core, id.clone(), reply, &wanted, Sub::Reply(state.clone())).await?;
    let subscription = id.clone();
    let begun = core.work(|answers| async move {
        // What comes before it is listened to would be lost.
        state.joined.notified().await;
        let mut ended = Answer::last(None);
        match input.send(vec![row]).await {
            Err(failure) => ended = Answer::last(Some(error_of(Some(&id), &failure))),
            Ok(_) => {
                // That nobody waits for it any more is no error.
                let _ = answers
                    .send(Answer::part(json!({"type": "ack", "id": id, "rows": 1}).to_string()))
                    .await;
                if tokio::time::timeout(timeout, state.done.notified()).await.is_err() {
                    let failure = Failure::new(Kind::Timeout, "the result did not come in time");
                    ended = Answer::last(Some(error_of(Some(&id), &failure)));
                }
            }
        }
        ended.ends = Some(id);
        let _ = answers.send(ended).await;
    });
    begun.inspect_err(|_| {
        core.subs.remove(&subscription);
    })
}

/// Writes what a subscription has: changes together.
fn tell(id: &str, paced: &Paced, items: Vec<Item>, out: &mut Vec<Message>) -> bool {
    let mut changes = String::new();
    let mut last = None;
    let mut ended = false;
    let mut say = |text: String| out.push(Message::Text(text.into()));
    for item in items {
        match item {
            Item::Row(text) => element(&mut changes, &text),
            Item::Change(message) => {
                last = Some(message.change.seq);
                element(&mut changes, &message.text());
            }
            Item::Joined(joined) => {
                let from = match joined {
                    Joined::Rows => "rows",
                    Joined::Resumed => "resumed",
                    Joined::Live => "live",
                };
                say(format!(r#"{{"type":"subscribed","id":{id},"from":"{from}"}}"#));
            }
            Item::AllRows(seq) => {
                let token = paced.subscriber.token(seq);
                say(format!(r#"{{"type":"ready","id":{id},"resume":"{token}"}}"#));
            }
            Item::Missed(count) => say(format!(r#"{{"type":"missed","id":{id},"count":{count}}}"#)),
            Item::Closed(why) => {
                ended = true;
                if !changes.is_empty() {
                    say(changes_text(id, &changes, None));
                    changes.clear();
                }
                say(complete(id, &why));
            }
        }
    }
    if !changes.is_empty() {
        let token = last.map(|seq| paced.subscriber.token(seq).to_string());
        say(changes_text(id, &changes, token.as_deref()));
    }
    ended
}

fn changes_text(id: &str, changes: &str, token: Option<&str>) -> String {
    match token {
        Some(token) => format!(r#"{{"type":"changes","id":{id},"changes":[{changes}],"resume":"{token}"}}"#),
        None => format!(r#"{{"type":"changes","id":{id},"changes":[{changes}]}}"#),
    }
}

fn complete(id: &str, why: &Closed) -> String {
    let (reason, code) = (why.reason(), why.kind().code());
    format!(r#"{{"type":"complete","id":{id},"reason":"{reason}","code":"{code}"}}"#)
}

fn element(list: &mut String, text: &[u8]) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(&String::from_utf8_lossy(text));
}

/// Writes the rows of an answer: the one that says that it is done is the result.
fn tell_reply(id: &str, state: &Reply, items: Vec<Item>, out: &mut Vec<Message>) -> bool {
    for item in items {
        let message = match item {
            Item::Change(message) => message,
            Item::Joined(_) => {
                state.joined.notify_one();
                continue;
            }
            Item::Closed(why) => {
                out.push(Message::Text(complete(id, &why).into()));
                state.joined.notify_one();
                state.done.notify_one();
                return true;
            }
            _ => continue,
        };
        let text = message.text();
        let row: Value = serde_json::from_slice(&text).unwrap_or_default();
        let data = &row["data"];
        // Without such a column one row is the answer.
        let done = data.get(DONE).is_none_or(|done| done == &Value::Bool(true));
        let kind = if done { "result" } else { "progress" };
        out.push(Message::Text(
            format!(r#"{{"type":"{kind}","id":{id},"row":{data}}}"#).into(),
        ));
        if done {
            state.done.notify_one();
            return true;
        }
    }
    false
}
