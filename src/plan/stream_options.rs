//! The options of any stream, whatever its connector, and what they mean.

use super::state_ids::{ID, checked};
use crate::catalog::error_policy::{Action, ErrorLog, ErrorPolicy, ErrorStrategy, Fallback, LogLevel, Retry};
use crate::catalog::streams::{LatePolicy, Settings};
use crate::config::options::{OptionKind, OptionSpec, Options, RawOption};
use crate::error::Diagnostic;

/// Names the stream of dead letters.
pub(super) const DEAD_LETTERS: &str = "error.dlq.stream";

/// The options of any stream, whatever its connector.
pub const STREAM_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "type",
        OptionKind::Choice(&["source", "sink", "internal"]),
        "Whether a connector feeds the stream, takes it, or neither.",
    )
    .default("internal"),
    OptionSpec::new("extension", OptionKind::Text, "The connector."),
    OptionSpec::new("format", OptionKind::Text, "The format, for connectors of bytes."),
    OptionSpec::new(
        ID,
        OptionKind::Text,
        "What checkpoints keep the stream's state and positions under, and those of the queries into it. Default: its name.",
    ),
    OptionSpec::new(
        "late",
        OptionKind::Text,
        "What happens to events older than the watermark: 'drop', 'accept', or the name of a stream that takes them.",
    )
    .default("drop"),
    OptionSpec::new(
        "idle.timeout",
        OptionKind::Duration,
        "Processing time without events after which the stream holds no other back.",
    )
    .default("30 seconds"),
    OptionSpec::new(
        "order",
        OptionKind::Choice(&["arrival", "event-time"]),
        "'event-time' holds events until the watermark has passed them and lets them go sorted.",
    )
    .default("arrival"),
    OptionSpec::new(
        "state.ttl",
        OptionKind::Duration,
        "How long what the stream's events leave behind is remembered where no window bounds it: DISTINCT, plain joins.",
    ),
    OptionSpec::new(
        "error.strategy",
        OptionKind::Choice(&["drop", "retry", "dlq", "fail"]),
        "What happens to an event in trouble: it is dropped, what failed is tried again, it goes to 'error.dlq.stream', or the app \
         stops. Without it wrong events are dropped, and a source or sink that fails stops the app.",
    ),
    OptionSpec::new(
        "error.retry.max-attempts",
        OptionKind::Integer {
            min: 0,
            max: u32::MAX as i64,
        },
        "With 'retry': how often reading or writing is tried, the first time included. 0: without end.",
    )
    .default("10"),
    OptionSpec::new(
        "error.retry.initial-delay",
        OptionKind::Duration,
        "With 'retry': the wait after the first attempt.",
    )
    .default("100 ms"),
    OptionSpec::new("error.retry.max-delay", OptionKind::Duration, "With 'retry': the longest wait.").default("30 seconds"),
    OptionSpec::new(
        "error.retry.multiplier",
        OptionKind::Number,
        "With 'retry': by how much each wait is longer than the one before, from 1 to 100.",
    )
    .default("2"),
    OptionSpec::new(
        "error.retry.jitter",
        OptionKind::Number,
        "With 'retry': the part of each wait that is left to chance, from 0 to 1.",
    )
    .default("0.2"),
    OptionSpec::new(
        "error.retry.then",
        OptionKind::Choice(&["fail", "drop", "dlq"]),
        "With 'retry': what happens after the last attempt to events that a sink could not write. 'dlq' if there is an \
         'error.dlq.stream', else 'fail'.",
    ),
    OptionSpec::new(
        DEAD_LETTERS,
        OptionKind::Text,
        "The stream that takes events in trouble. Its columns are those of a fault stream.",
    ),
    OptionSpec::new(
        "error.dlq.fallback-strategy",
        OptionKind::Choice(&["log", "fail", "retry"]),
        "What happens to a dead letter that 'error.dlq.stream' cannot take: it is logged, the app stops, or it is tried again.",
    )
    .default("log"),
    OptionSpec::new(
        "error.log-level",
        OptionKind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        "How events in trouble are logged.",
    )
    .default("warn"),
];

/// Whether an option is one of any stream, whatever its connector.
pub(super) fn of_stream(option: &RawOption) -> bool {
    STREAM_OPTIONS.iter().any(|spec| spec.name == option.key)
}

/// What the options mean.
pub(super) fn settings(options: &Options, event_time: bool) -> Result<Settings, Diagnostic> {
    let late = match options.text("late") {
        None | Some("drop") => LatePolicy::Drop,
        Some("accept") => LatePolicy::Accept,
        Some(stream) => LatePolicy::Redirect(stream.to_string()),
    };
    if late != LatePolicy::Drop && !event_time {
        return Err(options.invalid("late", "only a stream with WATERMARK FOR has late events"));
    }
    Ok(Settings {
        id: checked(options)?,
        late,
        idle_timeout: options.duration("idle.timeout").unwrap_or(30_000_000),
        state_ttl: options.duration("state.ttl"),
        ordered: options.text("order") == Some("event-time"),
        errors: errors(options)?,
        options: options.clone(),
    })
}

/// The options `error.…`.
fn errors(options: &Options) -> Result<ErrorPolicy, Diagnostic> {
    let dead_letters = options.text(DEAD_LETTERS).map(str::to_string);
    let exhausted = match (options.text("error.retry.then"), &dead_letters) {
        (Some("drop"), _) => Action::Drop,
        (Some("dlq"), _) | (None, Some(_)) => Action::DeadLetter,
        _ => Action::Fail,
    };
    Ok(ErrorPolicy {
        strategy: match options.text("error.strategy") {
            Some("drop") => Some(ErrorStrategy::Drop),
            Some("retry") => Some(ErrorStrategy::Retry),
            Some("dlq") => Some(ErrorStrategy::DeadLetter),
            Some("fail") => Some(ErrorStrategy::Fail),
            _ => None,
        },
        retry: retry(options)?,
        exhausted,
        dead_letters,
        fallback: match options.text("error.dlq.fallback-strategy") {
            Some("fail") => Fallback::Fail,
            Some("retry") => Fallback::Retry,
            _ => Fallback::Log,
        },
        log: ErrorLog {
            level: match options.text("error.log-level") {
                Some("off") => None,
                Some("error") => Some(LogLevel::Error),
                Some("info") => Some(LogLevel::Info),
                Some("debug") => Some(LogLevel::Debug),
                Some("trace") => Some(LogLevel::Trace),
                _ => Some(LogLevel::Warn),
            },
            each: false,
        },
    })
}

fn retry(options: &Options) -> Result<Retry, Diagnostic> {
    let number = |name: &str, least: f64, most: f64, default: f64| {
        let value = options.number(name).unwrap_or(default);
        match (least..=most).contains(&value) {
            true => Ok(value),
            false => Err(options.invalid(name, format!("it is a number from {least} to {most}"))),
        }
    };
    let initial_delay = options.duration("error.retry.initial-delay").unwrap_or(100_000);
    let max_delay = options.duration("error.retry.max-delay").unwrap_or(30_000_000);
    if max_delay < initial_delay && options.is_written("error.retry.max-delay") {
        return Err(options.invalid("error.retry.max-delay", "it is shorter than error.retry.initial-delay"));
    }
    let attempts = options.integer("error.retry.max-attempts").unwrap_or(10);
    Ok(Retry {
        max_attempts: u32::try_from(attempts).unwrap_or(0),
        initial_delay,
        max_delay: max_delay.max(initial_delay),
        multiplier: number("error.retry.multiplier", 1.0, 100.0, 2.0)?,
        jitter: number("error.retry.jitter", 0.0, 1.0, 0.2)?,
    })
}
