//! [`SourceOutput`]: where a source puts its events; the channel behind it is the back-pressure.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, TryRecvError, TrySendError, select};
use parking_lot::Mutex;

use super::Position;
use crate::error::{ErrorKind, RowError};
use crate::event::{Clock, EventBatch, Mark, Micros, Times};
use crate::formats::Decoded;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a source ends when told to stop"]
pub enum Flow {
    /// Go on.
    Continue,
    /// The app is stopping: return from [`super::Source::run`].
    Stop,
}

/// Whether a hand-over would have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The next one goes through at once.
    Free,
    /// The app is busy.
    Full,
    /// The app is stopping.
    Stop,
}

/// What a source hands over at once.
#[derive(Debug)]
pub struct Emitted {
    /// The events, stamped with their arrival time.
    pub batch: EventBatch,
    /// The events that could not be decoded.
    pub errors: Vec<RowError>,
    /// Where the source stands after them.
    pub position: Option<Position>,
    /// What stands around them.
    pub around: Around,
}

/// What a source says before and after the events that it hands over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// Before them.
    pub before: Option<Mark>,
    /// After them.
    pub after: Option<Mark>,
    /// After them: no event older than this will come. Only from sources that tell event time by themselves.
    pub watermark: Option<Micros>,
}

impl Emitted {
    /// Whether no event came with it, good or bad.
    pub fn is_nothing(&self) -> bool {
        let marks = self.around.before.is_some() || self.around.after.is_some();
        !marks && self.batch.is_empty() && self.errors.iter().all(|error| error.kind == ErrorKind::Source)
    }
}

/// Told when to stop: the channel disconnects.
pub type StopSignal = Receiver<std::convert::Infallible>;

/// The position of a source that the newest checkpoint holds.
pub type DurablePosition = Arc<Mutex<Option<Position>>>;

/// What of the positions that a source has emitted will be there after a crash.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// None ever: there are no checkpoints.
    Nowhere,
    /// This one; nothing before it is asked for again.
    UpTo(Option<Position>),
}

/// A source's way into the app.
pub struct SourceOutput {
    events: Sender<Emitted>,
    stop: StopSignal,
    clock: Arc<dyn Clock>,
    progress: Option<Progress>,
    durable: Option<DurablePosition>,
}

/// How far a source has come, where that is asked for.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The last position that it emitted.
    pub position: Option<Position>,
    /// How often it has emitted.
    pub emitted: u64,
}

impl SourceOutput {
    /// An output into a bounded channel. `stop` disconnects when the source shall end.
    pub fn new(events: Sender<Emitted>, stop: StopSignal, clock: Arc<dyn Clock>) -> Self {
        SourceOutput {
            events,
            stop,
            clock,
            progress: None,
            durable: None,
        }
    }

    /// With checkpoints: where the position of the newest is told.
    pub fn with_durable(mut self, durable: Option<DurablePosition>) -> Self {
        self.durable = durable;
        self
    }

    /// What will be there after a crash.
    pub fn kept(&self) -> Kept {
        match &self.durable {
            None => Kept::Nowhere,
            Some(durable) => Kept::UpTo(durable.lock().clone()),
        }
    }

    /// Remembers from here on how far the source has come; `position` is where it begins.
    pub fn follow(&mut self, position: Option<Position>) {
        self.progress = Some(Progress { position, emitted: 0 });
    }

    /// How far the source has come since [`SourceOutput::follow`].
    pub fn progress(&self) -> Progress {
        self.progress.clone().unwrap_or_default()
    }

    /// Hands over rows, which arrive now. Blocks while the app is busy.
    pub fn emit(&mut self, columns: RecordBatch, position: Option<Position>) -> Flow {
        let batch = EventBatch::inserts(columns, Times::Same(self.clock.now()));
        self.hand_over(Emitted {
            batch,
            errors: Vec::new(),
            position,
            around: Around::default(),
        })
    }

    /// Hands over a decoded block: its rows and its bad records. Blocks while the app is busy.
    pub fn emit_decoded(&mut self, decoded: Decoded, position: Option<Position>) -> Flow {
        let at = self.clock.now();
        let batch = EventBatch::inserts(decoded.columns, Times::Same(at));
        let errors = decoded
            .errors
            .into_iter()
            .map(|bad| RowError {
                kind: ErrorKind::Decode,
                message: bad.message,
                event: bad.raw,
                line: Some(bad.line),
                at,
                attempts: 1,
            })
            .collect();
        self.hand_over(Emitted {
            batch,
            errors,
            position,
            around: Around::default(),
        })
    }

    /// Hands over a batch as it is. Blocks while the app is busy.
    pub fn hand_over(&mut self, emitted: Emitted) -> Flow {
        let position = self.progress.as_ref().and_then(|_| emitted.position.clone());
        let flow = self.pass_on(emitted);
        if let Some(progress) = &mut self.progress {
            progress.emitted += 1;
            progress.position = position.or(progress.position.take());
        }
        flow
    }

    fn pass_on(&mut self, emitted: Emitted) -> Flow {
        let emitted = match self.events.try_send(emitted) {
            Ok(()) => return self.flow(),
            Err(TrySendError::Disconnected(_)) => return Flow::Stop,
            Err(TrySendError::Full(emitted)) => emitted,
        };
        select! {
            send(self.events, emitted) -> sent => match sent {
                Ok(()) => Flow::Continue,
                Err(_) => Flow::Stop,
            },
            recv(self.stop) -> _ => Flow::Stop,
        }
    }

    /// Whether the app is stopping.
    pub fn flow(&self) -> Flow {
        match self.stop.try_recv() {
            Err(TryRecvError::Empty) => Flow::Continue,
            Err(TryRecvError::Disconnected) | Ok(_) => Flow::Stop,
        }
    }

    /// Sleeps, but wakes up at once when the app stops.
    pub fn wait(&self, duration: Duration) -> Flow {
        match self.stop.recv_timeout(duration) {
            Err(RecvTimeoutError::Timeout) => Flow::Continue,
            Err(RecvTimeoutError::Disconnected) | Ok(_) => Flow::Stop,
        }
    }

    /// Sleeps until there is news, for so long or for ever, or until the app stops.
    pub fn wait_for_news(&self, news: &Receiver<()>, longest: Option<Duration>) -> Flow {
        let longest = longest.map_or_else(crossbeam_channel::never, crossbeam_channel::after);
        select! {
            recv(news) -> _ => self.flow(),
            recv(longest) -> _ => self.flow(),
            recv(self.stop) -> _ => Flow::Stop,
        }
    }

    /// Waits, but not longer than that, until the next hand-over would not have to.
    pub fn wait_for_room(&self, longest: Duration) -> Room {
        if self.flow() == Flow::Stop {
            return Room::Stop;
        }
        if !self.events.is_full() {
            return Room::Free;
        }
        let mut select = Select::new();
        let room = select.send(&self.events);
        select.recv(&self.stop);
        match select.ready_timeout(longest) {
            Ok(ready) if ready == room => Room::Free,
            Ok(_) => Room::Stop,
            Err(_) => Room::Full,
        }
    }

    /// Processing time.
    pub fn now(&self) -> Micros {
        self.clock.now()
    }
}
