//! Captured events that nobody will read any more.
//!
//! In `a -> b[k = a.k] -> c[k = b.k]`, of which `c` is selected, the event of `a` is of no use once `b` has one. An attempt that
//! goes through many steps then has two events at a time, not one for each.

use super::gather::Gathered;
use super::matcher::ElementPlan;
use super::program::{PartKind, Program};
use super::shape::{ElementId, Elements, Mode};

/// The elements that take the place of the event right before theirs: neither the query nor a later condition reads that.
///
/// Only of plain chains: what groups, collections, AND, OR and absence take back goes by the events that an attempt has.
pub fn superseding(program: &Program, elements: &[ElementPlan], outputs: &[Gathered]) -> Elements {
    let plain = program.mode == Mode::Skipping
        && !program.has_slots()
        && program
            .parts
            .iter()
            .all(|part| !matches!(part.kind, PartKind::And { .. } | PartKind::Or { .. }))
        && program.elements.iter().all(|element| !element.collects);
    if !plain {
        return 0;
    }
    let selected = outputs.iter().fold(0, |all, output| all | element_of(output));
    let mut superseding = 0;
    // What elements from the last down to this one's second next read.
    let mut read_later: Elements = selected;
    for element in (1..elements.len()).rev() {
        let before = element - 1;
        if read_later >> before & 1 == 0 {
            superseding |= 1 << element;
        }
        read_later |= read_by(&elements[element]);
    }
    superseding
}

/// The earlier elements whose events a condition reads.
fn read_by(element: &ElementPlan) -> Elements {
    let condition = &element.condition;
    let equal = condition.equal.iter().map(|(_, capture)| 1 << capture.element);
    let rest = condition.join.iter().flat_map(|join| &join.captured).map(element_of);
    equal.chain(rest).fold(0, |all, one: Elements| all | one)
}

fn element_of(gathered: &Gathered) -> Elements {
    let element: ElementId = match gathered {
        Gathered::Capture(capture) => capture.element,
        Gathered::Aggregate(collected) => collected.element,
    };
    1 << element
}
