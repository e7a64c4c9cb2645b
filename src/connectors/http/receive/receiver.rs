//! [`Receiver`]: the source's side. It decodes what has come as one batch, hands it over, and answers.
//!
//! Requests leave the inbox only when the pipeline has room, so that a hand-over never waits: while it has none they wait, for a
//! limited time, and are then told to come again. With `http.ack = 'durable'` each batch has a number, its position, and its requests are
//! answered when a checkpoint holds that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use serde_json::json;

use super::endpoint::Endpoint;
use super::from_request::{FromRequest, complete, of_bodies};
use super::inbox::{Inbox, Post, Reply, Verdict};
use super::listener::{Listeners, Seat};
use super::settings::{Acknowledging, Settings};
use crate::config::options::Options;
use crate::connectors::http::bodies::{Bodies, Read};
use crate::connectors::{Flow, Source, Unfit};
use crate::connectors::{FormatSource, Kept, Position, Room, SourceOutput, SourceSpec};
use crate::error::{Code, Diagnostic, Error, Result};
use crate::event::Micros;
use crate::formats::{DecodeSchema, Decoded};

/// About the most bytes of bodies that are decoded as one batch.
const BATCH_BYTES: usize = 4 << 20;

/// How often it is looked whether a checkpoint has been written.
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
pub struct Receiver {
    stream: String,
    schema: DecodeSchema,
    /// Taken by the endpoint when it runs.
    settings: Option<Settings>,
    from_request: Vec<FromRequest>,
    acknowledging: Acknowledging,
    bodies: Bodies,
    options: Options,
    listeners: Arc<Listeners>,
    /// The number of the last batch.
    number: u64,
    /// Requests whose batches are not durable yet, oldest first.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    number: u64,
    since: Instant,
    replies: Vec<Reply>,
}

impl Receiver {
    /// Checks the options; does not listen.
    pub fn new(spec: SourceSpec, listeners: Arc<Listeners>) -> Result<Self, Diagnostic> {
        let format: FormatSource = spec
            .format
            .ok_or_else(|| Diagnostic::new(Code::MissingOption, "an http source needs a format"))?;
        let settings = Settings::new(&spec.options, &spec.stream, format.name(), &spec.schema.declared)?;
        let from_request = settings.endpoint.from_request.clone();
        let columns: Vec<usize> = from_request.iter().map(|from| from.column).collect();
        Ok(Receiver {
            bodies: Bodies::new(format.without(&columns), of_bodies(&spec.schema, &from_request))?,
            stream: spec.stream,
            schema: spec.schema,
            options: spec.options,
            acknowledging: settings.acknowledging,
            settings: Some(settings),
            from_request,
            listeners,
            number: 0,
            waiting: VecDeque::new(),
        })
    }

    fn open(&mut self, out: &SourceOutput) -> Result<(Arc<Endpoint>, Seat, crossbeam_channel::Receiver<()>)> {
        let settings = self
            .settings
            .take()
            .ok_or_else(|| Error::failed("the source has run before"))?;
        if self.acknowledging.durable && out.kept() == Kept::Nowhere {
            return Err(Error::failed(
                "\"http.ack\" = 'durable' needs checkpoints, and there are none: run it with --state-dir, or set [application.checkpoint]",
            ));
        }
        if settings.is_open_to_all() {
            tracing::warn!(
                stream = self.stream,
                bind = %settings.listener.bind,
                "other machines can reach this stream, and nobody has to sign in: set http.auth or http.hmac, or bind it to 127.0.0.1"
            );
        }
        let (wake, news) = bounded(1);
        let inbox = Inbox::new(settings.endpoint.max_held, wake);
        let endpoint = Arc::new(Endpoint::new(settings.endpoint, inbox));
        let seat = self
            .listeners
            .join(&self.stream, &settings.listener, endpoint.clone())?;
        tracing::debug!(
            stream = self.stream,
            address = %seat.address(),
            path = endpoint.settings.path,
            "takes requests"
        );
        Ok((endpoint, seat, news))
    }

    /// Waits until the pipeline has room; meanwhile answers those that wait too long.
    fn wait_for_room(&mut self, inbox: &Inbox, seat: &Seat, out: &SourceOutput) -> Flow {
        loop {
            match out.wait_for_room(LOOK) {
                Room::Free => return Flow::Continue,
                Room::Stop => return Flow::Stop,
                Room::Full => {}
            }
            let expired = inbox.expired(self.acknowledging.busy_timeout);
            seat.answer(expired.into_iter().map(|post| (post.reply, Verdict::Busy)).collect());
            seat.answer(self.durable(out));
        }
    }

    /// Decodes requests, hands their events over and answers, now or when they are durable.
    fn pass_on(&mut self, posts: Vec<Post>, seat: &Seat, out: &mut SourceOutput) -> Result<Flow> {
        let (decoded, read) = self.decode(&posts)?;
        self.number += 1;
        let durable = self.acknowledging.durable;
        let position = durable.then(|| json!({ "received": self.number }));
        // Its number must become durable, also if it holds nothing.
        let nothing = !durable && decoded.columns.num_rows() == 0 && decoded.errors.is_empty();
        let flow = match nothing {
            true => out.flow(),
            false => out.emit_decoded(decoded, position),
        };
        let mut answers = Vec::with_capacity(posts.len());
        let mut replies = Vec::new();
        for (post, read) in posts.into_iter().zip(read) {
            match read {
                Read::Badly(reason) => answers.push((post.reply, Verdict::Undecodable(reason))),
                // It may not have been handed over.
                Read::Well if flow == Flow::Stop => answers.push((post.reply, Verdict::Stopping)),
                Read::Well if durable => replies.push(post.reply),
                Read::Well => answers.push((post.reply, Verdict::Taken)),
            }
        }
        if !replies.is_empty() {
            self.waiting.push_back(Waiting {
                number: self.number,
                since: Instant::now(),
                replies,
            });
        }
        seat.answer(answers);
        Ok(flow)
    }

    fn decode(&mut self, posts: &[Post]) -> Result<(Decoded, Vec<Read>)> {
        let bodies: Vec<&[u8]> = posts.iter().map(|post| post.body.as_ref()).collect();
        if self.from_request.is_empty() {
            let many = self.bodies.many(&bodies)?;
            return Ok((many.decoded, many.read));
        }
        let many = self.bodies.one_by_one(&bodies)?;
        let requests: Vec<(&_, Micros)> = posts.iter().map(|post| (&post.values, post.time)).collect();
        let rows = many.rows.unwrap_or_default();
        let columns = complete(
            &self.schema,
            &self.from_request,
            &many.decoded.columns,
            &requests,
            &rows,
        )?;
        let decoded = Decoded {
            columns,
            errors: many.decoded.errors,
        };
        Ok((decoded, many.read))
    }

    /// The answers to requests that have become durable, or have waited too long for that.
    fn durable(&mut self, out: &SourceOutput) -> Vec<(Reply, Verdict)> {
        let mut answers = Vec::new();
        if self.waiting.is_empty() {
            return answers;
        }
        let kept = match out.kept() {
            Kept::UpTo(Some(position)) => position["received"].as_u64().unwrap_or(0),
            Kept::UpTo(None) | Kept::Nowhere => 0,
        };
        while let Some(first) = self.waiting.front() {
            let verdict = match () {
                () if first.number <= kept => Verdict::Taken,
                () if first.since.elapsed() >= self.acknowledging.timeout => Verdict::NotDurable,
                () => break,
            };
            let replies = self.waiting.pop_front().map(|first| first.replies).unwrap_or_default();
            answers.extend(replies.into_iter().map(|reply| (reply, verdict.clone())));
        }
        answers
    }
}

impl Source for Receiver {
    fn run(&mut self, out: &mut SourceOutput) -> Result<()> {
        let (endpoint, seat, news) = self.open(out)?;
        let result = loop {
            let longest = (!self.waiting.is_empty()).then_some(LOOK);
            if out.wait_for_news(&news, longest) == Flow::Stop {
                break Ok(());
            }
            match self.work_off(&endpoint.inbox, &seat, out) {
                Ok(Flow::Continue) => {}
                Ok(Flow::Stop) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let unanswered = self.waiting.drain(..).flat_map(|waiting| waiting.replies);
        seat.answer(unanswered.map(|reply| (reply, Verdict::Stopping)).collect());
        result
    }

    /// Only among the streams of the app: the address may be in use, and free when it is tried again.
    fn check(&mut self) -> Result<(), Unfit> {
        let Some(settings) = &self.settings else {
            return Ok(());
        };
        let endpoint = &settings.endpoint;
        let announced = self
            .listeners
            .announce(&self.stream, &settings.listener, &endpoint.path, &endpoint.method);
        announced.map_err(|(option, reason)| Unfit::Wrong(self.options.invalid(option, reason)))
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.number = position["received"].as_u64().unwrap_or(0);
        Ok(())
    }
}

impl Receiver {
    /// Takes all that is there.
    fn work_off(&mut self, inbox: &Inbox, seat: &Seat, out: &mut SourceOutput) -> Result<Flow> {
        loop {
            let answers = self.durable(out);
            seat.answer(answers);
            if self.wait_for_room(inbox, seat, out) == Flow::Stop {
                return Ok(Flow::Stop);
            }
            let posts = inbox.take(BATCH_BYTES);
            if posts.is_empty() {
                return Ok(Flow::Continue);
            }
            if self.pass_on(posts, seat, out)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
    }
}
