//! Which attempts take an event.
//!
//! The elements whose filters hold say which buckets to look into; of those who wait there and are within reach, the elements'
//! conditions say who takes the event.

use std::hash::{BuildHasher, Hash, Hasher};

use super::captures::LinkId;
use super::columns::Value;
use super::conditions::{Join, Reports};
use super::matcher::{Matcher, Prepared};
use super::scalar::{Row, captured};
use super::shape::{ElementId, Elements};
use super::stepping::Moment;
use super::timers::AttemptId;
use super::waiting::{Key, Reach, Standing};
use crate::error::Result;

/// An attempt that takes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) order: u64,
    pub(super) id: u64,
    /// The place, or [`FRESH`].
    pub(super) attempt: AttemptId,
    pub(super) takers: Elements,
}

/// An event and when and to whom it comes.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) row: usize,
    pub(super) partition: u32,
    pub(super) moment: Moment,
}

/// An attempt that is to be made.
pub(super) const FRESH: AttemptId = AttemptId::MAX;

impl Matcher {
    /// Where an attempt waits for an element; nowhere when it waits for what compares with NULL.
    pub(super) fn bucket_of(&self, id: AttemptId, element: ElementId) -> Option<Standing> {
        let attempt = self.attempts.get(id);
        let condition = &self.plan.elements[element].condition;
        let captures = self.events.captures();
        let values = condition
            .equal
            .iter()
            .map(|(_, capture)| captured(&captures, attempt.link, capture));
        let value = self.value_of(condition.exact, values)?;
        let rank = match &condition.order {
            Some(order) => Some(order.rank(&captures, attempt.link)?),
            None => None,
        };
        let key = Key::new(element, attempt.partition, value);
        Some(Standing { key, rank })
    }

    /// The bucket that an event looks into, and whom it meets there.
    fn bucket_for(&self, at: &At, element: ElementId) -> Option<(Key, Reach)> {
        let key = self.key_for(at.prepared, at.row, at.partition, element)?;
        let reach = match &self.plan.elements[element].condition.order {
            Some(order) => order.reach(&at.prepared.columns, at.row)?,
            None => Reach::All,
        };
        Some((key, reach))
    }

    /// The bucket that an event looks into.
    pub(super) fn key_for(&self, prepared: &Prepared, row: usize, partition: u32, element: ElementId) -> Option<Key> {
        let condition = &self.plan.elements[element].condition;
        let values = condition.equal.iter();
        let values = values.map(|(column, _)| prepared.columns[*column].value(row).unwrap_or(Value::Null));
        let value = self.value_of(condition.exact, values)?;
        Some(Key::new(element, partition, value))
    }

    /// What stands for the values of equalities in the key of a bucket; none if one is NULL, which equals nothing.
    fn value_of<'a>(&self, exact: bool, mut values: impl Iterator<Item = Value<'a>>) -> Option<u64> {
        if exact {
            return match values.next() {
                Some(Value::Int(value)) => Some(value as u64),
                Some(Value::Bool(value)) => Some(u64::from(value)),
                Some(_) => None,
                None => Some(0),
            };
        }
        let mut hash = self.hasher.build_hasher();
        for value in values {
            hash_value(&value, &mut hash)?;
        }
        Some(hash.finish())
    }

    /// Which attempts take an event, and as what. `only` looks at one attempt.
    pub(super) fn find(
        &self,
        at: &At,
        only: Option<AttemptId>,
        hits: &mut Vec<Hit>,
        report: &mut Reports,
    ) -> Result<()> {
        let mut rest = at.prepared.takers[at.row];
        while rest != 0 {
            let element = rest.trailing_zeros() as ElementId;
            rest &= rest - 1;
            if self.plan.program.always_open == Some(element) && only.is_none() {
                hits.push(Hit {
                    order: u64::MAX,
                    id: u64::MAX,
                    attempt: FRESH,
                    takers: 1 << element,
                });
                continue;
            }
            let Some(bucket) = self.bucket_for(at, element) else {
                continue;
            };
            let join = self.plan.elements[element].condition.join.as_ref();
            match join.map(|join| (join, &join.scalar)) {
                None => self.visit(at, bucket, only, |id, _| hits.push(self.hit(id, element))),
                Some((_, Some(scalar))) => {
                    let captures = self.events.captures();
                    self.visit(at, bucket, only, |id, chain| {
                        let row = Row {
                            columns: &at.prepared.columns,
                            row: at.row,
                            captures: &captures,
                            chain,
                        };
                        if scalar.holds(&row) {
                            hits.push(self.hit(id, element));
                        }
                    });
                }
                Some((join, None)) => self.find_by_engine(at, element, join, bucket, only, hits, report)?,
            }
        }
        merge(hits);
        Ok(())
    }

    /// The condition is one for the SQL engine, which is asked for all candidates at once.
    #[expect(clippy::too_many_arguments, reason = "one place calls it")]
    fn find_by_engine(
        &self,
        at: &At,
        element: ElementId,
        join: &Join,
        bucket: (Key, Reach),
        only: Option<AttemptId>,
        hits: &mut Vec<Hit>,
        report: &mut Reports,
    ) -> Result<()> {
        let (mut standing, mut chains) = (Vec::new(), Vec::new());
        self.visit(at, bucket, only, |id, chain| {
            standing.push(id);
            chains.push(chain);
        });
        if standing.is_empty() {
            return Ok(());
        }
        let captures = self.events.captures();
        let holding = join.holding(&at.prepared.batch, at.row, &chains, &captures, report)?;
        let holding = standing.into_iter().zip(holding).filter(|(_, holds)| *holds);
        hits.extend(holding.map(|(id, _)| self.hit(id, element)));
        Ok(())
    }

    /// Visits those who wait in a bucket and are not too late.
    fn visit(
        &self,
        at: &At,
        (key, reach): (Key, Reach),
        only: Option<AttemptId>,
        mut visit: impl FnMut(AttemptId, LinkId),
    ) {
        self.waiting.visit(key, reach, |id| {
            let attempt = self.attempts.get(id);
            if only.is_none_or(|only| only == id) && !self.is_too_late(attempt, at.moment) {
                visit(id, attempt.link);
            }
        });
    }

    fn hit(&self, id: AttemptId, element: ElementId) -> Hit {
        let attempt = self.attempts.get(id);
        Hit {
            order: attempt.order,
            id: attempt.id,
            attempt: id,
            takers: 1 << element,
        }
    }
}

/// One hit for each attempt, in the order they started.
fn merge(hits: &mut Vec<Hit>) {
    if hits.len() < 2 {
        return;
    }
    hits.sort_unstable();
    hits.dedup_by(|later, earlier| {
        let same = earlier.attempt == later.attempt && earlier.attempt != FRESH;
        if same {
            earlier.takers |= later.takers;
        }
        same
    });
}

/// Hashes a value; NULL equals nothing. Numbers of one value have one hash, whatever their widths.
fn hash_value(value: &Value, hash: &mut impl Hasher) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::Int(value) => hash.write_u64(*value as u64),
        Value::Float(value) => hash.write_u64(value.to_bits()),
        Value::Bool(value) => hash.write_u64(u64::from(*value)),
        Value::Text(value) => value.hash(hash),
    }
    Some(())
}
