//! Configuration layers: what stands outside the app and completes it.
//!
//! An option of a stream or a table comes from the first of these that gives it:
//! 1. WITH in the app,
//! 2. `--set streams.Name.option=value` or `--set tables.Name.option=value`, the last one first,
//! 3. the environment, `EVENTFLUX__STREAMS__NAME__OPTION` or `EVENTFLUX__TABLES__NAME__OPTION`,
//! 4. `[streams.Name]` or `[tables.Name]` of the configuration files, the last file first, each before those it includes,
//! 5. of streams: `--set application.option=value`, then `EVENTFLUX__APPLICATION__OPTION`, then `[application]` of the files,
//! 6. the option's default.
//!
//! Keys are the options' names as in WITH; nested tables and dotted keys are the same. `type`, `extension` and `format` belong
//! to the app: they decide what the other options mean. So does `id`, which says what is whose saved state.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::app_options::{MAX_PARALLELISM, PARALLELISM};
use super::layer::{self, Entry, Layer, Owner, Scope};
use super::nearest::nearest;
use super::options::RawOption;
use crate::error::{Code, Diagnostic, Error, Result, SourceText};

/// Option values from configuration files, the environment and the command line.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// From `--set`, each a layer of its own, in the order given.
    sets: Vec<Layer>,
    /// From environment variables.
    environment: Option<Layer>,
    /// From files, in the order given.
    files: Vec<Layer>,
}

/// Files that include files that include files: no deeper than this.
const MOST_DEEP: usize = 16;

impl Layers {
    /// Adds a TOML file, which is stronger than the files added before. What it includes is a little weaker than itself.
    pub fn file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        self.add_file(path.as_ref(), &mut Vec::new(), true)?;
        Ok(self)
    }

    /// Adds a TOML file that several apps share: streams and tables it names need not be the app's.
    pub fn shared_file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        self.add_file(path.as_ref(), &mut Vec::new(), false)?;
        Ok(self)
    }

    /// `within`: the files that include this one.
    fn add_file(&mut self, path: &Path, within: &mut Vec<PathBuf>, own: bool) -> Result<()> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
        let source = SourceText::of_files([(path, text)]);
        let mut layer = parse(&source)?;
        within.push(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()));
        for (included, span) in std::mem::take(&mut layer.includes) {
            let full = path.parent().unwrap_or(Path::new("")).join(&included);
            let absolute = full.canonicalize().unwrap_or_else(|_| full.clone());
            let problem = match () {
                () if within.contains(&absolute) => Some("includes itself"),
                () if within.len() >= MOST_DEEP => Some("is included too deeply"),
                () if !full.is_file() => Some("is not there"),
                () => None,
            };
            if let Some(problem) = problem {
                let mut error = Diagnostic::new(Code::OptionValue, format!("the file '{included}' {problem}")).at(span);
                error.source = Some(source.clone());
                return Err(error.hint("a relative path starts where this file is").into());
            }
            self.add_file(&full, within, own)?;
        }
        within.pop();
        if !own {
            layer.named.clear();
        }
        self.files.push(layer);
        Ok(())
    }

    /// Adds a TOML text, which is stronger than the files added before. It includes nothing.
    pub fn toml(mut self, source: SourceText) -> Result<Self, Diagnostic> {
        let layer = parse(&source)?;
        if let Some((_, span)) = layer.includes.first() {
            let mut error = Diagnostic::new(Code::OptionValue, "only files include files").at(span.clone());
            error.source = Some(source);
            return Err(error);
        }
        self.files.push(layer);
        Ok(self)
    }

    /// Takes in environment variables: `EVENTFLUX__APPLICATION__STATE__TTL` is `application.state.ttl`. Two underscores stand
    /// for a dot, one for the hyphen of an option's name; the case of a stream's or table's name does not matter. They are stronger than all files
    /// and weaker than what is set. Variables of other names are not looked at.
    pub fn environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Result<Self, Diagnostic> {
        self.environment = Some(super::layer_environment::layer(variables)?);
        Ok(self)
    }

    /// Adds `streams.Name.option=value`, `tables.Name.option=value` or `application.option=value`, which is stronger than all files and what was set
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
        let layer = layer::read(&source, table.get_ref(), Some(value))?;
        if layer.options.is_empty() {
            return Err(wrong("this names no option"));
        }
        self.sets.push(layer);
        Ok(self)
    }

    /// The options for a stream, strongest layer first.
    pub fn of_stream<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Vec<&'a RawOption>> {
        let shared = self.strongest_first();
        let shared = shared.map(move |layer| layer.options_of(|scope| *scope == Scope::Application));
        self.of(Owner::Stream, name).chain(shared)
    }

    /// The options for a table, strongest layer first.
    pub fn of_table<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Vec<&'a RawOption>> {
        self.of(Owner::Table, name)
    }

    fn of<'a>(&'a self, owner: Owner, name: &'a str) -> impl Iterator<Item = Vec<&'a RawOption>> {
        self.strongest_first()
            .map(move |layer| layer.options_of(|scope| scope.is_of(owner, name)))
    }

    fn strongest_first(&self) -> impl Iterator<Item = &Layer> {
        let outside = self.sets.iter().rev().chain(&self.environment);
        outside.chain(self.files.iter().rev())
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
        let is_it = |entry: &&Entry| entry.scope == Scope::App && entry.option.key == key;
        self.strongest_first()
            .find_map(|layer| layer.options.iter().find(is_it).map(|entry| &entry.option))
    }

    /// An option of the server, from the strongest layer that has it.
    pub fn of_server(&self, key: &str) -> Option<&RawOption> {
        let is_it = |entry: &&Entry| entry.scope == Scope::Server && entry.option.key == key;
        self.strongest_first()
            .find_map(|layer| layer.options.iter().find(is_it).map(|entry| &entry.option))
    }

    /// All options of the server, each from the strongest layer that has it.
    pub fn all_of_server(&self) -> Vec<&RawOption> {
        let mut all: Vec<&RawOption> = Vec::new();
        for layer in self.strongest_first() {
            for option in layer.options_of(|scope| *scope == Scope::Server) {
                if !all.iter().any(|known| known.key == option.key) {
                    all.push(option);
                }
            }
        }
        all
    }

    /// Checks that all streams that are named exist.
    pub fn check_streams<'a>(&self, known: impl Iterator<Item = &'a str>) -> Result<(), Diagnostic> {
        self.check(Owner::Stream, known.collect())
    }

    /// Checks that all tables that are named exist.
    pub fn check_tables<'a>(&self, known: impl Iterator<Item = &'a str>) -> Result<(), Diagnostic> {
        self.check(Owner::Table, known.collect())
    }

    fn check(&self, owner: Owner, known: BTreeSet<&str>) -> Result<(), Diagnostic> {
        let environment = self.environment.iter().flat_map(|layer| layer.names_of(owner));
        for (name, error) in environment {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(error.clone());
            }
        }
        let named = self
            .files
            .iter()
            .chain(&self.sets)
            .flat_map(|layer| layer.names_of(owner));
        for (name, error) in named {
            if !known.contains(name) {
                return Err(match nearest(name, known.iter().copied()) {
                    Some(near) => error.clone().hint(format!("did you mean '{near}'?")),
                    None if known.is_empty() => error.clone().hint(format!("it has no {} at all", owner.plural())),
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

fn parse(source: &SourceText) -> Result<Layer, Diagnostic> {
    let table = DeTable::parse(&source.text).map_err(|error| {
        let mut diagnostic = Diagnostic::new(Code::Syntax, error.message().to_string());
        diagnostic.span = error.span();
        diagnostic.source = Some(source.clone());
        diagnostic
    })?;
    layer::read(source, table.get_ref(), None)
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
