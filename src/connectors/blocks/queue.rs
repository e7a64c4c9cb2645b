//! [`DecodeQueue`]: blocks in, decoded batches out, in the same order whatever thread decoded them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ReadOptions;
use crate::connectors::{Flow, FormatSource, Position, SourceOutput};
use crate::error::{Diagnostic, Error, Result};
use crate::formats::{Block, Decoded, Decoder};

/// Blocks shorter than this are decoded at once by the source's thread when nothing is under way: handing them to
/// another thread would cost more than it gains, and slow inputs get their results without a detour.
const INLINE_BYTES: usize = 64 << 10;

/// Blocks under way per decoding thread: one being decoded, one waiting.
const BLOCKS_PER_DECODER: usize = 2;

/// Read buffers that circulate between reader and decoders.
#[derive(Debug)]
pub struct Buffers {
    spare: Vec<Vec<u8>>,
    /// How many spare ones are kept, and of what capacity at most.
    keep: usize,
    largest: usize,
}

impl Buffers {
    fn new(options: ReadOptions) -> Self {
        Buffers {
            spare: Vec::new(),
            keep: options.decoders * BLOCKS_PER_DECODER + 2,
            largest: options.block_bytes.saturating_mul(2),
        }
    }

    /// A buffer; its length is what is already initialised.
    pub fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < self.keep && buffer.capacity() > 0 && buffer.capacity() <= self.largest {
            self.spare.push(buffer);
        }
    }
}

/// Decodes blocks and hands the results over in the order in which the blocks came.
///
/// At most [`BLOCKS_PER_DECODER`] blocks per decoder are under way. Threads start with the first big block, so that a
/// slow or small input has none.
pub struct DecodeQueue {
    format: Arc<FormatSource>,
    decoder: Box<dyn Decoder>,
    decoders: usize,
    workers: Option<Workers>,
    /// Blocks under way, oldest first; the ticket of the first is `first`.
    pending: VecDeque<Pending>,
    first: u64,
    /// Recycled read buffers.
    pub buffers: Buffers,
}

struct Pending {
    position: Option<Position>,
    outcome: Option<Result<Decoded>>,
}

struct Workers {
    jobs: Option<Sender<(u64, Block)>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
}

struct Done {
    ticket: u64,
    bytes: Vec<u8>,
    outcome: Result<Decoded>,
}

impl DecodeQueue {
    /// An empty queue.
    pub fn new(format: Arc<FormatSource>, options: ReadOptions) -> Result<Self, Diagnostic> {
        Ok(DecodeQueue {
            decoder: format.decoder()?,
            format,
            decoders: options.decoders,
            workers: None,
            pending: VecDeque::new(),
            first: 0,
            buffers: Buffers::new(options),
        })
    }

    /// Buffers for whoever cuts and decodes by itself.
    #[cfg(feature = "http")]
    pub fn buffers(options: ReadOptions) -> Buffers {
        Buffers::new(options)
    }

    /// Takes a block; `position` is where the source stands after it. Emits what is ready. Blocks while too much is
    /// under way.
    pub fn submit(&mut self, block: Block, position: Option<Position>, out: &mut SourceOutput) -> Result<Flow> {
        if self.decoders == 1 || (self.pending.is_empty() && block.bytes.len() < INLINE_BYTES) {
            if self.drain(out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            let decoded = decode(self.decoder.as_mut(), &block)?;
            self.buffers.give(block.bytes);
            return Ok(emit(decoded, position, out));
        }
        while self.pending.len() >= self.decoders * BLOCKS_PER_DECODER {
            if self.wait(out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        let ticket = self.first + self.pending.len() as u64;
        self.pending.push_back(Pending {
            position,
            outcome: None,
        });
        self.send(ticket, block)?;
        self.emit_ready(out)
    }

    /// Waits for everything under way and emits it.
    pub fn drain(&mut self, out: &mut SourceOutput) -> Result<Flow> {
        let mut flow = self.emit_ready(out)?;
        while flow == Flow::Continue && !self.pending.is_empty() {
            flow = self.wait(out)?;
        }
        Ok(flow)
    }

    fn send(&mut self, ticket: u64, block: Block) -> Result<()> {
        let workers = match &mut self.workers {
            Some(workers) => workers,
            none => none.insert(Workers::start(&self.format, self.decoders)?),
        };
        let sent = workers.jobs.as_ref().and_then(|jobs| jobs.send((ticket, block)).ok());
        sent.ok_or_else(|| Error::failed("the decoding threads have ended"))
    }

    /// Waits for one block to be decoded and emits what is ready.
    fn wait(&mut self, out: &mut SourceOutput) -> Result<Flow> {
        if self.pending.front().is_some_and(|front| front.outcome.is_none()) {
            let done = self.workers.as_ref().and_then(|workers| workers.done.recv().ok());
            let done = done.ok_or_else(|| Error::failed("the decoding threads have ended"))?;
            self.store(done);
        }
        self.emit_ready(out)
    }

    fn store(&mut self, done: Done) {
        self.buffers.give(done.bytes);
        let slot = usize::try_from(done.ticket - self.first).ok();
        if let Some(pending) = slot.and_then(|slot| self.pending.get_mut(slot)) {
            pending.outcome = Some(done.outcome);
        }
    }

    /// Emits the results at the head of the queue, without waiting for any.
    fn emit_ready(&mut self, out: &mut SourceOutput) -> Result<Flow> {
        while let Some(done) = self.workers.as_ref().and_then(|workers| workers.done.try_recv().ok()) {
            self.store(done);
        }
        while let Some(Pending { outcome: Some(_), .. }) = self.pending.front()
            && let Some(Pending {
                position,
                outcome: Some(outcome),
            }) = self.pending.pop_front()
        {
            self.first += 1;
            if emit(outcome?, position, out) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(out.flow())
    }
}

impl Workers {
    fn start(format: &FormatSource, count: usize) -> Result<Self> {
        let (jobs, work) = bounded::<(u64, Block)>(count * BLOCKS_PER_DECODER);
        let (results, done) = bounded::<Done>(count * BLOCKS_PER_DECODER);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let mut decoder = format.decoder()?;
            let (work, results) = (work.clone(), results.clone());
            let thread = std::thread::Builder::new().name(format!("decode-{number}"));
            let body = move || {
                for (ticket, block) in work {
                    let outcome = decode(decoder.as_mut(), &block);
                    let bytes = block.bytes;
                    if results.send(Done { ticket, bytes, outcome }).is_err() {
                        return;
                    }
                }
            };
            threads.push(
                thread
                    .spawn(body)
                    .map_err(|e| Error::io("cannot start a decoding thread", e))?,
            );
        }
        Ok(Workers {
            jobs: Some(jobs),
            done,
            threads,
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        // Results nobody wants any more must not hold a worker up.
        while self.done.recv().is_ok() {}
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a decoding thread panicked");
            }
        }
    }
}

/// Decodes; a panic in the decoder is an error, so that its block is not waited for.
fn decode(decoder: &mut dyn Decoder, block: &Block) -> Result<Decoded> {
    catch_unwind(AssertUnwindSafe(|| decoder.decode(block))).unwrap_or_else(|_| {
        Err(Error::failed(format!(
            "the decoder panicked near line {}",
            block.first_line
        )))
    })
}

/// Hands over what a block held; blocks of nothing but white space need no hand-over.
fn emit(decoded: Decoded, position: Option<Position>, out: &mut SourceOutput) -> Flow {
    if decoded.columns.num_rows() == 0 && decoded.errors.is_empty() {
        return out.flow();
    }
    out.emit_decoded(decoded, position)
}
