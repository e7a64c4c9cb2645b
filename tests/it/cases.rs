//! The language cases: every file of `tests/cases/`, run as `eventflux test` runs it.

use eventflux::testing::run_path;

use super::support::repository;

#[test]
fn all_language_cases_pass() {
    let report = run_path(repository().join("tests/cases"));
    assert!(report.is_ok(), "{report}");
    // A folder that was moved or a runner that skips would pass, too.
    assert!(report.passed() > 200, "only {}", report.summary());
}

#[test]
fn every_file_of_cases_is_one_that_is_run() {
    for entry in std::fs::read_dir(repository().join("tests/cases")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".test.toml") || name.ends_with(".test.json"), "{name}");
    }
}
