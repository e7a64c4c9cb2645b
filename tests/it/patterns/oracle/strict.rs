//! SEQUENCE: who has not taken the event has failed, and one keeps each place.

use super::state::{State, close_element, each, waiting};
use super::{Attempt, Hit, Walk};

impl Walk<'_> {
    pub(super) fn settle(&mut self, event: usize, created: u64, mut hits: Vec<Hit>, mut revived: Option<u64>) {
        let took: Vec<u64> = hits
            .iter()
            .filter(|(took, ..)| took.0.is_some())
            .map(|(_, _, id, _)| *id)
            .collect();
        self.attempts
            .retain(|attempt| !attempt.begun || attempt.id > created || took.contains(&attempt.id));
        let mut occupied = Vec::new();
        self.one_place_each(&mut hits, &mut occupied);
        if let Some(start) = self.revive(&hits, &mut revived) {
            let mut own = Vec::new();
            self.offer_to(start, event, &mut own, &mut revived);
            self.one_place_each(&mut own, &mut occupied);
            self.revive(&own, &mut revived);
        }
    }

    pub(super) fn one_place_each(&mut self, hits: &mut [Hit], occupied: &mut Vec<usize>) {
        hits.sort_unstable();
        for (_, _, id, _) in hits.iter().filter(|(took, ..)| took.0.is_some()) {
            let Some(index) = self.attempts.iter().position(|attempt| attempt.id == *id) else {
                continue;
            };
            let root = &self.spec.root;
            let attempt = &mut self.attempts[index];
            let waits = waiting(root, &attempt.root);
            for e in &waits {
                match occupied.contains(e) {
                    true => close_element(root, &mut attempt.root, *e),
                    false => occupied.push(*e),
                }
            }
            if waiting(root, &attempt.root).is_empty() {
                self.attempts.remove(index);
            }
        }
    }

    /// Makes the start wait again if nobody is in it.
    pub(super) fn revive(&mut self, hits: &[Hit], revived: &mut Option<u64>) -> Option<u64> {
        if !self.leading || self.ending {
            return None;
        }
        let leading_path = |attempt: &Attempt| {
            let mut found = None;
            each(
                &self.spec.root,
                &attempt.root,
                &mut Vec::new(),
                &mut |_, state, path| {
                    if let State::Every { owns: true, .. } = state
                        && found.is_none()
                        && path.iter().all(|index| *index == 0)
                        && self.is_leading(path)
                    {
                        found = Some(());
                    }
                },
            );
            found
        };
        if self
            .attempts
            .iter()
            .any(|attempt| !attempt.begun || leading_path(attempt).is_some())
        {
            return revived.take();
        }
        self.start();
        let start = self.ids;
        // Who took the event in the start and then lost its place has used it up.
        let used = hits.iter().any(|(.., in_start)| *in_start);
        (!used).then_some(start)
    }
}
