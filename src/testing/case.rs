//! The model of a case file. Every rule of the format that needs no app is checked while it is read, so that an error has its
//! place in the file.

use serde::Deserialize;

use super::cell::Cell;
use super::rows;
use super::value::Value;
use crate::catalog::types;
use crate::config::duration;
use crate::event::{Micros, Op};

/// How far apart two doubles may be and still count as equal, relative to the larger.
const TOLERANCE: f64 = 1e-9;

/// A case file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    /// The path of the app, beside this file.
    pub(super) app: Option<String>,
    /// The app's text.
    pub(super) sql: Option<String>,
    #[serde(default, rename = "case")]
    pub(super) cases: Vec<Case>,
}

/// One case: an app, what happens to it, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: Option<String>,
    pub(super) app: Option<String>,
    pub(super) sql: Option<String>,
    /// Where the virtual clock starts.
    #[serde(default)]
    pub(super) start: Moment,
    /// The app must not compile, for a reason that contains this text.
    pub(super) error: Option<String>,
    #[serde(default, rename = "step")]
    pub(super) steps: Vec<Step>,
    #[serde(default, rename = "expect")]
    pub(super) expectations: Vec<Expectation>,
    /// Whether all sources end after the last step.
    #[serde(default)]
    pub(super) finish: bool,
}

impl Case {
    /// The case with TOML's `"<null>"` read as NULL.
    pub(super) fn with_toml_nulls(mut self) -> Self {
        let nulls = |rows: Vec<Row>| rows.into_iter().map(Row::with_toml_nulls).collect();
        for step in &mut self.steps {
            if let Some(send) = &mut step.send {
                send.rows = nulls(std::mem::take(&mut send.rows));
            }
            if let Some(query) = &mut step.query
                && let Some(rows) = &mut query.rows.rows
            {
                *rows = nulls(std::mem::take(rows));
            }
        }
        for expectation in &mut self.expectations {
            if let Some(rows) = &mut expectation.rows.rows {
                *rows = nulls(std::mem::take(rows));
            }
        }
        self
    }
}

/// What happens at one point of a case, in this order.
#[derive(Debug, Deserialize)]
#[serde(try_from = "StepShape")]
pub(super) struct Step {
    /// The clock moves to this long after the start.
    pub(super) at: Option<After>,
    /// Rows arrive.
    pub(super) send: Option<Send>,
    /// An on-demand query runs.
    pub(super) query: Option<Query>,
}

/// Rows for a stream, as one batch.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) stream: String,
    pub(super) rows: Vec<Row>,
    /// Their event times, where these are not the clock's.
    pub(super) times: Option<EventTimes>,
}

/// An on-demand query, and what must come of it.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) rows: ExpectedRows,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepShape {
    at: Option<After>,
    send: Option<SendShape>,
    ts: Option<EventTimes>,
    query: Option<String>,
    expect: Option<Vec<Row>>,
    unordered: Option<bool>,
    tolerance: Option<f64>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendShape {
    stream: String,
    rows: Vec<Row>,
    ts: Option<EventTimes>,
}

impl TryFrom<StepShape> for Step {
    type Error = String;

    fn try_from(shape: StepShape) -> Result<Self, String> {
        let StepShape {
            at,
            send,
            ts,
            query,
            expect,
            unordered,
            tolerance,
            error,
        } = shape;
        let query = match query {
            Some(text) => {
                let rows = ExpectedRows {
                    rows: expect,
                    order: if unordered.unwrap_or(false) {
                        Order::Any
                    } else {
                        Order::Exact
                    },
                    further: Further::Refused,
                    count: None,
                    tolerance: tolerance.unwrap_or(TOLERANCE),
                    ops: None,
                };
                Some(Query { text, rows, error })
            }
            None => {
                let keys = [
                    ("expect", expect.is_some()),
                    ("unordered", unordered.is_some()),
                    ("tolerance", tolerance.is_some()),
                    ("error", error.is_some()),
                ];
                if let Some((key, _)) = keys.iter().find(|(_, given)| *given) {
                    return Err(format!("'{key}' of a step belongs to a 'query'"));
                }
                None
            }
        };
        let send = match (send, ts) {
            (None, Some(_)) => return Err("'ts' of a step belongs to a 'send'".to_string()),
            (None, None) => None,
            (Some(send), step_ts) => {
                if send.ts.is_some() && step_ts.is_some() {
                    return Err("'ts' stands both in the step and in its 'send'".to_string());
                }
                let times = send.ts.or(step_ts);
                if let Some(EventTimes::Each(each)) = &times
                    && each.len() != send.rows.len()
                {
                    return Err(format!("'ts' has {} times for {} rows", each.len(), send.rows.len()));
                }
                Some(Send {
                    stream: send.stream,
                    rows: send.rows,
                    times,
                })
            }
        };
        if at.is_none() && send.is_none() && query.is_none() {
            return Err("a step needs 'at', 'send' or 'query'".to_string());
        }
        Ok(Step { at, send, query })
    }
}

/// A row: by name or by position.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Row {
    Named(Vec<(String, Value)>),
    Positional(Vec<Value>),
}

impl Row {
    fn with_toml_nulls(self) -> Self {
        match self {
            Row::Named(members) => Row::Named(
                members
                    .into_iter()
                    .map(|(name, value)| (name, value.with_toml_nulls()))
                    .collect(),
            ),
            Row::Positional(values) => Row::Positional(values.into_iter().map(Value::with_toml_nulls).collect()),
        }
    }
}

impl TryFrom<Value> for Row {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(members) => Ok(Row::Named(members)),
            Value::List(values) => Ok(Row::Positional(values)),
            other => Err(format!(
                "a row is an object by column name or an array by position, not {other}"
            )),
        }
    }
}

/// A point in time: ISO 8601 or epoch milliseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Moment(pub(super) Micros);

impl TryFrom<Value> for Moment {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match rows::read(&types::TIMESTAMP, &value) {
            Some(Cell::Timestamp(micros)) => Ok(Moment(micros)),
            _ => Err(format!("{value} is not a time; write \"2026-01-01T00:00:00Z\"")),
        }
    }
}

/// A time after the start: a duration, or a bare number of milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct After(pub(super) Micros);

impl TryFrom<Value> for After {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let micros = match &value {
            Value::Text(text) => duration::parse(text),
            Value::Int(millis @ 0..) => millis
                .checked_mul(1_000)
                .and_then(|micros| Micros::try_from(micros).ok()),
            _ => None,
        };
        micros
            .map(After)
            .ok_or_else(|| format!("{value} is not a duration; write \"10s\" or \"500 ms\""))
    }
}

/// Event times in µs; the file has milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum EventTimes {
    Same(Micros),
    Each(Vec<Micros>),
}

impl TryFrom<Value> for EventTimes {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let micros = |value: &Value| match value {
            Value::Int(millis) => millis
                .checked_mul(1_000)
                .and_then(|micros| Micros::try_from(micros).ok()),
            _ => None,
        };
        let times = match &value {
            Value::List(each) => each
                .iter()
                .map(micros)
                .collect::<Option<Vec<_>>>()
                .map(EventTimes::Each),
            one => micros(one).map(EventTimes::Same),
        };
        times.ok_or_else(|| format!("'ts' is epoch milliseconds, or a list of them, not {value}"))
    }
}

/// What a stream must give.
#[derive(Debug, Deserialize)]
#[serde(try_from = "ExpectationShape")]
pub(super) struct Expectation {
    pub(super) stream: String,
    pub(super) rows: ExpectedRows,
}

/// Rows that must come, how many, and what they do.
#[derive(Debug)]
pub(super) struct ExpectedRows {
    pub(super) rows: Option<Vec<Row>>,
    pub(super) order: Order,
    pub(super) further: Further,
    pub(super) count: Option<Count>,
    pub(super) tolerance: f64,
    pub(super) ops: Option<Vec<Op>>,
}

/// Whether rows must come in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Exact,
    Any,
}

/// Whether rows may come that are not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Further {
    Refused,
    Allowed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectationShape {
    stream: String,
    rows: Option<Vec<Row>>,
    #[serde(default)]
    unordered: bool,
    #[serde(default)]
    prefix: bool,
    count: Option<Count>,
    tolerance: Option<f64>,
    ops: Option<Vec<Sign>>,
}

impl TryFrom<ExpectationShape> for Expectation {
    type Error = String;

    fn try_from(shape: ExpectationShape) -> Result<Self, String> {
        let ExpectationShape {
            stream,
            rows,
            unordered,
            prefix,
            count,
            tolerance,
            ops,
        } = shape;
        let ops: Option<Vec<Op>> = ops.map(|ops| ops.into_iter().map(|sign| sign.0).collect());
        match (&rows, &ops) {
            (None, None) if count.is_none() => {
                return Err("an expectation needs 'rows', 'count' or 'ops'".to_string());
            }
            (Some(rows), Some(ops)) if rows.len() != ops.len() => {
                return Err(format!("'ops' has {} entries for {} rows", ops.len(), rows.len()));
            }
            _ => {}
        }
        if let Some(tolerance) = tolerance
            && !(tolerance >= 0.0 && tolerance.is_finite())
        {
            return Err("'tolerance' is a number that is not negative".to_string());
        }
        let rows = ExpectedRows {
            rows,
            order: if unordered { Order::Any } else { Order::Exact },
            further: if prefix { Further::Allowed } else { Further::Refused },
            count,
            tolerance: tolerance.unwrap_or(TOLERANCE),
            ops,
        };
        Ok(Expectation { stream, rows })
    }
}

/// How many rows.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Count {
    pub(super) min: usize,
    pub(super) max: usize,
}

impl TryFrom<Value> for Count {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let wrong = || format!("'count' is a number of rows or {{ min = 1, max = 3 }}, not {value}");
        let number = |value: &Value| match value {
            Value::Int(number) => usize::try_from(*number).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        match &value {
            Value::Object(members) if !members.is_empty() => {
                let mut count = Count {
                    min: 0,
                    max: usize::MAX,
                };
                for (name, value) in members {
                    match name.as_str() {
                        "min" => count.min = number(value)?,
                        "max" => count.max = number(value)?,
                        _ => return Err(wrong()),
                    }
                }
                if count.min > count.max {
                    return Err(format!("'count': min {} is more than max {}", count.min, count.max));
                }
                Ok(count)
            }
            other => number(other).map(|exact| Count { min: exact, max: exact }),
        }
    }
}

/// `+I`, `-D`, `-U` or `+U`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Sign(Op);

impl TryFrom<String> for Sign {
    type Error = String;

    fn try_from(sign: String) -> Result<Self, String> {
        Op::from_sign(&sign)
            .map(Sign)
            .ok_or_else(|| format!("'{sign}' is not one of +I, -D, -U, +U"))
    }
}
