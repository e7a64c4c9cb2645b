use std::io::Write;
use std::sync::Arc;

use super::Stdin;
use super::source::StdinSource;
use crate::config::options::Options;
use crate::connectors::testing::*;
use crate::connectors::{FormatSource, Source, SourceConnector, SourceSpec};
use crate::formats::DecodeSchema;

fn reading(input: std::io::PipeReader) -> Box<dyn Source> {
    let schema = DecodeSchema::all(text_schema());
    let spec = SourceSpec {
        key: Vec::new(),
        stream: "S".to_string(),
        options: options("stdin", Stdin.options(), &[]).unwrap(),
        format: Some(FormatSource::new(Arc::new(Lines), schema.clone(), Options::default())),
        schema,
    };
    Box::new(StdinSource::new(spec).unwrap().reading(input.into()))
}

#[test]
fn lines_come_at_once_and_the_last_one_needs_no_line_end() {
    let (input, mut pipe) = std::io::pipe().unwrap();
    let running = Running::start(reading(input), 4);
    pipe.write_all(b"a\nb\nc").unwrap();
    assert_eq!(running.texts(2), ["a", "b"]);
    pipe.write_all(b"c\n").unwrap();
    assert_eq!(running.texts(1), ["cc"]);
    pipe.write_all(b"last").unwrap();
    drop(pipe);
    assert_eq!(all_texts(&running.all().unwrap()), ["last"]);
}

#[test]
fn much_input_passes_in_order() {
    let (input, mut pipe) = std::io::pipe().unwrap();
    let running = Running::start(reading(input), 4);
    let lines: Vec<String> = (0..300_000).map(|i| format!("line {i}")).collect();
    let text = lines.join("\n");
    let writer = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    assert_eq!(all_texts(&running.all().unwrap()), lines);
    writer.join().unwrap().unwrap();
}

#[test]
fn stops_while_there_is_no_input() {
    let (input, _pipe) = std::io::pipe().unwrap();
    let running = Running::start(reading(input), 4);
    running.quiet();
    running.stop().unwrap();
}
