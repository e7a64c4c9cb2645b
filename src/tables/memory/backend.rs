//! The backends `memory` and `cache`, and their options.

use std::sync::Arc;

use super::MemoryTable;
use super::keys::comparable;
use super::retention::{Limits, Policy};
use crate::catalog::tables::TableDef;
use crate::catalog::types;
use crate::config::options::{OptionKind, OptionSpec};
use crate::error::{Code, Diagnostic, Result};
use crate::tables::Table;
use crate::tables::registry::{Opening, TableBackend};

const MAX_MEMORY: OptionSpec = OptionSpec::new(
    "max_memory",
    OptionKind::Text,
    "What the rows may take, as in '64 MB' (KB, MB, GB are powers of 1024): their values and about 20 bytes for each index.",
);

/// The options of `memory`.
const MEMORY: &[OptionSpec] = &[
    MAX_MEMORY,
    OptionSpec::new(
        "on_full",
        OptionKind::Choice(&["error", "evict"]),
        "What happens when max_memory is reached: rows are refused, or the oldest go.",
    )
    .default("error"),
];

/// The options of `cache`.
const CACHE: &[OptionSpec] = &[
    OptionSpec::new(
        "max_size",
        OptionKind::Integer {
            min: 1,
            max: i64::MAX,
        },
        "How many rows there may be; a new one makes another go.",
    ),
    OptionSpec::new(
        "policy",
        OptionKind::Choice(&["lru", "lfu", "fifo"]),
        "Which row goes: the one not used (found or written) for the longest time, the one used least often (of several the \
         oldest), or the one inserted first.",
    )
    .default("lru"),
    OptionSpec::new(
        "ttl",
        OptionKind::Duration,
        "How long after it was last written a row is seen.",
    ),
    MAX_MEMORY,
    OptionSpec::new(
        "on_full",
        OptionKind::Choice(&["evict", "error"]),
        "What happens when max_memory is reached: rows go by the policy, or new ones are refused.",
    )
    .default("evict"),
];

/// The backend `memory`: all rows, in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory;

/// The backend `cache`: as many rows as are allowed, for as long as is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cache;

impl TableBackend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn doc(&self) -> &'static str {
        "Keeps rows in this process, in columns, until they are deleted."
    }

    fn options(&self) -> &'static [OptionSpec] {
        MEMORY
    }

    fn check(&self, def: &TableDef) -> Result<(), Diagnostic> {
        limits(def).and_then(|_| indexable(def))
    }

    fn open(&self, def: TableDef, opening: &Opening) -> Result<Arc<dyn Table>> {
        let limits = limits(&def)?;
        Ok(Arc::new(MemoryTable::new(def, limits, opening.clock.clone())))
    }
}

impl TableBackend for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn doc(&self) -> &'static str {
        "Keeps rows in this process, up to a number, a size or an age; others make room."
    }

    fn options(&self) -> &'static [OptionSpec] {
        CACHE
    }

    fn check(&self, def: &TableDef) -> Result<(), Diagnostic> {
        limits(def).and_then(|_| indexable(def))
    }

    fn open(&self, def: TableDef, opening: &Opening) -> Result<Arc<dyn Table>> {
        let limits = limits(&def)?;
        Ok(Arc::new(MemoryTable::new(def, limits, opening.clock.clone())))
    }
}

fn limits(def: &TableDef) -> Result<Limits, Diagnostic> {
    let options = &def.options;
    let max_bytes = match options.text("max_memory") {
        None => None,
        Some(text) => Some(
            bytes(text)
                .ok_or_else(|| options.invalid("max_memory", format!("'{text}' is not a size such as '64 MB'")))?,
        ),
    };
    let max_rows = options.integer("max_size").and_then(|rows| usize::try_from(rows).ok());
    Ok(Limits {
        max_rows,
        max_bytes,
        refuses: options.text("on_full") == Some("error"),
        policy: match options.text("policy") {
            Some("lru") => Policy::Lru,
            Some("lfu") => Policy::Lfu,
            _ => Policy::Fifo,
        },
        ttl: options.duration("ttl"),
    })
}

/// Keys and indexes are of columns whose values have an order.
fn indexable(def: &TableDef) -> Result<(), Diagnostic> {
    for &column in def.indexes.iter().flatten().chain(&def.primary_key) {
        let field = def.schema.field(column);
        if !comparable(field.data_type()) {
            let (column, kind) = (field.name(), types::name(field.data_type()));
            let error = Diagnostic::new(
                Code::Type,
                format!("column '{column}' is {kind}, which no key or index can hold"),
            );
            let error = error.hint("index a column of a simple type");
            return Err(match &def.span {
                Some(span) => error.at(span.clone()),
                None => error,
            });
        }
    }
    Ok(())
}

/// A number of bytes, with or without a unit.
fn bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.replace('_', "").parse().ok()?;
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes() {
        let cases = [
            ("64 MB", Some(64 << 20)),
            ("1_000", Some(1000)),
            ("3KiB", Some(3072)),
            ("2 gb", Some(2 << 30)),
            ("0", None),
            ("MB", None),
            ("5 parsecs", None),
            ("99999999999999999999 TB", None),
        ];
        for (text, want) in cases {
            assert_eq!(bytes(text), want, "{text}");
        }
    }
}
