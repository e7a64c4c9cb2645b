//! Subscriptions: from a document to a channel of a live view, and from its items to payloads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_graphql::dynamic::ResolverContext;
use async_graphql::parser::types::OperationType;
use async_graphql::{Request, SelectionField};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Api;
use super::names::{graphql_name, type_name};
use super::schema::graphql_error;
use crate::server::Shared;
use crate::server::access::{self, Action, Principal};
use crate::server::exposed::{Exposed, MAX_ROWS, Pace, every};
use crate::server::failure::{Failure, Kind};
use crate::server::live::{Closed, DataMember, Item, Member, Selection, Style, Subscribe, Token};
use crate::server::pace::Paced;

/// What a document asks for.
pub struct Noted {
    exposed: Arc<Exposed>,
    filter: String,
    selection: Selection,
    policy: Option<String>,
    queue: Option<usize>,
    rows: bool,
    resume: Option<String>,
    pace: Pace,
    /// What the payload's member is called.
    key: String,
    batch: bool,
}

/// Where the resolver notes it.
type Slot = Arc<Mutex<Option<Noted>>>;

/// Notes what a subscription asks for.
pub fn note(
    context: &ResolverContext<'_>,
    exposed: &Arc<Exposed>,
    filter: String,
    style: Style,
    batch: bool,
) -> async_graphql::Result<()> {
    let slot = context.data::<Slot>()?;
    let field = context.field();
    let text = |name: &str| {
        let value = context.args.get(name).filter(|value| !value.is_null());
        value.map(|value| value.string().map(str::to_string)).transpose()
    };
    let count = |name: &str| {
        let value = context.args.get(name).filter(|value| !value.is_null());
        let count = value.map(|value| value.i64()).transpose()?;
        let usable = |count: i64| {
            usize::try_from(count)
                .ok()
                .filter(|count| (1..=1_000_000).contains(count))
        };
        match count {
            None => Ok(None),
            Some(count) => match usable(count) {
                Some(count) => Ok(Some(count)),
                None => Err(async_graphql::Error::new(format!("{name} is from 1 to 1000000"))),
            },
        }
    };
    check_selected(&field, exposed, context.data::<Principal>()?).map_err(|failure| graphql_error(&failure))?;
    let hidden = exposed.hidden(context.data::<Principal>()?);
    let policy = context.args.get("policy").filter(|value| !value.is_null());
    let policy = policy
        .map(|value| value.enum_name().map(|name| name.replace('_', "-")))
        .transpose()?;
    let snapshot = context.args.get("snapshot").filter(|value| !value.is_null());
    let snapshot = snapshot.map(|value| value.boolean()).transpose()?;
    let noted = Noted {
        filter,
        selection: selection(&field, exposed, style, hidden),
        policy,
        queue: count("queue")?,
        rows: snapshot.unwrap_or(true),
        resume: text("resume")?,
        pace: Pace {
            every: every(text("every")?.as_deref()).map_err(|failure| graphql_error(&failure))?,
            max_rows: count("max_rows")?.unwrap_or(MAX_ROWS),
        },
        key: field.alias().unwrap_or(field.name()).to_string(),
        batch,
        exposed: exposed.clone(),
    };
    let mut slot = slot.lock();
    if slot.is_some() {
        return Err(async_graphql::Error::new("a subscription has one field"));
    }
    *slot = Some(noted);
    Ok(())
}

/// Refuses columns that somebody may not see, at whatever depth they are selected.
pub fn check_selected(field: &SelectionField<'_>, exposed: &Exposed, principal: &Principal) -> Result<(), Failure> {
    let hidden = access::hidden(principal, &exposed.relation.name);
    if hidden.is_empty() {
        return Ok(());
    }
    for selected in field.selection_set() {
        let asked = hidden.names().find(|column| graphql_name(column) == selected.name());
        if let Some(column) = asked {
            exposed.column(column, principal)?;
        }
        if selected.name() == "data" {
            check_selected(&selected, exposed, principal)?;
        }
    }
    Ok(())
}

fn selection(field: &SelectionField<'_>, exposed: &Exposed, style: Style, hidden: Vec<usize>) -> Selection {
    let name = type_name(&exposed.relation.name);
    let response = |field: &SelectionField<'_>| field.alias().unwrap_or(field.name()).to_string();
    let data = |field: &SelectionField<'_>| {
        let members = field.selection_set().map(|field| {
            let column = exposed
                .columns()
                .position(|column| graphql_name(column) == field.name());
            let member = match column {
                Some(column) => DataMember::Column(column),
                None => DataMember::Constant(name.clone()),
            };
            (response(&field), member)
        });
        merged(members.collect())
    };
    let members = field.selection_set().map(|field| {
        let member = match field.name() {
            "operation" => Member::Operation,
            "data" => Member::Data(data(&field)),
            "fields" => Member::Fields,
            "resume" => Member::Resume,
            _ => Member::Constant(format!("{name}Change")),
        };
        (response(&field), member)
    });
    let mut together: Vec<(String, Member)> = Vec::new();
    for (name, member) in members {
        match together.iter_mut().find(|(known, _)| *known == name) {
            // The same field twice is one, with the selections of both.
            Some((_, Member::Data(first))) => {
                if let Member::Data(more) = member {
                    first.extend(more);
                    *first = merged(std::mem::take(first));
                }
            }
            Some(_) => {}
            None => together.push((name, member)),
        }
    }
    Selection {
        style,
        members: together,
        names: exposed.columns().map(graphql_name).collect(),
        key: exposed.relation.key.clone(),
        hidden,
        token: String::new(),
    }
}

fn merged(members: Vec<(String, DataMember)>) -> Vec<(String, DataMember)> {
    let mut kept: Vec<(String, DataMember)> = Vec::new();
    for (name, member) in members {
        if !kept.iter().any(|(known, _)| *known == name) {
            kept.push((name, member));
        }
    }
    kept
}

/// What kind of operation a request is. *Errors.* As GraphQL tells them.
pub fn kind_of(request: &mut Request) -> Result<OperationType, Value> {
    let name = request.operation_name.clone();
    let document = request.parsed_query().map_err(|error| errors(vec![error]))?;
    let mut operations = document.operations.iter();
    let found = match &name {
        Some(name) => operations.find(|(known, _)| known.is_some_and(|known| known.as_str() == name)),
        None => operations.next(),
    };
    // What is wrong with the names, whoever executes it tells.
    Ok(found.map_or(OperationType::Query, |(_, operation)| operation.node.ty))
}

/// Errors as they stand in a response, each with its code: what has none is the document's fault.
pub fn errors(mut errors: Vec<async_graphql::ServerError>) -> Value {
    errors.iter_mut().for_each(with_code);
    serde_json::to_value(errors).unwrap_or_default()
}

fn with_code(error: &mut async_graphql::ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", Kind::BadRequest.code());
    }
}

/// Why a subscription has ended, as a failure.
pub fn end(why: &Closed) -> Failure {
    Failure::new(why.kind(), why.reason())
}

/// A failure as an error stands in a response.
pub fn failed(failure: &Failure) -> Value {
    json!([{"message": failure.message, "extensions": {"code": failure.kind.code()}}])
}

/// Makes payloads of items.
pub struct Payloads {
    /// `{"data":{"positions":`
    head: String,
    batch: bool,
    /// Changes that were left out since the last payload.
    missed: u64,
}

impl Api {
    /// Executes a query.
    pub async fn execute(&self, shared: &Arc<Shared>, principal: &Principal, request: Request) -> Value {
        shared.counters.graphql.fetch_add(1, Ordering::Relaxed);
        let request = request.data(shared.clone()).data(principal.clone());
        let mut response = self.schema.execute(request).await;
        response.errors.iter_mut().for_each(with_code);
        serde_json::to_value(response).unwrap_or_default()
    }

    /// Begins a subscription. *Errors.* As they stand in a response.
    pub async fn subscribe(
        &self,
        shared: &Arc<Shared>,
        principal: &Principal,
        request: Request,
        wake: Arc<Notify>,
    ) -> Result<(Paced, Payloads), Value> {
        shared.counters.graphql.fetch_add(1, Ordering::Relaxed);
        let slot = Slot::default();
        let request = request.data(slot.clone()).data(principal.clone());
        let mut checking = self.schema.execute_stream(request);
        while let Some(response) = checking.next().await {
            if !response.errors.is_empty() {
                return Err(errors(response.errors));
            }
        }
        drop(checking);
        let noted = slot.lock().take();
        let Some(noted) = noted else {
            return Err(failed(&Failure::bad("this is no subscription")));
        };
        let begun = noted.begin(shared, principal, wake).await;
        begun.map_err(|failure| failed(&failure))
    }
}

impl Noted {
    async fn begin(
        self,
        shared: &Arc<Shared>,
        principal: &Principal,
        wake: Arc<Notify>,
    ) -> Result<(Paced, Payloads), Failure> {
        let name = &self.exposed.relation.name;
        access::may(principal, Action::Subscribe, name)?;
        access::allowed_filter(&shared.hub, principal, &self.exposed, &self.filter)?;
        let subscribe = Subscribe {
            filter: access::restricted(principal, name, &self.filter),
            selection: self.selection,
            policy: self.exposed.policy(self.policy.as_deref())?,
            queue: self.queue.unwrap_or(shared.options.queue),
            rows: self.rows,
            resume: self.resume.as_deref().and_then(Token::parse),
            wake,
        };
        let subscriber = shared.hub.subscribe(&self.exposed.relation, subscribe).await?;
        let payloads = Payloads {
            head: format!("\"data\":{{\"{}\":", self.key),
            batch: self.batch,
            missed: 0,
        };
        Ok((Paced::new(subscriber, self.pace, principal, name), payloads))
    }
}

impl Payloads {
    /// The payloads of items, in order, each handed to `tell`. Why the subscription has ended, if it has.
    pub fn of(&mut self, items: Vec<Item>, mut tell: impl FnMut(String)) -> Option<Closed> {
        let mut list = String::new();
        let mut ended = None;
        for item in items {
            let text = match item {
                Item::Row(text) => text,
                Item::Change(message) => message.text(),
                Item::Missed(count) => {
                    // Told with the next change: GraphQL has no other place for it.
                    self.missed += count;
                    continue;
                }
                Item::Joined(_) | Item::AllRows(_) => continue,
                Item::Closed(why) => {
                    ended = Some(why);
                    continue;
                }
            };
            let text = String::from_utf8_lossy(&text);
            if !self.batch {
                tell(self.payload(&text));
                continue;
            }
            list.push_str(if list.is_empty() { "[" } else { "," });
            list.push_str(&text);
        }
        if !list.is_empty() {
            list.push(']');
            tell(self.payload(&list));
        }
        ended
    }

    fn payload(&mut self, value: &str) -> String {
        let head = &self.head;
        match std::mem::take(&mut self.missed) {
            0 => format!("{{{head}{value}}}}}"),
            missed => format!("{{\"extensions\":{{\"missed\":{missed}}},{head}{value}}}}}"),
        }
    }
}
