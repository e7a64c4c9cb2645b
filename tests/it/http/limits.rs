//! The receiver under those who mean no good, and under too much of a good thing.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::client::{App, Client, free_port, sql};
use crate::support::{Running, Scratch, wait_until};

#[test]
fn who_is_slow_is_left() {
    let app = App::start(", \"http.head.timeout\" = '300 ms', \"http.body.timeout\" = '300 ms'");
    let began = Instant::now();
    // A head, byte by byte: each is in time, all of it is not.
    let mut slow = app.client();
    let ended = std::iter::repeat_n(b"x-a: b\r\n", 200).find_map(|line| {
        use std::io::Write;
        let written = slow.0.write_all(line);
        std::thread::sleep(Duration::from_millis(20));
        slow.0.set_nonblocking(true).unwrap();
        let gone = slow.0.read(&mut [0; 64]).is_ok() || written.is_err();
        slow.0.set_nonblocking(false).unwrap();
        gone.then_some(())
    });
    assert!(
        ended.is_some() && began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    // A body that never ends.
    let mut slow = app.client();
    let answer = slow.ask("POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    assert_eq!(answer.status, 408);
    // A connection that says nothing.
    let mut idle = app.client();
    assert_eq!(idle.answer(), None);
    assert_eq!(app.client().post("/orders", "", br#"{"id":1}"#).status, 202);
}

#[test]
fn connections_are_limited_and_come_back() {
    let app = App::start(", \"http.max-connections\" = 50");
    let mut open: Vec<Client> = (0..50).map(|_| app.client()).collect();
    for client in &mut open {
        assert_eq!(client.post("/orders", "", br#"{"id":1}"#).status, 202);
    }
    // Many more are closed at once, and do no harm to those that are there.
    for _ in 0..500 {
        if let Ok(mut refused) = TcpStream::connect(("127.0.0.1", app.port)) {
            refused.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert!(matches!(refused.read(&mut [0; 8]), Ok(0) | Err(_)));
        }
    }
    assert_eq!(open[7].post("/orders", "", br#"{"id":2}"#).status, 202);
    drop(open);
    wait_until("a free connection", || {
        let mut client = app.client();
        use std::io::Write;
        let body = super::client::request("/orders", "", br#"{"id":3}"#);
        client.0.write_all(&body).is_ok() && client.answer().is_some_and(|answer| answer.status == 202)
    });
    assert!(app.ids(52).contains(&3));
}

fn rss(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Nobody reads what the sink writes.
#[test]
fn a_stuck_sink_makes_callers_wait_and_not_memory_grow() {
    let scratch = Scratch::new();
    let port = free_port();
    let options =
        ", \"http.busy.timeout\" = '50 ms', \"http.retry-after\" = '7 seconds', \"http.buffer.max-bytes\" = 4000000";
    let text = sql(port, options)
        .replace("extension = 'file'", "extension = 'stdout'")
        .replace(",\n           \"file.path\" = 'out.ndjson'", "");
    scratch.write("app.sql", text);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut running = Running::start_into(
        &mut scratch.eventflux(["run", "app.sql", "--quiet"]),
        OwnedFd::from(writer).into(),
    );
    running.wait_for("the listener", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
    let body = format!(
        "[{}]",
        vec![format!("{{\"id\":1,\"item\":\"{}\"}}", "x".repeat(200)); 200].join(",")
    );
    let (taken, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let (stop, longest) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut before = 0;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Client::new(port);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = client.post("/orders", "", &body);
                    longest.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
                    match answer.status {
                        202 => taken.fetch_add(1, Ordering::Relaxed),
                        429 => {
                            assert_eq!(answer.header("retry-after"), Some("7"));
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other}"),
                    };
                }
            });
        }
        wait_until("it is stuck", || refused.load(Ordering::Relaxed) > 50);
        before = rss(running.child.id());
        let so_far = refused.load(Ordering::Relaxed);
        let taken_so_far = taken.load(Ordering::Relaxed);
        wait_until("many more", || refused.load(Ordering::Relaxed) > so_far + 3_000);
        assert!(taken.load(Ordering::Relaxed) < taken_so_far + 20);
        stop.store(true, Ordering::Relaxed);
    });
    let after = rss(running.child.id());
    // 3,000 bodies of 45 kB would be 135 MB.
    assert!(after < before + 30_000, "{before} kB, then {after} kB");
    assert!(longest.load(Ordering::Relaxed) < 20_000);
    // When somebody reads, what was taken comes, and it goes on.
    let drain = std::thread::spawn(move || {
        let mut lines = 0;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        lines
    });
    let mut client = Client::new(port);
    wait_until("it goes on", || {
        client.post("/orders", "", br#"{"id":2}"#).status == 202
    });
    running.signal(libc::SIGTERM);
    running.end().code(0);
    assert_eq!(drain.join().unwrap(), taken.load(Ordering::Relaxed) * 200 + 1);
}
