//! The parameters of one column: `fields.<column>.…`.

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{Schema, TimestampMicrosecondType};

use super::options::KINDS;
use crate::config::duration;
use crate::config::nearest::nearest;
use crate::config::options::Options;
use crate::error::Diagnostic;
use crate::event::Micros;

/// What was given for one column: parameters and the full names of their options.
pub struct Parameters<'a> {
    options: &'a Options,
    given: BTreeMap<&'a str, &'a str>,
}

/// The parameters of each column that has some, by the column's index.
pub fn by_column<'a>(options: &'a Options, schema: &Schema) -> Result<BTreeMap<usize, Parameters<'a>>, Diagnostic> {
    let mut columns: BTreeMap<usize, Parameters<'a>> = BTreeMap::new();
    for name in options.names() {
        // Parameters have no dots, columns may.
        let Some((column, parameter)) = name.strip_prefix("fields.").and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let fields = schema.fields();
        let index = fields.iter().position(|field| field.name() == column).or_else(|| {
            fields
                .iter()
                .position(|field| field.name().eq_ignore_ascii_case(column))
        });
        let Some(index) = index else {
            let error = options.invalid(name, format!("the stream has no column '{column}'"));
            let known = fields.iter().map(|field| field.name().as_str());
            return Err(match nearest(column, known) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            });
        };
        let given = BTreeMap::new();
        let parameters = columns.entry(index).or_insert(Parameters { options, given });
        parameters.given.insert(parameter, name);
    }
    Ok(columns)
}

impl<'a> Parameters<'a> {
    /// None given.
    pub fn none(options: &'a Options) -> Self {
        Parameters {
            options,
            given: BTreeMap::new(),
        }
    }

    /// Checks that `kind` takes all that is given.
    pub fn fit(&self, kind: &str) -> Result<(), Diagnostic> {
        let takes = KINDS
            .iter()
            .find(|(name, _)| *name == kind)
            .map_or(&[][..], |(_, takes)| *takes);
        for (parameter, name) in &self.given {
            if !matches!(*parameter, "kind" | "null-rate") && !takes.contains(parameter) {
                let error = self.options.invalid(name, format!("kind '{kind}' does not take it"));
                return Err(error.hint(format!("'{kind}' takes: {}", takes.join(", "))));
            }
        }
        Ok(())
    }

    /// A text.
    pub fn text(&self, parameter: &str) -> Option<&'a str> {
        self.options.text(self.given.get(parameter)?)
    }

    /// A number.
    pub fn number(&self, parameter: &str) -> Option<f64> {
        self.options.number(self.given.get(parameter)?)
    }

    /// A count.
    pub fn count(&self, parameter: &str) -> Option<u64> {
        self.options.integer(self.given.get(parameter)?).map(i64::unsigned_abs)
    }

    /// A duration option.
    pub fn duration(&self, parameter: &str) -> Option<Micros> {
        self.options.duration(self.given.get(parameter)?)
    }

    /// A text that must be a number.
    pub fn parsed<T: std::str::FromStr>(&self, parameter: &str, what: &str) -> Result<Option<T>, Diagnostic> {
        self.text(parameter)
            .map(|text| {
                text.trim()
                    .parse()
                    .map_err(|_| self.invalid(parameter, format!("'{text}' is not {what}")))
            })
            .transpose()
    }

    /// A text that must be a duration.
    pub fn step(&self) -> Result<Option<Micros>, Diagnostic> {
        let parse = |text| {
            duration::parse(text)
                .ok_or_else(|| self.invalid("step", format!("'{text}' is not a duration such as '1 s'")))
        };
        self.text("step").map(parse).transpose()
    }

    /// A text that must be a time.
    pub fn time(&self, parameter: &str) -> Result<Option<Micros>, Diagnostic> {
        let parse = |text| {
            TimestampMicrosecondType::parse(text).ok_or_else(|| {
                self.invalid(
                    parameter,
                    format!("'{text}' is not a time such as '2026-01-01T00:00:00Z'"),
                )
            })
        };
        self.text(parameter).map(parse).transpose()
    }

    /// An error about a parameter.
    pub fn invalid(&self, parameter: &str, reason: impl std::fmt::Display) -> Diagnostic {
        match self.given.get(parameter) {
            Some(name) => self.options.invalid(name, reason),
            None => self.options.invalid(parameter, reason),
        }
    }
}
