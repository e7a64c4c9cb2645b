//! The options that those sources have in common.

use crate::config::options::{OptionKind, OptionSpec};

/// The server and database in one.
pub(crate) const URL: OptionSpec = OptionSpec::new(
    "url",
    OptionKind::Text,
    "The server and database: postgresql://user:password@host:port/database. Instead of it, or over it, the options below.",
)
.secret();
/// The host.
pub(crate) const HOST: OptionSpec = OptionSpec::new(
    "host",
    OptionKind::Text,
    "The server, or the folder of its socket; without url localhost.",
);
/// The password.
pub(crate) const PASSWORD: OptionSpec = OptionSpec::new("password", OptionKind::Text, "The user's password.").secret();
/// Encryption.
pub(crate) const SSL_MODE: OptionSpec = OptionSpec::new(
    "sslmode",
    OptionKind::Choice(&["disable", "prefer", "require", "verify-full"]),
    "Whether the connection is encrypted: never; if the server can; always; always, and the server must prove its name. Only the last \
     keeps out who stands between.",
)
.default("prefer");
/// Who may say who the server is.
pub(crate) const SSL_ROOT: OptionSpec = OptionSpec::new(
    "sslrootcert",
    OptionKind::Path,
    "With sslmode = 'verify-full': a PEM file of the authorities to trust instead of the system's.",
);
/// How long connecting may take.
pub(crate) const CONNECT_TIMEOUT: OptionSpec = OptionSpec::new(
    "connect.timeout",
    OptionKind::Duration,
    "How long to wait for a connection, and for answers to questions.",
)
.default("10 seconds");
/// How long nothing may come.
pub(crate) const STALL_TIMEOUT: OptionSpec = OptionSpec::new(
    "stall.timeout",
    OptionKind::Duration,
    "How long nothing at all may come, not even a sign of life, before the connection is given up and made anew. 0: for ever.",
)
.default("30 seconds");
/// The first wait.
pub(crate) const RETRY_INITIAL: OptionSpec = OptionSpec::new(
    "retry.initial-delay",
    OptionKind::Duration,
    "The wait before connecting again when the connection is lost; each next one is up to twice as long.",
)
.default("100 ms");
/// The longest wait.
pub(crate) const RETRY_MAX: OptionSpec = OptionSpec::new(
    "retry.max-delay",
    OptionKind::Duration,
    "The longest wait before connecting again.",
)
.default("10 seconds");
/// When to give up.
pub(crate) const RETRY_TIMEOUT: OptionSpec = OptionSpec::new(
    "retry.timeout",
    OptionKind::Duration,
    "How long to try in vain before the source fails, which 'error.strategy' decides about. 0: for ever.",
)
.default("5 minutes");
/// How large the relation may be.
pub(crate) const MAX_ROWS: OptionSpec = OptionSpec::new(
    "max_rows",
    OptionKind::Integer { min: 1, max: i64::MAX },
    "How many rows the relation may have, which bounds the memory for it: with a PRIMARY KEY the row of each key is kept, without \
     one some 40 bytes of each distinct row. One more, and the app stops.",
)
.default("10000000");
/// How many rows one transaction may have to be handed on whole.
pub(crate) const WHOLE_ROWS: OptionSpec = OptionSpec::new(
    "transaction_rows",
    OptionKind::Integer { min: 1, max: 100_000_000 },
    "Up to how many rows that belong together are held until the last of them is there, and handed on as one. More than those come in \
     parts; a failure among the parts costs a new snapshot.",
)
.default("1000000");
/// What deletes are to a stream that cannot say them.
pub(crate) const DELETES: OptionSpec = OptionSpec::new(
    "deletes",
    OptionKind::Choice(&["error", "ignore"]),
    "Of a stream without PRIMARY KEY: whether a row that is deleted or updated is an error of that row, or nothing.",
)
.default("error");
