//! The logical node of a window: between the rows of a relation and what reads them.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::partition::PARTITION_KEY;
use crate::catalog::types;
use crate::catalog::windows::{WINDOW_END, WINDOW_START, WindowKind};

/// A window over `input`. Its columns are the input's, and [`WINDOW_START`] and [`WINDOW_END`] where the kind has them.
#[derive(Debug, Clone)]
pub struct WindowNode {
    /// What is windowed.
    pub input: LogicalPlan,
    /// How.
    pub kind: WindowKind,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// Of a kind over rows.
    pub fn new(input: LogicalPlan, kind: WindowKind) -> Result<Self> {
        let schema = Arc::new(schema_of(input.schema(), &kind)?);
        Ok(WindowNode { input, kind, schema })
    }

    /// The columns of the input; those of the window's bounds come after them.
    pub fn input_columns(&self) -> usize {
        self.input.schema().fields().len()
    }
}

fn schema_of(input: &DFSchema, kind: &WindowKind) -> Result<DFSchema> {
    let mut fields: Vec<(Option<TableReference>, Arc<Field>)> = input
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
        .collect();
    if kind.has_bounds() {
        let qualifier = fields.first().and_then(|(qualifier, _)| qualifier.clone());
        for name in [WINDOW_START, WINDOW_END] {
            let taken = fields.iter().any(|(_, field)| field.name() == name);
            let name = if taken { format!("__{name}") } else { name.to_string() };
            fields.push((qualifier.clone(), Arc::new(Field::new(name, types::TIMESTAMP, true))));
        }
    }
    DFSchema::new_with_metadata(fields, HashMap::new())
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    /// What must not go before the window: everything, unless the kind does not care which events are there.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let names = |from: usize| self.schema.fields()[from..].iter().map(|field| field.name().clone());
        match self.kind.commutes_with_filter() {
            true => names(self.input_columns()).collect(),
            false => names(0).collect(),
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Window: {:?}", self.kind)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => WindowNode::new(input, self.kind.clone()),
            Err(_) => internal_err!("a window has one input"),
        }
    }

    /// The input's columns that are read above, and those that the window itself goes by.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let input = self.input.schema();
        let own = self.kind.columns().into_iter().filter_map(|column| {
            let mut fields = input.fields().iter();
            fields.position(|field| *field.name() == column.name)
        });
        // The key of a PARTITION decides which window a row belongs to.
        let key = input.fields().iter().position(|field| field.name() == PARTITION_KEY);
        let read = output_columns
            .iter()
            .copied()
            .filter(|index| *index < self.input_columns());
        let mut needed: Vec<usize> = read.chain(own).chain(key).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl PartialEq for WindowNode {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.input == other.input
    }
}

impl Eq for WindowNode {}

impl Hash for WindowNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.input.hash(state);
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.kind.partial_cmp(&other.kind) {
            Some(Ordering::Equal) => self.input.partial_cmp(&other.input),
            order => order,
        }
    }
}
