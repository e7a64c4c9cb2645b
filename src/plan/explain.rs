//! EXPLAIN: the stream plan as text.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::stream_plan::{NodeId, PlanNodeKind, QueryTarget, StreamPlan};
use crate::catalog::streams::Role;
use crate::catalog::tables::TableDef;
use crate::catalog::types;

/// All queries of a plan, or those called `only`, each as a tree: what it gives first, what it reads last.
pub fn explain(plan: &StreamPlan, only: Option<&str>) -> String {
    let mut text = String::new();
    for query in plan
        .queries
        .iter()
        .filter(|query| only.is_none_or(|name| query.name == name))
    {
        match &query.target {
            QueryTarget::Stream(target) => {
                let _ = writeln!(text, "{} → {}", query.name, stream_line(plan, *target));
                let target = &plan.streams[*target];
                if let Some(watermark) = (target.entry != target.node).then_some(target.entry) {
                    let _ = writeln!(text, "  {}", node_line(plan, watermark));
                }
            }
            QueryTarget::Table(table) => {
                let _ = writeln!(text, "{} → {}", query.name, table_line(table.def()));
            }
        }
        tree(plan, query.last, 1, &mut BTreeSet::new(), &mut text);
        text.push('\n');
    }
    let threads = plan.components().len();
    let _ = writeln!(text, "{threads} independent part(s), each on a thread of its own");
    text
}

fn tree(plan: &StreamPlan, node: NodeId, depth: usize, seen: &mut BTreeSet<NodeId>, text: &mut String) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}{}", node_line(plan, node));
    if !seen.insert(node) || matches!(plan.nodes[node].kind, PlanNodeKind::Stream(_)) {
        if let PlanNodeKind::Stream(stream) = plan.nodes[node].kind {
            let entry = plan.streams[stream].entry;
            if entry != node {
                let _ = writeln!(text, "{indent}  {}", node_line(plan, entry));
            }
        }
        return;
    }
    for &input in &plan.nodes[node].inputs {
        tree(plan, input, depth + 1, seen, text);
    }
}

fn node_line(plan: &StreamPlan, node: NodeId) -> String {
    match &plan.nodes[node].kind {
        PlanNodeKind::Stream(stream) => stream_line(plan, *stream),
        PlanNodeKind::Union => "Union".to_string(),
        PlanNodeKind::Operator(operator) => {
            let details = operator.details();
            match details.is_empty() {
                true => operator.name().to_string(),
                false => format!("{}: {}", operator.name(), details.join("; ")),
            }
        }
    }
}

fn table_line(def: &TableDef) -> String {
    let column = |(index, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        let key = if def.primary_key.contains(&index) { " KEY" } else { "" };
        format!("{} {}{key}", field.name(), types::name(field.data_type()))
    };
    let columns: Vec<String> = def.schema.fields().iter().enumerate().map(column).collect();
    format!("Table {}({}) in {}", def.name, columns.join(", "), def.backend)
}

fn stream_line(plan: &StreamPlan, stream: usize) -> String {
    let place = &plan.streams[stream];
    let columns: Vec<String> = place
        .wanted
        .iter()
        .map(|&index| {
            let field = place.def.schema.field(index);
            format!("{} {}", field.name(), types::name(field.data_type()))
        })
        .collect();
    let role = match &place.def.role {
        Role::Internal | Role::Trigger(_) => String::new(),
        Role::Source(connection) => format!(" from {}", connected(connection)),
        Role::Sink(connection) => format!(" to {}", connected(connection)),
    };
    let changelog = match plan.changelogs.contains(&place.def.name) {
        true => " changelog",
        false => "",
    };
    format!("Stream {}({}){changelog}{role}", place.def.name, columns.join(", "))
}

fn connected(connection: &crate::catalog::streams::Connection) -> String {
    match &connection.format {
        Some(format) => format!("{} ({format})", connection.connector),
        None => connection.connector.clone(),
    }
}
