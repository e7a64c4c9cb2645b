//! The logical node that gives events their time from a column inside a query: `TUMBLE(S, ts, …)` where `ts` is not what S
//! goes by.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchemaRef, Result, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// Rows whose event time is `column` from here on; the watermark is the largest seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventTimeNode {
    /// The rows.
    pub input: LogicalPlan,
    /// The column.
    pub column: Column,
}

/// Whether event time begins inside a plan.
pub fn begins_in(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node
            && extension.node.as_any().is::<EventTimeNode>()
        {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

impl UserDefinedLogicalNodeCore for EventTimeNode {
    fn name(&self) -> &str {
        "EventTime"
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

    /// A filter in front would hide times that move the watermark.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let names = self.input.schema().fields().iter().map(|field| field.name().clone());
        names.collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "EventTime: {}", self.column.name)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Ok(EventTimeNode {
                input,
                column: self.column.clone(),
            }),
            Err(_) => internal_err!("event time begins on one input"),
        }
    }

    /// The columns that are read above, and the time.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut fields = self.input.schema().fields().iter();
        let time = fields.position(|field| *field.name() == self.column.name);
        let mut needed: Vec<usize> = output_columns.iter().copied().chain(time).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl PartialOrd for EventTimeNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.column.partial_cmp(&other.column) {
            Some(Ordering::Equal) => self.input.partial_cmp(&other.input),
            order => order,
        }
    }
}
