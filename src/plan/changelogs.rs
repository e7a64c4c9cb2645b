//! Which streams are changelogs: those with a PRIMARY KEY, and those that a query with updates or deletes feeds.

use std::collections::BTreeSet;

use datafusion_common::JoinType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Join, LogicalPlan};

use super::access::is_static;
use super::broadcast_node::BroadcastNode;
use super::compile::CompiledQuery;
use super::context::Source;
use super::interval::interval_of;
use super::lower_top_n::{closing, top_n};
use super::window_node::WindowNode;
use crate::catalog::streams::StreamDef;
use std::collections::BTreeMap;

/// The streams whose events may be updates and deletes.
pub fn changelog_streams<'a>(
    streams: impl Iterator<Item = &'a StreamDef> + Clone,
    queries: &[CompiledQuery],
    event_time: &BTreeSet<String>,
    times: &BTreeMap<String, usize>,
) -> BTreeSet<String> {
    let keyed = streams.clone().filter(|stream| !stream.primary_key.is_empty());
    let mut found: BTreeSet<String> = keyed.map(|stream| stream.name.clone()).collect();
    let closing = closing(streams.clone());
    let windows: BTreeSet<&str> = streams
        .filter(|stream| stream.window.is_some())
        .map(|stream| stream.name.as_str())
        .collect();
    let view = |found: &BTreeSet<String>| View {
        found: found.clone(),
        windows: windows.clone(),
        closing: &closing,
        event_time,
        times,
    };
    loop {
        let before = found.len();
        for query in queries {
            if query.rate.is_none() && query.write.is_none() && view(&found).gives(&query.plan) {
                found.insert(query.target.clone());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

struct View<'a> {
    found: BTreeSet<String>,
    windows: BTreeSet<&'a str>,
    closing: &'a BTreeSet<&'a str>,
    event_time: &'a BTreeSet<String>,
    times: &'a BTreeMap<String, usize>,
}

impl View<'_> {
    /// Whether a plan gives updates or deletes.
    fn gives(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let source = Source::of(scan);
                source.is_some_and(|source| source.table.is_none() && self.found.contains(&source.stream))
            }
            LogicalPlan::Limit(limit) if top_n(limit, &|name| self.closing.contains(name)).is_some() => true,
            LogicalPlan::Extension(extension) if extension.node.as_any().is::<BroadcastNode>() => {
                extension.node.inputs().into_iter().any(|input| self.gives(input))
            }
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Extension(_) => false,
            LogicalPlan::Join(join) => self.joins(join),
            other => other.inputs().into_iter().any(|input| self.gives(input)),
        }
    }

    fn joins(&self, join: &Join) -> bool {
        let sides = [&join.left, &join.right];
        match sides.map(|side| is_static(side)) {
            [false, true] => return self.gives(&join.left),
            [true, false] => return self.gives(&join.right),
            _ => {}
        }
        if sides.iter().any(|side| self.is_windowed(side)) {
            return false;
        }
        let changes = sides.iter().any(|side| self.gives(side));
        let timed = sides.iter().all(|side| self.is_timed(side));
        let interval = timed && !changes && interval_of(join, self.times).is_some();
        changes || join.join_type != JoinType::Inner && !interval
    }

    /// Whether the rows of a join's side are what a window holds.
    fn is_windowed(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let source = Source::of(scan);
                source.is_some_and(|source| self.windows.contains(source.stream.as_str()))
            }
            LogicalPlan::Extension(extension) if extension.node.as_any().is::<WindowNode>() => true,
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => false,
            other => other.inputs().into_iter().any(|input| self.is_windowed(input)),
        }
    }

    fn is_timed(&self, plan: &LogicalPlan) -> bool {
        let mut timed = true;
        let _ = plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(source) = Source::of(scan)
            {
                timed &= source.table.is_some() || self.event_time.contains(&source.stream);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        timed
    }
}
