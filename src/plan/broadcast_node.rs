//! The logical node of a stream that goes to every partition: in a PARTITION, of a stream without a key.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{DFSchema, DFSchemaRef, Result, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::partition::PARTITION_KEY;

/// The rows of `input` once for each key alive, which is the last column, [`PARTITION_KEY`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BroadcastNode {
    /// The rows.
    pub input: LogicalPlan,
    /// The key's type.
    pub key_type: DataType,
    schema: DFSchemaRef,
}

impl BroadcastNode {
    /// Of rows.
    pub fn new(input: LogicalPlan, key_type: DataType) -> Result<Self> {
        let fields = input.schema().iter();
        let mut fields: Vec<_> = fields.map(|(name, field)| (name.cloned(), field.clone())).collect();
        let key = Field::new(PARTITION_KEY, key_type.clone(), false);
        fields.push((None, Arc::new(key)));
        Ok(BroadcastNode {
            schema: Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?),
            input,
            key_type,
        })
    }
}

impl UserDefinedLogicalNodeCore for BroadcastNode {
    fn name(&self) -> &str {
        "ToEveryPartition"
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

    /// What concerns the rows alone is better asked before they are multiplied.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([PARTITION_KEY.to_string()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => BroadcastNode::new(input, self.key_type.clone()),
            Err(_) => internal_err!("one stream goes to every partition"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let key = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|index| *index < key).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl PartialOrd for BroadcastNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}
