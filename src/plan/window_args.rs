//! From the arguments of a `WINDOW(…)` clause to a window kind, with a message at the argument that does not fit.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use eventflux_sqlparser::{WindowArg, WindowSpec};
use sqlparser::ast::{Expr, Ident, Spanned, Value, ValueWithSpan};

use super::text::Text;
use crate::catalog::functions::Functions;
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types;
use crate::catalog::windows::{WINDOW_END, WINDOW_START, WindowKind};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};

/// A kind: its spelling, its parameters in their order, arguments for an example. A parameter that ends in `…` takes what is left.
pub(super) struct Signature {
    pub(super) kind: &'static str,
    parameters: &'static [&'static str],
    example: &'static str,
}

const SIGNATURES: &[Signature] = &[
    signature("length", &["size"], "5"),
    signature("time", &["duration"], "5 SECONDS"),
    signature("timeLength", &["duration", "size"], "5 SECONDS, 100"),
    signature("externalTime", &["column", "duration"], "ts, 5 SECONDS"),
    signature("delay", &["duration"], "5 SECONDS"),
    signature("unique", &["keys…"], "symbol"),
    signature("firstUnique", &["keys…"], "symbol"),
    signature("uniqueLength", &["keys…", "size"], "symbol, 100"),
    signature("sort", &["size", "keys…"], "10, price DESC"),
    signature("frequent", &["size", "keys…"], "5, symbol"),
    signature("lossyFrequent", &["support", "error", "keys…"], "0.1, 0.01, symbol"),
    signature("expression", &["condition"], "'count(*) <= 20'"),
    signature("tumbling", &["size", "offset"], "5 SECONDS"),
    signature("tumble", &["size", "offset"], "5 SECONDS"),
    signature("sliding", &["size", "slide", "offset"], "10 SECONDS, 5 SECONDS"),
    signature("hop", &["size", "slide", "offset"], "10 SECONDS, 5 SECONDS"),
    signature("hopping", &["size", "slide", "offset"], "10 SECONDS, 5 SECONDS"),
    signature("session", &["gap", "keys…", "allowed_lateness"], "5 SECONDS"),
    signature("cumulate", &["step", "size", "offset"], "1 MINUTE, 1 HOUR"),
    signature("lengthBatch", &["size", "stream_current"], "100"),
    signature("timeBatch", &["duration", "start", "stream_current"], "5 SECONDS"),
    signature(
        "externalTimeBatch",
        &["column", "duration", "start", "timeout"],
        "ts, 5 SECONDS",
    ),
    signature("batch", &[], ""),
    signature("cron", &["schedule"], "'*/5 * * * *'"),
    signature("expressionBatch", &["condition"], "'count(*) <= 20'"),
];

const fn signature(kind: &'static str, parameters: &'static [&'static str], example: &'static str) -> Signature {
    Signature {
        kind,
        parameters,
        example,
    }
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
    let Some(signature) = SIGNATURES
        .iter()
        .find(|signature| signature.kind.eq_ignore_ascii_case(&spec.kind))
    else {
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
                    format!("window '{}' has no argument '{}'", signature.kind, name.value),
                );
                let hint = match nearest(&name.value, known.iter().copied()) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None if known.is_empty() => usage(signature),
                    None => format!("it takes {}", known.join(", ")),
                };
                text.at(error.hint(hint), name.span)
            })?,
            None => positional(arg, signature, &mut next, schema, &given).ok_or_else(|| {
                let message = format!(
                    "window '{}' has too many arguments, or one of the wrong kind",
                    signature.kind
                );
                let error = Diagnostic::new(Code::Type, message).hint(usage(signature));
                text.at(error, arg.span)
            })?,
        };
        let name = plain(parameter);
        if !is_list(parameter) && given.iter().any(|(other, _)| *other == name) {
            let error = Diagnostic::new(Code::Duplicate, format!("argument '{name}' is given twice"))
                .hint("leave one of them out");
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

pub(super) fn name_of(expr: &Expr) -> Option<&str> {
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

pub(super) fn usage(signature: &Signature) -> String {
    let Signature {
        kind,
        parameters,
        example,
    } = signature;
    match parameters {
        [] => format!("write WINDOW('{kind}')"),
        [one] => format!("such as WINDOW('{kind}', {example}); its argument is {}", plain(one)),
        all => {
            let names: Vec<&str> = all.iter().map(|name| plain(name)).collect();
            format!(
                "such as WINDOW('{kind}', {example}); its arguments are {}",
                names.join(", ")
            )
        }
    }
}

/// The arguments of one clause.
pub(super) struct Arguments<'a> {
    pub(super) spec: &'a WindowSpec,
    pub(super) signature: &'a Signature,
    pub(super) schema: &'a Schema,
    pub(super) functions: &'a Functions,
    pub(super) text: &'a Text<'a>,
    pub(super) given: Assigned<'a>,
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
            "timeLength" => WindowKind::Time {
                duration: self.duration("duration")?,
                size: Some(self.count("size", 1)?),
                column: None,
            },
            "externalTime" => WindowKind::Time {
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
            "uniqueLength" => WindowKind::Unique {
                keys: self.keys(true)?,
                size: Some(self.count("size", 1)?),
            },
            "firstUnique" => WindowKind::FirstUnique { keys: self.keys(true)? },
            "sort" => WindowKind::Sort {
                size: self.count("size", 1)?,
                keys: self.sort_keys()?,
            },
            "frequent" => WindowKind::Frequent {
                size: self.count("size", 1)?,
                keys: self.keys_or_all()?,
            },
            "lossyFrequent" => self.lossy_frequent()?,
            "expression" => WindowKind::Expression {
                condition: self.condition()?,
            },
            "expressionBatch" => WindowKind::ExpressionBatch {
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
            "lengthBatch" => WindowKind::LengthBatch {
                size: self.count("size", 1)?,
                stream_current: self.flag("stream_current")?,
            },
            "timeBatch" => WindowKind::TimeBatch {
                duration: self.duration("duration")?,
                start: self.optional_duration("start")?,
                column: None,
                timeout: None,
                stream_current: self.flag("stream_current")?,
            },
            "externalTimeBatch" => WindowKind::TimeBatch {
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
            let error = Diagnostic::new(Code::Duration, "the size is not a multiple of the step")
                .hint("a window grows by the step until it has the size, such as 5 MINUTES up to 1 HOUR");
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
        if error >= support {
            let error = Diagnostic::new(
                Code::Type,
                "the error must be less than the support, or every key is frequent",
            )
            .hint("a tenth of the support is usual, and what is taken without one");
            return Err(self.at("error", error));
        }
        Ok(WindowKind::LossyFrequent {
            support,
            error: error.max(1),
            keys: self.keys_or_all()?,
        })
    }
}

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
