//! Fingerprints: whether what was saved of an app is what the app means now.
//!
//! State is saved under names that stay when other statements are added or removed: streams and tables have theirs, or the `id` that
//! they are given so that it stays when they are renamed (`state_ids`), and an operator is called by the target of its query, the number of that query among those with the same target, and its own number
//! in the query. Under a name that has stayed there may be something else now. So each has a fingerprint: of an operator
//! what EXPLAIN says of it and the plan of its query with the types of all columns, both with ids for names, and for what a stream shares the columns that its
//! batches have. A formatted or commented query keeps its fingerprint, and one whose names and types of columns differ does not.

use std::collections::BTreeMap;

use datafusion_expr::LogicalPlan;

use super::state_ids::StateNames;
use super::stream_plan::{PlanNode, PlanNodeKind, StreamPlan};
use crate::catalog::streams::Role;
use crate::catalog::tables::TableDef;
use crate::error::{Error, Result};

/// A few bytes, as text, that two different things do not share.
pub type Fingerprint = String;

/// How many bytes of the hash are kept.
const BYTES: usize = 12;

/// Of all of an app that has state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// By operator id.
    pub operators: BTreeMap<String, Fingerprint>,
    /// By the id of the source stream: what its positions mean.
    pub sources: BTreeMap<String, Fingerprint>,
    /// By the id of the sink stream: what its positions mean.
    pub sinks: BTreeMap<String, Fingerprint>,
    /// By the id of the table.
    pub tables: BTreeMap<String, Fingerprint>,
}

impl StreamPlan {
    /// The fingerprints of all that has state. *Errors.* When two operators have one name, which would be a bug.
    pub fn fingerprints(&self) -> Result<Fingerprints> {
        let mut all = Fingerprints::default();
        for node in &self.nodes {
            if let PlanNodeKind::Operator(_) = &node.kind {
                let known = all.operators.insert(node.id.clone(), self.of_operator(node));
                if known.is_some() {
                    return Err(Error::failed(format!("two operators are called '{}'", node.id)));
                }
            }
        }
        for stream in &self.streams {
            let id = stream.def.state_id().to_string();
            match &stream.def.role {
                Role::Source(connection) => {
                    all.sources.insert(id, of(&["source", &connection.connector]));
                }
                Role::Sink(connection) => {
                    all.sinks.insert(id, of(&["sink", &connection.connector]));
                }
                Role::Internal | Role::Trigger(_) => {}
            }
        }
        let tables = self.tables.iter().map(|table| table.def());
        all.tables = tables.map(|def| (def.state_id().to_string(), of_table(def))).collect();
        Ok(all)
    }

    fn of_operator(&self, node: &PlanNode) -> Fingerprint {
        let PlanNodeKind::Operator(operator) = &node.kind else {
            return Fingerprint::new();
        };
        let mut parts = vec![operator.name().to_string()];
        parts.extend(operator.details());
        let query = node.query.and_then(|query| self.queries.get(query));
        match query {
            Some(query) => parts.push(query.definition.clone()),
            None => {
                let stream = &self.streams[node.errors];
                let fields = stream.wanted.iter().map(|&column| stream.def.schema.field(column));
                parts.extend(fields.map(|field| format!("{} {}", field.name(), field.data_type())));
            }
        }
        let parts = parts.iter().map(|part| match query {
            Some(query) => self.state_names.in_query(&query.name, part),
            None => self.state_names.in_text(part),
        });
        of(&parts.collect::<Vec<_>>())
    }
}

/// Of the plan of the query of that name.
pub(super) fn of_plan(query: &str, plan: &LogicalPlan, names: &StateNames) -> Fingerprint {
    of(&[names.in_query(query, &plan.display_indent_schema().to_string())])
}

fn of_table(def: &TableDef) -> Fingerprint {
    let mut parts = vec![def.backend.clone(), format!("{:?}", def.primary_key)];
    let fields = def.schema.fields().iter();
    parts.extend(fields.map(|field| format!("{} {}", field.name(), field.data_type())));
    of(&parts)
}

fn of<T: AsRef<str>>(parts: &[T]) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        let part = part.as_ref().as_bytes();
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    hash.as_bytes()[..BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
