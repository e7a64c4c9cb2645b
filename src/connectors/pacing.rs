//! [`Pace`]: how many rows are due, for sources that make rows at a rate.

use std::time::Duration;

use crate::connectors::{Flow, SourceOutput};
use crate::event::Micros;

/// The shortest sleep: at high rates rows come in batches of what is due per millisecond.
const TICK: Micros = 1_000;

/// The longest sleep, after which the clock is looked at again; it may have been set, or be virtual.
const LOOK: Micros = 50_000;

/// The rate of a generator: row `n` is due `n / rate` seconds after the start.
///
/// What back-pressure delays is made up for as fast as possible, so that the rate is kept over any longer time. A clock set
/// back stops nothing: only its forward steps count.
#[derive(Debug)]
pub struct Pace {
    per_second: Option<f64>,
    elapsed: Micros,
    last: Option<Micros>,
    taken: u64,
}

impl Pace {
    /// A rate in rows per second; `None` or 0 for as fast as possible.
    pub fn new(per_second: Option<f64>) -> Self {
        Pace {
            per_second: per_second.filter(|rate| *rate > 0.0),
            elapsed: 0,
            last: None,
            taken: 0,
        }
    }

    /// Takes up to `most` (at least 1) rows that are due, waiting until there is one. `None` when the app stops.
    pub fn take(&mut self, most: u64, out: &SourceOutput) -> Option<u64> {
        let Some(rate) = self.per_second else {
            return Some(most);
        };
        loop {
            let now = out.now();
            self.elapsed += (now - self.last.unwrap_or(now)).max(0);
            self.last = Some(now);
            let due = due(self.elapsed, rate).saturating_sub(self.taken);
            if due > 0 {
                let rows = due.min(most);
                self.taken += rows;
                return Some(rows);
            }
            let next = (self.taken as f64 / rate * 1e6).ceil() as Micros;
            let wait = (next - self.elapsed).clamp(TICK, LOOK);
            if out.wait(Duration::from_micros(wait.unsigned_abs())) == Flow::Stop {
                return None;
            }
        }
    }
}

/// How many rows are due `elapsed` after the start.
fn due(elapsed: Micros, rate: f64) -> u64 {
    (elapsed as f64 * rate / 1e6) as u64 + 1
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::event::VirtualClock;

    #[test]
    fn the_rate_holds_whenever_the_clock_is_looked_at() {
        let clock = Arc::new(VirtualClock::new(5_000_000));
        let (sender, _events) = bounded(1);
        let (stop, stopped) = bounded(0);
        let out = SourceOutput::new(sender, stopped, clock.clone());
        let mut pace = Pace::new(Some(1000.0));
        assert_eq!(pace.take(100, &out), Some(1));
        clock.set(5_000_000 + 300_000);
        assert_eq!(pace.take(100, &out), Some(100));
        assert_eq!(pace.take(1000, &out), Some(200));
        // Back by an hour, then on: only the step forward counts.
        clock.set(1_400_000);
        drop(stop);
        assert_eq!(pace.take(100, &out), None);
        clock.set(1_500_000);
        assert_eq!(pace.take(1000, &out), Some(100));
        assert_eq!(Pace::new(None).take(77, &out), Some(77));
        assert_eq!(Pace::new(Some(0.0)).take(77, &out), Some(77));
    }
}
