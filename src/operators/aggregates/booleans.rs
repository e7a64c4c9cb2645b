//! `bool_and` (`and`) and `bool_or` (`or`), by counting. State: 16 bytes a group; O(1) a row.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int64Array};
use arrow::datatypes::DataType;

use super::grouped::{Kernel, Overflow};
use super::kinds::Bools;
use super::saved;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

/// How many values were true and false.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Votes {
    yes: i64,
    no: i64,
}

/// What is made of the votes.
pub(super) trait Verdict: Clone + Send + Sync + 'static {
    /// The result of at least one vote.
    fn of(votes: &Votes) -> bool;
}

/// All are true.
#[derive(Clone)]
pub(super) struct All;

/// One is true.
#[derive(Clone)]
pub(super) struct One;

impl Verdict for All {
    fn of(votes: &Votes) -> bool {
        votes.no == 0
    }
}

impl Verdict for One {
    fn of(votes: &Votes) -> bool {
        votes.yes != 0
    }
}

/// Computes one of them.
#[derive(Clone)]
pub(super) struct Booleans<V> {
    pub verdict: PhantomData<V>,
}

impl<V: Verdict> Kernel for Booleans<V> {
    type Argument = Bools;
    type State = Votes;
    type Output = BooleanBuilder;

    fn argument(&self) -> &Bools {
        &Bools
    }

    fn data_type(&self) -> &DataType {
        &DataType::Boolean
    }

    fn add(&self, votes: &mut Votes, value: bool) {
        self.change(votes, value, 1);
    }

    fn retract(&self, votes: &mut Votes, value: bool) {
        self.change(votes, value, -1);
    }

    #[inline(always)]
    fn change(&self, votes: &mut Votes, value: bool, weight: i8) {
        votes.yes += i64::from(weight) * i64::from(value);
        votes.no += i64::from(weight) * i64::from(!value);
    }

    fn output(&self, rows: usize) -> BooleanBuilder {
        BooleanBuilder::with_capacity(rows)
    }

    fn emit(&self, votes: &Votes, output: &mut BooleanBuilder) -> Result<(), Overflow> {
        output.append_option((votes.yes + votes.no != 0).then(|| V::of(votes)));
        Ok(())
    }

    fn finish(&self, mut output: BooleanBuilder) -> Result<ArrayRef> {
        Ok(Arc::new(output.finish()))
    }

    fn merge(&self, from: &Votes, into: &mut Votes) {
        into.yes += from.yes;
        into.no += from.no;
    }

    fn save(&self, states: &[Votes], writer: &mut StateWriter) -> Result<()> {
        let yes = Int64Array::from_iter_values(states.iter().map(|votes| votes.yes));
        let no = Int64Array::from_iter_values(states.iter().map(|votes| votes.no));
        saved::write(vec![Arc::new(yes), Arc::new(no)], writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<Votes>> {
        let [yes, no] = saved::read(reader)?;
        let yes = saved::typed::<Int64Array>(&yes)?.values();
        let no = saved::typed::<Int64Array>(&no)?.values();
        Ok(yes.iter().zip(no).map(|(&yes, &no)| Votes { yes, no }).collect())
    }
}
