//! A row pattern as a program for Pike's machine: threads that take rows, in the order of preference.
//!
//! Theory: K. Thompson, *Regular expression search algorithm* (1968); R. Pike's extension to captures, as told in R. Cox,
//! *Regular expression matching: the virtual machine approach* (2009). A thread is a place in the program; before a row is
//! taken, threads run up to the instructions that take it. What a backtracking matcher would try first is first in the
//! list of threads, so its result is the first to be found, in time linear in the rows.
//!
//! *Repetition* is unrolled: `A{2,4}` is `A A (A (A)?)?`. An iteration beyond the minimum that takes no row is not allowed,
//! as in Perl and ECMAScript; without that rule `(A?)*` would never end. Where a body can be empty, its iteration
//! begins with [`Instruction::Enter`] and ends with [`Instruction::Leave`], which lets only those through that took a row.

use std::fmt;

use super::pattern::{Pattern, Preference, Variable, Variables, has, only};

/// The place of an instruction.
pub type Place = u32;

/// The most instructions of a program. A row costs no more than so many steps.
pub const MAX_INSTRUCTIONS: usize = 20_000;

/// How deep iterations stand inside one another whose bodies may be empty.
pub type Depth = u8;

/// What a thread does at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// Takes a row as a variable, and goes to the next instruction.
    Take {
        /// As which.
        variable: Variable,
        /// Whether the row stands in an exclusion.
        excluded: bool,
        /// Its number among those that take rows.
        number: u32,
    },
    /// Becomes two threads, the first preferred.
    Split(Place, Place),
    /// Goes on elsewhere.
    Jump(Place),
    /// Begins an iteration that must take a row.
    Enter(Depth),
    /// Ends it, and the thread if it took none.
    Leave(Depth),
    /// Goes on if no row of the partition is before.
    Start,
    /// Goes on if no row of the partition is after.
    End,
    /// Has matched.
    Match,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    takes: u32,
    /// Whether it has `^`.
    pub has_start: bool,
    /// The least number of rows of a match.
    pub least_rows: u64,
}

/// Why a pattern has no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLarge {
    /// It would have more than [`MAX_INSTRUCTIONS`].
    Instructions,
    /// Too many repetitions inside one another.
    Depth,
}

impl Program {
    /// Of a pattern.
    pub fn new(pattern: &Pattern) -> Result<Self, TooLarge> {
        let mut compiler = Compiler::default();
        compiler.compile(pattern)?;
        compiler.add(Instruction::Match)?;
        let has_start = compiler.instructions.contains(&Instruction::Start);
        Ok(Program {
            instructions: compiler.instructions,
            takes: compiler.takes,
            has_start,
            least_rows: pattern.least_rows(),
        })
    }

    /// The instruction at a place.
    pub fn at(&self, place: Place) -> Instruction {
        self.instructions[place as usize]
    }

    /// The number of instructions.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// How many instructions take rows.
    pub fn takes(&self) -> usize {
        self.takes as usize
    }

    /// The program, an instruction a line; `name` calls variables.
    pub fn lines(&self, name: impl Fn(Variable) -> String) -> Vec<String> {
        let line = |(place, instruction): (usize, &Instruction)| {
            let text = match instruction {
                Instruction::Take { variable, excluded, .. } => {
                    let excluded = if *excluded { " (excluded)" } else { "" };
                    format!("take {}{excluded}", name(*variable))
                }
                other => other.to_string(),
            };
            format!("{place}: {text}")
        };
        self.instructions.iter().enumerate().map(line).collect()
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Instruction::Take { variable, .. } => write!(f, "take {variable}"),
            Instruction::Split(first, second) => write!(f, "prefer {first} over {second}"),
            Instruction::Jump(place) => write!(f, "go to {place}"),
            Instruction::Enter(_) => f.write_str("begin an iteration"),
            Instruction::Leave(_) => f.write_str("end the iteration if it took a row"),
            Instruction::Start => f.write_str("first row of the partition"),
            Instruction::End => f.write_str("no row after"),
            Instruction::Match => f.write_str("match"),
        }
    }
}

#[derive(Default)]
struct Compiler {
    instructions: Vec<Instruction>,
    takes: u32,
    excluded: bool,
    depth: Depth,
}

impl Compiler {
    fn place(&self) -> Place {
        self.instructions.len() as Place
    }

    fn add(&mut self, instruction: Instruction) -> Result<Place, TooLarge> {
        if self.instructions.len() >= MAX_INSTRUCTIONS {
            return Err(TooLarge::Instructions);
        }
        self.instructions.push(instruction);
        Ok(self.place() - 1)
    }

    /// Recursion goes as deep as brackets, which the dialect bounds.
    fn compile(&mut self, pattern: &Pattern) -> Result<(), TooLarge> {
        match pattern {
            Pattern::Empty => Ok(()),
            Pattern::Row(variable) => {
                let number = self.takes;
                self.takes += 1;
                let (variable, excluded) = (*variable, self.excluded);
                self.add(Instruction::Take {
                    variable,
                    excluded,
                    number,
                })
                .map(|_| ())
            }
            Pattern::Concat(parts) => parts.iter().try_for_each(|part| self.compile(part)),
            Pattern::Alternation(parts) => self.alternation(parts),
            Pattern::Permute(parts) => self.permute(parts),
            Pattern::Exclude(body) => {
                let outer = std::mem::replace(&mut self.excluded, true);
                let compiled = self.compile(body);
                self.excluded = outer;
                compiled
            }
            Pattern::Repeat {
                body,
                min,
                max,
                preference,
            } => self.repeat(body, *min, *max, *preference),
            Pattern::Start => self.add(Instruction::Start).map(|_| ()),
            Pattern::End => self.add(Instruction::End).map(|_| ()),
        }
    }

    fn alternation(&mut self, parts: &[Pattern]) -> Result<(), TooLarge> {
        let mut ends = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            let split = (!last).then(|| self.add(Instruction::Split(0, 0))).transpose()?;
            self.compile(part)?;
            if let Some(split) = split {
                ends.push(self.add(Instruction::Jump(0))?);
                self.instructions[split as usize] = Instruction::Split(split + 1, self.place());
            }
        }
        let end = self.place();
        ends.into_iter()
            .for_each(|jump| self.instructions[jump as usize] = Instruction::Jump(end));
        Ok(())
    }

    /// A node for each set of parts that have been there; from each, the missing parts in the order of the text.
    fn permute(&mut self, parts: &[Pattern]) -> Result<(), TooLarge> {
        let Some(sets) = 1_usize.checked_shl(parts.len() as u32).filter(|_| parts.len() < 32) else {
            return Err(TooLarge::Instructions);
        };
        let full = sets - 1;
        let mut begin = vec![Place::MAX; sets];
        // Jumps to nodes that come later: every part leads to a larger set.
        let mut jumps: Vec<(Place, usize)> = Vec::new();
        for set in 0..full {
            begin[set] = self.place();
            let missing: Vec<usize> = (0..parts.len()).filter(|part| set >> part & 1 == 0).collect();
            for (index, part) in missing.iter().enumerate() {
                let last = index + 1 == missing.len();
                let split = (!last).then(|| self.add(Instruction::Split(0, 0))).transpose()?;
                self.compile(&parts[*part])?;
                let jump = self.add(Instruction::Jump(0))?;
                jumps.push((jump, set | 1 << part));
                if let Some(split) = split {
                    self.instructions[split as usize] = Instruction::Split(split + 1, self.place());
                }
            }
        }
        begin[full] = self.place();
        for (jump, set) in jumps {
            self.instructions[jump as usize] = Instruction::Jump(begin[set]);
        }
        Ok(())
    }

    fn repeat(&mut self, body: &Pattern, min: u64, max: Option<u64>, preference: Preference) -> Result<(), TooLarge> {
        let nullable = body.is_nullable();
        match max {
            // The last iteration that is needed is the loop's own body.
            None if min > 0 && !nullable => {
                self.copies(body, min - 1)?;
                let start = self.place();
                self.compile(body)?;
                let split = self.add(Instruction::Split(0, 0))?;
                self.instructions[split as usize] = split_of(start, self.place(), preference);
                Ok(())
            }
            None => {
                self.copies(body, min)?;
                let start = self.add(Instruction::Split(0, 0))?;
                self.iteration(body, nullable)?;
                self.add(Instruction::Jump(start))?;
                self.instructions[start as usize] = split_of(start + 1, self.place(), preference);
                Ok(())
            }
            Some(max) => {
                self.copies(body, min)?;
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.add(Instruction::Split(0, 0))?);
                    self.iteration(body, nullable)?;
                }
                let end = self.place();
                splits
                    .into_iter()
                    .for_each(|split| self.instructions[split as usize] = split_of(split + 1, end, preference));
                Ok(())
            }
        }
    }

    fn copies(&mut self, body: &Pattern, count: u64) -> Result<(), TooLarge> {
        for _ in 0..count {
            let before = self.place();
            self.compile(body)?;
            if self.place() == before {
                // A body without instructions is the same however often.
                break;
            }
        }
        Ok(())
    }

    fn iteration(&mut self, body: &Pattern, nullable: bool) -> Result<(), TooLarge> {
        if !nullable {
            return self.compile(body);
        }
        let depth = self.depth;
        if depth >= NONE_FRESH {
            return Err(TooLarge::Depth);
        }
        self.add(Instruction::Enter(depth))?;
        self.depth += 1;
        self.compile(body)?;
        self.depth -= 1;
        self.add(Instruction::Leave(depth)).map(|_| ())
    }
}

/// Go round again, or on.
fn split_of(again: Place, on: Place, preference: Preference) -> Instruction {
    match preference {
        Preference::Greedy => Instruction::Split(again, on),
        Preference::Reluctant => Instruction::Split(on, again),
    }
}

/// No iteration is without a row so far. Others are *fresh*: if one is, so are those inside of it, because they began later;
/// so the depth of the outermost says all.
pub const NONE_FRESH: Depth = 63;

/// The ways from a place up to where threads take rows, park, or match.
pub struct Closure {
    /// For each place the depths it was met with, and in which call.
    met: Vec<(u32, u64)>,
    call: u32,
    waiting: Vec<(Place, Depth)>,
}

/// Where a way ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Takes the next row.
    Take(Place),
    /// Waits for the end of the partition.
    End(Place),
    /// Has matched.
    Match,
}

impl Closure {
    /// For a program.
    pub fn new(program: &Program) -> Self {
        Closure {
            met: vec![(0, 0); program.len()],
            call: 0,
            waiting: Vec::new(),
        }
    }

    /// Forgets which places were met: what follows is another row, or another past.
    pub fn renew(&mut self) {
        self.call = self.call.wrapping_add(1);
        if self.call == 0 {
            self.met.fill((0, 0));
            self.call = 1;
        }
    }

    /// Calls `stop` with each stop from `place` on, the preferred first, until it says that no more are wanted. Places met since
    /// [`Closure::renew`] are left out: what is there is known.
    pub fn run(
        &mut self,
        program: &Program,
        place: Place,
        at: Position,
        mut stop: impl FnMut(Stop) -> Wanted,
    ) -> Wanted {
        self.waiting.clear();
        self.waiting.push((place, NONE_FRESH));
        while let Some((place, fresh)) = self.waiting.pop() {
            let (call, depths) = &mut self.met[place as usize];
            if *call != self.call {
                (*call, *depths) = (self.call, 0);
            }
            if *depths >> fresh & 1 == 1 {
                continue;
            }
            *depths |= 1 << fresh;
            match program.at(place) {
                Instruction::Take { .. } => {
                    if stop(Stop::Take(place)) == Wanted::No {
                        return Wanted::No;
                    }
                }
                Instruction::Match => {
                    if stop(Stop::Match) == Wanted::No {
                        return Wanted::No;
                    }
                }
                Instruction::End if at == Position::Ended => self.waiting.push((place + 1, fresh)),
                Instruction::End => {
                    if stop(Stop::End(place)) == Wanted::No {
                        return Wanted::No;
                    }
                }
                Instruction::Start if at == Position::First => self.waiting.push((place + 1, fresh)),
                Instruction::Start => {}
                Instruction::Split(first, second) => {
                    self.waiting.push((second, fresh));
                    self.waiting.push((first, fresh));
                }
                Instruction::Jump(to) => self.waiting.push((to, fresh)),
                Instruction::Enter(depth) => self.waiting.push((place + 1, fresh.min(depth))),
                Instruction::Leave(depth) if fresh <= depth => {}
                Instruction::Leave(_) => self.waiting.push((place + 1, NONE_FRESH)),
            }
        }
        Wanted::Yes
    }
}

/// Whether more stops are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Go on.
    Yes,
    /// Less preferred ones do not matter.
    No,
}

/// Where in the partition threads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Before its first row.
    First,
    /// Somewhere else.
    Inside,
    /// After its last row, and at least one.
    Ended,
}

/// The variables that a first row can be, of a program that is not at the partition's beginning; `None` if it can match without a row.
pub fn first_variables(program: &Program) -> Option<Variables> {
    let mut closure = Closure::new(program);
    closure.renew();
    let mut variables = Some(0);
    closure.run(program, 0, Position::Inside, |stop| {
        match stop {
            Stop::Take(place) => {
                if let (Instruction::Take { variable, .. }, Some(found)) = (program.at(place), &mut variables)
                    && !has(*found, variable)
                {
                    *found |= only(variable);
                }
            }
            Stop::End(_) | Stop::Match => variables = None,
        }
        Wanted::Yes
    });
    variables
}
