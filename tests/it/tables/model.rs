//! Random transactions against a model: a list of rows in the order they were inserted.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::SchemaRef;
use eventflux::event::{Op, SystemClock};
use eventflux::tables::told::ToldTable;
use eventflux::tables::watch::{Watched, Watcher};
use eventflux::tables::{Table, TableWriter};
use proptest::prelude::*;

use super::support::*;

/// A row: a key, which is NULL now and then, and a group.
type Row = (Option<i64>, Option<u8>);

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>),
    Upsert(Vec<Row>),
    /// The rows of a group get new keys and groups.
    Update(u8, i64, u8),
    /// Those with these keys change places: all to the key plus a number.
    Shift(Vec<i64>, i64),
    DeleteGroup(u8),
    DeleteKeys(Vec<i64>),
    Commit,
    Rollback,
}

fn row() -> impl Strategy<Value = Row> {
    (
        prop::option::weighted(0.95, 0i64..12),
        prop::option::weighted(0.8, 0u8..4),
    )
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(row(), 0..6);
    prop_oneof![
        3 => some().prop_map(Step::Insert),
        3 => some().prop_map(Step::Upsert),
        2 => (0u8..4, 0i64..12, 0u8..4).prop_map(|(from, add, to)| Step::Update(from, add, to)),
        2 => (prop::collection::btree_set(0i64..12, 0..4), -2i64..3)
            .prop_map(|(keys, by)| Step::Shift(keys.into_iter().collect(), by)),
        1 => (0u8..4).prop_map(Step::DeleteGroup),
        1 => prop::collection::vec(0i64..12, 0..3).prop_map(Step::DeleteKeys),
        3 => Just(Step::Commit),
        1 => Just(Step::Rollback),
    ]
}

/// Some are short, some are not.
fn group_name(group: u8) -> String {
    match group % 2 {
        0 => format!("g{group}"),
        _ => format!("the group with the number {group}"),
    }
}

fn batch(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let groups: ArrayRef = Arc::new(
        rows.iter()
            .map(|row| row.1.map(group_name))
            .collect::<StringViewArray>(),
    );
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), vec![keys, groups]).unwrap()
}

fn shown_row((key, group): &Row) -> String {
    let key = key.map_or("null".to_string(), |key| key.to_string());
    format!("{{k:{key},g:{}}}", group.map_or("null".to_string(), group_name))
}

/// The table as a list.
#[derive(Clone, Default)]
struct Model {
    is_keyed: bool,
    rows: Vec<Row>,
}

impl Model {
    fn place(&self, key: Option<i64>) -> Option<usize> {
        self.rows.iter().position(|row| row.0 == key)
    }

    /// The rows refused.
    fn insert(&mut self, rows: &[Row]) -> Vec<usize> {
        let mut refused = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            match self.is_keyed && (row.0.is_none() || self.place(row.0).is_some()) {
                true => refused.push(i),
                false => self.rows.push(*row),
            }
        }
        refused
    }

    fn upsert(&mut self, rows: &[Row]) -> Vec<usize> {
        let mut refused = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            match (row.0, self.place(row.0)) {
                (None, _) => refused.push(i),
                (_, Some(place)) => self.rows[place] = *row,
                (_, None) => self.rows.push(*row),
            }
        }
        refused
    }

    /// Whether it was done.
    fn update(&mut self, which: impl Fn(&Row) -> bool, to: impl Fn(&Row) -> Row) -> bool {
        let changed: Vec<Row> = self
            .rows
            .iter()
            .map(|row| if which(row) { to(row) } else { *row })
            .collect();
        let mut keys: Vec<_> = changed.iter().map(|row| row.0).collect();
        keys.sort();
        keys.dedup();
        if self.is_keyed && keys.len() < changed.len() {
            return false;
        }
        self.rows = changed;
        true
    }

    fn group(&self, group: u8) -> Vec<Row> {
        self.rows.iter().filter(|row| row.1 == Some(group)).copied().collect()
    }
}

/// Rows in the order in which the backend finds them.
fn found_order(table: &dyn Table, mut rows: Vec<Row>) -> Vec<Row> {
    if !Maker::is_ordered(&table.def().backend) {
        rows.sort_by_key(shown_row);
    }
    rows
}

fn check_groups(table: &dyn Table, model: &Model, found: &[String]) {
    let want: Vec<String> = (0..4u8)
        .flat_map(|group| {
            let rows = model.group(group);
            rows.iter()
                .map(|row| format!("{group}: {}", shown_row(row)))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, in_order(table, &want));
}

fn groups() -> Vec<String> {
    (0..4)
        .map(|group| format!(r#"{{"g":"{}"}}"#, group_name(group)))
        .collect()
}

fn apply(table: &dyn Table, writer: &mut dyn TableWriter, model: &mut Model, step: &Step) {
    let schema = &table.def().schema;
    let numbers = |refused: eventflux::tables::Refused| refused.into_iter().map(|(row, _)| row).collect::<Vec<_>>();
    match step {
        Step::Insert(rows) => {
            let refused = writer.insert(&batch(schema, rows)).unwrap();
            assert_eq!(numbers(refused), model.insert(rows));
        }
        Step::Upsert(rows) if model.is_keyed => {
            let refused = writer.upsert(&batch(schema, rows)).unwrap();
            assert_eq!(numbers(refused), model.upsert(rows));
        }
        Step::Update(from, add, to) => {
            let (_, ids) = find_in(table, writer, "g", &[&groups()[usize::from(*from)]]);
            let change = |row: &Row| (row.0.map(|key| key + add), Some(*to));
            let new: Vec<Row> = found_order(table, model.group(*from)).iter().map(change).collect();
            let refused = writer.update(&ids, &batch(schema, &new)).unwrap();
            assert_eq!(refused.is_none(), model.update(|row| row.1 == Some(*from), change));
        }
        Step::Shift(keys, by) => {
            let probes: Vec<String> = keys.iter().map(|key| format!(r#"{{"k":{key}}}"#)).collect();
            let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
            let (_, ids) = find_in(table, writer, "k", &probes);
            let which = |row: &Row| row.0.is_some_and(|key| keys.contains(&key));
            let change = |row: &Row| (row.0.map(|key| key + by), row.1);
            // In the order of the lookups.
            let mut new: Vec<Row> = Vec::new();
            for key in keys {
                let of_key = model.rows.iter().filter(|row| row.0 == Some(*key)).copied();
                new.extend(found_order(table, of_key.collect()).iter().map(change));
            }
            let refused = writer.update(&ids, &batch(schema, &new)).unwrap();
            assert_eq!(refused.is_none(), model.update(which, change));
        }
        Step::DeleteGroup(group) => {
            let (_, ids) = find_in(table, writer, "g", &[&groups()[usize::from(*group)]]);
            writer.delete(&ids).unwrap();
            model.rows.retain(|row| row.1 != Some(*group));
        }
        Step::DeleteKeys(keys) if model.is_keyed => {
            let column: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
            writer.delete_keys(&[column], keys.len()).unwrap();
            model.rows.retain(|row| row.0.is_none_or(|key| !keys.contains(&key)));
        }
        _ => {}
    }
    let probes = groups();
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    check_groups(table, model, &find_in(table, writer, "g", &probes).0);
}

/// Somebody who is told of every commit, and puts together what the table has.
struct Follower<C> {
    changes: C,
    is_keyed: bool,
    rows: Vec<String>,
}

impl<C: FnMut() -> Option<Watched>> Follower<C> {
    fn hear(&mut self) {
        while let Some(told) = (self.changes)() {
            let Watched::Changes(batch) = told else {
                panic!("rows that nobody has asked for");
            };
            for (row, line) in lines(batch.columns()).into_iter().enumerate() {
                let key = |line: &String| line.split(',').next().unwrap().to_string();
                match batch.op(row) {
                    Op::Delete | Op::UpdateBefore => {
                        let place = self.rows.iter().position(|known| *known == line);
                        self.rows
                            .remove(place.unwrap_or_else(|| panic!("{line} goes that is not there")));
                    }
                    Op::Insert | Op::UpdateAfter => {
                        let is_there = self.rows.iter().any(|known| key(known) == key(&line));
                        assert!(!self.is_keyed || !is_there, "{line} comes, and its key is there");
                        self.rows.push(line);
                    }
                }
            }
        }
        self.rows.sort();
    }
}

fn run(table: &dyn Table, is_keyed: bool, steps: &[Step]) {
    let (watcher, changes) = Watcher::new();
    table.watch(watcher).unwrap();
    let mut follower = Follower {
        changes: || changes.try_recv().ok(),
        is_keyed,
        rows: Vec::new(),
    };
    let mut committed = Model {
        is_keyed,
        ..Model::default()
    };
    let mut rest = steps;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|step| matches!(step, Step::Commit | Step::Rollback));
        let (transaction, after) = rest.split_at(end.unwrap_or(rest.len()));
        let mut model = committed.clone();
        let mut writer = table.write().unwrap();
        for step in transaction {
            apply(table, &mut *writer, &mut model, step);
        }
        match after.first() {
            Some(Step::Commit) => {
                writer.commit().unwrap();
                committed = model;
            }
            _ => drop(writer),
        }
        rest = after.get(1..).unwrap_or_default();
        let mut want: Vec<String> = committed.rows.iter().map(shown_row).collect();
        want.sort();
        assert_eq!(content(table), want);
        follower.hear();
        assert_eq!(follower.rows, want);
        let probes = groups();
        let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
        check_groups(table, &committed, &find(table, "g", &probes));
    }
}

fn check(cases: u32, backends: impl Fn(&Maker) -> bool) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (prop::collection::vec(step(), 1..40), any::<bool>(), any::<bool>());
    let makers: Vec<Maker> = BACKENDS.iter().map(|backend| Maker::new(backend)).collect();
    let result = runner.run(&strategy, |(steps, is_keyed, is_indexed)| {
        for maker in makers.iter().filter(|maker| backends(maker)) {
            let shape = Shape::of("k LONG, g STRING");
            let shape = if is_keyed { shape.key("k") } else { shape };
            let shape = if is_indexed { shape.index("g") } else { shape };
            let table = maker.open(&shape);
            // Those in memory tell by themselves, and can be told of, too.
            let tells = matches!(maker.backend, "memory" | "cache") && steps.len() % 2 == 0;
            match tells {
                true => run(&*table, is_keyed, &steps),
                false => run(&ToldTable::new(table, Arc::new(SystemClock)), is_keyed, &steps),
            }
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn tables_in_memory_do_what_the_model_does() {
    check(256, |maker| matches!(maker.backend, "memory" | "cache"));
}

#[test]
fn tables_in_databases_do_what_the_model_does() {
    check(20, |maker| !matches!(maker.backend, "memory" | "cache"));
}
