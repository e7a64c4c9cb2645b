//! The events of a stream without PRIMARY KEY that copies a relation: a row that appears is an event.

use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

use super::state::{StateReader, StateWriter};
use super::{Operator, OperatorPlan, Output, Port};
use crate::error::{Error, ErrorKind, Result, RowError};
use crate::event::{EventBatch, Mark, Micros, Op, json_row};

/// The rows of a relation as events.
///
/// *Semantics.* A row that appears is an insert, a second equal one is another. One that disappears is no event: without a key nobody
/// behind this could say which it was. It is an error of that row, or nothing, as the plan says. Of a snapshot only what was not
/// there before goes on.
///
/// *Ops.* Takes inserts and deletes, gives inserts. *State.* A digest of 16 bytes of each distinct row in the relation and how
/// often it is there; at most `limit` of them. *Cost.* O(1) an event: encoding the row, a digest, a probe.
pub struct RelationRows {
    plan: RelationRowsPlan,
    converter: RowConverter,
    counts: HashMap<u128, u64>,
    /// How often each row has come in the snapshot that is open.
    snapshot: Option<HashMap<u128, u64>>,
}

/// What a [`RelationRows`] does.
#[derive(Debug, Clone)]
pub struct RelationRowsPlan {
    /// The columns.
    pub schema: SchemaRef,
    /// What a row that disappears is.
    pub deletes: Deletes,
    /// How many distinct rows the relation may have.
    pub limit: usize,
}

/// What a row that disappears is to a stream that cannot say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    /// An error of that row.
    Refused,
    /// Nothing.
    Ignored,
}

impl OperatorPlan for RelationRowsPlan {
    fn name(&self) -> &'static str {
        "RelationRows"
    }

    fn details(&self) -> Vec<String> {
        vec![match self.deletes {
            Deletes::Refused => "deletes: refused".to_string(),
            Deletes::Ignored => "deletes: ignored".to_string(),
        }]
    }

    fn splits_by_key(&self) -> bool {
        false
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let fields = self.schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        Ok(Box::new(RelationRows {
            converter: RowConverter::new(fields.collect())?,
            counts: HashMap::new(),
            snapshot: None,
            plan: self.clone(),
        }))
    }
}

/// 128 bits of a row: two different rows have the same ones with a probability that does not count.
fn digest(row: &[u8]) -> u128 {
    let hash = blake3::hash(row);
    let (head, _) = hash.as_bytes().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    u128::from_le_bytes(*head)
}

impl Operator for RelationRows {
    fn process(&mut self, _port: Port, batch: EventBatch, out: &mut Output) -> Result<()> {
        let encoded = self.converter.convert_columns(batch.columns().columns())?;
        let mut new = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let digest = match batch.columns().num_columns() {
                0 => 0,
                _ => digest(encoded.row(row).as_ref()),
            };
            match batch.op(row) {
                Op::Insert | Op::UpdateAfter => {
                    if self.appears(digest) {
                        new.push(row as u32);
                    }
                }
                Op::Delete | Op::UpdateBefore => {
                    let known = self.disappears(digest);
                    if known && self.plan.deletes == Deletes::Refused {
                        let event = json_row::row(batch.columns(), row);
                        out.error(refused(
                            "a row of the relation was deleted or updated",
                            event,
                            out.now(),
                        ));
                    }
                }
            }
        }
        self.check_limit()?;
        let whole = new.len() == batch.num_rows() && batch.ops().is_none();
        match whole {
            true => out.emit(batch),
            false => {
                let (columns, times, _) = batch.take(new)?.into_parts();
                out.emit(EventBatch::inserts(columns, times));
            }
        }
        Ok(())
    }

    fn mark(&mut self, mark: Mark, out: &mut Output) -> Result<()> {
        match mark {
            Mark::SnapshotBegins => {
                self.give_up_snapshot();
                self.snapshot = Some(HashMap::new());
            }
            Mark::SnapshotEnds(_) => {
                let Some(seen) = self.snapshot.take() else {
                    return Ok(());
                };
                let gone = |(row, count): (&u128, &u64)| count.saturating_sub(seen.get(row).copied().unwrap_or(0));
                let gone: u64 = self.counts.iter().map(gone).sum();
                if gone > 0 && self.plan.deletes == Deletes::Refused {
                    let what = format!("{gone} rows of the relation were deleted or updated while nobody listened");
                    out.error(refused(&what, String::new(), out.now()));
                }
                self.counts = seen;
            }
        }
        Ok(())
    }

    fn next_watermark(&self) -> Option<Micros> {
        None
    }

    fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        // Of a snapshot that is open what has gone on: the one that is taken instead after a restart tells what is there.
        let mut counts = self.counts.clone();
        if let Some(seen) = &self.snapshot {
            merge(&mut counts, seen);
        }
        let rows: Vec<(u64, u64, u64)> = counts
            .iter()
            .map(|(row, count)| ((row >> 64) as u64, *row as u64, *count))
            .collect();
        state.value(&rows)
    }

    fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let rows: Vec<(u64, u64, u64)> = state.value()?;
        let row = |(high, low, count)| (u128::from(high) << 64 | u128::from(low), count);
        self.counts = rows.into_iter().map(row).collect();
        Ok(())
    }
}

fn merge(counts: &mut HashMap<u128, u64>, seen: &HashMap<u128, u64>) {
    for (row, count) in seen {
        let known = counts.entry(*row).or_default();
        *known = (*known).max(*count);
    }
}

fn refused(what: &str, event: String, at: Micros) -> RowError {
    RowError {
        kind: ErrorKind::Constraint,
        message: format!(
            "{what}, which a stream without PRIMARY KEY cannot say: declare one, or deletes = 'ignore' if they do not matter"
        ),
        event,
        line: None,
        at,
        attempts: 1,
    }
}

impl RelationRows {
    /// Counts a row that comes; whether it is one more than there were.
    fn appears(&mut self, row: u128) -> bool {
        match &mut self.snapshot {
            None => {
                *self.counts.entry(row).or_default() += 1;
                true
            }
            Some(seen) => {
                let now = seen.entry(row).or_default();
                *now += 1;
                *now > self.counts.get(&row).copied().unwrap_or(0)
            }
        }
    }

    /// Counts a row that goes; whether it was there.
    fn disappears(&mut self, row: u128) -> bool {
        let counts = self.snapshot.as_mut().unwrap_or(&mut self.counts);
        let Some(count) = counts.get_mut(&row) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            counts.remove(&row);
        }
        true
    }

    fn give_up_snapshot(&mut self) {
        if let Some(seen) = self.snapshot.take() {
            merge(&mut self.counts, &seen);
        }
    }

    fn check_limit(&self) -> Result<()> {
        let rows = self.counts.len().max(self.snapshot.as_ref().map_or(0, HashMap::len));
        match rows > self.plan.limit {
            true => Err(Error::failed(format!(
                "the relation has more than {} distinct rows, and each takes memory: raise max_rows, or read less of it",
                self.plan.limit
            ))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::event::Times;
    use crate::operators::keyed_changes::KeyedChangesPlan;
    use crate::operators::state::StateWriter;

    struct Running {
        operator: Box<dyn Operator>,
        plan: Arc<dyn OperatorPlan>,
        schema: SchemaRef,
    }

    impl Running {
        fn new(plan: impl FnOnce(SchemaRef) -> Arc<dyn OperatorPlan>) -> Self {
            let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, true));
            let schema = Arc::new(Schema::new(fields.to_vec()));
            let plan = plan(schema.clone());
            Running {
                operator: plan.build().unwrap(),
                plan,
                schema,
            }
        }

        fn rows() -> Self {
            Running::new(|schema| {
                Arc::new(RelationRowsPlan {
                    schema,
                    deletes: Deletes::Refused,
                    limit: 5,
                })
            })
        }

        fn keyed() -> Self {
            Running::new(|schema| {
                Arc::new(KeyedChangesPlan {
                    schema,
                    key: vec![0],
                    limit: Some(5),
                })
            })
        }

        /// `+1.10` and `-1.10`, and `<` and `>` for the edges of a snapshot; what comes out, and how many errors.
        fn take(&mut self, words: &str) -> Result<(String, usize)> {
            let mut out = Output::new(0);
            for word in words.split_whitespace() {
                match word {
                    "<" => self.operator.mark(Mark::SnapshotBegins, &mut out)?,
                    ">" => self.operator.mark(Mark::SnapshotEnds(9), &mut out)?,
                    word => {
                        let (key, value) = word[1..].split_once('.').unwrap();
                        let column = |text: &str| Arc::new(Int64Array::from(vec![text.parse::<i64>().unwrap()])) as _;
                        let columns = vec![column(key), column(value)];
                        let columns = arrow::array::RecordBatch::try_new(self.schema.clone(), columns).unwrap();
                        let op = Op::from_sign(&word[..1]).unwrap();
                        let batch = EventBatch::changes(columns, Times::Same(1), Arc::new([op]));
                        self.operator.process(0, batch, &mut out)?;
                    }
                }
            }
            let outcome = out.take();
            let mut shown = Vec::new();
            for batch in &outcome.batches {
                for row in 0..batch.num_rows() {
                    let cell = |at| arrow::util::display::array_value_to_string(batch.column(at), row).unwrap();
                    shown.push(format!("{}{}.{}", batch.op(row).sign(), cell(0), cell(1)));
                }
            }
            Ok((shown.join(" "), outcome.errors.len()))
        }

        fn restarted(self) -> Self {
            let mut state = StateWriter::default();
            self.operator.snapshot(&mut state).unwrap();
            let state = state.into_state();
            let mut operator = self.plan.build().unwrap();
            let bytes = state.bytes().unwrap();
            operator.restore(&mut StateReader::new(&bytes)).unwrap();
            Running { operator, ..self }
        }
    }

    fn gives(what: &str, errors: usize) -> (String, usize) {
        (what.to_string(), errors)
    }

    #[test]
    fn of_a_snapshot_only_new_rows_go_on() {
        let mut running = Running::rows();
        assert_eq!(
            running.take("< +1.1 +1.1 +2.2 >").unwrap(),
            gives("+I1.1 +I1.1 +I2.2", 0)
        );
        assert_eq!(
            running.take("< +1.1 +2.2 +2.2 +3.3 >").unwrap(),
            gives("+I2.2 +I3.3", 1)
        );
        assert_eq!(running.take("-2.2 -9.9 +2.2").unwrap(), gives("+I2.2", 1));
        let mut running = running.restarted();
        assert_eq!(running.take("< +1.1 +2.2 +2.2 +3.3 >").unwrap(), gives("", 0));
    }

    #[test]
    fn a_snapshot_that_is_given_up_is_not_forgotten() {
        let mut running = Running::rows();
        assert_eq!(running.take("< +1.1 +2.2").unwrap(), gives("+I1.1 +I2.2", 0));
        assert_eq!(running.take("< +2.2 +1.1 +3.3 >").unwrap(), gives("+I3.3", 0));
        assert_eq!(running.take("< +1.1").unwrap(), gives("", 0));
        let mut running = running.restarted();
        assert_eq!(running.take("< +3.3 +1.1 +2.2 >").unwrap(), gives("", 0));
    }

    #[test]
    fn by_key_what_did_not_come_is_deleted() {
        let mut running = Running::keyed();
        assert_eq!(running.take("< +1.1 +2.2 +3.3 >").unwrap().0, "+I1.1 +I2.2 +I3.3");
        assert_eq!(running.take("< +2.2 +3.4").unwrap().0, "-U3.3 +U3.4");
        // Given up, also by a restart: nothing is deleted before a snapshot is whole.
        let mut running = running.restarted();
        assert_eq!(running.take("< +3.4 +4.4 -4.4 >").unwrap().0, "+I4.4 -D4.4 -D1.1 -D2.2");
        assert_eq!(running.take("< >").unwrap().0, "-D3.4");
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        for (mut running, what) in [(Running::rows(), "distinct rows"), (Running::keyed(), "rows")] {
            running.take("+1.1 +2.1 +3.1 +4.1 +5.1").unwrap();
            running.take("-5.1 +6.1").unwrap();
            let error = running.take("+7.1").unwrap_err().to_string();
            assert!(error.contains("more than 5") && error.contains(what), "{error}");
        }
    }
}
