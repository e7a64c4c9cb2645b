//! The examples and what their READMEs say: every app runs, every command shown does what is shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::{Finished, Running, Scratch, repository};

/// Every example, so that a new one is not forgotten here.
const TESTED: &[&str] = &["datagen", "error-handling", "follow", "quickstart", "stdin"];

/// Those that need a cargo feature.
const OPTIONAL: &[(&str, bool)] = &[("materialize", cfg!(feature = "materialize"))];

#[test]
fn every_example_is_tested_and_has_a_readme() {
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(repository().join("examples")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().join("app.sql").is_file() {
            assert!(
                entry.path().join("README.md").is_file(),
                "{:?} has no README.md",
                entry.path()
            );
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found.sort();
    let optional = OPTIONAL.iter().map(|(example, _)| *example);
    let mut tested: Vec<&str> = TESTED.iter().copied().chain(optional).collect();
    tested.sort_unstable();
    assert_eq!(found, tested);
}

#[test]
fn every_example_validates_and_explains() {
    let built = OPTIONAL.iter().filter(|(_, built)| *built).map(|(example, _)| example);
    for example in TESTED.iter().chain(built) {
        let scratch = Scratch::copy_of(&format!("examples/{example}"));
        let validated = scratch.run(["validate", "app.sql"]).code(0);
        assert!(validated.stdout.starts_with("ok: "), "{validated:?}");
        assert_eq!(validated.stderr, "");
        scratch.run(["explain", "app.sql"]).code(0);
    }
}

/// The lines of a file that are trades: what the engine must make of them, told by other code.
fn trades() -> Vec<Value> {
    let text = std::fs::read_to_string(repository().join("examples/quickstart/trades.ndjson")).unwrap();
    let values = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter(|trade| trade["price"].is_number()).collect()
}

/// The same for quotes: time, symbol, bid and ask.
fn quotes() -> Vec<(String, String, f64, f64)> {
    let text = std::fs::read_to_string(repository().join("examples/quickstart/quotes.csv")).unwrap();
    let quote = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [ts, symbol, bid, ask] = cells.as_slice() else {
            return None;
        };
        Some((ts.to_string(), symbol.to_string(), bid.parse().ok()?, ask.parse().ok()?))
    };
    text.lines().skip(1).filter_map(quote).collect()
}

#[test]
fn quickstart_gives_exactly_what_its_data_hold() {
    let scratch = Scratch::copy_of("examples/quickstart");
    let finished = scratch.run(["run", "app.sql", "--stats", "stats.json"]).code(0);

    let large: Vec<Value> = trades()
        .iter()
        .filter_map(|trade| {
            let amount = trade["price"].as_f64()? * trade["volume"].as_f64()?;
            let row = json!({ "symbol": trade["symbol"], "price": trade["price"], "volume": trade["volume"],
                "amount": amount, "ts": trade["ts"] });
            (amount >= 250_000.0).then_some(row)
        })
        .collect();
    let written = scratch.lines("out/large-trades.ndjson");
    let written: Vec<Value> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written, large);

    let millions = large
        .iter()
        .filter(|row| row["amount"].as_f64() >= Some(1_000_000.0))
        .map(|row| {
            let (ts, symbol) = (row["ts"].as_str().unwrap(), row["symbol"].as_str().unwrap());
            format!(
                "query_1 {ts} symbol={symbol} amount={:?}",
                row["amount"].as_f64().unwrap().round()
            )
        });
    let low = quotes()
        .into_iter()
        .filter(|(_, symbol, bid, _)| symbol == "HOOLI" && *bid < 1227.0);
    let low = low.map(|(ts, symbol, bid, ask)| {
        let spread = (10_000.0 * (ask - bid) / bid * 10.0).round() / 10.0;
        format!("query_2 {ts} symbol={symbol} bid={bid:?} ask={ask:?} spread_bps={spread:?}")
    });
    // The two queries are independent: each keeps its order, which of them is first is open.
    let of = |query: &str| {
        finished
            .stdout
            .lines()
            .filter(|line| line.starts_with(query))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("query_1"), millions.collect::<Vec<_>>());
    assert_eq!(of("query_2"), low.collect::<Vec<_>>());
    assert_eq!(
        of("query_1").len() + of("query_2").len(),
        finished.stdout.lines().count()
    );

    // The three bad lines: where, why, and what they are.
    assert_eq!(finished.stderr.lines().count(), 3, "{}", finished.stderr);
    for (line, raw) in [
        ("line=201", "n/a"),
        ("line=701", "\\\"volu"),
        ("line=401", "one hundred"),
    ] {
        let told = finished
            .stderr
            .lines()
            .any(|text| text.contains(line) && text.contains(raw));
        assert!(told, "no {line} with {raw} in {}", finished.stderr);
    }
    let stats: Value = serde_json::from_str(&scratch.read("stats.json")).unwrap();
    assert_eq!(stats["events_in"], json!(trades().len() + quotes().len()));
    assert_eq!(stats["errors"], json!({ "decode": 3 }));

    // Another run writes the same anew.
    scratch.run(["run", "app.sql"]).code(0);
    assert_eq!(scratch.lines("out/large-trades.ndjson").len(), large.len());
}

#[test]
fn datagen_makes_the_same_rows_every_time() {
    let scratch = Scratch::copy_of("examples/datagen");
    // All but the time of arrival.
    let rows = |finished: Finished| -> Vec<String> {
        let rows = finished
            .stdout
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.to_string());
        rows.collect()
    };
    let first = rows(scratch.run(["run", "app.sql"]).code(0));
    assert!(
        !first.is_empty() && first.iter().all(|row| row.starts_with("id=")),
        "{first:?}"
    );
    assert_eq!(rows(scratch.run(["run", "app.sql"]).code(0)), first);

    let more = scratch
        .run(["run", "app.sql", "--set", "streams.Orders.rows=10000", "--stats", "-"])
        .code(0);
    assert_eq!(more.json()["events_in"], json!(10_000));
    let (more, _stats) = more
        .stdout
        .trim_end()
        .rsplit_once('\n')
        .map(|(rows, stats)| (rows.to_string(), stats))
        .unwrap();
    let more: Vec<&str> = more.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(more[..first.len()], first);
}

#[test]
fn stdin_prints_what_matters() {
    let scratch = Scratch::copy_of("examples/stdin");
    let finished = scratch.pipe(["run", "app.sql"], &scratch.read("logs.ndjson")).code(0);
    let rows: Vec<&str> = finished
        .stdout
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(
        rows,
        ["service=db msg=\"disk full\"", "service=? msg=\"out of memory\""]
    );
    assert_eq!(finished.stderr, "");
}

#[test]
fn what_is_wrong_with_orders_is_kept_and_read_again() {
    let scratch = Scratch::copy_of("examples/error-handling");
    scratch.run(["run", "app.sql"]).code(0);
    let averages = "id,customer,per_item\n1,ann,9\n5,eve,4\n7,gus,15\n";
    assert_eq!(scratch.read("out/averages.csv"), averages);
    assert_eq!(scratch.lines("out/dead.ndjson").len(), 4);
    let replayed = scratch.run(["run", "replay.sql"]).code(0);
    assert!(
        replayed.stdout.ends_with(" id=3 customer=cleo items=2\n"),
        "{replayed:?}"
    );
    let left = scratch.lines("out/for-people.csv");
    let reasons: Vec<&str> = left.iter().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(reasons.len(), 4);
    assert_eq!(reasons[3], "division by zero");
}

#[test]
fn follow_goes_on_until_it_is_stopped() {
    let scratch = Scratch::copy_of("examples/follow");
    let mut running = Running::start(scratch.eventflux(["run", "app.sql"]).stdin(Stdio::null()));
    assert!(running.wait_for_lines(1)[0].ends_with("path=/cart status=503"));
    scratch.append("requests.ndjson", "{\"path\":\"/pay\",\"status\":500,\"ms\":900.5}\n");
    assert!(running.wait_for_lines(2)[1].ends_with("path=/pay status=500"));
    running.signal(libc::SIGINT);
    running.end().code(0);
    assert_eq!(scratch.read("out/slow.csv"), "path,ms\n/search,431.0\n/pay,900.5\n");
}

#[test]
fn the_embedding_example_runs() {
    let target = Path::new(env!("CARGO_BIN_EXE_eventflux")).ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(repository())
        .args(["run", "--quiet", "--offline", "--example", "embed", "--target-dir"]);
    cargo.arg(target);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "iterator: roof has 94.1 °F",
        "iterator: attic has 87.8 °F",
        "async stream: 3 alerts",
        "stats: Alerts#2 took 4 rows and gave 3",
        "inline: 3 is odd",
        "inline: 4 is even",
    ] {
        assert!(text.lines().any(|given| given == line), "no {line:?} in:\n{text}");
    }
}

/// A command of a `console` block, and the output shown below it.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands of a README that are shown at a prompt, `$ …`.
fn shown(readme: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => inside = language == "console",
            None if !inside => {}
            None => match line.strip_prefix("$ ") {
                Some(command) => shown.push(Shown {
                    command: command.to_string(),
                    output: Vec::new(),
                }),
                None => shown.last_mut().unwrap().output.push(line.to_string()),
            },
        }
    }
    shown
}

/// Runs a shell command where `eventflux` is the binary under test.
fn shell(scratch: &Scratch, command: &str) -> Finished {
    let binaries = Path::new(env!("CARGO_BIN_EXE_eventflux")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("PATH", path)
        .current_dir(scratch.directory());
    shell.env_remove("RUST_LOG").stdin(Stdio::null());
    Running::start(&mut shell).end()
}

#[test]
fn commands_in_readmes_do_what_is_shown() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for example in TESTED {
        let scratch = Scratch::new();
        scratch.copy("examples", "examples");
        for Shown { command, output } in shown(&scratch.read(&format!("examples/{example}/README.md"))) {
            let finished = shell(&scratch, &command).code(0);
            *seen.entry(example).or_default() += 1;
            if !output.is_empty() {
                // Independent queries print side by side: the lines, whatever their order.
                let mut printed: Vec<&str> = finished.stdout.lines().collect();
                let mut output: Vec<&str> = output.iter().map(String::as_str).collect();
                printed.sort_unstable();
                output.sort_unstable();
                assert_eq!(printed, output, "{example}: {command}");
            }
        }
    }
    assert!(seen.contains_key("quickstart"), "{seen:?}");
}

#[test]
fn the_readmes_commands_name_what_is_there() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let mut run = 0;
    for command in readme
        .lines()
        .filter_map(|line| line.strip_prefix("cargo run --release -- "))
    {
        // Of the commands of all examples only `app.sql` alone stands for the reader's own file.
        if command.contains('/') {
            let scratch = Scratch::new();
            scratch.copy("examples", "examples");
            scratch.run(command.split_whitespace()).code(0);
            run += 1;
        }
    }
    assert!(run > 0);
    assert!(repository().join("scripts/test").is_file());
}
