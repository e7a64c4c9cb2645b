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

/// The page of a relation in Chromium, headless.
#[test]
fn a_browser_shows_the_rows_a_filter_and_every_change() {
    let there = |name: &&&str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let (Some(chromium), Ok(folder)) = (["chromium", "google-chrome"].iter().find(there), installed()) else {
        println!("skipped: there is no Chromium, or no node");
        return;
    };
    let path = Command::new("which").arg(chromium).output().unwrap().stdout;
    let served = Served::start();
    served.put("IBM", 5, 75.5);
    served.put("ACME", 1, 120.0);
    served.has_rows(2);
    let output = Command::new("node")
        .args([
            "browser.mjs",
            String::from_utf8_lossy(&path).trim(),
            &format!("http://{}", served.address),
        ])
        .current_dir(&folder)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let expected = "rows: ACME 1, IBM 5\nfiltered: ACME 1\none enters: ACME 1, IBM 5\none changes: ACME 2, IBM 5\none leaves: IBM 5\n";
    assert_eq!(shown, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
