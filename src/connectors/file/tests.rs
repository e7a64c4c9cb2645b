use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, options as file_options};
use crate::config::options::{Options, RawOption};
use crate::connectors::testing::*;
use crate::connectors::{Connector, FormatSource, Position, Sink, SinkSpec, Source};
use crate::error::Error;
use crate::event::EventBatch;
use crate::formats::json::JsonFormat;
use crate::formats::{DecodeSchema, Encoder, Format};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

fn build(path: &Path, more: &[(&str, &str)]) -> Box<dyn Source> {
    let mut given = vec![("path", path.to_str().unwrap())];
    given.extend_from_slice(more);
    source(&File, text_schema(), &given).unwrap()
}

fn following(path: &Path, more: &[(&str, &str)]) -> Box<dyn Source> {
    let mut given = vec![("follow", "true"), ("poll", "2 ms")];
    given.extend_from_slice(more);
    build(path, &given)
}

fn position(file: &Path, offset: u64, line: u64) -> Position {
    serde_json::json!({"file": file.to_str().unwrap(), "offset": offset, "line": line})
}

/// Lines `from..to`, about 1 KiB each, so that a file spans many blocks.
fn long_lines(from: usize, to: usize) -> Vec<String> {
    (from..to)
        .map(|i| format!("{i} {}", "x".repeat(900 + i % 200)))
        .collect()
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_last_line_needs_no_line_end_and_an_empty_file_has_no_rows() {
    let folder = Folder::new();
    for (text, want) in [
        ("a\nb\n", vec!["a", "b"]),
        ("a\nb", vec!["a", "b"]),
        ("# header\na\n", vec!["a"]),
        ("# header", vec![]),
        ("", vec![]),
    ] {
        let path = folder.write("f", text);
        assert_eq!(all_texts(&run(build(&path, &[])).unwrap()), want, "{text:?}");
    }
}

#[test]
fn positions_name_file_offset_and_line() {
    let folder = Folder::new();
    let path = folder.write("f", "# header\na\nbad\nc");
    let emitted = run(build(&path, &[])).unwrap();
    assert_eq!(emitted[0].errors[0].line, Some(3));
    assert_eq!(emitted[0].position, Some(position(&path, 15, 4)));
    assert_eq!(emitted[1].position, Some(position(&path, 16, 5)));
}

#[test]
fn directories_and_globs_are_read_by_name() {
    let folder = Folder::new();
    for name in ["b.txt", "a.txt", "c.log", ".hidden.txt"] {
        folder.write(name, name);
    }
    fs::create_dir(folder.path("d.txt")).unwrap();
    let read = |path: &Path| all_texts(&run(build(path, &[])).unwrap());
    assert_eq!(read(folder.0.path()), ["a.txt", "b.txt", "c.log"]);
    assert_eq!(read(&folder.path("*.txt")), ["a.txt", "b.txt"]);
    let odd = folder.write("[x].json", "a name may look like a glob");
    assert_eq!(read(&odd).len(), 1);
}

#[test]
fn what_is_missing_is_named() {
    let folder = Folder::new();
    let missing = folder.path("missing.json");
    let path = missing.to_str().unwrap();
    let error = source(&File, text_schema(), &[("path", path)]).err().unwrap();
    assert!(error.message.contains(path), "{}", error.message);
    let error = run(build(&folder.path("*.json"), &[])).unwrap_err().to_string();
    assert!(error.contains("no file matches") && error.contains("*.json"), "{error}");
    for given in [
        &[("path", "/tmp/a***")][..],
        &[("path", "")],
        &[("path", "/tmp"), ("start", "end")],
    ] {
        assert!(source(&File, text_schema(), given).is_err(), "{given:?}");
    }
}

#[test]
fn parallel_decoding_keeps_the_order_and_the_line_numbers() {
    let folder = Folder::new();
    let mut lines = long_lines(0, 3000);
    lines[2500] = "bad".to_string();
    let path = folder.write("f", &joined(&lines));
    let sequential = run(build(&path, &[("decoders", "1"), ("block-bytes", "65536")])).unwrap();
    let parallel = run(build(&path, &[("decoders", "3"), ("block-bytes", "65536")])).unwrap();
    lines.remove(2500);
    assert_eq!(all_texts(&sequential), lines);
    assert_eq!(all_texts(&parallel), lines);
    let positions = |run: &[crate::connectors::Emitted]| run.iter().map(|e| e.position.clone()).collect::<Vec<_>>();
    assert_eq!(positions(&sequential), positions(&parallel));
    let errors: Vec<_> = parallel.iter().flat_map(|e| &e.errors).map(|e| e.line).collect();
    assert_eq!(errors, [Some(2501)]);
}

#[test]
fn seeking_to_any_position_continues_with_the_next_record() {
    let folder = Folder::new();
    folder.write("a", &format!("# header\n{}", joined(&long_lines(0, 300))));
    folder.write("b", &format!("# header\n{}last", joined(&long_lines(300, 500))));
    let fresh = || build(folder.0.path(), &[("block-bytes", "65536"), ("decoders", "2")]);
    let emitted = run(fresh()).unwrap();
    let all = all_texts(&emitted);
    assert_eq!(all.len(), 501);
    let mut seen = 0;
    for (index, one) in emitted.iter().enumerate() {
        seen += one.batch.num_rows();
        let mut source = fresh();
        source.seek(one.position.as_ref().unwrap()).unwrap();
        let rest = run(source).unwrap();
        assert_eq!(all_texts(&rest), all[seen..], "after emission {index}");
        assert_eq!(
            rest.last().and_then(|e| e.position.clone()),
            emitted[index + 1..].last().and_then(|e| e.position.clone())
        );
    }
}

#[test]
fn a_position_that_does_not_fit_the_file_is_an_error() {
    let folder = Folder::new();
    let path = folder.write("a", "1\n2\n");
    let error = build(&path, &[]).seek(&position(&path, 9, 4)).unwrap_err().to_string();
    assert!(
        error.contains("only 4 bytes") && error.contains(path.to_str().unwrap()),
        "{error}"
    );
    let gone = folder.path("gone");
    let error = build(folder.0.path(), &[])
        .seek(&position(&gone, 2, 2))
        .unwrap_err()
        .to_string();
    assert!(error.contains("is gone"), "{error}");
    assert!(build(&path, &[]).seek(&serde_json::json!({"row": 3})).is_err());
    let other = folder.write("b", "1\n");
    let mut source = build(&path, &[]);
    source.seek(&position(&other, 2, 2)).unwrap();
    assert!(run(source).is_err());
}

/// A source of JSON with one column, `text`, whose records have at most 100 000 bytes.
fn json(path: &Path, more: &[(&str, &str)]) -> Box<dyn Source> {
    let schema = DecodeSchema::all(text_schema());
    let limit = options("json", JsonFormat.options(), &[("max-record-bytes", "100000")]).unwrap();
    let mut given = vec![("path", path.to_str().unwrap()), ("block-bytes", "65536")];
    given.extend_from_slice(more);
    let format = FormatSource::new(Arc::new(JsonFormat), schema.clone(), limit);
    source_in(&File, format, schema, &given).unwrap()
}

#[test]
fn a_record_over_the_limit_is_one_error_and_is_skipped() {
    let folder = Folder::new();
    let long = "y".repeat(1 << 20);
    let line = |text: &str| format!("{{\"text\":\"{text}\"}}");
    let text = [line("a"), line(&long), line("b"), "bad".to_string(), line(&long)].join("\n");
    let path = folder.write("f", &text);
    for decoders in ["1", "2"] {
        let emitted = run(json(&path, &[("decoders", decoders)])).unwrap();
        assert_eq!(all_texts(&emitted), ["a", "b"]);
        let errors: Vec<_> = emitted.iter().flat_map(|e| &e.errors).collect();
        assert_eq!(
            errors.iter().map(|e| e.line).collect::<Vec<_>>(),
            [Some(2), Some(4), Some(5)]
        );
        assert!(errors[0].message.contains("100000"), "{}", errors[0].message);
        assert!(errors.iter().all(|e| e.event.len() <= crate::error::RAW_LIMIT));
        // Positions lie between records, never inside the long one.
        for (index, one) in emitted.iter().enumerate() {
            let mut again = json(&path, &[]);
            again.seek(one.position.as_ref().unwrap()).unwrap();
            let rest = run(again).unwrap();
            assert_eq!(rest.len(), emitted.len() - index - 1);
        }
    }
    let short = "z".repeat(99_980);
    let path = folder.write("g", &[line(&short), line(&short), line("c")].join("\n"));
    assert_eq!(all_texts(&run(json(&path, &[])).unwrap()), [&short, &short, "c"]);
}

#[test]
fn stops_while_blocked_by_back_pressure() {
    let folder = Folder::new();
    let path = folder.write("f", &joined(&long_lines(0, 2000)));
    for decoders in ["1", "2"] {
        let given = [("block-bytes", "65536"), ("decoders", decoders)];
        let running = Running::start(build(&path, &given), 1);
        running.next();
        running.stop().unwrap();
    }
}

#[test]
fn following_reads_what_is_appended_and_never_half_a_line() {
    let folder = Folder::new();
    let path = folder.write("f", "a\nb");
    let running = Running::start(following(&path, &[]), 4);
    assert_eq!(running.texts(1), ["a"]);
    running.quiet();
    folder.append("f", "c\nd");
    assert_eq!(running.texts(1), ["bc"]);
    folder.append("f", "\n");
    assert_eq!(running.texts(1), ["d"]);
    running.quiet();
    running.stop().unwrap();
}

#[test]
fn following_waits_for_a_file_that_is_not_there() {
    let folder = Folder::new();
    let running = Running::start(following(&folder.path("f"), &[]), 4);
    running.quiet();
    folder.write("f", "a\n");
    assert_eq!(running.texts(1), ["a"]);
    running.stop().unwrap();
}

#[test]
fn following_from_the_end_starts_at_the_last_line() {
    let folder = Folder::new();
    let path = folder.write("f", "# header\nold\nol");
    let running = Running::start(following(&path, &[("start", "end")]), 4);
    running.quiet();
    folder.append("f", "d\nnew\n");
    assert_eq!(running.texts(2), ["old", "new"]);
    folder.write("g", "other\n");
    running.quiet();
    running.stop().unwrap();
}

#[test]
fn rotation_finishes_the_old_file_before_the_new_one() {
    let folder = Folder::new();
    let path = folder.write("f", "1\n2");
    let running = Running::start(following(&path, &[]), 4);
    assert_eq!(running.texts(1), ["1"]);
    fs::rename(&path, folder.path("f.1")).unwrap();
    folder.write("f", "3\n");
    assert_eq!(running.texts(2), ["2", "3"]);
    folder.append("f", "4\n");
    assert_eq!(running.texts(1), ["4"]);
    running.stop().unwrap();
}

#[test]
fn a_rotated_file_that_still_matches_is_not_read_twice() {
    let folder = Folder::new();
    folder.write("f", "1\n");
    let running = Running::start(following(&folder.path("f*"), &[]), 4);
    assert_eq!(running.texts(1), ["1"]);
    fs::rename(folder.path("f"), folder.path("f.1")).unwrap();
    folder.append("f.1", "2\n");
    assert_eq!(running.texts(1), ["2"]);
    folder.write("f", "3\n");
    assert_eq!(running.texts(1), ["3"]);
    running.quiet();
    running.stop().unwrap();
}

#[test]
fn a_truncated_file_is_read_anew() {
    let folder = Folder::new();
    let path = folder.write("f", "1\n2\n3\nhal");
    let running = Running::start(following(&path, &[]), 4);
    assert_eq!(running.texts(3), ["1", "2", "3"]);
    folder.write("f", "4\n");
    assert_eq!(running.texts(1), ["4"]);
    running.stop().unwrap();
}

#[test]
fn a_deleted_file_is_finished_and_followed_again_when_it_is_back() {
    let folder = Folder::new();
    let path = folder.write("f", "1\n2");
    let running = Running::start(following(&path, &[]), 4);
    assert_eq!(running.texts(1), ["1"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(running.texts(1), ["2"]);
    folder.write("f", "3\n4\n5\n6\n");
    assert_eq!(running.texts(4), ["3", "4", "5", "6"]);
    running.stop().unwrap();
}

#[test]
fn files_that_appear_are_followed_too() {
    let folder = Folder::new();
    folder.write("a.log", "a1\n");
    for path in [folder.path("*.log"), folder.0.path().to_path_buf()] {
        let _ = fs::remove_file(folder.path("b.log"));
        let running = Running::start(following(&path, &[]), 4);
        assert_eq!(running.texts(1), ["a1"]);
        folder.write("b.log", "b1\n");
        assert_eq!(running.texts(1), ["b1"]);
        running.stop().unwrap();
    }
}

#[test]
fn following_continues_in_every_file_after_a_restart() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    folder.write("b", "b1\n");
    let running = Running::start(following(folder.0.path(), &[]), 4);
    running.texts(1);
    let last = running.next().unwrap().position.unwrap();
    running.stop().unwrap();
    // While nobody looks: one grows, one is rotated, one is new.
    folder.append("a", "a2\n");
    folder.append("b", "b2\nb3");
    fs::rename(folder.path("b"), folder.path(".b.old")).unwrap();
    folder.write("c", "c1\n");
    let mut source = following(folder.0.path(), &[]);
    source.seek(&last).unwrap();
    let running = Running::start(source, 4);
    let mut got = running.texts(4);
    got.sort();
    assert_eq!(got, ["a2", "b2", "b3", "c1"]);
    running.quiet();
    running.stop().unwrap();
}

#[test]
fn following_treats_what_happened_while_it_was_down_as_if_it_had_seen_it() {
    let folder = Folder::new();
    let path = folder.write("f", "1\n2\n");
    let running = Running::start(following(&path, &[]), 4);
    let last = running.next().unwrap().position.unwrap();
    running.stop().unwrap();
    let resumed = |position: &Position| {
        let mut source = following(&path, &[]);
        source.seek(position).unwrap();
        Running::start(source, 4)
    };
    fs::write(&path, "3\n").unwrap();
    let truncated = resumed(&last);
    assert_eq!(truncated.texts(1), ["3"]);
    truncated.stop().unwrap();
    let other = folder.write("g", "longer than before\n");
    fs::rename(other, &path).unwrap();
    let replaced = resumed(&last);
    assert_eq!(replaced.texts(1), ["longer than before"]);
    replaced.stop().unwrap();
    let by_path = resumed(&position(&path, 19, 2));
    by_path.quiet();
    folder.append("f", "more\n");
    assert_eq!(by_path.texts(1), ["more"]);
    by_path.stop().unwrap();
}

#[test]
fn stops_while_waiting() {
    let folder = Folder::new();
    let running = Running::start(build(&folder.path("f"), &[("follow", "true"), ("poll", "1 hour")]), 4);
    running.quiet();
    running.stop().unwrap();
}

#[test]
fn the_sink_writes_its_header_once_and_appends() {
    let folder = Folder::new();
    let path = folder.path("new/folder/f");
    let open = |mode: &str, fsync: &str| -> Box<dyn Sink> {
        let given = [("path", path.to_str().unwrap()), ("mode", mode), ("fsync", fsync)];
        let mut sink = sink(&File, text_schema(), &given).unwrap();
        sink.open().unwrap();
        sink
    };
    let mut first = open("append", "never");
    first.write(&text_batch(&["a", "b"])).unwrap();
    first.flush().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# text\na\nb\n");
    first.close().unwrap();
    let mut second = open("append", "flush");
    second.write(&text_batch(&["c"])).unwrap();
    second.close().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# text\na\nb\nc\n");
    fs::write(&path, "# text\nhalf a li").unwrap();
    let mut third = open("append", "never");
    third.write(&text_batch(&["d"])).unwrap();
    third.close().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# text\nhalf a li\nd\n");
    let mut fourth = open("overwrite", "flush");
    fourth.write(&text_batch(&["e"])).unwrap();
    fourth.close().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# text\ne\n");
}

#[test]
fn a_sink_that_cannot_write_names_its_file() {
    let folder = Folder::new();
    let file = folder.write("f", "");
    let path = file.join("g");
    let mut sink = sink(&File, text_schema(), &[("path", path.to_str().unwrap())]).unwrap();
    let error = sink.open().unwrap_err();
    assert!(
        matches!(error, Error::Io { .. }) && error.to_string().contains("f/g"),
        "{error}"
    );
}

/// Writes lines, and an end.
struct Ended;

impl Encoder for Ended {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"begin ");
    }
    fn encode(&mut self, batch: &EventBatch, out: &mut Vec<u8>) -> crate::error::Result<()> {
        out.extend_from_slice(format!("{} ", batch.num_rows()).as_bytes());
        Ok(())
    }
    fn finish(&mut self, out: &mut Vec<u8>) -> crate::error::Result<()> {
        out.extend_from_slice(b"end");
        Ok(())
    }
    fn is_whole_when_finished(&self) -> bool {
        true
    }
}

fn ended(path: &Path, mode: &str) -> Box<dyn Sink> {
    let given = [("path", path.to_str().unwrap()), ("mode", mode)];
    let raw = given.map(|(key, value)| RawOption::new(key, value));
    let options = Options::check("file", file_options::SINK, &raw).unwrap();
    let spec = SinkSpec::new("S", text_schema(), options, Some(Box::new(Ended)));
    File.sink().unwrap().build(spec).unwrap()
}

/// The files of a folder and what they hold, without those aside.
fn parts(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut parts: Vec<_> = files
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    parts.sort();
    parts
}

#[test]
fn files_that_need_an_end_are_written_in_parts() {
    let folder = Folder::new();
    let path = folder.path("new/out.bin");
    let names = |count: usize| (1..=count).map(|n| format!("out-{n:06}.bin")).collect::<Vec<_>>();
    let listed = || {
        parts(path.parent().unwrap())
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    let mut first = ended(&path, "append");
    first.open().unwrap();
    first.write(&text_batch(&["a", "b"])).unwrap();
    first.flush().unwrap();
    assert!(listed().is_empty(), "nobody sees a part that is not whole");
    let position = first.prepare().unwrap().unwrap();
    assert_eq!(position["next"], 2);
    assert_eq!(parts(path.parent().unwrap())[0].1, "begin 2 end");
    assert_eq!(first.prepare().unwrap().unwrap()["next"], 2, "no part without rows");
    first.write(&text_batch(&["c"])).unwrap();
    first.prepare().unwrap();
    first.write(&text_batch(&["d"])).unwrap();
    // Killed: what came after the first checkpoint comes again.
    drop(first);
    assert_eq!(listed(), names(2));
    let mut second = ended(&path, "append");
    second.restore(&position).unwrap();
    second.open().unwrap();
    assert_eq!(listed(), names(1));
    second.write(&text_batch(&["c", "d", "e"])).unwrap();
    second.close().unwrap();
    assert_eq!(listed(), names(2));
    assert_eq!(parts(path.parent().unwrap())[1].1, "begin 3 end");
    // Without a checkpoint it goes on behind what is there, or begins anew.
    let mut third = ended(&path, "append");
    third.open().unwrap();
    third.write(&text_batch(&["f"])).unwrap();
    third.close().unwrap();
    assert_eq!(listed(), names(3));
    let mut fourth = ended(&path, "overwrite");
    fourth.open().unwrap();
    fourth.write(&text_batch(&["g"])).unwrap();
    fourth.close().unwrap();
    assert_eq!(listed(), names(1));
    assert!(
        ended(&path, "append")
            .restore(&serde_json::json!({"length": 3}))
            .is_err()
    );
}
