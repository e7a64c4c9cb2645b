//! What state is saved under: the names of streams, windows and tables, or the `id` that they are given.
//!
//! An `id` pins state to a statement that is renamed: what was saved under it is that statement's, whatever it is called now. An
//! app that never gave one gives the former name as the id when it renames. The queries into a stream go by its id, too, and the
//! fingerprints of queries that read it have its id in the place of its name ([`StateNames`]).
//!
//! An id belongs to one statement: two equal ones are refused, and so is one that is the name of another stream, window or table,
//! since the ids of operators begin with either.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::text::Text;
use crate::catalog::streams::StreamDef;
use crate::config::options::Options;
use crate::error::{Code, Diagnostic};
use crate::tables::slot::TableSlot;

/// The option.
pub const ID: &str = "id";

/// How long an id may be, in bytes.
const LONGEST: usize = 200;

/// The query itself, in what its plan says.
const OWN: &str = "#";

/// What operators' ids are put together with, and so no id has in it.
const SEPARATORS: [char; 2] = ['#', '/'];

/// The id among the options of a stream or a table. *Errors.* `E0304` when it cannot be one.
pub(super) fn checked(options: &Options) -> Result<Option<String>, Diagnostic> {
    let Some(id) = options.text(ID) else {
        return Ok(None);
    };
    let reason = if id.is_empty() {
        "an id is not empty".to_string()
    } else if id.len() > LONGEST {
        format!("an id has at most {LONGEST} bytes")
    } else if id.contains(SEPARATORS) || id.contains(char::is_control) {
        "an id has no '#', no '/' and no control characters in it".to_string()
    } else {
        return Ok(Some(id.to_string()));
    };
    Err(options.invalid(ID, reason))
}

/// A statement that owns state.
struct Owner<'a> {
    /// A stream, a window or a table.
    kind: &'static str,
    name: &'a str,
    id: Option<&'a str>,
    options: &'a Options,
    span: Option<&'a Range<usize>>,
}

/// By which of the two something is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Calling {
    Name,
    Id,
}

/// Checks that each id is one statement's. *Errors.* `E0103` at the second of two that claim one.
pub(super) fn check(streams: &[Arc<StreamDef>], tables: &[Arc<TableSlot>], text: &Text) -> Result<(), Diagnostic> {
    let streams = streams.iter().map(|stream| Owner {
        kind: if stream.window.is_some() { "window" } else { "stream" },
        name: &stream.name,
        id: stream.settings.id.as_deref(),
        options: &stream.settings.options,
        span: stream.span.as_ref(),
    });
    let tables = tables.iter().map(|table| Owner {
        kind: "table",
        name: &table.def().name,
        id: table.def().settings.text(ID),
        options: &table.def().settings,
        span: table.def().span.as_ref(),
    });
    let mut owners: Vec<Owner> = streams.chain(tables).collect();
    if owners.iter().all(|owner| owner.id.is_none()) {
        return Ok(());
    }
    // Streams that queries declare stand nowhere, and come first.
    owners.sort_by_key(|owner| owner.span.map(|span| span.start));
    let mut claimed: BTreeMap<&str, (&Owner, Calling)> = BTreeMap::new();
    for owner in &owners {
        let id = owner.id.filter(|id| *id != owner.name);
        let callings = [(Some(owner.name), Calling::Name), (id, Calling::Id)];
        for (called, calling) in callings {
            let Some(called) = called else {
                continue;
            };
            match claimed.insert(called, (owner, calling)) {
                Some((_, Calling::Name)) if calling == Calling::Name => {}
                Some((first, firsts)) => {
                    return Err(text.finish(claimed_twice(called, (first, firsts), (owner, calling))));
                }
                None => {}
            }
        }
    }
    Ok(())
}

fn claimed_twice(id: &str, first: (&Owner, Calling), second: (&Owner, Calling)) -> Diagnostic {
    let ((first, firsts), (second, seconds)) = (first, second);
    let (kind, name) = (first.kind, first.name);
    let mut error = match (firsts, seconds) {
        (Calling::Id, Calling::Id) => second
            .options
            .invalid(ID, format!("'{id}' is the id of the {kind} '{name}' already")),
        (Calling::Name, _) => second
            .options
            .invalid(ID, format!("'{id}' is the name of another {kind}")),
        (Calling::Id, Calling::Name) => {
            Diagnostic::new(Code::Duplicate, format!("'{id}' is the id of the {kind} '{name}'"))
        }
    };
    error.code = Code::Duplicate;
    if error.span.is_none() {
        error.span = second.span.cloned();
    }
    error.hint("saved state is found by its id, so each id is one statement's: choose another")
}

/// The names of what is saved under another id, with that id.
#[derive(Debug, Default)]
pub struct StateNames {
    renamed: Vec<(String, String)>,
}

impl StateNames {
    /// Of an app's streams and tables.
    ///
    /// A name that is a column's, too, is left out: where it stands in a plan, it could be either. So what such a stream's
    /// queries have saved is refused when the stream is renamed, and never taken for what it is not.
    pub(super) fn of(streams: &[Arc<StreamDef>], tables: &[Arc<TableSlot>]) -> Self {
        let of_streams = streams.iter().map(|def| (def.name.as_str(), def.state_id()));
        let of_tables = tables
            .iter()
            .map(|table| (table.def().name.as_str(), table.def().state_id()));
        let both = of_streams.chain(of_tables);
        let mut renamed: Vec<(String, String)> = both
            .filter(|(name, id)| name != id)
            .map(|(name, id)| (name.to_string(), id.to_string()))
            .collect();
        if !renamed.is_empty() {
            let schemas = streams.iter().map(|def| &def.schema);
            let schemas = schemas.chain(tables.iter().map(|table| &table.def().schema));
            for field in schemas.flat_map(|schema| schema.fields()) {
                renamed.retain(|(name, _)| name != field.name());
            }
            // The longest that stands somewhere is the one that is meant.
            renamed.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        }
        StateNames { renamed }
    }

    /// What the plan of a query says, with ids in the places of names. The name of the query has the number of its statement in it; it is
    /// that of its subqueries under windows, too, and says nothing. Literals stay as they are. Cost: O(text × names with an id).
    pub(super) fn in_query<'t>(&self, query: &str, text: &'t str) -> Cow<'t, str> {
        if !text.contains(query) {
            return self.in_text(text);
        }
        let own = (query.to_string(), OWN.to_string());
        let renamed = std::iter::once(own).chain(self.renamed.iter().cloned()).collect();
        Cow::Owned(StateNames { renamed }.in_text(text).into_owned())
    }

    /// What a plan says, with ids in the places of names.
    pub(super) fn in_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.renamed.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut changed = String::with_capacity(text.len());
        let mut rest = text;
        let mut in_word = false;
        while let Some(first) = rest.chars().next() {
            let literal = literal(rest, changed.ends_with('('));
            let found = match in_word || literal > 0 {
                true => None,
                false => self.renamed.iter().find(|(name, _)| begins_with(rest, name)),
            };
            let taken = match found {
                Some((name, id)) => {
                    changed.push_str(id);
                    name.len()
                }
                None => {
                    let taken = literal.max(first.len_utf8());
                    changed.push_str(&rest[..taken]);
                    taken
                }
            };
            in_word = rest[..taken].chars().next_back().is_some_and(is_of_word);
            rest = &rest[taken..];
        }
        Cow::Owned(changed)
    }
}

/// How long the literal is that a text begins with; 0 if it does not: `'…'`, and `"…")` behind a bracket, as in `Utf8("…")`.
fn literal(text: &str, behind_bracket: bool) -> usize {
    let end = match text.as_bytes().first() {
        Some(b'\'') => text[1..].find('\'').map(|end| end + 2),
        Some(b'"') if behind_bracket => text.find("\")").map(|end| end + 2),
        _ => Some(0),
    };
    end.unwrap_or(text.len())
}

/// Whether a text begins with a name, as a whole word.
fn begins_with(text: &str, name: &str) -> bool {
    let after = text.strip_prefix(name);
    let last = name.chars().next_back().is_some_and(is_of_word);
    after.is_some_and(|after| !last || !after.chars().next().is_some_and(is_of_word))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(renamed: &[(&str, &str)]) -> StateNames {
        let renamed = renamed.iter().map(|(name, id)| (name.to_string(), id.to_string()));
        StateNames {
            renamed: renamed.collect(),
        }
    }

    #[test]
    fn whole_words_become_ids_and_literals_stay() {
        let names = names(&[("Old Deals", "Gone"), ("Deals", "Trades"), ("Trades", "Deals")]);
        for (text, want) in [
            ("TableScan: Deals", "TableScan: Trades"),
            (
                "Deals.x > MyDeals.x, Deals2.x, xDeals",
                "Trades.x > MyDeals.x, Deals2.x, xDeals",
            ),
            // Two that have swapped their names.
            ("Deals.x = Trades.x", "Trades.x = Deals.x"),
            ("TableScan: Old Deals", "TableScan: Gone"),
            (
                "Deals.k = Utf8View(\"Deals\") OR k = 'the Deals' OR \"Deals\".x",
                "Trades.k = Utf8View(\"Deals\") OR k = 'the Deals' OR \"Trades\".x",
            ),
            ("'it''s Deals' Deals", "'it''s Deals' Trades"),
            ("'never closed Deals", "'never closed Deals"),
            ("größe(Deals) → !Deals", "größe(Trades) → !Trades"),
            ("", ""),
        ] {
            assert_eq!(names.in_text(text), want, "{text}");
        }
        assert_eq!(
            names.in_query("Deals#12", "Deals#12.x Deals#1.x Deals.x"),
            "#.x Trades#1.x Trades.x"
        );
        assert!(matches!(StateNames::default().in_text("Deals"), Cow::Borrowed("Deals")));
    }
}
