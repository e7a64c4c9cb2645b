use std::io::{ErrorKind, Read};

use super::Stdout;
use super::sink::StdoutSink;
use crate::config::options::Options;
use crate::connectors::testing::*;
use crate::connectors::{Sink, SinkConnector, SinkSpec};
use crate::error::Error;
use crate::formats::Format;

fn writing(output: std::io::PipeWriter) -> StdoutSink {
    let options = options("stdout", Stdout.options(), &[]).unwrap();
    let encoder = Lines.encoder(&text_schema(), &Options::default()).unwrap();
    let spec = SinkSpec::new("S", text_schema(), options, Some(encoder));
    StdoutSink::new(spec, Box::new(output)).unwrap()
}

#[test]
fn rows_come_out_when_flushed() {
    let (mut pipe, output) = std::io::pipe().unwrap();
    let mut sink = writing(output);
    sink.open().unwrap();
    sink.write(&text_batch(&["a", "b"])).unwrap();
    sink.flush().unwrap();
    let mut read = [0; 11];
    pipe.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"# text\na\nb\n");
    sink.close().unwrap();
}

#[test]
fn a_closed_pipe_can_be_recognised() {
    let (pipe, output) = std::io::pipe().unwrap();
    let mut sink = writing(output);
    sink.open().unwrap();
    drop(pipe);
    sink.write(&text_batch(&["a"])).unwrap();
    let error = sink.flush().unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe),
        "{error}"
    );
    assert!(sink.is_over(&error));
    // What could not be written is tried again until it is given up.
    assert!(sink.flush().is_err());
    sink.abandon().unwrap();
    sink.close().unwrap();
}
