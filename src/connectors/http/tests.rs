//! What requests are made of rows, and what of options is refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::entry::Entry;
use super::requests::Requests;
use super::settings::Settings;
use super::{Http, options};
use crate::config::options::{Options, RawOption};
use crate::connectors::{SinkConnector, SinkSpec};
use crate::event::{EventBatch, Op, Times};
use crate::formats::Format;
use crate::formats::json::JsonFormat;

fn batch() -> EventBatch {
    let fields = vec![
        Field::new("k", DataType::Utf8View, true),
        Field::new("n", DataType::Int64, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from(vec![Some("a"), Some("b/ü"), Some("a"), None])),
        Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None])),
    ];
    let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let ops = [Op::Insert, Op::UpdateAfter, Op::Delete, Op::Insert].into();
    EventBatch::changes(columns, Times::Same(1_000_000), ops)
}

fn spec(given: &[(&str, &str)]) -> SinkSpec {
    let schema = batch().columns().schema();
    let raw: Vec<RawOption> = given.iter().map(|(key, value)| RawOption::new(*key, *value)).collect();
    let options = Options::check("http", options::SINK, &raw).unwrap();
    let encoder = JsonFormat
        .encoder(&schema, &Options::check("json", JsonFormat.options(), &[]).unwrap())
        .unwrap();
    SinkSpec::new("Alerts", schema, options, Some(encoder))
}

fn requests(given: &[(&str, &str)]) -> Requests {
    let mut all = vec![("url", "https://example.com/hook")];
    all.retain(|(key, _)| given.iter().all(|(other, _)| key != other));
    all.extend(given);
    let mut spec = spec(&all);
    let encoder = spec.encoder.take().unwrap();
    let (settings, making) = Settings::new(&spec, encoder.media_type()).unwrap();
    Requests::new(&settings, making, encoder)
}

fn bodies(entries: &[Entry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| std::str::from_utf8(&entry.body).unwrap())
        .collect()
}

#[test]
fn a_row_is_a_request_with_an_id_that_stays() {
    let mut requests = requests(&[]);
    let first = requests.of(&batch()).unwrap();
    assert_eq!(
        bodies(&first),
        [
            r#"{"k":"a","n":1}"#,
            r#"{"k":"b/ü","n":2}"#,
            r#"{"k":"a","n":3}"#,
            r#"{"k":null,"n":null}"#
        ]
    );
    assert_eq!(first[0].events, [r#"{"k":"a","n":1}"#]);
    // Without a key all arrive in order.
    assert!(first.iter().all(|entry| entry.lane == first[0].lane));
    // The same rows later are other events; the same rows again, after a restart, are not.
    let later = requests.of(&batch()).unwrap();
    assert!(first.iter().all(|one| later.iter().all(|other| one.id != other.id)));
    requests.sequence = 0;
    assert_eq!(requests.of(&batch()).unwrap(), first);
}

#[test]
fn rows_say_where_to_with_what_and_when() {
    let mut requests = requests(&[
        ("url", "https://example.com/{{k}}?n={{n}}"),
        ("header.X-Kind", "{{#if n}}{{k}}{{else}}none{{/if}}"),
        ("header.X-Fixed", "yes"),
        ("key", "K"),
        ("event-id", "n"),
    ]);
    let entries = requests.of(&batch().slice(0, 3)).unwrap();
    let urls: Vec<&str> = entries.iter().map(|entry| entry.url.as_deref().unwrap()).collect();
    assert_eq!(
        urls,
        [
            "https://example.com/a?n=1",
            "https://example.com/b%2F%C3%BC?n=2",
            "https://example.com/a?n=3"
        ]
    );
    assert_eq!(entries[1].headers, ["b/ü"]);
    assert_eq!(
        entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    assert!(entries[0].lane == entries[2].lane && entries[0].lane != entries[1].lane);
    // An event without an id cannot be told from others.
    assert!(
        requests
            .of(&batch())
            .unwrap_err()
            .to_string()
            .contains("http.event-id is NULL")
    );
    assert_eq!(requests.sequence, 3);
}

#[test]
fn rows_of_one_key_go_together_up_to_so_many() {
    let mut together = requests(&[("batch.max-events", "2"), ("key", "k")]);
    let entries = together.of(&batch()).unwrap();
    assert_eq!(
        bodies(&entries),
        [
            r#"[{"k":"a","n":1},{"k":"a","n":3}]"#,
            r#"[{"k":"b/ü","n":2}]"#,
            r#"[{"k":null,"n":null}]"#
        ]
    );
    let mut unordered = requests(&[("order", "none")]);
    let lanes: Vec<u64> = unordered.of(&batch()).unwrap().iter().map(|entry| entry.lane).collect();
    assert_eq!(lanes, [0, 1, 2, 3]);
}

#[test]
fn an_envelope_says_what_it_is() {
    let mut requests = requests(&[("envelope", "true"), ("event-id", "n")]);
    let entries = requests.of(&batch().slice(1, 2)).unwrap();
    assert_eq!(
        bodies(&entries),
        [
            r#"{"event_id":"2","event_type":"update","timestamp":"1970-01-01T00:00:01Z","trigger_name":"Alerts","data":{"k":"b/ü","n":2}}"#,
            r#"{"event_id":"3","event_type":"delete","timestamp":"1970-01-01T00:00:01Z","trigger_name":"Alerts","data":{"k":"a","n":3}}"#,
        ]
    );
}

#[test]
fn wrong_options_are_refused_and_no_secret_is_shown() {
    for (given, why) in [
        (&[("url", "example.com/hush")][..], "it is no URL"),
        (&[("url", "ftp://example.com/")], "begins with http:// or https://"),
        (&[("url", "https://me:hush@example.com/")], "use http.basic.user"),
        (&[("url", "http://10.0.0.1/hush")], "private network"),
        (&[("url", "https://example.com/{{nothing}}")], "no column 'nothing'"),
        (&[("header.Webhook-Id", "hush")], "set by the connector"),
        (&[("header.a b", "hush")], "no name of a header"),
        (&[("header.A", "hu\nsh")], "cannot be sent"),
        (&[("secret", "hush")], "begins with whsec_"),
        (
            &[("bearer-token", "hush"), ("basic.user", "me")],
            "bearer-token as well",
        ),
        (&[("basic.password", "hush")], "there is no basic.user"),
        (&[("key", "k, z")], "no column 'z'"),
        (&[("event-id", "n"), ("batch.max-events", "2")], "an id of its own"),
    ] {
        let mut all = vec![("url", "https://example.com/")];
        all.retain(|(key, _)| given.iter().all(|(other, _)| key != other));
        all.extend(given);
        let error = SinkConnector::build(&Http::default(), spec(&all))
            .err()
            .unwrap_or_else(|| panic!("{given:?}"));
        assert!(error.message.contains(why), "{}", error.message);
        assert!(!error.message.contains("hush"), "{}", error.message);
    }
}
