//! CREATE TABLE: columns, keys, indexes, the backend and its options.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use eventflux_sqlparser::CreateTable;
use sqlparser::ast::Ident;

use super::define::Definer;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::tables::TableDef;
use crate::config::nearest::nearest;
use crate::config::options::{OptionKind, OptionSpec, Options, RawOption};
use crate::error::{Code, Diagnostic};

/// The options of any table.
pub const TABLE_OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "extension",
    OptionKind::Text,
    "What keeps the table: memory, cache, or a database.",
)
.default("memory")];

impl Definer<'_> {
    /// A table.
    pub fn table(&self, create: &CreateTable) -> Result<TableDef, Diagnostic> {
        let text = self.text;
        let name = &create.name.value;
        let schema = self.schema(&create.columns)?;
        if schema.fields().is_empty() {
            let error = Diagnostic::new(Code::Syntax, format!("table '{name}' has no columns"));
            return Err(text.at(
                error.hint("declare them: (id STRING PRIMARY KEY, price DOUBLE)"),
                create.name.span,
            ));
        }
        let primary_key = self.columns(&create.primary_key, &schema, "the primary key")?;
        let indexes = create
            .indexes
            .iter()
            .map(|index| self.columns(index, &schema, "the index"));
        let indexes: Vec<Vec<usize>> = indexes.collect::<Result<_, _>>()?;
        // The columns of a key are never NULL.
        let fields = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| match primary_key.contains(&index) {
                true => Arc::new(field.as_ref().clone().with_nullable(false)),
                false => field.clone(),
            });
        let schema = Schema::new(fields.collect::<Vec<Arc<Field>>>());
        let raw = self.raw_options(&create.options)?;
        let is_own = |option: &RawOption| option.key.eq_ignore_ascii_case("extension");
        let (own, raw): (Vec<_>, Vec<_>) = raw.into_iter().partition(is_own);
        let backend = own.first().map_or("memory", |option| option.value.as_str());
        let backend = self.backends.get(backend).map_err(|error| match own.first() {
            Some(option) => text.finish(option.at_value(error)),
            None => text.at(error, create.name.span),
        })?;
        let specs = backend.options();
        if let Some(option) = raw
            .iter()
            .find(|option| !Options::accepts(backend.name(), specs, &option.key))
        {
            let message = format!("a table of '{}' has no option '{}'", backend.name(), option.key);
            let error = Diagnostic::new(Code::UnknownOption, message);
            let names = || specs.iter().chain(TABLE_OPTIONS).map(|spec| spec.name);
            let error = match nearest(&option.key, names()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint(format!("it knows: {}", names().collect::<Vec<_>>().join(", "))),
            };
            return Err(text.finish(option.at_key(error)));
        }
        let raw = self.with_directories(backend.name(), specs, raw)?;
        let options = Options::check(backend.name(), specs, &raw).map_err(|error| text.at(error, create.name.span))?;
        let def = TableDef {
            name: name.clone(),
            schema: Arc::new(schema),
            primary_key,
            indexes,
            backend: backend.name().to_string(),
            options,
            raw,
            span: text.range(create.name.span),
        };
        backend.check(&def).map_err(|error| text.at(error, create.name.span))?;
        Ok(def)
    }

    /// The columns of a key, by their names.
    pub(super) fn columns(&self, names: &[Ident], schema: &Schema, what: &str) -> Result<Vec<usize>, Diagnostic> {
        let mut columns = Vec::with_capacity(names.len());
        let mut seen = BTreeSet::new();
        for name in names {
            let known = || schema.fields().iter().map(|field| field.name().as_str());
            let Resolved::One(exact) = resolve(&name.value, known()) else {
                let error = Diagnostic::new(
                    Code::UnknownColumn,
                    format!("there is no column '{}' for {what}", name.value),
                );
                let error = match nearest(&name.value, known()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("there are: {}", known().collect::<Vec<_>>().join(", "))),
                };
                return Err(self.text.at(error, name.span));
            };
            let index = schema.index_of(exact).unwrap_or_default();
            if !seen.insert(index) {
                let error = Diagnostic::new(Code::Duplicate, format!("column '{exact}' stands twice in {what}"));
                return Err(self.text.at(error, name.span));
            }
            columns.push(index);
        }
        Ok(columns)
    }
}
