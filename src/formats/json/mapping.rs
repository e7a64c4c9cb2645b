//! What the options of a source say, checked: where each column's value is, and what happens when it is not there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use super::options::{
    CASE_INSENSITIVE, DATE_FORMAT, ENVELOPE, FAIL_ON_MISSING_FIELD, IGNORE_PARSE_ERRORS, INCLUDE_NULLS, OPS, ROOT,
};
use super::path::{Fold, JsonPath};
use super::shape::Shape;
use crate::catalog::types;
use crate::config::options::Options;
use crate::error::Diagnostic;
use crate::formats::DecodeSchema;
use crate::formats::columns::dates::DateFormat;
use crate::formats::mapped::{self, MAPPING, Mapped};
use crate::formats::template::TEMPLATE;

/// What is done about a column without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is NULL.
    Null,
    /// It is an error.
    Error,
}

/// What is done about what cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Faults {
    /// It is an error of its record.
    Reported,
    /// A value becomes NULL, a record is skipped.
    Ignored,
}

/// Where the values of a source's columns are.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    /// For each declared column.
    paths: Vec<JsonPath>,
    root: Option<JsonPath>,
    fold: Fold,
    pub(super) missing: Missing,
    pub(super) faults: Faults,
    pub(super) dates: Option<Arc<DateFormat>>,
}

impl Mapping {
    /// From the options of a source with those columns.
    pub(super) fn new(declared: &SchemaRef, options: &Options) -> Result<Self, Diagnostic> {
        refuse_at_source(options)?;
        let fold = match options.boolean(CASE_INSENSITIVE) {
            true => Fold::Case,
            false => Fold::Exact,
        };
        let missing = match options.boolean(FAIL_ON_MISSING_FIELD) {
            true => Missing::Error,
            false => Missing::Null,
        };
        let faults = match options.boolean(IGNORE_PARSE_ERRORS) {
            true => Faults::Ignored,
            false => Faults::Reported,
        };
        if missing == Missing::Error && faults == Faults::Ignored {
            let error = options.invalid(
                FAIL_ON_MISSING_FIELD,
                "a missing field cannot be an error when json.ignore-parse-errors ignores all errors",
            );
            return Err(error.hint("set one of them to 'false'"));
        }
        let paths = match mapped(declared, options)? {
            Some(paths) => paths,
            None => by_name(declared, fold, options)?,
        };
        Ok(Mapping {
            paths,
            root: root(options)?,
            fold,
            missing,
            faults,
            dates: dates(options)?,
        })
    }

    /// What the paths of the columns that are read compile to.
    pub(super) fn shape(&self, schema: &DecodeSchema) -> Shape {
        let paths: Vec<&JsonPath> = schema.wanted.iter().map(|&column| &self.paths[column]).collect();
        // What a record is depends on all columns, whoever reads them.
        let positional = self.paths.iter().any(JsonPath::is_positional);
        Shape::new(&paths, self.root.as_ref(), positional, self.fold)
    }

    /// The path of a declared column, as messages show it.
    pub(super) fn path(&self, column: usize) -> &JsonPath {
        &self.paths[column]
    }
}

/// Refuses options that say how to read, where nothing is read.
pub(super) fn refuse_at_sink(options: &Options) -> Result<(), Diagnostic> {
    let reads = |name: &&str| name.starts_with(MAPPING) || *name == ROOT;
    let switches = [CASE_INSENSITIVE, FAIL_ON_MISSING_FIELD, IGNORE_PARSE_ERRORS];
    let on = switches.into_iter().find(|name| options.boolean(name));
    match options.names().find(reads).or(on) {
        Some(name) => Err(options
            .invalid(name, "it says how to read, and a sink writes")
            .hint("remove it")),
        None => Ok(()),
    }
}

/// Refuses options that say how to write, where nothing is written.
fn refuse_at_source(options: &Options) -> Result<(), Diagnostic> {
    let text = [TEMPLATE, ENVELOPE]
        .into_iter()
        .find(|name| options.text(name).is_some());
    let ops = options.text(OPS).is_some_and(|ops| ops != "false").then_some(OPS);
    let nulls = options.names().any(|name| name == INCLUDE_NULLS) && !options.boolean(INCLUDE_NULLS);
    let nulls = nulls.then_some(INCLUDE_NULLS);
    match text.or(ops).or(nulls) {
        Some(name) => Err(options
            .invalid(name, "it says how to write, and a source reads")
            .hint("remove it")),
        None => Ok(()),
    }
}

/// How times are written.
pub(super) fn dates(options: &Options) -> Result<Option<Arc<DateFormat>>, Diagnostic> {
    let Some(text) = options.text(DATE_FORMAT) else {
        return Ok(None);
    };
    match DateFormat::parse(text) {
        Ok(dates) => Ok(dates.map(Arc::new)),
        Err(reason) => Err(options.invalid(DATE_FORMAT, reason).hint(
            "write a pattern such as 'yyyy-MM-dd HH:mm:ss.SSS' or '%Y-%m-%d', 'epoch-seconds', 'epoch-millis', \
             'epoch-micros', 'epoch-nanos' or 'iso-8601'",
        )),
    }
}

fn root(options: &Options) -> Result<Option<JsonPath>, Diagnostic> {
    let Some(text) = options.text(ROOT) else {
        return Ok(None);
    };
    let path = JsonPath::parse(text).map_err(|reason| options.invalid(ROOT, reason))?;
    if path.whole {
        return Err(options.invalid(ROOT, "it starts in the whole message anyway: write '$'"));
    }
    if !path.is_singular() {
        let error = options.invalid(ROOT, "it must lead to one object or array: names and positions only");
        return Err(error.hint("the elements of an array are a record each, without '[*]'"));
    }
    Ok(Some(path))
}

/// Members of the columns' names.
fn by_name(declared: &SchemaRef, fold: Fold, options: &Options) -> Result<Vec<JsonPath>, Diagnostic> {
    let fields = declared.fields();
    for (index, field) in fields.iter().enumerate() {
        let name = fold.name(field.name());
        if let Some(twin) = fields[..index].iter().find(|twin| fold.name(twin.name()) == name) {
            let names = format!("'{}' and '{}'", twin.name(), field.name());
            let error = options.invalid(CASE_INSENSITIVE, format!("the columns {names} differ only in case"));
            return Err(error.hint("rename one of them, or map all columns with json.mapping.<column>"));
        }
    }
    Ok(fields.iter().map(|field| JsonPath::member(field.name())).collect())
}

/// The paths given for the columns: all or none.
fn mapped(declared: &SchemaRef, options: &Options) -> Result<Option<Vec<JsonPath>>, Diagnostic> {
    let fields = declared.fields();
    let example = |column: &str| JsonPath::member(column).to_string();
    let Some(columns) = mapped::columns("json", fields, options, example)? else {
        return Ok(None);
    };
    let mut paths = Vec::with_capacity(columns.len());
    for (field, column) in fields.iter().zip(&columns) {
        let path = column_path(field, column.text);
        paths.push(path.map_err(|(reason, hint)| {
            let error = options.invalid(column.option, reason);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?);
    }
    one_form(fields, &columns, &paths, options)?;
    Ok(Some(paths))
}

/// Checks that a record is an object for all columns, or an array for all.
fn one_form(fields: &Fields, columns: &[Mapped], paths: &[JsonPath], options: &Options) -> Result<(), Diagnostic> {
    let array = paths.iter().position(JsonPath::is_positional);
    let object = paths.iter().position(JsonPath::is_by_name);
    let (Some(array), Some(object)) = (array, object) else {
        return Ok(());
    };
    let reason = format!(
        "'{}' takes the record for an array, '{}' of the column '{}' for an object",
        paths[array],
        paths[object],
        fields[object].name()
    );
    Err(options.invalid(columns[array].option, reason))
}

/// A column's path, or why it is none, and what to do.
fn column_path(field: &Field, text: &str) -> Result<JsonPath, (String, Option<String>)> {
    let path = JsonPath::parse(text).map_err(|reason| (reason, None))?;
    if path.is_singular() || matches!(field.data_type(), DataType::List(_)) {
        return Ok(path);
    }
    let kind = match types::is_json(field) {
        true => "JSON".to_string(),
        false => types::name(field.data_type()),
    };
    let reason = format!(
        "'{text}' leads to any number of values, but the column '{}' is {kind}",
        field.name()
    );
    let hint = match kind.as_str() {
        "JSON" => "declare it ARRAY<JSON>".to_string(),
        _ => format!("declare it ARRAY<{kind}>, or name one value: a member or a position"),
    };
    Err((reason, Some(hint)))
}
