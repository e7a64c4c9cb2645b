//! When a trigger fires for a key, and when it clears. No I/O and no clock: times are given, in µs.
//!
//! `feat/triggers/README.md` has the table of states. A key that is not in the map is quiet and has never fired, or that is forgotten.
//!
//! *Cost.* O(1) a row; O(log held) when a cool-down begins and ends.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Micros;

/// How a row stands to a trigger's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// `fire` holds.
    Firing,
    /// Neither holds.
    Between,
    /// `clear` holds, and `fire` does not.
    Clear,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// It fires.
    Fire,
    /// It has cleared.
    Clear,
}

impl Kind {
    /// As it is written in events.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Fire => "FIRE",
            Kind::Clear => "CLEAR",
        }
    }
}

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub kind: Kind,
    /// The how-manieth time of its key it is.
    pub generation: u64,
}

/// What is done for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// It is told.
    Tell(Told),
    /// It would fire, and waits for the end of the cool-down: [`Machine::hold`] its data.
    Hold,
    /// It would fire, but too many keys are fired.
    Full,
}

/// What bounds it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// How long after a FIRE its key does not fire again.
    pub cool_down: Micros,
    /// How many keys are remembered.
    pub max_rows: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Quiet,
    /// The row with which it fires when the cool-down is over, if nothing else happens.
    Held(Arc<str>),
    /// It fires, and nobody was told, nor will be.
    Silent,
    Fired,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    #[serde(rename = "n")]
    generation: u64,
    #[serde(rename = "p")]
    phase: Phase,
    /// When it was last told that it fires.
    #[serde(rename = "t")]
    fired_at: Micros,
}

/// What a checkpoint keeps of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMachine {
    base: u64,
    keys: Vec<(Arc<str>, State)>,
}

/// The keys of one trigger.
#[derive(Debug)]
pub struct Machine {
    rule: Rule,
    keys: HashMap<Arc<str>, State>,
    /// All keys that were forgotten had smaller numbers, or this one.
    base: u64,
    /// When the cool-downs of held keys end. Some may not be held any more.
    due: BinaryHeap<Reverse<(Micros, Arc<str>)>>,
    /// How many are not quiet.
    active: usize,
    /// So many keys have to be there before quiet ones are looked for again.
    sweep_at: usize,
}

impl Machine {
    /// With nothing fired.
    pub fn new(rule: Rule) -> Self {
        Machine {
            rule,
            keys: HashMap::new(),
            base: 0,
            due: BinaryHeap::new(),
            active: 0,
            sweep_at: rule.max_rows,
        }
    }

    /// As it was saved.
    pub fn restored(rule: Rule, saved: SavedMachine) -> Self {
        let mut machine = Machine::new(rule);
        machine.base = saved.base;
        for (key, state) in saved.keys {
            machine.active += usize::from(state.phase != Phase::Quiet);
            if matches!(state.phase, Phase::Held(_)) {
                let at = state.fired_at.saturating_add(rule.cool_down);
                machine.due.push(Reverse((at, key.clone())));
            }
            machine.keys.insert(key, state);
        }
        machine
    }

    /// As it is.
    pub fn saved(&self) -> SavedMachine {
        let mut keys: Vec<(Arc<str>, State)> = self
            .keys
            .iter()
            .map(|(key, state)| (key.clone(), state.clone()))
            .collect();
        // Equal states shall be equal bytes.
        keys.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        SavedMachine { base: self.base, keys }
    }

    /// How many keys are fired, held or silent.
    pub fn active(&self) -> usize {
        self.active
    }

    /// The keys that are.
    pub fn active_keys(&self) -> impl Iterator<Item = &Arc<str>> {
        let active = self.keys.iter().filter(|(_, state)| state.phase != Phase::Quiet);
        active.map(|(key, _)| key)
    }

    /// A row of a key came, or changed.
    pub fn row(&mut self, key: &str, row: Row, now: Micros) -> Step {
        match row {
            Row::Between => Step::Nothing,
            Row::Clear => self.gone(key),
            Row::Firing => self.fires(key, now),
        }
    }

    fn fires(&mut self, key: &str, now: Micros) -> Step {
        if let Some(state) = self.keys.get(key) {
            match state.phase {
                Phase::Quiet => {}
                Phase::Held(_) => return Step::Hold,
                Phase::Silent | Phase::Fired => return Step::Nothing,
            }
        } else if !self.has_room(now) {
            return Step::Full;
        }
        let generation = self.base;
        let state = self.keys.entry(Arc::from(key)).or_insert(State {
            generation,
            phase: Phase::Quiet,
            fired_at: Micros::MIN,
        });
        state.generation += 1;
        self.active += 1;
        let over = state.fired_at.saturating_add(self.rule.cool_down);
        if self.rule.cool_down > 0 && state.fired_at > Micros::MIN && now < over {
            state.phase = Phase::Held("".into());
            self.due.push(Reverse((over, Arc::from(key))));
            return Step::Hold;
        }
        (state.phase, state.fired_at) = (Phase::Fired, now);
        Step::Tell(Told {
            kind: Kind::Fire,
            generation: state.generation,
        })
    }

    /// The data with which a held key will fire.
    pub fn hold(&mut self, key: &str, data: Arc<str>) {
        if let Some(state) = self.keys.get_mut(key)
            && matches!(state.phase, Phase::Held(_))
        {
            state.phase = Phase::Held(data);
        }
    }

    /// A key fires without anybody being told.
    pub fn silence(&mut self, key: &str, now: Micros) -> Step {
        let step = self.fires(key, now);
        if let (Step::Tell(_), Some(state)) = (step, self.keys.get_mut(key)) {
            (state.phase, state.fired_at) = (Phase::Silent, Micros::MIN);
        }
        step
    }

    /// The row of a key has gone, or is clear.
    pub fn gone(&mut self, key: &str) -> Step {
        if self.active == 0 {
            return Step::Nothing;
        }
        let Some(state) = self.keys.get_mut(key) else {
            return Step::Nothing;
        };
        let before = std::mem::replace(&mut state.phase, Phase::Quiet);
        self.active -= usize::from(before != Phase::Quiet);
        match before {
            Phase::Fired => Step::Tell(Told {
                kind: Kind::Clear,
                generation: state.generation,
            }),
            Phase::Quiet | Phase::Held(_) | Phase::Silent => Step::Nothing,
        }
    }

    /// When a cool-down of a held key ends next, or has.
    pub fn next_due(&self) -> Option<Micros> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The next held key whose cool-down is over: it has fired now, with these data.
    pub fn pop_due(&mut self, now: Micros) -> Option<(Arc<str>, Told, Arc<str>)> {
        while self.next_due().is_some_and(|at| at <= now) {
            let Reverse((at, key)) = self.due.pop()?;
            let Some(state) = self.keys.get_mut(&key) else {
                continue;
            };
            let Phase::Held(data) = &state.phase else {
                continue;
            };
            // It may have been held, quiet and held again.
            if state.fired_at.saturating_add(self.rule.cool_down) != at {
                continue;
            }
            let data = data.clone();
            (state.phase, state.fired_at) = (Phase::Fired, now);
            let told = Told {
                kind: Kind::Fire,
                generation: state.generation,
            };
            return Some((key, told, data));
        }
        None
    }

    /// Whether one more key can be remembered; if need be quiet ones are forgotten.
    fn has_room(&mut self, now: Micros) -> bool {
        if self.keys.len() < self.sweep_at {
            return true;
        }
        if self.active >= self.rule.max_rows {
            return false;
        }
        let (mut base, cool_down) = (self.base, self.rule.cool_down);
        self.keys.retain(|_, state| {
            let cools = cool_down > 0 && now < state.fired_at.saturating_add(cool_down);
            let stays = state.phase != Phase::Quiet || cools;
            if !stays {
                base = base.max(state.generation);
            }
            stays
        });
        self.base = base;
        // Looked through again when an eighth more has come, so that it costs each key little. That is a little more than the bound while
        // most keys are fired.
        self.sweep_at = self.rule.max_rows.max(self.keys.len() + self.rule.max_rows / 8 + 1);
        self.keys.len() < self.sweep_at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule = Rule {
        cool_down: 0,
        max_rows: 1_000,
    };

    fn told(step: Step) -> String {
        match step {
            Step::Nothing => "-".to_string(),
            Step::Hold => "hold".to_string(),
            Step::Full => "full".to_string(),
            Step::Tell(told) => format!("{} {}", told.kind.name(), told.generation),
        }
    }

    #[test]
    fn hysteresis() {
        let mut machine = Machine::new(RULE);
        let steps = [
            (Row::Between, "-"),
            (Row::Clear, "-"),
            (Row::Firing, "FIRE 1"),
            (Row::Firing, "-"),
            (Row::Between, "-"),
            (Row::Firing, "-"),
            (Row::Between, "-"),
            (Row::Clear, "CLEAR 1"),
            (Row::Clear, "-"),
            (Row::Between, "-"),
            (Row::Firing, "FIRE 2"),
        ];
        for (at, (row, expected)) in steps.into_iter().enumerate() {
            assert_eq!(told(machine.row("a", row, at as i64)), expected, "{at}");
        }
        assert_eq!(told(machine.row("b", Row::Firing, 99)), "FIRE 1");
        assert_eq!(told(machine.gone("a")), "CLEAR 2");
        assert_eq!((told(machine.gone("a")), machine.active()), ("-".to_string(), 1));
    }

    #[test]
    fn a_cool_down_holds_and_then_tells_what_still_fires() {
        let rule = Rule { cool_down: 100, ..RULE };
        let mut machine = Machine::new(rule);
        assert_eq!(told(machine.row("a", Row::Firing, 10)), "FIRE 1");
        assert_eq!(told(machine.row("a", Row::Clear, 20)), "CLEAR 1");
        assert_eq!(told(machine.row("a", Row::Firing, 30)), "hold");
        machine.hold("a", "first".into());
        assert_eq!(told(machine.row("a", Row::Firing, 40)), "hold");
        machine.hold("a", "second".into());
        assert_eq!(told(machine.row("a", Row::Between, 50)), "-");
        assert_eq!(machine.next_due(), Some(110));
        assert!(machine.pop_due(109).is_none());
        // It survives being saved.
        let mut machine = Machine::restored(rule, machine.saved());
        let (key, fire, data) = machine.pop_due(115).unwrap();
        assert_eq!(
            (&*key, &*data, told(Step::Tell(fire))),
            ("a", "second", "FIRE 2".to_string())
        );
        assert!(machine.pop_due(1_000).is_none());
        // Held and clear again before the end: nothing is told.
        assert_eq!(told(machine.row("a", Row::Clear, 120)), "CLEAR 2");
        assert_eq!(told(machine.row("a", Row::Firing, 130)), "hold");
        assert_eq!(told(machine.row("a", Row::Clear, 140)), "-");
        assert!(machine.pop_due(1_000).is_none());
        assert_eq!(told(machine.row("a", Row::Firing, 2_000)), "FIRE 4");
        assert_eq!(told(machine.row("b", Row::Firing, 2_000)), "FIRE 1");
    }

    #[test]
    fn silent_keys_tell_nothing_until_they_have_cleared() {
        let mut machine = Machine::new(Rule { cool_down: 100, ..RULE });
        machine.silence("a", 0);
        assert_eq!(told(machine.row("a", Row::Firing, 1)), "-");
        assert_eq!(told(machine.row("a", Row::Clear, 2)), "-");
        assert_eq!(told(machine.row("a", Row::Firing, 3)), "FIRE 2");
    }

    #[test]
    fn quiet_keys_are_forgotten_and_their_numbers_never_come_again() {
        let mut machine = Machine::new(Rule {
            cool_down: 0,
            max_rows: 8,
        });
        let mut seen = std::collections::HashSet::new();
        for round in 0..50 {
            for key in 0..20 {
                let key = format!("{}", (key * 7 + round) % 20);
                if let Step::Tell(fire) = machine.row(&key, Row::Firing, round) {
                    assert!(seen.insert((key.clone(), fire.generation)));
                }
                machine.gone(&key);
                assert!(machine.keys.len() <= 8 + 2);
            }
        }
        assert_eq!(seen.len(), 1_000);
        for key in 0..8 {
            assert_ne!(machine.row(&format!("k{key}"), Row::Firing, 0), Step::Full);
        }
        while machine.active() < 8 {
            machine.row(&format!("m{}", machine.active()), Row::Firing, 0);
        }
        let full = (0..10).map(|key| machine.row(&format!("n{key}"), Row::Firing, 0));
        assert!(full.filter(|step| *step == Step::Full).count() >= 8);
        machine.gone("k1");
        assert_ne!(machine.row("k1", Row::Firing, 0), Step::Full);
    }

    /// A key by its whole history, looked at anew for each question.
    fn model(history: &[(Micros, Option<Row>)], cool_down: Micros, until: Micros) -> Vec<(Micros, Kind)> {
        let mut told: Vec<(Micros, Kind)> = Vec::new();
        // When it began to fire, and when that was told.
        let (mut since, mut fired): (Option<Micros>, Option<Micros>) = (None, None);
        for now in 0..=until {
            let last =
                |told: &Vec<(Micros, Kind)>| told.iter().rfind(|(_, kind)| *kind == Kind::Fire).map(|(at, _)| *at);
            let may = |told: &Vec<(Micros, Kind)>| last(told).is_none_or(|last| now >= last + cool_down);
            // What is due comes before the rows of that moment.
            if since.is_some() && fired.is_none() && may(&told) {
                told.push((now, Kind::Fire));
                fired = Some(now);
            }
            for (_, row) in history.iter().filter(|(at, _)| *at == now) {
                match row {
                    Some(Row::Firing) if since.is_none() => {
                        since = Some(now);
                        if may(&told) {
                            told.push((now, Kind::Fire));
                            fired = Some(now);
                        }
                    }
                    Some(Row::Firing | Row::Between) => {}
                    Some(Row::Clear) | None => {
                        if fired.is_some() {
                            told.push((now, Kind::Clear));
                        }
                        (since, fired) = (None, None);
                    }
                }
            }
        }
        told
    }

    proptest! {
        /// Whatever rows come, with saving and restoring between, it tells what the model tells of each key.
        #[test]
        fn as_the_model(
            rows in prop::collection::vec((0_u8..3, 0_u8..4, 0_i64..4, prop::bool::weighted(0.1)), 0..80),
            cool_down in prop::sample::select(vec![0_i64, 1, 5, 20]),
        ) {
            let rule = Rule { cool_down, max_rows: 100 };
            let mut machine = Machine::new(rule);
            let mut got: HashMap<String, Vec<(Micros, Kind)>> = HashMap::new();
            let mut histories: HashMap<String, Vec<(Micros, Option<Row>)>> = HashMap::new();
            let mut now = 0;
            let due = |machine: &mut Machine, got: &mut HashMap<String, Vec<(Micros, Kind)>>, now: Micros| {
                for at in (0..=now).rev().take(1) {
                    while let Some((key, fire, _)) = machine.pop_due(at) {
                        got.entry(key.to_string()).or_default().push((at, fire.kind));
                    }
                }
            };
            for (key, what, later, save) in rows {
                for _ in 0..later {
                    now += 1;
                    due(&mut machine, &mut got, now);
                }
                let key = key.to_string();
                let row = [Some(Row::Firing), Some(Row::Between), Some(Row::Clear), None][usize::from(what)];
                histories.entry(key.clone()).or_default().push((now, row));
                let step = match row {
                    Some(row) => machine.row(&key, row, now),
                    None => machine.gone(&key),
                };
                if let Step::Tell(fire) = step {
                    got.entry(key).or_default().push((now, fire.kind));
                }
                if save {
                    machine = Machine::restored(rule, machine.saved());
                }
            }
            for _ in 0..=cool_down {
                now += 1;
                due(&mut machine, &mut got, now);
            }
            for (key, history) in histories {
                let expected = model(&history, cool_down, now);
                prop_assert_eq!(got.remove(&key).unwrap_or_default(), expected, "{} {:?}", key, history);
            }
        }
    }
}
