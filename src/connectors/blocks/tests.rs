use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::*;
use crate::config::options::{OptionSpec, Options};
use crate::connectors::testing::{Lines, text_schema};
use crate::connectors::{Flow, FormatSource, SourceOutput};
use crate::error::{Diagnostic, Result};
use crate::event::SystemClock;
use crate::formats::{Block, DecodeSchema, Decoded, Decoder, Encoder, Format, FrameKind, Framer};

const OPTIONS: ReadOptions = ReadOptions {
    block_bytes: 64 << 10,
    decoders: 2,
};

/// Decodes lines, but a block that starts with `slow` takes its time and one that starts with `panic` panics.
struct Moody(Box<dyn Decoder>);

impl Decoder for Moody {
    fn decode(&mut self, block: &Block) -> Result<Decoded> {
        assert!(!block.bytes.starts_with(b"panic"), "as it was told");
        if block.bytes.starts_with(b"slow") {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.0.decode(block)
    }
}

struct MoodyLines;

impl Format for MoodyLines {
    fn name(&self) -> &'static str {
        "moody"
    }
    fn doc(&self) -> &'static str {
        "Lines."
    }
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }
    fn framer(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Framer>, Diagnostic> {
        Lines.framer(schema, options)
    }
    fn decoder(&self, schema: &DecodeSchema, options: &Options) -> Result<Box<dyn Decoder>, Diagnostic> {
        Ok(Box::new(Moody(Lines.decoder(schema, options)?)))
    }
    fn encoder(&self, schema: &arrow::datatypes::SchemaRef, options: &Options) -> Result<Box<dyn Encoder>, Diagnostic> {
        Lines.encoder(schema, options)
    }
}

fn queue() -> DecodeQueue {
    let schema = DecodeSchema::all(text_schema());
    let format = FormatSource::new(Arc::new(MoodyLines), schema, Options::default());
    DecodeQueue::new(Arc::new(format), OPTIONS).unwrap()
}

/// A block over the size that is decoded inline.
fn block(start: &str) -> Block {
    Block {
        bytes: format!("{start}\n{}", "x".repeat(70 << 10)).into_bytes(),
        first_line: 1,
        layout: None,
        kind: FrameKind::Records,
    }
}

#[test]
fn a_slow_block_holds_back_those_after_it() {
    let (sender, events) = bounded(16);
    let (_keep, stop) = bounded(0);
    let mut out = SourceOutput::new(sender, stop, Arc::new(SystemClock));
    let mut queue = queue();
    for (number, start) in ["slow", "b", "slow", "d", "e", "f"].into_iter().enumerate() {
        assert_eq!(
            queue.submit(block(start), Some(number.into()), &mut out).unwrap(),
            Flow::Continue
        );
    }
    assert_eq!(queue.drain(&mut out).unwrap(), Flow::Continue);
    let numbers: Vec<_> = events.try_iter().filter_map(|e| e.position?.as_u64()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_decoder_that_panics_is_an_error_after_the_blocks_before_it() {
    let (sender, events) = bounded(16);
    let (_keep, stop) = bounded(0);
    let mut out = SourceOutput::new(sender, stop, Arc::new(SystemClock));
    let mut queue = queue();
    let outcome = ["a", "panic", "c"]
        .into_iter()
        .try_for_each(|start| queue.submit(block(start), None, &mut out).map(drop))
        .and_then(|()| queue.drain(&mut out));
    assert!(outcome.unwrap_err().to_string().contains("panicked"));
    assert_eq!(events.try_iter().count(), 1);
}

#[test]
fn stops_while_decoded_blocks_wait() {
    let (sender, _events) = bounded(1);
    let (stop, stopped) = bounded(0);
    let mut out = SourceOutput::new(sender, stopped, Arc::new(SystemClock));
    let mut queue = queue();
    let _ = queue.submit(block("a"), None, &mut out).unwrap();
    drop(stop);
    assert_eq!(queue.drain(&mut out).unwrap(), Flow::Stop);
}
