//! The schema of what is exposed.
//!
//! Of a relation `positions` there are the types `positions` (a row), `positionsChange` (an operation, the row, what changed),
//! `positionsExpression` (conditions) and `positionsOrderBy`; the query `positions`; the subscriptions `positions`, a change at a
//! time, and `positions_batch`, several; and what [`super::triggers`] adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column};
use async_graphql::dynamic::{
    Enum, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ObjectAccessor, ResolverContext, Scalar,
    Schema, Subscription, SubscriptionField, SubscriptionFieldFuture, TypeRef,
};
use async_graphql::{ErrorExtensions, Value};

use super::condition::condition;
use super::names::{graphql_name, type_name};
use super::subscription::{check_selected, note};
use super::triggers;
use crate::catalog::types;
use crate::config::server::ServerOptions;
use crate::error::{Error, Result};
use crate::server::Shared;
use crate::server::access::Principal;
use crate::server::exposed::Exposed;
use crate::server::failure::Failure;
use crate::server::live::{Style, rows_as_json};
use crate::server::query::{Ask, rows};

/// The scalars that GraphQL has not.
pub const SCALARS: &[&str] = &[
    "BigInt",
    "Decimal",
    "Timestamp",
    "Date",
    "Time",
    "Interval",
    "Bytes",
    "JSON",
];

/// How deep documents may be read before they are checked.
const MAX_RECURSION: usize = 64;

/// How many directives a field may have.
const MAX_DIRECTIVES: usize = 16;

/// Makes it. *Errors.* For names that would be the same in GraphQL.
pub fn build(exposed: &[Arc<Exposed>], options: &ServerOptions) -> Result<Schema> {
    let mut builder = Schema::build("Query", Some("Mutation"), Some("Subscription"))
        .limit_depth(options.max_depth)
        .limit_complexity(options.max_complexity)
        .limit_recursive_depth(MAX_RECURSION)
        .limit_directives(MAX_DIRECTIVES);
    let names: Vec<String> = exposed.iter().map(|exposed| exposed.relation.name.clone()).collect();
    let derived = names.iter().flat_map(|name| triggers::fields(name));
    let all: Vec<String> = names.iter().cloned().chain(derived).collect();
    unique("relations", all.iter().map(String::as_str))?;
    let mut query = Object::new("Query").field(relations(&names));
    let mut mutation = Object::new("Mutation");
    let mut subscription = Subscription::new("Subscription");
    let mut comparisons = BTreeMap::new();
    let style = match options.plain_numbers {
        true => Style::GraphQlNumbers,
        false => Style::GraphQl,
    };
    for one in exposed {
        unique(&one.relation.name, one.columns())?;
        let name = type_name(&one.relation.name);
        builder = builder
            .register(row_type(one, &name))
            .register(change_type(&name))
            .register(expression_type(one, &name, &mut comparisons));
        if one.relation.has_rows {
            builder = builder.register(order_type(one, &name));
            query = query.field(query_field(one, &name, style));
        }
        for input in triggers::inputs(one, &name) {
            builder = builder.register(input);
        }
        builder = builder.register(triggers::object(&name));
        query = triggers::queries(one, &name, style)
            .into_iter()
            .fold(query, Object::field);
        mutation = triggers::mutations(one, &name, style)
            .into_iter()
            .fold(mutation, Object::field);
        for batch in [false, true] {
            subscription = subscription.field(subscription_field(one, &name, style, batch));
        }
    }
    for scalar in SCALARS {
        builder = builder.register(Scalar::new(*scalar));
    }
    for comparison in comparisons.into_values() {
        builder = builder.register(comparison);
    }
    let operation = ["INSERT", "UPDATE", "DELETE"]
        .into_iter()
        .fold(Enum::new("Operation"), Enum::item);
    let order = ["asc", "desc"]
        .into_iter()
        .fold(Enum::new("OrderDirection"), Enum::item);
    let policies = ["coalesce", "drop_oldest", "drop_newest", "disconnect"];
    let policy = policies.into_iter().fold(Enum::new("SlowPolicy"), Enum::item);
    triggers::shared(builder)
        .register(operation)
        .register(order)
        .register(policy)
        .register(query)
        .register(mutation)
        .register(subscription)
        .finish()
        .map_err(|error| Error::usage(format!("what is exposed makes no GraphQL schema: {error}")))
}

/// What a failure is in GraphQL.
pub fn graphql_error(failure: &Failure) -> async_graphql::Error {
    let code = failure.kind.code();
    async_graphql::Error::new(&failure.message).extend_with(|_, extensions| extensions.set("code", code))
}

fn unique<'a>(of: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        if let Some(other) = known.insert(graphql_name(name), name) {
            return Err(Error::usage(format!(
                "{of}: '{name}' and '{other}' have one name in GraphQL; rename one of them"
            )));
        }
    }
    Ok(())
}

fn scalar_of(column: &Column) -> &'static str {
    match column.data_type() {
        DataType::Boolean => "Boolean",
        DataType::Int64 | DataType::UInt64 | DataType::UInt32 => "BigInt",
        integer if integer.is_integer() => "Int",
        float if float.is_floating() => "Float",
        DataType::Utf8View if types::is_json(column) => "JSON",
        DataType::Utf8View => "String",
        DataType::Decimal128(..) => "Decimal",
        DataType::Timestamp(..) => "Timestamp",
        DataType::Date32 => "Date",
        DataType::Time64(_) => "Time",
        DataType::Interval(_) => "Interval",
        DataType::BinaryView => "Bytes",
        _ => "JSON",
    }
}

/// Of an update only what changed is told: the other columns are null then, so only those of the key are never null.
fn row_type(exposed: &Exposed, name: &str) -> Object {
    let fields = exposed.relation.schema.fields().iter().enumerate();
    fields.fold(Object::new(name), |object, (number, column)| {
        let scalar = scalar_of(column);
        let kind = match exposed.relation.key.contains(&number) {
            true => TypeRef::named_nn(scalar),
            false => TypeRef::named(scalar),
        };
        let key = column.name().clone();
        object.field(Field::new(graphql_name(column.name()), kind, move |context| {
            let key = key.clone();
            FieldFuture::new(async move {
                let row = context
                    .parent_value
                    .try_downcast_ref::<serde_json::Map<String, serde_json::Value>>()?;
                let value = row.get(&key).cloned().unwrap_or_default();
                Ok(Some(FieldValue::value(Value::from_json(value)?)))
            })
        }))
    })
}

/// What a subscription gives. Its fields are never resolved: see [`super::subscription`].
fn change_type(name: &str) -> Object {
    Object::new(format!("{name}Change"))
        .description("What happened to one row.")
        .field(Field::new("operation", TypeRef::named_nn("Operation"), never))
        .field(
            Field::new("data", TypeRef::named_nn(name), never)
                .description("The row; of an update the key and what changed, of a delete the key."),
        )
        .field(Field::new("fields", TypeRef::named_nn_list_nn(TypeRef::STRING), never).description("What changed."))
        .field(
            Field::new("resume", TypeRef::named_nn(TypeRef::STRING), never)
                .description("Given as the argument `resume`, a subscription goes on after this change."),
        )
}

/// Nothing: the text of a change is not made by resolvers.
fn never(_: ResolverContext<'_>) -> FieldFuture<'_> {
    FieldFuture::from_value(None)
}

fn comparison(scalar: &str) -> InputObject {
    let mut object = InputObject::new(format!("{scalar}Comparison"));
    object = object.field(InputValue::new("_is_null", TypeRef::named(TypeRef::BOOLEAN)));
    if matches!(scalar, "JSON" | "Bytes" | "Interval") {
        return object;
    }
    for operator in ["_eq", "_neq", "_gt", "_gte", "_lt", "_lte"] {
        object = object.field(InputValue::new(operator, TypeRef::named(scalar)));
    }
    for operator in ["_in", "_nin"] {
        object = object.field(InputValue::new(operator, TypeRef::named_nn_list(scalar)));
    }
    if scalar == "String" {
        for operator in ["_like", "_nlike", "_ilike", "_nilike"] {
            object = object.field(InputValue::new(operator, TypeRef::named(scalar)));
        }
    }
    object
}

fn expression_type(
    exposed: &Exposed,
    name: &str,
    comparisons: &mut BTreeMap<&'static str, InputObject>,
) -> InputObject {
    let own = format!("{name}Expression");
    let mut object = InputObject::new(&own)
        .field(InputValue::new("_and", TypeRef::named_nn_list(&own)))
        .field(InputValue::new("_or", TypeRef::named_nn_list(&own)))
        .field(InputValue::new("_not", TypeRef::named(&own)));
    for column in exposed.relation.schema.fields() {
        let scalar = scalar_of(column);
        comparisons.entry(scalar).or_insert_with(|| comparison(scalar));
        let kind = TypeRef::named(format!("{scalar}Comparison"));
        object = object.field(InputValue::new(graphql_name(column.name()), kind));
    }
    object
}

fn order_type(exposed: &Exposed, name: &str) -> InputObject {
    exposed
        .columns()
        .fold(InputObject::new(format!("{name}OrderBy")), |object, column| {
            object.field(InputValue::new(graphql_name(column), TypeRef::named("OrderDirection")))
        })
}

fn relations(names: &[String]) -> Field {
    let names = names.to_vec();
    let kind = TypeRef::named_nn_list_nn(TypeRef::STRING);
    let field = Field::new("_relations", kind, move |context| {
        let principal = context.data::<Principal>();
        let seen = |name: &&String| principal.as_ref().is_ok_and(|principal| principal.sees(name));
        let seen = names.iter().filter(seen).map(|name| Value::from(graphql_name(name)));
        FieldFuture::from_value(Some(Value::List(seen.collect())))
    });
    field.description("What may be subscribed to.")
}

fn query_field(exposed: &Arc<Exposed>, name: &str, style: Style) -> Field {
    let of = exposed.clone();
    let kind = TypeRef::named_nn_list_nn(name);
    let own = graphql_name(&exposed.relation.name);
    Field::new(own, kind, move |context| resolve_rows(context, of.clone(), style))
        .argument(InputValue::new("where", TypeRef::named(format!("{name}Expression"))))
        .argument(InputValue::new(
            "order_by",
            TypeRef::named_nn_list(format!("{name}OrderBy")),
        ))
        .argument(InputValue::new("limit", TypeRef::named(TypeRef::INT)))
        .argument(InputValue::new("offset", TypeRef::named(TypeRef::INT)))
}

fn resolve_rows(context: ResolverContext<'_>, exposed: Arc<Exposed>, style: Style) -> FieldFuture<'_> {
    FieldFuture::new(async move {
        let shared = context.data::<Arc<Shared>>()?;
        let principal = context.data::<Principal>()?;
        check_selected(&context.field(), &exposed, principal).map_err(|failure| graphql_error(&failure))?;
        let ask = ask(&exposed, &context.args)?;
        let batches = rows(shared, principal, &exposed, &ask).await;
        let batches = batches.map_err(|failure| graphql_error(&failure))?;
        let mut values = Vec::new();
        for batch in &batches {
            for text in rows_as_json(batch, style).map_err(|error| graphql_error(&error.into()))? {
                let row: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&text)?;
                values.push(FieldValue::owned_any(row));
            }
        }
        Ok(Some(FieldValue::list(values)))
    })
}

fn ask(exposed: &Exposed, arguments: &ObjectAccessor<'_>) -> async_graphql::Result<Ask> {
    let count = |name: &str| match arguments.get(name).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => match usize::try_from(value.i64()?) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(async_graphql::Error::new(format!("{name} is not negative"))),
        },
    };
    Ok(Ask {
        filter: filter(exposed, arguments)?,
        order_by: order_by(exposed, arguments)?,
        limit: count("limit")?,
        offset: count("offset")?.unwrap_or(0),
    })
}

fn filter(exposed: &Exposed, arguments: &ObjectAccessor<'_>) -> async_graphql::Result<String> {
    match arguments.get("where") {
        Some(value) => condition(exposed, value.as_value()).map_err(|why| graphql_error(&Failure::bad(why))),
        None => Ok(String::new()),
    }
}

fn order_by(exposed: &Exposed, arguments: &ObjectAccessor<'_>) -> async_graphql::Result<Vec<(usize, bool)>> {
    let one = |value: &Value| match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, direction)| {
                let column = exposed
                    .columns()
                    .position(|column| graphql_name(column) == name.as_str());
                let column = column.ok_or_else(|| async_graphql::Error::new(format!("there is no column '{name}'")))?;
                let descending = matches!(direction, Value::Enum(name) if name == "desc")
                    || matches!(direction, Value::String(name) if name == "desc");
                Ok((column, descending))
            })
            .collect::<async_graphql::Result<Vec<_>>>(),
        _ => Ok(Vec::new()),
    };
    match arguments.get("order_by").map(|value| value.as_value().clone()) {
        Some(Value::List(list)) => Ok(list
            .iter()
            .map(one)
            .collect::<async_graphql::Result<Vec<_>>>()?
            .concat()),
        Some(value) => one(&value),
        None => Ok(Vec::new()),
    }
}

fn subscription_field(exposed: &Arc<Exposed>, name: &str, style: Style, batch: bool) -> SubscriptionField {
    let of = exposed.clone();
    let own = graphql_name(&exposed.relation.name);
    let change = format!("{name}Change");
    let (field, kind) = match batch {
        false => (own, TypeRef::named_nn(change)),
        true => (format!("{own}_batch"), TypeRef::named_nn_list_nn(change)),
    };
    SubscriptionField::new(field, kind, move |context| noted(context, of.clone(), style, batch))
        .argument(InputValue::new("where", TypeRef::named(format!("{name}Expression"))))
        .argument(InputValue::new("every", TypeRef::named(TypeRef::STRING)))
        .argument(InputValue::new("max_rows", TypeRef::named(TypeRef::INT)))
        .argument(InputValue::new("policy", TypeRef::named("SlowPolicy")))
        .argument(InputValue::new("queue", TypeRef::named(TypeRef::INT)))
        .argument(InputValue::new("snapshot", TypeRef::named(TypeRef::BOOLEAN)))
        .argument(InputValue::new("resume", TypeRef::named(TypeRef::STRING)))
}

/// Notes what is asked for, and ends.
fn noted(
    context: ResolverContext<'_>,
    exposed: Arc<Exposed>,
    style: Style,
    batch: bool,
) -> SubscriptionFieldFuture<'_> {
    SubscriptionFieldFuture::new(async move {
        let filter = filter(&exposed, &context.args)?;
        note(&context, &exposed, filter, style, batch)?;
        Ok(futures_util::stream::empty::<async_graphql::Result<FieldValue<'_>>>())
    })
}
