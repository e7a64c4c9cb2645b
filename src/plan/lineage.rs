//! Where a column of a plan comes from, as long as nothing is done to it on the way.

use std::collections::BTreeMap;

use datafusion_common::Column;
use datafusion_expr::{Expr, LogicalPlan};

use super::broadcast_node::BroadcastNode;
use super::compile::CompiledQuery;
use super::context::Source;
use super::event_time_node::EventTimeNode;
use super::trigger_side_node::TriggerSideNode;
use super::window_node::WindowNode;
use crate::catalog::streams::StreamDef;

/// The column of each stream that holds the events' time, where there is one: the WATERMARK's, or what comes from it.
pub fn time_columns<'a>(
    streams: impl Iterator<Item = &'a StreamDef>,
    queries: &[CompiledQuery],
) -> BTreeMap<String, usize> {
    let declared = streams.filter_map(|stream| Some((stream.name.clone(), stream.watermark.as_ref()?.column)));
    let mut times: BTreeMap<String, usize> = declared.collect();
    loop {
        let before = times.len();
        for query in queries {
            if times.contains_key(&query.target) {
                continue;
            }
            let width = query.plan.schema().fields().len();
            let all = queries.iter().filter(|other| other.target == query.target);
            let all: Vec<&LogicalPlan> = all.map(|query| &query.plan).collect();
            let column = (0..width).find(|&column| all.iter().all(|plan| is_time(plan, column, &times)));
            if let Some(column) = column {
                times.insert(query.target.clone(), column);
            }
        }
        if times.len() == before {
            return times;
        }
    }
}

/// Whether a column of a plan holds the event time of its rows.
pub fn is_time(plan: &LogicalPlan, column: usize, times: &BTreeMap<String, usize>) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = Source::of(scan);
            let index = scan.projection.as_ref().map_or(Some(&column), |read| read.get(column));
            let time = source
                .filter(|source| source.table.is_none())
                .and_then(|source| times.get(&source.stream));
            time.is_some() && time == index
        }
        LogicalPlan::SubqueryAlias(alias) => is_time(&alias.input, column, times),
        LogicalPlan::Filter(filter) => is_time(&filter.input, column, times),
        LogicalPlan::Window(window) if column < window.input.schema().fields().len() => {
            is_time(&window.input, column, times)
        }
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_time(input, column, times)),
        LogicalPlan::Projection(projection) => {
            let Some(Expr::Column(read)) = projection.expr.get(column).map(|expr| expr.clone().unalias()) else {
                return false;
            };
            let index = projection.input.schema().maybe_index_of_column(&read);
            index.is_some_and(|index| is_time(&projection.input, index, times))
        }
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            if let Some(node) = node.downcast_ref::<EventTimeNode>() {
                return node.input.schema().maybe_index_of_column(&node.column) == Some(column);
            }
            let window = node.downcast_ref::<WindowNode>();
            if let Some(window) = window.filter(|window| column < window.input_columns()) {
                return is_time(&window.input, column, times);
            }
            let all = node.downcast_ref::<BroadcastNode>();
            if let Some(all) = all.filter(|all| column < all.input.schema().fields().len()) {
                return is_time(&all.input, column, times);
            }
            let side = node.downcast_ref::<TriggerSideNode>();
            side.is_some_and(|side| is_time(&side.input, column, times))
        }
        _ => false,
    }
}

/// Whether a column, by its name, holds the event time of a plan's rows.
pub fn is_time_column(plan: &LogicalPlan, column: &Column, times: &BTreeMap<String, usize>) -> bool {
    let index = plan.schema().maybe_index_of_column(column);
    index.is_some_and(|index| is_time(plan, index, times))
}
