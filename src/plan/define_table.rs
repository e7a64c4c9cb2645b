//! CREATE TABLE: columns, keys, indexes, the backend and its options.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use eventflux_sqlparser::CreateTable;
use sqlparser::ast::Ident;

use super::define::Definer;
use super::state_ids::{ID, checked};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::tables::TableDef;
use crate::config::nearest::nearest;
use crate::config::options::{OptionKind, OptionSpec, Options};
use crate::error::{Code, Diagnostic};

/// The options of any table.
pub const TABLE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "extension",
        OptionKind::Text,
        "What keeps the table: memory, cache, or a database.",
    )
    .default("memory"),
    OptionSpec::new(
        ID,
        OptionKind::Text,
        "What checkpoints keep the table's rows under, and the state of the queries into it. Default: its name.",
    ),
];

/// The name of the option of any table that `key` stands for.
fn of_table(key: &str) -> Option<&'static str> {
    let mut names = TABLE_OPTIONS.iter().map(|spec| spec.name);
    names.find(|name| key.eq_ignore_ascii_case(name))
}

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
        let at_name = |error: Diagnostic| text.at(error, create.name.span);
        let (mut own, raw): (Vec<_>, Vec<_>) = raw.into_iter().partition(|option| of_table(&option.key).is_some());
        for option in &mut own {
            option.key = of_table(&option.key).unwrap_or_default().to_string();
        }
        let settings = Options::check("table", TABLE_OPTIONS, &own).map_err(at_name)?;
        checked(&settings).map_err(at_name)?;
        let backend = settings.text("extension").unwrap_or("memory");
        let chosen = own.iter().find(|option| option.key == "extension");
        let backend = self.backends.get(backend).map_err(|error| match chosen {
            Some(option) => text.finish(option.at_value(error)),
            None => at_name(error),
        })?;
        let specs = backend.options();
        let tables = [("table", TABLE_OPTIONS), (backend.name(), specs)];
        let raw = self.layered(self.layers.of_table(name), raw, &tables, |option| {
            let known = Options::identify(backend.name(), specs, &option.key);
            // What the backend does not know is kept, to be refused.
            Some(known.map_or(option.key.as_str(), |(key, _)| key).to_string())
        });
        let raw = raw.map_err(at_name)?;
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
        let options = Options::check(backend.name(), specs, &raw).map_err(at_name)?;
        let def = TableDef {
            name: name.clone(),
            schema: Arc::new(schema),
            primary_key,
            indexes,
            backend: backend.name().to_string(),
            options,
            settings,
            raw,
            span: text.range(create.name.span),
        };
        backend.check(&def).map_err(at_name)?;
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
