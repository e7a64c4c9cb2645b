//! A receiver of webhooks in this process: answers as it is told, and remembers what came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::support::wait_until;

/// A call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub status: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub text: String,
    pub at: Instant,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn id(&self) -> &str {
        self.body["event_id"].as_str().unwrap()
    }

    pub fn kind(&self) -> &str {
        self.body["event_type"].as_str().unwrap()
    }

    /// `FIRE IBM 120`.
    pub fn shown(&self) -> String {
        let data = &self.body["data"];
        let text = |name: &str| match &data[name] {
            Value::String(text) => format!(" {text}"),
            Value::Null => String::new(),
            other => format!(" {other}"),
        };
        format!("{}{}{}", self.kind(), text("symbol"), text("price"))
    }
}

type Answers = Arc<dyn Fn(&Call, usize) -> (u16, Option<u32>) + Send + Sync>;

/// See the module. It ends with the test.
pub struct Receiver {
    pub port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    /// That takes all.
    pub fn start() -> Self {
        Receiver::answering(|_, _| (200, None))
    }

    /// That answers each call, and how many were there before, with a status and `Retry-After`.
    pub fn answering(answer: impl Fn(&Call, usize) -> (u16, Option<u32>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver {
            port: listener.local_addr().unwrap().port(),
            calls: Arc::default(),
            ended: Arc::default(),
        };
        let (calls, ended, answer) = (
            receiver.calls.clone(),
            receiver.ended.clone(),
            Arc::new(answer) as Answers,
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (calls, answer) = (calls.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &calls, &answer));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// What was delivered: calls that were answered well.
    pub fn delivered(&self) -> Vec<Call> {
        let calls = self.calls();
        calls.into_iter().filter(|call| call.status == 200).collect()
    }

    /// What was delivered, shown.
    pub fn shown(&self) -> Vec<String> {
        self.delivered().iter().map(Call::shown).collect()
    }

    /// Waits until that is what was delivered.
    pub fn gets(&self, expected: &[&str]) {
        wait_until(format!("{expected:?}"), || self.shown().len() >= expected.len());
        assert_eq!(self.shown(), expected);
    }

    /// The same, in any order.
    pub fn gets_in_any_order(&self, expected: &[&str]) {
        wait_until(format!("{expected:?}"), || self.shown().len() >= expected.len());
        let mut shown = self.shown();
        shown.sort_unstable();
        assert_eq!(shown, expected);
    }

    /// Nothing more comes, as far as one can tell.
    pub fn gets_no_more_than(&self, count: usize) {
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(self.shown().len(), count, "{:?}", self.shown());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, calls: &Mutex<Vec<Call>>, answer: &Answers) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let path = line.split(' ').nth(1)?.to_string();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_string()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let text = String::from_utf8(body).ok()?;
        let mut call = Call {
            status: 0,
            path,
            headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
            at: Instant::now(),
        };
        let (status, after) = {
            let mut calls = calls.lock();
            let answered = answer(&call, calls.len());
            call.status = answered.0;
            calls.push(call);
            answered
        };
        let after = after.map_or(String::new(), |seconds| format!("retry-after: {seconds}\r\n"));
        write!(writer, "HTTP/1.1 {status} X\r\n{after}content-length: 0\r\n\r\n").ok()?;
    }
}
