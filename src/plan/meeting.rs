//! Where one event meets itself: streams whose events must go their ways one by one.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_expr::LogicalPlan;

use super::access::is_static;
use super::compile::CompiledQuery;
use super::context::Source;
use super::lower::columns_read;
use crate::catalog::windows::WindowKind;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};

use super::pattern_node::PatternScan;
use super::window_node::WindowNode;

/// The streams by which an event comes to both sides of a join (unless both come when time closes their windows), to a pattern as itself and as what is made of it, or to a table both as a change and as a question. The nearest
/// ones: those from which the ways part.
pub fn streams_to_split(queries: &[CompiledQuery]) -> BTreeSet<String> {
    let feeds = Feeds::of(queries);
    let mut split = BTreeSet::new();
    for query in queries {
        let _ = query.plan.apply(|node| {
            if let LogicalPlan::Join(join) = node
                && !is_static(&join.left)
                && !is_static(&join.right)
                && !holds_chunks(node)
                && (query.changes || !(comes_by_time(&join.left) && comes_by_time(&join.right)))
            {
                feeds.parting(&streams(&join.left), &streams(&join.right), &mut split);
            }
            if let LogicalPlan::Extension(extension) = node
                && let Some(pattern) = extension.node.as_any().downcast_ref::<PatternScan>()
            {
                for (index, input) in pattern.inputs.iter().enumerate() {
                    for other in &pattern.inputs[index + 1..] {
                        feeds.parting(&streams(input), &streams(other), &mut split);
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }
    for writer in queries.iter().filter(|query| query.write.is_some()) {
        for reader in queries
            .iter()
            .filter(|reader| tables(&reader.plan).contains(&writer.target))
        {
            feeds.parting(&streams(&writer.plan), &streams(&reader.plan), &mut split);
        }
    }
    split
}

/// The queries' targets, and what feeds them.
struct Feeds(BTreeMap<String, BTreeSet<String>>);

impl Feeds {
    fn of(queries: &[CompiledQuery]) -> Self {
        let mut feeds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for query in queries.iter().filter(|query| query.write.is_none()) {
            feeds
                .entry(query.target.clone())
                .or_default()
                .extend(streams(&query.plan));
        }
        Feeds(feeds)
    }

    /// All streams that reach one of `from`, and these.
    fn upstream(&self, from: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = from.clone();
        let mut waiting: Vec<String> = from.iter().cloned().collect();
        while let Some(stream) = waiting.pop() {
            for feeding in self.0.get(&stream).into_iter().flatten() {
                if found.insert(feeding.clone()) {
                    waiting.push(feeding.clone());
                }
            }
        }
        found
    }

    fn parting(&self, left: &BTreeSet<String>, right: &BTreeSet<String>, split: &mut BTreeSet<String>) {
        let (all_left, all_right) = (self.upstream(left), self.upstream(right));
        let both: BTreeSet<&String> = all_left.intersection(&all_right).collect();
        for &stream in &both {
            let read = left.contains(stream) || right.contains(stream);
            let goes_on = |target: &&String| {
                let reached = all_left.contains(*target) || all_right.contains(*target);
                reached && !both.contains(target) && self.0[*target].contains(stream)
            };
            if read || self.0.keys().any(|target| goes_on(&target)) {
                split.insert(stream.clone());
            }
        }
    }
}

/// The streams that a plan reads.
fn streams(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut read = BTreeMap::new();
    columns_read(plan, &mut read);
    read.into_keys().collect()
}

/// The tables that a plan reads.
fn tables(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = Source::of(scan)
            && source.table.is_some()
        {
            found.insert(source.stream.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether rows come only when time closes windows, and no event by itself brings any: whether its events come one by one or in
/// batches is then the same.
fn comes_by_time(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Extension(extension) = plan {
        let window = extension.node.as_any().downcast_ref::<WindowNode>();
        return window.is_some_and(|window| {
            let kind = &window.kind;
            matches!(
                kind,
                WindowKind::Hop { .. } | WindowKind::Session { .. } | WindowKind::Cumulate { .. }
            )
        });
    }
    let inputs = plan.inputs();
    !inputs.is_empty() && inputs.into_iter().all(comes_by_time)
}

/// Whether a plan has a window of incoming chunks, which must stay whole.
pub(super) fn holds_chunks(plan: &LogicalPlan) -> bool {
    plan.exists(|node| {
        let LogicalPlan::Extension(extension) = node else {
            return Ok(false);
        };
        let window = extension.node.as_any().downcast_ref::<WindowNode>();
        Ok(window.is_some_and(|window| window.kind == WindowKind::Batch))
    })
    .unwrap_or(false)
}
