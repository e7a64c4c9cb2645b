//! Cron expressions: times that recur by the calendar, in UTC.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use super::Micros;

/// The times that match a cron expression of 5 fields (minute, hour, day of the month, month, day of the week) or 6 (seconds in
/// front). Days of the week are 0 to 7, from and to Sunday, or `SUN` to `SAT`; `?` is `*` where a day stands. When both days
/// are restricted, either will do.
#[derive(Debug, Clone)]
pub struct CronSchedule(Box<Cron>);

impl CronSchedule {
    /// Reads an expression, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = text.split_whitespace().count();
        if fields != 5 && fields != 6 {
            return Err(format!("a cron expression has 5 or 6 fields, not {fields}"));
        }
        let plain = |error: CronError| {
            let message = error.to_string();
            let message = message
                .rsplit_once("error: ")
                .map_or(message.as_str(), |(_, message)| message);
            message.trim_end_matches('.').to_lowercase()
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        parser.parse(text).map(Box::new).map(CronSchedule).map_err(plain)
    }

    /// The first time after `time`; `None` when there is none (30 February).
    pub fn next_after(&self, time: Micros) -> Option<Micros> {
        let time: DateTime<Utc> = DateTime::from_timestamp_micros(time)?;
        let next = self.0.find_next_occurrence(&time, false).ok()?;
        Some(next.timestamp_micros())
    }

    /// The last time that is not after `time`.
    pub fn last_until(&self, time: Micros) -> Option<Micros> {
        // A time between two seconds is none: from the next whole one, backwards.
        let after = time.div_euclid(1_000_000).checked_add(1)?;
        let after: DateTime<Utc> = DateTime::from_timestamp_secs(after)?;
        let last = self.0.find_previous_occurrence(&after, false).ok()?;
        Some(last.timestamp_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Micros {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn the_next_time_is_strictly_later() {
        for (cron, time, next) in [
            ("*/5 * * * * *", "1970-01-01T00:00:00Z", "1970-01-01T00:00:05Z"),
            ("*/5 * * * * *", "1970-01-01T00:00:04.999999Z", "1970-01-01T00:00:05Z"),
            ("0 9 * * *", "2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z"),
            ("0 0 9 * * 1-5", "2026-03-06T09:00:00Z", "2026-03-09T09:00:00Z"),
            ("0 0 9 ? * MON-FRI", "2026-03-06T09:00:00Z", "2026-03-09T09:00:00Z"),
            ("0 0 0 29 2 ?", "2026-03-06T09:00:00Z", "2028-02-29T00:00:00Z"),
        ] {
            let schedule = CronSchedule::parse(cron).unwrap();
            assert_eq!(
                schedule.next_after(micros(time)),
                Some(micros(next)),
                "{cron} after {time}"
            );
            assert_eq!(
                schedule.last_until(micros(next)),
                Some(micros(next)),
                "{cron} until {next}"
            );
            assert_eq!(
                schedule.last_until(micros(next) + 999_999),
                Some(micros(next)),
                "{cron}"
            );
        }
    }

    #[test]
    fn what_never_comes_is_none() {
        assert_eq!(CronSchedule::parse("0 0 30 2 *").unwrap().next_after(0), None);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "* * * *", "* * * * * * *", "61 * * * * *", "a b c d e", "@daily"] {
            assert!(CronSchedule::parse(text).is_err(), "{text}");
        }
    }
}
