//! `unionSet(x)`: the different values of x, or of the lists x, in order; NULLs are left out.
//!
//! A value stays while a row that has it is there. State: one entry for each different value; O(log n) a value added or
//! taken back, O(n) to give the set.

use std::borrow::Borrow;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::extreme::{Counted, count, load_counted, save_counted};
use super::grouped::{Kernel, Overflow};
use super::kinds::{Argument, Kind};
use super::sequence::shapes::{List, Lists};
use crate::error::{Error, Result};
use crate::operators::state::{StateReader, StateWriter};

/// Unites sets.
#[derive(Clone)]
pub(super) struct Union<K> {
    members: Members<K>,
    list: List,
}

impl<K: Kind> Union<K> {
    /// Of members of this kind, giving lists of this type.
    pub fn new(kind: K, list_type: &DataType) -> Result<Self, String> {
        Ok(Union {
            members: Members(kind),
            list: List::new(list_type)?,
        })
    }
}

/// The members of a row: of its list, or its value.
#[derive(Clone)]
pub(super) struct Members<K>(K);

/// An opened column of them.
pub(super) struct MembersColumn<K: Kind> {
    members: K::Column,
    nulls: Option<NullBuffer>,
    /// Where each list begins and ends; `None` when each row is one member.
    ends: Option<Vec<usize>>,
}

/// The members of one row.
pub(super) struct Row<'a, K: Kind> {
    column: &'a MembersColumn<K>,
    row: usize,
}

impl<K: Kind> Clone for Row<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kind> Copy for Row<'_, K> {}

impl<K: Kind> Argument for Members<K> {
    type Column = MembersColumn<K>;
    type Value<'a> = Row<'a, K>;

    fn open(&self, arguments: &[ArrayRef]) -> Result<(MembersColumn<K>, Option<NullBuffer>)> {
        let rows = arguments
            .first()
            .ok_or_else(|| Error::failed("an aggregate lacks its argument"))?;
        let (members, ends) = match rows.as_list_opt::<i32>() {
            Some(lists) => {
                let ends = lists.offsets().iter().map(|end| *end as usize).collect();
                (lists.values().clone(), Some(ends))
            }
            None => (rows.clone(), None),
        };
        let nulls = members.logical_nulls();
        let (members, _) = self.0.open(&[members])?;
        let column = MembersColumn { members, nulls, ends };
        Ok((column, rows.logical_nulls()))
    }

    fn get(column: &MembersColumn<K>, row: usize) -> Row<'_, K> {
        Row { column, row }
    }
}

impl<K: Kind> Row<'_, K> {
    fn count_in(&self, set: &mut Counted<K::Held>, by: i64) {
        let column = self.column;
        let range = match &column.ends {
            Some(ends) => ends[self.row]..ends[self.row + 1],
            None => self.row..self.row + 1,
        };
        for member in range {
            if column.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(member)) {
                count::<K>(set, K::get(&column.members, member).borrow(), by);
            }
        }
    }
}

impl<K: Kind> Kernel for Union<K> {
    type Argument = Members<K>;
    type State = Counted<K::Held>;
    type Output = Lists<K::Builder>;

    fn argument(&self) -> &Members<K> {
        &self.members
    }

    fn data_type(&self) -> &DataType {
        self.list.list_type()
    }

    fn add(&self, set: &mut Counted<K::Held>, row: Row<'_, K>) {
        row.count_in(set, 1);
    }

    fn retract(&self, set: &mut Counted<K::Held>, row: Row<'_, K>) {
        row.count_in(set, -1);
    }

    fn output(&self, rows: usize) -> Lists<K::Builder> {
        Lists::new(self.members.0.builder(rows), rows)
    }

    fn emit(&self, set: &Counted<K::Held>, output: &mut Lists<K::Builder>) -> Result<(), Overflow> {
        output.push::<K>(set.keys().map(|member| Some(member.borrow())));
        Ok(())
    }

    fn finish(&self, output: Lists<K::Builder>) -> Result<ArrayRef> {
        self.list.column(&self.members.0, output)
    }

    fn merge(&self, from: &Counted<K::Held>, into: &mut Counted<K::Held>) {
        for (member, times) in from {
            count::<K>(into, member.borrow(), *times);
        }
    }

    fn save(&self, sets: &[Counted<K::Held>], writer: &mut StateWriter) -> Result<()> {
        save_counted(&self.members.0, sets, writer)
    }

    fn load(&self, reader: &mut StateReader) -> Result<Vec<Counted<K::Held>>> {
        load_counted(&self.members.0, reader)
    }
}
