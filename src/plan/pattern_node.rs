//! The logical node of a pattern: between the rows of its streams and what reads its matches.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::partition::PARTITION_KEY;
use super::pattern::{Output, PatternSpec, columns_of};
use super::pattern_names::{Part, Reference};

/// A pattern over its streams. Its columns are what the query reads of matches, and the key of a PARTITION if all streams
/// carry it.
#[derive(Debug, Clone)]
pub struct PatternScan {
    /// Its streams.
    pub inputs: Vec<LogicalPlan>,
    /// What is looked for.
    pub spec: Arc<PatternSpec>,
    schema: DFSchemaRef,
}

impl PatternScan {
    /// Over the streams of a pattern.
    pub fn new(inputs: Vec<LogicalPlan>, spec: Arc<PatternSpec>) -> Result<Self> {
        let outputs = spec.outputs.iter().map(Output::field);
        let key = partition_key(&inputs);
        let fields: Vec<(Option<TableReference>, Arc<Field>)> =
            outputs.chain(key).map(|field| (None, Arc::new(field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(PatternScan { inputs, spec, schema })
    }

    /// The columns of a stream that the pattern reads, by name.
    pub fn columns(&self, port: usize) -> BTreeSet<String> {
        let spec = &self.spec;
        let mut columns: BTreeSet<String> = spec.partition_by.iter().cloned().collect();
        let mut captured = Captured {
            spec,
            port,
            columns: &mut columns,
        };
        spec.outputs.iter().for_each(|output| captured.add(&output.reference));
        for element in &spec.elements {
            element.reads.iter().for_each(|read| captured.add(&read.reference));
        }
        for element in spec.elements.iter().filter(|element| element.port == port) {
            for expr in element.filter.iter().chain(&element.join) {
                let reads = |name: &String| element.reads.iter().any(|read| read.name == *name);
                columns.extend(columns_of(expr).into_iter().filter(|name| !reads(name)));
            }
        }
        if self.schema.fields().iter().any(|field| field.name() == PARTITION_KEY) {
            columns.insert(PARTITION_KEY.to_string());
        }
        columns
    }

    /// The columns of a stream that are captured, by name.
    pub fn captured(&self, port: usize) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        let mut captured = Captured {
            spec: &self.spec,
            port,
            columns: &mut columns,
        };
        self.spec
            .outputs
            .iter()
            .for_each(|output| captured.add(&output.reference));
        for element in &self.spec.elements {
            element.reads.iter().for_each(|read| captured.add(&read.reference));
        }
        columns
    }
}

struct Captured<'a> {
    spec: &'a PatternSpec,
    port: usize,
    columns: &'a mut BTreeSet<String>,
}

impl Captured<'_> {
    fn add(&mut self, reference: &Reference) {
        match reference {
            Reference::Value {
                element,
                what: Part::Column(column),
                ..
            } if self.spec.elements[*element].port == self.port => {
                self.columns.insert(column.clone());
            }
            Reference::Aggregate { element, call } if self.spec.elements[*element].port == self.port => {
                self.columns.extend(columns_of(call));
            }
            _ => {}
        }
    }
}

/// The key of a PARTITION, if all streams carry it.
fn partition_key(inputs: &[LogicalPlan]) -> Option<Field> {
    let key = |plan: &LogicalPlan| {
        let fields = plan.schema().fields();
        fields.iter().find(|field| field.name() == PARTITION_KEY).cloned()
    };
    let keys: Option<Vec<_>> = inputs.iter().map(key).collect();
    keys?.first().map(|field| field.as_ref().clone())
}

impl UserDefinedLogicalNodeCore for PatternScan {
    fn name(&self) -> &str {
        "Pattern"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    /// Nothing goes before the pattern: it decides which events match.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Pattern: {}", self.spec.text)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if inputs.len() != self.inputs.len() {
            return internal_err!("a pattern keeps its streams");
        }
        Ok(PatternScan {
            inputs,
            spec: self.spec.clone(),
            schema: self.schema.clone(),
        })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let needed = self.inputs.iter().enumerate().map(|(port, input)| {
            let columns = self.columns(port);
            let fields = input.schema().fields().iter().enumerate();
            let mut needed: Vec<usize> = fields
                .filter(|(_, field)| columns.contains(field.name()))
                .map(|(index, _)| index)
                .collect();
            if needed.is_empty() {
                // Rows are counted even if nothing is read of them.
                needed.push(0);
            }
            needed
        });
        Some(needed.collect())
    }
}

impl PartialEq for PatternScan {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spec, &other.spec) && self.inputs == other.inputs
    }
}

impl Eq for PatternScan {}

impl Hash for PatternScan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.text.hash(state);
        self.inputs.hash(state);
    }
}

impl PartialOrd for PatternScan {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.spec.text.partial_cmp(&other.spec.text) {
            Some(Ordering::Equal) => self.inputs.partial_cmp(&other.inputs),
            order => order,
        }
    }
}
