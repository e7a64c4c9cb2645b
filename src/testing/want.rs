//! What a value must be: a value of a case file, read for the column that it is compared with.

use arrow::datatypes::{DataType, FieldRef};

use super::cell::Cell;
use super::rows::read;
use super::value::Value;
use crate::catalog::types;

/// What one value must be.
#[derive(Debug, Clone)]
pub(super) enum Want {
    /// Anything.
    Any,
    /// Exactly this.
    Exactly(Cell),
    /// A number of this value.
    Number(Value),
    /// JSON text, as text or by what it says.
    Json(Value),
    List(Vec<Want>),
    Members(Vec<(String, Want)>),
    /// Something that no value of the column's type is.
    Never(Value),
}

impl Want {
    /// The value, for a column.
    pub(super) fn new(field: &FieldRef, value: &Value) -> Self {
        let data_type = field.data_type();
        if types::is_json(field) && *value != Value::Null {
            return Want::Json(value.clone());
        }
        match (data_type, value) {
            (_, Value::Null) => Want::Exactly(Cell::Null),
            (DataType::Boolean, Value::Bool(value)) => Want::Exactly(Cell::Bool(*value)),
            (data_type, Value::Int(_) | Value::Float(_)) if data_type.is_numeric() => Want::Number(value.clone()),
            (DataType::Float32 | DataType::Float64, Value::Text(text)) => match text.as_str() {
                "NaN" => Want::Number(Value::Float(f64::NAN)),
                "Infinity" => Want::Number(Value::Float(f64::INFINITY)),
                "-Infinity" => Want::Number(Value::Float(f64::NEG_INFINITY)),
                _ => Want::Never(value.clone()),
            },
            (DataType::Utf8View, Value::Text(text)) => Want::Exactly(Cell::Text(text.clone())),
            (DataType::List(item), Value::List(values)) => {
                Want::List(values.iter().map(|value| Want::new(item, value)).collect())
            }
            (DataType::Struct(fields), Value::Object(members))
                if members
                    .iter()
                    .all(|(name, _)| fields.iter().any(|field| field.name() == name)) =>
            {
                let part = |field: &FieldRef| {
                    let value = members
                        .iter()
                        .find(|(name, _)| name == field.name())
                        .map(|(_, value)| value);
                    (field.name().clone(), Want::new(field, value.unwrap_or(&Value::Null)))
                };
                Want::Members(fields.iter().map(part).collect())
            }
            (DataType::Map(entries, _), Value::Object(members)) => match entries.data_type() {
                DataType::Struct(parts) if parts.len() == 2 => {
                    let entry = |(name, value): &(String, Value)| (name.clone(), Want::new(&parts[1], value));
                    Want::Members(members.iter().map(entry).collect())
                }
                _ => Want::Never(value.clone()),
            },
            (DataType::Utf8View | DataType::Boolean, _) => Want::Never(value.clone()),
            (data_type, value) => read(data_type, value).map_or_else(|| Want::Never(value.clone()), Want::Exactly),
        }
    }

    /// Whether a value is what is wanted; doubles may differ by `tolerance`, relative to the larger.
    pub(super) fn fits(&self, cell: &Cell, tolerance: f64) -> bool {
        match (self, cell) {
            (Want::Any, _) => true,
            (Want::Exactly(want), cell) => want == cell,
            (Want::Number(want), cell) => number_fits(want, cell, tolerance),
            (Want::Json(Value::Text(want)), Cell::Text(text)) if want == text => true,
            (Want::Json(want), Cell::Text(text)) => {
                Value::from_json(text).is_some_and(|value| same_json(want, &value, tolerance))
            }
            (Want::List(wants), Cell::List(cells)) => {
                wants.len() == cells.len() && wants.iter().zip(cells).all(|(want, cell)| want.fits(cell, tolerance))
            }
            (Want::Members(wants), Cell::Members(cells)) => {
                let fits = |(name, want): &(String, Want)| {
                    cells
                        .iter()
                        .any(|(other, cell)| other == name && want.fits(cell, tolerance))
                };
                wants.len() == cells.len() && wants.iter().all(fits)
            }
            _ => false,
        }
    }
}

/// As a case file would have it; `·` for anything.
impl std::fmt::Display for Want {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Want::Any => f.write_str("·"),
            Want::Exactly(cell) => cell.fmt(f),
            Want::Number(value) | Want::Json(value) | Want::Never(value) => value.fmt(f),
            Want::List(wants) => {
                f.write_str("[")?;
                for (index, want) in wants.iter().enumerate() {
                    write!(f, "{}{want}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Want::Members(wants) => {
                f.write_str("{")?;
                for (index, (name, want)) in wants.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{want}", serde_json::Value::from(name.as_str()))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn number_fits(want: &Value, cell: &Cell, tolerance: f64) -> bool {
    match (want, cell) {
        (Value::Int(want), Cell::Int(value)) => *want == i128::from(*value),
        (Value::Float(want), Cell::Int(value)) => *want == *value as f64,
        (want, Cell::Float(value)) => want
            .number()
            .is_some_and(|want| close(f64::from(want as f32), f64::from(*value), tolerance)),
        (want, Cell::Double(value)) => want.number().is_some_and(|want| close(want, *value, tolerance)),
        (Value::Int(want), Cell::Decimal(value, scale)) => {
            let unit = u32::try_from(*scale).ok().and_then(|scale| 10_i128.checked_pow(scale));
            unit.and_then(|unit| want.checked_mul(unit)) == Some(*value)
        }
        (Value::Float(want), cell @ Cell::Decimal(_, _)) => cell
            .to_string()
            .parse()
            .is_ok_and(|value| close(*want, value, tolerance)),
        _ => false,
    }
}

fn close(want: f64, value: f64, tolerance: f64) -> bool {
    let same = want == value || (want.is_nan() && value.is_nan());
    same || (want.is_finite() && value.is_finite() && (want - value).abs() <= tolerance * want.abs().max(value.abs()))
}

fn same_json(want: &Value, value: &Value, tolerance: f64) -> bool {
    match (want, value) {
        (Value::Int(want), Value::Int(value)) => want == value,
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => want
            .number()
            .zip(value.number())
            .is_some_and(|(want, value)| close(want, value, tolerance)),
        (Value::List(wants), Value::List(values)) => {
            wants.len() == values.len()
                && wants
                    .iter()
                    .zip(values)
                    .all(|(want, value)| same_json(want, value, tolerance))
        }
        (Value::Object(wants), Value::Object(values)) => {
            let same = |(name, want): &(String, Value)| {
                values
                    .iter()
                    .any(|(other, value)| other == name && same_json(want, value, tolerance))
            };
            wants.len() == values.len() && wants.iter().all(same)
        }
        (want, value) => want == value,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn fits(data_type: DataType, want: Value, cell: Cell) -> bool {
        Want::new(&Arc::new(Field::new("x", data_type, true)), &want).fits(&cell, 1e-9)
    }

    #[test]
    fn numbers_compare_by_value() {
        let int = Value::Int;
        let float = Value::Float;
        let cases = [
            (DataType::Int32, int(5), Cell::Int(5), true),
            (DataType::Int32, float(5.0), Cell::Int(5), true),
            (DataType::Int64, float(1e9), Cell::Int(1_000_000_001), false),
            (DataType::Int64, int(i64::MAX.into()), Cell::Int(i64::MAX - 1), false),
            (DataType::Float64, int(5), Cell::Double(5.0), true),
            (DataType::Float64, float(0.3), Cell::Double(0.1 + 0.2), true),
            (DataType::Float64, float(0.3), Cell::Double(0.3001), false),
            (DataType::Float64, float(f64::NAN), Cell::Double(f64::NAN), true),
            (
                DataType::Float64,
                Value::Text("-Infinity".into()),
                Cell::Double(f64::NEG_INFINITY),
                true,
            ),
            (DataType::Float64, float(1.0), Cell::Double(f64::INFINITY), false),
            (DataType::Float32, float(75.6), Cell::Float(75.6), true),
            (DataType::Float32, float(75.6), Cell::Float(75.600_01), false),
            (DataType::Decimal128(10, 2), int(3), Cell::Decimal(300, 2), true),
            (DataType::Decimal128(10, 2), float(3.25), Cell::Decimal(325, 2), true),
            (
                DataType::Decimal128(10, 2),
                Value::Text("3.25".into()),
                Cell::Decimal(325, 2),
                true,
            ),
            (DataType::Utf8View, int(5), Cell::Text("5".into()), false),
            (DataType::Int32, Value::Text("5".into()), Cell::Int(5), false),
            (DataType::Int32, Value::Null, Cell::Null, true),
            (DataType::Int32, Value::Null, Cell::Int(0), false),
            (types::TIMESTAMP, int(1_500), Cell::Timestamp(1_500_000), true),
            (
                types::TIMESTAMP,
                Value::Text("1970-01-01T00:00:01.5Z".into()),
                Cell::Timestamp(1_500_000),
                true,
            ),
        ];
        for (data_type, want, cell, expected) in cases {
            assert_eq!(
                fits(data_type.clone(), want.clone(), cell.clone()),
                expected,
                "{data_type} {want} {cell}"
            );
        }
    }
}
