//! What belongs to a stream itself: the operators that its events pass before anybody reads them.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::lower::Flow;
use super::lower_window::named_window;
use super::partition::block_of;
use super::stream_plan::{NodeId, PlanNodeKind, StreamPlan, StreamPlanStream};
use super::text::Text;
use super::watermark::bound_of;
use crate::catalog::streams::{Connection, Role, StreamDef};
use crate::error::Diagnostic;
use crate::operators::OperatorPlan;
use crate::operators::event_time_order::EventTimeOrderPlan;
use crate::operators::keyed_changes::KeyedChangesPlan;
use crate::operators::relation_rows::{Deletes, RelationRowsPlan};
use crate::operators::source_time::SourceTimePlan;
use crate::operators::split_rows::SplitRowsPlan;
use crate::operators::trigger::TriggerPlan;
use crate::operators::watermark::WatermarkPlan;
use crate::windows::TimeDomain;

/// A stream's nodes so far, each fed by the one before.
struct Chain<'a> {
    plan: &'a mut StreamPlan,
    def: &'a StreamDef,
    entry: Option<NodeId>,
    last: Option<NodeId>,
}

impl Chain<'_> {
    /// The next operator; `what` it does is a part of its id.
    fn add(&mut self, what: &str, operator: Arc<dyn OperatorPlan>) -> NodeId {
        let id = format!("{}/{what}", self.def.state_id());
        self.push(PlanNodeKind::Operator(operator), id)
    }

    /// The columns of the PRIMARY KEY among those that are wanted.
    fn key(&self, wanted: &[usize]) -> Vec<usize> {
        let key = self.def.primary_key.iter();
        key.filter_map(|column| wanted.binary_search(column).ok()).collect()
    }

    /// What makes events of the changes of a relation. It comes first: they are in the order in which they were made.
    fn relation(&mut self, wanted: &[usize], schema: &SchemaRef) -> NodeId {
        if self.def.source_tells_time() {
            let idle = self.def.settings.idle_timeout;
            self.add("time", Arc::new(SourceTimePlan { idle }));
        }
        let (Role::Source(Connection { options, .. }) | Role::Sink(Connection { options, .. })) = &self.def.role else {
            return self.add("relation", Arc::new(SplitRowsPlan));
        };
        let limit = options
            .integer("max_rows")
            .map_or(usize::MAX, |rows| rows.unsigned_abs() as usize);
        let schema = schema.clone();
        if self.def.primary_key.is_empty() {
            let deletes = match options.text("deletes") {
                Some("ignore") => Deletes::Ignored,
                _ => Deletes::Refused,
            };
            return self.add("relation", Arc::new(RelationRowsPlan { schema, deletes, limit }));
        }
        let key = self.key(wanted);
        let limit = Some(limit);
        self.add("changes", Arc::new(KeyedChangesPlan { key, schema, limit }))
    }

    fn push(&mut self, kind: PlanNodeKind, id: String) -> NodeId {
        // Streams are numbered in the order in which they are added.
        let stream = self.plan.streams.len();
        let node = self.plan.add(kind, None, stream, id);
        if let Some(last) = self.last {
            self.plan.connect(last, node);
        }
        self.entry = self.entry.or(Some(node));
        self.last = Some(node);
        node
    }
}

/// Adds a stream that has the columns `wanted`. `split`: its events go on one by one.
pub(super) fn add_stream(
    plan: &mut StreamPlan,
    def: &Arc<StreamDef>,
    wanted: Arc<[usize]>,
    split: bool,
    text: &Text,
) -> Result<(), Diagnostic> {
    let fields = wanted.iter().map(|&index| def.schema.fields()[index].clone());
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let event_time = plan.event_time.contains(&def.name);
    let mut chain = Chain {
        plan,
        def,
        entry: None,
        last: None,
    };
    if let Role::Trigger(schedule) = &def.role {
        let operator = TriggerPlan {
            schedule: schedule.clone(),
            schema: def.schema.clone(),
        };
        chain.add("trigger", Arc::new(operator));
    }
    let relation = def.copies_relation().then(|| chain.relation(&wanted, &schema));
    if let Some(watermark) = &def.watermark {
        let operator = WatermarkPlan {
            column: wanted.binary_search(&watermark.column).unwrap_or_default(),
            name: def.schema.field(watermark.column).name().clone(),
            bound: bound_of(def, watermark, text)?,
            late: def.settings.late.clone(),
            idle: def.settings.idle_timeout,
        };
        chain.add("watermark", Arc::new(operator));
    }
    if def.settings.ordered {
        let schema = schema.clone();
        chain.add("order", Arc::new(EventTimeOrderPlan { schema }));
    }
    if !def.primary_key.is_empty() && relation.is_none() {
        let key = chain.key(&wanted);
        let limit = None;
        chain.add("changes", Arc::new(KeyedChangesPlan { key, schema, limit }));
    }
    // What a window gives for one event is several changes, of which each goes its ways before the next.
    let (split, split_behind) = match &def.window {
        None => (split, false),
        Some(window) => (false, split && Flow::of(&window.kind) != Flow::Emissions),
    };
    if split {
        chain.add("rows", Arc::new(SplitRowsPlan));
    }
    let mut content = None;
    let mut held_by = None;
    if let Some(window) = &def.window {
        let domain = match event_time {
            true => TimeDomain::Event,
            false => TimeDomain::Processing,
        };
        for (kind, operator) in named_window(window, &def.schema, domain).map_err(|error| text.finish(error))? {
            let node = chain.add(kind, operator);
            if kind == "window" {
                held_by = Some(node);
            }
            // What it is declared to give may be less than what it holds.
            if kind != "output" {
                content = Some(node);
            }
        }
    }
    if split_behind {
        let gives_content = chain.last == content;
        let node = chain.add("rows", Arc::new(SplitRowsPlan));
        if gives_content {
            content = Some(node);
        }
    }
    let stream = chain.plan.streams.len();
    let node = chain.push(PlanNodeKind::Stream(stream), def.name.clone());
    let entry = chain.entry.unwrap_or(node);
    for node in &mut plan.nodes[entry..] {
        node.block = block_of(&def.name);
    }
    plan.streams.push(StreamPlanStream {
        def: def.clone(),
        entry,
        node,
        relation,
        content,
        held_by,
        wanted,
    });
    Ok(())
}
