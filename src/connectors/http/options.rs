//! The options of `http`.

use crate::config::options::{OptionKind, OptionSpec};

/// Those of its sinks.
pub const SINK: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        OptionKind::Text,
        "Where to: http://… or https://…. {{column}} stands for a column's value, percent-encoded.",
    )
    .required()
    .secret(),
    OptionSpec::new(
        "method",
        OptionKind::Choice(&["POST", "PUT", "PATCH", "DELETE", "GET"]),
        "The method. A GET has no body.",
    )
    .default("POST"),
    OptionSpec::new(
        "header.<name>",
        OptionKind::Text,
        "A header of each request. {{column}} stands for a column's value.",
    )
    .secret(),
    OptionSpec::new(
        "content-type",
        OptionKind::Text,
        "What the body is called; by default the format's media type.",
    ),
    OptionSpec::new("bearer-token", OptionKind::Text, "Sent as Authorization: Bearer ….").secret(),
    OptionSpec::new("basic.user", OptionKind::Text, "Sent, with the password, as Authorization: Basic …."),
    OptionSpec::new("basic.password", OptionKind::Text, "The password of basic.user.").secret(),
    OptionSpec::new(
        "secret",
        OptionKind::Text,
        "Signs each request as Standard Webhooks say: whsec_ and at least 24 bytes in base64. Several with spaces between, while one \
         takes over from another.",
    )
    .secret(),
    OptionSpec::new(
        "event-id",
        OptionKind::Text,
        "The column with the event's id, sent as webhook-id. By default one is made, the same whenever the event is sent again.",
    ),
    OptionSpec::new(
        "key",
        OptionKind::Text,
        "Columns, with commas between: events of one key arrive one after the other. By default the PRIMARY KEY; without one all \
         events do.",
    ),
    OptionSpec::new(
        "order",
        OptionKind::Choice(&["key", "none"]),
        "none: events arrive in any order.",
    )
    .default("key"),
    OptionSpec::new(
        "concurrency",
        OptionKind::Integer { min: 1, max: 1_000 },
        "How many requests may be on their way at once.",
    )
    .default("8"),
    OptionSpec::new(
        "batch.max-events",
        OptionKind::Integer { min: 1, max: 10_000 },
        "How many events one request may carry, of those of one key and URL that are there. More than 1 in JSON: an array.",
    )
    .default("1"),
    OptionSpec::new(
        "envelope",
        OptionKind::Boolean,
        "With JSON: the body is {event_id, event_type, trigger_name, timestamp, data}.",
    )
    .default("false"),
    OptionSpec::new("timeout", OptionKind::Duration, "How long a request may take.").default("30 seconds"),
    OptionSpec::new("connect.timeout", OptionKind::Duration, "How long connecting may take.").default("10 seconds"),
    OptionSpec::new(
        "retry-after.max",
        OptionKind::Duration,
        "The longest wait that a server may ask for with Retry-After.",
    )
    .default("1 hour"),
    OptionSpec::new(
        "breaker.failures",
        OptionKind::Integer {
            min: 0,
            max: 1_000_000,
        },
        "After so many failures one after the other a server is left alone for breaker.pause. 0: never.",
    )
    .default("10"),
    OptionSpec::new(
        "breaker.pause",
        OptionKind::Duration,
        "How long; then one request tries whether it is back.",
    )
    .default("10 seconds"),
    OptionSpec::new(
        "outbox.max-events",
        OptionKind::Integer {
            min: 1,
            max: 1_000_000,
        },
        "How many events may wait to be delivered; then the pipeline waits.",
    )
    .default("10000"),
    OptionSpec::new(
        "outbox.max-bytes",
        OptionKind::Integer {
            min: 1,
            max: 1 << 40,
        },
        "How many bytes their requests may have; then the pipeline waits.",
    )
    .default("67108864"),
    OptionSpec::new(
        "close.timeout",
        OptionKind::Duration,
        "When the app is stopped: how long to go on delivering what waits. At the end of the input it waits as long as it takes.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "allow-private",
        OptionKind::Boolean,
        "Whether addresses of private networks and of this machine may be called.",
    )
    .default("false"),
];
