//! The automaton of a pattern.
//!
//! # Theory
//! A pattern is a tree of parts. An attempt at it does not need a set of automaton states as in Thompson's construction,
//! because the language decides every choice at once: an event that both a collection and what follows it could take goes to
//! what follows, and an alternative that is complete ends the others. So an attempt is a *set of elements it waits for*
//! ([`Elements`]), a few counters, and the events it has. Only EVERY makes two attempts of one, which share the events before
//! it.
//!
//! What happens when an element takes an event depends on where it stands in the tree; all of it that is fixed is computed
//! here once: which elements that closes, which slots count it, which parts it begins.

use super::shape::{ElementId, Elements, Limit, Mode, Shape};
use crate::event::Micros;

/// The number of a part of the tree.
pub type PartId = usize;

/// A pattern, ready to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// PATTERN or SEQUENCE.
    pub mode: Mode,
    /// WITHIN of the whole.
    pub limit: Option<Limit>,
    /// All parts; children have larger numbers than their parent.
    pub parts: Vec<Part>,
    /// By element.
    pub elements: Vec<Element>,
    /// EVERY parts, outermost first.
    pub everies: Vec<PartId>,
    /// The pattern begins with this EVERY, under nothing but chains.
    pub leading_every: Option<PartId>,
    /// The pattern begins with EVERY and one event of this element: there is always an attempt waiting for it, which needs no
    /// memory.
    pub always_open: Option<ElementId>,
    /// How many counters an attempt has.
    pub counters: usize,
    /// How many marks an attempt has.
    pub marks: usize,
    /// How many deadlines an attempt has.
    pub deadlines: usize,
    /// The WITHIN parts.
    pub withins: Vec<PartId>,
    /// The elements that must not come.
    pub absents: Elements,
}

/// A part of the tree and where it stands.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// What it is a part of, and the how-manieth.
    pub parent: Option<(PartId, usize)>,
    /// The elements in it.
    pub elements: Elements,
}

/// What a part is.
#[derive(Debug, Clone)]
pub enum PartKind {
    /// One element.
    Element(ElementId),
    /// Parts one after the other.
    Chain(Vec<PartId>),
    /// All of the parts.
    And {
        /// The operands.
        parts: Vec<PartId>,
        /// The counter with a bit for each operand that is complete.
        done: usize,
        /// The elements that must not come while it waits.
        guards: Elements,
    },
    /// The first of the parts.
    Or(Vec<PartId>),
    /// A part again and again.
    Repeat {
        /// What.
        body: PartId,
        /// At least.
        min: u32,
        /// At most.
        max: Option<u32>,
        /// The counter of complete rounds.
        count: usize,
        /// Where the round began.
        mark: usize,
    },
    /// A part that begins again when it is complete.
    Every {
        /// What.
        body: PartId,
        /// The mark that remembers what was before it; nothing was if there is none.
        mark: Option<usize>,
        /// What is taken back to begin again: its own elements and those after it.
        resets: Elements,
    },
    /// A part in limited time. The mark is the time of its first event.
    Within {
        /// What.
        body: PartId,
        /// How much.
        time: Micros,
        /// When it began.
        mark: usize,
    },
}

/// An element and what is fixed about it.
#[derive(Debug, Clone)]
pub struct Element {
    /// Its part.
    pub part: PartId,
    /// What it waits for.
    pub kind: ElementKind,
    /// Elements that are closed when it takes an event: those before it in its chains.
    pub closes: Elements,
    /// Repeated groups among them.
    pub leaves: Vec<PartId>,
    /// The WITHIN parts it stands in, outermost first.
    pub withins: Vec<PartId>,
    /// Whether it may take events more than once: a collection, or a part of a repeated group.
    pub collects: bool,
    /// Whether it is one operand of an AND or OR, or a part of one.
    pub in_logical: bool,
}

/// What an element waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementKind {
    /// One event.
    One,
    /// Several; the counter counts them.
    Several {
        /// At least.
        min: u32,
        /// At most.
        max: Option<u32>,
        /// The counter.
        count: usize,
    },
    /// That no event comes for a time; the deadline's slot.
    Silence {
        /// How long.
        wait: Micros,
        /// The deadline's slot.
        deadline: usize,
    },
    /// That no event comes before what it guards.
    Guard,
}

impl PartKind {
    fn is_repeat(&self) -> bool {
        matches!(self, PartKind::Repeat { .. })
    }
}

impl Program {
    /// Of the parts.
    pub fn new(shape: &Shape, mode: Mode, limit: Option<Limit>) -> Self {
        let count = shape.elements().trailing_ones() as usize;
        let mut program = Program {
            mode,
            limit,
            parts: Vec::new(),
            elements: vec![
                Element {
                    part: 0,
                    kind: ElementKind::One,
                    closes: 0,
                    leaves: Vec::new(),
                    withins: Vec::new(),
                    collects: false,
                    in_logical: false,
                };
                count
            ],
            everies: Vec::new(),
            leading_every: None,
            always_open: None,
            counters: 0,
            marks: 0,
            deadlines: 0,
            withins: Vec::new(),
            absents: 0,
        };
        let context = Context {
            leading: true,
            ..Context::default()
        };
        program.add(shape, None, &context);
        program
    }

    /// The part of a number.
    pub fn part(&self, part: PartId) -> &Part {
        &self.parts[part]
    }

    /// Whether attempts have more than elements they wait for and events.
    pub fn has_slots(&self) -> bool {
        let everies = self.everies.len() - usize::from(self.always_open.is_some());
        self.counters + self.marks + self.deadlines + everies > 0 || self.absents != 0
    }

    /// Where attempts begin: the whole, but for what repeats without memory.
    pub fn is_implied(&self, every: PartId) -> bool {
        self.always_open.is_some() && self.leading_every == Some(every)
    }

    fn add(&mut self, shape: &Shape, parent: Option<(PartId, usize)>, context: &Context) -> PartId {
        let id = self.parts.len();
        self.parts.push(Part {
            kind: PartKind::Or(Vec::new()),
            parent,
            elements: shape.elements(),
        });
        let kind = match shape {
            Shape::Events { element, min, max } => {
                self.place(*element, id, context);
                if (*min, *max) != (1, Some(1)) {
                    let count = self.counter();
                    let (min, max) = (*min, *max);
                    self.elements[*element].kind = ElementKind::Several { min, max, count };
                    self.elements[*element].collects = true;
                }
                PartKind::Element(*element)
            }
            Shape::Absent { element, wait } => {
                self.place(*element, id, context);
                self.elements[*element].kind = match *wait {
                    None => ElementKind::Guard,
                    Some(wait) => {
                        self.deadlines += 1;
                        let deadline = self.deadlines - 1;
                        ElementKind::Silence { wait, deadline }
                    }
                };
                self.absents |= 1 << element;
                PartKind::Element(*element)
            }
            Shape::Chain(parts) => {
                let mut context = context.clone();
                let mut ids = Vec::with_capacity(parts.len());
                let after: Vec<Elements> = (1..=parts.len())
                    .map(|next| parts[next..].iter().fold(0, |all, part| all | part.elements()))
                    .collect();
                let outer = context.after;
                for (index, part) in parts.iter().enumerate() {
                    context.after = outer | after[index];
                    let added = self.add(part, Some((id, index)), &context);
                    ids.push(added);
                    context.leading = false;
                    context.closes |= part.elements();
                    self.repeats_in(added, &mut context.leaves);
                }
                PartKind::Chain(ids)
            }
            Shape::And(parts) => {
                let done = self.counter();
                let ids = self.operands(parts, id, context);
                let guards = parts.iter().filter_map(|part| match part {
                    Shape::Absent { element, wait: None } => Some(1 << element),
                    _ => None,
                });
                PartKind::And {
                    guards: guards.fold(0, |all, guard: Elements| all | guard),
                    parts: ids,
                    done,
                }
            }
            Shape::Or(parts) => PartKind::Or(self.operands(parts, id, context)),
            Shape::Repeat { body, min, max } => {
                let (count, mark) = (self.counter(), self.mark());
                let context = Context {
                    collects: true,
                    leading: false,
                    ..context.clone()
                };
                PartKind::Repeat {
                    body: self.add(body, Some((id, 0)), &context),
                    min: *min,
                    max: *max,
                    count,
                    mark,
                }
            }
            Shape::Every(body) => {
                self.everies.push(id);
                let resets = shape.elements() | context.after;
                let mark = (!context.leading).then(|| self.mark());
                let inner = Context {
                    leading: false,
                    ..context.clone()
                };
                let part = self.add(body, Some((id, 0)), &inner);
                if context.leading {
                    self.leading_every = Some(id);
                    self.always_open = match body.as_ref() {
                        Shape::Events {
                            element,
                            min: 1,
                            max: Some(1),
                        } => Some(*element),
                        _ => None,
                    };
                }
                PartKind::Every {
                    body: part,
                    mark,
                    resets,
                }
            }
            Shape::Within { body, time } => {
                let mark = self.mark();
                self.withins.push(id);
                let mut context = context.clone();
                context.withins.push(id);
                context.leading = false;
                let body = self.add(body, Some((id, 0)), &context);
                PartKind::Within {
                    body,
                    time: *time,
                    mark,
                }
            }
        };
        self.parts[id].kind = kind;
        id
    }

    fn operands(&mut self, parts: &[Shape], id: PartId, context: &Context) -> Vec<PartId> {
        let context = Context {
            in_logical: true,
            leading: false,
            ..context.clone()
        };
        let operands = parts.iter().enumerate();
        operands
            .map(|(index, part)| self.add(part, Some((id, index)), &context))
            .collect()
    }

    fn place(&mut self, element: ElementId, part: PartId, context: &Context) {
        self.elements[element] = Element {
            part,
            kind: ElementKind::One,
            closes: context.closes,
            leaves: context.leaves.clone(),
            withins: context.withins.clone(),
            collects: context.collects,
            in_logical: context.in_logical,
        };
    }

    /// The repeated groups in a part.
    fn repeats_in(&self, part: PartId, found: &mut Vec<PartId>) {
        let inside = |part: &PartId| self.parts[*part].kind.is_repeat();
        found.extend((part..self.parts.len()).filter(inside));
    }

    fn counter(&mut self) -> usize {
        self.counters += 1;
        self.counters - 1
    }

    fn mark(&mut self) -> usize {
        self.marks += 1;
        self.marks - 1
    }
}

/// What is around a part.
#[derive(Debug, Clone, Default)]
struct Context {
    /// Nothing comes before it.
    leading: bool,
    closes: Elements,
    /// The elements that come after it in its chains.
    after: Elements,
    leaves: Vec<PartId>,
    withins: Vec<PartId>,
    collects: bool,
    in_logical: bool,
}

impl Program {
    /// The slot of an element's deadline.
    pub fn deadline_of(&self, element: ElementId) -> Option<usize> {
        match self.elements[element].kind {
            ElementKind::Silence { deadline, .. } => Some(deadline),
            _ => None,
        }
    }
}
