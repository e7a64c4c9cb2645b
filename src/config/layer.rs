//! One layer of the configuration: the options that a file, the environment or a setting gives.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::access::is_claim;
use super::app_options::{APP_OPTIONS, APPLICATION_OPTIONS, of_the_app};
use super::nearest::nearest;
use super::options::{OptionSpec, RawOption};
use super::server::{server_option, server_options};
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
                    self.says_something(scope, &name, key, inner.is_empty())?;
                    self.options(scope, &name, inner)?;
                    continue;
                }
                DeValue::Array(items) if *scope == Scope::Server && name == KEYS => {
                    self.says_something(scope, &name, key, items.is_empty())?;
                    self.api_keys(items, value.span())?;
                    continue;
                }
                claim if *scope == Scope::Server && is_claim(&name) => self.claim(&name, claim, value.span())?,
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_string(),
                DeValue::Float(number) => number.as_str().to_string(),
                DeValue::Boolean(boolean) => boolean.to_string(),
                DeValue::Datetime(time) => time.to_string(),
                DeValue::Array(items)
                    if *scope == Scope::Server && server_option(&name).is_some_and(|spec| spec.list) =>
                {
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

    /// Refuses an empty table of who may do what: that it is there says that not everybody may everything, and nothing else says so.
    fn says_something(&self, scope: &Scope, name: &str, key: Key, is_empty: bool) -> Result<(), Diagnostic> {
        if *scope != Scope::Server || !is_empty || name.split('.').next() != Some("auth") {
            return Ok(());
        }
        let error = Diagnostic::new(Code::MissingOption, format!("[server.{name}] is empty"));
        Err(self.at(
            error.hint("say who may sign in, or leave it out: then everybody may do everything"),
            key,
        ))
    }

    /// `[[server.auth.keys]]`: each is a table of options under its name.
    fn api_keys(&mut self, items: &DeArray, span: Range<usize>) -> Result<(), Diagnostic> {
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                let error = Diagnostic::new(Code::Syntax, format!("'{KEYS}' is a list of tables"));
                return Err(self.at_span(error.hint("write [[server.auth.keys]]"), span));
            };
            let Some(DeValue::String(name)) = table.get("name").map(Spanned::get_ref) else {
                let error = Diagnostic::new(Code::MissingOption, "an API key has a name");
                return Err(self.at_span(error.hint("add name = \"…\" to [[server.auth.keys]]"), item.span()));
            };
            let prefix = format!("{KEYS}.{name}");
            if self
                .layer
                .options
                .iter()
                .any(|known| known.option.key.starts_with(&format!("{prefix}.")))
            {
                let error = Diagnostic::new(Code::Duplicate, format!("there is an API key '{name}' already"));
                return Err(self.at_span(error, item.span()));
            }
            let mut rest = table.clone();
            rest.remove("name");
            if rest.is_empty() {
                let error = Diagnostic::new(
                    Code::MissingOption,
                    format!("the API key '{name}' has neither 'key' nor 'sha256'"),
                );
                return Err(self.at_span(error.hint("such as key = \"${API_KEY}\""), item.span()));
            }
            self.options(&Scope::Server, &prefix, &rest)?;
        }
        Ok(())
    }

    /// A claim of an API key, as JSON: its type is the claim's.
    fn claim(&self, name: &str, value: &DeValue, span: Range<usize>) -> Result<String, Diagnostic> {
        match json(value) {
            Some(value) => Ok(value.to_string()),
            None => {
                let message = format!("'{name}' is a text, number, boolean, or a list of these");
                Err(self.at_span(Diagnostic::new(Code::OptionValue, message), span))
            }
        }
    }

    fn check_key(&self, scope: &Scope, name: &str, key: Key) -> Result<(), Diagnostic> {
        match scope {
            Scope::Of(_, owner) => match of_the_app(name, owner) {
                Some(why) => Err(self.at(not_configured(name).hint(why), key)),
                None => Ok(()),
            },
            Scope::Server if server_option(name).is_none() => Err(self.at(unknown_of_server(name), key)),
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

/// Where the API keys are.
const KEYS: &str = "auth.keys";

/// A value of a claim.
fn json(value: &DeValue) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => serde_json::Value::from(text.as_ref()),
        DeValue::Boolean(boolean) => serde_json::Value::from(*boolean),
        DeValue::Integer(number) if number.radix() == 10 => {
            serde_json::Value::from(number.as_str().replace('_', "").parse::<i64>().ok()?)
        }
        DeValue::Float(number) => serde_json::Value::from(number.as_str().replace('_', "").parse::<f64>().ok()?),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json(item.get_ref()));
            serde_json::Value::Array(items.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// That the server has no such option.
pub(super) fn unknown_of_server(name: &str) -> Diagnostic {
    let error = Diagnostic::new(Code::UnknownOption, format!("[server] has no option '{name}'"));
    // What any name may stand in is known by its last part.
    let begins = |spec: &&OptionSpec| spec.name.split('<').next().is_some_and(|first| name.starts_with(first));
    let of_named = server_options().filter(|spec| spec.has_placeholder()).filter(begins);
    let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let parts: Vec<&str> = of_named.map(|spec| last(spec.name)).collect();
    if !parts.is_empty() {
        let own = name.rsplit('.').next().unwrap_or(name);
        return match nearest(own, parts.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("there are: {}", parts.join(", "))),
        };
    }
    let known = || server_options().map(|spec| spec.name);
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
