//! `http.ack = 'durable'`: what was answered with 202 is there, whatever happens then.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::client::{App, Client, free_port, ids, request, sql};
use crate::support::{Running, Scratch, wait_until};

const DURABLE: &str = ", \"http.ack\" = 'durable'";

fn scratch(port: u16, options: &str, interval: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("app.sql", sql(port, options));
    scratch.write(
        "eventflux.toml",
        format!("[application.checkpoint]\ninterval = '{interval}'\n"),
    );
    scratch
}

const RUN: [&str; 4] = ["run", "app.sql", "--state-dir", "state"];

/// Posts until it is killed; `None` for what was not answered.
fn post(port: u16, id: i64) -> Option<u16> {
    use std::io::Write;
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut client = Client(stream);
    let body = format!("[{{\"id\":{id}}},{{\"id\":{}}}]", -id);
    client.0.write_all(&request("/orders", "", body.as_bytes())).ok()?;
    client.answer().map(|answer| answer.status)
}

#[test]
fn what_was_answered_with_202_is_there_after_kill_9() {
    let port = free_port();
    let scratch = scratch(port, DURABLE, "20 ms");
    let (next, taken) = (AtomicI64::new(1), Mutex::new(BTreeSet::new()));
    let mut unanswered = 0;
    for round in 0..6 {
        let mut running = Running::start(&mut scratch.eventflux(RUN));
        running.wait_for("the listener", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        let enough = taken.lock().len() + 40 + round * 7;
        let lost = AtomicI64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        match post(port, id) {
                            Some(202) => drop(taken.lock().insert(id)),
                            Some(503 | 429) => {}
                            Some(other) => panic!("{other}"),
                            None => {
                                lost.fetch_add(1, Ordering::Relaxed);
                                return;
                            }
                        }
                    }
                });
            }
            wait_until("some answers", || taken.lock().len() >= enough);
            running.signal(libc::SIGKILL);
            let _ = running.child.wait();
        });
        unanswered += lost.into_inner();
    }
    assert!(unanswered > 0, "the process was not killed under way");
    // A last run to its end.
    let app = App::run(scratch, port, &RUN);
    assert_eq!(post(port, 0), Some(202));
    let came: Vec<i64> = ids(&app.scratch);
    let unique: BTreeSet<i64> = came.iter().copied().collect();
    let taken = taken.into_inner();
    assert!(taken.len() > 240);
    for id in &taken {
        assert!(
            unique.contains(id) && unique.contains(&-id),
            "{id} was answered with 202 and is lost"
        );
    }
    // Files are exactly once, and nothing was sent twice.
    assert_eq!(came.iter().filter(|id| **id != 0).count(), unique.len() - 1);
}

#[test]
fn without_a_checkpoint_in_time_the_answer_is_no_promise() {
    let port = free_port();
    let scratch = scratch(port, &format!("{DURABLE}, \"http.ack.timeout\" = '100 ms'"), "1 hour");
    let app = App::run(scratch, port, &RUN);
    let answer = app.client().post("/orders", "", br#"{"id":1}"#);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.body.contains("no checkpoint"));
    // What holds nothing good needs none.
    assert_eq!(app.client().post("/orders", "", br#"{"id":"x"}"#).status, 400);
}

#[test]
fn who_waits_when_it_is_stopped_is_told_to_come_again() {
    let port = free_port();
    let scratch = scratch(port, DURABLE, "1 hour");
    let app = App::run(scratch, port, &RUN);
    let mut client = app.client();
    client.write(request("/orders", "", br#"{"id":1}"#));
    std::thread::sleep(Duration::from_millis(200));
    app.running.signal(libc::SIGTERM);
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let scratch = app.scratch;
    app.running.end().code(0);
    // It has come all the same: at least once.
    assert_eq!(ids(&scratch), [1]);
}

/// An empty body is durable when all before it is, and restarts go on counting.
#[test]
fn answers_come_with_the_next_checkpoint_also_after_a_restart() {
    let port = free_port();
    let scratch = scratch(port, DURABLE, "30 ms");
    let app = App::run(scratch, port, &RUN);
    assert_eq!(app.client().post("/orders", "", b"[]").status, 202);
    for id in 1..4 {
        assert_eq!(app.client().post("/orders", "", format!("{{\"id\":{id}}}")).status, 202);
    }
    app.running.signal(libc::SIGTERM);
    let scratch = app.scratch;
    app.running.end().code(0);
    let app = App::run(scratch, port, &RUN);
    assert_eq!(app.client().post("/orders", "", br#"{"id":4}"#).status, 202);
    assert_eq!(ids(&app.scratch), [1, 2, 3, 4]);
}
