//! Configuration layers: what stands outside the app and completes it.
//!
//! An option of a stream comes from the first of these that gives it:
//! 1. WITH in the app,
//! 2. `--set streams.Name.option=value`, the last one first,
//! 3. `[streams.Name]` of the configuration files, the last file first,
//! 4. `--set application.option=value`, then `[application]` of the files,
//! 5. the option's default.
//!
//! Keys are the options' names as in WITH; nested tables and dotted keys are the same. `type`, `extension` and `format` belong
//! to the app: they decide what the other options mean.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::checkpoints::CHECKPOINT_OPTIONS;
use super::nearest::nearest;
use super::options::RawOption;
use crate::error::{Code, Diagnostic, Error, Result, SourceText};

/// Options that an app's streams share: what `[application]` may hold.
pub const APPLICATION_OPTIONS: &[&str] = &["error.strategy", "idle.timeout", "state.ttl"];

/// Options of the app itself: what else `[application]` may hold.
const APP_OPTIONS: &[&str] = &[
    CHECKPOINT_OPTIONS[0],
    CHECKPOINT_OPTIONS[1],
    CHECKPOINT_OPTIONS[2],
    CHECKPOINT_OPTIONS[3],
    CHECKPOINT_OPTIONS[4],
    PARALLELISM,
    PATTERN_INSTANCES,
    PATTERN_OVERFLOW,
];

/// On how many threads the keys of partitions are worked off.
const PARALLELISM: &str = "parallelism";

/// How many attempts at a pattern may be open, of patterns that do not say it.
pub const PATTERN_INSTANCES: &str = "pattern.max_instances";

/// What happens to those beyond.
pub const PATTERN_OVERFLOW: &str = "pattern.overflow";

/// How many threads that may be.
pub const MAX_PARALLELISM: usize = 256;

/// What decides the meaning of other options, and so cannot be configured.
const OF_THE_APP: &[&str] = &["type", "extension", "format"];

/// Option values from configuration files and the command line.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// From `--set`, each a layer of its own, in the order given.
    sets: Vec<Layer>,
    /// From files, in the order given.
    files: Vec<Layer>,
}

#[derive(Debug, Clone, Default)]
struct Layer {
    options: Vec<Entry>,
    /// Streams that are named, with the place of the name. Also those without options.
    streams: Vec<(String, Diagnostic)>,
}

#[derive(Debug, Clone)]
struct Entry {
    scope: Scope,
    option: RawOption,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// What streams share.
    Application,
    /// The app itself.
    App,
    Stream(String),
}

impl Layers {
    /// Adds a TOML file, which is stronger than the files added before.
    pub fn file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
        Ok(self.toml(SourceText::of_files([(path, text)]))?)
    }

    /// Adds a TOML text, which is stronger than the files added before.
    pub fn toml(mut self, source: SourceText) -> Result<Self, Diagnostic> {
        self.files.push(read(&source)?);
        Ok(self)
    }

    /// Adds `streams.Name.option=value` or `application.option=value`, which is stronger than all files and what was set
    /// before.
    pub fn set(mut self, assignment: &str) -> Result<Self, Diagnostic> {
        let source = SourceText::new("--set", assignment);
        let wrong = |message: &str| {
            let mut error = Diagnostic::new(Code::Syntax, message)
                .at(0..assignment.len())
                .hint("write --set streams.Trades.file.path=trades.json");
            error.source = Some(source.clone());
            error
        };
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(wrong("a setting needs a value"));
        };
        // Keys follow TOML's rules, so that names with dots can be quoted; the value is taken as it is.
        let document = format!("{key} = 0");
        let Ok(table) = DeTable::parse(&document) else {
            return Err(wrong("this is not a dotted key"));
        };
        let mut layer = Layer::default();
        let mut reader = Reader {
            source: &source,
            value: Some(value),
            layer: &mut layer,
        };
        reader.document(table.get_ref())?;
        if layer.options.is_empty() {
            return Err(wrong("this names no option"));
        }
        self.sets.push(layer);
        Ok(self)
    }

    /// The options for a stream, strongest layer first.
    pub fn of_stream(&self, name: &str) -> impl Iterator<Item = Vec<&RawOption>> {
        let of = |scope: Scope| {
            let layers = self.sets.iter().rev().chain(self.files.iter().rev());
            layers.map(move |layer| {
                let entries = layer.options.iter().filter(|entry| entry.scope == scope);
                entries.map(|entry| &entry.option).collect()
            })
        };
        of(Scope::Stream(name.to_string())).chain(of(Scope::Application))
    }

    /// On how many threads the keys of partitions are worked off, if that is configured.
    pub fn parallelism(&self) -> Result<Option<usize>, Diagnostic> {
        let Some(option) = self.of_app(PARALLELISM) else {
            return Ok(None);
        };
        let threads = option.value.parse::<usize>();
        match threads.ok().filter(|threads| (1..=MAX_PARALLELISM).contains(threads)) {
            Some(threads) => Ok(Some(threads)),
            None => {
                let what = format!("a number from 1 to {MAX_PARALLELISM}");
                Err(wrong_value(option, &what).hint("such as the number of cores"))
            }
        }
    }

    /// An option of the app itself, from the strongest layer that has it.
    pub fn of_app(&self, key: &str) -> Option<&RawOption> {
        let mut layers = self.sets.iter().rev().chain(self.files.iter().rev());
        let is_it = |entry: &&Entry| entry.scope == Scope::App && entry.option.key == key;
        layers.find_map(|layer| layer.options.iter().find(is_it).map(|entry| &entry.option))
    }

    /// Checks that all streams that are named exist.
    pub fn check_streams<'a>(&self, known: impl Iterator<Item = &'a str>) -> Result<(), Diagnostic> {
        let known: BTreeSet<&str> = known.collect();
        let named = self.files.iter().chain(&self.sets).flat_map(|layer| &layer.streams);
        for (name, error) in named {
            if !known.contains(name.as_str()) {
                return Err(match nearest(name, known.iter().copied()) {
                    Some(near) => error.clone().hint(format!("did you mean '{near}'?")),
                    None => error.clone().hint(format!(
                        "there are: {}",
                        known.into_iter().collect::<Vec<_>>().join(", ")
                    )),
                });
            }
        }
        Ok(())
    }
}

/// That an option's value is not what it must be.
pub fn wrong_value(option: &RawOption, what: &str) -> Diagnostic {
    let mut error = Diagnostic::new(Code::OptionValue, format!("'{}' is {what}", option.key));
    error.span = option.value_span.clone();
    error.source = option.source.clone();
    error
}

fn read(source: &SourceText) -> Result<Layer, Diagnostic> {
    let table = DeTable::parse(&source.text).map_err(|error| {
        let mut diagnostic = Diagnostic::new(Code::Syntax, error.message().to_string());
        diagnostic.span = error.span();
        diagnostic.source = Some(source.clone());
        diagnostic
    })?;
    let mut layer = Layer::default();
    Reader {
        source,
        value: None,
        layer: &mut layer,
    }
    .document(table.get_ref())?;
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
                ("application" | "streams", _) => {
                    let error = Diagnostic::new(Code::Syntax, format!("'{}' is a table", key.get_ref()));
                    return Err(self.at(error.hint("write [application] or [streams.Name]"), key));
                }
                (unknown, _) => {
                    let error = Diagnostic::new(Code::UnknownOption, format!("the configuration has no '{unknown}'"));
                    let error = match nearest(unknown, ["application", "streams"]) {
                        Some(near) => error.hint(format!("did you mean '{near}'?")),
                        None => error.hint("it has: [application], [streams.Name]"),
                    };
                    return Err(self.at(error, key));
                }
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
                Scope::Application if APP_OPTIONS.contains(&name.as_str()) => &Scope::App,
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
                let known = || APPLICATION_OPTIONS.iter().chain(APP_OPTIONS).copied();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn values(layers: &Layers, stream: &str) -> Vec<String> {
        let options = layers.of_stream(stream).flatten();
        options
            .map(|option| format!("{}={}", option.key, option.value))
            .collect()
    }

    #[test]
    fn strongest_first() {
        let layers = Layers::default()
            .toml(SourceText::new(
                "a.toml",
                "[application]\nerror.strategy = 'fail'\n[streams.S.file]\npath = 'a'",
            ))
            .unwrap()
            .toml(SourceText::new(
                "b.toml",
                "streams.S = { 'file.path' = 'b', poll = 5, follow = true }",
            ))
            .unwrap()
            .set("streams.S.path=c=d")
            .unwrap()
            .set("application.idle.timeout=5 s")
            .unwrap()
            .set("streams.\"T.x\".path=e")
            .unwrap();
        assert_eq!(
            values(&layers, "S"),
            [
                "path=c=d",
                "file.path=b",
                "follow=true",
                "poll=5",
                "file.path=a",
                "idle.timeout=5 s",
                "error.strategy=fail"
            ]
        );
        assert_eq!(values(&layers, "T.x")[0], "path=e");
        assert!(layers.check_streams(["S", "T.x"].into_iter()).is_ok());
        let error = layers.check_streams(["S", "T.xx"].into_iter()).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref()),
            ("the app has no stream 'T.x'", Some("did you mean 'T.xx'?"))
        );
    }

    #[test]
    fn parallelism_is_the_apps() {
        let file = |text: &str| Layers::default().toml(SourceText::new("c.toml", text)).unwrap();
        assert_eq!(Layers::default().parallelism().unwrap(), None);
        let layers = file("[application]\nparallelism = 2\nidle.timeout = '5 s'");
        assert_eq!(layers.parallelism().unwrap(), Some(2));
        assert_eq!(values(&layers, "S"), ["idle.timeout=5 s"]);
        let layers = layers.set("application.parallelism=4").unwrap();
        assert_eq!(layers.parallelism().unwrap(), Some(4));
        for wrong in ["0", "'many'", "257", "-1"] {
            let error = file(&format!("application.parallelism = {wrong}"))
                .parallelism()
                .unwrap_err();
            assert_eq!(error.message, "'parallelism' is a number from 1 to 256");
            assert_eq!(error.place().unwrap().line, 1);
        }
    }

    #[test]
    fn errors_name_file_line_and_cure() {
        let cases = [
            ("x = ", "", "1:", ""),
            (
                "[stream.S]\n",
                "the configuration has no 'stream'",
                "1:2",
                "did you mean 'streams'?",
            ),
            (
                "[application]\nidle.timeot = 5",
                "[application] has no option 'idle.timeot'",
                "2:6",
                "did you mean 'idle.timeout'?",
            ),
            (
                "[streams.S]\n\nformat = 'csv'",
                "'format' cannot be configured",
                "3:1",
                "it decides what",
            ),
            (
                "streams.S = 5",
                "'streams.S' is a table of options",
                "1:9",
                "write [streams.S]",
            ),
            (
                "[streams.S]\npath = ['a']",
                "option 'path' is one text, number or boolean",
                "2:8",
                "write it in quotes",
            ),
        ];
        for (text, message, place, hint) in cases {
            let error = Layers::default().toml(SourceText::new("c.toml", text)).unwrap_err();
            let found = error.place().unwrap();
            assert_eq!(found.file, "c.toml", "{text}");
            assert!(
                format!("{}:{}", found.line, found.column).starts_with(place),
                "{text}: {found:?}"
            );
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.hint.clone().unwrap_or_default().contains(hint), "{text}");
        }
        for (set, message) in [
            ("streams.S.path", "a setting needs a value"),
            ("streams..=5", "this is not a dotted key"),
            ("application=5", "'application' is a table"),
            ("streams.S=5", "'streams.S' is a table of options"),
            ("streams.S.type=sink", "'type' cannot be configured"),
        ] {
            assert_eq!(Layers::default().set(set).unwrap_err().message, message, "{set}");
        }
    }
}
