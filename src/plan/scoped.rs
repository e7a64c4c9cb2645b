//! What the queries of a PARTITION read: streams with the key as a column.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::Column;
use datafusion_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder};
use eventflux_sqlparser::{Partition, PartitionKey, Query};
use sqlparser::tokenizer::Span;

use super::broadcast_node::BroadcastNode;
use super::compile::{Compiler, Pending};
use super::context::Source;
use super::logical::Planner;
use super::partition::{PARTITION_KEY, Scope, keyed_stream};
use super::{failure, resolve};
use crate::catalog::names::{Resolved, resolve as resolve_name};
use crate::error::{Code, Diagnostic};
use crate::operators::keyed::Purge;

/// A PARTITION with the plans of its keys.
pub(super) struct CompiledPartition {
    /// When unused keys are forgotten.
    pub(super) purge: Option<Purge>,
    /// For each partitioned stream, the key of its events.
    pub(super) keys: Vec<LogicalPlan>,
    /// Where it begins.
    pub(super) span: Span,
}

impl Compiler<'_> {
    /// A PARTITION's keys, their streams by exact names.
    pub(super) fn scope(&self, number: usize, partition: &Partition, span: Span) -> Result<Scope, Diagnostic> {
        // A stream that is only inserted into has its name from there.
        let name = |key: &PartitionKey| match resolve::table(&key.stream, &self.known, self.text) {
            Ok(exact) => exact.value,
            Err(_) => key.stream.value.clone(),
        };
        let streams = partition.keys.iter().map(name).collect();
        Scope::new(number, partition, streams, span, self.text)
    }

    /// The relations of queries in a PARTITION: partitioned streams have their key as a column, others the key of each partition
    /// that they go to.
    pub(super) fn scoped_sources(
        &self,
        scope: &Scope,
        query: &Query,
    ) -> Result<HashMap<String, Arc<Source>>, Diagnostic> {
        let mut sources = self.sources.clone();
        for table in resolve::tables(&query.body, &query.relations) {
            let Some(source) = self.sources.get(&table.value) else {
                continue;
            };
            let mut keys = scope.keys.iter().filter(|(stream, _)| *stream == table.value);
            let source = match keys.next_back() {
                Some((stream, key)) => Source::view(self.keyed(scope, stream, key)?),
                None if scope.carries(&table.value) || source.table.is_some() => continue,
                None => self.broadcast(scope, &table.value, source)?,
            };
            sources.insert(table.value, Arc::new(source));
        }
        Ok(sources)
    }

    /// The partitioned streams' keys, which decide what partitions there are.
    pub(super) fn partitions(&self) -> Result<BTreeMap<usize, CompiledPartition>, Diagnostic> {
        let mut partitions = BTreeMap::new();
        for scope in &self.scopes {
            let keys = scope.keys.iter().map(|(stream, key)| {
                let plan = self.keyed(scope, stream, key)?;
                let key = Expr::Column(Column::new_unqualified(PARTITION_KEY));
                let planner = self.planner();
                let plan = LogicalPlanBuilder::from(plan)
                    .project([key])
                    .and_then(|plan| plan.build());
                let plan = plan.and_then(|plan| planner.optimize(plan));
                plan.map_err(|error| {
                    self.text
                        .at(Diagnostic::new(Code::Unsupported, error.to_string()), scope.span)
                })
            });
            let partition = CompiledPartition {
                purge: scope.purge,
                keys: keys.collect::<Result<_, _>>()?,
                span: scope.span,
            };
            partitions.insert(scope.number, partition);
        }
        Ok(partitions)
    }

    /// The streams whose keys a query of a PARTITION needs to know beside what it reads: one that goes to every partition has keys
    /// of the type of the others.
    pub(super) fn missing_key(&self, pending: &Pending) -> Option<String> {
        let scope = pending.scope.as_ref()?;
        let known = |name: &str| resolve_name(name, self.known.keys().map(String::as_str)) != Resolved::None;
        match scope.keys.iter().any(|(stream, _)| known(stream)) {
            true => None,
            false => scope.keys.first().map(|(stream, _)| stream.clone()),
        }
    }

    fn planner(&self) -> Planner<'_> {
        Planner::new(&self.sources, self.functions)
    }

    /// A partitioned stream's events that have a key, with it.
    fn keyed(&self, scope: &Scope, stream: &str, key: &sqlparser::ast::Expr) -> Result<LogicalPlan, Diagnostic> {
        let mut keyed = keyed_stream(stream, key, scope.keys.len() > 1)?;
        resolve::resolve_query(
            &mut keyed.body,
            &mut keyed.relations,
            &self.known,
            self.functions,
            self.text,
        )
        .map_err(|error| match error.span {
            Some(_) => error,
            None => self.text.at(error, scope.span),
        })?;
        let planner = self.planner();
        let fail = |error| failure::diagnose(&error, &keyed, &planner, self.text);
        let plan = planner.plan(&keyed.body, &[]).map_err(fail)?;
        let plan = planner.analyze(plan).map_err(fail)?;
        let has_key = Expr::Column(Column::new_unqualified(PARTITION_KEY)).is_not_null();
        let plan = LogicalPlanBuilder::from(plan)
            .filter(has_key)
            .and_then(|plan| plan.build());
        plan.map_err(fail)
    }

    /// A stream or view without a key: its events go to every partition.
    fn broadcast(&self, scope: &Scope, name: &str, source: &Arc<Source>) -> Result<Source, Diagnostic> {
        let rows = LogicalPlanBuilder::scan(name, source.clone(), None).and_then(|plan| plan.build());
        let key_type = self.key_type(scope)?;
        let node = rows.and_then(|rows| BroadcastNode::new(rows, key_type));
        let node = node.map_err(|error| {
            self.text
                .at(Diagnostic::new(Code::Unsupported, error.to_string()), scope.span)
        })?;
        Ok(Source::view(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    }

    fn key_type(&self, scope: &Scope) -> Result<DataType, Diagnostic> {
        let known = scope.keys.iter().find(|(stream, _)| self.known.contains_key(stream));
        let Some((stream, key)) = known.or(scope.keys.first()) else {
            return Ok(DataType::Null);
        };
        let plan = self.keyed(scope, stream, key)?;
        let key = plan.schema().fields().last().map(|field| field.data_type().clone());
        Ok(key.unwrap_or(DataType::Null))
    }
}
