//! Lowering of what has state: windows, aggregations, OVER, DISTINCT.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_expr::{Aggregate, LogicalPlan, Window};

use super::lower_aggregate::AggregateColumns;
use super::lower_over::{OverOperators, disorders};
use super::lower_sessions::{Sessions, sessions};
use super::lower_slices::{Bounds, Sliced, passed_bounds, sliced};
use super::lower_window::{Windowed, window_plan};
use super::stream_plan::{NodeId, StreamId};
use super::window_node::WindowNode;
use crate::catalog::windows::Family;
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::aggregate_plan::Form;
use crate::operators::distinct::{Bound, DistinctPlan};
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::keyed::KeyedForm;
use crate::operators::session_aggregate::SessionAggregatePlan;
use crate::operators::slice_aggregate::SliceAggregatePlan;
use crate::windows::announce::Announce;
use crate::windows::{Retained, TimeDomain};

use super::lower::{Flow, Lowering, Pipe, cannot_retract, marked_if};

impl Lowering<'_> {
    pub(super) fn window(&mut self, window: &WindowNode) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&window.input);
        let in_order = std::mem::replace(&mut self.in_order, domain == TimeDomain::Event);
        let holds = std::mem::replace(&mut self.holds, false);
        let pipe = self.pipe(&window.input);
        (self.in_order, self.holds) = (in_order, holds);
        let pipe = of_inserts(pipe?)?;
        let input = Arc::new(window.input.schema().as_arrow().clone());
        let schema = Arc::new(
            datafusion_expr::UserDefinedLogicalNodeCore::schema(window)
                .as_arrow()
                .clone(),
        );
        let (from, errors) = self.flush(pipe, &input)?;
        let expired = self.output.expired || self.holds || self.retracts && window.kind.family() == Family::Sliding;
        let announce = match (self.changes && Flow::of(&window.kind) == Flow::Emissions, self.retracts) {
            (false, _) => Announce::Nothing,
            (true, false) => Announce::Events,
            (true, true) => Announce::Marked,
        };
        let operator = window_plan(
            &window.kind,
            &Windowed {
                input: input.clone(),
                schema: schema.clone(),
                domain,
                retained: if expired { Retained::Expired } else { Retained::Nothing },
                retracts: self.retracts,
                announce,
            },
        )?;
        let form = match Flow::of(&window.kind) {
            Flow::Emissions => KeyedForm::Emissions,
            _ => KeyedForm::Joined,
        };
        let marked = announce == Announce::Marked;
        let schema = marked_if(marked, &schema);
        let node = self.add_keyed(from, "window", errors, operator, (&input, &schema), form);
        let base = datafusion_expr::UserDefinedLogicalNodeCore::schema(window);
        let mut pipe = self.pipe_from(node, schema, errors, base);
        pipe.mark(marked)?;
        pipe.flow = Flow::of(&window.kind);
        Ok(pipe)
    }

    /// SELECT DISTINCT, and UNION without ALL.
    pub(super) fn distinct(&mut self, input: &LogicalPlan) -> Result<Pipe, Diagnostic> {
        let ttl = self.plan.state_ttl(input);
        let by_event_time = self.plan.time_domain(input) == TimeDomain::Event;
        let in_order = self.in_order;
        self.in_order |= by_event_time && ttl.is_some();
        let retracts = std::mem::replace(&mut self.retracts, true);
        let pipe = self.pipe(input);
        (self.retracts, self.in_order) = (retracts, in_order);
        let pipe = pipe?;
        let flow = pipe.flow;
        self.no_changes(flow, "DISTINCT")?;
        let schema = Arc::new(input.schema().as_arrow().clone());
        let (from, errors) = self.flush(pipe, &schema)?;
        let bound = match (flow, ttl) {
            (Flow::Emissions, _) => Bound::Emission,
            (Flow::Changes { .. } | Flow::Changelog, _) => Bound::Present,
            (Flow::Inserts, Some(ttl)) => Bound::Unseen(ttl),
            (Flow::Inserts, None) => {
                self.plan
                    .warnings
                    .push(grows_for_ever("DISTINCT remembers every different row"));
                Bound::Never
            }
        };
        let operator = DistinctPlan {
            bound,
            schema: schema.clone(),
        };
        let comparable = operator.groups().map(|_| ());
        comparable.map_err(|error| Diagnostic::new(Code::Type, error.to_string()))?;
        let operator: Arc<dyn OperatorPlan> = Arc::new(operator);
        let node = match flow {
            Flow::Emissions => self.add_after(from, "distinct", errors, operator),
            _ => self.add_groups(from, "distinct", errors, operator, (&schema, &schema)),
        };
        let mut pipe = self.pipe_from(node, schema, errors, input.schema());
        pipe.flow = flow;
        Ok(pipe)
    }

    /// Functions with OVER.
    pub(super) fn over(&mut self, window: &Window) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&window.input);
        let by_event_time = domain == TimeDomain::Event;
        let disorders = disorders(&window.input);
        let in_order = std::mem::replace(&mut self.in_order, by_event_time && !disorders);
        let pipe = self.pipe(&window.input);
        self.in_order = in_order;
        let mut pipe = pipe?;
        if pipe.flow == Flow::Changelog {
            return Err(cannot_retract(
                "OVER looks back at events, and those of a changelog may be taken back",
            ));
        }
        if pipe.flow != Flow::Inserts {
            let error = Diagnostic::new(Code::Unstreamable, "OVER has a frame of its own, so it takes no WINDOW");
            return Err(error.hint("give OVER a frame: RANGE BETWEEN 10 SECONDS PRECEDING AND CURRENT ROW"));
        }
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, window.input.schema())?;
        }
        let operators = OverOperators::new(window, domain)?;
        let exprs = operators.inputs.iter().map(|expr| pipe.physical(expr));
        pipe.projection = Some(exprs.collect::<Result<_, _>>()?);
        let (mut node, errors) = self.flush(pipe, &operators.input)?;
        let sorted: Option<Arc<dyn OperatorPlan>> = (by_event_time && disorders).then(|| {
            let schema = operators.input.clone();
            Arc::new(EventTimeOrderPlan { schema }) as _
        });
        if let Some(sorted) = sorted {
            let key = self.plan.nodes[node].key;
            node = self.add_after(node, "in_order", errors, sorted);
            self.plan.nodes[node].key = key;
        }
        if let Some(over) = operators.over {
            let (input, schema) = (over.input.clone(), over.schema.clone());
            node = self.add_groups(node, "over", errors, Arc::new(over), (&input, &schema));
        }
        if let Some(lead) = operators.lead {
            let (input, schema) = (lead.input.clone(), lead.schema.clone());
            node = self.add_groups(node, "lead", errors, Arc::new(lead), (&input, &schema));
        }
        let schema = Arc::new(window.schema.as_arrow().clone());
        Ok(self.pipe_from(node, schema, errors, &window.schema))
    }

    /// An aggregation over windows on a grid, slice by slice.
    pub(super) fn slices(&mut self, aggregate: &Aggregate, sliced: &Sliced) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&sliced.input);
        let ordered = sliced.ordered || self.changes;
        let in_order = std::mem::replace(&mut self.in_order, ordered && domain == TimeDomain::Event);
        let pipe = self.pipe(&sliced.input);
        self.in_order = in_order;
        let (from, errors, mut columns, input) =
            self.aggregated(of_inserts(pipe?)?, aggregate, &sliced.input, &sliced.bounds)?;
        let mut aggregation = columns.plan(Flow::Inserts, self.output, input)?;
        if self.changes {
            aggregation.form = Form::Changes;
        }
        let operator = SliceAggregatePlan {
            grid: sliced.grid,
            domain,
            aggregate: aggregation,
            columns: columns.columns,
        };
        let schema = operator.aggregate.schema.clone();
        let node = self.add("slices", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &aggregate.schema);
        pipe.flow = Flow::Emissions;
        Ok(pipe)
    }

    /// An aggregation over sessions, session by session.
    pub(super) fn sessions(&mut self, aggregate: &Aggregate, sessions: &Sessions) -> Result<Pipe, Diagnostic> {
        let domain = self.plan.time_domain(&sessions.input);
        let in_order = std::mem::replace(&mut self.in_order, sessions.ordered && domain == TimeDomain::Event);
        let pipe = self.pipe(&sessions.input);
        self.in_order = in_order;
        let (from, errors, mut columns, input) =
            self.aggregated(of_inserts(pipe?)?, aggregate, &sessions.input, &sessions.bounds)?;
        let operator = SessionAggregatePlan {
            gap: sessions.gap,
            lateness: sessions.lateness,
            domain,
            aggregate: columns.plan(Flow::Inserts, self.output, input)?,
            columns: columns.columns,
            form: match self.sorts {
                true => KeyedForm::Emissions,
                false => KeyedForm::Joined,
            },
        };
        let schema = operator.aggregate.schema.clone();
        let node = self.add("sessions", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &aggregate.schema);
        pipe.flow = Flow::Emissions;
        Ok(pipe)
    }

    /// Computes the columns that an aggregation reads: the node that gives them.
    pub(super) fn aggregated(
        &mut self,
        mut pipe: Pipe,
        aggregate: &Aggregate,
        input: &LogicalPlan,
        bounds: &Bounds,
    ) -> Result<(NodeId, StreamId, AggregateColumns, SchemaRef), Diagnostic> {
        if pipe.projection.is_some() {
            pipe = self.flushed(pipe, input.schema())?;
        }
        let columns = AggregateColumns::new(aggregate, bounds)?;
        pipe.project(columns.inputs.iter().map(|(expr, _)| expr))?;
        let schema = columns.input_schema();
        let (from, errors) = self.flush(pipe, &schema)?;
        Ok((from, errors, columns, schema))
    }

    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Pipe, Diagnostic> {
        let apart = self.partition.is_some() && self.sorts;
        if !self.output.expired
            && !apart
            && let Some(sliced) = sliced(aggregate)
            // An event in several windows has a running row in each, which a sum of slices does not give.
            && (!self.changes || sliced.grid.is_tumbling())
        {
            return self.slices(aggregate, &sliced);
        }
        // A session's key is the window's; in a PARTITION its key comes on top.
        if !self.output.expired
            && !self.changes
            && self.partition.is_none()
            && let Some(sessions) = sessions(aggregate)
        {
            return self.sessions(aggregate, &sessions);
        }
        let before = (self.retracts, self.holds);
        (self.retracts, self.holds) = (true, false);
        let pipe = self.pipe(&aggregate.input);
        (self.retracts, self.holds) = before;
        let pipe = pipe?;
        let flow = pipe.flow;
        let marked = pipe.marked;
        if self.changes && flow == Flow::Emissions && !marked {
            let error = Diagnostic::new(
                Code::Unstreamable,
                "EMIT CHANGES is for one aggregation over the window",
            );
            return Err(error.hint("send the first one to a stream with INSERT INTO, and aggregate that"));
        }
        let (from, errors, mut columns, input) =
            self.aggregated(pipe, aggregate, &aggregate.input, &Bounds::default())?;
        let mut operator = columns.plan(flow, self.output, input.clone())?;
        operator.window_keys = columns.window_keys(aggregate, &passed_bounds(&aggregate.input));
        if marked {
            operator.form = Form::Changes;
        }
        let schema = operator.schema.clone();
        let expired = operator.expired;
        let node = self.add_aggregation(from, "aggregate", errors, operator, &input);
        let mut pipe = self.pipe_from(node, schema, errors, &aggregate.schema);
        pipe.flow = match flow {
            Flow::Changes { .. } if !expired => Flow::Inserts,
            Flow::Changelog => Flow::Inserts,
            flow => flow,
        };
        Ok(pipe)
    }
}

/// What a window can hold: events, not the changes of another window.
fn of_inserts(pipe: Pipe) -> Result<Pipe, Diagnostic> {
    match pipe.flow {
        Flow::Inserts => Ok(pipe),
        Flow::Changelog => Err(cannot_retract(
            "a window holds events, and those of a changelog may be taken back",
        )),
        _ => Err(Diagnostic::new(
            Code::Unstreamable,
            "a window cannot hold what another window gives in the same query",
        )
        .hint("send the first to a stream with INSERT INTO, and read that")),
    }
}

/// A warning about state that grows for ever.
fn grows_for_ever(what: &str) -> Diagnostic {
    let warning = Diagnostic::new(
        Code::Unstreamable,
        format!("{what}, so its memory grows with the stream"),
    );
    warning
        .hint("give the stream a WINDOW, or 'state.ttl' = '1 hour', after which what was not seen again is forgotten")
}
