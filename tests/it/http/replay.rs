//! `eventflux replay`: dead letters of webhooks against the receiver in Python, those of a source against a running app.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::client::{App, free_port, sql};
use super::{Receiver, app, calls, events};
use crate::support::{Running, Scratch};

const DLQ: &str = ", error.strategy = 'dlq', error.dlq.stream = 'Dead', error.retry.max-attempts = 2, \
                   error.retry.initial-delay = '1 ms', error.log-level = 'off', \"http.breaker.failures\" = 0";

fn letters(scratch: &Scratch, file: &str) -> Vec<Value> {
    scratch
        .lines(file)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// By number of the event: its id.
fn ids_of(letters: &[Value]) -> BTreeMap<i64, String> {
    let id = |letter: &Value| {
        let event: Value = serde_json::from_str(letter["originalEvent"].as_str().unwrap()).unwrap();
        (
            event["n"].as_i64().unwrap(),
            event["webhook-id"].as_str().unwrap().to_string(),
        )
    };
    letters.iter().map(id).collect()
}

#[test]
fn webhooks_are_sent_once_more_under_their_ids() {
    let scratch = Scratch::new();
    let Some(receiver) = Receiver::start(&scratch, &["refuse=7", "dead=9"]) else {
        return;
    };
    let port = receiver.port;
    scratch.write("in.ndjson", events(80));
    scratch.write("app.sql", app(port, DLQ));
    scratch.run(["run", "app.sql"]).code(0);
    let dead = letters(&scratch, "dead.ndjson");
    let before = ids_of(&dead);
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), [7, 9, 47, 49]);
    let sent_before = calls(&scratch).len();
    let from = ["replay", "app.sql", "--from", "dead.ndjson"];
    let dry = scratch.run([&from[..], &["--dry-run"]].concat()).code(0);
    assert_eq!(dry.stdout, "4 would be sent, 0 failed, 0 skipped\n");
    assert_eq!(calls(&scratch).len(), sent_before);
    // Both are still refused.
    let again = scratch.run([&from[..], &["--failed", "again.ndjson"]].concat()).code(1);
    assert_eq!(again.stdout, "0 sent, 4 failed, 0 skipped\n");
    let failed = letters(&scratch, "again.ndjson");
    assert_eq!(ids_of(&failed), before);
    let attempts = |letters: &[Value], kind: &str| {
        let of = letters.iter().filter(|letter| letter["errorType"] == kind);
        of.map(|letter| letter["attemptCount"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (attempts(&failed, "refused"), attempts(&failed, "sink")),
        (vec![2, 2], vec![4, 4])
    );
    assert!(
        failed
            .iter()
            .all(|letter| letter["streamName"] == "Hook" && letter.as_object().unwrap().len() == 6)
    );
    // The receiver has recovered.
    drop(receiver);
    let options = [format!("port={port}")];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let _receiver = Receiver::start(&scratch, &options).unwrap();
    let before_replay = calls(&scratch).len();
    let started = std::time::Instant::now();
    let part = scratch.run([
        "replay",
        "app.sql",
        "--from",
        "again.ndjson",
        "--type",
        "sink",
        "--stream",
        "hook",
        "--rate",
        "4",
    ]);
    assert_eq!(part.code(0).stdout, "2 sent, 0 failed, 0 skipped\n");
    assert!(started.elapsed() > Duration::from_millis(250));
    let rest = scratch
        .run(["replay", "app.sql", "--from", "again.ndjson", "--type", "refused"])
        .code(0);
    assert_eq!(rest.stdout, "2 sent, 0 failed, 0 skipped\n");
    let delivered: BTreeMap<i64, String> = calls(&scratch)
        .iter()
        .skip(before_replay)
        .map(|call| {
            assert_eq!(
                (call.status, call.path.as_str()),
                (200, format!("/hook/{}", call.key).as_str())
            );
            (call.number, call.id.clone())
        })
        .collect();
    assert_eq!(delivered, before, "as if they had not failed");
}

#[test]
fn which_letters_and_what_is_no_letter() {
    let scratch = Scratch::new();
    let letter = |event: &str, kind: &str, time: &str, stream: &str| {
        serde_json::json!({"originalEvent": event, "errorMessage": "no", "errorType": kind, "timestamp": time,
                           "attemptCount": 1, "streamName": stream})
        .to_string()
    };
    let lines = [
        letter(r#"{"id":1,"item":"a"}"#, "sink", "2026-03-02T09:00:00Z", "Out"),
        letter(r#"{"id":2}"#, "sink", "2026-03-02T10:00:00Z", "Out"),
        letter(r#"{"id":"x"}"#, "sink", "2026-03-02T11:00:00Z", "Out"),
        "no letter".to_string(),
        letter("raw, text", "decode", "2026-03-02T09:00:00Z", "Orders"),
        letter("{}", "sink", "2026-03-02T09:00:00Z", "Nobody"),
        letter("{}", "evaluate", "2026-03-02T09:00:00Z", "Between"),
    ];
    scratch.write("dead.ndjson", lines.join("\n"));
    scratch.write("in.csv", "");
    let text = "CREATE STREAM Orders (id LONG, item STRING) WITH (type = 'source', extension = 'file', format = 'csv', \"file.path\" = 'in.csv');
                CREATE STREAM Out (id LONG, item STRING) WITH (type = 'sink', extension = 'stdout', format = 'json');
                INSERT INTO Between SELECT * FROM Orders; INSERT INTO Out SELECT id, item FROM Between;";
    scratch.write("app.sql", text);
    let replay = |more: &[&str]| scratch.run([&["replay", "app.sql", "--from", "dead.ndjson"], more].concat());
    let all = replay(&["--records", "again.csv", "--failed", "failed.ndjson"]).code(1);
    assert_eq!(
        all.stdout,
        "{\"id\":1,\"item\":\"a\"}\n{\"id\":2,\"item\":null}\n2 sent, 2 failed, 2 skipped, 1 written as records\n"
    );
    assert_eq!(scratch.read("again.csv"), "raw, text\n");
    assert_eq!(letters(&scratch, "failed.ndjson").len(), 1);
    let all = all
        .complains("line 3: originalEvent is no event of the stream")
        .complains("line 4: no dead letter");
    all.complains("the app has no stream 'Nobody'")
        .complains("'Between' is neither a source nor a sink");
    let chosen = replay(&[
        "--stream",
        "Out",
        "--since",
        "2026-03-02T09:30:00Z",
        "--until",
        "2026-03-02T11:00:00Z",
    ]);
    assert!(
        chosen.stdout.contains("\"id\":2") && chosen.stdout.ends_with("1 sent, 1 failed, 0 skipped\n"),
        "{chosen:?}"
    );
    replay(&["--type", "decode"]).complains("--records FILE writes its records to a file");
    replay(&["--since", "yesterday"])
        .code(2)
        .complains("a time is written as");
    replay(&["--stream", "Ovt"]).code(2).complains("Ovt");
    let missing = scratch.run(["replay", "app.sql", "--from", "nothing.ndjson"]);
    missing.code(2).complains("cannot read nothing.ndjson");
}

/// Records that a receiver could not decode go to the running app, by the way that callers take.
#[test]
fn records_of_a_receiver_go_to_the_running_app() {
    let scratch = Scratch::new();
    let port = free_port();
    let options = ", \"http.hmac\" = 'standard-webhooks', \"http.secret\" = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', \
                   \"http.api-key\" = 'k1 k2', error.strategy = 'dlq', error.dlq.stream = 'Dead', error.log-level = 'off'";
    let dead = "CREATE STREAM Dead (originalEvent STRING, errorMessage STRING, errorType STRING, timestamp TIMESTAMP,
                                    attemptCount INT, streamName STRING)
                WITH (type = 'sink', extension = 'file', format = 'json', \"file.path\" = 'dead.ndjson');";
    scratch.write("app.sql", sql(port, options) + dead);
    let letter = |event: &str| {
        serde_json::json!({"originalEvent": event, "errorMessage": "no", "errorType": "decode",
                           "timestamp": "2026-03-02T09:00:00Z", "attemptCount": 1, "streamName": "Orders"})
        .to_string()
    };
    scratch.write(
        "old.ndjson",
        [letter(r#"{"id":1,"item":"é"}"#), letter(r#"{"id":"x"}"#)].join("\n"),
    );
    let app = App::run(scratch, port, &["run", "app.sql", "--state-dir", "state"]);
    let replayed = app
        .scratch
        .run(["replay", "app.sql", "--from", "old.ndjson", "--failed", "still.ndjson"])
        .code(1);
    assert_eq!(replayed.stdout, "1 sent, 1 failed, 0 skipped\n");
    let replayed = replayed.complains("400 Bad Request").complains("expected LONG");
    drop(replayed);
    assert_eq!(app.ids(1), [1]);
    let still: BTreeSet<String> = letters(&app.scratch, "still.ndjson")
        .iter()
        .map(|letter| letter["originalEvent"].to_string())
        .collect();
    assert_eq!(still, [r#""{\"id\":\"x\"}""#.to_string()].into());
    let scratch = app.scratch;
    app.running.signal(libc::SIGTERM);
    app.running.end().code(0);
    let mut gone = Running::start(&mut scratch.eventflux(["replay", "app.sql", "--from", "old.ndjson", "--dry-run"]));
    gone.wait_for("its end", |_| true);
    assert_eq!(gone.end().code(0).stdout, "2 would be sent, 0 failed, 0 skipped\n");
}
