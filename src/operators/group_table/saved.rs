//! The groups of a table as bytes: piece by piece by their numbers, each with when it was born and its key.
//!
//! A piece in which no group came or went is the same in the next checkpoint, and is not written again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};

use super::ids::FREE;
use super::words::Word;
use super::{GroupTable, Keys, rows, text, words};
use crate::error::{Error, Result};
use crate::operators::aggregates::GroupId;
use crate::operators::gradual::{Gradual, PIECE};
use crate::operators::state::{Later, StatePart, StateReader, StateWriter};

/// Makes columns of some groups' keys: their numbers, and the keys of all groups of a piece with their places in it.
type Columns<K> = Arc<dyn Fn(&[GroupId], &[K], &[usize]) -> Result<Vec<ArrayRef>> + Send + Sync>;

/// A piece: the number of its first group, when each was born, and the keys, if there are any.
type Piece<'a, K> = (usize, &'a [u64], &'a [K]);

impl GroupTable {
    /// Writes the live groups, their numbers and their order.
    pub fn snapshot(&self, state: &mut StateWriter) -> Result<()> {
        let types = self.types.clone();
        match &self.keys {
            Keys::Nothing => self.write_all(None, &no_keys(), state),
            Keys::Words(keys) => self.write_all(Some(&keys.by_id), &word_columns(types, keys.null), state),
            Keys::WideWords(keys) => self.write_all(Some(&keys.by_id), &word_columns(types, keys.null), state),
            Keys::Text(keys) => self.write_all(Some(&keys.by_id), &text_columns(types, keys.strings), state),
            Keys::Rows(keys) => self.write_all(Some(&keys.by_id), &row_columns(types), state),
        }
    }

    fn write_all<K>(&self, keys: Option<&Gradual<K>>, columns: &Columns<K>, state: &mut StateWriter) -> Result<()> {
        let born = self.ids.born.read();
        state.value(&born.len().div_ceil(PIECE))?;
        for (number, born) in born.chunks(PIECE).enumerate() {
            let from = number * PIECE;
            let keys = keys.map_or(&[] as &[K], |keys| keys.read());
            let keys = &keys[from.min(keys.len())..keys.len().min(from + PIECE)];
            write((from, born, keys), columns, state)?;
        }
        Ok(())
    }

    /// As [`GroupTable::snapshot`], with all but the beginning left for [`GroupTable::continue_snapshot`].
    pub fn begin_snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        let pieces = self.ids.born.begin_copy();
        match &mut self.keys {
            Keys::Nothing => {}
            Keys::Words(keys) => drop(keys.by_id.begin_copy()),
            Keys::WideWords(keys) => drop(keys.by_id.begin_copy()),
            Keys::Text(keys) => drop(keys.by_id.begin_copy()),
            Keys::Rows(keys) => drop(keys.by_id.begin_copy()),
        }
        state.value(&pieces)?;
        self.null_then = match &self.keys {
            Keys::Words(keys) => keys.null,
            Keys::WideWords(keys) => keys.null,
            _ => None,
        };
        self.later = Some(state.later());
        Ok(())
    }

    /// Copies about so many bytes more of what a snapshot has begun with; how many it were. None: it is complete.
    pub fn continue_snapshot(&mut self, bytes: usize) -> usize {
        let copied = self.ids.born.copy(bytes);
        if copied >= bytes {
            return copied;
        }
        let rest = bytes - copied;
        let (types, null) = (self.types.clone(), self.null_then);
        let (born, later) = (&mut self.ids.born, &mut self.later);
        copied
            + match &mut self.keys {
                Keys::Nothing => {
                    give(born, None, &no_keys(), later);
                    0
                }
                Keys::Words(keys) => go_on(born, &mut keys.by_id, rest, || word_columns(types, null), later),
                Keys::WideWords(keys) => go_on(born, &mut keys.by_id, rest, || word_columns(types, null), later),
                Keys::Text(keys) => {
                    let strings = keys.strings;
                    go_on(born, &mut keys.by_id, rest, || text_columns(types, strings), later)
                }
                Keys::Rows(keys) => go_on(born, &mut keys.by_id, rest, || row_columns(types), later),
            }
    }

    /// Reads back what [`GroupTable::snapshot`] wrote, into an empty table.
    pub fn restore(&mut self, state: &mut StateReader) -> Result<()> {
        let pieces: usize = state.value()?;
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.types.len() + 2];
        for _ in 0..pieces {
            let piece = state.columns()?;
            if piece.num_columns() != columns.len() {
                return Err(damaged("groups without keys"));
            }
            let piece = piece.columns().iter().cloned();
            columns.iter_mut().zip(piece).for_each(|(all, one)| all.push(one));
        }
        *self = GroupTable::new(&self.types)?;
        if pieces == 0 {
            return Ok(());
        }
        let whole = columns.iter().map(|pieces| {
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            Ok(concat(&pieces)?)
        });
        let whole: Vec<ArrayRef> = whole.collect::<Result<_>>()?;
        self.restore_all(&whole)
    }

    fn restore_all(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [ids, born, keys @ ..] = columns else {
            return Err(damaged("groups without numbers"));
        };
        let (Some(ids), Some(born)) = (
            ids.as_primitive_opt::<UInt32Type>(),
            born.as_primitive_opt::<UInt64Type>(),
        ) else {
            return Err(damaged("groups without numbers"));
        };
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_unstable_by_key(|row| born.value(*row as usize));
        let order = UInt32Array::from(order);
        let ids = take(ids, &order, None)?;
        let keys = keys.iter().map(|key| Ok(take(key, &order, None)?));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let ids = ids.as_primitive::<UInt32Type>().values();
        self.ids.prescribe(ids);
        let mut given = Vec::new();
        self.assign(&keys, ids.len(), &mut given)?;
        self.ids.end_prescription();
        match given == *ids {
            true => Ok(()),
            false => Err(damaged("a group key stands twice")),
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::failed(format!("the snapshot is damaged: {what}"))
}

/// Goes on with the keys; gives the whole when that is there.
fn go_on<K: Clone + Send + Sync + 'static>(
    born: &mut Gradual<u64>,
    keys: &mut Gradual<K>,
    bytes: usize,
    columns: impl FnOnce() -> Columns<K>,
    later: &mut Option<Later>,
) -> usize {
    let copied = keys.copy(bytes);
    if copied < bytes && later.is_some() {
        let copy = keys.take_copy();
        give(born, copy, &columns(), later);
    }
    copied
}

fn give<K: Clone + Send + Sync + 'static>(
    born: &mut Gradual<u64>,
    keys: Option<Vec<Vec<K>>>,
    columns: &Columns<K>,
    later: &mut Option<Later>,
) {
    let (Some(born), Some(later)) = (born.take_copy(), later.take()) else {
        return;
    };
    let mut keys = keys.unwrap_or_default().into_iter();
    let pieces = born.into_iter().enumerate().map(|(number, born)| {
        let keys = keys.next().unwrap_or_default();
        let columns = columns.clone();
        StatePart::unwritten(move |state| write((number * PIECE, &born, &keys), &columns, state))
    });
    later.give(pieces.collect());
}

fn write<K>((from, born, keys): Piece<K>, columns: &Columns<K>, state: &mut StateWriter) -> Result<()> {
    let live: Vec<usize> = (0..born.len()).filter(|place| born[*place] != FREE).collect();
    let ids: Vec<GroupId> = live.iter().map(|place| (from + place) as GroupId).collect();
    let births = UInt64Array::from_iter_values(live.iter().map(|place| born[*place]));
    let keys = columns(&ids, keys, &live)?;
    let numbers: [ArrayRef; 2] = [Arc::new(UInt32Array::from(ids)), Arc::new(births)];
    let all = numbers.into_iter().chain(keys).enumerate();
    let named = all.map(|(i, column)| (format!("c{i}"), column, true));
    state.columns(&RecordBatch::try_from_iter_with_nullable(named)?)
}

fn no_keys() -> Columns<()> {
    Arc::new(|_, _, _| Ok(Vec::new()))
}

fn word_columns<W: Word>(types: Vec<DataType>, null: Option<GroupId>) -> Columns<W> {
    Arc::new(move |ids, keys, live| {
        let words = live.iter().map(|place| keys.get(*place).copied().unwrap_or_default());
        typed(vec![words::column_of(&types[0], ids, words.collect(), null)?], &types)
    })
}

fn text_columns(types: Vec<DataType>, strings: bool) -> Columns<text::Key> {
    Arc::new(move |_, keys, live| {
        let keys = live.iter().map(|place| keys.get(*place).unwrap_or(&text::Key::Null));
        typed(vec![text::column_of(keys, strings)?], &types)
    })
}

fn row_columns(types: Vec<DataType>) -> Columns<Arc<[u8]>> {
    Arc::new(move |_, keys, live| {
        let keys = live.iter().filter_map(|place| keys.get(*place));
        typed(rows::columns_of(&rows::converter(&types)?, keys)?, &types)
    })
}

/// Keys as the types they are grouped by.
pub(super) fn typed(columns: Vec<ArrayRef>, types: &[DataType]) -> Result<Vec<ArrayRef>> {
    let typed = columns.iter().zip(types);
    typed.map(|(column, to)| Ok(cast(column, to)?)).collect()
}
