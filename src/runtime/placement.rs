//! Which part of a plan runs where.
//!
//! Without workers each connected part of the graph is a task. With `parallelism` above one the part of a PARTITION that has state by key
//! runs on so many workers, each with its share of the keys. Then what comes before a block and what comes after it are
//! different tasks: *levels*. Every channel leads from a lower level to a higher one, so there is no circle in which two
//! tasks could wait for each other's full channels.
//!
//! A block runs in parallel if nothing that it gives comes back to it, and if all it does is done key by key. What only filters
//! and projects events on their way into it stays with their stream, where the key is computed.

use std::collections::BTreeMap;

use crate::operators::OperatorPlan;
use crate::plan::stream_plan::{NodeId, PlanNodeKind, StreamPlan};

/// A part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its nodes, ascending.
    pub nodes: Vec<NodeId>,
    /// On how many threads it runs, each with some of the keys.
    pub workers: usize,
}

/// How what goes from one part to another is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// There is one to take it.
    Only,
    /// By the key in this column.
    ByKey(usize),
    /// To each worker.
    Each,
}

/// The parts of a plan; those that feed others come first.
pub fn parts(plan: &StreamPlan, parallelism: usize) -> Vec<Part> {
    let components = plan.components();
    let blocks = match parallelism {
        0 | 1 => vec![None; plan.nodes.len()],
        _ => parallel(plan),
    };
    let levels = levels(plan, &blocks).unwrap_or_else(|| vec![0; plan.nodes.len()]);
    let mut parts = Vec::new();
    for component in components {
        let mut by_place: BTreeMap<(usize, Option<usize>), Vec<NodeId>> = BTreeMap::new();
        for node in component {
            by_place.entry((levels[node], blocks[node])).or_default().push(node);
        }
        parts.extend(by_place.into_iter().map(|((_, block), nodes)| Part {
            nodes,
            workers: if block.is_some() { parallelism } else { 1 },
        }));
    }
    parts
}

/// How an edge into a part of several workers is shared out.
pub fn route(plan: &StreamPlan, from: NodeId, workers: usize) -> Route {
    match (workers, plan.nodes[from].key) {
        (1, _) => Route::Only,
        (_, Some(key)) => Route::ByKey(key),
        (_, None) => Route::Each,
    }
}

/// By node: the block that it runs in on workers.
fn parallel(plan: &StreamPlan) -> Vec<Option<usize>> {
    let Ok(order) = plan.topological() else {
        return vec![None; plan.nodes.len()];
    };
    let inside = inside(plan, &order);
    let mut blocks: Vec<usize> = inside.iter().flatten().copied().collect();
    blocks.sort_unstable();
    blocks.dedup();
    let mut accepted: Vec<Option<usize>> = vec![None; plan.nodes.len()];
    for block in blocks {
        let mut with = accepted.clone();
        for node in (0..inside.len()).filter(|node| inside[*node] == Some(block)) {
            with[node] = Some(block);
        }
        if splits(plan, &inside, block) && levels(plan, &with).is_some() {
            accepted = with;
        }
    }
    accepted
}

/// By node: the block that it belongs to, unless it only forwards events to it.
fn inside(plan: &StreamPlan, order: &[NodeId]) -> Vec<Option<usize>> {
    let mut inside: Vec<Option<usize>> = plan.nodes.iter().map(|node| node.block).collect();
    for &id in order {
        let node = &plan.nodes[id];
        let forwards = operator(plan, id).is_some_and(OperatorPlan::forwards);
        let first = node.inputs.len() == 1 && inside[node.inputs[0]].is_none();
        if forwards && first && node.controls.is_empty() {
            inside[id] = None;
        }
    }
    inside
}

fn operator(plan: &StreamPlan, node: NodeId) -> Option<&dyn OperatorPlan> {
    match &plan.nodes[node].kind {
        PlanNodeKind::Operator(operator) => Some(operator.as_ref()),
        _ => None,
    }
}

/// Whether a block's nodes do their work key by key, and what comes in has a key or goes to every key.
fn splits(plan: &StreamPlan, inside: &[Option<usize>], block: usize) -> bool {
    let mut nodes = (0..inside.len()).filter(|node| inside[*node] == Some(block));
    nodes.all(|id| {
        let operator = operator(plan, id);
        let to_all = operator.is_some_and(OperatorPlan::gives_to_every_key);
        let mut fed = plan.nodes[id]
            .inputs
            .iter()
            .filter(|from| inside[**from] != Some(block));
        operator.is_none_or(OperatorPlan::splits_by_key) && fed.all(|from| to_all || plan.nodes[*from].key.is_some())
    })
}

/// By node: how many borders between streams and workers lie before it. `None` if a block feeds itself.
fn levels(plan: &StreamPlan, blocks: &[Option<usize>]) -> Option<Vec<usize>> {
    let mut levels = vec![0; plan.nodes.len()];
    // A way that is no circle goes into each block and out of it once.
    let mut known: Vec<usize> = blocks.iter().flatten().copied().collect();
    known.sort_unstable();
    known.dedup();
    while levels.iter().all(|level| *level <= 2 * known.len()) {
        let mut of_block: BTreeMap<usize, usize> = BTreeMap::new();
        let before = levels.clone();
        for (id, node) in plan.nodes.iter().enumerate() {
            let least = usize::from(blocks[id].is_some());
            levels[id] = levels[id].max(least);
            for edge in node.edges() {
                let border = usize::from(blocks[id] != blocks[edge.node]);
                levels[edge.node] = levels[edge.node].max(levels[id] + border);
            }
        }
        // A block is in one place.
        for (id, block) in blocks.iter().enumerate() {
            if let Some(block) = block {
                let level = of_block.entry(*block).or_default();
                *level = (*level).max(levels[id]);
            }
        }
        for (id, block) in blocks.iter().enumerate() {
            if let Some(level) = block.and_then(|block| of_block.get(&block)) {
                levels[id] = *level;
            }
        }
        if levels == before {
            return Some(levels);
        }
    }
    None
}
