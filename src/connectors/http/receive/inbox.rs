//! [`Inbox`]: requests between the listener, which reads them, and the source, which decodes them.
//!
//! The listener never waits for the source: what does not fit is refused. What is here at once when the source looks becomes one batch, so
//! batches grow with the load.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::from_request::Values;
use super::seen::Meeting;
use crate::event::Micros;

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its events have been taken.
    Taken,
    /// No event of it could be decoded, for that reason.
    Undecodable(String),
    /// The app is busy.
    Busy,
    /// The app is stopping.
    Stopping,
    /// Its events have been taken, but no checkpoint holds them in time.
    NotDurable,
}

/// A request that waits for its answer.
pub struct Post {
    /// Its body.
    pub body: Bytes,
    /// What it has around it.
    pub values: Values,
    /// When it came, by the clock of events.
    pub time: Micros,
    /// When it came.
    pub since: Instant,
    /// Where the answer goes.
    pub reply: Reply,
    /// Counts its bytes.
    pub _held: Held,
}

/// Where the answer to a request goes.
pub struct Reply {
    /// To its connection.
    pub answer: oneshot::Sender<Verdict>,
    /// Its id, where ids are remembered.
    pub meeting: Option<Meeting>,
}

impl Reply {
    /// Answers.
    pub fn give(self, verdict: Verdict) {
        if verdict == Verdict::Taken
            && let Some(meeting) = self.meeting
        {
            meeting.taken();
        }
        // The caller may have gone.
        let _ = self.answer.send(verdict);
    }
}

/// The requests of one stream that wait to be decoded.
pub struct Inbox {
    posts: Mutex<Posts>,
    /// Wakes the source.
    news: Sender<()>,
    budget: Arc<Budget>,
}

#[derive(Default)]
struct Posts {
    waiting: VecDeque<Post>,
    closed: bool,
}

/// How many bytes of bodies are held, and may be.
#[derive(Debug)]
struct Budget {
    held: AtomicUsize,
    most: usize,
}

/// Bytes of a body; they are given back when it is dropped.
pub struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    /// So many bytes more; false if they are not to be had.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.most {
            self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Inbox {
    /// For bodies of so many bytes; `news` wakes the source.
    pub fn new(most: usize, news: Sender<()>) -> Self {
        Inbox {
            posts: Mutex::default(),
            news,
            budget: Arc::new(Budget {
                held: AtomicUsize::new(0),
                most,
            }),
        }
    }

    /// For a body that is about to be read.
    pub fn hold(&self) -> Held {
        Held {
            budget: self.budget.clone(),
            bytes: 0,
        }
    }

    /// Takes a request. *Errors.* The app is stopping.
    pub fn put(&self, post: Post) -> Result<(), Verdict> {
        let first = {
            let mut posts = self.posts.lock();
            if posts.closed {
                return Err(Verdict::Stopping);
            }
            posts.waiting.push_back(post);
            posts.waiting.len() == 1
        };
        if first {
            // One that is there already is as good.
            let _ = self.news.try_send(());
        }
        Ok(())
    }

    /// What waits, in its order, up to about so many bytes.
    pub fn take(&self, most: usize) -> Vec<Post> {
        let mut posts = self.posts.lock();
        let mut bytes = 0;
        let fits = |post: &&Post| {
            let fits = bytes < most;
            bytes += post.body.len();
            fits
        };
        let count = posts.waiting.iter().take_while(fits).count();
        posts.waiting.drain(..count).collect()
    }

    /// Those that have waited longer than that.
    pub fn expired(&self, longest: Duration) -> Vec<Post> {
        let mut posts = self.posts.lock();
        let count = posts
            .waiting
            .iter()
            .take_while(|post| post.since.elapsed() >= longest)
            .count();
        posts.waiting.drain(..count).collect()
    }

    /// Whether the app is stopping.
    pub fn is_closed(&self) -> bool {
        self.posts.lock().closed
    }

    /// Takes nothing any more; what waits.
    pub fn close(&self) -> Vec<Post> {
        let mut posts = self.posts.lock();
        posts.closed = true;
        posts.waiting.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(inbox: &Inbox, body: &'static str) -> (Post, oneshot::Receiver<Verdict>) {
        let (answer, verdict) = oneshot::channel();
        let mut held = inbox.hold();
        assert!(held.grow(body.len()));
        let post = Post {
            body: Bytes::from_static(body.as_bytes()),
            values: Vec::new(),
            time: 0,
            since: Instant::now(),
            reply: Reply { answer, meeting: None },
            _held: held,
        };
        (post, verdict)
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let (news, woken) = crossbeam_channel::bounded(1);
        let inbox = Inbox::new(10, news);
        for body in ["1234", "5678"] {
            assert!(inbox.put(post(&inbox, body).0).is_ok());
        }
        assert_eq!(woken.len(), 1);
        assert!(!inbox.hold().grow(3));
        assert!(inbox.hold().grow(2));
        // Whole bodies, the first of them always.
        assert_eq!(inbox.take(1).len(), 1);
        assert!(inbox.hold().grow(6));
        assert!(inbox.expired(Duration::from_secs(60)).is_empty());
        assert_eq!(inbox.expired(Duration::ZERO).len(), 1);
        assert!(inbox.put(post(&inbox, "9").0).is_ok());
        assert_eq!(inbox.close().len(), 1);
        assert_eq!(inbox.put(post(&inbox, "9").0), Err(Verdict::Stopping));
        assert_eq!(inbox.budget.held.load(Ordering::Relaxed), 0);
    }
}
