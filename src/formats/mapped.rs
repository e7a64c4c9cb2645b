//! The options `<format>.mapping.<column>`: of all columns, or of none.
//!
//! Half a mapping is refused, as by Siddhi's mappers: columns without one would be looked for by their names, of which the author of a
//! mapping knows that they are not in the input, and would be NULL without a word.

use arrow::datatypes::Fields;

use crate::catalog::names::{Resolved, resolve};
use crate::config::nearest::nearest;
use crate::config::options::Options;
use crate::error::Diagnostic;

/// What the name of the option of a column begins with.
pub(crate) const MAPPING: &str = "mapping.";

/// What is given for one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapped<'a> {
    /// The option's name.
    pub(crate) option: &'a str,
    /// Its value.
    pub(crate) text: &'a str,
}

/// What is given for each column, in their order; `None` when no column is mapped. `example` is a value for a column, for hints.
pub(crate) fn columns<'a>(
    format: &str,
    fields: &Fields,
    options: &'a Options,
    example: impl Fn(&str) -> String,
) -> Result<Option<Vec<Mapped<'a>>>, Diagnostic> {
    let names = || fields.iter().map(|field| field.name().as_str());
    let mut columns: Vec<Option<Mapped>> = vec![None; fields.len()];
    let mut first = None;
    for option in options.names() {
        let Some(column) = option.strip_prefix(MAPPING) else {
            continue;
        };
        let index = match resolve(column, names()) {
            Resolved::One(exact) => names().position(|name| name == exact),
            _ => None,
        };
        let Some(index) = index else {
            let error = options.invalid(option, format!("the stream has no column '{column}'"));
            return Err(match nearest(column, names()) {
                Some(near) => error.hint(format!("did you mean '{format}.{MAPPING}{near}'?")),
                None => error.hint(format!("its columns are {}", names().collect::<Vec<_>>().join(", "))),
            });
        };
        let text = options.text(option).unwrap_or_default();
        if columns[index].replace(Mapped { option, text }).is_some() {
            return Err(options.invalid(option, format!("the column '{}' is mapped twice", fields[index].name())));
        }
        first.get_or_insert(option);
    }
    let Some(first) = first else {
        return Ok(None);
    };
    let without: Vec<&str> = names()
        .zip(&columns)
        .filter(|(_, mapped)| mapped.is_none())
        .map(|(name, _)| name)
        .collect();
    if let Some(one) = without.first() {
        let what = match without.len() {
            1 => format!("the column '{one}' has no mapping"),
            _ => format!("the columns '{}' have no mapping", without.join("', '")),
        };
        let error = options.invalid(first, format!("{what}; columns are mapped all or none"));
        let add = format!("\"{format}.{MAPPING}{one}\" = '{}'", example(one));
        return Err(error.hint(format!("add {add}, or remove {format}.{MAPPING}…")));
    }
    Ok(Some(columns.into_iter().flatten().collect()))
}
