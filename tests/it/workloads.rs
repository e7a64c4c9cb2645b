//! The apps of `benches/apps`: what they give is what they gave, whatever comes from where.
//!
//! `BLESS=1 cargo test --test it workloads` writes the sums anew.

#[path = "../../examples/workload/app.rs"]
#[expect(dead_code, reason = "the list is for the command line")]
mod app;
#[path = "../../examples/workload/data.rs"]
mod data;
#[path = "../../examples/workload/measure.rs"]
mod measure;
#[path = "../../examples/workload/options.rs"]
mod options;

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Parser;
use serde_json::Value;

use crate::support::repository;

const EVENTS: &str = "5000";

fn run(name: &str, more: &[&str]) -> Value {
    let arguments = [
        "workload",
        name,
        "--events",
        EVENTS,
        "--runs",
        "1",
        "--set",
        "QUERIES=40",
    ];
    let options = options::Options::parse_from(arguments.iter().chain(more));
    measure::measure(name, &options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Rows and checksum.
fn sum(result: &Value) -> String {
    format!(
        "{} {}",
        result["rows_out"],
        result["checksum"].as_str().unwrap_or_default()
    )
}

#[test]
fn what_workloads_give() {
    let path = repository().join("tests/it/workloads.sums");
    let mut sums = BTreeMap::new();
    for (name, _) in app::all().unwrap() {
        sums.insert(name.clone(), sum(&run(&name, &[])));
    }
    let mut text = String::new();
    sums.iter()
        .for_each(|(name, sum)| writeln!(text, "{name} {sum}").unwrap());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, known, "BLESS=1 writes the sums anew");
}

#[test]
fn files_give_what_memory_gives() {
    for name in [
        "pass",
        "filter",
        "tumbling",
        "session",
        "running",
        "pattern",
        "nexmark/q0",
        "nexmark/q5",
        "nexmark/q22",
    ] {
        let memory = sum(&run(name, &[]));
        for input in ["ndjson", "csv"] {
            assert_eq!(sum(&run(name, &["--input", input])), memory, "{name} from {input}");
        }
    }
}

#[test]
fn threads_and_checkpoints_change_nothing() {
    let inline = sum(&run("partition", &[]));
    assert_eq!(sum(&run("partition", &["--parallelism", "2"])), inline);
    let more = ["--parallelism", "1", "--checkpoint", "5 ms"];
    assert_eq!(sum(&run("partition", &more)), inline);
}

#[test]
fn latency_is_of_every_row() {
    let result = run("project", &["--rate", "40000"]);
    assert_eq!(result["rows_out"].as_u64(), Some(4_500), "{result}");
    assert!(result["p50_us"].as_i64() <= result["max_us"].as_i64(), "{result}");
}
