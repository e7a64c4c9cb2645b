//! The keys of a `session` window that names none: the columns that its query groups by.

use arrow::datatypes::Schema;
use datafusion_common::Column;
use sqlparser::ast::{Query, Select, SetExpr};

use super::current_values::{column_name, group_keys};
use crate::catalog::windows::WindowKind;

/// Gives a session without keys those of the query's GROUP BY that are plain columns of its stream.
pub fn from_grouping(kind: WindowKind, query: &Query, schema: &Schema) -> WindowKind {
    match (kind, select_of(query)) {
        (WindowKind::Session { gap, keys, lateness }, Some(select)) if keys.is_empty() => WindowKind::Session {
            gap,
            keys: grouped_columns(select, schema),
            lateness,
        },
        (kind, _) => kind,
    }
}

fn select_of(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn grouped_columns(select: &Select, schema: &Schema) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for key in group_keys(select) {
        let name = column_name(&key).filter(|name| schema.field_with_name(name).is_ok());
        let column = name.map(Column::new_unqualified);
        columns.extend(column.filter(|column| !columns.contains(column)));
    }
    columns
}
