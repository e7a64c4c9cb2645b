//! The options of `datagen`.

use crate::config::options::{OptionKind, OptionSpec};

/// Of the source.
pub const SOURCE: &[OptionSpec] = &[
    OptionSpec::new(
        "rows",
        OptionKind::Integer { min: 0, max: i64::MAX },
        "How many rows to make before the stream ends. Default: it never ends.",
    ),
    OptionSpec::new(
        "rows-per-second",
        OptionKind::Number,
        "How many rows to make a second. Absent or 0: as fast as possible.",
    ),
    OptionSpec::new(
        "seed",
        OptionKind::Integer {
            min: i64::MIN,
            max: i64::MAX,
        },
        "What the random values come from: equal seeds make equal rows.",
    )
    .default("42"),
    OptionSpec::new(
        "batch-rows",
        OptionKind::Integer { min: 1, max: 1 << 20 },
        "How many rows are made at once at most.",
    )
    .default("8192"),
    OptionSpec::new(
        "fields.<column>.kind",
        OptionKind::Choice(&[
            "sequence",
            "uniform",
            "normal",
            "choice",
            "zipf",
            "name",
            "timestamp",
            "constant",
        ]),
        "How the column's values are made. Default: timestamp for TIMESTAMP and DATE, else uniform.",
    ),
    OptionSpec::new(
        "fields.<column>.null-rate",
        OptionKind::Number,
        "The share of NULLs, 0 to 1. Default: 0.",
    ),
    OptionSpec::new(
        "fields.<column>.start",
        OptionKind::Text,
        "sequence: the first number (default 0). timestamp: the first time (default 2026-01-01T00:00:00Z).",
    ),
    OptionSpec::new(
        "fields.<column>.step",
        OptionKind::Text,
        "sequence: what is added at each row (default 1). timestamp: the time between two rows, a duration (default: what \
         rows-per-second gives, else 1 ms).",
    ),
    OptionSpec::new(
        "fields.<column>.min",
        OptionKind::Number,
        "uniform: the least value (default 0).",
    ),
    OptionSpec::new(
        "fields.<column>.max",
        OptionKind::Number,
        "uniform: the largest value (default 999 for whole numbers, 1 for others; never reached by those).",
    ),
    OptionSpec::new(
        "fields.<column>.mean",
        OptionKind::Number,
        "normal: the mean (default 0).",
    ),
    OptionSpec::new(
        "fields.<column>.stddev",
        OptionKind::Number,
        "normal: the standard deviation (default 1).",
    ),
    OptionSpec::new(
        "fields.<column>.values",
        OptionKind::Text,
        "choice: the values to choose from, separated by commas.",
    ),
    OptionSpec::new(
        "fields.<column>.weights",
        OptionKind::Text,
        "choice: how often each value is chosen in relation to the others, separated by commas (default: equally often).",
    ),
    OptionSpec::new(
        "fields.<column>.keys",
        OptionKind::Integer { min: 1, max: 1 << 40 },
        "zipf, and uniform text: how many different values there are (default 1000).",
    ),
    OptionSpec::new(
        "fields.<column>.exponent",
        OptionKind::Number,
        "zipf: how unequal the frequencies are; value k comes in proportion to (k + 1)^-exponent (default 1).",
    ),
    OptionSpec::new(
        "fields.<column>.prefix",
        OptionKind::Text,
        "sequence, zipf and uniform text: what stands before the number (default: nothing).",
    ),
    OptionSpec::new(
        "fields.<column>.of",
        OptionKind::Choice(&["person", "first", "last", "city", "company"]),
        "name: names of what (default person).",
    ),
    OptionSpec::new(
        "fields.<column>.jitter",
        OptionKind::Duration,
        "timestamp: each time is up to that much later, at random (default 0).",
    ),
    OptionSpec::new(
        "fields.<column>.out-of-orderness",
        OptionKind::Duration,
        "timestamp: each time is up to that much earlier, at random, so that rows come out of order (default 0).",
    ),
    OptionSpec::new("fields.<column>.value", OptionKind::Text, "constant: the value."),
];

/// Each kind and the parameters it takes, besides `null-rate`.
pub const KINDS: &[(&str, &[&str])] = &[
    ("sequence", &["start", "step", "prefix"]),
    ("uniform", &["min", "max", "keys", "prefix"]),
    ("normal", &["mean", "stddev"]),
    ("choice", &["values", "weights"]),
    ("zipf", &["keys", "exponent", "prefix"]),
    ("name", &["of"]),
    ("timestamp", &["start", "step", "jitter", "out-of-orderness"]),
    ("constant", &["value"]),
];
