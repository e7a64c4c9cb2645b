//! A pattern matcher as textbooks have it, to compare with.
//!
//! Instances are in one list; every event is tried against every instance, whatever it waits for; an instance has copies of the
//! rows it took, and one that goes on beside its copy copies them all. Nothing is evaluated for a whole batch, nothing is
//! indexed, nothing is shared. Rows are structs, not maps of names to boxed values, so the comparison does not flatter us: the
//! difference is that of the algorithm.

use std::collections::VecDeque;
use std::sync::Arc;

/// An event.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is.
    pub kind: Arc<str>,
    /// Its key.
    pub key: i64,
    /// Its value.
    pub value: f64,
    /// Its time in µs.
    pub time: i64,
}

/// Whether an event can be the next of an instance with these events.
pub type Step = Box<dyn Fn(&[Row], &Row) -> bool>;

/// `EVERY step -> step -> … WITHIN time`.
pub struct Nfa {
    steps: Vec<Step>,
    within: Option<i64>,
    /// The oldest first.
    instances: VecDeque<Vec<Row>>,
}

impl Nfa {
    /// Of its steps.
    pub fn new(steps: Vec<Step>, within: Option<i64>) -> Self {
        Nfa {
            steps,
            within,
            instances: VecDeque::new(),
        }
    }

    /// How many instances are open.
    pub fn open(&self) -> usize {
        self.instances.len()
    }

    /// Takes an event; `found` gets the rows of each match.
    pub fn event(&mut self, row: &Row, mut found: impl FnMut(&[Row])) {
        if let Some(within) = self.within {
            self.instances.retain(|rows| row.time - rows[0].time <= within);
        }
        let mut open = VecDeque::with_capacity(self.instances.len() + 1);
        for mut rows in self.instances.drain(..) {
            if self.steps[rows.len()](&rows, row) {
                rows.push(row.clone());
            }
            match rows.len() == self.steps.len() {
                true => found(&rows),
                false => open.push_back(rows),
            }
        }
        if self.steps[0](&[], row) {
            let rows = vec![row.clone()];
            match self.steps.len() == 1 {
                true => found(&rows),
                false => open.push_back(rows),
            }
        }
        self.instances = open;
    }
}
