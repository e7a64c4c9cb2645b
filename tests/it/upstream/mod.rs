//! Sources that follow a relation of a database.

pub mod materialize;
mod materialize_kills;
#[cfg(feature = "postgres-cdc")]
mod postgres;
#[cfg(feature = "risingwave")]
mod risingwave;

use std::collections::BTreeMap;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use eventflux::App;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::emulators::world::{Row, World};

/// The rows of an on-demand query, cells as texts, sorted.
pub fn rows(app: &App, query: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in app.query(query).unwrap() {
        let options = FormatOptions::default().with_null("NULL");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    rows.sort();
    rows
}

/// The rows of a relation in the same form, each as often as it is there.
pub fn expected(rows: &BTreeMap<Row, i64>) -> Vec<String> {
    let mut lines = Vec::new();
    for (row, count) in rows {
        let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
        (0..*count).for_each(|_| lines.push(cells.join("|")));
    }
    lines.sort();
    lines
}

/// A writer that changes rows `(id, name, n)` of a keyed relation at random.
pub struct Changes {
    random: SmallRng,
    rows: BTreeMap<u32, Row>,
    keys: u32,
    number: u64,
}

impl Changes {
    pub fn new(seed: u64, keys: u32) -> Self {
        Changes {
            random: SmallRng::seed_from_u64(seed),
            rows: BTreeMap::new(),
            keys,
            number: 0,
        }
    }

    /// One transaction of up to so many changes.
    pub fn write(&mut self, world: &World, relation: &str, most: u32) {
        let mut changes = Vec::new();
        for _ in 0..self.random.random_range(1..=most) {
            let id = self.random.random_range(0..self.keys);
            if let Some(old) = self.rows.remove(&id) {
                changes.push((old, -1));
            }
            if self.random.random_bool(0.75) {
                self.number += 1;
                let name = match self.number % 7 {
                    0 => None,
                    1 => Some(String::new()),
                    2 => Some("a\tb\\c\nd".to_string()),
                    _ => Some(format!("name {}", self.number)),
                };
                let row = vec![Some(id.to_string()), name, Some(self.number.to_string())];
                changes.push((row.clone(), 1));
                self.rows.insert(id, row);
            }
        }
        world.write(relation, &changes);
    }
}
