//! Aggregates that depend on the order of rows: `array_agg` (`collect`), `string_agg`, `first_value` (`first`),
//! `last_value` (`last`), `nth_value`, `any_value`.
//!
//! Each is a way of keeping values ([`stores`]) and a way of giving them ([`shapes`]). Rows are in the order in which they are
//! added, or in that of ORDER BY. NULLs are values, unless IGNORE NULLS is said; `string_agg` leaves them out. Without
//! rows the value is NULL.
//!
//! `first` and `last` are the values of the first and last added row that is still there.

use std::borrow::Borrow;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::DataType;

use super::grouped::{Kernel, Overflow};
use super::kinds::{Kind, Place, Placed};
use super::saved;
use crate::error::Result;
use crate::operators::state::{StateReader, StateWriter};

pub(super) mod shapes;
pub(super) mod stores;

use shapes::Shape;
use stores::{Run, Store};

/// Keeps a group's values in a store and gives them in a shape.
pub(super) struct Sequence<K, S, P> {
    argument: Placed<K>,
    shape: P,
    store: std::marker::PhantomData<fn() -> S>,
}

impl<K, S, P> Sequence<K, S, P> {
    /// Of these values.
    pub fn new(argument: Placed<K>, shape: P) -> Self {
        Sequence {
            argument,
            shape,
            store: std::marker::PhantomData,
        }
    }
}

impl<K: Clone, S, P: Clone> Clone for Sequence<K, S, P> {
    fn clone(&self) -> Self {
        Sequence::new(self.argument.clone(), self.shape.clone())
    }
}

impl<K: Kind, S: Store<K>, P: Shape<K>> Kernel for Sequence<K, S, P> {
    type Argument = Placed<K>;
    type State = S;
    type Output = P::Output;

    fn argument(&self) -> &Placed<K> {
        &self.argument
    }

    fn data_type(&self) -> &DataType {
        self.shape.data_type(self.argument.kind())
    }

    fn add(&self, store: &mut S, row: Place<'_, K>) {
        store.add(row.value.as_ref().map(Borrow::borrow), row.place);
    }

    fn retract(&self, store: &mut S, row: Place<'_, K>) {
        store.remove(row.value.as_ref().map(Borrow::borrow), row.place);
    }

    fn output(&self, rows: usize) -> P::Output {
        self.shape.output(self.argument.kind(), rows)
    }

    fn emit(&self, store: &S, output: &mut P::Output) -> Result<(), Overflow> {
        self.shape.emit(store.rows().map(|run| run.value), output);
        Ok(())
    }

    fn finish(&self, output: P::Output) -> Result<ArrayRef> {
        self.shape.finish(self.argument.kind(), output)
    }

    fn merge(&self, from: &S, into: &mut S) {
        for run in from.rows() {
            into.add_run(run);
        }
    }

    fn save(&self, states: &[S], writer: &mut StateWriter) -> Result<()> {
        let groups = || (0..).zip(states);
        let entries = groups().flat_map(|(group, store)| store.rows().map(move |run| (group, run.value, run.times)));
        saved::write_entries(self.argument.kind(), states.len(), entries, writer)?;
        let places = groups().flat_map(|(_, store)| store.rows().map(|run| run.place));
        let places: BinaryArray = places.map(Some).collect();
        saved::write(vec![std::sync::Arc::new(places)], writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<S>> {
        let saved = saved::read_entries(self.argument.kind(), reader)?;
        let [places] = saved::read(reader)?;
        let places = saved::typed::<BinaryArray>(&places)?;
        let mut states: Vec<S> = std::iter::repeat_with(S::default).take(saved.groups).collect();
        for ((group, value, times), place) in saved.entries.iter().zip(places) {
            states[*group as usize].add_run(Run {
                value: value.as_ref().map(Borrow::borrow),
                place: place.unwrap_or_default(),
                times: *times,
            });
        }
        Ok(states)
    }
}
