//! Lowering of joins of two streams: windowed, by interval, or plain.

use std::sync::Arc;

use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::{Expr, Join, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;

use super::access::is_static;
use super::interval::{IntervalCondition, interval_of};
use super::lower::{Flow, Lowering, Pipe};
use super::physical::physical_expr;
use super::stream_plan::NodeId;
use super::trigger_side_node::triggers_alone;
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::join::changelog_join::{ChangelogJoinPlan, ChangelogSide, Identity};
use crate::operators::join::interval_join::IntervalJoinPlan;
use crate::operators::join::spec::{JoinInput, JoinKind, JoinSpec, Side};
use crate::operators::join::window_join::{Batches, Leaving, WindowJoinPlan, WindowSide};
use crate::operators::merge_order::MergeOrderPlan;
use crate::windows::TimeDomain;

impl Lowering<'_> {
    /// A join, by what its sides are.
    pub(super) fn join(&mut self, join: &Join) -> Result<Pipe, Diagnostic> {
        match (is_static(&join.left), is_static(&join.right)) {
            (false, false) => self.stream_join(join),
            (false, true) => self.table_join(join, Side::Right),
            (true, false) => self.table_join(join, Side::Left),
            (true, true) => Err(Diagnostic::new(
                Code::Unstreamable,
                "a query over tables only has nothing that sets it going",
            )
            .hint("join them with a stream, or ask the tables on demand")),
        }
    }

    fn stream_join(&mut self, join: &Join) -> Result<Pipe, Diagnostic> {
        let kind = join_kind(join.join_type)?;
        let before = (self.in_order, self.retracts, self.holds);
        let both = LogicalPlan::Join(join.clone());
        let domain = self.plan.time_domain(&both);
        let interval = match domain {
            TimeDomain::Event => interval_of(join, &self.plan.time_columns),
            TimeDomain::Processing => None,
        };
        self.in_order = interval.is_some();
        (self.retracts, self.holds) = (true, true);
        let sides = self
            .side(&join.left)
            .and_then(|left| Ok([left, self.side(&join.right)?]));
        (self.in_order, self.retracts, self.holds) = before;
        let sides = sides?;
        let flows = [sides[0].flow, sides[1].flow];
        let windowed = flows
            .iter()
            .any(|flow| matches!(flow, Flow::Changes { .. } | Flow::Emissions));
        if !windowed && (triggers_alone(&join.left) || triggers_alone(&join.right)) {
            let error = Diagnostic::new(Code::Unstreamable, "UNIDIRECTIONAL is for joins of windows");
            return Err(error.hint("give the other side a window: what it holds is what this side meets"));
        }
        let errors = sides[0].errors;
        let (operator, flow): (Arc<dyn OperatorPlan>, Flow) = match interval {
            Some(condition) if flows == [Flow::Inserts; 2] => self.interval_join(join, kind, condition, domain)?,
            _ if windowed => self.window_join(join, kind, flows, domain)?,
            _ => self.changelog_join(join, kind, flows)?,
        };
        let schema = Arc::new(join.schema.as_arrow().clone());
        let node = self.add("join", errors, operator);
        sides.iter().for_each(|side| self.plan.connect(side.node, node));
        let mut pipe = self.pipe_from(node, schema, errors, &join.schema);
        pipe.flow = flow;
        Ok(pipe)
    }

    /// The rows of one side.
    fn side(&mut self, plan: &LogicalPlan) -> Result<JoinSide, Diagnostic> {
        let in_order = self.in_order;
        let pipe = self.pipe(plan)?;
        self.in_order = in_order;
        let flow = pipe.flow;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let (node, errors) = self.flush(pipe, &schema)?;
        Ok(JoinSide { node, errors, flow })
    }

    fn window_join(
        &self,
        join: &Join,
        kind: JoinKind,
        flows: [Flow; 2],
        domain: TimeDomain,
    ) -> Result<(Arc<dyn OperatorPlan>, Flow), Diagnostic> {
        if flows.contains(&Flow::Changelog) {
            let error = Diagnostic::new(Code::Unstreamable, "a changelog cannot be joined with a window");
            return Err(error.hint("leave the window out: a plain join follows updates and deletes"));
        }
        let alone = [triggers_alone(&join.left), triggers_alone(&join.right)];
        let side = |side: Side| {
            let flow = flows[side.port()];
            WindowSide {
                triggers: !alone[side.other().port()] || alone[side.port()],
                holds: flow != Flow::Inserts,
                leaving: match flow {
                    Flow::Changes { fifo: false } => Leaving::AnyOrder,
                    _ => Leaving::InOrder,
                },
                batches: match flow {
                    Flow::Emissions => Batches::Emission,
                    _ => Batches::Run,
                },
            }
        };
        let plan = WindowJoinPlan {
            join: self.join_spec(join, kind, join.filter.as_ref())?,
            sides: [side(Side::Left), side(Side::Right)],
            expired: self.output.expired || self.retracts,
        };
        let flow = match flows {
            [Flow::Emissions, Flow::Emissions] => Flow::Emissions,
            _ => Flow::Changes { fifo: false },
        };
        let inputs = [&join.left, &join.right].map(|side| Arc::new(side.schema().as_arrow().clone()));
        let plan: Arc<dyn OperatorPlan> = Arc::new(plan);
        Ok(match domain {
            // Events of the two sides meet in event-time order, whichever came first.
            TimeDomain::Event => (
                Arc::new(MergeOrderPlan {
                    operator: plan,
                    inputs: inputs.to_vec(),
                }),
                flow,
            ),
            TimeDomain::Processing => (plan, flow),
        })
    }

    fn interval_join(
        &self,
        join: &Join,
        kind: JoinKind,
        condition: IntervalCondition,
        domain: TimeDomain,
    ) -> Result<(Arc<dyn OperatorPlan>, Flow), Diagnostic> {
        let plan = IntervalJoinPlan {
            join: self.join_spec(join, kind, condition.rest.as_ref())?,
            interval: condition.interval,
            times: [None, None],
            domain,
        };
        Ok((Arc::new(plan), Flow::Inserts))
    }

    fn changelog_join(
        &mut self,
        join: &Join,
        kind: JoinKind,
        flows: [Flow; 2],
    ) -> Result<(Arc<dyn OperatorPlan>, Flow), Diagnostic> {
        let ttls = [self.plan.state_ttl(&join.left), self.plan.state_ttl(&join.right)];
        if ttls.contains(&None) {
            let warning = Diagnostic::new(
                Code::Unstreamable,
                "a join without windows keeps every row of both sides, so its memory grows with the streams",
            );
            self.plan.warnings.push(warning.hint(
                "give both sides a WINDOW, bound their times (b.ts BETWEEN a.ts - 5 MINUTES AND a.ts), or give the streams \
                 'state.ttl' = '1 hour'",
            ));
        }
        let side = |side: Side| ChangelogSide {
            identity: match flows[side.port()] {
                Flow::Changelog => Identity::Row,
                _ => Identity::Inserts,
            },
            ttl: ttls[side.port()],
        };
        let plan = ChangelogJoinPlan {
            join: self.join_spec(join, kind, join.filter.as_ref())?,
            sides: [side(Side::Left), side(Side::Right)],
        };
        let flow = match (kind, flows) {
            (JoinKind::Inner, [Flow::Inserts, Flow::Inserts]) => Flow::Inserts,
            _ => Flow::Changelog,
        };
        Ok((Arc::new(plan), flow))
    }

    fn join_spec(&self, join: &Join, kind: JoinKind, filter: Option<&Expr>) -> Result<JoinSpec, Diagnostic> {
        let keys = |side: &LogicalPlan, pick: fn(&(Expr, Expr)) -> &Expr| {
            let exprs = join.on.iter().map(|pair| physical_expr(pick(pair), side.schema()));
            exprs.collect::<Result<Vec<Arc<dyn PhysicalExpr>>, Diagnostic>>()
        };
        let input = |side: &LogicalPlan, keys| JoinInput {
            schema: Arc::new(side.schema().as_arrow().clone()),
            keys,
        };
        let inputs = [
            input(&join.left, keys(&join.left, |pair| &pair.0)?),
            input(&join.right, keys(&join.right, |pair| &pair.1)?),
        ];
        let columns = |side: Side| (0..inputs[side.port()].schema.fields().len()).map(move |column| (side, column));
        Ok(JoinSpec {
            kind,
            output: columns(Side::Left).chain(columns(Side::Right)).collect(),
            inputs: inputs.clone(),
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            filter: filter.map(|filter| physical_expr(filter, &join.schema)).transpose()?,
            schema: Arc::new(join.schema.as_arrow().clone()),
        })
    }
}

struct JoinSide {
    node: NodeId,
    errors: usize,
    flow: Flow,
}

fn join_kind(join_type: JoinType) -> Result<JoinKind, Diagnostic> {
    Ok(match join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        _ => {
            let error = Diagnostic::new(Code::Unstreamable, "IN and EXISTS look into tables, not streams");
            return Err(error.hint("join the streams, or keep the one in a table: INSERT INTO T SELECT …"));
        }
    })
}
