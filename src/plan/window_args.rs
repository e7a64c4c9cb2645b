//! From the arguments of a `WINDOW(…)` clause to a window kind, with a message at the argument that does not fit.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::Column;
use eventflux_sqlparser::{WindowArg, WindowArgOrder, WindowSpec, duration_micros};
use sqlparser::ast::{Expr, Ident, Spanned, Value, ValueWithSpan};

use super::condition;
use super::text::Text;
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::catalog::windows::{Condition, SortKey, WINDOW_END, WINDOW_START, WindowKind};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::event::Micros;
use crate::event::cron::CronSchedule;

/// A kind: its spelling and its parameters in their order. A parameter that ends in `…` takes what is left.
struct Signature {
    kind: &'static str,
    parameters: &'static [&'static str],
}

const SIGNATURES: &[Signature] = &[
    signature("length", &["size"]),
    signature("time", &["duration"]),
    signature("timelength", &["duration", "size"]),
    signature("externaltime", &["column", "duration"]),
    signature("delay", &["duration"]),
    signature("unique", &["keys…"]),
    signature("firstunique", &["keys…"]),
    signature("uniquelength", &["keys…", "size"]),
    signature("sort", &["size", "keys…"]),
    signature("frequent", &["size", "keys…"]),
    signature("lossyfrequent", &["support", "error", "keys…"]),
    signature("expression", &["condition"]),
    signature("tumbling", &["size", "offset"]),
    signature("tumble", &["size", "offset"]),
    signature("sliding", &["size", "slide", "offset"]),
    signature("hop", &["size", "slide", "offset"]),
    signature("hopping", &["size", "slide", "offset"]),
    signature("session", &["gap", "keys…", "allowed_lateness"]),
    signature("cumulate", &["step", "size", "offset"]),
    signature("lengthbatch", &["size", "stream_current"]),
    signature("timebatch", &["duration", "start", "stream_current"]),
    signature("externaltimebatch", &["column", "duration", "start", "timeout"]),
    signature("batch", &[]),
    signature("cron", &["schedule"]),
    signature("expressionbatch", &["condition"]),
];

const fn signature(kind: &'static str, parameters: &'static [&'static str]) -> Signature {
    Signature { kind, parameters }
}

/// Other names of parameters.
const SYNONYMS: &[(&str, &str)] = &[
    ("n", "size"),
    ("length", "size"),
    ("count", "size"),
    ("t", "duration"),
    ("time", "duration"),
    ("ts", "column"),
    ("timestamp", "column"),
    ("key", "keys"),
    ("by", "keys"),
    ("expr", "condition"),
    ("expression", "condition"),
    ("cron", "schedule"),
    ("lateness", "allowed_lateness"),
];

/// The kind that a clause means for rows of `schema`.
pub fn window_kind(
    spec: &WindowSpec,
    schema: &Schema,
    functions: &Functions,
    text: &Text,
) -> Result<WindowKind, Diagnostic> {
    let Some(signature) = SIGNATURES.iter().find(|signature| signature.kind == spec.kind) else {
        let kinds = SIGNATURES.iter().map(|signature| signature.kind);
        let error = Diagnostic::new(
            Code::UnknownFunction,
            format!("there is no window kind '{}'", spec.kind),
        );
        let error = match nearest(&spec.kind, kinds) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint("the most common are length, time, tumbling, hop, session, lengthBatch and timeBatch"),
        };
        return Err(text.at(error, spec.kind_span));
    };
    let arguments = Arguments {
        spec,
        signature,
        schema,
        functions,
        text,
        given: assign(spec, signature, schema, text)?,
    };
    arguments.kind()
}

/// The column that a table function's time means, which must hold times.
pub fn table_function_time(time: &Expr, schema: &Schema, text: &Text) -> Result<Ident, Diagnostic> {
    let at = |error: Diagnostic| text.at(error, time.span());
    let Some(name) = name_of(time) else {
        let error = Diagnostic::new(Code::Type, "the time column of the stream is due here");
        return Err(at(error.hint("such as TUMBLE(S, ts, 5 SECONDS)")));
    };
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let Resolved::One(exact) = resolve(name, names.clone()) else {
        let error = Diagnostic::new(Code::UnknownColumn, format!("there is no column '{name}'"));
        return Err(at(match nearest(name, names) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        }));
    };
    match schema.field_with_name(exact).map(|field| field.data_type()) {
        Ok(DataType::Timestamp(_, _) | DataType::Int64) => Ok(Ident::with_quote('"', exact)),
        _ => {
            let error = Diagnostic::new(Code::Type, format!("'{exact}' is no time"));
            Err(at(error.hint("a time is a TIMESTAMP, or a LONG in milliseconds")))
        }
    }
}

/// Each argument with the parameter it is for.
type Assigned<'a> = Vec<(&'static str, &'a WindowArg)>;

fn assign<'a>(
    spec: &'a WindowSpec,
    signature: &Signature,
    schema: &Schema,
    text: &Text,
) -> Result<Assigned<'a>, Diagnostic> {
    let mut given: Assigned = Vec::new();
    let mut next = 0;
    for arg in &spec.args {
        let parameter = match &arg.name {
            Some(name) => named(&name.value, signature).ok_or_else(|| {
                let known: Vec<&str> = signature.parameters.iter().map(|name| plain(name)).collect();
                let error = Diagnostic::new(
                    Code::UnknownOption,
                    format!("window '{}' has no argument '{}'", spec.kind, name.value),
                );
                text.at(error.hint(format!("it takes {}", known.join(", "))), name.span)
            })?,
            None => positional(arg, signature, &mut next, schema, &given).ok_or_else(|| {
                let message = format!(
                    "window '{}' has too many arguments, or one of the wrong kind",
                    spec.kind
                );
                let error = Diagnostic::new(Code::Type, message).hint(usage(signature));
                text.at(error, arg.span)
            })?,
        };
        let name = plain(parameter);
        if !is_list(parameter) && given.iter().any(|(other, _)| *other == name) {
            let error = Diagnostic::new(Code::Duplicate, format!("argument '{name}' is given twice"));
            return Err(text.at(error, arg.span));
        }
        given.push((name, arg));
    }
    Ok(given)
}

fn named(name: &str, signature: &Signature) -> Option<&'static str> {
    let find = |wanted: &str| {
        let mut parameters = signature.parameters.iter().copied();
        parameters.find(|parameter| plain(parameter).eq_ignore_ascii_case(wanted))
    };
    find(name).or_else(|| {
        let synonym = SYNONYMS.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        find(synonym.1)
    })
}

/// The parameter for the next argument without a name. A list takes columns as long as they come; what is given by name, and
/// what is optional and of another kind, is skipped.
fn positional(
    arg: &WindowArg,
    signature: &Signature,
    next: &mut usize,
    schema: &Schema,
    given: &Assigned,
) -> Option<&'static str> {
    while let Some(parameter) = signature.parameters.get(*next).copied() {
        let takes = match parameter {
            one if !is_list(one) && given.iter().any(|(name, _)| *name == one) => false,
            list if is_list(list) => is_column(&arg.value, schema) || is_name(&arg.value),
            "stream_current" => is_bool(&arg.value),
            "start" => !is_bool(&arg.value),
            "support" | "error" => is_number(&arg.value),
            _ => true,
        };
        if takes {
            if !is_list(parameter) {
                *next += 1;
            }
            return Some(parameter);
        }
        *next += 1;
    }
    None
}

fn plain(parameter: &'static str) -> &'static str {
    parameter.trim_end_matches('…')
}

fn is_list(parameter: &str) -> bool {
    parameter.ends_with('…')
}

fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn is_column(expr: &Expr, schema: &Schema) -> bool {
    name_of(expr).is_some_and(|name| {
        let fields = schema.fields().iter().map(|field| field.name().as_str());
        resolve(name, fields) != Resolved::None
    })
}

fn name_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| ident.value.as_str()),
        _ => None,
    }
}

fn is_bool(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Value(ValueWithSpan {
            value: Value::Boolean(_),
            ..
        })
    )
}

fn is_number(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Value(ValueWithSpan {
            value: Value::Number(..),
            ..
        })
    )
}

fn usage(signature: &Signature) -> String {
    match signature.parameters {
        [] => format!("write WINDOW('{}')", signature.kind),
        parameters => format!("write WINDOW('{}', {})", signature.kind, parameters.join(", ")),
    }
}

/// The arguments of one clause.
struct Arguments<'a> {
    spec: &'a WindowSpec,
    signature: &'a Signature,
    schema: &'a Schema,
    functions: &'a Functions,
    text: &'a Text<'a>,
    given: Assigned<'a>,
}

impl Arguments<'_> {
    fn kind(&self) -> Result<WindowKind, Diagnostic> {
        Ok(match self.signature.kind {
            "length" => WindowKind::Length {
                size: self.count("size", 0)?,
            },
            "time" => WindowKind::Time {
                duration: self.duration("duration")?,
                size: None,
                column: None,
            },
            "timelength" => WindowKind::Time {
                duration: self.duration("duration")?,
                size: Some(self.count("size", 1)?),
                column: None,
            },
            "externaltime" => WindowKind::Time {
                duration: self.duration("duration")?,
                size: None,
                column: Some(self.time_column()?),
            },
            "delay" => WindowKind::Delay {
                duration: self.duration("duration")?,
            },
            "unique" => WindowKind::Unique {
                keys: self.keys(true)?,
                size: None,
            },
            "uniquelength" => WindowKind::Unique {
                keys: self.keys(true)?,
                size: Some(self.count("size", 1)?),
            },
            "firstunique" => WindowKind::FirstUnique { keys: self.keys(true)? },
            "sort" => WindowKind::Sort {
                size: self.count("size", 1)?,
                keys: self.sort_keys()?,
            },
            "frequent" => WindowKind::Frequent {
                size: self.count("size", 1)?,
                keys: self.keys_or_all()?,
            },
            "lossyfrequent" => self.lossy_frequent()?,
            "expression" => WindowKind::Expression {
                condition: self.condition()?,
            },
            "expressionbatch" => WindowKind::ExpressionBatch {
                condition: self.condition()?,
            },
            "cron" => WindowKind::Cron {
                schedule: self.schedule()?,
            },
            "tumbling" | "tumble" => {
                let size = self.duration("size")?;
                WindowKind::Hop {
                    size,
                    slide: size,
                    offset: self.offset()?,
                }
            }
            "sliding" | "hop" | "hopping" => self.hop()?,
            "session" => WindowKind::Session {
                gap: self.duration("gap")?,
                keys: self.keys(false)?,
                lateness: self.optional_duration("allowed_lateness")?.unwrap_or(0),
            },
            "cumulate" => self.cumulate()?,
            "lengthbatch" => WindowKind::LengthBatch {
                size: self.count("size", 1)?,
                stream_current: self.flag("stream_current")?,
            },
            "timebatch" => WindowKind::TimeBatch {
                duration: self.duration("duration")?,
                start: self.optional_duration("start")?,
                column: None,
                timeout: None,
                stream_current: self.flag("stream_current")?,
            },
            "externaltimebatch" => WindowKind::TimeBatch {
                duration: self.duration("duration")?,
                start: self.optional_duration("start")?,
                column: Some(self.time_column()?),
                timeout: self.optional_duration("timeout")?,
                stream_current: false,
            },
            _ => WindowKind::Batch,
        })
    }

    fn hop(&self) -> Result<WindowKind, Diagnostic> {
        let size = self.duration("size")?;
        if self.find("slide").is_none() {
            return Ok(WindowKind::Time {
                duration: size,
                size: None,
                column: None,
            });
        }
        let slide = self.duration("slide")?;
        if slide > size {
            let error = Diagnostic::new(
                Code::Duration,
                "the slide is longer than the window: events between would be lost",
            )
            .hint("make slide at most size");
            return Err(self.at("slide", error));
        }
        Ok(WindowKind::Hop {
            size,
            slide,
            offset: self.offset()?,
        })
    }

    fn cumulate(&self) -> Result<WindowKind, Diagnostic> {
        let (step, size) = (self.duration("step")?, self.duration("size")?);
        if size % step != 0 {
            let error = Diagnostic::new(Code::Duration, "the size is not a multiple of the step");
            return Err(self.at("size", error));
        }
        Ok(WindowKind::Cumulate {
            step,
            size,
            offset: self.offset()?,
        })
    }

    fn lossy_frequent(&self) -> Result<WindowKind, Diagnostic> {
        let support = self.share("support")?;
        let error = match self.find("error") {
            Some(_) => self.share("error")?,
            None => support / 10,
        };
        Ok(WindowKind::LossyFrequent {
            support,
            error: error.max(1),
            keys: self.keys_or_all()?,
        })
    }

    fn find(&self, name: &str) -> Option<&WindowArg> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, arg)| *arg)
    }

    fn required(&self, name: &str) -> Result<&WindowArg, Diagnostic> {
        self.find(name).ok_or_else(|| {
            let message = format!("window '{}' needs its argument '{name}'", self.spec.kind);
            let error = Diagnostic::new(Code::MissingOption, message).hint(usage(self.signature));
            self.text.at(error, self.spec.span)
        })
    }

    fn at(&self, name: &str, error: Diagnostic) -> Diagnostic {
        let span = self.find(name).map_or(self.spec.span, |arg| arg.span);
        self.text.at(error, span)
    }

    fn duration(&self, name: &str) -> Result<Micros, Diagnostic> {
        let micros = self.constant_duration(self.required(name)?, name)?;
        if micros <= 0 {
            let error = Diagnostic::new(Code::Duration, format!("'{name}' must be longer than zero"));
            return Err(self.at(name, error));
        }
        Ok(micros)
    }

    fn optional_duration(&self, name: &str) -> Result<Option<Micros>, Diagnostic> {
        let Some(arg) = self.find(name) else {
            return Ok(None);
        };
        let micros = self.constant_duration(arg, name)?;
        if micros < 0 {
            let error = Diagnostic::new(Code::Duration, format!("'{name}' must not be negative"));
            return Err(self.at(name, error));
        }
        Ok(Some(micros))
    }

    fn offset(&self) -> Result<Micros, Diagnostic> {
        match self.find("offset") {
            Some(arg) => self.constant_duration(arg, "offset"),
            None => Ok(0),
        }
    }

    fn constant_duration(&self, arg: &WindowArg, name: &str) -> Result<Micros, Diagnostic> {
        duration_micros(&arg.value).ok_or_else(|| {
            let error = Diagnostic::new(Code::Duration, format!("'{name}' must be a constant duration"))
                .hint("such as 5 SECONDS, without quotes; a bare integer is milliseconds");
            self.text.at(error, arg.span)
        })
    }

    fn count(&self, name: &str, least: usize) -> Result<usize, Diagnostic> {
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
                Err(self.text.at(Diagnostic::new(Code::Type, message), arg.span))
            }
        }
    }

    /// A share between 0 and 1, in millionths.
    fn share(&self, name: &str) -> Result<u32, Diagnostic> {
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
                let error = Diagnostic::new(Code::Type, format!("'{name}' must be a number above 0, at most 1"));
                Err(self.text.at(error, arg.span))
            }
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Diagnostic> {
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
                let error = Diagnostic::new(Code::Type, format!("'{name}' must be true or false"));
                Err(self.text.at(error, span))
            }
        }
    }

    fn string(&self, name: &str) -> Result<String, Diagnostic> {
        let arg = self.required(name)?;
        match &arg.value {
            Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(text),
                ..
            }) => Ok(text.clone()),
            _ => {
                let error = Diagnostic::new(Code::Type, format!("'{name}' must be a text in single quotes"));
                Err(self.text.at(error, arg.span))
            }
        }
    }

    fn condition(&self) -> Result<Box<Condition>, Diagnostic> {
        let text = self.string("condition")?;
        let condition = condition::read(&text, self.schema, self.functions);
        condition.map(Box::new).map_err(|error| self.at("condition", error))
    }

    fn schedule(&self) -> Result<String, Diagnostic> {
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

    fn column(&self, arg: &WindowArg) -> Result<Column, Diagnostic> {
        let Some(name) = name_of(&arg.value) else {
            let error = Diagnostic::new(Code::Type, "a column is due here, without quotes");
            return Err(self.text.at(error, arg.span));
        };
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        match resolve(name, names.clone()) {
            Resolved::One(exact) => Ok(Column::new_unqualified(exact)),
            _ => {
                let error = Diagnostic::new(Code::UnknownColumn, format!("there is no column '{name}'"));
                let error = match nearest(name, names) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error,
                };
                Err(self.text.at(error, arg.span))
            }
        }
    }

    fn time_column(&self) -> Result<Column, Diagnostic> {
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

    fn keys(&self, required: bool) -> Result<Vec<Column>, Diagnostic> {
        if required {
            self.required("keys")?;
        }
        self.list("keys").map(|arg| self.column(arg)).collect()
    }

    /// The columns given, or else all.
    fn keys_or_all(&self) -> Result<Vec<Column>, Diagnostic> {
        let keys = self.keys(false)?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        let all = self.schema.fields().iter();
        Ok(all.map(|field| Column::new_unqualified(field.name())).collect())
    }

    fn sort_keys(&self) -> Result<Vec<SortKey>, Diagnostic> {
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

    fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s WindowArg> {
        self.given
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, arg)| *arg)
    }
}

/// Windows of more events than this would not fit the memory of any machine they are likely to run on.
const MAX_COUNT: usize = 1_000_000_000;

/// Whether rows of that window have the window's bounds; known before its arguments are.
pub fn has_bounds(spec: &WindowSpec) -> bool {
    let kinds = [
        "tumbling",
        "tumble",
        "hop",
        "hopping",
        "session",
        "cumulate",
        "timebatch",
        "externaltimebatch",
        "sliding",
    ];
    kinds.contains(&spec.kind.as_str())
}

/// Columns with those of a window's bounds after them, unless they are taken.
pub fn with_bounds(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    for name in [WINDOW_START, WINDOW_END] {
        if schema.field_with_name(name).is_err() {
            fields.push(Arc::new(Field::new(name, types::TIMESTAMP, true)));
        }
    }
    Arc::new(Schema::new(fields))
}
