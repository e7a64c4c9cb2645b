//! One layer of the configuration: the options that a file, the environment or a setting gives.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::app_options::{APP_OPTIONS, APPLICATION_OPTIONS, OF_THE_APP};
use super::nearest::nearest;
use super::options::RawOption;
use crate::error::{Code, Diagnostic, SourceText};

/// The options of a layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) options: Vec<Entry>,
    /// Streams that are named, with the place of the name. Also those without options.
    pub(super) streams: Vec<(String, Diagnostic)>,
    /// Files to be read before this one, as written.
    pub(super) includes: Vec<(String, Range<usize>)>,
}

/// An option and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) scope: Scope,
    pub(super) option: RawOption,
}

/// What an option is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// What streams share.
    Application,
    /// The app itself.
    App,
    /// A stream, by its name.
    Stream(String),
    /// A stream, by its name in whatever case: environment variables have but one.
    AnyCase(String),
}

impl Scope {
    /// Whether an option of this scope is for a stream.
    pub(super) fn is_of(&self, stream: &str) -> bool {
        match self {
            Scope::Stream(name) => name == stream,
            Scope::AnyCase(name) => name.eq_ignore_ascii_case(stream),
            Scope::Application | Scope::App => false,
        }
    }
}

/// Reads a TOML document. `value` is the value of a setting, which stands at the end of the source and outside the document.
pub(super) fn read(source: &SourceText, document: &DeTable, value: Option<&str>) -> Result<Layer, Diagnostic> {
    let mut layer = Layer::default();
    let mut reader = Reader {
        source,
        value,
        layer: &mut layer,
    };
    reader.document(document)?;
    Ok(layer)
}

/// Reads a document into a layer.
struct Reader<'a> {
    source: &'a SourceText,
    /// The value of a `--set`, which stands outside the document.
    value: Option<&'a str>,
    layer: &'a mut Layer,
}

type Key<'k, 'i> = &'k Spanned<std::borrow::Cow<'i, str>>;

impl Reader<'_> {
    fn document(&mut self, document: &DeTable) -> Result<(), Diagnostic> {
        for (key, value) in document {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("application", DeValue::Table(options)) => self.options(&Scope::Application, "", options)?,
                ("streams", DeValue::Table(streams)) => {
                    for (stream, value) in streams {
                        self.stream(stream, value)?;
                    }
                }
                ("include", value) if self.value.is_none() => self.includes(key, value)?,
                ("application" | "streams", _) => {
                    let error = Diagnostic::new(Code::Syntax, format!("'{}' is a table", key.get_ref()));
                    return Err(self.at(error.hint("write [application] or [streams.Name]"), key));
                }
                (unknown, _) => {
                    let error = Diagnostic::new(Code::UnknownOption, format!("the configuration has no '{unknown}'"));
                    let error = match nearest(unknown, ["application", "streams", "include"]) {
                        Some(near) => error.hint(format!("did you mean '{near}'?")),
                        None => error.hint("it has: [application], [streams.Name], [include]"),
                    };
                    return Err(self.at(error, key));
                }
            }
        }
        Ok(())
    }

    /// `[include] files = ["…"]`.
    fn includes(&mut self, key: Key, value: &DeValue) -> Result<(), Diagnostic> {
        let wrong = |reader: &Self| {
            let error = Diagnostic::new(Code::Syntax, "'include' is a table with a list of files");
            reader.at(error.hint("write [include], then files = [\"common.toml\"]"), key)
        };
        let DeValue::Table(table) = value else {
            return Err(wrong(self));
        };
        for (name, files) in table {
            let ("files", DeValue::Array(files)) = (name.get_ref().as_ref(), files.get_ref()) else {
                return Err(wrong(self));
            };
            for file in files {
                let DeValue::String(path) = file.get_ref() else {
                    return Err(wrong(self));
                };
                self.layer.includes.push((path.to_string(), file.span()));
            }
        }
        Ok(())
    }

    fn stream(&mut self, stream: Key, value: &Spanned<DeValue>) -> Result<(), Diagnostic> {
        let name = stream.get_ref().to_string();
        let DeValue::Table(options) = value.get_ref() else {
            let error = Diagnostic::new(Code::Syntax, format!("'streams.{name}' is a table of options"));
            return Err(self.at(
                error.hint(format!("write [streams.{name}], then option = value")),
                stream,
            ));
        };
        let unknown = Diagnostic::new(Code::UnknownStream, format!("the app has no stream '{name}'"));
        self.layer.streams.push((name.clone(), self.at(unknown, stream)));
        self.options(&Scope::Stream(name), "", options)
    }

    fn options(&mut self, scope: &Scope, prefix: &str, table: &DeTable) -> Result<(), Diagnostic> {
        for (key, value) in table {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                prefix => format!("{prefix}.{}", key.get_ref()),
            };
            let text = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.options(scope, &name, inner)?;
                    continue;
                }
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_string(),
                DeValue::Float(number) => number.as_str().to_string(),
                DeValue::Boolean(boolean) => boolean.to_string(),
                DeValue::Datetime(time) => time.to_string(),
                DeValue::Integer(_) | DeValue::Array(_) => {
                    let error = Diagnostic::new(
                        Code::OptionValue,
                        format!("option '{name}' is one text, number or boolean"),
                    );
                    return Err(self.at_span(error.hint("write it in quotes, as in WITH"), value.span()));
                }
            };
            let scope = match scope {
                Scope::Application if is_of_the_app(&name) => &Scope::App,
                scope => scope,
            };
            self.check_key(scope, &name, key)?;
            let (text, value_span) = match self.value {
                Some(text) => (
                    text.to_string(),
                    self.source.text.len() - text.len()..self.source.text.len(),
                ),
                None => (text, value.span()),
            };
            let option = RawOption {
                key: name,
                key_span: Some(key.span()),
                value: text,
                value_span: Some(value_span),
                source: Some(self.source.clone()),
                secret: false,
                loose: false,
            };
            self.layer.options.push(Entry {
                scope: scope.clone(),
                option,
            });
        }
        Ok(())
    }

    fn check_key(&self, scope: &Scope, name: &str, key: Key) -> Result<(), Diagnostic> {
        match scope {
            Scope::Stream(stream) if OF_THE_APP.contains(&name) => {
                let error = Diagnostic::new(Code::UnknownOption, format!("'{name}' cannot be configured"));
                let hint =
                    format!("it decides what the other options of '{stream}' mean: write it into WITH in the app");
                Err(self.at(error.hint(hint), key))
            }
            Scope::Application if !APPLICATION_OPTIONS.contains(&name) => {
                let error = Diagnostic::new(Code::UnknownOption, format!("[application] has no option '{name}'"));
                let of_the_app = APP_OPTIONS.iter().map(|spec| spec.name);
                let known = || APPLICATION_OPTIONS.iter().copied().chain(of_the_app.clone());
                let error = match nearest(name, known()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!(
                        "it has: {}; options of one stream stand in [streams.Name]",
                        known().collect::<Vec<_>>().join(", ")
                    )),
                };
                Err(self.at(error, key))
            }
            _ => Ok(()),
        }
    }

    fn at(&self, error: Diagnostic, key: Key) -> Diagnostic {
        self.at_span(error, key.span())
    }

    fn at_span(&self, error: Diagnostic, span: std::ops::Range<usize>) -> Diagnostic {
        let mut error = error.at(span);
        error.source = Some(self.source.clone());
        error
    }
}

fn is_of_the_app(name: &str) -> bool {
    APP_OPTIONS.iter().any(|spec| spec.name == name)
}
