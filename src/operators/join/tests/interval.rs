//! Joins of rows whose times are near each other.

use super::super::interval_join::{Interval, IntervalJoinPlan};
use super::*;
use crate::operators::{BEGINNING_OF_TIME, END_OF_TIME, TimeUpdate};
use crate::windows::TimeDomain;

/// A row and how far the watermark is behind the next one after it; `None` when it does not move.
type Arrival = (Side, (Option<u8>, Option<i64>, Option<i64>), i64, Option<i64>);

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let step = prop_oneof![4 => Just(0i64), 5 => 1..4i64, 1 => 5..20i64];
    let lag = proptest::option::weighted(0.4, 0..5i64);
    proptest::collection::vec((side(), values(), step, lag), 0..80)
}

fn interval() -> impl Strategy<Value = Interval> {
    (-6..6i64, -2..8i64).prop_map(|(lower, length)| Interval {
        lower,
        upper: lower + length,
    })
}

#[derive(Debug, Clone)]
enum Input {
    Rows(Vec<Change>),
    Watermark(Micros),
}

/// Rows in order of time on each side, right ones `ahead`, and watermarks that none is behind.
fn inputs(arrivals: &[Arrival], sizes: &[usize], ahead: i64) -> Vec<Input> {
    let mut now = 0;
    let mut inputs = Vec::new();
    let mut waiting: Vec<Change> = Vec::new();
    let flush = |waiting: &mut Vec<Change>, inputs: &mut Vec<Input>| {
        inputs.extend(runs(waiting, sizes).map(|run| Input::Rows(run.to_vec())));
        waiting.clear();
    };
    for (side, (key, value, number), step, lag) in arrivals {
        now += step;
        let time = match side {
            Side::Left => now,
            Side::Right => now + ahead,
        };
        let row = Row {
            key: *key,
            value: *value,
            number: *number,
            time,
        };
        waiting.push(change(*side, Op::Insert, row));
        if let Some(lag) = lag {
            flush(&mut waiting, &mut inputs);
            inputs.push(Input::Watermark(now - lag));
        }
    }
    flush(&mut waiting, &mut inputs);
    inputs.push(Input::Watermark(END_OF_TIME));
    inputs
}

/// All rows that came, and which of them have met another or gone out alone.
#[derive(Default)]
struct Model {
    rows: [Vec<(Row, bool)>; 2],
    lines: Vec<String>,
}

impl Model {
    fn take(&mut self, setup: &Setup, interval: Interval, Change { side, row, .. }: &Change) {
        let mut alone = !setup.has_key(row) && setup.kind.keeps(*side);
        if alone {
            self.lines.push(pair(*side, Op::Insert, row.time, Some(row), None));
        }
        let others = &mut self.rows[side.other().port()];
        let mut met: Vec<&mut (Row, bool)> = others
            .iter_mut()
            .filter(|(other, _)| setup.meets(*side, row, other))
            .filter(|(other, _)| {
                let apart = match side {
                    Side::Left => other.time - row.time,
                    Side::Right => row.time - other.time,
                };
                (interval.lower..=interval.upper).contains(&apart)
            })
            .collect();
        met.sort_by_key(|(other, _)| other.time);
        for (other, matched) in met {
            (*matched, alone) = (true, true);
            let time = row.time.max(other.time);
            self.lines.push(pair(*side, Op::Insert, time, Some(row), Some(other)));
        }
        self.rows[side.port()].push((row.clone(), alone));
    }

    /// Rows that can meet nothing more go out.
    fn pass(&mut self, setup: &Setup, interval: Interval, watermark: Micros) {
        let mut lonely = Vec::new();
        for side in Side::BOTH.into_iter().filter(|side| setup.kind.keeps(*side)) {
            for (row, done) in self.rows[side.port()].iter_mut().filter(|(_, done)| !done) {
                let last = match side {
                    Side::Left => row.time + interval.upper,
                    Side::Right => row.time - interval.lower,
                };
                if last < watermark {
                    *done = true;
                    let line = pair(side, Op::Insert, row.time, Some(row), None);
                    lonely.push((row.time, line));
                }
            }
        }
        lonely.sort_by_key(|(time, _)| *time);
        self.lines.extend(lonely.into_iter().map(|(_, line)| line));
    }
}

fn plan(setup: &Setup, interval: Interval) -> IntervalJoinPlan {
    IntervalJoinPlan {
        join: setup.spec(),
        interval,
        times: [None, None],
        domain: TimeDomain::Event,
    }
}

proptest! {
    #[test]
    fn like_a_nested_loop(
        setup in setup(),
        interval in interval(),
        arrivals in arrivals(),
        sizes in proptest::collection::vec(1..9usize, 1..20),
        ahead in 0..4i64,
        restart in 0..40usize,
    ) {
        let plan = plan(&setup, interval);
        let mut operator = plan.build().expect("it builds");
        let mut model = Model::default();
        let mut all = Vec::new();
        let mut passed = BEGINNING_OF_TIME;
        for (index, input) in inputs(&arrivals, &sizes, ahead).iter().enumerate() {
            let mut out = Output::new(0);
            match input {
                Input::Rows(rows) => {
                    process(operator.as_mut(), rows, &mut out);
                    rows.iter().for_each(|row| model.take(&setup, interval, row));
                }
                Input::Watermark(watermark) => {
                    // Nobody has to be told of a watermark before the one that is asked for.
                    if operator.next_watermark().is_some_and(|next| next <= *watermark) {
                        let time = TimeUpdate::Watermark(*watermark);
                        operator.advance(time, &mut out).expect("time moves");
                    }
                    model.pass(&setup, interval, *watermark);
                }
            }
            let outcome = out.take();
            for batch in &outcome.batches {
                prop_assert!((0..batch.num_rows()).all(|row| batch.time(row) >= passed), "a late row");
            }
            all.extend(lines(&outcome.batches));
            if let Input::Watermark(watermark) = input {
                passed = passed.max(operator.watermark(*watermark));
            }
            if index == restart {
                operator = restarted(&plan, operator.as_ref());
            }
        }
        prop_assert_eq!(all, model.lines);
        prop_assert_eq!(operator.next_watermark(), None);
        prop_assert_eq!(operator.watermark(END_OF_TIME), END_OF_TIME);
    }
}

const NEAR: Interval = Interval { lower: -5, upper: 5 };

#[test]
fn rows_are_dropped_as_the_watermark_passes() {
    let setup = Setup {
        kind: JoinKind::Full,
        ..INNER
    };
    let mut operator = plan(&setup, NEAR).build().expect("it builds");
    let mut out = Output::new(0);
    process(
        operator.as_mut(),
        &[change(Side::Left, Op::Insert, row(1, 0, 1, 10))],
        &mut out,
    );
    process(
        operator.as_mut(),
        &[change(Side::Right, Op::Insert, row(2, 0, 2, 12))],
        &mut out,
    );
    assert_eq!((operator.next_watermark(), operator.watermark(14)), (Some(16), 10));
    operator
        .advance(TimeUpdate::Watermark(15), &mut out)
        .expect("time moves");
    assert!(out.take().batches.is_empty());
    operator
        .advance(TimeUpdate::Watermark(16), &mut out)
        .expect("time moves");
    assert_eq!(lines(&out.take().batches), ["+I 10 1 the key number 1 null null"]);
    assert_eq!((operator.next_watermark(), operator.watermark(16)), (Some(18), 12));
    operator
        .advance(TimeUpdate::Watermark(END_OF_TIME), &mut out)
        .expect("time moves");
    assert_eq!(lines(&out.take().batches), ["+I 12 null null 2 0"]);
}

#[test]
fn without_watermarks_the_clock_drops_rows() {
    let setup = Setup {
        kind: JoinKind::Left,
        ..INNER
    };
    let plan = IntervalJoinPlan {
        domain: TimeDomain::Processing,
        ..plan(&setup, NEAR)
    };
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(10);
    process(
        operator.as_mut(),
        &[change(Side::Left, Op::Insert, row(1, 0, 1, 10))],
        &mut out,
    );
    assert_eq!((out.take().wake_at, operator.next_watermark()), (Some(16), None));
    operator
        .advance(TimeUpdate::Watermark(99), &mut out)
        .expect("time moves");
    let outcome = out.take();
    assert!(outcome.batches.is_empty());
    assert_eq!(outcome.wake_at, Some(16));
    operator.advance(TimeUpdate::Timer(16), &mut out).expect("time moves");
    assert_eq!(lines(&out.take().batches), ["+I 10 1 the key number 1 null null"]);
}

#[test]
fn a_row_out_of_order_meets_what_is_still_there() {
    let mut operator = plan(&INNER, NEAR).build().expect("it builds");
    let mut out = Output::new(0);
    for (side, number, time) in [
        (Side::Left, 1, 20),
        (Side::Left, 2, 10),
        (Side::Right, 3, 12),
        (Side::Right, 4, 20),
    ] {
        process(
            operator.as_mut(),
            &[change(side, Op::Insert, row(1, 0, number, time))],
            &mut out,
        );
    }
    operator
        .advance(TimeUpdate::Watermark(16), &mut out)
        .expect("time moves");
    process(
        operator.as_mut(),
        &[change(Side::Right, Op::Insert, row(1, 0, 5, 15))],
        &mut out,
    );
    let key = "the key number 1";
    let expected = [
        format!("+I 12 2 {key} 3 0"),
        format!("+I 20 1 {key} 4 0"),
        format!("+I 20 1 {key} 5 0"),
    ];
    assert_eq!(lines(&out.take().batches), expected);
}

#[test]
fn times_may_be_a_column() {
    use crate::catalog::types::TIMESTAMP;
    use arrow::array::TimestampMicrosecondArray;
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("ts", TIMESTAMP, true),
    ]));
    let input = JoinInput {
        schema: schema.clone(),
        keys: Vec::new(),
    };
    let fields = ["l", "r"].map(|name| Field::new(name, DataType::Int64, true));
    let join = JoinSpec {
        kind: JoinKind::Left,
        inputs: [input.clone(), input],
        null_equals_null: false,
        filter: None,
        output: vec![(Side::Left, 0), (Side::Right, 0)],
        schema: Arc::new(Schema::new(Vec::from(fields))),
    };
    let plan = IntervalJoinPlan {
        join,
        times: [Some(1), Some(1)],
        ..plan(&INNER, NEAR)
    };
    let mut operator = plan.build().expect("it builds");
    let mut out = Output::new(0);
    for side in Side::BOTH {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(10), None, Some(30)]));
        let columns = RecordBatch::try_new(schema.clone(), vec![numbers, times]).expect("columns of one length");
        let batch = EventBatch::inserts(columns, Times::Same(7));
        operator
            .process(side.port(), batch, &mut out)
            .expect("it takes the batch");
    }
    assert_eq!(lines(&out.take().batches), ["+I 7 2 null", "+I 10 1 1", "+I 30 3 3"]);
}

#[test]
fn pairs_beyond_a_block_go_out_in_further_batches() {
    for filtered in [false, true] {
        let setup = Setup {
            kind: JoinKind::Full,
            filtered,
            ..INNER
        };
        let mut operator = plan(&setup, NEAR).build().expect("it builds");
        let mut out = Output::new(0);
        for side in Side::BOTH {
            let rows: Vec<Change> = (0..400).map(|n| change(side, Op::Insert, row(1, n, n, 1))).collect();
            process(operator.as_mut(), &rows, &mut out);
        }
        let batches = out.take().batches;
        let pairs: usize = batches.iter().map(EventBatch::num_rows).sum();
        assert_eq!(pairs, if filtered { 400 * 399 / 2 } else { 160_000 });
        assert_eq!(batches.len(), 3);
        operator
            .advance(TimeUpdate::Watermark(END_OF_TIME), &mut out)
            .expect("time moves");
        let lonely: usize = out.take().batches.iter().map(EventBatch::num_rows).sum();
        // The left row with the largest value and the right one with the least.
        assert_eq!(lonely, if filtered { 2 } else { 0 });
    }
}

#[test]
fn an_interval_has_two_ends() {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let both = |lower, upper| Some(Interval { lower, upper });
    assert_eq!(Interval::between(Included(-5), Included(5)), both(-5, 5));
    assert_eq!(Interval::between(Excluded(-5), Excluded(5)), both(-4, 4));
    assert_eq!(Interval::between(Unbounded, Included(5)), None);
    assert_eq!(Interval::between(Included(5), Unbounded), None);
}
