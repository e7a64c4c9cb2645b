//! Joins of all rows.

use std::collections::BTreeMap;

use super::super::changelog_join::{ChangelogJoinPlan, ChangelogSide, Identity};
use super::*;
use crate::operators::TimeUpdate;

/// What a row does: comes, or takes back the n-th of those that are there.
type Arrival = (Side, (Option<u8>, Option<i64>, Option<i64>), Option<usize>);

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let back = proptest::option::weighted(0.4, 0..20usize);
    proptest::collection::vec((side(), values(), back), 0..80)
}

fn plan(setup: &Setup, identity: Identity, ttl: Option<Micros>) -> ChangelogJoinPlan {
    let side = ChangelogSide { identity, ttl };
    ChangelogJoinPlan {
        join: setup.spec(),
        sides: [side.clone(), side],
    }
}

/// Rows as they come, and those that are taken back; updates are taken back and come again.
fn changes(arrivals: &[Arrival]) -> Vec<Change> {
    let mut there: [Vec<Row>; 2] = Default::default();
    let mut changes = Vec::new();
    for (time, (side, (key, value, number), back)) in (0..).zip(arrivals) {
        let there = &mut there[side.port()];
        let row = Row {
            key: *key,
            value: *value,
            number: *number,
            time,
        };
        match back {
            Some(index) if !there.is_empty() => {
                let gone = there.remove(index % there.len());
                let update = index % 3 == 0;
                let op = if update { Op::UpdateBefore } else { Op::Delete };
                changes.push(change(*side, op, Row { time, ..gone }));
                if update {
                    there.push(row.clone());
                    changes.push(change(*side, Op::UpdateAfter, row));
                }
            }
            _ => {
                there.push(row.clone());
                changes.push(change(*side, Op::Insert, row));
            }
        }
    }
    changes
}

/// The rows of both sides; of each, how many it has met and when it came.
#[derive(Default)]
struct Model {
    rows: [Vec<(Row, u32, Micros)>; 2],
    lines: Vec<String>,
}

impl Model {
    fn drop_old(&mut self, now: Micros, ttl: Micros) {
        for side in &mut self.rows {
            side.retain(|(_, _, born)| born + ttl > now);
        }
    }

    fn take(&mut self, setup: &Setup, Change { side, op, row }: &Change, now: Micros) {
        let comes = matches!(op, Op::Insert | Op::UpdateAfter);
        let alike = |(other, _, _): &(Row, u32, Micros)| {
            Row {
                time: row.time,
                ..other.clone()
            } == *row
        };
        let mut met = 0;
        if !comes {
            let Some(gone) = self.rows[side.port()].iter().position(alike) else {
                return;
            };
            met = self.rows[side.port()].remove(gone).1;
        }
        let op = if comes { Op::Insert } else { Op::Delete };
        let mut partners = 0;
        for (other, of_other, _) in &mut self.rows[side.other().port()] {
            if !setup.meets(*side, row, other) {
                continue;
            }
            partners += 1;
            let time = row.time.max(other.time);
            let alone = |op| pair(*side, op, time, None, Some(other));
            let outer = setup.kind.keeps(side.other());
            if comes && outer && *of_other == 0 {
                self.lines.push(alone(Op::Delete));
            }
            self.lines.push(pair(*side, op, time, Some(row), Some(other)));
            *of_other = if comes { *of_other + 1 } else { *of_other - 1 };
            if !comes && outer && *of_other == 0 {
                self.lines.push(alone(Op::Insert));
            }
        }
        if partners == 0 && met == 0 && setup.kind.keeps(*side) {
            self.lines.push(pair(*side, op, row.time, Some(row), None));
        }
        if comes {
            self.rows[side.port()].push((row.clone(), partners, now));
        }
    }
}

/// The rows without their operations and times, and how often each is there.
fn replayed(lines: &[String]) -> BTreeMap<String, i64> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let mut parts = line.splitn(3, ' ');
        let (op, _, values) = (parts.next(), parts.next(), parts.next());
        let count = rows.entry(values.expect("values").to_string()).or_default();
        *count += if op == Some("+I") { 1 } else { -1 };
        assert!(*count >= 0, "a row was taken back that was not there");
    }
    rows.retain(|_, count| *count > 0);
    rows
}

/// The join of rows as a batch.
fn joined(setup: &Setup, left: &[Row], right: &[Row]) -> BTreeMap<String, i64> {
    let mut lines = Vec::new();
    for row in left {
        let met: Vec<&Row> = right.iter().filter(|other| setup.matches(row, other)).collect();
        lines.extend(met.iter().map(|other| line(Op::Insert, 0, Some(row), Some(other))));
        if met.is_empty() && setup.kind.keeps(Side::Left) {
            lines.push(line(Op::Insert, 0, Some(row), None));
        }
    }
    for row in right {
        if setup.kind.keeps(Side::Right) && !left.iter().any(|other| setup.matches(other, row)) {
            lines.push(line(Op::Insert, 0, None, Some(row)));
        }
    }
    replayed(&lines)
}

/// The rows of a side after all changes.
fn rows_after(changes: &[Change], side: Side) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for change in changes.iter().filter(|change| change.side == side) {
        match change.op {
            Op::Insert | Op::UpdateAfter => rows.push(change.row.clone()),
            _ => {
                let like = |row: &Row| {
                    Row {
                        time: change.row.time,
                        ..row.clone()
                    } == change.row
                };
                let gone = rows.iter().position(like).expect("it is there");
                rows.remove(gone);
            }
        }
    }
    rows
}

proptest! {
    #[test]
    fn a_changelog_of_the_join(
        setup in setup(),
        arrivals in arrivals(),
        sizes in proptest::collection::vec(1..9usize, 1..20),
        restart in 0..30usize,
    ) {
        let changes = changes(&arrivals);
        let out = run(&plan(&setup, Identity::Row, None), &changes, &sizes, restart);
        let [left, right] = Side::BOTH.map(|side| rows_after(&changes, side));
        prop_assert_eq!(replayed(&out), joined(&setup, &left, &right));
        let mut model = Model::default();
        changes.iter().for_each(|change| model.take(&setup, change, 0));
        prop_assert_eq!(out, model.lines);
    }

    #[test]
    fn inserts_only(
        setup in setup(),
        arrivals in proptest::collection::vec((side(), values(), Just(None)), 0..80),
        sizes in proptest::collection::vec(1..9usize, 1..20),
        restart in 0..30usize,
    ) {
        let changes = changes(&arrivals);
        let out = run(&plan(&setup, Identity::Inserts, None), &changes, &sizes, restart);
        let mut model = Model::default();
        changes.iter().for_each(|change| model.take(&setup, change, 0));
        prop_assert_eq!(&out, &model.lines);
        prop_assert!(setup.kind != JoinKind::Inner || out.iter().all(|line| line.starts_with("+I")));
    }

    /// What takes a row back has its key and nothing else; rows of one key replace each other.
    #[test]
    fn rows_with_a_primary_key(
        setup in setup(),
        arrivals in proptest::collection::vec((side(), values(), 0..6i64, 0..3u8), 0..80),
        sizes in proptest::collection::vec(1..9usize, 1..20),
        restart in 0..30usize,
    ) {
        let mut there: [BTreeMap<i64, Row>; 2] = Default::default();
        let (mut bare, mut whole) = (Vec::new(), Vec::new());
        for (time, (side, (key, value, _), number, what)) in (0..).zip(&arrivals) {
            let row = Row { key: *key, value: *value, number: Some(*number), time };
            let old = there[side.port()].remove(number);
            whole.extend(old.map(|old| change(*side, Op::Delete, Row { time, ..old })));
            if *what == 0 {
                let only_key = Row { key: None, value: None, ..row };
                bare.push(change(*side, Op::Delete, only_key));
            } else {
                there[side.port()].insert(*number, row.clone());
                bare.push(change(*side, Op::UpdateAfter, row.clone()));
                whole.push(change(*side, Op::Insert, row));
            }
        }
        let out = run(&plan(&setup, Identity::Key(vec![2]), None), &bare, &sizes, restart);
        let [left, right] = there.map(|rows| rows.into_values().collect::<Vec<Row>>());
        prop_assert_eq!(replayed(&out), joined(&setup, &left, &right));
        let mut model = Model::default();
        whole.iter().for_each(|change| model.take(&setup, change, 0));
        prop_assert_eq!(out, model.lines);
    }

    /// Time moves a bit before each row; rows are dropped when a batch comes, or before, by timer.
    #[test]
    fn old_rows_are_dropped(
        setup in setup(),
        arrivals in arrivals(),
        steps in proptest::collection::vec((0..4i64, any::<bool>()), 80),
        ttl in 1..12i64,
        restart in 0..80usize,
    ) {
        let changes = changes(&arrivals);
        let plan = plan(&setup, Identity::Row, Some(ttl));
        let mut operator = plan.build().expect("it builds");
        let mut out = Output::new(0);
        let mut model = Model::default();
        let (mut now, mut due) = (0, None);
        for ((index, change), (step, fires)) in changes.iter().enumerate().zip(steps.iter().cycle()) {
            let before = now;
            now += step;
            out.set_now(now);
            if let Some(at) = due.filter(|at| *fires && *at > before && *at <= now) {
                operator.advance(TimeUpdate::Timer(at), &mut out).expect("time moves");
            }
            model.drop_old(now, ttl);
            model.lines.clear();
            model.take(&setup, change, now);
            out.take();
            process(operator.as_mut(), std::slice::from_ref(change), &mut out);
            let outcome = out.take();
            prop_assert_eq!(lines(&outcome.batches), model.lines.clone());
            due = outcome.wake_at;
            prop_assert!(due.is_none_or(|at| at > now && at <= now + ttl));
            if index == restart {
                operator = restarted(&plan, operator.as_ref());
            }
        }
    }
}

#[test]
fn a_row_with_nulls_is_taken_back_when_its_first_match_comes() {
    let setup = Setup {
        kind: JoinKind::Left,
        ..INNER
    };
    let changes = [
        change(Side::Left, Op::Insert, row(1, 0, 10, 5)),
        change(Side::Right, Op::Insert, row(1, 7, 20, 2)),
        change(Side::Right, Op::Insert, row(1, 8, 21, 6)),
        change(Side::Right, Op::Delete, row(1, 7, 20, 7)),
        change(Side::Right, Op::Delete, row(1, 8, 21, 8)),
        change(Side::Right, Op::Delete, row(1, 8, 21, 9)),
    ];
    let out = run(&plan(&setup, Identity::Row, None), &changes, &[9], 9);
    let key = "the key number 1";
    let expected = [
        format!("+I 5 10 {key} null null"),
        format!("-D 5 10 {key} null null"),
        format!("+I 5 10 {key} 20 7"),
        format!("+I 6 10 {key} 21 8"),
        format!("-D 7 10 {key} 20 7"),
        format!("-D 8 10 {key} 21 8"),
        format!("+I 8 10 {key} null null"),
    ];
    assert_eq!(out, expected);
}

#[test]
fn a_clock_that_goes_back_drops_nothing_too_early() {
    let plan = plan(&INNER, Identity::Inserts, Some(10));
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(100);
    process(
        operator.as_mut(),
        &[change(Side::Left, Op::Insert, row(1, 0, 1, 0))],
        &mut out,
    );
    out.set_now(50);
    process(
        operator.as_mut(),
        &[change(Side::Left, Op::Insert, row(1, 0, 2, 0))],
        &mut out,
    );
    assert_eq!(out.take().wake_at, Some(110));
    out.set_now(109);
    process(
        operator.as_mut(),
        &[change(Side::Right, Op::Insert, row(1, 0, 3, 0))],
        &mut out,
    );
    assert_eq!(lines(&out.take().batches).len(), 2);
    out.set_now(110);
    process(
        operator.as_mut(),
        &[change(Side::Right, Op::Insert, row(1, 0, 4, 0))],
        &mut out,
    );
    assert!(out.take().batches.is_empty());
}
