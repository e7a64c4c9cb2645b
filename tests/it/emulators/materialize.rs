//! An emulation of Materialize, as far as reading a relation by SUBSCRIBE goes.
//!
//! It does, as documented: PREPARE of `SELECT`s with the types of their columns; the catalog's answer for types of Materialize's own;
//! `COPY (SUBSCRIBE (SELECT …) [ENVELOPE UPSERT (KEY (…))] WITH (PROGRESS, SNAPSHOT = …) [AS OF t]) TO STDOUT [WITH (FORMAT BINARY)]` with an
//! initial progress row at the time of the snapshot, rows of one time followed by progress, consolidated changes, `upsert`, `delete` and
//! `key_violation`; times that are compacted away; unknown relations and columns; a password.
//!
//! It does not: SQL beyond that (no filters, no joins), several replicas, clusters. Progress comes every 20 ms instead of every second.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::risingwave;
use super::sql::{after, begins, name, select, words};
use super::wire::{Column, Portal, Refusal, Request, Session};
use super::world::{Row, World, apply};

/// The OID of `mz_timestamp`.
pub const MZ_TIMESTAMP: u32 = 16_552;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(20);

/// A running server.
pub struct Emulator {
    pub world: Arc<World>,
    pub port: u16,
}

impl Emulator {
    /// Listens on a port of loopback; 0 takes a free one. With a password everybody is asked for it.
    pub fn start(port: u16, password: Option<&str>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let port = listener.local_addr()?.port();
        let world = Arc::new(World::default());
        let (accepting, password) = (world.clone(), password.map(str::to_string));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.is_over() {
                    return;
                }
                let (world, password) = (accepting.clone(), password.clone());
                std::thread::spawn(move || {
                    // A client that goes, or is cut off, is no trouble of the server.
                    let _ = serve(stream, &world, password.as_deref());
                });
            }
        });
        Ok(Emulator { world, port })
    }

    /// The address for `materialize.url`.
    pub fn url(&self) -> String {
        format!("postgresql://materialize@127.0.0.1:{}/materialize", self.port)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.world.over.store(true, Ordering::Relaxed);
        self.world.changed.notify_all();
        self.world.kill();
        // Wakes whoever accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, world: &Arc<World>, password: Option<&str>) -> io::Result<()> {
    let budget = {
        let mut state = world.state();
        if state.faults.away {
            return Ok(());
        }
        state.budget()
    };
    world.connected(&stream);
    let mut session = Session::accept(stream, password, budget, world.sent.clone())?;
    let (mut failed, mut cursor) = (false, None);
    loop {
        match session.request()? {
            Request::Terminate => return Ok(()),
            Request::Sync => {
                failed = false;
                session.ready()?;
            }
            Request::Query(text) => {
                let done = match risingwave::run(&mut session, world, &mut cursor, &text) {
                    Some(done) => done,
                    None => run(&mut session, world, &text, &[]),
                };
                if let Err(refusal) = done? {
                    session.error(&refusal);
                }
                session.ready()?;
            }
            Request::Flush => session.flush()?,
            _ if failed => {}
            request => {
                if let Err(refusal) = extended(&mut session, world, request)? {
                    failed = true;
                    session.error(&refusal);
                    session.flush()?;
                }
            }
        }
    }
}

fn extended(session: &mut Session, world: &Arc<World>, request: Request) -> io::Result<Result<(), Refusal>> {
    match request {
        Request::Parse { name, text } => {
            if let Err(refusal) = described(world, &text) {
                return Ok(Err(refusal));
            }
            session.statements.insert(name, text);
            session.message(b'1', &[]);
        }
        Request::Describe { name, .. } => {
            let text = session.statements.get(&name).cloned().unwrap_or_default();
            match described(world, &text) {
                Err(refusal) => return Ok(Err(refusal)),
                Ok((parameters, columns)) => {
                    let mut body = (parameters.len() as u16).to_be_bytes().to_vec();
                    parameters
                        .iter()
                        .for_each(|oid: &u32| body.extend_from_slice(&oid.to_be_bytes()));
                    session.message(b't', &body);
                    match columns.is_empty() {
                        true => session.message(b'n', &[]),
                        false => session.row_description(&columns),
                    }
                }
            }
        }
        Request::Bind {
            portal,
            statement,
            parameters,
        } => {
            session.portals.insert(portal, Portal { statement, parameters });
            session.message(b'2', &[]);
        }
        Request::Execute { portal } => {
            let portal = session.portals.get(&portal).cloned().unwrap_or_default();
            let text = session.statements.get(&portal.statement).cloned().unwrap_or_default();
            return run(session, world, &text, &portal.parameters);
        }
        _ => session.message(b'3', &[]),
    }
    Ok(Ok(()))
}

/// The types of a statement's parameters, and its columns.
fn described(world: &World, text: &str) -> Result<(Vec<u32>, Vec<Column>), Refusal> {
    let words = words(text);
    if text.contains("pg_catalog.pg_type") {
        let columns = [
            ("typname", 19),
            ("typtype", 18),
            ("typelem", 26),
            ("rngsubtype", 26),
            ("typbasetype", 26),
        ];
        let columns = columns.into_iter().chain([("nspname", 19), ("typrelid", 26)]);
        let columns = columns.map(|(name, oid)| Column {
            name: name.to_string(),
            oid,
        });
        return Ok((vec![26], columns.collect()));
    }
    if text.contains("rw_catalog.rw_columns") {
        let name = Column {
            name: "name".to_string(),
            oid: 25,
        };
        return Ok((Vec::new(), vec![name]));
    }
    if begins(&words, &["copy"]) || !words.contains(&"select".to_string()) {
        return Ok((Vec::new(), Vec::new()));
    }
    let Some((relation, columns)) = select(&words) else {
        return Err(Refusal::new("42601", "Expected a SELECT that this emulation knows"));
    };
    let state = world.state();
    let Some(found) = state.relations.get(&relation) else {
        return Err(Refusal::new("42704", format!("unknown catalog item '{relation}'")));
    };
    let all = || found.columns.iter().map(|(name, _)| (name.clone(), false)).collect();
    let wanted: Vec<(String, bool)> = if columns.is_empty() { all() } else { columns };
    let column = |(name, cast): (String, bool)| match found.columns.iter().find(|(known, _)| *known == name) {
        Some((_, oid)) => Ok(Column {
            name,
            oid: if cast { 25 } else { *oid },
        }),
        None => Err(Refusal::new("42703", format!("column \"{name}\" does not exist"))),
    };
    Ok((Vec::new(), wanted.into_iter().map(column).collect::<Result<_, _>>()?))
}

fn run(
    session: &mut Session,
    world: &Arc<World>,
    text: &str,
    parameters: &[Option<Vec<u8>>],
) -> io::Result<Result<(), Refusal>> {
    let words = words(text);
    if begins(&words, &["copy", "(", "subscribe"]) {
        let subscribe = match Subscribe::of(world, &words) {
            Ok(subscribe) => subscribe,
            Err(refusal) => return Ok(Err(refusal)),
        };
        return subscribe.stream(session, world);
    }
    if text.contains("pg_catalog.pg_type") {
        let oid = parameters.first().cloned().flatten().unwrap_or_default();
        let known = oid == MZ_TIMESTAMP.to_be_bytes();
        if known {
            let zero = Some(vec![0; 4]);
            let name = Some(b"mz_timestamp".to_vec());
            let schema = Some(b"mz_catalog".to_vec());
            session.data_row(&[
                name,
                Some(b"b".to_vec()),
                zero.clone(),
                None,
                zero.clone(),
                schema,
                zero,
            ]);
        }
    }
    if text.contains("rw_catalog.rw_columns") {
        // The first column is the key of every relation here.
        let relation = after(&words, &["r.name", "="])
            .and_then(|rest| rest.first())
            .map(|word| word.trim_matches('\'').to_string());
        let key = relation.and_then(|relation| world.state().relations.get(&relation)?.columns.first().cloned());
        session.data_row(&[key.map(|(name, _)| name.into_bytes())]);
    }
    session.complete("SELECT");
    Ok(Ok(()))
}

/// Keeps the history that a reader still needs.
pub struct Hold {
    world: Arc<World>,
    relation: String,
    reader: u64,
    pub generation: u64,
}

impl Hold {
    pub fn new(world: &Arc<World>, relation: &str, from: Option<u64>) -> Self {
        let mut state = world.state();
        state.readers += 1;
        let (reader, generation) = (state.readers, state.generation);
        let from = from.unwrap_or_else(|| state.now());
        if let Some(found) = state.relations.get_mut(relation) {
            found.holds.insert(reader, from);
        }
        Hold {
            world: world.clone(),
            relation: relation.to_string(),
            reader,
            generation,
        }
    }

    pub fn move_to(&mut self, time: u64) {
        let mut state = self.world.state();
        if state.generation == self.generation
            && let Some(relation) = state.relations.get_mut(&self.relation)
        {
            relation.holds.insert(self.reader, time);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(relation) = self.world.state().relations.get_mut(&self.relation) {
            relation.holds.remove(&self.reader);
        }
    }
}

/// A SUBSCRIBE.
struct Subscribe {
    relation: String,
    /// The places of its columns in the relation's, and their types as they travel.
    columns: Vec<(usize, u32)>,
    /// The places of the key in its own columns.
    key: Option<Vec<usize>>,
    snapshot: bool,
    as_of: Option<u64>,
    binary: bool,
}

impl Subscribe {
    fn of(world: &World, words: &[String]) -> Result<Self, Refusal> {
        let syntax = || Refusal::new("42601", "Expected a SUBSCRIBE that this emulation knows");
        let (relation, wanted) = select(words).ok_or_else(syntax)?;
        let mut state = world.state();
        if let Some((code, message)) = state.faults.refuse.take() {
            return Err(Refusal::new(code, message));
        }
        let as_of = after(words, &["as", "of"]).and_then(|rest| rest.first()?.parse().ok());
        let unknown = || Refusal::new("42704", format!("unknown catalog item '{relation}'"));
        let found = state.relations.get(&relation).ok_or_else(unknown)?;
        if let Some(time) = as_of.filter(|time| *time < found.since) {
            let message = format!(
                "Timestamp ({time}) is not valid for all inputs: [(User(1), Antichain {{ elements: [{}] }})]",
                found.since
            );
            return Err(Refusal::new("XX000", message));
        }
        let place = |name: &str| {
            let found = found.columns.iter().position(|(known, _)| known == name);
            found.ok_or_else(|| Refusal::new("42703", format!("column \"{name}\" does not exist")))
        };
        let columns: Vec<(usize, u32)> = match wanted.is_empty() {
            true => found
                .columns
                .iter()
                .enumerate()
                .map(|(at, (_, oid))| (at, *oid))
                .collect(),
            false => {
                let one = |(name, cast): &(String, bool)| {
                    let at = place(name)?;
                    Ok((at, if *cast { 25 } else { found.columns[at].1 }))
                };
                wanted.iter().map(one).collect::<Result<_, _>>()?
            }
        };
        let key = match after(words, &["envelope", "upsert", "(", "key", "("]) {
            None => None,
            Some(rest) => {
                let end = rest.iter().position(|word| word == ")").ok_or_else(syntax)?;
                let names = rest[..end].iter().filter(|word| *word != ",").map(|word| name(word));
                let of = |name: String| {
                    let at = place(&name)?;
                    columns.iter().position(|(column, _)| *column == at).ok_or_else(syntax)
                };
                Some(names.map(of).collect::<Result<_, _>>()?)
            }
        };
        let snapshot = !matches!(after(words, &["snapshot", "="]), Some([word, ..]) if word == "false");
        match as_of {
            Some(_) => state.resumed += 1,
            None => state.snapshots += 1,
        }
        Ok(Subscribe {
            relation,
            columns,
            key,
            snapshot,
            as_of,
            binary: after(words, &["format", "binary"]).is_some(),
        })
    }

    fn stream(&self, session: &mut Session, world: &Arc<World>) -> io::Result<Result<(), Refusal>> {
        let count = self.columns.len() as u16 + 3;
        let format = u16::from(self.binary);
        let mut body = vec![format as u8];
        body.extend_from_slice(&count.to_be_bytes());
        (0..count).for_each(|_| body.extend_from_slice(&format.to_be_bytes()));
        session.message(b'H', &body);
        if self.binary {
            let mut header = b"PGCOPY\n\xff\r\n\0".to_vec();
            header.extend_from_slice(&[0; 8]);
            session.message(b'd', &header);
        }
        let mut hold = Hold::new(world, &self.relation, self.as_of);
        let (as_of, base) = {
            let mut state = world.state();
            let as_of = match self.as_of {
                Some(time) => time,
                None => {
                    let now = state.now();
                    state.frontier = now + 1;
                    now
                }
            };
            // Compacted away between the check and the hold.
            if state
                .relations
                .get(&self.relation)
                .is_some_and(|relation| relation.since > as_of)
            {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let base = state.relations.get(&self.relation).map(|relation| relation.at(as_of));
            (as_of, base.unwrap_or_default())
        };
        self.progress(session, as_of);
        session.flush()?;
        let mut state = self.consolidated(&base);
        if self.snapshot {
            let rows: Vec<(Row, i64)> = state.clone().into_iter().collect();
            self.changes(session, world, as_of, &BTreeMap::new(), &rows)?;
        }
        let mut sent = as_of;
        loop {
            let (frontier, updates) = {
                let mut shared = world.state();
                if !shared.faults.stall {
                    shared = match world.changed.wait_timeout(shared, TICK) {
                        Ok((shared, _)) => shared,
                        Err(poisoned) => poisoned.into_inner().0,
                    };
                }
                if world.is_over() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                if shared.faults.stall {
                    drop(shared);
                    std::thread::sleep(TICK);
                    continue;
                }
                if shared.generation != hold.generation {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                let frontier = shared.close_time();
                let Some(relation) = shared.relations.get(&self.relation) else {
                    return Ok(Err(Refusal::new(
                        "XX000",
                        "subscribe has been terminated because underlying relation was dropped",
                    )));
                };
                let updates = relation.updates.range(sent + 1..).filter(|(time, _)| **time < frontier);
                let updates: Vec<(u64, Vec<(Row, i64)>)> =
                    updates.map(|(time, changes)| (*time, changes.clone())).collect();
                (frontier, updates)
            };
            for (time, changes) in updates {
                let before = state.clone();
                let projected: Vec<(Row, i64)> = changes.iter().map(|(row, diff)| (self.project(row), *diff)).collect();
                let mut net: BTreeMap<Row, i64> = BTreeMap::new();
                apply(&mut net, &projected);
                let net: Vec<(Row, i64)> = net.into_iter().collect();
                apply(&mut state, &net);
                self.changes(session, world, time, &before, &net)?;
                sent = time;
            }
            if frontier > sent {
                sent = sent.max(frontier - 1);
                self.progress(session, frontier);
            }
            session.flush()?;
            hold.move_to(sent);
        }
    }

    fn project(&self, row: &Row) -> Row {
        self.columns
            .iter()
            .map(|(at, _)| row.get(*at).cloned().flatten())
            .collect()
    }

    fn consolidated(&self, rows: &BTreeMap<Row, i64>) -> BTreeMap<Row, i64> {
        let mut projected = BTreeMap::new();
        rows.iter()
            .for_each(|(row, count)| apply(&mut projected, &[(self.project(row), *count)]));
        projected
    }

    /// The changes of one time: `before` are the rows before them.
    fn changes(
        &self,
        session: &mut Session,
        world: &World,
        time: u64,
        before: &BTreeMap<Row, i64>,
        net: &[(Row, i64)],
    ) -> io::Result<()> {
        let Some(key) = &self.key else {
            for (row, diff) in net {
                self.row(session, world, time, &diff.to_string(), row)?;
            }
            return session.flush();
        };
        let mut after = before.clone();
        apply(&mut after, net);
        let of = |row: &Row| key.iter().map(|at| row[*at].clone()).collect::<Row>();
        let touched: BTreeSet<Row> = net.iter().map(|(row, _)| of(row)).collect();
        let mut of_key: BTreeMap<Row, Vec<(&Row, i64)>> = BTreeMap::new();
        for (row, count) in after.iter().filter(|(row, _)| touched.contains(&of(row))) {
            of_key.entry(of(row)).or_default().push((row, *count));
        }
        for touched in touched {
            // The key's columns come first.
            let ordered = |row: Option<&Row>| -> Row {
                let rest = (0..self.columns.len()).filter(|at| !key.contains(at));
                touched
                    .iter()
                    .cloned()
                    .chain(rest.map(|at| row.and_then(|row| row[at].clone())))
                    .collect()
            };
            match of_key.get(&touched).map(Vec::as_slice) {
                None => self.row(session, world, time, "delete", &ordered(None))?,
                Some([(row, 1)]) => self.row(session, world, time, "upsert", &ordered(Some(row)))?,
                Some(_) => self.row(session, world, time, "key_violation", &ordered(None))?,
            }
        }
        session.flush()
    }

    /// The types of the cells as they travel: of the key's columns first.
    fn travelling(&self) -> Vec<u32> {
        let key = self.key.clone().unwrap_or_default();
        let rest = (0..self.columns.len()).filter(|at| !key.contains(at));
        let order: Vec<usize> = key.iter().copied().chain(rest).collect();
        order.into_iter().map(|at| self.columns[at].1).collect()
    }

    fn row(&self, session: &mut Session, world: &World, time: u64, change: &str, row: &Row) -> io::Result<()> {
        let slow = world.state().faults.slow;
        if let Some(pause) = slow {
            session.flush()?;
            std::thread::sleep(pause);
        }
        let mut cells = vec![Some(time.to_string()), Some("f".to_string()), Some(change.to_string())];
        cells.extend(row.iter().cloned());
        self.line(session, &cells);
        Ok(())
    }

    fn progress(&self, session: &mut Session, time: u64) {
        let mut cells = vec![Some(time.to_string()), Some("t".to_string())];
        cells.resize(self.columns.len() + 3, None);
        self.line(session, &cells);
    }

    fn line(&self, session: &mut Session, cells: &[Option<String>]) {
        let body = match self.binary {
            false => text_line(cells),
            true => {
                let change = if self.key.is_some() { 25 } else { 20 };
                let types: Vec<u32> = [1700, 16, change].into_iter().chain(self.travelling()).collect();
                binary_line(cells, &types)
            }
        };
        session.message(b'd', &body);
    }
}

fn text_line(cells: &[Option<String>]) -> Vec<u8> {
    let escaped = |cell: &Option<String>| match cell {
        None => "\\N".to_string(),
        Some(text) => text
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r")
            .replace('\t', "\\t"),
    };
    let mut line = cells.iter().map(escaped).collect::<Vec<_>>().join("\t");
    line.push('\n');
    line.into_bytes()
}

fn binary_line(cells: &[Option<String>], types: &[u32]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for (cell, oid) in cells.iter().zip(types) {
        match cell {
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(text) => {
                let bytes = binary(text, *oid);
                body.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                body.extend_from_slice(&bytes);
            }
        }
    }
    body
}

/// A value in its binary form, by its type.
fn binary(text: &str, oid: u32) -> Vec<u8> {
    match oid {
        16 => vec![u8::from(text == "t" || text == "true")],
        20 => text.parse::<i64>().unwrap_or_default().to_be_bytes().to_vec(),
        21 => text.parse::<i16>().unwrap_or_default().to_be_bytes().to_vec(),
        23 => text.parse::<i32>().unwrap_or_default().to_be_bytes().to_vec(),
        700 => text.parse::<f32>().unwrap_or_default().to_be_bytes().to_vec(),
        701 => text.parse::<f64>().unwrap_or_default().to_be_bytes().to_vec(),
        1700 => numeric(text),
        3802 => [&[1], text.as_bytes()].concat(),
        _ => text.as_bytes().to_vec(),
    }
}

/// Groups of four decimal digits.
fn numeric(text: &str) -> Vec<u8> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (0x4000_u16, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let pad = (4 - whole.len() % 4) % 4;
    let padded = format!(
        "{}{whole}{fraction}{}",
        "0".repeat(pad),
        "0".repeat((4 - fraction.len() % 4) % 4)
    );
    let groups: Vec<u16> = padded
        .as_bytes()
        .chunks(4)
        .filter_map(|group| std::str::from_utf8(group).ok()?.parse().ok())
        .collect();
    let weight = ((whole.len() + pad) / 4) as i16 - 1;
    let mut out = (groups.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(fraction.len() as u16).to_be_bytes());
    groups
        .iter()
        .for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    out
}
