//! For the tests of modules: apps whose outputs are remembered, so that two runs of one app can be compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::event::{Micros, VirtualClock, pretty};
use crate::{App, EventFlux, Snapshot};

/// A second of event time.
pub const SECOND: Micros = 1_000_000;

/// What each query gave, line by line.
pub type Lines = BTreeMap<usize, Vec<String>>;

/// Reproducible random numbers.
pub struct Random(pub u64);

impl Random {
    /// One below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// A running app whose queries send their rows to the streams T0, T1 and so on.
pub struct Watched {
    /// The app.
    pub app: App,
    sql: String,
    queries: usize,
    lines: Arc<Mutex<Lines>>,
}

impl Watched {
    /// Starts an app with as many queries.
    pub fn start(sql: &str, queries: usize) -> Self {
        Self::run(sql, queries, 0, Arc::default(), None)
    }

    /// Takes a snapshot, through bytes, and goes on from it at a time in an app of its own.
    pub fn restart(self, now: Micros) -> Self {
        let snapshot = self.app.snapshot().expect("a snapshot");
        let snapshot = Snapshot::from_bytes(&snapshot.to_bytes().expect("bytes")).expect("a snapshot");
        Self::run(&self.sql, self.queries, now, self.lines, Some(snapshot))
    }

    fn run(sql: &str, queries: usize, now: Micros, lines: Arc<Mutex<Lines>>, from: Option<Snapshot>) -> Self {
        let builder = EventFlux::builder()
            .sql(sql)
            .virtual_clock(Arc::new(VirtualClock::new(now)));
        let builder = match from {
            Some(snapshot) => builder.restore(snapshot),
            None => builder,
        };
        let app = builder.build().expect("a valid app");
        for query in 0..queries {
            let lines = lines.clone();
            app.on(&format!("T{query}"), move |batch| {
                let mut lines = lines.lock().expect("no panic elsewhere");
                lines.entry(query).or_default().extend(pretty::lines(batch));
            })
            .expect("the stream exists");
        }
        app.start().expect("it starts");
        Watched {
            app,
            sql: sql.to_string(),
            queries,
            lines,
        }
    }

    /// Ends the app; all that its queries gave.
    pub fn finish(self) -> Lines {
        self.app.finish().expect("it ends");
        self.app.shutdown().expect("it ends");
        self.lines.lock().expect("no panic elsewhere").clone()
    }
}

/// Fails at the first line in which two runs of an app differ, and shows the query.
pub fn assert_same(sql: &str, got: &Lines, expected: &Lines, what: &str) {
    let queries = got.keys().chain(expected.keys()).max().map_or(0, |last| last + 1);
    for query in 0..queries {
        let of = |lines: &Lines| lines.get(&query).cloned().unwrap_or_default();
        let (got, expected) = (of(got), of(expected));
        let same = got.iter().zip(&expected).take_while(|(got, expected)| got == expected);
        let same = same.count();
        let line = sql.lines().find(|line| line.contains(&format!(" INTO T{query} ")));
        assert_eq!(got.get(same), expected.get(same), "{what}, row {same}: {line:?}");
    }
}
