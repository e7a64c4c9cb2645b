//! The apps of `benches/apps`: their SQL, with the variables in it filled in.

use std::path::PathBuf;

use super::options::Failure;

/// What of Nexmark is no app, and why.
pub const INEXPRESSIBLE: &[(&str, &str)] = &[(
    "nexmark/q6",
    "the last ten of an aggregate that changes: OVER goes through a stream in the order of its time",
)];

/// Statements that `QUERIES` repeats.
const REPEATED: &str = "queries";

/// An app.
pub struct Workload {
    /// Its SQL, in which only `DATA` and `FORMAT` are variables still.
    pub sql: String,
    /// The streams that are read, and the names of their files without their ends.
    pub streams: Vec<(String, String)>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/apps")
}

/// The names of all, with the first lines of their texts.
pub fn all() -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for (prefix, folder) in [("", folder()), ("nexmark/", folder().join("nexmark"))] {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let text = std::fs::read_to_string(&path)?;
                let doc = text.lines().next().unwrap_or_default().trim_start_matches("-- ");
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                all.push((format!("{prefix}{stem}"), doc.to_string()));
            }
        }
    }
    // q2 before q10.
    all.sort_by_key(|(name, _)| {
        (
            name.trim_end_matches(|c: char| c.is_ascii_digit()).to_string(),
            name.len(),
            name.clone(),
        )
    });
    Ok(all)
}

impl Workload {
    /// Reads an app, and fills in what is set as NAME=VALUE, or else the values that it says itself.
    pub fn read(name: &str, set: &[String]) -> Result<Self, Failure> {
        let path = folder().join(format!("{name}.sql"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}; `list` names all"))?;
        let set: Vec<(&str, &str)> = set.iter().filter_map(|one| one.split_once('=')).collect();
        let value = |name: &str| {
            set.iter()
                .rev()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        let text = match name {
            REPEATED => repeated(&text, value("QUERIES").map_or(Ok(1_000), str::parse)?)?,
            _ => text,
        };
        let sql = filled(&text, &|name, default| match name {
            "DATA" | "FORMAT" => None,
            name => Some(value(name).unwrap_or(default).to_string()),
        });
        let streams = streams(&sql);
        Ok(Workload { sql, streams })
    }

    /// The SQL over files of a folder.
    pub fn over(&self, folder: &str, format: &str) -> String {
        filled(&self.sql, &|name, default| match name {
            "DATA" => Some(folder.to_string()),
            "FORMAT" => Some(format.to_string()),
            _ => Some(default.to_string()),
        })
    }
}

/// The last statement so often, with another number in the place of `N`.
fn repeated(text: &str, times: usize) -> Result<String, Failure> {
    let (before, last) = text.trim_end().rsplit_once("\n\n").ok_or("no last statement")?;
    let statements: Vec<String> = (0..times)
        .map(|number| filled(last, &|name, _| (name == "N").then(|| number.to_string())))
        .collect();
    Ok(format!("{before}\n\n{}\n", statements.join("\n")))
}

/// Puts values in the place of `${NAME:default}`; `None` leaves it.
fn filled(text: &str, value: &dyn Fn(&str, &str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((variable, behind)) = after.split_once('}') else {
            break;
        };
        let (name, default) = variable.split_once(':').unwrap_or((variable, ""));
        out.push_str(before);
        match value(name, default) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&format!("${{{variable}}}")),
        }
        rest = behind;
    }
    out + rest
}

/// The source streams and the stems of their files.
fn streams(sql: &str) -> Vec<(String, String)> {
    let statements = sql.split("CREATE STREAM ").skip(1);
    let found = statements.filter_map(|statement| {
        let name = statement.split([' ', '(']).next()?;
        let (_, path) = statement.split_once("}/")?;
        let (stem, _) = path.split_once(".$")?;
        Some((name.to_string(), stem.to_string()))
    });
    found.collect()
}
