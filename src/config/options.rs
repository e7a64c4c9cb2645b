//! Option tables: a connector or format declares each option once; that one table validates, redacts, documents
//! and completes it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::environment::substitute;
use super::layer_environment::stands_for;
use super::nearest::nearest;
use crate::error::{Code, Diagnostic, SourceText};
use crate::event::Micros;

/// One option of a connector, a format or a stream.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// The name without the owner's prefix. What stands in angle brackets is any name, as in `fields.<column>.kind`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: OptionKind,
    /// What holds when it is not given, as it would be written.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether configuration files may write it as a list of texts, too; its value then has commas between them.
    pub list: bool,
    /// One or two sentences for the reference.
    pub doc: &'static str,
}

impl OptionSpec {
    /// An optional option without default.
    pub const fn new(name: &'static str, kind: OptionKind, doc: &'static str) -> Self {
        OptionSpec {
            name,
            kind,
            default: None,
            required: false,
            secret: false,
            list: false,
            doc,
        }
    }

    /// The same, but it must be given.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same, with a default.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The same, but its value is never shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The same, but configuration files may write it as a list of texts, too.
    pub const fn list(mut self) -> Self {
        self.list = true;
        self
    }

    /// Whether any name may stand at some place of its own.
    pub fn has_placeholder(&self) -> bool {
        self.name.contains('<')
    }

    /// Whether `key` names this option: equal, or equal around the placeholders, for each of which there is something.
    pub fn matches(&self, key: &str) -> bool {
        let mut parts = self.name.split('<');
        let Some(mut rest) = parts.next().and_then(|first| key.strip_prefix(first)) else {
            return false;
        };
        let mut parts = parts
            .map(|part| part.split_once('>').map_or("", |(_, after)| after))
            .peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(after) = parts.next() {
            if parts.peek().is_none() {
                return rest.strip_suffix(after).is_some_and(|name| !name.is_empty());
            }
            let mut starts = rest.match_indices(after).map(|(at, _)| at);
            let Some(at) = starts.find(|at| *at > 0) else {
                return false;
            };
            rest = &rest[at + after.len()..];
        }
        false
    }
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A path, or a glob of paths. Relative ones start at the directory of the file they are written in.
    Path,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds (inclusive).
    Integer {
        /// The least value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A number.
    Number,
    /// A duration: `5 seconds`, `500ms`, or a bare number of milliseconds.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl std::fmt::Display for OptionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OptionKind::Text => f.write_str("text"),
            OptionKind::Path => f.write_str("path"),
            OptionKind::Boolean => f.write_str("boolean"),
            OptionKind::Integer {
                min: i64::MIN,
                max: i64::MAX,
            } => f.write_str("integer"),
            OptionKind::Integer { min, max: i64::MAX } => write!(f, "integer from {min}"),
            OptionKind::Integer { min, max } => write!(f, "integer {min} to {max}"),
            OptionKind::Number => f.write_str("number"),
            OptionKind::Duration => f.write_str("duration"),
            OptionKind::Choice(words) => f.write_str(&words.join(" | ")),
        }
    }
}

/// An option as the user wrote it. Its value may be a secret, which no `Debug` shows.
#[derive(Clone)]
pub struct RawOption {
    /// The key, with its prefix if it had one.
    pub key: String,
    /// Where the key stands.
    pub key_span: Option<Range<usize>>,
    /// The value, unquoted, environment variables replaced.
    pub value: String,
    /// Where the value stands.
    pub value_span: Option<Range<usize>>,
    /// What the spans point into; `None`: the app's text.
    pub source: Option<SourceText>,
    /// Whether the value came from a file of secrets.
    pub secret: bool,
    /// Whether an environment variable names it: in lower case, with underscores for hyphens.
    pub loose: bool,
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Text(text) => f.write_str(text),
            OptionValue::Boolean(value) => write!(f, "{value}"),
            OptionValue::Integer(value) => write!(f, "{value}"),
            OptionValue::Number(value) => write!(f, "{value}"),
            OptionValue::Duration(micros) => f.write_str(&super::duration::text(*micros)),
        }
    }
}

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// Text or one word of a choice.
    Text(String),
    /// A boolean.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A duration in microseconds.
    Duration(Micros),
}

/// An option's value and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The name without prefix.
    pub name: &'a str,
    /// The value; none if it is a secret.
    pub value: Option<&'a OptionValue>,
    /// Where it is written; `None`: it is the default.
    pub span: Option<&'a Range<usize>>,
    /// What the span points into; `None`: the app's text.
    pub source: Option<&'a SourceText>,
}

#[derive(Debug, Clone)]
struct Given {
    value: OptionValue,
    secret: bool,
    span: Option<Range<usize>>,
    source: Option<SourceText>,
}

impl fmt::Debug for RawOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawOption")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The options of one owner, checked against its table: names without prefix, defaults filled in. `Debug` shows no values.
#[derive(Clone, Default)]
pub struct Options {
    owner: String,
    given: BTreeMap<String, Given>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.debug_struct("Options")
            .field("owner", &self.owner)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Checks the options that belong to `owner` against its table.
    ///
    /// Every `raw` option must match a spec, by its prefixed (`file.path`) or bare (`path`) name.
    pub fn check(owner: &str, specs: &[OptionSpec], raw: &[RawOption]) -> Result<Self, Diagnostic> {
        let mut given: BTreeMap<String, Given> = BTreeMap::new();
        for option in raw {
            let name = bare_name(owner, specs, &option.key).ok_or_else(|| unknown(owner, specs, option))?;
            let spec = find(specs, name).ok_or_else(|| unknown(owner, specs, option))?;
            let value = parse_value(spec.kind, &option.value).map_err(|expected| {
                let hidden = spec.secret || option.secret;
                let shown = if hidden { "***" } else { option.value.as_str() };
                let error = Diagnostic::new(
                    Code::OptionValue,
                    format!("option '{}' is {expected}, not '{shown}'", option.key),
                );
                option.at_value(error)
            })?;
            let (span, source) = (option.value_span.clone(), option.source.clone());
            let one = Given {
                value,
                secret: spec.secret || option.secret,
                span,
                source,
            };
            if given.insert(name.to_string(), one).is_some() {
                let error = Diagnostic::new(Code::Duplicate, format!("option '{}' is given twice", option.key));
                return Err(option.at_key(error).hint("keep one of them"));
            }
        }
        for spec in specs {
            if given.contains_key(spec.name) {
                continue;
            }
            if let Some(default) = spec.default
                && let Ok(value) = parse_value(spec.kind, default)
            {
                given.insert(
                    spec.name.to_string(),
                    Given {
                        value,
                        secret: spec.secret,
                        span: None,
                        source: None,
                    },
                );
            } else if spec.required {
                let error = Diagnostic::new(
                    Code::MissingOption,
                    format!("{owner} needs the option '{owner}.{}'", spec.name),
                );
                return Err(error.hint(format!("add \"{owner}.{}\" = '…' to WITH: {}", spec.name, spec.doc)));
            }
        }
        let owner = owner.to_string();
        Ok(Options { owner, given })
    }

    /// Whether `key` names an option of this table, prefixed or bare.
    pub fn accepts(owner: &str, specs: &[OptionSpec], key: &str) -> bool {
        bare_name(owner, specs, key).is_some()
    }

    /// The name in the table, and the kind, of the option that `key` names, prefixed or bare.
    pub fn identify<'k>(owner: &str, specs: &[OptionSpec], key: &'k str) -> Option<(&'k str, OptionKind)> {
        let name = bare_name(owner, specs, key)?;
        Some((name, find(specs, name)?.kind))
    }

    fn value(&self, name: &str) -> Option<&OptionValue> {
        self.given.get(name).map(|given| &given.value)
    }

    /// A text or choice option.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(OptionValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A boolean option; false when absent.
    pub fn boolean(&self, name: &str) -> bool {
        matches!(self.value(name), Some(OptionValue::Boolean(true)))
    }

    /// An integer option.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(OptionValue::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number option.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.value(name) {
            Some(OptionValue::Number(value)) => Some(*value),
            _ => None,
        }
    }

    /// A duration option, in microseconds.
    pub fn duration(&self, name: &str) -> Option<Micros> {
        match self.value(name) {
            Some(OptionValue::Duration(value)) => Some(*value),
            _ => None,
        }
    }

    /// Whether an option is given somewhere, not defaulted.
    pub fn is_written(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|given| given.span.is_some())
    }

    /// Whether an option is given in the app itself, not by a layer or by default.
    pub fn is_of_the_app(&self, name: &str) -> bool {
        self.given
            .get(name)
            .is_some_and(|given| given.span.is_some() && given.source.is_none())
    }

    /// The names given (or defaulted), in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    /// What is given, or defaulted, in the order of the names.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'_>> {
        self.given.iter().map(|(name, given)| Setting {
            name,
            value: (!given.secret).then_some(&given.value),
            span: given.span.as_ref(),
            source: given.source.as_ref(),
        })
    }

    /// An error about the value of an option, pointing at it.
    pub fn invalid(&self, name: &str, reason: impl std::fmt::Display) -> Diagnostic {
        let prefix = match self.owner.as_str() {
            // Options of any stream or table are written without one.
            "stream" | "table" => String::new(),
            owner => format!("{owner}."),
        };
        let error = Diagnostic::new(Code::OptionValue, format!("option '{prefix}{name}': {reason}"));
        match self.given.get(name) {
            Some(given) => at(error, &given.span, &given.source),
            None => error,
        }
    }
}

impl RawOption {
    /// One that is written nowhere: made by a program.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        RawOption {
            key: key.into(),
            key_span: None,
            value: value.into(),
            value_span: None,
            source: None,
            secret: false,
            loose: false,
        }
    }

    /// The option by its name in one of these tables, if an environment variable names it.
    pub fn spelled(&self, tables: &[(&str, &[OptionSpec])]) -> Cow<'_, RawOption> {
        if !self.loose {
            return Cow::Borrowed(self);
        }
        let names = tables.iter().flat_map(|(owner, specs)| {
            let prefixed = specs.iter().map(move |spec| format!("{owner}.{}", spec.name));
            specs.iter().map(|spec| spec.name.to_string()).chain(prefixed)
        });
        let mut names = names.filter(|name| stands_for(&self.key, name));
        match names.next() {
            Some(key) => Cow::Owned(RawOption { key, ..self.clone() }),
            None => Cow::Borrowed(self),
        }
    }

    /// The option with `${…}` in its value replaced. Relative paths of files start at the directory of the one it is written in.
    pub fn substituted(&self, variables: &dyn Fn(&str) -> Option<String>) -> Result<RawOption, Diagnostic> {
        let written = self.value_span.as_ref().map_or(0, |span| span.start);
        let directory = self.source.as_ref().and_then(|source| source.directory(written));
        let value = substitute(&self.value, variables, directory).map_err(|reason| {
            self.at_value(Diagnostic::new(
                Code::OptionValue,
                format!("option '{}': {reason}", self.key),
            ))
        })?;
        Ok(RawOption {
            value: value.text,
            secret: value.secret,
            ..self.clone()
        })
    }

    /// The error, pointing at the option's value.
    pub fn at_value(&self, error: Diagnostic) -> Diagnostic {
        at(error, &self.value_span, &self.source)
    }

    /// The error, pointing at the option's key.
    pub fn at_key(&self, error: Diagnostic) -> Diagnostic {
        at(error, &self.key_span, &self.source)
    }
}

fn at(error: Diagnostic, span: &Option<Range<usize>>, source: &Option<SourceText>) -> Diagnostic {
    match span {
        Some(span) => {
            let mut error = error.at(span.clone());
            error.source = source.clone();
            error
        }
        None => error,
    }
}

fn find<'a>(specs: &'a [OptionSpec], name: &str) -> Option<&'a OptionSpec> {
    specs
        .iter()
        .find(|spec| spec.name == name)
        .or_else(|| specs.iter().find(|spec| spec.matches(name)))
}

/// The option's name in its table, from the key as written.
fn bare_name<'a>(owner: &str, specs: &[OptionSpec], key: &'a str) -> Option<&'a str> {
    let unprefixed = key.strip_prefix(owner).and_then(|rest| rest.strip_prefix('.'));
    [Some(key), unprefixed]
        .into_iter()
        .flatten()
        .find(|name| find(specs, name).is_some())
}

fn unknown(owner: &str, specs: &[OptionSpec], option: &RawOption) -> Diagnostic {
    let error = Diagnostic::new(Code::UnknownOption, format!("{owner} has no option '{}'", option.key));
    let key = option
        .key
        .rsplit_once(&format!("{owner}."))
        .map_or(option.key.as_str(), |(_, rest)| rest);
    let error = match nearest(key, specs.iter().map(|spec| spec.name)) {
        Some(name) => error.hint(format!("did you mean '{owner}.{name}'?")),
        None => error.hint(format!(
            "{owner} knows: {}",
            specs.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ")
        )),
    };
    option.at_key(error)
}

/// The value, or what kind of value was expected.
fn parse_value(kind: OptionKind, text: &str) -> Result<OptionValue, String> {
    match kind {
        OptionKind::Text | OptionKind::Path => Ok(OptionValue::Text(text.to_string())),
        OptionKind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(OptionValue::Boolean(true)),
            "false" => Ok(OptionValue::Boolean(false)),
            _ => Err("true or false".to_string()),
        },
        OptionKind::Integer { min, max } => text
            .replace('_', "")
            .parse()
            .ok()
            .filter(|value| (min..=max).contains(value))
            .map(OptionValue::Integer)
            .ok_or_else(|| match max {
                i64::MAX => format!("a whole number from {min}"),
                _ => format!("a whole number from {min} to {max}"),
            }),
        OptionKind::Number => text
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(OptionValue::Number)
            .ok_or_else(|| "a number".to_string()),
        OptionKind::Duration => super::duration::parse(text)
            .map(OptionValue::Duration)
            .ok_or_else(|| "a duration such as '5 seconds' or '500 ms'".to_string()),
        OptionKind::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text))
            .map(|word| OptionValue::Text(word.to_string()))
            .ok_or_else(|| format!("one of '{}'", words.join("', '"))),
    }
}
