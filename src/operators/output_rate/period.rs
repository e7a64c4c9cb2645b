//! The periods of an output rate.

use super::Every;
use crate::error::Result;
use crate::event::Micros;
use crate::operators::state::{StateReader, StateWriter};
use crate::operators::{Output, TimeUpdate};

/// Where in its period an output rate stands.
#[derive(Debug, Clone)]
pub struct Period {
    every: Every,
    /// Rows of this period so far.
    rows: u64,
    /// When it ends.
    ends: Option<Micros>,
}

impl Period {
    /// Before the first.
    pub fn new(every: Every) -> Self {
        Period {
            every,
            rows: 0,
            ends: None,
        }
    }

    /// How many of `rows` belong to this period.
    pub fn take(&self, rows: usize) -> usize {
        match self.every {
            Every::Events(events) => usize::try_from(events - self.rows).map_or(rows, |left| left.min(rows)),
            Every::Time(_) => rows,
        }
    }

    /// Counts rows; whether they are the last of the period, and a new one begins.
    pub fn count(&mut self, rows: usize) -> bool {
        let Every::Events(events) = self.every else {
            return false;
        };
        self.rows += rows as u64;
        let over = self.rows >= events;
        if over {
            self.rows = 0;
        }
        over
    }

    /// Whether time has ended the period. The first call is the start of the app.
    pub fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> bool {
        let (Every::Time(length), TimeUpdate::Timer(now)) = (self.every, time) else {
            return false;
        };
        let ends = *self.ends.get_or_insert(now.saturating_add(length));
        let over = now >= ends;
        if over {
            let passed = now.saturating_sub(ends) / length + 1;
            self.ends = Some(ends.saturating_add(passed.saturating_mul(length)));
        }
        if let Some(ends) = self.ends {
            out.wake_at(ends);
        }
        over
    }

    /// Writes where it stands.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&(self.rows, self.ends))
    }

    /// Reads it back.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        (self.rows, self.ends) = state.value()?;
        Ok(())
    }
}
