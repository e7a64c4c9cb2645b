//! Joins of windows.

use std::collections::VecDeque;

use super::super::window_join::{Batches, Leaving, WindowJoinPlan, WindowSide};
use super::*;

/// What comes: on which side, with which values, and which of its rows the window lets go before if it is full.
type Arrival = (Side, (Option<u8>, Option<i64>, Option<i64>), usize);

#[derive(Debug, Clone, Copy)]
struct Sides {
    triggers: [bool; 2],
    sizes: [usize; 2],
    leaving: Leaving,
    expired: bool,
}

fn sides() -> impl Strategy<Value = Sides> {
    let triggers = proptest::sample::select(vec![[true, true], [true, false], [false, true]]);
    let leaving = proptest::sample::select(vec![Leaving::InOrder, Leaving::AnyOrder]);
    (triggers, [0..6usize, 0..6usize], leaving, any::<bool>()).prop_map(|(triggers, sizes, leaving, expired)| Sides {
        triggers,
        sizes,
        leaving,
        expired,
    })
}

impl Sides {
    fn plan(&self, setup: &Setup, batches: Batches) -> WindowJoinPlan {
        let side = |side: Side| WindowSide {
            triggers: self.triggers[side.port()],
            holds: self.sizes[side.port()] > 0,
            leaving: self.leaving,
            batches,
        };
        WindowJoinPlan {
            join: setup.spec(),
            sides: Side::BOTH.map(side),
            expired: self.expired,
        }
    }

    /// The changelogs of windows of these sizes.
    fn changes(&self, arrivals: &[Arrival]) -> Vec<Change> {
        let mut held: [VecDeque<Row>; 2] = Default::default();
        let mut changes = Vec::new();
        for (time, (side, (key, value, number), leaves)) in (0..).zip(arrivals) {
            let held = &mut held[side.port()];
            let row = Row {
                key: *key,
                value: *value,
                number: *number,
                time,
            };
            let size = self.sizes[side.port()];
            if size > 0 && held.len() == size {
                let index = match self.leaving {
                    Leaving::InOrder => 0,
                    // Of equal rows the earliest: which one leaves is not to be told.
                    Leaving::AnyOrder => {
                        let like = Row {
                            time: 0,
                            ..held[leaves % size].clone()
                        };
                        let same = |row: &Row| Row { time: 0, ..row.clone() } == like;
                        held.iter().position(same).expect("it is there")
                    }
                };
                let gone = held.remove(index).expect("it is there");
                changes.push(change(*side, Op::Delete, Row { time, ..gone }));
            }
            if size > 0 {
                held.push_back(row.clone());
            }
            changes.push(change(*side, Op::Insert, row));
        }
        changes
    }

    /// What must go out.
    fn expected(&self, setup: &Setup, changes: &[Change]) -> Vec<String> {
        let mut held: [Vec<Row>; 2] = Default::default();
        let mut lines = Vec::new();
        for Change { side, op, row } in changes {
            if self.triggers[side.port()] && (self.expired || *op == Op::Insert) {
                let met: Vec<&Row> = held[side.other().port()]
                    .iter()
                    .filter(|other| setup.meets(*side, row, other))
                    .collect();
                if met.is_empty() && setup.kind.keeps(*side) {
                    lines.push(pair(*side, *op, row.time, Some(row), None));
                }
                lines.extend(
                    met.iter()
                        .map(|other| pair(*side, *op, row.time, Some(row), Some(other))),
                );
            }
            let own = &mut held[side.port()];
            match op {
                Op::Insert if self.sizes[side.port()] > 0 => own.push(row.clone()),
                Op::Insert => {}
                _ => {
                    let like = |other: &Row| {
                        Row {
                            time: row.time,
                            ..other.clone()
                        } == *row
                    };
                    let gone = own.iter().position(like).expect("it is there");
                    own.remove(gone);
                }
            }
        }
        lines
    }
}

proptest! {
    #[test]
    fn like_a_nested_loop(
        setup in setup(),
        sides in sides(),
        arrivals in proptest::collection::vec((side(), values(), 0..9usize), 0..80),
        sizes in proptest::collection::vec(1..9usize, 1..20),
        restart in 0..30usize,
    ) {
        let changes = sides.changes(&arrivals);
        let plan = sides.plan(&setup, Batches::Run);
        prop_assert_eq!(run(&plan, &changes, &sizes, restart), sides.expected(&setup, &changes));
    }

    #[test]
    fn an_emission_gives_one_batch(
        setup in setup(),
        sides in sides(),
        arrivals in proptest::collection::vec((side(), values(), 0..9usize), 1..80),
        size in 1..30usize,
    ) {
        let changes = sides.changes(&arrivals);
        let plan = sides.plan(&setup, Batches::Emission);
        let mut operator = plan.build().expect("it builds");
        let mut all = Vec::new();
        for run in runs(&changes, &[size]) {
            let mut out = Output::new(0);
            process(operator.as_mut(), run, &mut out);
            let batches = out.take().batches;
            prop_assert!(batches.len() <= 1);
            all.extend(lines(&batches));
        }
        prop_assert_eq!(all, sides.expected(&setup, &changes));
    }
}

const BOTH: Sides = Sides {
    triggers: [true, true],
    sizes: [9, 9],
    leaving: Leaving::InOrder,
    expired: true,
};

#[test]
fn a_joined_row_leaves_once() {
    let changes = [
        change(Side::Left, Op::Insert, row(1, 0, 10, 1)),
        change(Side::Right, Op::Insert, row(1, 5, 20, 2)),
        change(Side::Left, Op::Delete, row(1, 0, 10, 3)),
        change(Side::Right, Op::Delete, row(1, 5, 20, 4)),
    ];
    let out = run(&BOTH.plan(&INNER, Batches::Run), &changes, &[1], 1);
    assert_eq!(out, ["+I 2 10 the key number 1 20 5", "-D 3 10 the key number 1 20 5"]);
}

#[test]
fn a_pair_on_which_the_condition_fails_is_reported_and_the_others_are_joined() {
    let mut join = Setup {
        kind: JoinKind::Left,
        ..INNER
    }
    .spec();
    let quotient = column_pair(Sql::Divide);
    let one = datafusion_physical_expr::expressions::lit(1i64);
    join.filter = Some(Arc::new(BinaryExpr::new(quotient, Sql::Gt, one)));
    let plan = WindowJoinPlan {
        join,
        ..BOTH.plan(&INNER, Batches::Run)
    };
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(7);
    let right = [0, 2, 9].map(|value| change(Side::Right, Op::Insert, row(1, value, value, 1)));
    process(operator.as_mut(), &right, &mut out);
    let left = [(Op::Insert, 8), (Op::Delete, 8), (Op::Insert, 1)];
    let left = left.map(|(op, value)| change(Side::Left, op, row(1, value, 5, 2)));
    process(operator.as_mut(), &left, &mut out);
    let outcome = out.take();
    // What leaves is not reported a second time; what meets nothing but errors has met nothing.
    let key = "the key number 1";
    let expected = [
        format!("+I 2 5 {key} 2 2"),
        format!("-D 2 5 {key} 2 2"),
        format!("+I 2 5 {key} null null"),
    ];
    assert_eq!(lines(&outcome.batches), expected);
    let messages: Vec<&str> = outcome.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages, ["division by zero", "division by zero"]);
    assert_eq!(outcome.errors[0].event, r#"{"v":8,"v":0}"#);
}

#[test]
fn a_key_that_cannot_be_computed_takes_only_its_own_row() {
    let mut join = INNER.spec();
    let quotient = |column: usize| -> Arc<dyn PhysicalExpr> {
        let value = Arc::new(Column::new("v", 1));
        Arc::new(BinaryExpr::new(value, Sql::Divide, Arc::new(Column::new("n", column))))
    };
    join.inputs.iter_mut().for_each(|input| input.keys = vec![quotient(2)]);
    let plan = WindowJoinPlan {
        join,
        ..BOTH.plan(&INNER, Batches::Run)
    };
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(7);
    for side in Side::BOTH {
        let rows = [(4, 2), (4, 0), (9, 3)].map(|(value, number)| change(side, Op::Insert, row(1, value, number, 1)));
        process(operator.as_mut(), &rows, &mut out);
    }
    let outcome = out.take();
    let key = "the key number 1";
    assert_eq!(
        lines(&outcome.batches),
        [format!("+I 1 2 {key} 2 4"), format!("+I 1 3 {key} 3 9")]
    );
    assert_eq!(outcome.errors.len(), 2);
    assert_eq!(outcome.errors[0].event, r#"{"k":"the key number 1","v":4,"n":0}"#);
}

#[test]
fn many_pairs_go_out_in_batches_unless_they_are_an_emission() {
    let rows = |side| -> Vec<Change> { (0..400).map(|n| change(side, Op::Insert, row(1, n, n, 1))).collect() };
    for (form, batches) in [(Batches::Run, 3), (Batches::Emission, 1)] {
        let setup = Setup {
            keyed: false,
            filtered: true,
            ..INNER
        };
        let mut operator = BOTH.plan(&setup, form).build().expect("it builds");
        let mut out = Output::new(0);
        for side in Side::BOTH {
            process(operator.as_mut(), &rows(side), &mut out);
        }
        let outcome = out.take();
        let pairs: usize = outcome.batches.iter().map(EventBatch::num_rows).sum();
        assert_eq!(pairs, 400 * 399 / 2);
        // 160,000 candidates are three blocks, of which the pairs that match are put together up to a block.
        assert!(outcome.batches.len() <= batches);
        assert!(
            outcome
                .batches
                .iter()
                .all(|batch| form == Batches::Emission || batch.num_rows() < 2 * 65_536)
        );
    }
}

#[test]
fn columns_that_nobody_reads_are_not_needed_for_rows_to_be_counted() {
    let mut join = Setup { keyed: false, ..INNER }.spec();
    join.output = vec![(Side::Left, 2)];
    join.schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let plan = WindowJoinPlan {
        join,
        ..BOTH.plan(&INNER, Batches::Run)
    };
    let changes = [
        change(Side::Right, Op::Insert, row(1, 0, 1, 1)),
        change(Side::Right, Op::Insert, row(1, 0, 2, 1)),
        change(Side::Left, Op::Insert, row(1, 0, 3, 2)),
        change(Side::Right, Op::Delete, row(1, 0, 1, 3)),
        change(Side::Left, Op::Insert, row(1, 0, 4, 4)),
    ];
    let out = run(&plan, &changes, &[1, 1, 1], 2);
    assert_eq!(out, ["+I 2 3", "+I 2 3", "-D 3 3", "+I 4 4"]);
}

#[test]
fn an_empty_batch_is_nothing() {
    let mut operator = BOTH.plan(&INNER, Batches::Run).build().expect("it builds");
    let mut out = Output::new(0);
    for side in Side::BOTH {
        operator
            .process(side.port(), batch(&[]), &mut out)
            .expect("it takes it");
    }
    assert!(out.take().batches.is_empty());
}
