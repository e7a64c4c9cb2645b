//! Registers: what of a thread's past conditions will read. Two threads at one place with equal registers are equivalent.
//!
//! A register is one word or several: rows of some variables, counted from the first or from the last, each with its place in the
//! match and, if it is read, its variable; or the set of all of them. What is the same for all threads of an attempt is no
//! register: the first row, the candidate, and those at a fixed distance from them.

use super::leaf::{From, Leaf, Target};
use super::paths::{Member, NOTHING, SetId, Sets};
use super::pattern::{Variable, Variables, all, has};

/// What is remembered of a thread's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The last rows, the latest first: a word each.
    Last { words: usize },
    /// The first rows: a word each.
    First { words: usize },
    /// All rows, as the number of a set.
    Set,
}

/// One register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register {
    kind: Kind,
    variables: Variables,
    /// Whether the rows' variables count.
    labels: bool,
    /// Its first word.
    at: usize,
}

/// The registers of a pattern.
#[derive(Debug, Clone, Default)]
pub struct Registers {
    list: Vec<Register>,
    words: usize,
}

/// A row that a condition reads, as it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// So many rows before the candidate, in the match.
    Back(u32),
    /// So many rows after the first.
    Front(u32),
    /// In a word.
    Word(usize),
    /// Nowhere.
    Nowhere,
}

/// A leaf of a condition, as it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// A column of a row.
    Column {
        /// Which row.
        place: Place,
        /// PREV and NEXT.
        shift: i64,
        /// Which column.
        column: usize,
    },
    /// Whether there is such a row in the partition.
    Exists {
        /// Which row.
        place: Place,
        /// PREV and NEXT.
        shift: i64,
    },
    /// The variable of a row.
    Label {
        /// Which row.
        place: Place,
        /// PREV and NEXT, which then need `past`.
        shift: i64,
        /// The word of the set of all rows.
        past: usize,
    },
    /// MATCH_NUMBER().
    Number,
    /// An aggregate over the set in a word.
    Aggregate {
        /// Which.
        index: usize,
        /// Its set.
        word: usize,
    },
}

/// No row. Others are their place in the match, plus one, and eight bits for the variable.
const NO_ROW: u64 = 0;

fn word_of(row: u32, variable: Variable) -> u64 {
    (u64::from(row) + 1) << 8 | u64::from(variable)
}

/// The row in a word.
pub fn row_in(word: u64) -> Option<u32> {
    (word != NO_ROW).then(|| ((word >> 8) - 1) as u32)
}

fn variable_in(word: u64) -> Variable {
    word as u8
}

impl Registers {
    /// How many words a thread has.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Whether a register holds sets.
    pub fn has_sets(&self) -> bool {
        self.list.iter().any(|register| register.kind == Kind::Set)
    }

    /// How a condition finds a leaf, with the registers that takes. `aggregated` are the variables of an aggregate and whether
    /// it reads labels.
    pub fn read(&mut self, leaf: &Leaf, count: usize, aggregated: impl Fn(usize) -> (Variables, bool)) -> Read {
        match leaf {
            Leaf::Column { target, column } => Read::Column {
                place: self.row(target, count),
                shift: target.shift,
                column: *column,
            },
            Leaf::Exists(target) => Read::Exists {
                place: self.row(target, count),
                shift: target.shift,
            },
            Leaf::Label(target) => self.label(target, count),
            Leaf::Number => Read::Number,
            Leaf::Aggregate { index, .. } => {
                let (variables, labels) = aggregated(*index);
                Read::Aggregate {
                    index: *index,
                    word: self.set(variables, labels),
                }
            }
        }
    }

    /// A row whose columns are read.
    fn row(&mut self, target: &Target, count: usize) -> Place {
        if !target.is_universal(count) {
            return Place::Word(self.word(target, false));
        }
        match target.from {
            From::First => Place::Front(target.offset),
            From::Last => Place::Back(target.offset),
        }
    }

    fn label(&mut self, target: &Target, count: usize) -> Read {
        let nowhere = Read::Label {
            place: Place::Nowhere,
            shift: 0,
            past: 0,
        };
        let target = match target.is_universal(count) {
            true => match target.without_shift() {
                Some(target) => target,
                None => return nowhere,
            },
            false => *target,
        };
        if target.shift == 0 {
            let place = Place::Word(self.word(&target, true));
            return Read::Label {
                place,
                shift: 0,
                past: 0,
            };
        }
        Read::Label {
            place: Place::Word(self.word(&target, false)),
            shift: target.shift,
            past: self.set(all(count), true),
        }
    }

    fn word(&mut self, target: &Target, labels: bool) -> usize {
        let offset = target.offset as usize;
        let kind = match target.from {
            From::First => Kind::First { words: offset + 1 },
            From::Last => Kind::Last { words: offset + 1 },
        };
        self.register(kind, target.variables, labels) + offset
    }

    fn set(&mut self, variables: Variables, labels: bool) -> usize {
        self.register(Kind::Set, variables, labels)
    }

    fn register(&mut self, kind: Kind, variables: Variables, labels: bool) -> usize {
        let known = self.list.iter().find(|known| {
            known.variables == variables
                && known.labels == labels
                && match (known.kind, kind) {
                    (Kind::Last { words }, Kind::Last { words: wanted })
                    | (Kind::First { words }, Kind::First { words: wanted }) => words >= wanted,
                    (Kind::Set, Kind::Set) => true,
                    _ => false,
                }
        });
        if let Some(known) = known {
            return known.at;
        }
        let at = self.words;
        self.list.push(Register {
            kind,
            variables,
            labels,
            at,
        });
        self.words += match kind {
            Kind::Last { words } | Kind::First { words } => words,
            Kind::Set => 1,
        };
        at
    }

    /// The words before the first row.
    pub fn begin(&self, words: &mut Vec<u64>) {
        words.clear();
        words.resize(self.words, NO_ROW);
        for register in self.list.iter().filter(|register| register.kind == Kind::Set) {
            words[register.at] = u64::from(NOTHING);
        }
    }

    /// The words after a row.
    pub fn take(&self, words: &mut [u64], row: u32, variable: Variable, sets: &mut Sets) {
        for register in self.list.iter().filter(|register| has(register.variables, variable)) {
            let label = if register.labels { variable } else { 0 };
            let at = register.at;
            match register.kind {
                Kind::Last { words: count } => {
                    words.copy_within(at..at + count - 1, at + 1);
                    words[at] = word_of(row, label);
                }
                Kind::First { words: count } => {
                    let free = words[at..at + count].iter_mut().find(|word| **word == NO_ROW);
                    if let Some(free) = free {
                        *free = word_of(row, label);
                    }
                }
                Kind::Set => {
                    let member = Member { row, variable: label };
                    words[at] = u64::from(sets.with(words[at] as SetId, member));
                }
            }
        }
    }

    /// The words of sets.
    pub fn set_words(&self) -> impl Iterator<Item = usize> {
        let sets = self.list.iter().filter(|register| register.kind == Kind::Set);
        sets.map(|register| register.at)
    }
}

impl Place {
    /// The row's place in the match, with these words after the candidate at `candidate`.
    pub fn row(self, words: &[u64], candidate: u32) -> Option<u32> {
        match self {
            Place::Back(back) => candidate.checked_sub(back),
            Place::Front(front) => (front <= candidate).then_some(front),
            Place::Word(word) => row_in(words[word]),
            Place::Nowhere => None,
        }
    }

    /// The variable of the row, if its word has it.
    pub fn variable(self, words: &[u64]) -> Option<Variable> {
        match self {
            Place::Word(word) => row_in(words[word]).map(|_| variable_in(words[word])),
            _ => None,
        }
    }
}
