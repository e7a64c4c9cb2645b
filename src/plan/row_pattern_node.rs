//! The logical node of MATCH_RECOGNIZE: between the rows of its input and what reads its matches.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::pattern::columns_of;
use super::row_pattern::{OutputColumn, RowPatternSpec};
use super::row_pattern_aggregate::AggregateSpec;
use super::row_pattern_names::LeafColumn;
use crate::row_patterns::leaf::Leaf;

/// MATCH_RECOGNIZE over an input.
#[derive(Debug, Clone)]
pub struct RowPatternNode {
    /// The rows.
    pub input: LogicalPlan,
    /// What is looked for.
    pub spec: Arc<RowPatternSpec>,
    schema: DFSchemaRef,
}

impl RowPatternNode {
    /// Over an input.
    pub fn new(input: LogicalPlan, spec: Arc<RowPatternSpec>) -> Result<Self> {
        let fields = spec.fields().into_iter();
        let fields: Vec<(Option<TableReference>, _)> = fields.map(|field| (None, Arc::new(field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(RowPatternNode { input, spec, schema })
    }

    /// The columns of the input that matching and measures read, as the specification numbers them.
    pub fn columns_read(&self) -> BTreeSet<usize> {
        let spec = &self.spec;
        let mut columns: BTreeSet<usize> = spec.keys.iter().copied().collect();
        columns.extend(spec.order.iter().skip(1).map(|key| key.column));
        columns.extend(spec.row_leaves.iter().filter_map(|(_, leaf, _)| leaf.column));
        let used = |leaves: &[LeafColumn], exprs: &mut dyn Iterator<Item = &Expr>| -> Vec<Leaf> {
            let names: HashSet<String> = exprs.flat_map(columns_of).collect();
            let used = leaves.iter().filter(|leaf| names.contains(&leaf.name));
            used.map(|leaf| leaf.leaf).collect()
        };
        let mut conditions = spec.defines.iter().filter_map(|define| define.of_past.as_ref());
        let past = used(&spec.past_leaves, &mut conditions);
        let measured = used(&spec.leaves, &mut spec.measures.iter().map(|(_, expr, _)| expr));
        for (leaves, aggregates) in [(past, &spec.past_aggregates), (measured, &spec.aggregates)] {
            for leaf in leaves {
                match leaf {
                    Leaf::Column { column, .. } => {
                        columns.insert(column);
                    }
                    Leaf::Aggregate { index, .. } => columns.extend(self.columns_of_aggregate(&aggregates[index])),
                    _ => {}
                }
            }
        }
        columns
    }

    /// The columns that an aggregate's arguments read.
    pub fn columns_of_aggregate(&self, aggregate: &AggregateSpec) -> BTreeSet<usize> {
        let names = columns_of(&aggregate.call);
        let columns = names.iter().filter_map(|name| self.spec.columns.index_of(name).ok());
        columns.collect()
    }
}

impl UserDefinedLogicalNodeCore for RowPatternNode {
    fn name(&self) -> &str {
        "MatchRecognize"
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

    /// Nothing goes before it: a row that is filtered out is not matched.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MatchRecognize: {}", self.spec.text)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Ok(RowPatternNode {
                input,
                spec: self.spec.clone(),
                schema: self.schema.clone(),
            }),
            Err(_) => internal_err!("MATCH_RECOGNIZE has one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut columns = self.columns_read();
        // That the first key of ORDER BY is the event time is seen where it comes from.
        columns.extend(self.spec.order.first().map(|key| key.column));
        for output in output_columns {
            if let Some(OutputColumn::Input(column)) = self.spec.outputs.get(*output) {
                columns.insert(*column);
            }
        }
        let fields = self.input.schema().fields().iter().enumerate();
        let mut needed: Vec<usize> = fields
            .filter(|(_, field)| {
                let column = self.spec.columns.index_of(field.name());
                column.is_ok_and(|column| columns.contains(&column))
            })
            .map(|(index, _)| index)
            .collect();
        if needed.is_empty() {
            // Rows are counted even if nothing is read of them.
            needed.push(0);
        }
        Some(vec![needed])
    }
}

impl PartialEq for RowPatternNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spec, &other.spec) && self.input == other.input
    }
}

impl Eq for RowPatternNode {}

impl Hash for RowPatternNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.text.hash(state);
        self.input.hash(state);
    }
}

impl PartialOrd for RowPatternNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.spec.text.partial_cmp(&other.spec.text) {
            Some(Ordering::Equal) => self.input.partial_cmp(&other.input),
            order => order,
        }
    }
}
