//! Cron schedules in UTC.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::Micros;

/// The moments that a cron expression of five or six fields names: `[second] minute hour day month weekday`. A weekday is 0–7
/// with Sunday as 0 and 7, or a name; `?` is `*` for the days; `L`, `W` and `#` have their usual meanings.
#[derive(Debug, Clone)]
pub struct Schedule(Cron);

impl Schedule {
    /// Reads an expression; else one sentence why it is none.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(expression).map_err(|error| error.to_string())?;
        Ok(Schedule(cron))
    }

    /// The first moment after `time`; `None` if there is none.
    pub fn after(&self, time: Micros) -> Option<Micros> {
        let time = DateTime::<Utc>::from_timestamp_micros(time)?;
        let next = self.0.find_next_occurrence(&time, false).ok()?;
        Some(next.timestamp_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firings(expression: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(expression).expect("an expression");
        let mut time = from.parse::<DateTime<Utc>>().expect("a time").timestamp_micros();
        let mut firings = Vec::new();
        for _ in 0..count {
            let Some(next) = schedule.after(time) else { break };
            time = next;
            let text = DateTime::<Utc>::from_timestamp_micros(time).map(|time| time.to_rfc3339());
            firings.extend(text);
        }
        firings
    }

    #[test]
    fn five_and_six_fields() {
        assert_eq!(
            firings("*/5 * * * * ?", "2026-01-01T00:00:00Z", 2),
            ["2026-01-01T00:00:05+00:00", "2026-01-01T00:00:10+00:00"]
        );
        assert_eq!(
            firings("30 9 * * 1-5", "2026-01-02T09:30:00Z", 1),
            ["2026-01-05T09:30:00+00:00"]
        );
        assert_eq!(
            firings("0 0 12 L * ?", "2026-02-01T00:00:00.000001Z", 1),
            ["2026-02-28T12:00:00+00:00"]
        );
    }

    #[test]
    fn what_is_no_expression() {
        for bad in ["", "* * *", "61 * * * *", "0 0 0 1 1 ? 2026", "every day"] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_that_never_comes() {
        assert_eq!(firings("0 0 31 2 *", "2026-01-01T00:00:00Z", 1), Vec::<String>::new());
    }
}
