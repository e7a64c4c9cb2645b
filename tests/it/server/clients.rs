//! The clients that people use: npm packages, run by node, if it and they can be had.

use std::path::PathBuf;
use std::process::Command;

use super::Served;
use crate::support::repository;

/// Where the packages are installed: outside of the tree, and kept.
fn folder() -> PathBuf {
    std::env::temp_dir().join("eventflux-test-clients")
}

/// Why the clients cannot be run.
fn installed() -> Result<PathBuf, String> {
    let node = Command::new("node").arg("--version").output();
    if !node.is_ok_and(|output| output.status.success()) {
        return Err("there is no node".to_string());
    }
    let folder = folder();
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "scenario.mjs", "browser.mjs"] {
        let from = repository().join("tests/clients").join(file);
        std::fs::copy(from, folder.join(file)).map_err(|error| error.to_string())?;
    }
    if folder.join("node_modules/playwright-core").is_dir() {
        return Ok(folder);
    }
    let install = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--silent"])
        .current_dir(&folder)
        .output();
    match install {
        Ok(output) if output.status.success() => Ok(folder),
        Ok(output) => Err(format!(
            "npm install: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("there is no npm: {error}")),
    }
}

#[test]
fn clients_of_npm_see_the_rows_and_every_change() {
    let folder = match installed() {
        Ok(folder) => folder,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    for client in [
        "graphql-ws",
        "subscriptions-transport-ws",
        "graphql-sse",
        "apollo",
        "urql",
        "eventsource",
    ] {
        let served = Served::start();
        served.put("IBM", 5, 75.5);
        served.put("ACME", 1, 120.0);
        served.has_rows(2);
        let output = Command::new("node")
            .args(["scenario.mjs", client, &format!("http://{}", served.address)])
            .current_dir(&folder)
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&output.stdout);
        let inserted = match client {
            "eventsource" => "symbol,qty",
            _ => "symbol,qty,price,at",
        };
        let expected = format!(
            "INSERT ACME 1 [{inserted}]\nUPDATE ACME 2 [qty,at]\nINSERT IBM 5 [{inserted}]\nDELETE ACME null []\n"
        );
        assert_eq!(seen, expected, "{client}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The browser, its scripts, or why there is none.
fn chromium() -> Option<(String, PathBuf)> {
    let there = |name: &&&str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let (Some(chromium), Ok(folder)) = (["chromium", "google-chrome"].iter().find(there), installed()) else {
        println!("skipped: there is no Chromium, or no node");
        return None;
    };
    let path = Command::new("which").arg(chromium).output().unwrap().stdout;
    Some((String::from_utf8_lossy(&path).trim().to_string(), folder))
}

/// What the page shows of the same changes, wherever they come from.
const SHOWN: &str =
    "rows: ACME 1, IBM 5\nfiltered: ACME 1\none enters: ACME 1, IBM 5\none changes: ACME 2, IBM 5\none leaves: IBM 5\n";

/// The page of a relation in Chromium, headless.
#[test]
fn a_browser_shows_the_rows_a_filter_and_every_change() {
    let Some((chromium, folder)) = chromium() else {
        return;
    };
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.put("ACME", 1, 120.0);
    served.has_rows(2);
    let output = Command::new("node")
        .args(["browser.mjs", &chromium, &format!("http://{}", served.address)])
        .current_dir(&folder)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown, SHOWN, "{}", String::from_utf8_lossy(&output.stderr));
}

/// The same of a view of Materialize, which changes there.
#[cfg(feature = "materialize")]
#[test]
fn a_browser_shows_a_view_of_materialize() {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use crate::emulators::materialize::Emulator;
    use crate::emulators::world::{Row, row};

    let Some((chromium, folder)) = chromium() else {
        return;
    };
    let emulator = Emulator::start(0, None).unwrap();
    let world = &emulator.world;
    world.create("positions", &[("symbol", 25), ("qty", 20), ("price", 701)]);
    let mut known: BTreeMap<String, Row> = BTreeMap::new();
    let mut put = |symbol: &str, qty: &str, price: &str| {
        let new = row(&[symbol, qty, price]);
        let old = known.insert(symbol.to_string(), new.clone());
        let changes: Vec<(Row, i64)> = old.into_iter().map(|old| (old, -1)).chain([(new, 1)]).collect();
        world.write("positions", &changes);
    };
    put("IBM", "5", "75.5");
    put("ACME", "1", "120");
    let sql = format!(
        "CREATE STREAM positions (symbol STRING PRIMARY KEY, qty LONG, price DOUBLE)
         WITH (type = 'source', extension = 'materialize', \"materialize.url\" = '{}', relation = 'positions');",
        emulator.url()
    );
    let served = Served::of(&sql, &["expose=positions", "publish="]);
    let mut browser = Command::new("node")
        .args(["browser.mjs", &chromium, &format!("http://{}", served.address), "told"])
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = String::new();
    for line in BufReader::new(browser.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["put", symbol, qty, price] => put(symbol, qty, price),
            _ => shown += &format!("{line}\n"),
        }
    }
    assert!(browser.wait().unwrap().success());
    assert_eq!(shown, SHOWN);
}
