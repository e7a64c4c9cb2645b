//! What `[application]` may hold: options that all streams share, and those of the app itself.

use super::checkpoints;
use super::options::{OptionKind, OptionSpec};
use super::s3;

/// What decides the meaning of the other options of a stream or a table, and so cannot be configured.
const DECIDING: &[&str] = &["type", "extension", "format"];

/// Says what saved state belongs to which statement of the app.
const ID: &str = "id";

/// Why an option of a stream or a table belongs to the app and cannot be configured; `None` if it can be.
pub fn of_the_app(option: &str, owner: &str) -> Option<String> {
    match option {
        ID => Some(format!(
            "it says which saved state is that of '{owner}', in every place the app runs: write it into WITH in the app"
        )),
        deciding if DECIDING.contains(&deciding) => Some(format!(
            "it decides what the other options of '{owner}' mean: write it into WITH in the app"
        )),
        _ => None,
    }
}

/// Options that an app's streams share.
pub const APPLICATION_OPTIONS: &[&str] = &[
    "error.strategy",
    "error.retry.max-attempts",
    "error.retry.initial-delay",
    "error.retry.max-delay",
    "error.retry.multiplier",
    "error.retry.jitter",
    "error.retry.then",
    "error.dlq.stream",
    "error.dlq.fallback-strategy",
    "error.log-level",
    "idle.timeout",
    "state.ttl",
];

/// On how many threads the keys of partitions are worked off.
pub(super) const PARALLELISM: &str = "parallelism";

/// How many threads that may be.
pub const MAX_PARALLELISM: usize = 256;

/// How many attempts at a pattern may be open, of patterns that do not say it.
pub const PATTERN_INSTANCES: &str = "pattern.max_instances";

/// What happens to those beyond.
pub const PATTERN_OVERFLOW: &str = "pattern.overflow";

/// Options of the app itself.
pub const APP_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        checkpoints::DIR,
        OptionKind::Path,
        "The folder in which checkpoints are kept, or s3://bucket/prefix; none are without.",
    ),
    OptionSpec::new(checkpoints::INTERVAL, OptionKind::Duration, "How often one is taken.").default("10 seconds"),
    OptionSpec::new(
        checkpoints::RETAIN,
        OptionKind::Integer {
            min: 1,
            max: checkpoints::MAX_RETAIN as i64,
        },
        "How many are kept.",
    )
    .default("3"),
    OptionSpec::new(
        checkpoints::KEY,
        OptionKind::Text,
        "The key that they are encrypted with.",
    )
    .secret(),
    OptionSpec::new(
        checkpoints::KEY_FILE,
        OptionKind::Path,
        "The file in which the key stands.",
    ),
    OptionSpec::new(
        s3::ENDPOINT,
        OptionKind::Text,
        "Of checkpoints in s3://…: the server, as https://host:port. Default: AWS_ENDPOINT_URL, or Amazon's of the region.",
    ),
    OptionSpec::new(s3::REGION, OptionKind::Text, "The region. Default: AWS_REGION, or us-east-1."),
    OptionSpec::new(
        s3::ACCESS_KEY_ID,
        OptionKind::Text,
        "Who signs requests. Default: AWS_ACCESS_KEY_ID, or the role of the machine or container.",
    ),
    OptionSpec::new(
        s3::SECRET_ACCESS_KEY,
        OptionKind::Text,
        "The secret that belongs to it. Default: AWS_SECRET_ACCESS_KEY.",
    )
    .secret(),
    OptionSpec::new(
        s3::SESSION_TOKEN,
        OptionKind::Text,
        "The token of temporary credentials. Default: AWS_SESSION_TOKEN.",
    )
    .secret(),
    OptionSpec::new(
        s3::ALLOW_HTTP,
        OptionKind::Boolean,
        "Whether an endpoint that is not this machine may be reached without TLS. Default: AWS_ALLOW_HTTP, or false.",
    ),
    OptionSpec::new(s3::TIMEOUT, OptionKind::Duration, "How long one request may take.").default("60 seconds"),
    OptionSpec::new(
        s3::LOCK,
        OptionKind::Choice(&["lease", "none"]),
        "How one app at a time uses the place: by a lease, for which the server must know conditional writes; or nothing sees to it.",
    )
    .default("lease"),
    OptionSpec::new(
        s3::LEASE,
        OptionKind::Duration,
        "After how long an app that was killed no longer keeps others out.",
    )
    .default("15 seconds"),
    OptionSpec::new(
        PARALLELISM,
        OptionKind::Integer {
            min: 1,
            max: MAX_PARALLELISM as i64,
        },
        "On how many threads the keys of each PARTITION are worked off.",
    )
    .default("1"),
    OptionSpec::new(
        PATTERN_INSTANCES,
        OptionKind::Integer {
            min: 1,
            max: 1_000_000_000,
        },
        "How many attempts at a pattern may be open, of patterns that do not say it.",
    )
    .default("1000000"),
    OptionSpec::new(
        PATTERN_OVERFLOW,
        OptionKind::Choice(&["drop-oldest", "drop-newest", "fail"]),
        "What happens to attempts beyond that.",
    )
    .default("drop-oldest"),
];
