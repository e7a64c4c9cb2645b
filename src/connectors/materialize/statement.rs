//! The texts of the statements.

use std::fmt::Write;

use arrow::datatypes::Schema;

use crate::connectors::pgwire::binary;
use crate::connectors::pgwire::cells::quoted;
use crate::connectors::pgwire::copy::CopyForm;
use crate::connectors::pgwire::describe::Found;
use crate::connectors::pgwire::rows::{Form, Place};

/// How many cells stand before those of the columns: the time, whether it is progress, and the change.
pub(super) const BEFORE: usize = 3;

/// A SUBSCRIBE, and where its columns come.
#[derive(Debug)]
pub(super) struct Subscribe {
    /// `SUBSCRIBE (SELECT …) [ENVELOPE UPSERT …]`.
    text: String,
    form: CopyForm,
    /// By column of the batches.
    pub places: Vec<Place>,
}

impl Subscribe {
    /// Of the columns `wanted` of a stream; `found` are the relation's, and `places` says which of them each declared one is.
    pub fn new(
        from: &str,
        (declared, wanted, key): (&Schema, &[usize], &[usize]),
        (found, places): (&[Found], &[usize]),
        form: CopyForm,
    ) -> Self {
        // Without a key whole rows are compared, whatever is read of them.
        let all: Vec<usize> = (0..declared.fields().len()).collect();
        let selected: &[usize] = if key.is_empty() { &all } else { wanted };
        let mut list = Vec::with_capacity(selected.len());
        let mut forms = Vec::with_capacity(selected.len());
        for &column in selected {
            let source = &found[places[column]];
            let name = quoted(&source.name);
            let direct = form == CopyForm::Binary && binary::reads(&source.of);
            forms.push(match direct {
                true => Form::Binary(source.of.clone()),
                false => Form::Text,
            });
            list.push(match form == CopyForm::Binary && !direct {
                true => format!("{name}::text AS {name}"),
                false => name,
            });
        }
        let list = match list.is_empty() {
            true => "1 AS one".to_string(),
            false => list.join(", "),
        };
        let mut text = format!("SUBSCRIBE (SELECT {list} FROM {from})");
        // The key's columns come first, in the order in which it is written, then the others.
        let mut order: Vec<usize> = key.to_vec();
        if !key.is_empty() {
            let names = key.iter().map(|column| quoted(&found[places[*column]].name));
            let _ = write!(
                text,
                " ENVELOPE UPSERT (KEY ({}))",
                names.collect::<Vec<_>>().join(", ")
            );
        }
        order.extend(selected.iter().filter(|column| !key.contains(column)));
        let place = |column: &usize| {
            let cell = order.iter().position(|other| other == column).unwrap_or_default();
            let form = selected.iter().position(|other| other == column);
            Place {
                cell: BEFORE + cell,
                form: form.map_or(Form::Text, |at| forms[at].clone()),
            }
        };
        Subscribe {
            places: wanted.iter().map(place).collect(),
            text,
            form,
        }
    }

    /// The whole statement: with a snapshot, or what came after a time.
    pub fn copy(&self, after: Option<u64>) -> String {
        let form = match self.form {
            CopyForm::Text => "",
            CopyForm::Binary => " WITH (FORMAT BINARY)",
        };
        let text = &self.text;
        match after {
            None => format!("COPY ({text} WITH (PROGRESS, SNAPSHOT = true)) TO STDOUT{form}"),
            Some(time) => format!("COPY ({text} WITH (PROGRESS, SNAPSHOT = false) AS OF {time}) TO STDOUT{form}"),
        }
    }
}
