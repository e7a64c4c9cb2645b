//! Readers and writers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use eventflux::tables::{Access, Probe, Table};

use super::support::*;

/// Rows of one commit.
const ROWS: i64 = 500;
const WRITERS: usize = 8;

fn versions(table: &dyn Table, ids: std::ops::Range<i64>, version: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let versions: ArrayRef = Arc::new(Int64Array::from(vec![version; ids.len()]));
    RecordBatch::try_new(table.def().schema.clone(), vec![ids, versions]).unwrap()
}

fn column(rows: &RecordBatch) -> Vec<i64> {
    rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn readers_see_all_of_a_commit_or_nothing() {
    each_backend(|maker| {
        let table = maker.open(&Shape::of("id LONG, v LONG").key("id").index("v"));
        let commits = if maker.is_remote() { 20 } else { 100 };
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let access = access(&*table, "id");
                    let probe = Probe {
                        rows: ROWS as usize,
                        equal: vec![Arc::new(Int64Array::from_iter_values(0..ROWS))],
                        low: None,
                        high: None,
                    };
                    let mut latest = 0;
                    while !done.load(Ordering::Relaxed) {
                        let scanned: Vec<i64> = table.scan(&[1]).unwrap().iter().flat_map(column).collect();
                        let found = column(&table.lookup(&access, &probe, &[1]).unwrap().rows);
                        for seen in [scanned, found] {
                            assert!(seen.is_empty() || seen.len() == ROWS as usize, "{} rows", seen.len());
                            let first = seen.first().copied().unwrap_or_default();
                            assert!(seen.iter().all(|version| *version == first));
                            assert!(seen.is_empty() || latest <= first);
                            latest = latest.max(first);
                        }
                    }
                });
            }
            for version in 1..=commits {
                let mut writer = table.write().unwrap();
                // In two parts, between which nobody may see.
                for half in [0..ROWS / 2, ROWS / 2..ROWS] {
                    assert!(writer.upsert(&versions(&*table, half, version)).unwrap().is_empty());
                }
                writer.commit().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn no_increment_is_lost() {
    each_backend(|maker| {
        let table = maker.open(&Shape::of("id LONG, v LONG").key("id"));
        let mut writer = table.write().unwrap();
        writer.insert(&versions(&*table, 0..3, 0)).unwrap();
        writer.commit().unwrap();
        let increments = if maker.is_remote() { 100 } else { 1_000 };
        let by_id = Access {
            equal: vec![0],
            range: None,
        };
        thread::scope(|scope| {
            for worker in 0..WRITERS {
                let (table, by_id) = (&table, &by_id);
                scope.spawn(move || {
                    for step in 0..increments {
                        let id = (worker + step) as i64 % 3;
                        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
                        let probe = Probe {
                            rows: 1,
                            equal: vec![ids],
                            low: None,
                            high: None,
                        };
                        let mut writer = table.write().unwrap();
                        let found = writer.lookup(by_id, &probe, &[1]).unwrap();
                        let next = column(&found.rows)[0] + 1;
                        // A third of the writers goes by key, the others by name.
                        if worker % 3 == 0 {
                            writer.upsert(&versions(&**table, id..id + 1, next)).unwrap();
                        } else {
                            let refused = writer.update(&found.ids, &versions(&**table, id..id + 1, next));
                            assert!(refused.unwrap().is_none());
                        }
                        writer.commit().unwrap();
                    }
                });
            }
        });
        let total: i64 = table.scan(&[1]).unwrap().iter().flat_map(column).sum();
        assert_eq!(total, (WRITERS * increments) as i64);
    });
}

#[test]
fn a_scan_keeps_what_it_saw() {
    each_backend(|maker| {
        let table = maker.open(&Shape::of("id LONG, s STRING").key("id"));
        let line = |id: i64, what: &str| format!(r#"{{"id":{id},"s":"{what}, which takes more than twelve bytes"}}"#);
        let write = |what: &str| {
            let lines: Vec<String> = (0..5_000).map(|id| line(id, what)).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            upsert(&*table, &lines);
        };
        write("one");
        let before = table.scan(&[0, 1]).unwrap();
        let shown: Vec<String> = before.iter().flat_map(lines).collect();
        write("two");
        delete(&*table, "id", &[r#"{"id":17}"#]);
        assert_eq!(before.iter().flat_map(lines).collect::<Vec<_>>(), shown);
        assert!(shown.iter().all(|line| line.contains("one")));
        assert!(content(&*table).iter().all(|line| line.contains("two")));
        assert_eq!(table.len().unwrap(), 4_999);
    });
}
