//! The matcher's state as bytes: rows, and where the attempts began. Their threads follow when the rows are taken again.

use super::matcher::Matcher;
use super::track::{SavedTrack, Track};
use crate::error::{Error, Result};
use crate::operators::Output;
use crate::operators::state::{StateReader, StateWriter};

impl Matcher {
    /// Writes the state.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.keys.snapshot(state)?;
        self.store.snapshot(state)?;
        let tracks: Vec<SavedTrack> = self.tracks.iter().map(Track::saved).collect();
        state.value(&(self.clock, self.ended, tracks))
    }

    /// Reads it back. *Cost.* That of the rows held.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.keys.restore(state)?;
        self.store.restore(state)?;
        let tracks: Vec<SavedTrack>;
        (self.clock, self.ended, tracks) = state.value()?;
        if tracks.len() < self.keys.capacity() {
            return Err(Error::failed("the snapshot is damaged: partitions without rows"));
        }
        self.tracks = tracks.into_iter().map(Track::restored).collect();
        // What failed and was reported then is not reported again, and nothing new can be found.
        let mut told = Output::new(0);
        for id in self.keys.live() {
            self.touch(id);
            self.run(id, &mut told)?;
        }
        self.flush(&mut told)
    }
}
