//! An emulation of RisingWave, as far as subscription cursors go; the server of [`super::materialize`] speaks it, too.
//!
//! It does, as documented: `CREATE SUBSCRIPTION IF NOT EXISTS s FROM r WITH (…)`; `DECLARE c SUBSCRIPTION CURSOR FOR s FULL | SINCE ms`, refused when the
//! history is gone; `FETCH n FROM c WITH (timeout = …)` with the relation's columns, `op` (`Insert`, `Delete`, `UpdateDelete`, `UpdateInsert`) and
//! `rw_timestamp`, which rows of the snapshot lack. What comes at `SINCE` itself is given once more, as one of two readings of the documentation has it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::materialize::Hold;
use super::sql::{after, begins, name, words};
use super::wire::{Column, Refusal, Session};
use super::world::{Row, World, apply};

/// A cursor.
pub struct Cursor {
    relation: String,
    rows: VecDeque<(Option<u64>, &'static str, Row)>,
    sent: u64,
    hold: Hold,
}

/// Runs a statement, if it is one of these.
pub fn run(
    session: &mut Session,
    world: &Arc<World>,
    cursor: &mut Option<Cursor>,
    text: &str,
) -> Option<io::Result<Result<(), Refusal>>> {
    let words = words(text);
    let done = |session: &mut Session, tag: &str| {
        session.complete(tag);
        Some(Ok(Ok(())))
    };
    if begins(&words, &["create", "subscription"]) {
        let named = after(&words, &["exists"])?.first().map(|word| name(word))?;
        let relation = after(&words, &["from"])?.first().map(|word| name(word))?;
        world.state().subscriptions.entry(named).or_insert(relation);
        return done(session, "CREATE_SUBSCRIPTION");
    }
    if begins(&words, &["declare"]) {
        let rest = after(&words, &["for"])?;
        return match declare(world, rest) {
            Ok(declared) => {
                *cursor = Some(declared);
                done(session, "DECLARE_CURSOR")
            }
            Err(refusal) => Some(Ok(Err(refusal))),
        };
    }
    if !begins(&words, &["fetch"]) {
        return None;
    }
    let Some(cursor) = cursor else {
        return Some(Ok(Err(Refusal::new("34000", "cursor does not exist"))));
    };
    let most = words.get(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    Some(fetch(session, world, cursor, most))
}

fn declare(world: &Arc<World>, rest: &[String]) -> Result<Cursor, Refusal> {
    let named = rest.first().map(|word| name(word)).unwrap_or_default();
    let since: Option<u64> = after(rest, &["since"]).and_then(|rest| rest.first()?.parse().ok());
    let relation = {
        let mut state = world.state();
        let unknown = || Refusal::new("42704", format!("subscription not found: {named}"));
        let relation = state.subscriptions.get(&named).cloned().ok_or_else(unknown)?;
        let found = state.relations.get(&relation).map_or(0, |found| found.since);
        if since.is_some_and(|since| since < found) {
            return Err(Refusal::new(
                "XX000",
                "the since timestamp is out of the retention of the subscription",
            ));
        }
        match since {
            Some(_) => state.resumed += 1,
            None => state.snapshots += 1,
        }
        relation
    };
    let hold = Hold::new(world, &relation, since);
    let mut state = world.state();
    let now = state.close_time();
    let mut rows = VecDeque::new();
    if since.is_none() {
        for (row, count) in state
            .relations
            .get(&relation)
            .map_or_else(BTreeMap::new, |found| found.at(now - 1))
        {
            (0..count).for_each(|_| rows.push_back((None, "Insert", row.clone())));
        }
    }
    Ok(Cursor {
        relation,
        rows,
        sent: since.map_or(now - 1, |since| since.saturating_sub(1)),
        hold,
    })
}

/// The changes of one time as rows: what goes and what comes of one first cell are the halves of an update.
fn changes(net: &BTreeMap<Row, i64>, time: u64) -> Vec<(Option<u64>, &'static str, Row)> {
    let mut rows = Vec::new();
    for (row, diff) in net.iter().filter(|(_, diff)| **diff < 0) {
        let new = net.iter().find(|(new, diff)| **diff == 1 && new.first() == row.first());
        match new.filter(|_| *diff == -1) {
            Some((new, _)) => {
                rows.push((Some(time), "UpdateDelete", row.clone()));
                rows.push((Some(time), "UpdateInsert", new.clone()));
            }
            None => (0..-diff).for_each(|_| rows.push((Some(time), "Delete", row.clone()))),
        }
    }
    for (row, diff) in net.iter().filter(|(_, diff)| **diff > 0) {
        if !rows.iter().any(|(_, op, known)| *op == "UpdateInsert" && known == row) {
            (0..*diff).for_each(|_| rows.push((Some(time), "Insert", row.clone())));
        }
    }
    rows
}

fn fetch(
    session: &mut Session,
    world: &Arc<World>,
    cursor: &mut Cursor,
    most: usize,
) -> io::Result<Result<(), Refusal>> {
    let end = Instant::now() + Duration::from_millis(200);
    let columns = loop {
        let mut state = world.state();
        if world.is_over() || state.generation != cursor.hold.generation {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let frontier = state.close_time();
        let Some(relation) = state.relations.get(&cursor.relation) else {
            return Ok(Err(Refusal::new("XX000", "the table of the subscription was dropped")));
        };
        if cursor.rows.is_empty() {
            for (time, updates) in relation.updates.range(cursor.sent + 1..frontier) {
                let mut net = BTreeMap::new();
                apply(&mut net, updates);
                cursor.rows.extend(changes(&net, *time));
                cursor.sent = *time;
            }
        }
        let columns = relation.columns.clone();
        if !cursor.rows.is_empty() || Instant::now() >= end {
            break columns;
        }
        drop(world.changed.wait_timeout(state, Duration::from_millis(10)));
    };
    let meta = [("op".to_string(), 25), ("rw_timestamp".to_string(), 20)];
    let columns: Vec<Column> = columns
        .into_iter()
        .chain(meta)
        .map(|(name, oid)| Column { name, oid })
        .collect();
    session.row_description(&columns);
    let count = cursor.rows.len().min(most);
    for (time, op, row) in cursor.rows.drain(..count) {
        let cells = row
            .into_iter()
            .chain([Some(op.to_string()), time.map(|time| time.to_string())]);
        let cells: Vec<Option<Vec<u8>>> = cells.map(|cell| cell.map(String::into_bytes)).collect();
        session.data_row(&cells);
    }
    if cursor.rows.is_empty() {
        cursor.hold.move_to(cursor.sent);
    }
    session.complete(&format!("FETCH_CURSOR {count}"));
    Ok(Ok(()))
}
