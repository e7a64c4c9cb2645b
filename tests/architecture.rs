//! The invariants of `docs/architecture.md` that can be checked by reading the source.
//!
//! What is checked is the code: comments and test code (`#[cfg(test)] mod …`, files called `tests.rs`, what they share) are left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file of ours.
const MAX_LINES: usize = 800;

/// What each module of `src/` may use of the others; a path allows only that part.
const LAYERS: &[(&str, &[&str])] = &[
    ("redaction", &[]),
    ("error", &["event", "redaction"]),
    ("event", &["error"]),
    ("config", &["error", "event"]),
    ("catalog", &["config", "error", "event"]),
    // Windows are operators of their own family: the two are one layer.
    ("operators", &["catalog", "error", "event", "tables", "windows"]),
    ("windows", &["catalog", "error", "event", "operators"]),
    ("patterns", &["catalog", "error", "event", "operators", "windows"]),
    // Values are compared as patterns do.
    (
        "row_patterns",
        &["catalog", "error", "event", "operators", "patterns::columns", "windows"],
    ),
    (
        "tables",
        &["catalog", "config", "error", "event", "formats", "operators::state"],
    ),
    ("formats", &["catalog", "config", "error", "event"]),
    ("connectors", &["catalog", "config", "error", "event", "formats"]),
    (
        "plan",
        &[
            "catalog",
            "config",
            "connectors",
            "error",
            "event",
            "formats",
            "operators",
            "patterns",
            "row_patterns",
            "tables",
            "windows",
        ],
    ),
    (
        "runtime",
        &[
            "catalog",
            "connectors",
            "error",
            "event",
            "formats",
            "operators",
            "plan::stream_plan",
            "tables",
        ],
    ),
    (
        "recovery",
        &[
            "config::checkpoints",
            "config::s3",
            "connectors",
            "error",
            "event",
            "operators::state",
            "plan::fingerprint",
            "runtime::snapshot",
        ],
    ),
    (
        "app",
        &[
            "catalog",
            "config",
            "connectors",
            "error",
            "event",
            "formats",
            "operators::state",
            "plan",
            "recovery",
            "runtime",
            "tables",
        ],
    ),
    (
        "testing",
        &["app", "catalog", "config", "error", "event", "formats", "runtime"],
    ),
    // Above the app: nothing but the command line uses it.
    (
        "server",
        &[
            "app",
            "catalog",
            "config",
            "connectors::http",
            "error",
            "event",
            "formats",
            "plan::claims",
            "plan::row_filter",
            "runtime::metrics",
            "tables::watch",
        ],
    ),
];

struct Source {
    path: PathBuf,
    /// From the root of the repository.
    name: String,
    /// Without comments and test code.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![root.join("src"), root.join("vendor/eventflux-sqlparser/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a file");
                let name = path.strip_prefix(root).expect("a file of ours").display().to_string();
                sources.push(Source {
                    code: code(&name, &text),
                    lines: text.lines().count(),
                    name,
                    path,
                });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 100, "the source has moved");
    sources
}

/// A file's code without comments and tests.
fn code(name: &str, text: &str) -> String {
    let shared_by_tests = ["src/formats/testing.rs", "src/connectors/testing.rs", "src/watched.rs"];
    if shared_by_tests.contains(&name) || name.ends_with("/tests.rs") || name.contains("/tests/") {
        return String::new();
    }
    // Tests stand at the end of a file.
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = code.split("#[cfg(test)]\npub").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The top module of a file of `src/`: `event` of `src/event/clock.rs` and of `src/event.rs`.
fn module(source: &Source) -> Option<&str> {
    let name = source.name.strip_prefix("src/")?;
    Some(name.split('/').next().unwrap_or(name).trim_end_matches(".rs"))
}

/// The paths after `crate::` in a file, at most two names long.
fn uses(code: &str) -> BTreeSet<String> {
    let mut uses = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let heads: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
                .collect(),
            None => vec![rest],
        };
        for head in heads {
            let path: String = head
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                .collect();
            uses.insert(path.split("::").take(2).collect::<Vec<_>>().join("::"));
        }
    }
    uses
}

/// Files, but those in `except`, that contain one of the texts.
fn containing(sources: &[Source], texts: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !except.contains(&source.name.as_str())) {
        let texts = texts.iter().filter(|text| source.code.contains(**text));
        found.extend(texts.map(|text| format!("{}: {text}", source.name)));
    }
    found
}

fn of(module_names: &[&str]) -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| module(source).is_some_and(|name| module_names.contains(&name)));
    assert!(!sources.is_empty(), "{module_names:?} has moved");
    sources
}

fn assert_none(found: Vec<String>, why: &str) {
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

#[test]
fn modules_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((own, allowed)) = LAYERS.iter().find(|(name, _)| module(&source) == Some(name)) else {
            continue;
        };
        for used in uses(&source.code) {
            let head = used.split("::").next().unwrap_or_default();
            if head != *own && !allowed.contains(&head) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", source.name));
            }
        }
    }
    assert_none(wrong, "a module uses what is not below it");
}

#[test]
fn operators_and_the_compiler_do_no_io_and_see_no_clock() {
    let io = [
        "std::fs",
        "std::net",
        "std::io",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "Mutex",
        "RwLock",
        "crossbeam",
        "parking_lot",
        "async ",
        "println!",
        "dbg!",
    ];
    assert_none(
        containing(&of(&["operators", "patterns", "plan", "catalog"]), &io, &[]),
        "IO, threads, locks or a clock",
    );
    assert_none(
        containing(&of(&["event"]), &io, &["src/event/clock.rs"]),
        "IO, threads, locks or a clock",
    );
}

#[test]
fn the_sql_engine_underneath_stays_in_the_compiler_and_the_operators() {
    let engine = ["datafusion_", "sqlparser::"];
    // The one conversion of its errors; functions of embedders; durations in option values.
    let except = ["src/error.rs", "src/app/builder.rs", "src/config/duration.rs"];
    let others = of(&[
        "error",
        "event",
        "config",
        "formats",
        "connectors",
        "runtime",
        "app",
        "testing",
        "cli",
    ]);
    assert_none(containing(&others, &engine, &except), "uses the SQL engine underneath");
    assert_none(
        containing(&of(&["operators", "patterns"]), &["sqlparser"], &[]),
        "an operator that knows SQL text",
    );
}

#[test]
fn the_dialect_depends_on_sqlparser_only() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/eventflux-sqlparser/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).expect("a manifest").parse().expect("TOML");
    let dependencies: Vec<&String> = manifest["dependencies"].as_table().expect("a table").keys().collect();
    assert_eq!(dependencies, ["sqlparser"]);
}

#[test]
fn syntax_trees_are_walked_by_the_one_compiled_visitor() {
    let own_walk = [
        "Visit::visit(",
        "VisitMut::visit(",
        "visit_expressions(",
        "visit_expressions_mut(",
    ];
    let found = containing(&of(&["plan"]), &own_walk, &[]);
    assert_none(
        found,
        "sqlparser's walk is compiled for every visitor: use eventflux_sqlparser::walk",
    );
}

#[test]
fn nothing_panics_on_purpose() {
    let panics = [
        ".unwrap()",
        ".expect(\"",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "unreachable!(",
    ];
    assert_none(
        containing(&sources(), &panics, &[]),
        "return an error, or make it impossible by a type",
    );
}

#[test]
fn every_channel_is_bounded() {
    let unbounded = ["unbounded(", "mpsc::channel("];
    assert_none(
        containing(&sources(), &unbounded, &[]),
        "a channel without back-pressure",
    );
}

#[test]
fn unsafe_code_calls_the_operating_system_and_nothing_else() {
    let mut wrong = Vec::new();
    for source in sources() {
        let blocks = source.code.matches("unsafe {").count();
        let reasons = fs::read_to_string(&source.path)
            .expect("a file")
            .matches("// SAFETY:")
            .count();
        // Signal handlers are registered with the operating system, too.
        let system = source.code.contains("libc::") || source.code.contains("signal_hook::low_level::");
        if blocks > 0 && (!system || reasons < blocks) {
            wrong.push(source.name);
        }
    }
    assert_none(wrong, "unsafe code that calls no system, or without its reason");
}

#[test]
fn rows_are_not_printed_past_the_sinks() {
    let prints = ["println!", "print!(", "dbg!"];
    assert_none(containing(&sources(), &prints, &["src/cli/test.rs"]), "prints");
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = sources().into_iter().filter(|source| source.lines > MAX_LINES);
    let long = long.map(|source| format!("{}: {} lines", source.name, source.lines));
    assert_none(long.collect(), "split it by what it does");
}

/// Every package of the tree has a licence that `deny.toml` allows.
#[test]
fn every_dependency_may_be_shipped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules: toml::Table = fs::read_to_string(root.join("deny.toml"))
        .expect("deny.toml")
        .parse()
        .expect("TOML");
    let allowed = rules["licenses"]["allow"].as_array().expect("a list");
    let allowed: Vec<&str> = allowed.iter().filter_map(toml::Value::as_str).collect();
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .expect("cargo");
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 100);
    let bad = packages.iter().filter(|package| {
        let licence = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
        !permits(&licence, &allowed)
    });
    let bad = bad.map(|package| format!("{}: {}", package["name"], package["license"]));
    assert_none(bad.collect(), "a licence that is not allowed");
}

/// Whether an SPDX expression can be met with the allowed licences. AND binds tighter than OR.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.trim();
    // Brackets are only ever around one side of an AND: `(MIT OR Apache-2.0) AND Unicode-3.0`.
    if let Some((inner, rest)) = expression.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        let rest = rest.trim().trim_start_matches("AND");
        return permits(inner, allowed) && (rest.is_empty() || permits(rest, allowed));
    }
    let all = |side: &str| side.split(" AND ").all(|licence| allowed.contains(&licence.trim()));
    expression.split(" OR ").any(all)
}
