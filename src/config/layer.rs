//! One layer of the configuration: the options that a file, the environment or a setting gives.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::app_options::{APP_OPTIONS, APPLICATION_OPTIONS, of_the_app};
use super::nearest::nearest;
use super::options::RawOption;
use super::server::SERVER_OPTIONS;
use crate::error::{Code, Diagnostic, SourceText};

/// The options of a layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) options: Vec<Entry>,
    /// Streams and tables that are named, with the place of the name. Also those without options.
    pub(super) named: Vec<Named>,
    /// Files to be read before this one, as written.
    pub(super) includes: Vec<(String, Range<usize>)>,
}

impl Layer {
    /// The options of the scopes that are meant.
    pub(super) fn options_of(&self, is_it: impl Fn(&Scope) -> bool) -> Vec<&RawOption> {
        let entries = self.options.iter().filter(|entry| is_it(&entry.scope));
        entries.map(|entry| &entry.option).collect()
    }

    /// The streams, or the tables, that are named.
    pub(super) fn names_of(&self, owner: Owner) -> impl Iterator<Item = (&str, &Diagnostic)> {
        let named = self.named.iter().filter(move |named| named.owner == owner);
        named.map(|named| (named.name.as_str(), &named.unknown))
    }
}

/// A stream or a table that is named.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) owner: Owner,
    pub(super) name: String,
    /// What is wrong if the app has none of that name, at the place of the name.
    pub(super) unknown: Diagnostic,
}

/// What has options and a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Stream,
    Table,
}

impl Owner {
    /// As one is called.
    pub(super) fn singular(self) -> &'static str {
        match self {
            Owner::Stream => "stream",
            Owner::Table => "table",
        }
    }

    /// As the table of their options is called.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Owner::Stream => "streams",
            Owner::Table => "tables",
        }
    }
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
    /// The HTTP server.
    Server,
    /// A stream or a table, by its name.
    Of(Owner, String),
    /// A stream or a table, by its name in whatever case: environment variables have but one.
    AnyCase(Owner, String),
}

impl Scope {
    /// Whether an option of this scope is for the stream, or the table, of that name.
    pub(super) fn is_of(&self, owner: Owner, called: &str) -> bool {
        match self {
            Scope::Of(kind, name) => *kind == owner && name == called,
            Scope::AnyCase(kind, name) => *kind == owner && name.eq_ignore_ascii_case(called),
            Scope::Application | Scope::App | Scope::Server => false,
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
                ("server", DeValue::Table(options)) => self.options(&Scope::Server, "", options)?,
                ("streams", DeValue::Table(streams)) => self.owners(Owner::Stream, streams)?,
                ("tables", DeValue::Table(tables)) => self.owners(Owner::Table, tables)?,
                ("include", value) if self.value.is_none() => self.includes(key, value)?,
                ("application" | "server" | "streams" | "tables", _) => {
                    let error = Diagnostic::new(Code::Syntax, format!("'{}' is a table", key.get_ref()));
                    return Err(self.at(
                        error.hint("write [application], [server], [streams.Name] or [tables.Name]"),
                        key,
                    ));
                }
                (unknown, _) => {
                    let error = Diagnostic::new(Code::UnknownOption, format!("the configuration has no '{unknown}'"));
                    let error = match nearest(unknown, ["application", "server", "streams", "tables", "include"]) {
                        Some(near) => error.hint(format!("did you mean '{near}'?")),
                        None => error.hint("it has: [application], [server], [streams.Name], [tables.Name], [include]"),
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

    /// `[streams]` or `[tables]`.
    fn owners(&mut self, owner: Owner, named: &DeTable) -> Result<(), Diagnostic> {
        named.iter().try_for_each(|(key, value)| self.owner(owner, key, value))
    }

    /// `[streams.Name]` or `[tables.Name]`.
    fn owner(&mut self, owner: Owner, key: Key, value: &Spanned<DeValue>) -> Result<(), Diagnostic> {
        let (name, kin) = (key.get_ref().to_string(), owner.plural());
        let DeValue::Table(options) = value.get_ref() else {
            let error = Diagnostic::new(Code::Syntax, format!("'{kin}.{name}' is a table of options"));
            return Err(self.at(error.hint(format!("write [{kin}.{name}], then option = value")), key));
        };
        let message = format!("the app has no {} '{name}'", owner.singular());
        let unknown = self.at(Diagnostic::new(Code::UnknownStream, message), key);
        self.layer.named.push(Named {
            owner,
            name: name.clone(),
            unknown,
        });
        self.options(&Scope::Of(owner, name), "", options)
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
                DeValue::Array(items) if *scope == Scope::Server && SERVER_LISTS.contains(&name.as_str()) => {
                    self.list(&name, items, value.span())?
                }
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

    /// A list of texts as one, as it may be written, too: `a, b`.
    fn list(&self, name: &str, items: &DeArray, span: Range<usize>) -> Result<String, Diagnostic> {
        let text = |item: &Spanned<DeValue>| match item.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        };
        let texts: Option<Vec<String>> = items.iter().map(text).collect();
        texts.map(|texts| texts.join(", ")).ok_or_else(|| {
            let error = Diagnostic::new(Code::OptionValue, format!("option '{name}' is a list of texts"));
            self.at_span(error, span)
        })
    }

    fn check_key(&self, scope: &Scope, name: &str, key: Key) -> Result<(), Diagnostic> {
        match scope {
            Scope::Of(_, owner) => match of_the_app(name, owner) {
                Some(why) => Err(self.at(not_configured(name).hint(why), key)),
                None => Ok(()),
            },
            Scope::Server if !SERVER_OPTIONS.iter().any(|spec| spec.name == name) => {
                Err(self.at(unknown_of_server(name), key))
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

/// The options of the server that are lists.
const SERVER_LISTS: &[&str] = &["expose", "publish", "cors.origins", "triggers.allowed-hosts"];

/// That the server has no such option.
pub(super) fn unknown_of_server(name: &str) -> Diagnostic {
    let error = Diagnostic::new(Code::UnknownOption, format!("[server] has no option '{name}'"));
    let known = || SERVER_OPTIONS.iter().map(|spec| spec.name);
    match nearest(name, known()) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!("it has: {}", known().collect::<Vec<_>>().join(", "))),
    }
}

/// That an option stands in the app alone.
pub(super) fn not_configured(name: &str) -> Diagnostic {
    Diagnostic::new(Code::UnknownOption, format!("'{name}' cannot be configured"))
}

fn is_of_the_app(name: &str) -> bool {
    APP_OPTIONS.iter().any(|spec| spec.name == name)
}
