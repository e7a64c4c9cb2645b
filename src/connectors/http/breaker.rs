//! A circuit breaker: a server that fails again and again is left alone for a while.
//!
//! Closed, all requests pass. After so many failures one after the other it opens: none passes until a pause is over. Then one does, to try:
//! if it succeeds the breaker closes, if not the pause begins again. Apart from that a server may say itself when it wants to be
//! asked again.

use crate::event::Micros;

/// What opens it and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// So many failures one after the other; 0: nothing does.
    pub failures: u32,
    /// How long none passes.
    pub pause: Micros,
}

/// The breaker of one server.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Micros>,
    /// The one request that tries is on its way.
    trying: bool,
    not_before: Micros,
}

impl Breaker {
    /// Whether a request may go now; if not, when to ask again.
    pub fn admit(&mut self, now: Micros, settings: BreakerSettings) -> Result<(), Micros> {
        if now < self.not_before {
            return Err(self.not_before);
        }
        match self.open_until {
            None => Ok(()),
            Some(until) if now < until => Err(until),
            // Whoever is there when the one that tries is back learns from it; who asks too early asks again.
            Some(_) if self.trying => Err(now.saturating_add((settings.pause / 10).max(1_000))),
            Some(_) => {
                self.trying = true;
                Ok(())
            }
        }
    }

    /// The server has answered as it should.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
        self.trying = false;
    }

    /// The server has failed. Whether that opens the breaker.
    pub fn failed(&mut self, now: Micros, settings: BreakerSettings) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_open = self.open_until.is_some();
        // Of requests that were on their way when it opened nothing new is learned.
        let opens = self.trying || !was_open && settings.failures > 0 && self.failures >= settings.failures;
        if opens {
            self.open_until = Some(now.saturating_add(settings.pause));
            self.trying = false;
        }
        opens && !was_open
    }

    /// The server asks to be left alone until then.
    pub fn wait_until(&mut self, until: Micros) {
        self.not_before = self.not_before.max(until);
        self.trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failures: 3,
        pause: 100_000,
    };

    #[test]
    fn it_opens_tries_and_closes() {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(0, SETTINGS) && !breaker.failed(0, SETTINGS));
        breaker.succeeded();
        assert!(!breaker.failed(1, SETTINGS) && !breaker.failed(2, SETTINGS));
        assert_eq!(breaker.admit(2, SETTINGS), Ok(()));
        assert!(breaker.failed(3, SETTINGS));
        assert_eq!(breaker.admit(4, SETTINGS), Err(100_003));
        // One that was on its way changes nothing.
        assert!(!breaker.failed(50_000, SETTINGS));
        assert_eq!(breaker.admit(100_003, SETTINGS), Ok(()));
        assert_eq!(breaker.admit(100_004, SETTINGS), Err(110_004));
        assert!(!breaker.failed(100_010, SETTINGS));
        assert_eq!(breaker.admit(100_011, SETTINGS), Err(200_010));
        assert_eq!(breaker.admit(200_010, SETTINGS), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(200_011, SETTINGS), Ok(()));
    }

    #[test]
    fn a_server_says_when() {
        let mut breaker = Breaker::default();
        breaker.wait_until(70);
        breaker.wait_until(50);
        assert_eq!(breaker.admit(60, SETTINGS), Err(70));
        assert_eq!(breaker.admit(70, SETTINGS), Ok(()));
    }

    #[test]
    fn without_a_limit_it_stays_closed() {
        let never = BreakerSettings { failures: 0, pause: 10 };
        let mut breaker = Breaker::default();
        for now in 0..1_000 {
            assert!(!breaker.failed(now, never));
            assert_eq!(breaker.admit(now, never), Ok(()));
        }
    }
}
