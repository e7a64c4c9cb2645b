//! Lowering of what a query does to a table.

use std::sync::Arc;

use datafusion_expr::{Expr, LogicalPlan};

use super::access::Lookups;
use super::compile_write::{Change, Matched, Write, WriteKind};
use super::lower::{Flow, Lowering, cannot_retract};
use super::physical::physical_expr;
use super::stream_plan::NodeId;
use crate::error::{Code, Diagnostic};
use crate::operators::table_write::{MatchedAction, MatchedPlan, TableAction, TableWritePlan};

impl Lowering<'_> {
    /// Lowers the plan of the events and what they do; the node that writes.
    pub(super) fn lower_write(&mut self, plan: &LogicalPlan, write: &Write) -> Result<NodeId, Diagnostic> {
        let pipe = match self.rate.clone() {
            Some(rate) => self.limited(plan, &rate)?,
            None => self.pipe(plan)?,
        };
        let flow = pipe.flow;
        let schema = match &write.kind {
            WriteKind::Insert | WriteKind::Upsert => write.table.def().schema.clone(),
            WriteKind::Matched(matched) if matched.inserts => write.table.def().schema.clone(),
            WriteKind::Matched(_) => Arc::new(plan.schema().as_arrow().clone()),
        };
        let (node, errors) = self.flush(pipe, &schema)?;
        let node = match self.rate {
            Some(_) => node,
            None => self.events_of(node, errors, flow)?,
        };
        let action = match (&write.kind, flow) {
            (WriteKind::Insert | WriteKind::Upsert, Flow::Changelog) => {
                if write.table.def().primary_key.is_empty() {
                    let message = format!(
                        "'{}' has no key by which updates and deletes could find their rows",
                        write.table.def().name
                    );
                    return Err(
                        Diagnostic::new(Code::Unstreamable, message).hint("declare PRIMARY KEY (…) in CREATE TABLE")
                    );
                }
                TableAction::Changes
            }
            (WriteKind::Insert, _) => TableAction::Insert,
            (WriteKind::Upsert, _) => TableAction::Upsert,
            (WriteKind::Matched(_), Flow::Changelog) => {
                return Err(cannot_retract(
                    "a row is changed by an event, and those of a changelog may be taken back",
                ));
            }
            (WriteKind::Matched(matched), _) => TableAction::Matched(Box::new(matched_plan(plan, write, matched)?)),
        };
        let operator = TableWritePlan {
            table: write.table.clone(),
            action,
        };
        let last = self.add("table", errors, Arc::new(operator));
        self.plan.connect(node, last);
        if self.first.is_empty() {
            self.first.push(last);
        }
        Ok(last)
    }
}

/// What a statement on demand does with its rows.
pub(super) fn action(plan: &LogicalPlan, write: &Write) -> Result<TableAction, Diagnostic> {
    Ok(match &write.kind {
        WriteKind::Insert => TableAction::Insert,
        WriteKind::Upsert => TableAction::Upsert,
        WriteKind::Matched(matched) => TableAction::Matched(Box::new(matched_plan(plan, write, matched)?)),
    })
}

fn matched_plan(plan: &LogicalPlan, write: &Write, matched: &Matched) -> Result<MatchedPlan, Diagnostic> {
    let updates = matches!(matched.change, Change::Update { .. });
    let columns = match updates {
        true => (0..write.table.def().schema.fields().len()).collect(),
        false => Vec::new(),
    };
    let lookups = Lookups {
        table: &write.table,
        events: plan.schema().clone(),
        conjuncts: matched.conjuncts.clone(),
        columns,
    };
    let lookup = lookups.plan()?;
    let joined = lookups.joined(&lookup.columns)?;
    let action = match &matched.change {
        Change::Update { set, when } => MatchedAction::Update {
            set: set
                .iter()
                .map(|(column, value)| Ok((*column, physical_expr(value, &joined)?)))
                .collect::<Result<_, Diagnostic>>()?,
            when: when.as_ref().map(|when| physical_expr(when, &joined)).transpose()?,
        },
        Change::Delete => MatchedAction::Delete,
        Change::Keep => MatchedAction::Keep,
    };
    Ok(MatchedPlan {
        independent: is_independent(&lookups.equal()?, write, matched),
        lookup,
        action,
        inserts: matched.inserts,
    })
}

/// Whether events that look for different values never meet each other's rows: what they look for is not changed, and a row that
/// they insert has it.
fn is_independent(equal: &[(usize, Expr)], write: &Write, matched: &Matched) -> bool {
    if equal.is_empty() {
        return false;
    }
    let keeps = match &matched.change {
        Change::Update { set, .. } => set.iter().all(|(column, value)| {
            let looked_for = equal.iter().find(|(looked_for, _)| looked_for == column);
            looked_for.is_none_or(|(_, by)| by == value)
        }),
        Change::Delete | Change::Keep => true,
    };
    let schema = &write.table.def().schema;
    let inserts_same = equal.iter().all(|(column, by)| match by {
        Expr::Column(event) => event.name == *schema.field(*column).name(),
        _ => false,
    });
    keeps && (!matched.inserts || inserts_same)
}
