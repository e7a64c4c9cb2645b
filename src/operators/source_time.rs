//! [`SourceTime`]: where event time begins in a stream whose source tells it.

use super::state::{StateReader, StateWriter};
use super::{BEGINNING_OF_TIME, Operator, OperatorPlan, Output, Port, TimeUpdate};
use crate::error::Result;
use crate::event::{EventBatch, Micros};

/// Passes on what a source tells of event time.
///
/// *Semantics.* Rows come with their event times, and watermarks between them: both go on as they are. After `idle` of processing
/// time without either the output is idle and holds no other input back, until something comes again.
///
/// *Ops.* Any. *State.* The watermark. *Cost.* None per row.
pub struct SourceTime {
    idle_after: Micros,
    watermark: Micros,
    last: Micros,
    idle: bool,
}

/// What a [`SourceTime`] does.
#[derive(Debug, Clone)]
pub struct SourceTimePlan {
    /// Processing time after which a silent source is idle, in µs.
    pub idle: Micros,
}

impl OperatorPlan for SourceTimePlan {
    fn name(&self) -> &'static str {
        "SourceTime"
    }

    fn details(&self) -> Vec<String> {
        vec!["as the source tells it".to_string()]
    }

    fn begins_event_time(&self) -> bool {
        true
    }

    fn forwards(&self) -> bool {
        true
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SourceTime {
            idle_after: self.idle,
            watermark: BEGINNING_OF_TIME,
            last: BEGINNING_OF_TIME,
            idle: false,
        }))
    }
}

impl SourceTime {
    fn heard(&mut self, out: &mut Output) {
        self.last = out.now();
        out.wake_at(out.now().saturating_add(self.idle_after));
        if std::mem::take(&mut self.idle) {
            out.set_watermark(self.watermark);
        }
    }
}

impl Operator for SourceTime {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        self.heard(out);
        out.emit(batch);
        Ok(())
    }

    fn advance(&mut self, time: TimeUpdate, out: &mut Output) -> Result<()> {
        match time {
            TimeUpdate::Watermark(time) => {
                self.watermark = self.watermark.max(time);
                self.heard(out);
            }
            TimeUpdate::Timer(now) if !self.idle => {
                if self.last == BEGINNING_OF_TIME {
                    // The app starts now: a source that never brings anything becomes idle, too.
                    self.last = now;
                }
                let due = self.last.saturating_add(self.idle_after);
                if now >= due {
                    self.idle = true;
                    out.set_idle();
                } else {
                    out.wake_at(due);
                }
            }
            TimeUpdate::Timer(_) => {}
        }
        Ok(())
    }

    fn watermark(&self, _input: Micros) -> Micros {
        self.watermark
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        state.value(&self.watermark)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        self.watermark = state.value()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::Watermark;

    #[test]
    fn a_silent_source_becomes_idle_and_comes_back() {
        let mut operator = SourceTimePlan { idle: 100 }.build().unwrap();
        let mut out = Output::new(0);
        operator.advance(TimeUpdate::Watermark(7), &mut out).unwrap();
        assert_eq!(out.take().wake_at, Some(100));
        out.set_now(99);
        operator.advance(TimeUpdate::Timer(99), &mut out).unwrap();
        assert_eq!(out.take().watermark, None);
        out.set_now(100);
        operator.advance(TimeUpdate::Timer(100), &mut out).unwrap();
        assert_eq!(out.take().watermark, Some(Watermark::Idle));
        out.set_now(150);
        operator.advance(TimeUpdate::Watermark(9), &mut out).unwrap();
        let outcome = out.take();
        assert_eq!(outcome.watermark, Some(Watermark::At(9)));
        assert_eq!(outcome.wake_at, Some(250));
        assert_eq!(operator.watermark(9), 9);
    }
}
