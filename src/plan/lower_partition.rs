//! Lowering of PARTITION: what tells which keys are alive, what has state for each key, what goes to every key.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::{LogicalPlan, UserDefinedLogicalNodeCore};

use super::broadcast_node::BroadcastNode;
use super::lower::{Flow, Lowering, Pipe};
use super::partition::PARTITION_KEY;
use super::stream_plan::{NodeId, StreamId};
use crate::error::{Code, Diagnostic};
use crate::operators::OperatorPlan;
use crate::operators::aggregate_plan::{AggregatePlan, Form};
use crate::operators::broadcast::{BroadcastForm, BroadcastPlan};
use crate::operators::keyed::{KeyedBy, KeyedForm, KeyedPlan};
use crate::operators::partition_keys::PartitionKeysPlan;
use crate::windows::TimeDomain;

impl Lowering<'_> {
    /// The node that tells which keys are alive, after the keys of the partitioned streams' events.
    pub(super) fn keys(&mut self, keys: &[LogicalPlan]) -> Result<NodeId, Diagnostic> {
        self.in_order = self.partition.is_some_and(|block| block.in_order);
        let mut fed = Vec::with_capacity(keys.len());
        for key in keys {
            let schema = Arc::new(key.schema().as_arrow().clone());
            let pipe = self.pipe(key)?;
            fed.push((self.flush(pipe, &schema)?, schema));
        }
        let Some(((_, errors), schema)) = fed.first() else {
            return Err(Diagnostic::new(Code::Syntax, "a PARTITION without keys"));
        };
        let operator = PartitionKeysPlan {
            key_type: schema.field(0).data_type().clone(),
            purge: self.partition.and_then(|block| block.purge),
        };
        let node = self.add("keys", *errors, Arc::new(operator));
        for ((from, _), _) in fed {
            self.plan.connect(from, node);
        }
        Ok(node)
    }

    /// A stream that goes to every partition alive.
    pub(super) fn broadcast(&mut self, broadcast: &BroadcastNode) -> Result<Pipe, Diagnostic> {
        let block = self.partition.and_then(|block| Some((block, block.keys?)));
        let Some((block, keys)) = block else {
            return Err(Diagnostic::new(
                Code::Unsupported,
                "nothing tells which partitions there are",
            ));
        };
        let by_event_time = block.in_order && self.plan.time_domain(&broadcast.input) == TimeDomain::Event;
        let in_order = self.in_order;
        self.in_order |= by_event_time;
        let pipe = self.pipe(&broadcast.input);
        self.in_order = in_order;
        let pipe = pipe?;
        let flow = pipe.flow;
        let input = Arc::new(broadcast.input.schema().as_arrow().clone());
        let (from, errors) = self.flush(pipe, &input)?;
        let schema = Arc::new(broadcast.schema().as_arrow().clone());
        let operator = BroadcastPlan {
            key_type: broadcast.key_type.clone(),
            domain: match by_event_time {
                true => TimeDomain::Event,
                false => TimeDomain::Processing,
            },
            form: match self.chunks || flow == Flow::Emissions {
                true => BroadcastForm::Batches,
                false => BroadcastForm::Events,
            },
            schema: schema.clone(),
        };
        let node = self.add_after(from, "to_every_partition", errors, Arc::new(operator));
        match by_event_time {
            true => self.plan.connect(keys, node),
            false => self.plan.connect_control(keys, node),
        }
        let mut pipe = self.pipe_from(node, schema, errors, broadcast.schema());
        pipe.flow = flow;
        Ok(pipe)
    }

    /// Adds an operator with state behind a node: in a PARTITION one for each key, which its input has as a column. `schemas`
    /// are what comes in and what goes out.
    pub(super) fn add_keyed(
        &mut self,
        from: NodeId,
        kind: &str,
        errors: StreamId,
        operator: Arc<dyn OperatorPlan>,
        (input, schema): (&SchemaRef, &SchemaRef),
        form: KeyedForm,
    ) -> NodeId {
        let (Some(block), Some(key)) = (self.partition, key_column(input)) else {
            return self.add_after(from, kind, errors, operator);
        };
        let keys = KeyedBy {
            columns: vec![key],
            data_type: input.field(key).data_type().clone(),
            purge: block.purge,
        };
        let operator = match operator.for_keys(&keys) {
            Some(operator) => operator,
            None => Arc::new(KeyedPlan {
                operator,
                keys,
                form,
                schema: schema.clone(),
            }),
        };
        let node = self.add_after(from, kind, errors, operator);
        if let (Some(keys), Some(_)) = (block.keys, block.purge) {
            self.plan.connect_control(keys, node);
        }
        node
    }

    /// Adds an operator that keeps groups behind a node: in a PARTITION that forgets idle keys one for each key, so that its groups
    /// go with them.
    pub(super) fn add_groups(
        &mut self,
        from: NodeId,
        kind: &str,
        errors: StreamId,
        operator: Arc<dyn OperatorPlan>,
        schemas: (&SchemaRef, &SchemaRef),
    ) -> NodeId {
        match self.partition.and_then(|block| block.purge) {
            Some(_) => self.add_keyed(from, kind, errors, operator, schemas, KeyedForm::Joined),
            None => self.add_after(from, kind, errors, operator),
        }
    }

    /// The same for an aggregation, unless it keeps nothing from one emission to the next.
    pub(super) fn add_aggregation(
        &mut self,
        from: NodeId,
        kind: &str,
        errors: StreamId,
        operator: AggregatePlan,
        input: &SchemaRef,
    ) -> NodeId {
        let keeps = operator.form != Form::Emission || operator.remembers();
        let form = match operator.form {
            Form::Running | Form::Latest => KeyedForm::Joined,
            Form::Emission | Form::Changes => KeyedForm::Emissions,
        };
        let schema = operator.schema.clone();
        match self.partition.and_then(|block| block.purge).filter(|_| keeps) {
            Some(_) => self.add_keyed(from, kind, errors, Arc::new(operator), (input, &schema), form),
            None => self.add_after(from, kind, errors, Arc::new(operator)),
        }
    }

    /// Adds an operator behind a node.
    pub(super) fn add_after(
        &mut self,
        from: NodeId,
        kind: &str,
        errors: StreamId,
        operator: Arc<dyn OperatorPlan>,
    ) -> NodeId {
        let node = self.add(kind, errors, operator);
        self.plan.connect(from, node);
        node
    }
}

/// Whether a plan reads a stream that goes to every partition.
pub(super) fn has_broadcast(plan: &LogicalPlan) -> bool {
    let found = plan.exists(|node| match node {
        LogicalPlan::Extension(extension) => Ok(extension.node.as_any().is::<BroadcastNode>()),
        _ => Ok(false),
    });
    found.unwrap_or(true)
}

/// The column of the key of a PARTITION. Inside of a query its name may have the relation's in front.
pub(super) fn key_column(schema: &SchemaRef) -> Option<usize> {
    let mut fields = schema.fields().iter();
    fields.position(|field| field.name().rsplit('.').next() == Some(PARTITION_KEY))
}
