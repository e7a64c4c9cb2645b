//! What a pattern may not say, and what it should rather not: each at its place.

use eventflux_sqlparser::PatternNode;
use sqlparser::tokenizer::Span;

use super::pattern::SpecElement;
use super::text::Text;
use crate::error::{Code, Diagnostic};
use crate::patterns::shape::{ElementId, Shape};

/// How many EVERY, and how many WITHIN of groups, a pattern may have: one bit each in an attempt.
const MAX_PARTS: usize = 64;

/// How many EVERY may stand in operands of AND and OR: an event that all of them take makes two attempts of one for each.
const MAX_BESIDE: usize = 8;

/// What has been seen of a pattern while its shape is built.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// By the first element in them.
    everies: Vec<(ElementId, Span)>,
    groups: usize,
    beside: usize,
}

type Checked = Result<(), Diagnostic>;

impl Check {
    /// The whole pattern.
    pub fn whole(&self, shape: &Shape, span: Span, text: &Text) -> Checked {
        stands_alone(shape, span, text)?;
        if let Some(first) = endless(shape, false) {
            let every = self.everies.iter().find(|(element, _)| *element == first);
            return refuse(
                "EVERY of what is complete without any event would begin again without end",
                "give it a minimum of 1",
                every.map_or(span, |(_, span)| *span),
                text,
            );
        }
        match shape.may_be_empty() {
            true => refuse(
                "the pattern is complete without any event",
                "let at least one element occur at least once",
                span,
                text,
            ),
            false => Ok(()),
        }
    }

    /// Parts that follow each other.
    pub fn chain(&self, nodes: &[PatternNode], shapes: &[Shape], text: &Text) -> Checked {
        match (nodes.last(), shapes.last()) {
            (Some(node), Some(shape)) => stands_alone(shape, node.span, text),
            _ => Ok(()),
        }
    }

    /// The operands of an AND.
    pub fn operands(&mut self, shapes: &[Shape], span: Span, text: &Text) -> Checked {
        if shapes.iter().all(is_guard) {
            return nothing_comes(span, text);
        }
        self.stand_beside(shapes, span, text)
    }

    /// The alternatives of an OR.
    pub fn alternatives(&mut self, nodes: &[PatternNode], shapes: &[Shape], text: &Text) -> Checked {
        for (node, shape) in nodes.iter().zip(shapes) {
            stands_alone(shape, node.span, text)?;
            if shape.may_be_empty() {
                return refuse(
                    "an alternative is complete without any event",
                    "give it a minimum of 1",
                    node.span,
                    text,
                );
            }
            if ends_in_open_every(shape) {
                return refuse(
                    "EVERY of what may go on taking events cannot decide an OR: it is not known when it begins again",
                    "give it a fixed count, such as <2>, or put EVERY before the whole OR",
                    node.span,
                    text,
                );
            }
        }
        let span = nodes.first().map_or(Span::empty(), |node| node.span);
        self.stand_beside(shapes, span, text)
    }

    /// What a group repeats.
    pub fn repeated(&self, body: &Shape, span: Span, text: &Text) -> Checked {
        stands_alone(body, span, text)?;
        match body.may_be_empty() {
            true => refuse(
                "the repeated group may be empty",
                "let one of its elements occur at least once",
                span,
                text,
            ),
            false => Ok(()),
        }
    }

    /// What a WITHIN bounds.
    pub fn group(&mut self, body: &Shape, span: Span, text: &Text) -> Checked {
        self.groups += 1;
        count(self.groups, MAX_PARTS, "groups with WITHIN", span, text)?;
        stands_alone(body, span, text)
    }

    /// What an EVERY repeats; `first` is the first element in it.
    pub fn every(&mut self, body: &Shape, first: ElementId, span: Span, text: &Text) -> Checked {
        self.everies.push((first, span));
        count(self.everies.len(), MAX_PARTS, "EVERY", span, text)?;
        stands_alone(body, span, text)
    }

    fn stand_beside(&mut self, shapes: &[Shape], span: Span, text: &Text) -> Checked {
        let everies = shapes.iter().map(everies_in).sum::<usize>();
        self.beside = self.beside.max(everies);
        count(
            self.beside,
            MAX_BESIDE,
            "EVERY in the operands of AND and OR",
            span,
            text,
        )
    }

    /// What a pattern without WITHIN keeps without end: attempts that wait for what follows EVERY, collections without a maximum.
    pub fn growth(&self, shape: &Shape, elements: &[SpecElement], text: &Text) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let around = Around {
            followed: false,
            bounded: false,
        };
        growing(shape, around, &mut found);
        let warnings = found.into_iter().filter_map(|grows| match grows {
            Grows::Attempts(first) => {
                let (_, span) = self.everies.iter().find(|(element, _)| *element == first)?;
                let message =
                    "attempts at the pattern wait for ever for what follows EVERY, so its memory grows with the stream";
                let warning = Diagnostic::new(Code::Unstreamable, message);
                Some(text.at(warning.hint("bound them with WITHIN, such as WITHIN 10 MINUTES"), *span))
            }
            Grows::Collection(element) => {
                let element = &elements[element];
                let message = format!(
                    "'{}' may collect events for ever, so its memory grows with the stream",
                    element.name
                );
                let warning = Diagnostic::new(Code::Unstreamable, message);
                let hint = "give it a maximum, such as <1:100>, or bound the pattern with WITHIN";
                Some(text.at(warning.hint(hint), element.span))
            }
        });
        warnings.collect()
    }
}

/// What may be kept without end.
enum Grows {
    /// Attempts at what begins with this element.
    Attempts(ElementId),
    /// Events of this element.
    Collection(ElementId),
}

#[derive(Clone, Copy)]
struct Around {
    /// Something may still be waited for when the part is complete.
    followed: bool,
    /// A group's WITHIN bounds what follows in it.
    bounded: bool,
}

fn growing(shape: &Shape, around: Around, found: &mut Vec<Grows>) {
    match shape {
        Shape::Events { element, max, .. } => {
            if max.is_none() && !around.bounded {
                found.push(Grows::Collection(*element));
            }
        }
        Shape::Absent { .. } => {}
        Shape::Chain(parts) => {
            for (index, part) in parts.iter().enumerate() {
                let followed = around.followed || !around.bounded && index + 1 < parts.len();
                growing(part, Around { followed, ..around }, found);
            }
        }
        Shape::And(parts) | Shape::Or(parts) => {
            let followed = around.followed || !around.bounded && matches!(shape, Shape::And(_));
            parts
                .iter()
                .for_each(|part| growing(part, Around { followed, ..around }, found));
        }
        Shape::Repeat { body, max, .. } => {
            let followed = around.followed || !around.bounded && *max != Some(1);
            growing(body, Around { followed, ..around }, found);
        }
        Shape::Every(body) => {
            if around.followed {
                found.push(Grows::Attempts(shape.elements().trailing_zeros() as ElementId));
            }
            growing(body, around, found);
        }
        Shape::Within { body, .. } => growing(
            body,
            Around {
                bounded: true,
                ..around
            },
            found,
        ),
    }
}

fn is_guard(shape: &Shape) -> bool {
    matches!(shape, Shape::Absent { wait: None, .. })
}

/// A NOT without FOR stands in an AND, or before something in a chain.
fn stands_alone(shape: &Shape, span: Span, text: &Text) -> Checked {
    match is_guard(shape) {
        true => nothing_comes(span, text),
        false => Ok(()),
    }
}

fn nothing_comes(span: Span, text: &Text) -> Checked {
    refuse(
        "NOT without FOR stands before something that comes",
        "write NOT a FOR 5 SECONDS, NOT a AND b, or NOT a -> b",
        span,
        text,
    )
}

/// Whether an EVERY may go on taking events when the part is complete. A repeated group closes what is in its rounds.
fn ends_in_open_every(shape: &Shape) -> bool {
    match shape {
        Shape::Every(body) => !body.is_closed_when_complete() || ends_in_open_every(body),
        Shape::Chain(_) => shape.ends().iter().any(ends_in_open_every),
        Shape::And(parts) | Shape::Or(parts) => parts.iter().any(ends_in_open_every),
        Shape::Within { body, .. } => ends_in_open_every(body),
        Shape::Events { .. } | Shape::Absent { .. } | Shape::Repeat { .. } => false,
    }
}

/// An EVERY that is complete when it begins, and after which nothing must come: by its first element.
fn endless(shape: &Shape, followed: bool) -> Option<ElementId> {
    match shape {
        Shape::Events { .. } | Shape::Absent { .. } => None,
        Shape::Chain(parts) => parts.iter().enumerate().find_map(|(index, part)| {
            let later = parts[index + 1..].iter().any(|part| !part.may_be_empty());
            endless(part, followed || later)
        }),
        Shape::And(parts) => parts.iter().find_map(|part| endless(part, followed)),
        // What is decided, or a round, is over at once.
        Shape::Or(parts) => parts.iter().find_map(|part| endless(part, false)),
        Shape::Repeat { body, .. } => endless(body, false),
        Shape::Every(body) if body.may_be_empty() && !followed => Some(shape.elements().trailing_zeros() as ElementId),
        Shape::Every(body) | Shape::Within { body, .. } => endless(body, followed),
    }
}

fn everies_in(shape: &Shape) -> usize {
    match shape {
        Shape::Events { .. } | Shape::Absent { .. } => 0,
        Shape::Chain(parts) | Shape::And(parts) | Shape::Or(parts) => parts.iter().map(everies_in).sum(),
        Shape::Every(body) => 1 + everies_in(body),
        Shape::Repeat { body, .. } | Shape::Within { body, .. } => everies_in(body),
    }
}

fn count(number: usize, most: usize, what: &str, span: Span, text: &Text) -> Checked {
    if number <= most {
        return Ok(());
    }
    let error = Diagnostic::new(Code::Limit, format!("a pattern has at most {most} {what}"));
    Err(text.at(error, span))
}

fn refuse(message: &str, hint: &str, span: Span, text: &Text) -> Checked {
    Err(text.at(Diagnostic::new(Code::Unstreamable, message).hint(hint), span))
}
