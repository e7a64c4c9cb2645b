//! What columns a relation has, and whether a stream's fit them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use tokio_postgres::Client;
use tokio_postgres::types::{Kind, Type};

use super::client::{Server, Trouble};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::config::nearest::nearest;
use crate::config::options::Options;
use crate::connectors::{Discovered, Unfit};
use crate::error::{Code, Diagnostic};

/// A column of a relation.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Its name.
    pub name: String,
    /// Its type.
    pub of: Type,
    /// What more is said of the type: the precision of numbers. -1: nothing.
    pub modifier: i32,
}

/// The columns of `from`: a relation, or a query in brackets with a name.
pub(crate) async fn columns(client: &Client, server: &Server, from: &str) -> Result<Vec<Found>, Trouble> {
    let text = format!("SELECT * FROM {from}");
    let statement = server.answered(client.prepare(&text)).await?;
    let columns = statement.columns().iter().map(|column| Found {
        name: column.name().to_string(),
        of: column.type_().clone(),
        modifier: column.type_modifier(),
    });
    Ok(columns.collect())
}

/// For each declared column the one of the relation that it is. *Errors.* The first that is not there, or is of another type.
pub(crate) fn fit(declared: &Schema, found: &[Found], relation: &str) -> Result<Vec<usize>, Diagnostic> {
    let names = || found.iter().map(|column| column.name.as_str());
    let mut places = Vec::with_capacity(declared.fields().len());
    for field in declared.fields() {
        let place = match resolve(field.name(), names()) {
            Resolved::One(name) => names().position(|other| other == name),
            _ => None,
        };
        let Some(place) = place else {
            let message = format!("{relation} has no column '{}'", field.name());
            let error = Diagnostic::new(Code::UnknownColumn, message);
            return Err(match nearest(field.name(), names()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!("it has: {}", names().collect::<Vec<_>>().join(", "))),
            });
        };
        let of = &found[place].of;
        if !fits(field, of) {
            let message = format!(
                "the column '{}' of {relation} is of type {}, which {} cannot hold",
                found[place].name,
                of.name(),
                types::name(field.data_type())
            );
            let error = Diagnostic::new(Code::Type, message);
            return Err(error.hint(format!("declare {} {}", field.name(), declaration(of))));
        }
        places.push(place);
    }
    Ok(places)
}

/// Whether a column can hold what comes as a type of PostgreSQL.
pub(crate) fn fits(field: &Field, of: &Type) -> bool {
    let is = |names: &[&str]| names.contains(&of.name());
    let json = is(&["json", "jsonb"]);
    match field.data_type() {
        DataType::Utf8View if types::is_json(field) => json,
        // Everything has a text.
        DataType::Utf8View => true,
        DataType::Boolean => is(&["bool"]),
        DataType::Int8 | DataType::Int16 => is(&["int2"]),
        DataType::Int32 => is(&["int2", "int4", "uint2"]),
        DataType::Int64 => is(&["int2", "int4", "int8", "oid", "uint2", "uint4", "mz_timestamp"]),
        DataType::Float32 => is(&["float4"]),
        DataType::Float64 => is(&["float4", "float8", "int2", "int4", "numeric"]),
        DataType::Decimal128(_, _) => is(&["numeric", "int2", "int4", "int8", "uint2", "uint4", "uint8"]),
        DataType::BinaryView => is(&["bytea"]),
        DataType::Timestamp(_, _) => is(&["timestamp", "timestamptz", "mz_timestamp"]),
        DataType::Date32 => is(&["date"]),
        DataType::Time64(_) => is(&["time"]),
        DataType::Interval(_) => is(&["interval"]),
        DataType::List(item) => match of.kind() {
            _ if json => true,
            // An array of arrays has the same type.
            Kind::Array(_) if matches!(item.data_type(), DataType::List(_)) => fits(item, of),
            Kind::Array(inner) => fits(item, inner),
            _ => false,
        },
        nested => json && nested.is_nested(),
    }
}

/// How a column of that type is declared.
pub(crate) fn declaration(of: &Type) -> String {
    if let Kind::Array(item) = of.kind() {
        return format!("ARRAY<{}>", declaration(item));
    }
    let name = match of.name() {
        "bool" => "BOOL",
        "int2" | "int4" | "uint2" => "INT",
        "int8" | "oid" | "uint4" => "LONG",
        "float4" => "FLOAT",
        "float8" => "DOUBLE",
        "numeric" | "uint8" => "DECIMAL(38, 9)",
        "bytea" => "BYTES",
        "timestamp" | "timestamptz" | "mz_timestamp" => "TIMESTAMP",
        "date" => "DATE",
        "time" => "TIME",
        "interval" => "INTERVAL",
        "json" | "jsonb" => "JSON",
        _ => "STRING",
    };
    name.to_string()
}

/// The columns of a relation as a stream declares them, and the key that `key` asks the catalog for.
pub(crate) fn discover(
    server: &Server,
    options: &Options,
    system: &str,
    key: Option<&str>,
) -> Result<Discovered, Diagnostic> {
    let relation = options.text("relation").unwrap_or_default();
    let runtime = super::rows::runtime().map_err(|error| options.invalid("relation", error))?;
    let result = runtime.block_on(async {
        let client = server.connect().await?;
        let found = columns(&client, server, relation).await?;
        let key = match key {
            None => Vec::new(),
            Some(key) => {
                let rows = server.answered(client.query(key, &[])).await?;
                let names: Result<_, tokio_postgres::Error> = rows.iter().map(|row| row.try_get(0)).collect();
                names?
            }
        };
        Ok((found, key))
    });
    runtime.shutdown_background();
    let (found, key) =
        result.map_err(|trouble: Trouble| options.invalid("relation", format!("{system}: {trouble}")))?;
    let of = |column: &Found| match (column.of.name(), column.modifier) {
        ("numeric", modifier @ 4..) => {
            let (precision, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0x7ff);
            match precision <= 38 && scale <= precision {
                true => format!("DECIMAL({precision}, {scale})"),
                false => "STRING".to_string(),
            }
        }
        _ => declaration(&column.of),
    };
    Ok(Discovered {
        columns: found.iter().map(|column| (column.name.clone(), of(column))).collect(),
        key,
    })
}

/// Checks a stream against a relation without reading it. *Errors.* As [`crate::connectors::Source::check`].
pub(crate) fn check(
    server: &Server,
    options: &Options,
    (option, from): (&str, &str),
    declared: &Arc<Schema>,
    system: &str,
) -> Result<(), Unfit> {
    let runtime = super::rows::runtime().map_err(|error| Unfit::Unreachable(options.invalid(option, error)))?;
    let result = runtime.block_on(async {
        let client = server.connect().await?;
        columns(&client, server, from).await
    });
    // Nobody waits for what the connection still says.
    runtime.shutdown_background();
    match result {
        Ok(found) => match fit(declared, &found, &format!("'{from}'")) {
            Ok(_) => Ok(()),
            Err(error) => Err(Unfit::Wrong(placed(error, options, option))),
        },
        Err(Trouble::Lost(why)) => {
            let error = options.invalid(option, format!("{system} cannot be reached: {why}"));
            Err(Unfit::Unreachable(error.hint(
                "is the server up, and are host, port and sslmode right? When it is, the stream goes on by itself",
            )))
        }
        Err(Trouble::Refused(_, why)) => {
            let error = options.invalid(option, format!("{system} refuses: {why}"));
            Err(Unfit::Wrong(error.hint(
                "is the name right, with its schema and database, and may the user connect and read it?",
            )))
        }
        Err(Trouble::Fatal(error)) => Err(Unfit::Wrong(options.invalid(option, error))),
    }
}

fn placed(mut error: Diagnostic, options: &Options, option: &str) -> Diagnostic {
    let place = options.invalid(option, "");
    error.span.clone_from(&place.span);
    error.source.clone_from(&place.source);
    error
}
