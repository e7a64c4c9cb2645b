//! Lowering of joins of a stream and a table: lookups.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::datasource::provider_as_source;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError, JoinType, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, TableScan};

use super::access::{Lookups, TableSide, conjuncts, is_table_column};
use super::context::Source;
use super::lower::{Lowering, Pipe};
use super::lower_aggregate::is_wildcard;
use super::physical::internal;
use super::stream_plan::{NodeId, StreamId};
use crate::error::{Code, Diagnostic};
use crate::operators::join::spec::Side;
use crate::operators::lookup_join::{LookupJoinPlan, LookupKind};
use crate::operators::table_query_join::{EVENT_ROW, EVENTS, TableQueryJoinPlan, numbered_schema};
use crate::tables::provider::SlotProvider;

impl Lowering<'_> {
    /// A join of which one side, `table`, reads tables only.
    pub(super) fn table_join(&mut self, join: &Join, table: Side) -> Result<Pipe, Diagnostic> {
        let (events, rows) = match table {
            Side::Left => (&join.right, &join.left),
            Side::Right => (&join.left, &join.right),
        };
        let kind = lookup_kind(join.join_type, table)?;
        let Some(side) = TableSide::of(rows)? else {
            return self.table_query_join(join, table, kind);
        };
        let pipe = self.pipe(events)?;
        let flow = pipe.flow;
        let schema = Arc::new(events.schema().as_arrow().clone());
        let (from, errors) = self.flush(pipe, &schema)?;
        let gives_rows = matches!(kind, LookupKind::Inner | LookupKind::Outer);
        let read = if gives_rows { side.indices() } else { Vec::new() };
        let conjuncts = conjuncts(join, &side, table == Side::Right)?;
        let from = match join.null_aware {
            true => self.without_unknown(from, errors, events.schema(), &side, &conjuncts)?,
            false => from,
        };
        let lookup = Lookups {
            table: &side.table,
            events: events.schema().clone(),
            conjuncts,
            columns: read.clone(),
        };
        let lookup = lookup.plan()?;
        let width = schema.fields().len();
        let place = |column: &usize| lookup.columns.binary_search(column).map(|place| width + place);
        let places: Result<Vec<usize>, _> = read.iter().map(place).collect();
        let places = places.map_err(|_| Diagnostic::new(Code::UnknownColumn, "a column that is read was not kept"))?;
        let output: Vec<usize> = match (kind, table) {
            (LookupKind::Semi | LookupKind::Anti, _) => (0..width).collect(),
            (LookupKind::Mark, _) => (0..width).chain([width + lookup.columns.len()]).collect(),
            (_, Side::Right) => (0..width).chain(places).collect(),
            (_, Side::Left) => places.into_iter().chain(0..width).collect(),
        };
        let schema = Arc::new(join.schema.as_arrow().clone());
        let operator = LookupJoinPlan {
            lookup,
            kind,
            output,
            schema: schema.clone(),
        };
        let node = self.add("lookup", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &join.schema);
        pipe.flow = flow;
        Ok(pipe)
    }
}

impl Lowering<'_> {
    /// Takes out the events of which `x NOT IN (SELECT c FROM T WHERE …)` is unknown: there are such rows, and `x` is NULL or
    /// `c` is in one of them. `x = c` is the first of the conditions between columns of both.
    fn without_unknown(
        &mut self,
        mut from: NodeId,
        errors: StreamId,
        events: &DFSchemaRef,
        side: &TableSide,
        conjuncts: &[Expr],
    ) -> Result<NodeId, Diagnostic> {
        let equality = side.filters.len();
        let Some(Expr::BinaryExpr(compared)) = conjuncts.get(equality).filter(|first| is_equality(first)) else {
            return Ok(from);
        };
        let schema = Arc::new(events.as_arrow().clone());
        let fields = &side.table.def().schema;
        for value in [&compared.left, &compared.right] {
            let of_table = value.column_refs().into_iter().find(|column| is_table_column(column));
            let nullable = |column: &Column| fields.field_with_name(&column.name).map_or(true, Field::is_nullable);
            if !of_table.is_none_or(nullable) {
                continue;
            }
            let mut conjuncts = conjuncts.to_vec();
            conjuncts[equality] = value.as_ref().clone().is_null();
            let lookup = Lookups {
                table: &side.table,
                events: events.clone(),
                conjuncts,
                columns: Vec::new(),
            };
            let operator = LookupJoinPlan {
                lookup: lookup.plan()?,
                kind: LookupKind::Anti,
                output: (0..schema.fields().len()).collect(),
                schema: schema.clone(),
            };
            let node = self.add("unknown", errors, Arc::new(operator));
            self.plan.connect(from, node);
            from = node;
        }
        Ok(from)
    }

    /// A join with what a query over tables gives.
    fn table_query_join(&mut self, join: &Join, table: Side, kind: LookupKind) -> Result<Pipe, Diagnostic> {
        let (events, rows) = match table {
            Side::Left => (&join.right, &join.left),
            Side::Right => (&join.left, &join.right),
        };
        let pipe = self.pipe(events)?;
        let flow = pipe.flow;
        let events_schema = Arc::new(events.schema().as_arrow().clone());
        let (from, errors) = self.flush(pipe, &events_schema)?;
        let numbered = events_scan(events.schema())?;
        let (left, right) = match table {
            Side::Left => (with_providers(rows.as_ref().clone())?, numbered),
            Side::Right => (numbered, with_providers(rows.as_ref().clone())?),
        };
        let join_type = match (kind, table) {
            (LookupKind::Inner, _) => JoinType::Inner,
            (LookupKind::Outer, Side::Right) => JoinType::Left,
            (LookupKind::Outer, Side::Left) => JoinType::Right,
            _ => join.join_type,
        };
        let joined = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on.clone(),
            join.filter.clone(),
            join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        );
        let joined = LogicalPlanBuilder::from(LogicalPlan::Join(joined.map_err(internal)?));
        let mut columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        columns.push(Expr::Column(Column::new_unqualified(EVENT_ROW)));
        let query = joined
            .project(columns)
            .and_then(|plan| plan.build())
            .map_err(internal)?;
        let schema = Arc::new(join.schema.as_arrow().clone());
        let operator = TableQueryJoinPlan {
            query,
            events: events_schema,
            schema: schema.clone(),
        };
        let node = self.add("table_query", errors, Arc::new(operator));
        self.plan.connect(from, node);
        let mut pipe = self.pipe_from(node, schema, errors, &join.schema);
        pipe.flow = flow;
        Ok(pipe)
    }
}

fn is_equality(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(binary) if binary.op == Operator::Eq)
}

/// A scan that stands for events, under the names that a query has for their columns.
fn events_scan(schema: &DFSchema) -> Result<LogicalPlan, Diagnostic> {
    let numbered = numbered_schema(schema.as_arrow());
    let source = Arc::new(Source::stream(EVENTS, numbered));
    let scan = LogicalPlanBuilder::scan(EVENTS, source, None).map_err(internal)?;
    let number = Expr::Column(Column::new(Some(EVENTS), EVENT_ROW)).alias(EVENT_ROW);
    let columns = schema.iter().enumerate().map(|(number, (qualifier, field))| {
        let column = Expr::Column(Column::new(Some(EVENTS), format!("c{number}")));
        match qualifier {
            Some(qualifier) => column.alias_qualified(Some(qualifier.clone()), field.name()),
            None => column.alias(field.name()),
        }
    });
    scan.project(columns.chain([number]))
        .and_then(|plan| plan.build())
        .map_err(internal)
}

/// What becomes of events, which alone trigger: unmatched rows of the table never come.
fn lookup_kind(join_type: JoinType, table: Side) -> Result<LookupKind, Diagnostic> {
    let keeps_events = |side: Side| side != table;
    Ok(match join_type {
        JoinType::Inner => LookupKind::Inner,
        JoinType::Left if keeps_events(Side::Left) => LookupKind::Outer,
        JoinType::Right if keeps_events(Side::Right) => LookupKind::Outer,
        JoinType::Left | JoinType::Right => LookupKind::Inner,
        JoinType::Full => LookupKind::Outer,
        JoinType::LeftSemi if keeps_events(Side::Left) => LookupKind::Semi,
        JoinType::RightSemi if keeps_events(Side::Right) => LookupKind::Semi,
        JoinType::LeftAnti if keeps_events(Side::Left) => LookupKind::Anti,
        JoinType::RightAnti if keeps_events(Side::Right) => LookupKind::Anti,
        JoinType::LeftMark if keeps_events(Side::Left) => LookupKind::Mark,
        JoinType::RightMark if keeps_events(Side::Right) => LookupKind::Mark,
        _ => {
            let error = Diagnostic::new(Code::Unstreamable, "a table's rows cannot be kept by what a stream has");
            return Err(error.hint("keep the stream's events in a table, and ask both on demand"));
        }
    })
}

/// The scans of a plan that read tables, as the batch engine reads them.
pub fn with_providers(plan: LogicalPlan) -> Result<LogicalPlan, Diagnostic> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(Transformed::no(node));
        };
        let source = Source::of(&scan);
        Ok(match source.and_then(|source| source.table.clone()) {
            Some(slot) => {
                let source = provider_as_source(Arc::new(SlotProvider(slot)));
                Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan }))
            }
            None => Transformed::no(LogicalPlan::TableScan(scan)),
        })
    });
    let counted = replaced
        .map_err(internal)?
        .data
        .transform_up_with_subqueries(count_rows);
    Ok(counted.map_err(internal)?.data)
}

/// `count(*)` as the batch engine counts rows.
fn count_rows(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let names = NamePreserver::new_for_projection();
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let counted = expr.transform_up(|expr| match expr {
            Expr::AggregateFunction(mut call) if call.params.args.iter().any(is_wildcard) => {
                call.params.args = vec![Expr::Literal(ScalarValue::Int64(Some(1)), None)];
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            expr => Ok(Transformed::no(expr)),
        })?;
        Ok(match counted.transformed {
            true => counted.update_data(|expr| name.restore(expr)),
            false => counted,
        })
    })
}
