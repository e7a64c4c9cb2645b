//! The book is true: every example of `docs/` and `README.md` runs, every link leads somewhere, and the reference pages say what
//! the code says.
//!
//! # Examples
//! A page is read from top to bottom, in a scratch directory with a copy of `examples/` in it. The words after the three
//! backticks say what a block is:
//!
//! | block | what is done with it |
//! |---|---|
//! | `LANGUAGE NAME` where NAME has a dot | It is written to the file NAME. |
//! | `sql`, or `sql NAME` | It is written to `app.sql`, or NAME, and must compile with nothing connected. |
//! | `sql NAME fails` | It is written to NAME, and must not compile by itself. |
//! | `sql,fragment` | Nothing: a piece of syntax that is no app. The text beside it says why. |
//! | `text output` | The app above it is run; its standard output must be this. |
//! | `text error` | The app above it must not compile, and this is what is printed. |
//! | `console` | Lines that begin with `$ ` are run by a shell; each must print what follows it. |
//! | `rust` | Compiled by rustdoc, where `src/lib.rs` includes the page. |
//!
//! `unordered` after `output` or `console` compares lines in any order. In expected text `…` stands for any text within a line, and
//! alone on a line for any lines. Other blocks are only text.
//!
//! `BLESS=1 cargo test --test docs` writes into the pages what really comes out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use eventflux::catalog::functions::Functions;
use eventflux::config::options::OptionSpec;
use eventflux::connectors::Registry;
use eventflux::event::{Clock, SystemClock};
use eventflux::tables::registry::Backends;
use eventflux::{Error, EventFlux};

#[path = "docs/reference.rs"]
mod reference;

/// How long one example may run.
const DEADLINE: Duration = Duration::from_secs(60);

/// Written between the outputs of the commands of one `console` block.
const MARK: &str = "--8<-- end of command --8<--";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and all pages of the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the book") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fenced block of a page.
struct Block<'a> {
    /// The words after the backticks.
    info: Vec<&'a str>,
    text: &'a str,
    range: Range<usize>,
    line: usize,
}

impl Block<'_> {
    fn is(&self, language: &str, kind: &str) -> bool {
        self.info.first() == Some(&language) && self.info.get(1).copied().unwrap_or_default() == kind
    }

    fn unordered(&self) -> bool {
        self.info.contains(&"unordered")
    }

    /// The file that the block is written to.
    fn file(&self) -> Option<&str> {
        match self.info.as_slice() {
            ["sql"] => Some("app.sql"),
            [_, name, ..] if name.contains('.') => Some(name),
            _ => None,
        }
    }
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(Vec<&str>, usize, usize)> = None;
    let mut offset = 0;
    for (number, line) in page.split_inclusive('\n').enumerate() {
        if let Some(info) = line.trim_end().strip_prefix("```") {
            open = match open.take() {
                None => Some((info.split_whitespace().collect(), offset + line.len(), number + 1)),
                Some((info, start, line)) => {
                    let (text, range) = (&page[start..offset], start..offset);
                    blocks.push(Block {
                        info,
                        text,
                        range,
                        line,
                    });
                    None
                }
            };
        }
        offset += line.len();
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The page without its blocks and inline code.
fn prose(page: &str) -> String {
    let mut text = String::new();
    let mut at = 0;
    for block in blocks(page) {
        text.push_str(&page[at..block.range.start]);
        at = block.range.end;
    }
    text.push_str(&page[at..]);
    text.split('`').step_by(2).collect()
}

/// Runs the examples of a page; what is wrong with them.
struct Examples<'a> {
    page: &'a Path,
    scratch: tempfile::TempDir,
    app: String,
    wrong: Vec<String>,
    /// What the blocks should say.
    blessed: Vec<(Range<usize>, String)>,
}

impl Examples<'_> {
    fn run(&mut self, page: &str) {
        let blocks = blocks(page);
        for (index, block) in blocks.iter().enumerate() {
            let fails = block.info.ends_with(&["fails"]);
            let shown = blocks.get(index + 1).is_some_and(|next| next.is("text", "error"));
            if let Some(name) = block.file() {
                let path = self.scratch.path().join(name);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of the page");
                fs::write(path, block.text).expect("a file of the page");
                if block.info[0] == "sql" {
                    self.app = name.to_string();
                    if !shown {
                        self.compile(block, fails);
                    }
                }
            } else if block.is("text", "output") {
                self.compare(block, block.range.clone(), block.text, &self.output());
            } else if block.is("text", "error") {
                self.compare(
                    block,
                    block.range.clone(),
                    block.text,
                    &self.shell(&format!("eventflux validate {}", self.app)),
                );
            } else if block.info.first() == Some(&"console") {
                self.console(block);
            }
        }
    }

    fn complain(&mut self, block: &Block, what: &str) {
        self.wrong.push(format!("{}:{}: {what}", shown(self.page), block.line));
    }

    fn compile(&mut self, block: &Block, fails: bool) {
        let path = self.scratch.path().join(&self.app);
        let built = EventFlux::builder()
            .files([path])
            .and_then(|builder| builder.disconnected().build());
        if let (Ok(_), true) = (&built, fails) {
            self.complain(block, "compiles");
        } else if let (Err(error), false) = (&built, fails) {
            let text = match error {
                Error::Compile(diagnostic) => diagnostic.render(eventflux::error::Colour::Never),
                other => other.to_string(),
            };
            self.complain(block, &format!("does not compile\n{text}"));
        }
    }

    /// The standard output of the app.
    fn output(&self) -> String {
        self.shell(&format!("eventflux run {} 2>errors || cat errors", self.app))
    }

    fn console(&mut self, block: &Block) {
        let mut commands: Vec<(String, Range<usize>)> = Vec::new();
        let mut at = block.range.start;
        for line in block.text.split_inclusive('\n') {
            let continued = commands
                .last()
                .is_some_and(|(command, expected)| command.ends_with("\\\n") && expected.is_empty());
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_string(), at + line.len()..at + line.len())),
                (None, Some((command, expected))) if continued => {
                    command.push_str(line);
                    *expected = at + line.len()..at + line.len();
                }
                (None, Some((_, expected))) => expected.end = at + line.len(),
                (None, None) => self.complain(block, "begins without a command"),
            }
            at += line.len();
        }
        let keep_status = format!("status=$?; printf '\\n%s\\n' '{MARK}'; (exit $status)\n");
        let script: String = commands
            .iter()
            .map(|(command, _)| format!("{command}{keep_status}"))
            .collect();
        let printed = self.shell(&script);
        for ((_, expected), printed) in commands.iter().zip(printed.split(MARK)) {
            let text = &block.text[expected.start - block.range.start..expected.end - block.range.start];
            self.compare(block, expected.clone(), text, printed);
        }
    }

    fn compare(&mut self, block: &Block, place: Range<usize>, expected: &str, printed: &str) {
        let (want, got) = (lines(expected), lines(printed));
        let same = match block.unordered() {
            true => same_in_any_order(&want, got.clone()),
            false => same_lines(&want, &got),
        };
        if !same {
            let printed = got.join("\n");
            self.complain(block, &format!("expected\n{}\nbut it is\n{printed}\n", want.join("\n")));
            let blessed = got.iter().map(|line| format!("{}\n", without_now(line)));
            self.blessed.push((place, blessed.collect()));
        }
    }

    /// What a shell script prints in the scratch directory.
    fn shell(&self, script: &str) -> String {
        let printed = self.scratch.path().join(".printed");
        let out = File::create(&printed).expect("a scratch file");
        let binary = Path::new(env!("CARGO_BIN_EXE_eventflux"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("sh")
            .args(["-c", script])
            .current_dir(self.scratch.path())
            .env(
                "PATH",
                format!("{}:{path}", binary.parent().expect("its directory").display()),
            )
            .env_remove("RUST_LOG")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a scratch file"))
            .stderr(out)
            .spawn()
            .expect("a shell");
        let began = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            if began.elapsed() > DEADLINE {
                // With all that it has started.
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                return format!("still running after {} s", DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        read(&printed)
    }
}

/// The lines of a text without blanks at their ends and blank lines around them.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .skip_while(|line| line.is_empty())
        .collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

/// The line with `…` for a time of today that it begins with.
fn without_now(line: &str) -> String {
    let today = chrono::Utc::now().format("%Y-%m-%dT").to_string();
    match line.split_once(' ') {
        Some((time, rest)) if time.starts_with(&today) => format!("… {rest}"),
        _ => line.to_string(),
    }
}

fn same_lines(want: &[&str], got: &[&str]) -> bool {
    match (want, got) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=got.len()).any(|skipped| same_lines(rest, &got[skipped..])),
        ([want, want_rest @ ..], [got, got_rest @ ..]) => same_line(want, got) && same_lines(want_rest, got_rest),
        _ => false,
    }
}

fn same_line(want: &str, got: &str) -> bool {
    let mut parts = want.split('…');
    let Some(mut rest) = parts.next().and_then(|first| got.strip_prefix(first)) else {
        return false;
    };
    let mut open_end = false;
    for part in parts {
        open_end = part.is_empty();
        let Some(found) = (if open_end { Some(0) } else { rest.rfind(part) }) else {
            return false;
        };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty() || open_end
}

fn same_in_any_order(want: &[&str], mut got: Vec<&str>) -> bool {
    let found = want
        .iter()
        .all(|want| match got.iter().position(|got| same_line(want, got)) {
            Some(index) => {
                got.swap_remove(index);
                true
            }
            None => *want == "…",
        });
    found && (got.is_empty() || want.contains(&"…"))
}

/// Whether a page is of what this build has: some formats and connectors are cargo features.
fn is_built(page: &Path) -> bool {
    let optional = ["avro", "parquet", "protobuf"];
    let stem = page.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let of_formats = page.parent().is_some_and(|parent| parent.ends_with("formats"));
    let of_connectors = page.parent().is_some_and(|parent| parent.ends_with("connectors"));
    match stem {
        "materialize" | "risingwave" | "postgres" if of_connectors => Registry::builtin().connector(stem).is_ok(),
        _ => !of_formats || !optional.contains(&stem) || Registry::builtin().format(stem).is_ok(),
    }
}

#[test]
fn every_example_is_real() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for path in pages().into_iter().filter(|path| is_built(path)) {
        let page = read(&path);
        let scratch = tempfile::tempdir().expect("a scratch directory");
        copy(&root().join("examples"), &scratch.path().join("examples"));
        let mut examples = Examples {
            page: &path,
            scratch,
            app: String::new(),
            wrong: Vec::new(),
            blessed: Vec::new(),
        };
        examples.run(&page);
        if bless && !examples.blessed.is_empty() {
            let mut page = page;
            for (place, text) in examples.blessed.into_iter().rev() {
                page.replace_range(place, &text);
            }
            fs::write(&path, page).expect("a page");
        }
        wrong.extend(examples.wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a scratch directory");
    for entry in fs::read_dir(from).expect("the examples") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() && !path.ends_with("out") {
            copy(&path, &target);
        } else if path.is_file() {
            fs::copy(&path, &target).expect("a file of an example");
        }
    }
}

/// The targets of the links of a page.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_string()).collect()
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut text = page.to_string();
    for block in blocks(page).iter().rev() {
        text.replace_range(block.range.clone(), "");
    }
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let kept = heading.trim_start_matches('#').trim().chars();
            let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

/// `A V: down and up again` as the name of a folder.
fn slug(title: &str) -> String {
    let letters = title.chars().map(|letter| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_lowercase(),
        false => ' ',
    });
    let letters: String = letters.collect();
    letters.split_whitespace().collect::<Vec<_>>().join("-")
}

/// What `examples/patterns/` must hold: an app with its data and its output for each pattern of the gallery, and a list of them.
fn gallery(page: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut list = String::from(
        "# Patterns\n\nThe patterns of [the gallery](../../docs/language/pattern-gallery.md), each with its data and what it gives. \
         In one of the folders:\n\n```console\n$ eventflux run app.sql | diff expected.txt - && echo as expected\n```\n",
    );
    for family in page.split("\n## ").skip(1) {
        let mut patterns = family.split("\n### ");
        list += &format!("\n## {}\n\n", patterns.next().unwrap_or_default().trim());
        for pattern in patterns {
            let (title, text) = pattern.split_once('\n').expect("a pattern has text");
            let folder = slug(title);
            list += &format!("- [{title}]({folder}/app.sql)\n");
            let about = text.split("\n```").next().unwrap_or_default().trim();
            for block in blocks(text) {
                let name = match block.is("text", "output") {
                    true => Some("expected.txt"),
                    false => block.file(),
                };
                let Some(name) = name else {
                    continue;
                };
                let comment = match name {
                    "app.sql" => format!("-- {title}\n-- {}\n\n", about.replace('\n', "\n-- ")),
                    _ => String::new(),
                };
                files.push((Path::new(&folder).join(name), comment + block.text));
            }
        }
    }
    files.push((PathBuf::from("README.md"), list));
    files
}

#[test]
fn the_gallery_of_patterns_is_among_the_examples() {
    let folder = root().join("examples/patterns");
    let files = gallery(&read(&root().join("docs/language/pattern-gallery.md")));
    let apps = files.iter().filter(|(name, _)| name.ends_with("app.sql")).count();
    assert!(apps >= 40, "{apps} patterns");
    if std::env::var_os("BLESS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        for (name, text) in &files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder to write to");
            fs::write(path, text).expect("a file is written");
        }
    }
    for (name, text) in &files {
        assert_eq!(
            read(&folder.join(name)),
            *text,
            "{name:?}: run BLESS=1 cargo test --test docs"
        );
    }
    let written = fs::read_dir(&folder).expect("the folder").count();
    let folders: BTreeSet<&Path> = files.iter().filter_map(|(name, _)| name.parent()).collect();
    assert_eq!(written, folders.len(), "examples/patterns has what the gallery has not");
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for path in pages() {
        let page = read(&path);
        let own = links(&page).into_iter().filter(|link| !link.contains("://"));
        for link in own {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().expect("a folder").join(file),
            };
            let in_book = !path.starts_with(root().join("docs"))
                || target
                    .canonicalize()
                    .is_ok_and(|target| target.starts_with(root().join("docs")));
            let leads = target.exists() && in_book && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !leads {
                dead.push(format!("{}: {link}", shown(&path)));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_summary_lists_every_page_once() {
    let docs = root().join("docs");
    let mut listed: Vec<PathBuf> = links(&read(&docs.join("SUMMARY.md")))
        .iter()
        .map(|link| docs.join(link))
        .collect();
    listed.sort();
    let pages: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|page| page.starts_with(&docs) && !page.ends_with("SUMMARY.md"))
        .collect();
    assert_eq!(listed, pages);
}

/// Every code has a section with an app that causes it, what is printed, and what to do.
#[test]
fn the_error_page_shows_every_code() {
    let page = read(&root().join("docs/errors.md"));
    let source = read(&root().join("src/error.rs"));
    let codes: BTreeSet<&str> = source
        .split('"')
        .filter(|text| text.len() == 5 && text.starts_with('E') && text[1..].bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    assert!(codes.len() > 15, "{codes:?}");
    for code in codes {
        let section = page.split("\n## ").find(|section| section.starts_with(code));
        let section = section.unwrap_or_else(|| panic!("docs/errors.md has no section for {code}"));
        let errors = blocks(section);
        let printed = errors
            .iter()
            .find(|block| block.is("text", "error") || block.is("console", ""));
        let printed = printed.unwrap_or_else(|| panic!("{code} has no example"));
        assert!(printed.text.contains(code), "the example of {code} shows another code");
        assert!(section.contains("**Cure.**"), "{code} has no cure");
    }
}

/// Every option of every connector and format is in a table of its page, with its default; and no other is.
#[test]
fn the_option_tables_are_those_of_the_code() {
    let registry = Registry::builtin();
    let mut owners: Vec<(&str, &str, Vec<&OptionSpec>)> = Vec::new();
    for connector in registry.connectors() {
        let source = connector.source().map(|side| side.options()).unwrap_or_default();
        let sink = connector.sink().map(|side| side.options()).unwrap_or_default();
        owners.push(("connectors", connector.name(), source.iter().chain(sink).collect()));
    }
    for format in registry.formats() {
        owners.push(("formats", format.name(), format.options().iter().collect()));
    }
    for (folder, owner, options) in owners {
        let found = fs::read_dir(root().join("docs").join(folder))
            .expect("a folder of the book")
            .find_map(|entry| {
                let path = entry.expect("an entry").path();
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                name.split('-').any(|part| part == owner).then_some(path)
            });
        let path = found.unwrap_or_else(|| panic!("docs/{folder} has no page of {owner}"));
        let page = read(&path);
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with(&format!("| `{owner}.")))
            .collect();
        for option in options {
            if let Some((_, of_column)) = option.name.split_once("<column>.") {
                assert!(
                    page.contains(&format!("`{of_column}`")),
                    "{}: {of_column}",
                    shown(&path)
                );
                continue;
            }
            let start = format!("| `{owner}.{}` |", option.name);
            let row = rows.iter().find(|row| row.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("{} has no row for {owner}.{}", shown(&path), option.name));
            if let Some(default) = option.default {
                let there = row.contains(&format!("`{default}`")) || default.is_empty();
                assert!(
                    there,
                    "{}: the default of {owner}.{} is {default}",
                    shown(&path),
                    option.name
                );
            }
            assert!(
                !option.required || row.contains("required"),
                "{}: {owner}.{} is required",
                shown(&path),
                option.name
            );
        }
        for row in rows {
            let name = row[3 + owner.len() + 1..].split('`').next().unwrap_or_default();
            let known = registry.connectors().any(|connector| {
                let sides = [
                    connector.source().map(|side| side.options()),
                    connector.sink().map(|side| side.options()),
                ];
                connector.name() == owner && sides.into_iter().flatten().flatten().any(|option| option.name == name)
            }) || registry
                .formats()
                .any(|format| format.name() == owner && format.options().iter().any(|option| option.name == name));
            assert!(known, "{} describes {owner}.{name}, which does not exist", shown(&path));
        }
    }
}

/// The same of the backends of tables, which share a page.
#[test]
fn the_option_tables_of_the_backends_are_those_of_the_code() {
    let page = read(&root().join("docs/tables-backends.md"));
    let mut described: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .filter(|name| name.contains('.'))
        .collect();
    for backend in Backends::builtin().all() {
        assert!(
            page.contains(&format!("\n## {}\n", backend.name())),
            "{}",
            backend.name()
        );
        for option in backend.options() {
            let name = format!("{}.{}", backend.name(), option.name);
            assert!(described.remove(name.as_str()), "no row for {name}");
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}`")));
            let row = row.unwrap_or_default();
            let default = option.default.unwrap_or_default();
            assert!(
                default.is_empty() || row.contains(&format!("`{default}`")),
                "{name}: {default}"
            );
            assert!(!option.required || row.contains("required"), "{name} is required");
        }
    }
    assert!(described.is_empty(), "these do not exist: {described:?}");
}

#[test]
fn the_command_line_page_names_every_command_and_flag() {
    let page = read(&root().join("docs/cli.md"));
    let cli = eventflux::cli::Cli::command();
    for command in cli.get_subcommands() {
        let heading = format!("\n## `eventflux {}`", command.get_name());
        let section = page
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no section for {}", command.get_name()))
            .1;
        let section = section.split("\n## ").next().unwrap_or_default();
        for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(
                flag == "help" || section.contains(&format!("`--{flag}")),
                "{}: --{flag}",
                command.get_name()
            );
        }
    }
}

/// Where the generated list of functions stands in its page.
const FUNCTIONS: (&str, &str) = (
    "<!-- functions: generated by tests/docs.rs -->\n",
    "<!-- functions: end -->",
);

#[test]
fn the_function_page_lists_every_function() {
    let path = root().join("docs/language/functions.md");
    let page = read(&path);
    let (before, rest) = page.split_once(FUNCTIONS.0).expect("the mark before the list");
    let (listed, after) = rest.split_once(FUNCTIONS.1).expect("the mark after the list");
    let reference = function_reference(before);
    if std::env::var_os("BLESS").is_some() {
        fs::write(
            &path,
            format!("{before}{}{reference}{}{after}", FUNCTIONS.0, FUNCTIONS.1),
        )
        .expect("a page");
    } else {
        assert_eq!(listed, reference, "run BLESS=1 cargo test --test docs");
    }
}

/// Every aggregate has a row in the table of its page, by its name or among the other names; and no other has.
#[test]
fn the_aggregate_page_lists_every_aggregate() {
    let page = read(&root().join("docs/language/aggregates.md"));
    let list = page.split("\n## The aggregates\n").nth(1).expect("the list");
    let cells = list.lines().filter(|line| line.starts_with("| `"));
    let names = cells.flat_map(|line| line.split('|').nth(1).expect("a cell").split('`').skip(1).step_by(2));
    let listed: BTreeSet<String> = names
        .map(|form| form.split('(').next().unwrap_or_default().to_lowercase())
        .collect();
    let functions = Functions::builtin(&(Arc::new(SystemClock) as Arc<dyn Clock>));
    let known: BTreeSet<String> = functions.aggregate_names().map(str::to_string).collect();
    assert_eq!(listed, known);
}

/// Tables of all scalar functions, by the section of their documentation. Those without any must be described in `page`.
fn function_reference(page: &str) -> String {
    let functions = Functions::builtin(&(Arc::new(SystemClock) as Arc<dyn Clock>));
    let mut rows: BTreeSet<(String, String)> = BTreeSet::new();
    for name in functions.scalar_names() {
        let function = functions.scalar(name).expect("a listed function");
        let Some(documentation) = function.documentation() else {
            assert!(page.contains(&format!("`{name}(")), "{name} is not described");
            continue;
        };
        if function.name().to_lowercase() != name {
            // An alias: in the row of its function, or ours and described by hand.
            let known = function.aliases().iter().any(|alias| alias.to_lowercase() == name);
            assert!(known || page.contains(&format!("`{name}(")), "{name} is not described");
            continue;
        }
        let forms = documentation
            .syntax_example
            .lines()
            .map(str::trim)
            .filter(|line| line.contains('('));
        let syntax = forms
            .map(|form| format!("`{}`", cell(form)))
            .collect::<Vec<_>>()
            .join(", ");
        let mut meaning = first_sentence(&documentation.description);
        let aliases: Vec<String> = function
            .aliases()
            .iter()
            .map(|alias| format!("`{}`", cell(alias)))
            .collect();
        if !aliases.is_empty() {
            meaning.push_str(&format!(" Also {}.", aliases.join(", ")));
        }
        rows.insert((
            documentation.doc_section.label.to_string(),
            format!("| {syntax} | {meaning} |\n"),
        ));
    }
    let mut text = String::new();
    let mut section = String::new();
    for (of, row) in rows {
        if of != section {
            let title = of.trim_end_matches(" Functions");
            text.push_str(&format!("\n### {title}\n\n| function | value |\n|---|---|\n"));
            section = of;
        }
        text.push_str(&row);
    }
    text.push('\n');
    text
}

/// What the documentation of the engine underneath says for its own users, and for ours.
const ENGINE_WORDS: &[(&str, &str)] = &[
    ("an Arrow array", "an array"),
    ("an Arrow map", "a map"),
    ("an Arrow struct", "a struct"),
    (" in the session time zone", ""),
    ("<TZ>", "Z"),
];

/// A text on one line of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

fn first_sentence(text: &str) -> String {
    let text = cell(text.split("\n\n").next().unwrap_or_default());
    let text = ENGINE_WORDS
        .iter()
        .fold(text, |text, (theirs, ours)| text.replace(theirs, ours));
    match text.split_once(". ") {
        Some((first, _)) if !first.ends_with("e.g") && !first.ends_with("i.e") => format!("{first}."),
        _ => format!("{}.", text.trim_end_matches(['.', ':'])),
    }
}

/// The error codes of the server are those of their page, with status and meaning.
#[cfg(feature = "server")]
#[test]
fn the_page_of_error_codes_lists_every_code() {
    let page = read(&root().join("docs/server/errors.md"));
    let table = page
        .split("| code | status | meaning |\n|---|---|---|\n")
        .nth(1)
        .expect("the table");
    let listed: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let known: Vec<String> = eventflux::server::error_codes()
        .map(|(code, status, meaning)| format!("| `{code}` | {status} | {meaning} |"))
        .collect();
    assert_eq!(listed, known);
}

/// No answer of the server has a code that is not among them: every code is that of a kind.
#[cfg(feature = "server")]
#[test]
fn the_server_makes_no_other_codes() {
    let mut folders = vec![root().join("src/server")];
    let mut places = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = read(&path);
            for line in text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .lines()
            {
                let told = ["\"code\":", "\\\"code\\\":", "set(\"code\","]
                    .iter()
                    .find_map(|told| line.split(told).nth(1));
                if let Some(rest) = told.filter(|_| !line.trim_start().starts_with("//")) {
                    places += 1;
                    let made = rest.contains(".code()")
                        || rest.contains("{code}")
                        || rest.contains("\\\"{}\\\"")
                        || rest.trim_start().starts_with("code");
                    assert!(made, "{}: {line}", shown(&path));
                }
            }
        }
    }
    assert!(places >= 4, "the codes are made elsewhere: {places}");
}
