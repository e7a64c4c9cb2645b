//! A cut: one snapshot on its way through the tasks of an app.
//!
//! The app asks every task for its part. A task that others feed gives it when the barrier has come from all of those that are
//! still alive (`exchange`); one that has ended has left its last part behind.
//!
//! *Tables* are shared by tasks. The tasks that write them meet: each waits, its own state taken and its barriers sent, until
//! the last of them has written down the tables. So a table holds exactly what the events before the cut did to it. Nobody
//! waits for long: what a task still has to do before it comes is what its inputs held.

use std::collections::{BTreeMap, BTreeSet};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::snapshot::Snapshot;
use crate::connectors::Position;
use crate::error::{Error, Result};
use crate::operators::state::State;
use crate::tables::watch::WatcherMark;

/// What is taken of tables at a cut.
#[derive(Debug, Default)]
pub struct TableStates {
    /// Their rows, by table.
    pub rows: BTreeMap<String, State>,
    /// Where the states of those who watch them come.
    pub marks: Vec<Mark>,
}

/// A task's part of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The state of its operators, the positions of its sources.
    pub snapshot: Snapshot,
    /// Who still works off what was handed over before.
    pub marks: Vec<Mark>,
}

/// Somebody who has yet to come to a cut, on a thread of its own.
#[derive(Debug, Clone)]
pub enum Mark {
    /// A sink.
    Sink(SinkMark),
    /// Somebody who watches a table or a stream.
    Watcher(WatcherMark),
}

/// Where a sink will stand when it has written all that came before a cut.
#[derive(Debug, Clone)]
pub struct SinkMark {
    /// The stream.
    pub stream: String,
    /// What its position is saved under.
    pub id: String,
    /// Brings it; `None`: the sink cannot go back to it. Disconnects when the sink has failed.
    pub position: Receiver<Option<Position>>,
}

impl Part {
    /// The whole part, once the sinks have written what came before the cut. *Errors.* When one has failed.
    pub fn when_written(self) -> Result<Snapshot> {
        let mut snapshot = self.snapshot;
        for mark in self.marks {
            mark.wait(&mut snapshot)?;
        }
        Ok(snapshot)
    }

    /// Adds what is taken of tables.
    pub fn add_tables(&mut self, tables: TableStates) {
        self.snapshot.tables.extend(tables.rows);
        self.marks.extend(tables.marks);
    }
}

impl Mark {
    /// Waits for the answer, and adds it.
    fn wait(self, snapshot: &mut Snapshot) -> Result<()> {
        match self {
            Mark::Sink(sink) => match sink.position.recv() {
                Ok(Some(position)) => drop(snapshot.sinks.insert(sink.id, position)),
                Ok(None) => {}
                Err(_) => return Err(Error::failed(format!("the sink of stream {} has stopped", sink.stream))),
            },
            Mark::Watcher(watcher) => match watcher.state.recv() {
                Ok(bytes) => drop(snapshot.tables.insert(watcher.id.to_string(), State::of_bytes(bytes))),
                Err(_) => return Err(Error::failed(format!("what keeps '{}' has stopped", watcher.id))),
            },
        }
        Ok(())
    }
}

/// See the module.
pub struct Cut {
    number: u64,
    parts: Sender<(usize, Result<Part>)>,
    meeting: Mutex<Meeting>,
    over: Condvar,
}

struct Meeting {
    missing: BTreeSet<usize>,
    over: bool,
}

impl Cut {
    /// The cut of that number, of so many tasks, of which these write tables; and where their parts come in.
    pub fn new(number: u64, tasks: usize, writers: BTreeSet<usize>) -> (Self, Receiver<(usize, Result<Part>)>) {
        let (parts, answers) = bounded(tasks.max(1));
        let cut = Cut {
            number,
            parts,
            meeting: Mutex::new(Meeting {
                missing: writers,
                over: false,
            }),
            over: Condvar::new(),
        };
        (cut, answers)
    }

    /// Its number; later cuts have larger ones.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A task's part. Each task gives one.
    pub fn give(&self, task: usize, part: Result<Part>) {
        // Nobody who asked waits for it any more.
        let _ = self.parts.send((task, part));
    }

    /// A task that writes tables has come to the cut: returns when all such tasks have. The last of them gets the tables.
    pub fn meet(&self, task: usize, tables: impl FnOnce() -> Result<TableStates>) -> Result<TableStates> {
        let mut meeting = self.meeting.lock();
        if let Some(tables) = self.come(&mut meeting, task, tables) {
            return tables;
        }
        while !meeting.over && !meeting.missing.is_empty() {
            self.over.wait(&mut meeting);
        }
        Ok(TableStates::default())
    }

    /// A task has ended: nobody waits for it. The tables, if all others had come.
    pub fn absent(&self, task: usize, tables: impl FnOnce() -> Result<TableStates>) -> Option<Result<TableStates>> {
        self.come(&mut self.meeting.lock(), task, tables)
    }

    fn come(
        &self,
        meeting: &mut Meeting,
        task: usize,
        tables: impl FnOnce() -> Result<TableStates>,
    ) -> Option<Result<TableStates>> {
        let expected = meeting.missing.remove(&task);
        if !expected || !meeting.missing.is_empty() || meeting.over {
            return None;
        }
        let tables = tables();
        meeting.over = true;
        self.over.notify_all();
        Some(tables)
    }

    /// Lets everybody go on who waits, whatever became of the cut.
    pub fn end(&self) {
        self.meeting.lock().over = true;
        self.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn states(name: &str) -> Result<TableStates> {
        Ok(TableStates {
            rows: BTreeMap::from([(name.to_string(), State::default())]),
            marks: Vec::new(),
        })
    }

    #[test]
    fn the_last_writer_takes_the_tables_and_the_others_wait_for_it() {
        let (cut, _parts) = Cut::new(1, 3, BTreeSet::from([0, 2]));
        let cut = Arc::new(cut);
        let first = cut.clone();
        let waiting = std::thread::spawn(move || first.meet(0, || Err(Error::failed("too early"))));
        while cut.meeting.lock().missing.len() == 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!waiting.is_finished());
        assert_eq!(cut.meet(2, || states("T")).unwrap().rows.len(), 1);
        assert!(waiting.join().unwrap().unwrap().rows.is_empty());
    }

    #[test]
    fn one_that_has_ended_is_not_waited_for() {
        let (cut, _parts) = Cut::new(1, 2, BTreeSet::from([0, 1]));
        assert!(cut.absent(1, || states("T")).is_none());
        // Told twice, as may happen.
        assert!(cut.absent(1, || states("T")).is_none());
        assert_eq!(cut.meet(0, || states("T")).unwrap().rows.len(), 1);
    }

    #[test]
    fn the_end_sets_everybody_free() {
        let (cut, _parts) = Cut::new(1, 2, BTreeSet::from([0, 1]));
        cut.end();
        assert!(cut.meet(0, || states("T")).unwrap().rows.is_empty());
    }
}
