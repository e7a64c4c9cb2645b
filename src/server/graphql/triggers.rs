//! Triggers in the schema. Of a relation `positions` there are the mutations `create_positions_trigger` and `delete_positions_trigger`, the queries
//! `positions_trigger` and `positions_triggers`, the type `positionsTrigger` and the input `positionsTriggerInput`.
//!
//! Who made a trigger, and who may do all, sees it; for others it is not there. Its secret and the values of its headers are never given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_graphql::Value;
use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ObjectAccessor, ResolverContext, SchemaBuilder,
    TypeRef,
};
use serde_json::{Map, json};

use super::condition::condition;
use super::names::graphql_name;
use super::schema::graphql_error;
use crate::config::duration;
use crate::server::Shared;
use crate::server::access::{self, Action, Hidden, Principal};
use crate::server::audit::Event;
use crate::server::exposed::Exposed;
use crate::server::failure::{Failure, Kind};
use crate::server::live::Style;
use crate::server::triggers::{Asked, Trigger, TriggerOwner, missing, time_text};

/// The names that a relation's triggers take in the schema.
pub fn fields(relation: &str) -> [String; 2] {
    ["trigger", "triggers"].map(|what| format!("{relation}_{what}"))
}

/// The types that all triggers share.
pub fn shared(builder: SchemaBuilder) -> SchemaBuilder {
    let header = InputObject::new("TriggerHeader")
        .field(InputValue::new("name", TypeRef::named_nn(TypeRef::STRING)))
        .field(InputValue::new("value", TypeRef::named_nn(TypeRef::STRING)));
    let rate = InputObject::new("TriggerRateInput")
        .description("So many calls in such a time; more wait.")
        .field(InputValue::new("count", TypeRef::named_nn(TypeRef::INT)))
        .field(
            InputValue::new("per", TypeRef::named_nn(TypeRef::STRING)).description("A duration, such as '1 minute'."),
        );
    let rate_type = Object::new("TriggerRate")
        .field(member("count", TypeRef::named_nn(TypeRef::INT)))
        .field(member("per", TypeRef::named_nn(TypeRef::STRING)));
    builder.register(header).register(rate).register(rate_type)
}

/// What a client gives to make one.
pub fn inputs(exposed: &Exposed, name: &str) -> [InputObject; 1] {
    let expression = format!("{name}Expression");
    let optional = |name: &str, kind: &str, text: &str| InputValue::new(name, TypeRef::named(kind)).description(text);
    let input = InputObject::new(format!("{name}TriggerInput"))
        .field(InputValue::new("name", TypeRef::named_nn(TypeRef::STRING)))
        .field(
            InputValue::new("webhook", TypeRef::named_nn(TypeRef::STRING))
                .description("Where to: a URL of HTTP or HTTPS."),
        )
        .field(InputValue::new("fire", TypeRef::named_nn(&expression)).description("When it fires for a row."))
        .field(InputValue::new("headers", TypeRef::named_nn_list("TriggerHeader")).description("Headers of each call."))
        .field(optional(
            "secret",
            TypeRef::STRING,
            "Signs each call as Standard Webhooks say: whsec_ and a key in base64. It is never given back.",
        ))
        .field(optional(
            "cool_down",
            TypeRef::STRING,
            "How long after a FIRE its key does not fire again. What still fires then is told then.",
        ))
        .field(optional(
            "rate_limit",
            "TriggerRateInput",
            "How many calls it makes in which time; more wait.",
        ))
        .field(optional(
            "initial",
            TypeRef::BOOLEAN,
            "false: rows that are there already do not fire. Default: true.",
        ));
    [match exposed.relation.key.is_empty() {
        true => input,
        false => input.field(optional(
            "clear",
            &expression,
            "When it clears. Default: when it does not fire.",
        )),
    }]
}

/// A trigger as clients see it.
pub fn object(name: &str) -> Object {
    let text = || TypeRef::named_nn(TypeRef::STRING);
    let boolean = || TypeRef::named_nn(TypeRef::BOOLEAN);
    let count = || TypeRef::named_nn("BigInt");
    Object::new(format!("{name}Trigger"))
        .description("A webhook that is called when a row fires, and when it clears.")
        .field(member("name", text()))
        .field(member("webhook", text()))
        .field(member("fire", TypeRef::named_nn("JSON")))
        .field(member("clear", TypeRef::named("JSON")))
        .field(member("headers", TypeRef::named_nn_list_nn(TypeRef::STRING)).description("Their names."))
        .field(member("signed", boolean()).description("Whether it has a secret."))
        .field(member("cool_down", TypeRef::named(TypeRef::STRING)))
        .field(member("rate_limit", TypeRef::named("TriggerRate")))
        .field(member("initial", boolean()))
        .field(member("owner", text()))
        .field(member("created_at", TypeRef::named_nn("Timestamp")))
        .field(member("durable", boolean()).description("Whether it outlives the process: with a state directory."))
        .field(member("active", count()).description("Keys that are fired."))
        .field(member("waiting", count()).description("Events that are to be delivered."))
        .field(member("fired", count()))
        .field(member("cleared", count()))
        .field(member("delivered", count()))
        .field(member("failed", count()).description("Calls that failed, of events that are tried again."))
        .field(member("given_up", count()).description("Events that are dead letters."))
}

/// A member of what [`view`] made.
fn member(name: &'static str, kind: TypeRef) -> Field {
    Field::new(name, kind, move |context| {
        FieldFuture::new(async move {
            let members = context
                .parent_value
                .try_downcast_ref::<Map<String, serde_json::Value>>()?;
            Ok(match members.get(name) {
                None | Some(serde_json::Value::Null) => None,
                // What has members of its own is looked at by fields of its own.
                Some(serde_json::Value::Object(inner)) if name == "rate_limit" => {
                    Some(FieldValue::owned_any(inner.clone()))
                }
                Some(value) => Some(FieldValue::value(Value::from_json(value.clone())?)),
            })
        })
    })
}

fn view(trigger: &Trigger, style: Style, durable: bool) -> FieldValue<'static> {
    let definition = &trigger.definition;
    let count = |count: u64| match style {
        Style::GraphQlNumbers => json!(count),
        _ => json!(count.to_string()),
    };
    let loaded = |counter: &AtomicU64| count(counter.load(Ordering::Relaxed));
    let tally = &trigger.sending.tally;
    let headers: Vec<&String> = definition.headers.iter().map(|(name, _)| name).collect();
    let rate = definition
        .rate
        .map(|rate| json!({"count": rate.count, "per": duration::text(rate.per)}));
    let members = json!({
        "name": definition.name,
        "webhook": definition.webhook,
        "fire": definition.fire,
        "clear": definition.clear,
        "headers": headers,
        "signed": definition.secret.is_some(),
        "cool_down": (definition.cool_down > 0).then(|| duration::text(definition.cool_down)),
        "rate_limit": rate,
        "initial": definition.initial,
        "owner": definition.owner,
        "created_at": time_text(definition.created_at),
        "durable": durable,
        "active": count(trigger.active.load(Ordering::Relaxed) as u64),
        "waiting": count(trigger.waiting() as u64),
        "fired": loaded(&trigger.fired),
        "cleared": loaded(&trigger.cleared),
        "delivered": loaded(&tally.delivered),
        "failed": loaded(&tally.failed),
        "given_up": loaded(&tally.given_up),
    });
    match members {
        serde_json::Value::Object(members) => FieldValue::owned_any(members),
        _ => FieldValue::NULL,
    }
}

/// `positions_trigger(name)` and `positions_triggers`.
pub fn queries(exposed: &Arc<Exposed>, name: &str, style: Style) -> [Field; 2] {
    let own = graphql_name(&exposed.relation.name);
    let object = format!("{name}Trigger");
    let (of_one, of_all) = (exposed.clone(), exposed.clone());
    let one = Field::new(format!("{own}_trigger"), TypeRef::named(&object), move |context| {
        let exposed = of_one.clone();
        FieldFuture::new(async move {
            let (shared, principal) = asking(&context)?;
            let found = find(shared, principal, &exposed, context.args.try_get("name")?.string()?);
            let durable = shared.triggers.is_durable();
            match found {
                Ok(trigger) => Ok(Some(view(&trigger, style, durable))),
                Err(failure) if failure.kind == Kind::NotFound => Ok(None),
                Err(failure) => Err(graphql_error(&failure)),
            }
        })
    });
    let all = Field::new(
        format!("{own}_triggers"),
        TypeRef::named_nn_list_nn(&object),
        move |context| {
            let exposed = of_all.clone();
            FieldFuture::new(async move {
                let (shared, principal) = asking(&context)?;
                let triggers = visible(shared, principal, &exposed).map_err(|failure| graphql_error(&failure))?;
                let durable = shared.triggers.is_durable();
                let views = triggers.iter().map(|trigger| view(trigger, style, durable));
                Ok(Some(FieldValue::list(views)))
            })
        },
    );
    let name = InputValue::new("name", TypeRef::named_nn(TypeRef::STRING));
    [one.argument(name), all]
}

/// `create_positions_trigger(input)` and `delete_positions_trigger(name)`.
pub fn mutations(exposed: &Arc<Exposed>, name: &str, style: Style) -> [Field; 2] {
    let own = graphql_name(&exposed.relation.name);
    let object = format!("{name}Trigger");
    let (of_new, of_old) = (exposed.clone(), exposed.clone());
    let create = Field::new(
        format!("create_{own}_trigger"),
        TypeRef::named_nn(&object),
        move |context| {
            let exposed = of_new.clone();
            FieldFuture::new(async move {
                let (shared, principal) = asking(&context)?;
                let hidden = allowed(shared, principal, &exposed).map_err(|failure| graphql_error(&failure))?;
                let asked = asked(&exposed, &hidden, &context.args.try_get("input")?.object()?)?;
                let created = create(shared, principal, &exposed, &hidden, asked).await;
                let trigger = created.map_err(|failure| graphql_error(&failure))?;
                Ok(Some(view(&trigger, style, shared.triggers.is_durable())))
            })
        },
    );
    let input = InputValue::new("input", TypeRef::named_nn(format!("{name}TriggerInput")));
    let delete = Field::new(
        format!("delete_{own}_trigger"),
        TypeRef::named_nn(&object),
        move |context| {
            let exposed = of_old.clone();
            FieldFuture::new(async move {
                let (shared, principal) = asking(&context)?;
                let name = context.args.try_get("name")?.string()?.to_string();
                let deleted = delete(shared, principal, &exposed, &name).await;
                let trigger = deleted.map_err(|failure| graphql_error(&failure))?;
                Ok(Some(view(&trigger, style, shared.triggers.is_durable())))
            })
        },
    );
    let name = InputValue::new("name", TypeRef::named_nn(TypeRef::STRING));
    [create.argument(input), delete.argument(name)]
}

fn asking<'a>(context: &ResolverContext<'a>) -> async_graphql::Result<(&'a Arc<Shared>, &'a Principal)> {
    Ok((context.data::<Arc<Shared>>()?, context.data::<Principal>()?))
}

/// Whether somebody may make triggers on a relation, and which columns it may not see.
fn allowed(shared: &Shared, principal: &Principal, exposed: &Exposed) -> Result<Hidden, Failure> {
    let name = &exposed.relation.name;
    access::may(principal, Action::Trigger, name)?;
    let is_enabled = shared.options.triggers.enabled;
    if !is_enabled.unwrap_or_else(|| shared.options.is_local() || shared.options.auth.is_some()) {
        return Err(Failure::new(
            Kind::Forbidden,
            "triggers cannot be made here: they are switched off, or the server is reachable from other machines and nobody has to \
             sign in; [server.triggers] enabled = 'on' allows it",
        ));
    }
    Ok(access::hidden(principal, name))
}

/// The triggers of a relation that somebody may see.
fn visible(shared: &Shared, principal: &Principal, exposed: &Exposed) -> Result<Vec<Arc<Trigger>>, Failure> {
    let name = &exposed.relation.name;
    access::may(principal, Action::Trigger, name)?;
    let mut triggers = shared.triggers.list(name);
    triggers.retain(|trigger| principal.may_all() || trigger.definition.owner == principal.name());
    Ok(triggers)
}

fn find(shared: &Shared, principal: &Principal, exposed: &Exposed, name: &str) -> Result<Arc<Trigger>, Failure> {
    let triggers = visible(shared, principal, exposed)?;
    let found = triggers.into_iter().find(|trigger| trigger.definition.name == name);
    found.ok_or_else(|| missing(&exposed.relation, name))
}

async fn create(
    shared: &Arc<Shared>,
    principal: &Principal,
    exposed: &Arc<Exposed>,
    hidden: &Hidden,
    asked: Asked,
) -> Result<Arc<Trigger>, Failure> {
    let relation = exposed.relation.clone();
    let owner = TriggerOwner {
        name: principal.name().to_string(),
        row_filter: access::row_filter(principal, &relation.name).unwrap_or_default(),
        hidden: hidden.names().map(str::to_string).collect(),
    };
    let own = shared.clone();
    let created = blocking(move || own.triggers.create(&own.app, &relation, asked, owner)).await?;
    let noted = note(shared, principal, exposed, &created, "CREATED");
    if let Err(failure) = noted {
        // What cannot be noted is not done.
        let (own, exposed, trigger) = (shared.clone(), exposed.clone(), created.clone());
        blocking(move || own.triggers.delete(&own.app, &exposed.relation, &trigger)).await?;
        return Err(failure);
    }
    Ok(created)
}

async fn delete(
    shared: &Arc<Shared>,
    principal: &Principal,
    exposed: &Arc<Exposed>,
    name: &str,
) -> Result<Arc<Trigger>, Failure> {
    let trigger = find(shared, principal, exposed, name)?;
    note(shared, principal, exposed, &trigger, "DELETED")?;
    let (own, exposed, gone) = (shared.clone(), exposed.clone(), trigger.clone());
    blocking(move || own.triggers.delete(&own.app, &exposed.relation, &gone)).await?;
    Ok(trigger)
}

fn note(
    shared: &Shared,
    principal: &Principal,
    exposed: &Exposed,
    trigger: &Trigger,
    what: &str,
) -> Result<(), Failure> {
    let definition = &trigger.definition;
    let url: Option<reqwest::Url> = definition.webhook.parse().ok();
    // The path of a webhook is often its secret.
    let to = url.map(|url| url.origin().ascii_serialization());
    let more = json!({"trigger": definition.name, "owner": definition.owner, "to": to});
    shared
        .audit
        .note(Event::Trigger, principal, &exposed.relation.name, what, more)
}

/// Work that waits for the app and the disk. It goes on if the client does not wait for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Failure::new(Kind::Internal, "it was given up"))?
}

fn asked(exposed: &Exposed, hidden: &Hidden, input: &ObjectAccessor<'_>) -> async_graphql::Result<Asked> {
    let given = |name: &str| input.get(name).filter(|value| !value.is_null());
    let text = |name: &str| given(name).map(|value| value.string().map(str::to_string)).transpose();
    let expression = |value: &Value| -> async_graphql::Result<(serde_json::Value, String)> {
        let sql = own_condition(exposed, hidden, value).map_err(|why| graphql_error(&Failure::bad(why)))?;
        Ok((value.clone().into_json()?, sql))
    };
    let mut headers = Vec::new();
    if let Some(list) = given("headers") {
        for header in list.list()?.iter() {
            let header = header.object()?;
            let part = |name: &str| {
                header
                    .try_get(name)
                    .and_then(|value| value.string().map(str::to_string))
            };
            headers.push((part("name")?, part("value")?));
        }
    }
    let rate_limit = match given("rate_limit") {
        None => None,
        Some(rate) => {
            let rate = rate.object()?;
            Some((
                rate.try_get("count")?.i64()?,
                rate.try_get("per")?.string()?.to_string(),
            ))
        }
    };
    Ok(Asked {
        name: input.try_get("name")?.string()?.to_string(),
        webhook: input.try_get("webhook")?.string()?.to_string(),
        fire: expression(input.try_get("fire")?.as_value())?,
        clear: given("clear").map(|clear| expression(clear.as_value())).transpose()?,
        headers,
        secret: text("secret")?,
        cool_down: text("cool_down")?,
        rate_limit,
        initial: given("initial").map_or(Ok(true), |initial| initial.boolean())?,
    })
}

/// A condition that asks about no column that is hidden from who makes it.
fn own_condition(exposed: &Exposed, hidden: &Hidden, value: &Value) -> Result<String, String> {
    let sql = condition(exposed, value)?;
    let is_hidden = |name: &str| hidden.names().any(|column| graphql_name(column) == name);
    match mentioned(value).into_iter().find(|name| is_hidden(name)) {
        Some(name) => Err(format!("there is no column '{name}'")),
        None => Ok(sql),
    }
}

/// The columns of a condition, which has been looked at and is not nested too deep.
fn mentioned(value: &Value) -> Vec<&str> {
    match value {
        Value::List(list) => list.iter().flat_map(mentioned).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, inner)| match name.as_str() {
                "_and" | "_or" | "_not" => mentioned(inner),
                column => vec![column],
            })
            .collect(),
        _ => Vec::new(),
    }
}
