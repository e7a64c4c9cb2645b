//! Leases over objects in memory, which know conditional writes as S3 does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::{Content, LOCK, Lease};
use crate::error::Error;
use crate::recovery::s3::Io;

const LENGTH: Duration = Duration::from_millis(300);

fn place() -> (Arc<Io>, Arc<dyn ObjectStore>) {
    (Io::start().unwrap(), Arc::new(InMemory::new()))
}

fn take(io: &Arc<Io>, objects: &Arc<dyn ObjectStore>) -> Result<Lease, Error> {
    Lease::take(io, objects.clone(), "s3://b", LENGTH)
}

/// Writes the object as another process would, and does nothing more.
fn write(io: &Arc<Io>, objects: &Arc<dyn ObjectStore>, owner: &str, milliseconds: u64) {
    let content = Content {
        owner: owner.to_string(),
        who: format!("process {owner}"),
        beat: 7,
        milliseconds,
    };
    let (objects, bytes) = (objects.clone(), serde_json::to_vec(&content).unwrap());
    let put = io.wait(async move { objects.put(&Path::from(LOCK), PutPayload::from(bytes)).await });
    put.unwrap().unwrap();
}

#[test]
fn one_at_a_time_however_long_it_is_held() {
    let (io, objects) = place();
    let first = take(&io, &objects).unwrap();
    std::thread::sleep(LENGTH * 3);
    let error = take(&io, &objects).unwrap_err().to_string();
    let own = format!("in use by process {}", std::process::id());
    assert!(error.contains(&own), "{error}");
    first.confirm().unwrap();
    drop(first);
    // What was given back is free at once.
    let began = Instant::now();
    let again = take(&io, &objects).unwrap();
    assert!(began.elapsed() < LENGTH);
    again.confirm().unwrap();
}

#[test]
fn what_a_killed_process_held_is_free_after_its_lease_and_not_before() {
    let (io, objects) = place();
    write(&io, &objects, "9", 600);
    let began = Instant::now();
    let lease = take(&io, &objects).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(600));
    lease.confirm().unwrap();
}

#[test]
fn who_was_overtaken_is_told_and_never_takes_it_back() {
    let (io, objects) = place();
    let lease = take(&io, &objects).unwrap();
    write(&io, &objects, "9", 60_000);
    std::thread::sleep(LENGTH);
    for _ in 0..2 {
        let error = lease.confirm().unwrap_err().to_string();
        assert!(error.contains("taken over by process 9"), "{error}");
    }
    drop(lease);
    let found = io.wait(async move { objects.get(&Path::from(LOCK)).await.unwrap().bytes().await });
    let found: Content = serde_json::from_slice(&found.unwrap().unwrap()).unwrap();
    assert_eq!(found.owner, "9");
}

#[test]
fn of_many_that_start_at_once_one_wins() {
    let (io, objects) = place();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (io, objects) = (io.clone(), objects.clone());
            std::thread::spawn(move || take(&io, &objects))
        })
        .collect();
    let taken: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
}

#[test]
fn a_lock_that_nobody_can_read_is_watched_and_written_over() {
    let (io, objects) = place();
    let torn = objects.clone();
    let put = io.wait(async move { torn.put(&Path::from(LOCK), PutPayload::from_static(b"{")).await });
    put.unwrap().unwrap();
    let began = Instant::now();
    take(&io, &objects).unwrap();
    assert!(began.elapsed() >= LENGTH);
}
