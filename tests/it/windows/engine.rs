//! Queries in the engine, beside what the oracle answers.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use eventflux::{App, EventFlux, VirtualClock};
use parking_lot::Mutex;
use proptest::test_runner::TestCaseError;

use super::data::{COLUMNS, DELAY, Event, batches, columns};
use super::oracle::{Oracle, Order, Row, difference, rows};

/// A query in both languages.
pub struct Question {
    /// For the engine: `SELECT …`, over the streams S (event time by `t`) and P (without).
    pub query: String,
    /// For the oracle, over the tables `arrived` and `e`.
    pub sql: String,
    pub order: Order,
    /// `INSERT … INTO`, with which events.
    pub events: &'static str,
}

impl Question {
    pub fn new(query: impl Into<String>, sql: impl Into<String>, order: Order) -> Self {
        let (query, sql) = (query.into(), sql.into());
        Question {
            query,
            sql,
            order,
            events: "",
        }
    }

    /// The same for what leaves, or all changes.
    pub fn events(mut self, events: &'static str) -> Self {
        self.events = events;
        self
    }
}

/// The app of all queries, each into a stream of its own.
fn text(questions: &[Question]) -> String {
    let mut text = format!(
        "CREATE STREAM S ({COLUMNS}, WATERMARK FOR t AS t - {DELAY} MILLISECONDS);\nCREATE STREAM P ({COLUMNS});\n\
         CREATE STREAM L ({COLUMNS}, WATERMARK FOR t AS t) WITH (late = 'accept');\n"
    );
    for (number, Question { query, events, .. }) in questions.iter().enumerate() {
        text += &format!("INSERT {events} INTO Out{number} {query};\n");
    }
    text
}

/// What each query has given so far.
struct Results(Vec<Arc<Mutex<Vec<Row>>>>);

impl Results {
    fn of(app: &App, questions: &[Question]) -> Self {
        let collect = |number: usize| {
            let collected = Arc::new(Mutex::new(Vec::new()));
            let into = collected.clone();
            let listener = move |batch: &eventflux::EventBatch| into.lock().extend(rows(batch.columns()));
            app.on(&format!("Out{number}"), listener).unwrap();
            collected
        };
        Results((0..questions.len()).map(collect).collect())
    }
}

/// Which of the streams get the events, and by which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// S, by the events' times.
    Event,
    /// L, by the events' times; those out of order are late and accepted.
    Late,
    /// P, as they come.
    Arrival,
    /// P, each sent when the clock shows its time.
    Clock,
}

impl Time {
    /// The stream that gets the events.
    fn stream(self) -> &'static str {
        match self {
            Time::Event => "S",
            Time::Late => "L",
            Time::Arrival | Time::Clock => "P",
        }
    }
}

/// Runs all queries over the events and compares them with the oracle.
pub fn compare(events: &[Event], sizes: &[usize], time: Time, questions: &[Question]) -> Result<(), TestCaseError> {
    let (all, got) = run(events, sizes, time, questions);
    let oracle = Oracle::of(&all);
    let wrong: Vec<String> = questions
        .iter()
        .zip(got)
        .filter_map(|(question, got)| {
            let difference = difference(question.order, got, oracle.ask(&question.sql))?;
            Some(format!("{difference}\n{}\n{}\n", question.query, question.sql))
        })
        .collect();
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(TestCaseError::fail(wrong.join("\n"))),
    }
}

/// What the engine gives for each query, and the events as one batch.
fn run(events: &[Event], sizes: &[usize], time: Time, questions: &[Question]) -> (RecordBatch, Vec<Vec<Row>>) {
    let builder = EventFlux::builder().sql(text(questions));
    let builder = match time {
        Time::Clock => builder.virtual_clock(Arc::new(VirtualClock::new(0))),
        _ => builder.inline(),
    };
    let app = builder.build().unwrap();
    let results = Results::of(&app, questions);
    app.start().unwrap();
    let input = app.input(time.stream()).unwrap();
    let all = columns(events, &input.stream().schema);
    match time {
        Time::Clock => {
            for (row, event) in events.iter().enumerate() {
                app.advance_to(event.t * 1_000).unwrap();
                input.send_batch(all.slice(row, 1)).unwrap();
            }
        }
        _ => {
            for batch in batches(&all, sizes) {
                input.send_batch(batch).unwrap();
            }
        }
    }
    app.wait().unwrap();
    let got = results.0.iter().map(|rows| std::mem::take(&mut *rows.lock())).collect();
    (all, got)
}
