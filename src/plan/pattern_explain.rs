//! How EXPLAIN prints a pattern: the automaton, and how each condition is evaluated.

use super::pattern_node::PatternScan;
use crate::catalog::types;
use crate::patterns::bounds::{Bound, DEFAULT_BOUND};
use crate::patterns::matcher::{ElementPlan, MatcherPlan};
use crate::patterns::shape::{Limit, Mode, Shape};
use crate::windows::TimeDomain;

/// The lines of a pattern.
pub fn lines(scan: &PatternScan, matcher: &MatcherPlan, domain: TimeDomain) -> Vec<String> {
    let spec = &scan.spec;
    let name = |element: usize| spec.elements[element].name.clone();
    let mode = match spec.mode {
        Mode::Skipping => "pattern",
        Mode::Strict => "sequence",
    };
    let within = spec.limit.map(|limit| format!(" within {}", bound(limit)));
    let within = within.unwrap_or_default();
    let mut lines = vec![format!("{mode} {}{within} by {domain}", shape(&spec.shape, &name))];
    if !spec.partition_by.is_empty() {
        lines.push(format!("by {}", spec.partition_by.join(", ")));
    }
    if spec.bound != DEFAULT_BOUND {
        let Bound { most, overflow } = spec.bound;
        lines.push(format!("at most {most} open, then {}", overflow.name()));
    }
    lines.extend(
        matcher
            .elements
            .iter()
            .filter_map(|element| condition(element, matcher)),
    );
    lines
}

fn condition(element: &ElementPlan, matcher: &MatcherPlan) -> Option<String> {
    let condition = &element.condition;
    let mut parts = Vec::new();
    if let Some(filter) = &condition.filter {
        parts.push(format!("where {filter} (vectorised)"));
    }
    let column = |column: usize| matcher.ports[element.port].schema.field(column).name().as_str();
    if !condition.equal.is_empty() {
        let columns = condition.equal.iter().map(|(index, _)| column(*index));
        parts.push(format!("indexed by {}", columns.collect::<Vec<_>>().join(", ")));
    }
    if let Some(order) = &condition.order {
        parts.push(format!("ordered by {}", column(order.column)));
    }
    if let Some(join) = &condition.join {
        let how = match join.is_compiled() {
            true => "compiled",
            false => "per candidates",
        };
        parts.push(format!("with {} ({how})", join.expr));
    }
    let text = types::in_our_names(&parts.join(", "));
    (!parts.is_empty()).then(|| format!("{} {text}", element.name))
}

fn shape(part: &Shape, name: &impl Fn(usize) -> String) -> String {
    let list = |parts: &[Shape], between: &str| {
        let parts: Vec<String> = parts.iter().map(|part| inner(part, name)).collect();
        parts.join(between)
    };
    match part {
        Shape::Events { element, min, max } => format!("{}{}", name(*element), times(*min, *max)),
        Shape::Absent { element, wait: None } => format!("not {}", name(*element)),
        Shape::Absent {
            element,
            wait: Some(wait),
        } => format!("not {} for {}", name(*element), duration(*wait)),
        Shape::Chain(parts) => list(parts, " -> "),
        Shape::And(parts) => list(parts, " and "),
        Shape::Or(parts) => list(parts, " or "),
        Shape::Repeat { body, min, max } => format!("({}){}", shape(body, name), times(*min, *max)),
        Shape::Every(body) => format!("every {}", inner(body, name)),
        Shape::Within { body, limit } => format!("({}) within {}", shape(body, name), bound(*limit)),
    }
}

/// A part inside of another.
fn inner(part: &Shape, name: &impl Fn(usize) -> String) -> String {
    match part {
        Shape::Chain(_) | Shape::And(_) | Shape::Or(_) => format!("({})", shape(part, name)),
        part => shape(part, name),
    }
}

fn times(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (1, Some(1)) => String::new(),
        (min, Some(max)) if min == max => format!("{{{min}}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
        (min, None) => format!("{{{min},}}"),
    }
}

fn bound(limit: Limit) -> String {
    match limit {
        Limit::Time(time) => duration(time),
        Limit::Events(events) => format!("{events} events"),
    }
}

fn duration(micros: i64) -> String {
    match micros {
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros if micros % 1_000 == 0 => format!("{}ms", micros / 1_000),
        micros => format!("{micros}µs"),
    }
}
