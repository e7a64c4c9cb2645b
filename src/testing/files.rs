//! Case files: finding them, reading them, and saying what is wrong with them.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::case::{Case, CaseFile};
use crate::config::nearest::nearest;
use crate::error::SourceText;

/// The endings of case files.
const ENDINGS: [&str; 2] = [".test.toml", ".test.json"];

/// A path or file that cannot be used: no case of it has run.
#[derive(Debug, Clone)]
pub struct BadInput {
    /// The path.
    pub path: PathBuf,
    /// What is wrong, and where: as printed.
    pub message: String,
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A case that is ready to run.
#[derive(Debug)]
pub(super) struct ReadyCase {
    pub(super) file: PathBuf,
    /// The line of its name, where it can be told.
    pub(super) line: Option<usize>,
    pub(super) name: String,
    pub(super) app: SourceText,
    pub(super) case: Case,
}

/// The case files at a path, sorted: the file itself, or all below a directory.
pub(super) fn find(path: &Path) -> Result<Vec<PathBuf>, BadInput> {
    let bad = |path: &Path, reason: &dyn fmt::Display| BadInput {
        path: path.to_path_buf(),
        message: format!("{}: {reason}", path.display()),
    };
    let metadata = std::fs::metadata(path).map_err(|error| bad(path, &error))?;
    if !metadata.is_dir() {
        return match is_case_file(path) {
            true => Ok(vec![path.to_path_buf()]),
            false => Err(bad(path, &"a case file ends in .test.toml or .test.json")),
        };
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| bad(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| bad(&folder, &error))?;
            let kind = entry.file_type().map_err(|error| bad(&folder, &error))?;
            let path = entry.path();
            // A link to a folder is not followed: it may lead back up.
            if kind.is_dir() {
                folders.push(path);
            } else if is_case_file(&path) && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(bad(path, &"there is no *.test.toml or *.test.json below it"));
    }
    Ok(files)
}

fn is_case_file(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| ENDINGS.iter().any(|ending| name.to_string_lossy().ends_with(ending)))
}

/// Reads a case file, and the apps that it names.
pub(super) fn read(path: &Path) -> Result<Vec<ReadyCase>, BadInput> {
    let bad = |message: String| BadInput {
        path: path.to_path_buf(),
        message,
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(format!("{}: {error}", path.display())))?;
    let name = path.display().to_string();
    let parsed = match name.ends_with(".json") {
        true => serde_json::from_str::<CaseFile>(&text).map_err(|error| json_fault(&error, &text)),
        false => toml::from_str::<CaseFile>(&text)
            .map_err(|error| toml_fault(&error))
            .map(|mut file| {
                file.cases = file.cases.into_iter().map(Case::with_toml_nulls).collect();
                file
            }),
    };
    let file = parsed.map_err(|fault| bad(fault.render(&name, &text)))?;
    let CaseFile { app, sql, cases } = file;
    let mut ready = Vec::with_capacity(cases.len());
    for (index, case) in cases.into_iter().enumerate() {
        let name = case.name.clone().unwrap_or_else(|| format!("case {}", index + 1));
        let place = case.name.as_ref().and_then(|name| place_of(name, &text));
        let line = place.as_ref().map(|place| line_of(&text, place.start));
        let (own_app, own_sql) = match (&case.app, &case.sql) {
            (None, None) => (&app, &sql),
            (own_app, own_sql) => (own_app, own_sql),
        };
        let source = match (own_app, own_sql) {
            (None, Some(sql)) => Ok(SourceText::new(format!("{}, {name}", path.display()), sql.as_str())),
            (Some(app), None) => {
                let app = path.parent().unwrap_or(Path::new("")).join(app);
                match std::fs::read_to_string(&app) {
                    Ok(text) => Ok(SourceText::of_files([(app, text)])),
                    Err(error) => Err(format!("case '{name}': app {}: {error}", app.display())),
                }
            }
            (Some(_), Some(_)) => Err(format!("case '{name}' has both 'app' and 'sql'")),
            (None, None) => Err(format!(
                "case '{name}' has no app: give 'app' or 'sql', here or at the top of the file"
            )),
        };
        let source = source.and_then(|source| check_clock(&case, &name).map(|()| source));
        let app = source.map_err(|message| {
            bad(Fault {
                message,
                hint: None,
                place: place.clone(),
            }
            .render(&path.display().to_string(), &text))
        })?;
        ready.push(ReadyCase {
            file: path.to_path_buf(),
            line,
            name,
            app,
            case,
        });
    }
    Ok(ready)
}

/// The clock does not go back.
fn check_clock(case: &Case, name: &str) -> Result<(), String> {
    let mut now = 0;
    for (index, step) in case.steps.iter().enumerate() {
        let Some(at) = step.at else { continue };
        if at.0 < now {
            return Err(format!(
                "case '{name}', step {}: 'at' is before that of an earlier step",
                index + 1
            ));
        }
        if case.start.0.checked_add(at.0).is_none() {
            return Err(format!(
                "case '{name}', step {}: 'at' is past the end of time",
                index + 1
            ));
        }
        now = at.0;
    }
    Ok(())
}

/// What is wrong with a file's text.
struct Fault {
    message: String,
    hint: Option<String>,
    place: Option<Range<usize>>,
}

impl Fault {
    fn new(message: &str, place: Option<Range<usize>>) -> Self {
        let Some(unknown) = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'))
        else {
            return Fault {
                message: message.trim_end().to_string(),
                hint: None,
                place,
            };
        };
        let (key, rest) = unknown;
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let hint = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are: {}", known.join(", ")),
        };
        Fault {
            message: format!("unknown key '{key}'"),
            hint: Some(hint),
            place,
        }
    }

    /// `file:line:column: message`, the line with a caret, the hint.
    fn render(&self, file: &str, text: &str) -> String {
        let mut rendered = match &self.place {
            None => format!("{file}: {}", self.message),
            Some(place) => {
                let start = floor(text, place.start);
                let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
                let line = text[line_start..].lines().next().unwrap_or_default();
                let column = text[line_start..start].chars().count();
                let number = line_of(text, start).to_string();
                let end = floor(text, place.end).clamp(start, (line_start + line.len()).max(start));
                let width = text[start..end].chars().count().max(1);
                let gutter = " ".repeat(number.len());
                format!(
                    "{file}:{number}:{}: {}\n  {number} | {line}\n  {gutter} | {}{}",
                    column + 1,
                    self.message,
                    " ".repeat(column),
                    "^".repeat(width)
                )
            }
        };
        if let Some(hint) = &self.hint {
            rendered.push_str(&format!("\n  hint: {hint}"));
        }
        rendered
    }
}

/// The nearest place at or before `at` where a character starts.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn line_of(text: &str, at: usize) -> usize {
    text[..floor(text, at)].matches('\n').count() + 1
}

/// Where a case's name stands in the file.
fn place_of(name: &str, text: &str) -> Option<Range<usize>> {
    let quotes = [serde_json::Value::from(name).to_string(), format!("'{name}'")];
    let places = quotes
        .iter()
        .filter_map(|quoted| text.find(quoted).map(|at| at..at + quoted.len()));
    places.min_by_key(|place| place.start)
}

fn toml_fault(error: &toml::de::Error) -> Fault {
    Fault::new(error.message(), error.span())
}

fn json_fault(error: &serde_json::Error, text: &str) -> Fault {
    let message = error.to_string();
    let message = message
        .rfind(" at line ")
        .map_or(message.as_str(), |end| &message[..end]);
    let line_start = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let at = floor(text, line_start + error.column().saturating_sub(1));
    // After an unknown key or a wrong value the reader stands behind it.
    let place = match message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    {
        Some((key, _)) => text[..floor(text, at + 1)]
            .rfind(key)
            .map(|start| start..start + key.len()),
        None => None,
    };
    Fault::new(message, Some(place.unwrap_or(at..at + 1)))
}
