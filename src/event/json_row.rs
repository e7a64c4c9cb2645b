//! A row as a JSON object, for messages and streams of errors: what is read there can be read again.

use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::DataType;

use super::pretty::cell;

/// A row as `{"name":value,…}`.
///
/// Numbers and booleans stand as they are, but for those that JSON has not (NaN, infinities); what else is no list, structure or map
/// is a text as [`cell`] gives it. *Cost.* Slow: for events in trouble.
pub fn row(columns: &RecordBatch, row: usize) -> String {
    let mut text = String::new();
    let schema = columns.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    object(&mut text, names.zip(columns.columns().iter().map(AsRef::as_ref)), row);
    text
}

fn object<'a>(text: &mut String, members: impl Iterator<Item = (&'a str, &'a dyn Array)>, row: usize) {
    text.push('{');
    for (index, (name, column)) in members.enumerate() {
        if index > 0 {
            text.push(',');
        }
        quoted(text, name);
        text.push(':');
        value(text, column, row);
    }
    text.push('}');
}

fn structure(text: &mut String, all: &StructArray, row: usize) {
    let names = all.fields().iter().map(|field| field.name().as_str());
    object(text, names.zip(all.columns().iter().map(AsRef::as_ref)), row);
}

/// Values are nested as deep as their type is.
fn value(text: &mut String, column: &dyn Array, row: usize) {
    if column.is_null(row) {
        return text.push_str("null");
    }
    match column.data_type() {
        DataType::Boolean => text.push_str(&cell(column, row)),
        data_type if data_type.is_integer() || matches!(data_type, DataType::Decimal128(_, _)) => {
            text.push_str(&cell(column, row));
        }
        data_type if data_type.is_floating() => {
            let shown = cell(column, row);
            match shown.parse::<f64>().is_ok_and(f64::is_finite) {
                true => text.push_str(&shown),
                false => quoted(text, &shown),
            }
        }
        DataType::Struct(_) => structure(text, column.as_struct(), row),
        DataType::List(_) => list(text, column.as_list::<i32>().value(row).as_ref()),
        DataType::Map(_, _) => entries(text, &column.as_map().value(row)),
        _ => quoted(text, &cell(column, row)),
    }
}

fn list(text: &mut String, items: &dyn Array) {
    text.push('[');
    for item in 0..items.len() {
        if item > 0 {
            text.push(',');
        }
        value(text, items, item);
    }
    text.push(']');
}

fn entries(text: &mut String, entries: &StructArray) {
    let [keys, values] = entries.columns() else {
        return text.push_str("{}");
    };
    text.push('{');
    for entry in 0..entries.len() {
        if entry > 0 {
            text.push(',');
        }
        quoted(text, &cell(keys.as_ref(), entry));
        text.push(':');
        value(text, values.as_ref(), entry);
    }
    text.push('}');
}

fn quoted(text: &mut String, plain: &str) {
    text.push('"');
    for character in plain.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a text does not fail.
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn every_row_is_json_that_holds_its_values() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![Some(-7), None]))),
            ("x", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
            (
                "a\"b",
                Arc::new(StringViewArray::from(vec!["tab\t, quote \", \u{1}", "é"])),
            ),
            ("l", Arc::new(lists)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let rows: Vec<serde_json::Value> = (0..2)
            .map(|index| serde_json::from_str(&row(&batch, index)).unwrap())
            .collect();
        assert_eq!(
            rows,
            [
                serde_json::json!({"n": -7, "x": 0.5, "a\"b": "tab\t, quote \", \u{1}", "l": [1, null]}),
                serde_json::json!({"n": null, "x": "NaN", "a\"b": "é", "l": null}),
            ]
        );
    }
}
