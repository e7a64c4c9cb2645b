//! [`ToldTable`]: a table kept elsewhere, with watchers who are told what this process writes to it.
//!
//! The databases do not say what a write has changed, so the rows are read before they are written, in the same transaction, as long
//! as somebody watches; nobody watching, nothing is read. What others write to the table is not told: watchers see it when they
//! read all rows, or when the row is next written here.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{OwnedRow, RowConverter, SortField};
use parking_lot::{Mutex, MutexGuard};

use super::watch::{Watched, Watcher, WatcherMark};
use super::watchers::{Committed, Watchers, gathered};
use super::{Access, Matches, Probe, Refused, RowId, Table, TableWriter};
use crate::catalog::tables::TableDef;
use crate::error::{Error, Result, RowError};
use crate::event::{Clock, EventBatch};
use crate::operators::state::{StateReader, StateWriter};

/// A table of another backend, told of.
#[derive(Debug)]
pub struct ToldTable {
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    watchers: Watchers,
    /// Whose turn it is, until its changes have been told.
    turn: Mutex<()>,
}

impl ToldTable {
    /// Of a table.
    pub fn new(table: Arc<dyn Table>, clock: Arc<dyn Clock>) -> Self {
        ToldTable {
            table,
            clock,
            watchers: Watchers::default(),
            turn: Mutex::new(()),
        }
    }
}

impl Table for ToldTable {
    fn def(&self) -> &TableDef {
        self.table.def()
    }

    fn lookup(&self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        self.table.lookup(access, probe, columns)
    }

    fn contains(&self, access: &Access, probe: &Probe) -> Result<Vec<bool>> {
        self.table.contains(access, probe)
    }

    fn scan(&self, columns: &[usize]) -> Result<Vec<RecordBatch>> {
        self.table.scan(columns)
    }

    fn len(&self) -> Result<usize> {
        self.table.len()
    }

    fn write(&self) -> Result<Box<dyn TableWriter + '_>> {
        let turn = self.turn.lock();
        let writer = self.table.write()?;
        if self.watchers.is_empty() {
            return Ok(Box::new(Untold { _turn: turn, writer }));
        }
        Ok(Box::new(ToldWriter {
            table: self,
            _turn: turn,
            writer,
            sources: Vec::new(),
            found: HashMap::new(),
            told: Vec::new(),
        }))
    }

    fn watch(&self, watcher: Watcher) -> Result<()> {
        let _turn = self.turn.lock();
        self.watchers.add(watcher);
        Ok(())
    }

    fn tell_rows(&self, watcher: &Watcher) -> Result<()> {
        let all = all(self.def());
        // Nobody here commits, and so nobody tells of changes, meanwhile.
        let _turn = self.turn.lock();
        watcher.tell(Watched::Rows(self.table.scan(&all)?));
        Ok(())
    }

    fn tells_each_change(&self) -> bool {
        self.watchers.keep()
    }

    fn marks(&self) -> Vec<WatcherMark> {
        let _turn = self.turn.lock();
        self.watchers.marks()
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        self.table.snapshot(state)
    }

    fn restore(&self, state: &mut StateReader) -> Result<()> {
        self.table.restore(state)
    }
}

fn all(def: &TableDef) -> Vec<usize> {
    (0..def.schema.fields().len()).collect()
}

/// A transaction that nobody watches. It keeps its turn, so that who begins to watch hears of whole transactions.
struct Untold<'a> {
    writer: Box<dyn TableWriter + 'a>,
    // Given back after the transaction has ended.
    _turn: MutexGuard<'a, ()>,
}

impl TableWriter for Untold<'_> {
    fn lookup(&mut self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        self.writer.lookup(access, probe, columns)
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        self.writer.insert(rows)
    }

    fn upsert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        self.writer.upsert(rows)
    }

    fn update(&mut self, ids: &[RowId], rows: &RecordBatch) -> Result<Option<RowError>> {
        self.writer.update(ids, rows)
    }

    fn delete(&mut self, ids: &[RowId]) -> Result<()> {
        self.writer.delete(ids)
    }

    fn delete_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        self.writer.delete_keys(keys, rows)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Untold { writer, _turn } = *self;
        writer.commit()
    }
}

/// A row: which of the sources, and which of its rows.
type Place = (usize, usize);

/// A transaction whose changes are told when it is committed.
///
/// *Cost.* What a write changes is looked up before it: one lookup by key a call; and rows that are looked up are read whole.
struct ToldWriter<'a> {
    table: &'a ToldTable,
    writer: Box<dyn TableWriter + 'a>,
    /// Rows that were read or written.
    sources: Vec<RecordBatch>,
    /// The rows that have been looked up, as they are now.
    found: HashMap<RowId, Place>,
    /// What each call changed, in order.
    told: Vec<EventBatch>,
    // Given back after all is told.
    _turn: MutexGuard<'a, ()>,
}

/// What a call changes.
#[derive(Default)]
struct Changed {
    deleted: Vec<Place>,
    replaced: Vec<Place>,
    versions: Vec<Place>,
    fresh: Vec<Place>,
}

impl ToldWriter<'_> {
    fn def(&self) -> &TableDef {
        self.table.def()
    }

    fn source(&mut self, rows: RecordBatch) -> usize {
        self.sources.push(rows);
        self.sources.len() - 1
    }

    /// The rows with these keys, whole; for each the number of the key that found it.
    fn with_keys(&mut self, keys: Vec<ArrayRef>, rows: usize) -> Result<(Vec<u32>, Vec<RowId>, usize)> {
        let access = Access {
            equal: self.def().primary_key.clone(),
            range: None,
        };
        let probe = Probe {
            rows,
            equal: keys,
            low: None,
            high: None,
        };
        let all = all(self.def());
        let matches = self.writer.lookup(&access, &probe, &all)?;
        let source = self.source(matches.rows);
        Ok((matches.probes, matches.ids, source))
    }

    fn tell(&mut self, changed: &Changed) -> Result<()> {
        let schema = &self.def().schema;
        let sources: Vec<&RecordBatch> = self.sources.iter().collect();
        let rows = |places: &[Place]| gathered(schema, &sources, places);
        let committed = Committed {
            deleted: rows(&changed.deleted)?,
            replaced: rows(&changed.replaced)?,
            versions: rows(&changed.versions)?,
            fresh: rows(&changed.fresh)?,
            evicted: Vec::new(),
        };
        let told = committed.changelog(&self.def().primary_key, self.table.clock.now())?;
        self.told.extend(told);
        Ok(())
    }

    fn keys_of(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        let key = self.def().primary_key.iter();
        key.map(|column| rows.column(*column).clone()).collect()
    }
}

/// Rows that were not refused, by number.
fn accepted(rows: usize, refused: &Refused) -> Vec<usize> {
    let mut accepted = vec![true; rows];
    refused.iter().for_each(|(row, _)| accepted[*row] = false);
    (0..rows).filter(|row| accepted[*row]).collect()
}

/// Keys in a form that can be compared.
fn comparable(keys: &[ArrayRef]) -> Result<Vec<OwnedRow>> {
    let fields = keys.iter().map(|column| SortField::new(column.data_type().clone()));
    let rows = RowConverter::new(fields.collect())?.convert_columns(keys)?;
    Ok(rows.iter().map(|row| row.owned()).collect())
}

impl TableWriter for ToldWriter<'_> {
    fn lookup(&mut self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        let all = all(self.def());
        let matches = self.writer.lookup(access, probe, &all)?;
        let rows = matches.rows.project(columns)?;
        let source = self.source(matches.rows);
        for (row, id) in matches.ids.iter().enumerate() {
            self.found.insert(*id, (source, row));
        }
        Ok(Matches {
            probes: matches.probes,
            rows,
            ids: matches.ids,
        })
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        let refused = self.writer.insert(rows)?;
        let source = self.source(rows.clone());
        let fresh = accepted(rows.num_rows(), &refused).into_iter().map(|row| (source, row));
        let changed = Changed {
            fresh: fresh.collect(),
            ..Changed::default()
        };
        self.tell(&changed)?;
        Ok(refused)
    }

    fn upsert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        let keys = self.keys_of(rows);
        let (probes, _, old) = self.with_keys(keys.clone(), rows.num_rows())?;
        let refused = self.writer.upsert(rows)?;
        let new = self.source(rows.clone());
        let keys = comparable(&keys)?;
        // Of several rows with one key only the last is seen.
        let mut last: HashMap<&OwnedRow, usize> = HashMap::new();
        let accepted = accepted(rows.num_rows(), &refused);
        for row in &accepted {
            last.insert(&keys[*row], *row);
        }
        let before: HashMap<&OwnedRow, usize> = probes
            .iter()
            .enumerate()
            .map(|(found, probe)| (&keys[*probe as usize], found))
            .collect();
        let mut changed = Changed::default();
        for row in accepted.into_iter().filter(|row| last[&keys[*row]] == *row) {
            match before.get(&keys[row]) {
                Some(found) => {
                    changed.replaced.push((old, *found));
                    changed.versions.push((new, row));
                }
                None => changed.fresh.push((new, row)),
            }
        }
        self.tell(&changed)?;
        Ok(refused)
    }

    fn update(&mut self, ids: &[RowId], rows: &RecordBatch) -> Result<Option<RowError>> {
        let before: Option<Vec<Place>> = ids.iter().map(|id| self.found.get(id).copied()).collect();
        let before = before.ok_or_else(|| {
            let name = &self.def().name;
            Error::failed(format!(
                "table '{name}': a row is updated that was not looked up (please report it)"
            ))
        })?;
        if let Some(refused) = self.writer.update(ids, rows)? {
            return Ok(Some(refused));
        }
        let source = self.source(rows.clone());
        let versions: Vec<Place> = (0..rows.num_rows()).map(|row| (source, row)).collect();
        // The name of a row may be another now; one that is still the same is of the new row.
        for (id, version) in ids.iter().zip(&versions) {
            self.found.insert(*id, *version);
        }
        let changed = Changed {
            replaced: before,
            versions,
            ..Changed::default()
        };
        self.tell(&changed)?;
        Ok(None)
    }

    fn delete(&mut self, ids: &[RowId]) -> Result<()> {
        self.writer.delete(ids)?;
        let deleted = ids.iter().filter_map(|id| self.found.remove(id));
        let changed = Changed {
            deleted: deleted.collect(),
            ..Changed::default()
        };
        self.tell(&changed)
    }

    fn delete_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        let (_, ids, old) = self.with_keys(keys.to_vec(), rows)?;
        self.writer.delete_keys(keys, rows)?;
        // A key that is there twice found its row twice.
        let places = ids.iter().enumerate().map(|(row, id)| (*id, (old, row)));
        let once: HashMap<RowId, Place> = places.collect();
        let mut deleted: Vec<Place> = once.into_values().collect();
        deleted.sort_unstable();
        let changed = Changed {
            deleted,
            ..Changed::default()
        };
        self.tell(&changed)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let ToldWriter {
            table,
            writer,
            told,
            _turn,
            ..
        } = *self;
        writer.commit()?;
        // It is still this writer's turn.
        told.iter().for_each(|batch| table.watchers.tell(batch));
        Ok(())
    }
}
