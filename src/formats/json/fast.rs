//! The quick way to read a line: messages whose values come in the order they came in before.
//!
//! What stands between two values (`,"price":`, `}},"legs":[{"size":`) is the same text on most lines. It is remembered as a
//! [`Step`]: what to do with the value after it, which nodes of the [`Shape`] are entered on the way, and the two steps that came
//! next the last times. So a member costs one comparison instead of parsing and looking up its name, however deep it lies, and
//! what nobody wants is skipped as a whole. A miss parses and learns. Values are read straight into their columns.
//!
//! Whatever is unusual (an error, a name with escapes, a member that comes twice) ends the attempt: the caller undoes
//! it and reads the line the strict way, so that this module never decides what is an error. That both agree is
//! checked by property tests.

use super::rows::Rows;
use super::scalars::{self, Line, blanks};
use super::shape::{Kind, NodeId, RECORD, Shape};
use super::strict;
use crate::formats::columns::{Column, json_value, scan};

/// More steps than this are not remembered: names that differ from line to line would fill the memory.
const MAX_STEPS: usize = 128;
/// Nor are longer texts.
const MAX_TEXT: usize = 256;
/// Nor is the order of more places, which are open objects and arrays.
const MAX_PLACES: usize = 256;
/// The step before a message.
const START: usize = 0;
/// Stands for steps that are not remembered.
const UNKNOWN: usize = 1;
/// The place outside of a message.
const OUTSIDE: usize = 0;

/// The text from the end of one value to the beginning of the next.
#[derive(Debug)]
struct Step {
    text: Box<[u8]>,
    /// The first 16 bytes of it, and which of those count.
    head: u128,
    mask: u128,
    /// Where it begins.
    from: usize,
    lead: Lead,
    /// The steps that came after it the last times.
    next: [usize; 2],
}

/// Where a step leads.
#[derive(Debug, Clone, Copy)]
struct Lead {
    then: Then,
    /// What the value must not begin with: then another step goes on in it.
    unless: Unless,
    /// A record ends on the way, after the nodes in `before` were visited and before those in `visits`.
    ends_record: bool,
    before: u64,
    visits: u64,
    /// What the value lies in.
    place: usize,
}

/// What comes after a step.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The message is over.
    End,
    /// A value that nobody wants.
    Skip,
    /// A column's.
    Column(usize),
    /// That of a column without a bit, whose length tells whether it was met before.
    Unmarked(usize),
    /// A node's that the strict way reads.
    Strict(NodeId),
    /// A record that the strict way reads.
    Record,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unless {
    Never,
    /// `{` or `[`.
    Opens,
    /// `]`.
    Closes,
}

/// An object or array that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    parent: usize,
    node: NodeId,
    form: Form,
    /// In an array: the position of the element.
    index: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Object,
    Array,
}

impl Step {
    fn new(text: &[u8], from: usize, lead: Lead) -> Self {
        let mut head = [0; 16];
        let length = text.len().min(16);
        head[..length].copy_from_slice(&text[..length]);
        Step {
            text: text.into(),
            head: u128::from_le_bytes(head),
            mask: u128::MAX.checked_shr(128 - 8 * length as u32).unwrap_or(0),
            from,
            lead,
            next: [UNKNOWN; 2],
        }
    }

    /// Whether the text stands at `at`.
    #[inline(always)]
    fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        match bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(head) => {
                u128::from_le_bytes(*head) & self.mask == self.head
                    && (self.text.len() <= 16 || bytes[at + 16..].starts_with(&self.text[16..]))
            }
            None => bytes[at..].starts_with(&self.text),
        }
    }

    /// Whether the step goes from `at`, into the value after it.
    #[inline(always)]
    fn fits(&self, bytes: &[u8], at: usize) -> bool {
        self.stands_at(bytes, at) && (self.lead.unless == Unless::Never || !self.stopped(bytes, at + self.text.len()))
    }

    fn stopped(&self, bytes: &[u8], at: usize) -> bool {
        let first = bytes.get(blanks(bytes, at));
        match self.lead.unless {
            Unless::Never => false,
            Unless::Opens => matches!(first, Some(b'{' | b'[')),
            Unless::Closes => first == Some(&b']'),
        }
    }
}

/// What was learned about the lines so far.
#[derive(Debug)]
pub(super) struct Fast {
    steps: Vec<Step>,
    places: Vec<Place>,
    /// The node of a message.
    message: NodeId,
}

/// What the text after a value turned out to be.
struct Learned {
    step: usize,
    lead: Lead,
    /// Where the value begins, or the message has ended.
    at: usize,
}

/// A text being parsed on its way to the next value.
struct Walk {
    at: usize,
    place: usize,
    began_record: bool,
    ended_record: bool,
    before: u64,
    visits: u64,
}

impl Walk {
    fn visit(&mut self, bit: u64) -> Option<()> {
        let twice = self.visits & bit != 0;
        self.visits |= bit;
        (!twice).then_some(())
    }

    fn lead(&self, then: Then, unless: Unless) -> Lead {
        Lead {
            then,
            unless,
            ends_record: self.ended_record,
            before: self.before,
            visits: self.visits,
            place: self.place,
        }
    }
}

/// What the parser meets next.
enum Next {
    /// The value of a node, or one that nobody wants; the first of an array?
    Value(Option<NodeId>, Unless),
    /// The first part of what was opened, or its end.
    First,
    /// A comma or an end.
    After,
}

impl Fast {
    /// Knows nothing yet. `None` when messages of that shape are for the strict way.
    pub(super) fn new(shape: &Shape) -> Option<Self> {
        let outside = Place {
            parent: OUTSIDE,
            node: RECORD,
            form: Form::Object,
            index: 0,
        };
        let nowhere = Lead {
            then: Then::Skip,
            unless: Unless::Never,
            ends_record: false,
            before: 0,
            visits: 0,
            place: OUTSIDE,
        };
        Some(Fast {
            steps: vec![Step::new(b"", OUTSIDE, nowhere), Step::new(b"", OUTSIDE, nowhere)],
            places: vec![outside],
            message: shape.message()?,
        })
    }

    /// Reads the line at `start` into rows and gives where the next line starts. `None`: not that simple; the columns
    /// may hold a part of it.
    pub(super) fn line(&mut self, text: &str, start: usize, shape: &Shape, rows: &mut Rows) -> Option<usize> {
        let bytes = text.as_bytes();
        let first_row = rows.rows;
        let mut line = Line::new(text);
        let (mut at, mut step, mut place) = (start, START, OUTSIDE);
        let (mut seen, mut filled) = (0u64, 0);
        loop {
            let lead = match self.predicted(step, bytes, at) {
                Some(next) => {
                    let known = &self.steps[next];
                    step = next;
                    at += known.text.len();
                    known.lead
                }
                None => {
                    let learned = self.learn(text, at, step, place, shape)?;
                    (step, at) = (learned.step, learned.at);
                    learned.lead
                }
            };
            place = lead.place;
            if lead.ends_record {
                (seen & lead.before == 0).then_some(())?;
                end_record(rows, filled)?;
                (seen, filled) = (seen & shape.above(), 0);
            }
            (seen & lead.visits == 0).then_some(())?;
            seen |= lead.visits;
            at = match lead.then {
                Then::End => break,
                Then::Skip => scalars::skip(&mut line, at)?,
                Then::Column(index) => {
                    filled += 1;
                    column(&mut rows.columns[index], &mut line, at)?
                }
                Then::Unmarked(index) => {
                    (rows.columns[index].len() == rows.rows).then_some(())?;
                    filled += 1;
                    column(&mut rows.columns[index], &mut line, at)?
                }
                Then::Strict(node) => line.token(at, |raw| strict::value(shape, rows, node, raw).ok())?,
                Then::Record => {
                    let end = line.token(at, |raw| record(shape, rows, raw))?;
                    if place == OUTSIDE {
                        at = end;
                        break;
                    }
                    end
                }
            };
        }
        // No records at all: what that means, the strict way says.
        (rows.rows > first_row).then_some(())?;
        scalars::line_end(bytes, at)
    }

    /// The step that came next one of the last times, if it does now.
    #[inline(always)]
    fn predicted(&self, step: usize, bytes: &[u8], at: usize) -> Option<usize> {
        let [next, other] = self.steps[step].next;
        if next != UNKNOWN && self.steps[next].fits(bytes, at) {
            return Some(next);
        }
        (other != UNKNOWN && self.steps[other].fits(bytes, at)).then_some(other)
    }

    /// Parses what stands between a value (or the start of the line) and the next value.
    #[cold]
    fn learn(&mut self, text: &str, from: usize, step: usize, place: usize, shape: &Shape) -> Option<Learned> {
        let bytes = text.as_bytes();
        let mut walk = Walk {
            at: from,
            place,
            began_record: false,
            ended_record: false,
            before: 0,
            visits: 0,
        };
        let mut next = match place {
            OUTSIDE => Next::Value(Some(self.message), Unless::Never),
            _ => Next::After,
        };
        let lead = loop {
            walk.at = blanks(bytes, walk.at);
            let byte = *bytes.get(walk.at)?;
            next = match next {
                Next::Value(node, unless) => match self.open(shape, &mut walk, node, byte)? {
                    Opened::Place => Next::First,
                    // What its node says goes before what its being the first of an array does.
                    Opened::Value(then, Unless::Never) => break walk.lead(then, unless),
                    Opened::Value(then, of_node) => break walk.lead(then, of_node),
                },
                Next::First if matches!(byte, b'}' | b']') => self.close(&mut walk, byte)?,
                Next::First => self.part(text, &mut walk, shape, Unless::Closes)?,
                Next::After if byte == b',' => {
                    walk.at = blanks(bytes, walk.at + 1);
                    self.advance(&mut walk, shape)?;
                    self.part(text, &mut walk, shape, Unless::Never)?
                }
                Next::After => self.close(&mut walk, byte)?,
            };
            if walk.place == OUTSIDE {
                break walk.lead(Then::End, Unless::Never);
            }
        };
        let next = self.remember(&bytes[from..walk.at], place, lead);
        if step != UNKNOWN && self.steps[step].next[0] != next {
            let [last, _] = self.steps[step].next;
            self.steps[step].next = [next, last];
        }
        Some(Learned {
            step: next,
            lead,
            at: walk.at,
        })
    }

    /// Looks at the value of a node: an object or array whose parts are wanted is opened.
    fn open(&mut self, shape: &Shape, walk: &mut Walk, node: Option<NodeId>, byte: u8) -> Option<Opened> {
        let Some(node) = node else {
            return Some(Opened::Value(Then::Skip, Unless::Never));
        };
        let here = shape.node(node);
        if node == RECORD {
            return self.open_record(shape, walk, byte);
        }
        walk.visit(here.bit)?;
        match (here.kind, byte) {
            (Kind::Records, b'[') if shape.exploded => self.enter(walk, node, Form::Array),
            (Kind::Records, _) => self.open_record(shape, walk, byte),
            (Kind::Column(column), _) if here.bit == 0 => Some(Opened::Value(Then::Unmarked(column), Unless::Never)),
            (Kind::Column(column), _) => Some(Opened::Value(Then::Column(column), Unless::Never)),
            (Kind::Strict, _) => Some(Opened::Value(Then::Strict(node), Unless::Never)),
            (Kind::Parts, b'{') if here.has_members() => self.enter(walk, node, Form::Object),
            (Kind::Parts, b'[') if here.has_elements() => self.enter(walk, node, Form::Array),
            (Kind::Parts, b'{' | b'[') => None,
            // `null`, say. The next line may have an object here.
            (Kind::Parts, _) => Some(Opened::Value(Then::Skip, Unless::Opens)),
        }
    }

    fn open_record(&mut self, shape: &Shape, walk: &mut Walk, byte: u8) -> Option<Opened> {
        let form = match byte {
            b'{' if !shape.positional => Form::Object,
            b'[' if shape.positional => Form::Array,
            _ => return None,
        };
        if shape.node(RECORD).kind != Kind::Parts {
            return Some(Opened::Value(Then::Record, Unless::Never));
        }
        walk.began_record = true;
        self.enter(walk, RECORD, form)
    }

    fn enter(&mut self, walk: &mut Walk, node: NodeId, form: Form) -> Option<Opened> {
        walk.at += 1;
        walk.place = self.place(Place {
            parent: walk.place,
            node,
            form,
            index: 0,
        })?;
        Some(Opened::Place)
    }

    /// The number of a place.
    fn place(&mut self, place: Place) -> Option<usize> {
        // The first one stands for the outside.
        if let Some(known) = self.places.iter().skip(1).position(|known| *known == place) {
            return Some(known + 1);
        }
        (self.places.len() < MAX_PLACES).then(|| {
            self.places.push(place);
            self.places.len() - 1
        })
    }

    /// After a comma: the next element. Those after the last that is wanted are all the same.
    fn advance(&mut self, walk: &mut Walk, shape: &Shape) -> Option<()> {
        let here = self.places[walk.place];
        if here.form == Form::Array {
            let index = (here.index + 1).min(shape.node(here.node).elements_end());
            walk.place = self.place(Place { index, ..here })?;
        }
        Some(())
    }

    /// The end of an object or array. A step does not know a record that begins and ends in it.
    fn close(&mut self, walk: &mut Walk, byte: u8) -> Option<Next> {
        let here = self.places[walk.place];
        match (here.form, byte) {
            (Form::Object, b'}') | (Form::Array, b']') => {}
            _ => return None,
        }
        if here.node == RECORD {
            (!walk.began_record && !walk.ended_record).then_some(())?;
            walk.ended_record = true;
            walk.before = std::mem::take(&mut walk.visits);
        }
        walk.at += 1;
        walk.place = here.parent;
        Some(Next::After)
    }

    /// A member's name, or an element: what its value is for.
    fn part(&mut self, text: &str, walk: &mut Walk, shape: &Shape, unless: Unless) -> Option<Next> {
        let bytes = text.as_bytes();
        let here = self.places[walk.place];
        if here.form == Form::Array {
            let node = match shape.node(here.node).kind {
                Kind::Records => Some(RECORD),
                _ => shape.node(here.node).element(here.index),
            };
            return Some(Next::Value(node, unless));
        }
        let quote = (bytes.get(walk.at) == Some(&b'"')).then_some(walk.at)?;
        let end = scan::string_stop(bytes, quote + 1).filter(|&end| bytes[end] == b'"')?;
        let name = text.get(quote + 1..end)?;
        let colon = blanks(bytes, end + 1);
        (bytes.get(colon) == Some(&b':')).then_some(())?;
        walk.at = colon + 1;
        Some(Next::Value(shape.member(here.node, name), Unless::Never))
    }

    /// The step of that text, made if there is room.
    fn remember(&mut self, text: &[u8], from: usize, lead: Lead) -> usize {
        let is_it = |step: &Step| step.from == from && *step.text == *text && step.lead.unless == lead.unless;
        let known = self.steps.iter().skip(UNKNOWN + 1).position(is_it);
        match known {
            Some(place) => place + UNKNOWN + 1,
            None if self.steps.len() < MAX_STEPS && text.len() <= MAX_TEXT => {
                self.steps.push(Step::new(text, from, lead));
                self.steps.len() - 1
            }
            None => UNKNOWN,
        }
    }
}

/// What a value is at its first byte.
enum Opened {
    /// An object or array whose parts are read one by one.
    Place,
    /// A value that is read as a whole.
    Value(Then, Unless),
}

/// Reads a column's value and gives where it ends.
#[inline(always)]
fn column(column: &mut Column, line: &mut Line, at: usize) -> Option<usize> {
    match scalars::quick(column, line.text, at) {
        Some(end) => Some(end),
        None => line.token(at, |raw| json_value::push(column, raw).ok()),
    }
}

/// Reads a record as a whole.
fn record(shape: &Shape, rows: &mut Rows, raw: &str) -> Option<()> {
    raw.starts_with(if shape.positional { '[' } else { '{' })
        .then_some(())?;
    strict::value(shape, rows, RECORD, raw).ok()?;
    rows.fill().ok()
}

/// Ends a record of which so many columns were read.
#[inline(always)]
fn end_record(rows: &mut Rows, filled: usize) -> Option<()> {
    if filled == rows.columns.len() {
        rows.rows += 1;
        return Some(());
    }
    rows.fill().ok()
}
