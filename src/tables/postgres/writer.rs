//! [`PostgresWriter`]: one transaction, which survives the loss of its connection.
//!
//! A transaction whose connection is lost is rolled back by the server. So the writer remembers what it did and what came of
//! it, and does it again on a new connection; when something else comes of it than before (another program changed the
//! rows meanwhile), the transaction fails, since what was computed from it may be wrong.
//!
//! When the connection is lost while COMMIT is under way, the server is asked what became of it (see [`super::marks`]). So a
//! commit is done once, never twice and never not.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{take, take_record_batch};
use parking_lot::MutexGuard;

use super::PostgresTable;
use super::layout::Lock;
use super::link::{Taken, Trouble};
use super::live::{Live, borrowed};
use super::marks::Marks;
use super::values::{Parameter, parameter, places, unfit};
use crate::error::{Error, Result, RowError};
use crate::tables::memory::first_and_last;
use crate::tables::rows::RowCheck;
use crate::tables::{Access, Matches, Probe, Refused, RowId, TableWriter};

/// One transaction.
pub(super) struct PostgresWriter<'a> {
    table: &'a PostgresTable,
    /// The number of the last commit.
    last: MutexGuard<'a, i64>,
    /// The connection, once something was done.
    live: Option<Live>,
    history: Vec<(Step, Outcome)>,
    /// Of the names of rows that were given out: what they are called since the connection was lost.
    renamed: HashMap<RowId, RowId>,
    /// Keys that were written, for the cache in front; `None` when they are not known.
    keys: Option<Vec<Vec<ArrayRef>>>,
}

/// What is asked for.
enum Step {
    Lookup(Access, Probe, Vec<usize>),
    Insert(RecordBatch),
    Upsert(RecordBatch),
    Update(Vec<RowId>, RecordBatch),
    Delete(Vec<RowId>),
    DeleteKeys(Vec<ArrayRef>, usize),
}

/// What came of it.
enum Outcome {
    Matches(Matches),
    Refused(Refused),
    Updated(Option<RowError>),
    Done,
}

impl Outcome {
    /// Whether the same came of it; names of rows may differ.
    fn is_same(&self, other: &Outcome) -> bool {
        match (self, other) {
            (Outcome::Matches(a), Outcome::Matches(b)) => a.probes == b.probes && a.rows == b.rows,
            (Outcome::Refused(a), Outcome::Refused(b)) => a.iter().map(|row| row.0).eq(b.iter().map(|row| row.0)),
            (Outcome::Updated(a), Outcome::Updated(b)) => a.is_none() == b.is_none(),
            (Outcome::Done, Outcome::Done) => true,
            _ => false,
        }
    }
}

impl Live {
    async fn step(&mut self, table: &PostgresTable, step: &Step) -> Result<Outcome, Trouble> {
        match step {
            Step::Lookup(access, probe, columns) => {
                let before = self.take_before();
                let found = table.find(self.connection()?, &before, access, probe, columns, Lock::Rows);
                Ok(Outcome::Matches(found.await?))
            }
            Step::Insert(rows) => self.insert(table, rows).await.map(Outcome::Refused),
            Step::Upsert(rows) => self.upsert(table, rows).await.map(Outcome::Refused),
            Step::Update(ids, rows) => self.update(table, ids, rows).await.map(Outcome::Updated),
            Step::Delete(ids) => {
                self.execute(&table.layout.delete(), &[places(ids)]).await?;
                Ok(Outcome::Done)
            }
            Step::DeleteKeys(keys, _) => {
                let fields = table.def.schema.fields();
                let key = table.def.primary_key.iter().zip(keys);
                let parameters = key.map(|(column, values)| parameter(&fields[*column], values));
                let parameters: Vec<Parameter> = parameters.collect::<Result<_>>()?;
                let sql = table.layout.delete_keys(&table.def.primary_key);
                self.execute(&sql, &parameters).await?;
                Ok(Outcome::Done)
            }
        }
    }

    async fn insert(&mut self, table: &PostgresTable, rows: &RecordBatch) -> Result<Refused, Trouble> {
        let check = RowCheck::new(&table.def, rows, table.clock.now())?;
        let (mut good, mut refused) = sound(table, &check, rows);
        let key = &table.def.primary_key;
        let sql = table.layout.insert(key);
        if !key.is_empty() {
            // All of them at once, if none is there.
            let all = table.parameters(&take_rows(rows, &good)?)?;
            match self.attempt(&sql, &all).await {
                Ok(done) if done == good.len() as u64 => return Ok(refused),
                Ok(_) => self.undo().await?,
                Err(Trouble::Refused(..)) => {}
                Err(trouble) => return Err(trouble),
            }
            let there = self.holders(table, rows, &good).await?;
            let values: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
            let firsts = first_and_last(&values, rows.num_rows(), |row| good.contains(&(row as u32)))?;
            let mut is_first = vec![false; rows.num_rows()];
            firsts.iter().for_each(|(first, _)| is_first[*first as usize] = true);
            for (row, _) in there
                .iter()
                .enumerate()
                .filter(|(row, there)| **there || !is_first[*row])
            {
                if good.binary_search(&(row as u32)).is_ok() {
                    refused.push((row, check.taken(row)));
                }
            }
            good.retain(|row| is_first[*row as usize] && !there[*row as usize]);
        }
        self.put(table, &check, rows, good, &table.layout.insert(&[]), &mut refused)
            .await?;
        refused.sort_by_key(|(row, _)| *row);
        Ok(refused)
    }

    async fn upsert(&mut self, table: &PostgresTable, rows: &RecordBatch) -> Result<Refused, Trouble> {
        let check = RowCheck::new(&table.def, rows, table.clock.now())?;
        let (good, mut refused) = sound(table, &check, rows);
        let key = &table.def.primary_key;
        let values: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
        // One statement changes a row once: of each key the last one counts.
        let is_good = |row: usize| good.binary_search(&(row as u32)).is_ok();
        let last = first_and_last(&values, rows.num_rows(), is_good)?;
        let last: Vec<u32> = last.into_iter().map(|(_, last)| last).collect();
        let sql = table.layout.upsert(key);
        self.put(table, &check, rows, last, &sql, &mut refused).await?;
        refused.sort_by_key(|(row, _)| *row);
        Ok(refused)
    }

    /// Which of the rows have a key that is there.
    async fn holders(&mut self, table: &PostgresTable, rows: &RecordBatch, good: &[u32]) -> Result<Vec<bool>, Trouble> {
        let good = arrow::array::UInt32Array::from(good.to_vec());
        let key = table.def.primary_key.iter();
        let key = key.map(|column| Ok(take(rows.column(*column), &good, None)?));
        let found = self.with_keys(table, good.len(), key.collect::<Result<_>>()?).await?;
        let mut there = vec![false; rows.num_rows()];
        for probe in found.probes {
            there[good.value(probe as usize) as usize] = true;
        }
        Ok(there)
    }

    /// The rows of the table that have one of so many keys, given by columns.
    async fn with_keys(&mut self, table: &PostgresTable, rows: usize, key: Vec<ArrayRef>) -> Result<Matches, Trouble> {
        let access = Access {
            equal: table.def.primary_key.clone(),
            range: None,
        };
        let probe = Probe {
            rows,
            equal: key,
            low: None,
            high: None,
        };
        let before = self.take_before();
        table
            .find(self.connection()?, &before, &access, &probe, &[], Lock::None)
            .await
    }

    /// Puts rows; when the server refuses one of them, halves until those that it refuses stand alone.
    async fn put(
        &mut self,
        table: &PostgresTable,
        check: &RowCheck<'_>,
        rows: &RecordBatch,
        which: Vec<u32>,
        sql: &str,
        refused: &mut Refused,
    ) -> Result<(), Trouble> {
        let mut parts = vec![which];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let parameters = table.parameters(&take_rows(rows, &part)?)?;
            match self.attempt(sql, &parameters).await {
                Ok(_) => {}
                Err(Trouble::Refused(why, taken)) if part.len() == 1 => {
                    let row = part[0] as usize;
                    let is_key = taken == Taken::Yes && !table.def.primary_key.is_empty();
                    refused.push((
                        row,
                        if is_key {
                            check.taken(row)
                        } else {
                            check.error(row, why)
                        },
                    ));
                }
                Err(Trouble::Refused(..)) => {
                    // The first half is done first, so that rows come in order.
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    async fn update(
        &mut self,
        table: &PostgresTable,
        ids: &[RowId],
        rows: &RecordBatch,
    ) -> Result<Option<RowError>, Trouble> {
        let check = RowCheck::new(&table.def, rows, table.clock.now())?;
        if ids.len() != rows.num_rows() {
            return Err(Error::failed("an update names another number of rows than it gives").into());
        }
        let (_, faults) = sound(table, &check, rows);
        if let Some((_, fault)) = faults.into_iter().next() {
            return Ok(Some(fault));
        }
        let mut parameters = table.parameters(rows)?;
        parameters.push(places(ids));
        let refused = match self.attempt(&table.layout.update(), &parameters).await {
            Ok(_) => return Ok(None),
            Err(Trouble::Refused(_, Taken::Yes)) => self.update_at_once(table, ids, &parameters).await,
            Err(trouble) => Err(trouble),
        };
        match refused {
            Ok(()) => Ok(None),
            Err(Trouble::Refused(_, Taken::Yes)) => Ok(Some(self.culprit(table, &check, ids, rows).await?)),
            Err(Trouble::Refused(why, Taken::No)) => Ok(Some(check.error(0, why))),
            Err(trouble) => Err(trouble),
        }
    }

    async fn update_at_once(
        &mut self,
        table: &PostgresTable,
        ids: &[RowId],
        parameters: &[Parameter],
    ) -> Result<(), Trouble> {
        let [make, aside, out, back] = table.layout.update_at_once();
        self.begin_attempt();
        let before = format!("{}; {make}", self.take_before());
        self.connection()?.batch_execute(&before).await?;
        // Their plans do not outlive the table that was made.
        self.connection()?.execute(&aside, &borrowed(&[places(ids)])).await?;
        self.execute(&out, &[places(ids)]).await?;
        let done = self.connection()?.execute(&back, &borrowed(parameters)).await;
        match done.map_err(Trouble::from) {
            Ok(_) => Ok(()),
            Err(refused @ Trouble::Refused(..)) => {
                self.undo().await?;
                Err(refused)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The error of an update in which keys collide: of the first row whose new key another row has, or one before it.
    async fn culprit(
        &mut self,
        table: &PostgresTable,
        check: &RowCheck<'_>,
        ids: &[RowId],
        rows: &RecordBatch,
    ) -> Result<RowError, Trouble> {
        let key = &table.def.primary_key;
        let values: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
        let firsts = first_and_last(&values, rows.num_rows(), |_| true)?;
        let mut twice = firsts
            .iter()
            .filter(|(first, last)| first != last)
            .map(|(_, last)| *last as usize);
        let found = self.with_keys(table, rows.num_rows(), values.clone()).await?;
        let mut others = found.probes.iter().zip(&found.ids).filter(|(_, id)| !ids.contains(id));
        let held = others.next().map(|(probe, _)| *probe as usize);
        let row = held.into_iter().chain(twice.next()).min().unwrap_or_default();
        Ok(check.taken(row))
    }
}

/// The rows that may be written whatever else is in the table, and the errors of the others.
fn sound(table: &PostgresTable, check: &RowCheck<'_>, rows: &RecordBatch) -> (Vec<u32>, Refused) {
    let (mut good, mut refused) = (Vec::with_capacity(rows.num_rows()), Refused::new());
    let fields = table.def.schema.fields();
    let columns: Vec<_> = fields.iter().zip(rows.columns()).collect();
    for row in 0..rows.num_rows() {
        let fault = check.fault(row).or_else(|| {
            let mut unfit = columns.iter().filter_map(|(field, values)| unfit(field, values, row));
            unfit.next().map(|why| check.error(row, why))
        });
        match fault {
            Some(fault) => refused.push((row, fault)),
            None => good.push(row as u32),
        }
    }
    (good, refused)
}

fn take_rows(rows: &RecordBatch, which: &[u32]) -> Result<RecordBatch> {
    if which.len() == rows.num_rows() && which.iter().copied().eq(0..which.len() as u32) {
        return Ok(rows.clone());
    }
    Ok(take_record_batch(
        rows,
        &arrow::array::UInt32Array::from(which.to_vec()),
    )?)
}

impl<'a> PostgresWriter<'a> {
    /// Begins when it is its turn in this process; the server is asked for nothing yet.
    pub fn new(table: &'a PostgresTable, last: MutexGuard<'a, i64>) -> Self {
        PostgresWriter {
            table,
            last,
            live: None,
            history: Vec::new(),
            renamed: HashMap::new(),
            keys: Some(Vec::new()),
        }
    }

    /// Does a step, again from the beginning when the connection is lost meanwhile.
    fn perform(&mut self, step: Step) -> Result<&Outcome> {
        let table = self.table;
        let mut retry = table.link.deadline();
        let outcome = table.link.wait(async {
            loop {
                let attempt = async {
                    let mut live = self.ready().await?;
                    let outcome = live.step(table, &self.with_new_names(&step)).await?;
                    self.live = Some(live);
                    Ok(outcome)
                };
                match attempt.await {
                    Ok(outcome) => return Ok(outcome),
                    Err(trouble) => retry.again(trouble).await?,
                }
            }
        });
        let outcome = outcome.map_err(|trouble| table.link.failed(trouble))?;
        self.history.push((step, outcome));
        match self.history.last() {
            Some((_, outcome)) => Ok(outcome),
            None => Err(Error::failed("a transaction forgot what it did")),
        }
    }

    fn with_new_names(&self, step: &Step) -> Step {
        let renamed = |ids: &[RowId]| -> Vec<RowId> {
            ids.iter()
                .map(|id| self.renamed.get(id).copied().unwrap_or(*id))
                .collect()
        };
        match step {
            Step::Lookup(access, probe, columns) => Step::Lookup(access.clone(), probe.clone(), columns.clone()),
            Step::Insert(rows) => Step::Insert(rows.clone()),
            Step::Upsert(rows) => Step::Upsert(rows.clone()),
            Step::Update(ids, rows) => Step::Update(renamed(ids), rows.clone()),
            Step::Delete(ids) => Step::Delete(renamed(ids)),
            Step::DeleteKeys(keys, rows) => Step::DeleteKeys(keys.clone(), *rows),
        }
    }

    /// The transaction at the server, with all that was done so far done. Whoever takes it gives it back, or it is rolled back.
    async fn ready(&mut self) -> Result<Live, Trouble> {
        let live = match self.live.take() {
            Some(live) => live,
            None => {
                let mut live = Live::begin(&self.table.link).await?;
                self.renamed.clear();
                for i in 0..self.history.len() {
                    let step = self.with_new_names(&self.history[i].0);
                    let outcome = live.step(self.table, &step).await?;
                    let (_, before) = &self.history[i];
                    if !outcome.is_same(before) {
                        let what = "the connection was lost in a transaction, and rows that it had read or written were \
                                    changed by others before it could be repeated";
                        return Err(Error::failed(what).into());
                    }
                    if let (Outcome::Matches(before), Outcome::Matches(now)) = (before, &outcome) {
                        self.renamed
                            .extend(before.ids.iter().copied().zip(now.ids.iter().copied()));
                    }
                }
                live
            }
        };
        Ok(live)
    }

    fn writes(&self) -> bool {
        let is_write = |(step, _): &(Step, Outcome)| !matches!(step, Step::Lookup(..));
        self.history.iter().any(is_write)
    }

    /// Notes the keys of rows that were written.
    fn note(&mut self, rows: &RecordBatch) {
        let key = &self.table.def.primary_key;
        let key: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
        if let Some(keys) = &mut self.keys {
            keys.push(key);
        }
    }

    async fn commit_once(&mut self) -> Result<(), Trouble> {
        let live = self.ready().await?;
        let table = self.table;
        let number = *self.last + 1;
        let marks = table.marks.as_ref().filter(|_| self.writes());
        let committed = live.commit(marks.map(|marks| (marks, number))).await;
        match (committed, marks) {
            (Err(Trouble::Lost(why)), Some(marks)) if !self.is_done(marks, number).await? => Err(Trouble::Lost(why)),
            (Err(Trouble::Lost(why)), None) if self.writes() => {
                let what = format!("nobody knows whether a commit took effect: {why}");
                Err(Error::failed(what).into())
            }
            (Err(Trouble::Lost(_)), _) | (Ok(()), _) => {
                *self.last = number;
                Ok(())
            }
            (committed, _) => committed,
        }
    }

    /// Whether the commit with that number took effect.
    async fn is_done(&self, marks: &Marks, number: i64) -> Result<bool, Trouble> {
        let mut retry = self.table.link.deadline();
        loop {
            let attempt = async {
                let connection = self.table.link.connection().await?;
                marks.is_left(&connection, number).await
            };
            match attempt.await {
                Ok(is_done) => return Ok(is_done),
                Err(trouble) => retry.again(trouble).await?,
            }
        }
    }
}

impl TableWriter for PostgresWriter<'_> {
    fn lookup(&mut self, access: &Access, probe: &Probe, columns: &[usize]) -> Result<Matches> {
        let step = Step::Lookup(access.clone(), probe.clone(), columns.to_vec());
        match self.perform(step)? {
            Outcome::Matches(matches) => Ok(matches.clone()),
            _ => Err(Error::failed("a lookup found no matches")),
        }
    }

    fn insert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        self.note(rows);
        match self.perform(Step::Insert(rows.clone()))? {
            Outcome::Refused(refused) => Ok(refused.clone()),
            _ => Err(Error::failed("an insert had no outcome")),
        }
    }

    fn upsert(&mut self, rows: &RecordBatch) -> Result<Refused> {
        if self.table.def.primary_key.is_empty() {
            return Err(Error::failed(format!(
                "the table '{}' has no primary key to upsert by",
                self.table.def.name
            )));
        }
        self.note(rows);
        match self.perform(Step::Upsert(rows.clone()))? {
            Outcome::Refused(refused) => Ok(refused.clone()),
            _ => Err(Error::failed("an upsert had no outcome")),
        }
    }

    fn update(&mut self, ids: &[RowId], rows: &RecordBatch) -> Result<Option<RowError>> {
        self.keys = None;
        match self.perform(Step::Update(ids.to_vec(), rows.clone()))? {
            Outcome::Updated(refused) => Ok(refused.clone()),
            _ => Err(Error::failed("an update had no outcome")),
        }
    }

    fn delete(&mut self, ids: &[RowId]) -> Result<()> {
        self.keys = None;
        self.perform(Step::Delete(ids.to_vec())).map(|_| ())
    }

    fn delete_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        if let Some(noted) = &mut self.keys {
            noted.push(keys.to_vec());
        }
        self.perform(Step::DeleteKeys(keys.to_vec(), rows)).map(|_| ())
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        let table = self.table;
        if self.history.is_empty() {
            return Ok(());
        }
        let writes = self.writes();
        let mut retry = table.link.deadline();
        let done = table.link.wait(async {
            loop {
                match self.commit_once().await {
                    Ok(()) => return Ok(()),
                    Err(trouble) => retry.again(trouble).await?,
                }
            }
        });
        if writes {
            table.forget(self.keys.as_deref());
        }
        done.map_err(|trouble| table.link.failed(trouble))
    }
}

impl Drop for PostgresWriter<'_> {
    fn drop(&mut self) {
        let Some(live) = self.live.take() else { return };
        self.table.link.wait(live.roll_back());
    }
}
