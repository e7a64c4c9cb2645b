//! Bounds of tables in memory: how many rows, which ones go, how long they stay, what they may take.

use std::sync::Arc;

use eventflux::tables::Table;
use eventflux::tables::watch::{Watched, Watcher};
use proptest::prelude::*;

use super::support::*;

const SECOND: i64 = 1_000_000;

fn numbers() -> Shape {
    Shape::of("id INT").key("id")
}

fn line(id: usize) -> String {
    format!(r#"{{"id":{id}}}"#)
}

fn put(table: &dyn Table, ids: &[usize]) {
    let ids: Vec<String> = ids.iter().map(|id| line(*id)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    upsert(table, &ids);
}

fn get(table: &dyn Table, id: usize) -> bool {
    let access = access(table, "id");
    let probe = probe(table, &access, &[&line(id)]);
    !table.lookup(&access, &probe, &[]).unwrap().probes.is_empty()
}

fn ids(table: &dyn Table) -> Vec<usize> {
    let id = |line: &String| line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let mut ids: Vec<usize> = content(table).iter().map(id).collect();
    ids.sort();
    ids
}

fn cache(options: &[(&str, &str)]) -> (Maker, Arc<dyn Table>) {
    let maker = Maker::new("cache");
    let table = maker.open_with(&numbers(), options);
    (maker, table)
}

#[test]
fn the_one_not_used_goes() {
    let (_maker, table) = cache(&[("max_size", "3")]);
    put(&*table, &[1, 2, 3]);
    assert!(get(&*table, 1));
    put(&*table, &[4]);
    assert_eq!(ids(&*table), [1, 3, 4]);
    // Being written is a use, too.
    put(&*table, &[3]);
    put(&*table, &[5]);
    assert_eq!(ids(&*table), [3, 4, 5]);
    // A batch larger than the cache leaves its last rows.
    put(&*table, &[6, 7, 8, 9]);
    assert_eq!(ids(&*table), [7, 8, 9]);
}

#[test]
fn the_one_used_least_often_goes_and_of_several_the_oldest() {
    let (_maker, table) = cache(&[("max_size", "3"), ("policy", "lfu")]);
    put(&*table, &[1, 2, 3]);
    for (id, uses) in [(1, 2), (3, 1)] {
        (0..uses).for_each(|_| assert!(get(&*table, id)));
    }
    put(&*table, &[4]);
    assert_eq!(ids(&*table), [1, 3, 4]);
    // The newest one goes if it is used least.
    put(&*table, &[5]);
    assert_eq!(ids(&*table), [1, 3, 5]);
    put(&*table, &[5, 6]);
    assert_eq!(ids(&*table), [1, 5, 6]);
}

#[test]
fn the_one_inserted_first_goes() {
    let (_maker, table) = cache(&[("max_size", "3"), ("policy", "fifo")]);
    put(&*table, &[1, 2, 3]);
    assert!(get(&*table, 1));
    put(&*table, &[1]);
    put(&*table, &[4]);
    assert_eq!(ids(&*table), [2, 3, 4]);
}

#[test]
fn rows_age_from_when_they_were_written() {
    let (maker, table) = cache(&[("ttl", "10 s")]);
    put(&*table, &[1, 2]);
    maker.clock.set(5 * SECOND);
    put(&*table, &[2, 3]);
    assert!(get(&*table, 1));
    maker.clock.set(10 * SECOND);
    assert!(!get(&*table, 1));
    assert_eq!(ids(&*table), [2, 3]);
    // Whoever comes back under the same key is new.
    let refused = try_insert(&*table, &[&line(1), &line(2)]);
    assert_eq!(messages(&refused), ["1: there is a row with the key id=2"]);
    maker.clock.set(15 * SECOND);
    assert_eq!(ids(&*table), [1]);
    maker.clock.set(3 * SECOND);
    assert!(get(&*table, 1));
}

#[test]
fn what_is_too_old_makes_room_first() {
    let (maker, table) = cache(&[("ttl", "10 s"), ("max_size", "3"), ("policy", "lfu")]);
    put(&*table, &[1, 2]);
    (0..5).for_each(|_| assert!(get(&*table, 1)));
    maker.clock.set(9 * SECOND);
    put(&*table, &[3]);
    maker.clock.set(11 * SECOND);
    put(&*table, &[4, 5]);
    assert_eq!(ids(&*table), [3, 4, 5]);
}

#[test]
fn a_full_table_refuses_rows() {
    let maker = Maker::new("memory");
    let shape = Shape::of("id INT, s STRING").key("id");
    let table = maker.open_with(&shape, &[("max_memory", "1 KB")]);
    let line = |id: usize, length: usize| format!(r#"{{"id":{id},"s":"{}"}}"#, "x".repeat(length));
    let batch: Vec<String> = (0..10).map(|id| line(id, 100)).collect();
    let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
    let refused = try_insert(&*table, &batch);
    // 4 + 16 + 9 + 20 and the text: 149 bytes, of which 6 fit.
    assert_eq!(refused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(message(&refused[0].1), "it is full: max_memory is 1024 bytes");
    let refused = try_insert(&*table, &[&line(11, 2000)]);
    assert_eq!(
        message(&refused[0].1),
        "the row takes 2049 bytes and max_memory is 1024"
    );
    // A row may be replaced by one that is not larger, and room that is given back is given again.
    upsert(&*table, &[&line(0, 50)]);
    let mut writer = table.write().unwrap();
    let refused = writer.upsert(&rows(&*table, &[&line(1, 300)])).unwrap();
    assert_eq!(refused.len(), 1);
    let (_, ids) = find_in(&*table, &mut *writer, "id", &[&line(1, 1)]);
    assert!(writer.update(&ids, &rows(&*table, &[&line(1, 300)])).unwrap().is_some());
    writer.commit().unwrap();
    delete(&*table, "id", &[&line(5, 1)]);
    assert_eq!(
        try_insert(&*table, &[&line(12, 100), &line(13, 100), &line(14, 100)]).len(),
        1
    );
    assert_eq!(table.len().unwrap(), 7);
}

#[test]
fn a_full_table_lets_the_oldest_go() {
    for (backend, options) in [
        ("memory", vec![("max_memory", "1 KB"), ("on_full", "evict")]),
        ("cache", vec![("max_memory", "1024"), ("policy", "fifo")]),
    ] {
        let maker = Maker::new(backend);
        let table = maker.open_with(&Shape::of("id INT, s STRING").key("id"), &options);
        let line = |id: usize, length: usize| format!(r#"{{"id":{id},"s":"{}"}}"#, "x".repeat(length));
        for id in 0..20 {
            upsert(&*table, &[&line(id, 100)]);
        }
        let left = |table: &dyn Table| {
            let ids = content(table)
                .iter()
                .map(|line| line[4..6].to_string())
                .collect::<Vec<_>>();
            ids.join(" ")
        };
        assert_eq!(left(&*table), "14 15 16 17 18 19");
        // A row that grows pushes others out as well.
        upsert(&*table, &[&line(19, 500)]);
        assert_eq!(left(&*table), "16 17 18 19");
    }
}

/// A cache as it is described: all rows in a list.
struct Model {
    policy: &'static str,
    size: usize,
    /// Key, when inserted, when last used, how often.
    rows: Vec<(usize, usize, usize, usize)>,
    now: usize,
}

impl Model {
    fn use_of(&mut self, id: usize) -> bool {
        self.now += 1;
        let now = self.now;
        let row = self.rows.iter_mut().find(|row| row.0 == id);
        row.map(|row| (row.2, row.3) = (now, row.3 + 1)).is_some()
    }

    fn put(&mut self, id: usize) {
        if self.use_of(id) {
            return;
        }
        if self.rows.len() == self.size {
            let rank = |row: &(usize, usize, usize, usize)| match self.policy {
                "lru" => (row.2, 0),
                "lfu" => (row.3, row.1),
                _ => (row.1, 0),
            };
            let victim = (0..self.rows.len()).min_by_key(|row| rank(&self.rows[*row]));
            self.rows.remove(victim.expect("a row"));
        }
        self.rows.push((id, self.now, self.now, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn caches_let_go_of_what_their_policy_says(
        policy in prop::sample::select(vec!["lru", "lfu", "fifo"]),
        steps in prop::collection::vec((any::<bool>(), 0usize..12), 1..300),
    ) {
        let (_maker, table) = cache(&[("max_size", "5"), ("policy", policy)]);
        let mut model = Model { policy, size: 5, rows: Vec::new(), now: 0 };
        for (is_put, id) in steps {
            if is_put {
                put(&*table, &[id]);
                model.put(id);
            } else {
                prop_assert_eq!(get(&*table, id), model.use_of(id));
            }
        }
        let mut want: Vec<usize> = model.rows.iter().map(|row| row.0).collect();
        want.sort();
        prop_assert_eq!(ids(&*table), want);
    }
}

/// Who is told of changes hears of a row that it is gone when its time is over, and not of one that it never had.
#[test]
fn who_watches_is_told_of_rows_whose_time_is_over() {
    let (maker, table) = cache(&[("ttl", "10 seconds")]);
    put(&*table, &[1, 2]);
    maker.clock.set(6 * SECOND);
    put(&*table, &[3]);
    let (watcher, told) = Watcher::new();
    table.watch(watcher.clone()).unwrap();
    let heard = || {
        let mut heard = Vec::new();
        while let Ok(watched) = told.try_recv() {
            match watched {
                Watched::Changes(batch) => {
                    let rows = lines(batch.columns()).into_iter().enumerate();
                    heard.extend(rows.map(|(row, line)| format!("{} {line}", batch.op(row).sign())));
                }
                Watched::Rows(rows) => heard.extend(rows.iter().flat_map(lines)),
                Watched::NoRows(why) => panic!("{why}"),
                Watched::Cut(_) => panic!("nobody takes a checkpoint"),
            }
        }
        heard
    };
    table.tell_rows(&watcher).unwrap();
    assert_eq!(heard(), ["{id:1}", "{id:2}", "{id:3}"]);
    maker.clock.set(11 * SECOND);
    assert_eq!(ids(&*table), [3]);
    assert!(table.ages() && heard().is_empty());
    // Rows are told as they are now: what is too old goes first.
    table.tell_rows(&watcher).unwrap();
    assert_eq!(heard(), ["-D {id:1}", "-D {id:2}", "{id:3}"]);
    put(&*table, &[1]);
    assert_eq!(heard(), ["+I {id:1}"]);
    maker.clock.set(30 * SECOND);
    table.free_aged().unwrap();
    assert_eq!(heard(), ["-D {id:3}", "-D {id:1}"]);
    table.free_aged().unwrap();
    assert!(heard().is_empty());
}
