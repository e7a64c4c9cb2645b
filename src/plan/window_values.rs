//! Reads the values of a window's arguments: durations, counts, columns, texts, each with a message at the value that does not fit.

use arrow::datatypes::DataType;
use datafusion_common::Column;
use eventflux_sqlparser::{WindowArg, WindowArgOrder, duration_micros};
use sqlparser::ast::{Expr, Value, ValueWithSpan};

use super::condition;
use super::window_args::{Arguments, name_of, usage};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::windows::{Condition, SortKey};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::event::Micros;
use crate::event::cron::CronSchedule;

/// Windows of more events than this would not fit the memory of any machine they are likely to run on.
const MAX_COUNT: usize = 1_000_000_000;

impl Arguments<'_> {
    pub(super) fn find(&self, name: &str) -> Option<&WindowArg> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, arg)| *arg)
    }

    pub(super) fn required(&self, name: &str) -> Result<&WindowArg, Diagnostic> {
        self.find(name).ok_or_else(|| {
            let message = format!("window '{}' needs its argument '{name}'", self.signature.kind);
            let error = Diagnostic::new(Code::MissingOption, message).hint(usage(self.signature));
            self.text.at(error, self.spec.span)
        })
    }

    pub(super) fn at(&self, name: &str, error: Diagnostic) -> Diagnostic {
        let span = self.find(name).map_or(self.spec.span, |arg| arg.span);
        self.text.at(error, span)
    }

    pub(super) fn duration(&self, name: &str) -> Result<Micros, Diagnostic> {
        let micros = self.constant_duration(self.required(name)?, name)?;
        if micros <= 0 {
            let error = Diagnostic::new(Code::Duration, format!("'{name}' must be longer than zero"))
                .hint("such as 5 SECONDS; a bare integer is milliseconds");
            return Err(self.at(name, error));
        }
        Ok(micros)
    }

    pub(super) fn optional_duration(&self, name: &str) -> Result<Option<Micros>, Diagnostic> {
        let Some(arg) = self.find(name) else {
            return Ok(None);
        };
        let micros = self.constant_duration(arg, name)?;
        if micros < 0 {
            let error = Diagnostic::new(Code::Duration, format!("'{name}' must not be negative"))
                .hint("such as 5 SECONDS, or leave it out");
            return Err(self.at(name, error));
        }
        Ok(Some(micros))
    }

    pub(super) fn offset(&self) -> Result<Micros, Diagnostic> {
        match self.find("offset") {
            Some(arg) => self.constant_duration(arg, "offset"),
            None => Ok(0),
        }
    }

    pub(super) fn constant_duration(&self, arg: &WindowArg, name: &str) -> Result<Micros, Diagnostic> {
        duration_micros(&arg.value).ok_or_else(|| {
            let error = Diagnostic::new(Code::Duration, format!("'{name}' must be a constant duration"))
                .hint("such as 5 SECONDS, without quotes; a bare integer is milliseconds");
            self.text.at(error, arg.span)
        })
    }

    pub(super) fn count(&self, name: &str, least: usize) -> Result<usize, Diagnostic> {
        let arg = self.required(name)?;
        let count = match &arg.value {
            Expr::Value(ValueWithSpan {
                value: Value::Number(number, _),
                ..
            }) => number.parse::<usize>().ok(),
            _ => None,
        };
        match count {
            Some(count) if (least..=MAX_COUNT).contains(&count) => Ok(count),
            _ => {
                let message = format!("'{name}' must be a whole number from {least} to {MAX_COUNT}");
                let error = Diagnostic::new(Code::Type, message).hint(usage(self.signature));
                Err(self.text.at(error, arg.span))
            }
        }
    }

    /// A share between 0 and 1, in millionths.
    pub(super) fn share(&self, name: &str) -> Result<u32, Diagnostic> {
        let arg = self.required(name)?;
        let share = match &arg.value {
            Expr::Value(ValueWithSpan {
                value: Value::Number(number, _),
                ..
            }) => number.parse::<f64>().ok(),
            _ => None,
        };
        match share {
            Some(share) if share > 0.0 && share <= 1.0 => Ok((share * 1e6).round().max(1.0) as u32),
            _ => {
                let error = Diagnostic::new(Code::Type, format!("'{name}' must be a number above 0, at most 1"))
                    .hint("a share of all events, such as 0.05");
                Err(self.text.at(error, arg.span))
            }
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Diagnostic> {
        match self.find(name).map(|arg| (&arg.value, arg.span)) {
            None => Ok(false),
            Some((
                Expr::Value(ValueWithSpan {
                    value: Value::Boolean(flag),
                    ..
                }),
                _,
            )) => Ok(*flag),
            Some((_, span)) => {
                let error =
                    Diagnostic::new(Code::Type, format!("'{name}' must be true or false")).hint(usage(self.signature));
                Err(self.text.at(error, span))
            }
        }
    }

    pub(super) fn string(&self, name: &str) -> Result<String, Diagnostic> {
        let arg = self.required(name)?;
        match &arg.value {
            Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(text),
                ..
            }) => Ok(text.clone()),
            _ => {
                let error = Diagnostic::new(Code::Type, format!("'{name}' must be a text in single quotes"))
                    .hint(usage(self.signature));
                Err(self.text.at(error, arg.span))
            }
        }
    }

    pub(super) fn condition(&self) -> Result<Box<Condition>, Diagnostic> {
        let text = self.string("condition")?;
        let condition = condition::read(&text, self.schema, self.functions);
        condition.map(Box::new).map_err(|error| self.at("condition", error))
    }

    pub(super) fn schedule(&self) -> Result<String, Diagnostic> {
        let text = self.string("schedule")?;
        match CronSchedule::parse(&text) {
            Ok(_) => Ok(text),
            Err(error) => {
                let message = format!("'{text}' is no cron expression: {error}");
                let error = Diagnostic::new(Code::Syntax, message)
                    .hint("five fields, or six with seconds first, such as '0 */5 * * * ?'");
                Err(self.at("schedule", error))
            }
        }
    }

    pub(super) fn column(&self, arg: &WindowArg) -> Result<Column, Diagnostic> {
        let Some(name) = name_of(&arg.value) else {
            let error = Diagnostic::new(Code::Type, "a column is due here, without quotes").hint(usage(self.signature));
            return Err(self.text.at(error, arg.span));
        };
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        match resolve(name, names.clone()) {
            Resolved::One(exact) => Ok(Column::new_unqualified(exact)),
            _ => {
                let error = Diagnostic::new(Code::UnknownColumn, format!("there is no column '{name}'"));
                let error = match nearest(name, names.clone()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("there are: {}", names.collect::<Vec<_>>().join(", "))),
                };
                Err(self.text.at(error, arg.span))
            }
        }
    }

    pub(super) fn time_column(&self) -> Result<Column, Diagnostic> {
        let arg = self.required("column")?;
        let column = self.column(arg)?;
        let data_type = self.schema.field_with_name(&column.name).map(|field| field.data_type());
        match data_type {
            Ok(DataType::Timestamp(_, _) | DataType::Int64) => Ok(column),
            _ => {
                let error = Diagnostic::new(Code::Type, format!("'{}' is no time", column.name))
                    .hint("a time is a TIMESTAMP, or a LONG in milliseconds");
                Err(self.text.at(error, arg.span))
            }
        }
    }

    pub(super) fn keys(&self, required: bool) -> Result<Vec<Column>, Diagnostic> {
        if required {
            self.required("keys")?;
        }
        self.list("keys").map(|arg| self.column(arg)).collect()
    }

    /// The columns given, or else all.
    pub(super) fn keys_or_all(&self) -> Result<Vec<Column>, Diagnostic> {
        let keys = self.keys(false)?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        let all = self.schema.fields().iter();
        Ok(all.map(|field| Column::new_unqualified(field.name())).collect())
    }

    pub(super) fn sort_keys(&self) -> Result<Vec<SortKey>, Diagnostic> {
        self.required("keys")?;
        let mut keys: Vec<SortKey> = Vec::new();
        for arg in self.list("keys") {
            keys.push(SortKey {
                column: self.column(arg)?,
                descending: arg.order == Some(WindowArgOrder::Desc),
            });
        }
        Ok(keys)
    }

    pub(super) fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s WindowArg> {
        self.given
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, arg)| *arg)
    }
}
