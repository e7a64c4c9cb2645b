//! The language cases of tables hold whatever keeps the tables.

use std::path::Path;

use eventflux::testing::run_path;
use serde_json::{Value, json};

#[cfg(feature = "postgres")]
use super::server::Server;
use crate::support::repository;

/// The files of cases that are about tables.
const FILES: &[&str] = &["table.test.json", "on_demand.test.json"];

/// Runs the cases with `options` behind every CREATE TABLE; these are given a number of the case and the table's name.
fn hold(backend: &str, ordered: bool, options: impl Fn(usize, &str) -> String) {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, file) in FILES.iter().enumerate() {
        let text = std::fs::read_to_string(repository().join("tests/cases").join(file)).expect("the cases");
        let mut cases: Value = serde_json::from_str(&text).expect("JSON");
        let list = cases["case"].as_array_mut().expect("a list of cases");
        for (index, case) in list.iter_mut().enumerate() {
            let sql = case["sql"].as_str().expect("SQL").to_string();
            case["sql"] = json!(kept_elsewhere(&sql, |table| options(number * 1_000 + index, table)));
            if !ordered {
                let expected = case["expect"].as_array_mut().into_iter().flatten();
                expected.for_each(|expected| expected["unordered"] = json!(true));
            }
        }
        let path = folder.path().join(format!("{number}_{backend}.test.json"));
        std::fs::write(&path, cases.to_string()).expect("written");
        let report = run_path(Path::new(&path));
        assert!(report.is_ok(), "{backend}: {report}");
        assert!(report.passed() >= 4, "{backend}: only {}", report.summary());
    }
}

/// The SQL with options for its tables, each of which is declared on a line of its own.
fn kept_elsewhere(sql: &str, options: impl Fn(&str) -> String) -> String {
    let line = |line: &str| {
        let Some(declared) = line.strip_prefix("CREATE TABLE ") else {
            return line.to_string();
        };
        let name = declared.split([' ', '(']).next().unwrap_or_default();
        match line.strip_suffix(");") {
            Some(line) => format!("{line}) WITH ({});", options(name)),
            None => line.to_string(),
        }
    };
    sql.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn in_a_cache() {
    hold("cache", true, |_, _| "extension = 'cache', max_size = 1000".to_string());
}

#[cfg(feature = "sqlite")]
#[test]
fn in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |case: usize| folder.path().join(format!("{case}.db")).display().to_string();
    hold("sqlite", true, |case, _| {
        format!("extension = 'sqlite', path = '{}'", path(case))
    });
}

#[cfg(feature = "postgres")]
#[test]
fn in_postgres() {
    let url = Server::shared().url();
    hold("postgres", false, |case, table| {
        format!(
            "extension = 'postgres', url = '{url}', table = 'case_{case}_{}'",
            table.to_lowercase()
        )
    });
}
