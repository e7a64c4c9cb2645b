//! `where` as a condition in SQL: its values as literals, its names as quoted columns.

use arrow::datatypes::DataType;
use async_graphql::Value;

use super::names::graphql_name;
use crate::catalog::types;
use crate::server::exposed::Exposed;
use crate::server::query::quoted;

/// How deep `_and`, `_or` and `_not` may be nested.
const MAX_DEPTH: usize = 32;

/// The condition; empty if it asks for nothing.
pub fn condition(exposed: &Exposed, value: &Value) -> Result<String, String> {
    nested(exposed, value, 0)
}

fn nested(exposed: &Exposed, value: &Value, depth: usize) -> Result<String, String> {
    let Value::Object(members) = value else {
        return match value {
            Value::Null => Ok(String::new()),
            _ => Err("a condition is an object".to_string()),
        };
    };
    if depth > MAX_DEPTH {
        return Err(format!("a condition is nested {MAX_DEPTH} deep at most"));
    }
    let mut all = Vec::new();
    for (name, value) in members {
        match name.as_str() {
            "_and" => all.extend(of_list(exposed, value, depth)?),
            "_or" => {
                let any = of_list(exposed, value, depth)?;
                // Of nothing none holds.
                all.push(match any.is_empty() {
                    true => "FALSE".to_string(),
                    false => any.join(" OR "),
                });
            }
            "_not" => {
                let inner = nested(exposed, value, depth + 1)?;
                if !inner.is_empty() {
                    all.push(format!("NOT ({inner})"));
                }
            }
            column => all.extend(comparisons(exposed, column, value)?),
        }
    }
    Ok(match all.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        several => several
            .iter()
            .map(|one| format!("({one})"))
            .collect::<Vec<_>>()
            .join(" AND "),
    })
}

/// The conditions of a list, in brackets. One that asks for nothing always holds.
fn of_list(exposed: &Exposed, value: &Value, depth: usize) -> Result<Vec<String>, String> {
    let one = std::slice::from_ref(value);
    let list = match value {
        Value::List(list) => list.as_slice(),
        Value::Null => &[],
        _ => one,
    };
    let conditions = list.iter().map(|value| {
        let inner = nested(exposed, value, depth + 1)?;
        Ok(match inner.is_empty() {
            true => "TRUE".to_string(),
            false => format!("({inner})"),
        })
    });
    conditions.collect()
}

fn comparisons(exposed: &Exposed, name: &str, value: &Value) -> Result<Vec<String>, String> {
    let fields = exposed.relation.schema.fields();
    let field = fields.iter().find(|field| graphql_name(field.name()) == name);
    let field = field.ok_or_else(|| format!("there is no column '{name}'"))?;
    let Value::Object(members) = value else {
        return match value {
            Value::Null => Ok(Vec::new()),
            _ => Err(format!("{name}: a comparison is an object, such as {{_eq: …}}")),
        };
    };
    let column = quoted(field.name());
    let one = |operator: &str, value: &Value| match value {
        Value::Null => Err(format!("{name}: nothing compares with null: use _is_null")),
        value => Ok(format!("{column} {operator} {}", literal(field.data_type(), value)?)),
    };
    let several = |operator: &str, value: &Value, of_none: &str| {
        let single = std::slice::from_ref(value);
        let list = match value {
            Value::List(list) => list.as_slice(),
            _ => single,
        };
        if list.is_empty() {
            return Ok(of_none.to_string());
        }
        let values: Result<Vec<String>, String> = list.iter().map(|value| literal(field.data_type(), value)).collect();
        Ok(format!("{column} {operator} ({})", values?.join(", ")))
    };
    let comparison = |(operator, value): (&async_graphql::Name, &Value)| match operator.as_str() {
        "_eq" => one("=", value),
        "_neq" => one("<>", value),
        "_gt" => one(">", value),
        "_gte" => one(">=", value),
        "_lt" => one("<", value),
        "_lte" => one("<=", value),
        "_like" => one("LIKE", value),
        "_nlike" => one("NOT LIKE", value),
        "_ilike" => one("ILIKE", value),
        "_nilike" => one("NOT ILIKE", value),
        "_in" => several("IN", value, "FALSE"),
        "_nin" => several("NOT IN", value, "TRUE"),
        "_is_null" => Ok(match value {
            Value::Boolean(false) => format!("{column} IS NOT NULL"),
            _ => format!("{column} IS NULL"),
        }),
        other => Err(format!("{name}: there is no comparison '{other}'")),
    };
    members.iter().map(comparison).collect()
}

/// A value as a literal of a column's type.
fn literal(data_type: &DataType, value: &Value) -> Result<String, String> {
    let kind = types::name(data_type);
    let wrong = || format!("{value} is no {kind}");
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Enum(name) => name.to_string(),
        _ => return Err(wrong()),
    };
    match data_type {
        DataType::Boolean => Ok(text.parse::<bool>().map_err(|_| wrong())?.to_string().to_uppercase()),
        data_type if data_type.is_integer() => Ok(text.parse::<i64>().map_err(|_| wrong())?.to_string()),
        data_type if data_type.is_floating() => {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            match number.is_finite() {
                true => Ok(format!("CAST('{number:e}' AS DOUBLE)")),
                false => Err(wrong()),
            }
        }
        DataType::Utf8View => Ok(format!("'{}'", text.replace('\'', "''"))),
        DataType::Decimal128(..) | DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | ':' | '.' | ' ');
            match text.chars().all(plain) {
                true => Ok(format!("CAST('{text}' AS {kind})")),
                false => Err(wrong()),
            }
        }
        _ => Err(format!("nothing compares with a {kind}: use _is_null")),
    }
}
