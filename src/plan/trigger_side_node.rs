//! The logical node of a join's side that alone triggers: `… UNIDIRECTIONAL`.

use std::cmp::Ordering;
use std::fmt;

use datafusion_common::{DFSchemaRef, Result, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// Rows that join; those of the other side of their join are only met.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TriggerSideNode {
    /// The rows.
    pub input: LogicalPlan,
}

/// Whether a side of a join is marked, looked for outside of other joins.
pub fn triggers_alone(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) if extension.node.as_any().is::<TriggerSideNode>() => true,
        LogicalPlan::Join(_) => false,
        other => other.inputs().into_iter().any(triggers_alone),
    }
}

impl UserDefinedLogicalNodeCore for TriggerSideNode {
    fn name(&self) -> &str {
        "Unidirectional"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        Default::default()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Unidirectional")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Ok(TriggerSideNode { input }),
            Err(_) => internal_err!("a side of a join has one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

impl PartialOrd for TriggerSideNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}
