//! `CREATE TRIGGER`: a stream that time feeds.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use super::state::{StateReader, StateWriter};
use super::{END_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::catalog::streams::TriggerSchedule;
use crate::error::Result;
use crate::event::{EventBatch, Micros, Times};

/// Emits an event whenever its schedule is due; column and event time are the time it was due at.
///
/// *Semantics.* Processing time alone moves it. A period counts from the app's start, cron fires by the calendar after it; a
/// trigger at the start fires once, before anything else comes. A clock that is moved step by step (the virtual one) meets
/// every firing; when one that has jumped (a machine that slept, a restart) has passed several, only the last of them is made
/// up for. A clock set back is waited for. The end of its input ends it.
///
/// *Ops.* Inserts only. *State.* When it is due next. *Cost.* A batch of one row a firing.
pub struct Trigger {
    plan: TriggerPlan,
    next: Next,
}

/// Where a trigger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Next {
    /// The app has not started.
    Unknown,
    /// The next firing.
    At(Micros),
    /// No firing will come.
    Never,
}

/// What a [`Trigger`] does.
#[derive(Debug, Clone)]
pub struct TriggerPlan {
    /// When it fires.
    pub schedule: TriggerSchedule,
    /// Its one column.
    pub schema: SchemaRef,
}

impl OperatorPlan for TriggerPlan {
    fn name(&self) -> &'static str {
        "Trigger"
    }

    fn details(&self) -> Vec<String> {
        vec![match &self.schedule {
            TriggerSchedule::Start => "at the start".to_string(),
            TriggerSchedule::Every(period) => format!("every {} ms", period / 1_000),
            TriggerSchedule::Cron(_, text) => format!("cron {text}"),
        }]
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Trigger {
            plan: self.clone(),
            next: Next::Unknown,
        }))
    }
}

impl TriggerPlan {
    /// The first firing of an app that starts at `now`.
    fn first(&self, now: Micros) -> Next {
        match &self.schedule {
            TriggerSchedule::Start => Next::At(now),
            TriggerSchedule::Every(period) => Next::At(now.saturating_add(*period)),
            TriggerSchedule::Cron(cron, _) => cron.next_after(now).map_or(Next::Never, Next::At),
        }
    }

    /// The last firing until `now` when one is due at `due`, and the first after it.
    fn last_and_next(&self, due: Micros, now: Micros) -> (Micros, Next) {
        match &self.schedule {
            TriggerSchedule::Start => (due, Next::Never),
            TriggerSchedule::Every(period) => {
                let last = due + (now - due) / period * period;
                (last, Next::At(last.saturating_add(*period)))
            }
            TriggerSchedule::Cron(cron, _) => {
                let last = cron.last_until(now).unwrap_or(due).max(due);
                (last, cron.next_after(last).map_or(Next::Never, Next::At))
            }
        }
    }
}

impl Trigger {
    fn fire(&self, at: Micros, out: &mut Output) -> Result<()> {
        let time = TimestampMicrosecondArray::from(vec![at]);
        let row = RecordBatch::try_new(self.plan.schema.clone(), vec![Arc::new(time)])?;
        out.emit(EventBatch::inserts(row, Times::Same(at)));
        Ok(())
    }

    /// Fires if it is time to, and asks to be woken for the next time.
    fn tick(&mut self, now: Micros, out: &mut Output) -> Result<()> {
        if let Next::At(due) = self.next
            && due <= now
        {
            let (last, next) = self.plan.last_and_next(due, now);
            self.next = next;
            self.fire(last, out)?;
        }
        if self.next == Next::Unknown {
            self.next = self.plan.first(now);
        }
        if let Next::At(due) = self.next {
            out.wake_at(due);
        }
        Ok(())
    }
}

impl Operator for Trigger {
    /// What the embedding API sends counts as a firing.
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        out.emit(batch);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match time {
            TimeUpdate::Timer(now) => self.tick(now, out),
            TimeUpdate::Watermark(END_OF_TIME) => {
                self.next = Next::Never;
                Ok(())
            }
            TimeUpdate::Watermark(_) => Ok(()),
        }
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.next)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.next = state.value()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::catalog::types::TIMESTAMP;
    use crate::event::cron::CronSchedule;

    fn trigger(schedule: TriggerSchedule) -> Box<dyn Operator> {
        let schema = Arc::new(Schema::new(vec![Field::new("triggered_time", TIMESTAMP, true)]));
        TriggerPlan { schedule, schema }.build().unwrap()
    }

    /// The times of the firings when the timer calls at `now`, and when it is to call again.
    fn call(operator: &mut dyn Operator, now: Micros) -> (Vec<Micros>, Option<Micros>) {
        let mut out = Output::new(now);
        operator.advance(TimeUpdate::Timer(now), &mut out).unwrap();
        let outcome = out.take();
        (
            outcome.batches.iter().map(|batch| batch.time(0)).collect(),
            outcome.wake_at,
        )
    }

    #[test]
    fn a_trigger_at_the_start_fires_once() {
        let mut start = trigger(TriggerSchedule::Start);
        assert_eq!(call(&mut *start, 7), (vec![], Some(7)));
        assert_eq!(call(&mut *start, 7), (vec![7], None));
        assert_eq!(call(&mut *start, 9), (vec![], None));
    }

    #[test]
    fn a_period_keeps_its_grid_and_makes_up_for_the_last_firing_missed() {
        let mut every = trigger(TriggerSchedule::Every(10));
        assert_eq!(call(&mut *every, 5), (vec![], Some(15)));
        assert_eq!(call(&mut *every, 14), (vec![], Some(15)));
        assert_eq!(call(&mut *every, 16), (vec![15], Some(25)));
        assert_eq!(call(&mut *every, 58), (vec![55], Some(65)));
        // The clock was set back.
        assert_eq!(call(&mut *every, 20), (vec![], Some(65)));
    }

    #[test]
    fn cron_makes_up_for_the_last_firing_missed() {
        let second = 1_000_000;
        let cron = CronSchedule::parse("*/10 * * * * *").unwrap();
        let mut cron = trigger(TriggerSchedule::Cron(cron, String::new()));
        assert_eq!(call(&mut *cron, 0), (vec![], Some(10 * second)));
        assert_eq!(call(&mut *cron, 10 * second), (vec![10 * second], Some(20 * second)));
        assert_eq!(
            call(&mut *cron, 45 * second + 1),
            (vec![40 * second], Some(50 * second))
        );
    }

    #[test]
    fn a_restart_keeps_the_grid_and_does_not_start_again() {
        for (schedule, after) in [
            (TriggerSchedule::Start, (vec![], None)),
            (TriggerSchedule::Every(10), (vec![30], Some(40))),
        ] {
            let mut before = trigger(schedule.clone());
            call(&mut *before, 0);
            call(&mut *before, 1);
            let mut state = StateWriter::default();
            before.snapshot(&mut state).unwrap();
            let bytes = state.into_bytes();
            let mut again = trigger(schedule);
            again.restore(&mut StateReader::new(&bytes)).unwrap();
            assert_eq!(call(&mut *again, 35), after);
        }
    }

    #[test]
    fn the_end_of_its_input_ends_it() {
        let mut every = trigger(TriggerSchedule::Every(10));
        call(&mut *every, 0);
        let end = TimeUpdate::Watermark(END_OF_TIME);
        every.advance(end, &mut Output::new(1)).unwrap();
        assert_eq!(call(&mut *every, 10), (vec![], None));
    }
}
